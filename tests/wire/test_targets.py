# SPDX-License-Identifier: ISC
"""What names a server in one request says the same everywhere in it."""
import pytest

from ring import ORIGIN, OK, body, status


@pytest.mark.parametrize("target, fits", [("http://a.test/x", True), ("http://A.TEST:80/x", True), ("http://b.test/x", False),
                                          ("http://a.test:81/x", False)])
def test_the_whole_target_and_host(ring, target, fits):
    """A server, too, is asked for a whole URL sometimes (RFC 9112 3.2.2)."""
    client = ring.client("site")
    ring.say(client, f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
    if not fits:
        assert status(client) == 403 and ring.dial() is None
        assert [reason for _, reason, _ in ring.ended()] == ["host-mismatch"]
        return
    server = ring.server()
    assert server.received.startswith(b"GET /x HTTP/1.1\r\nHost: a.test\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok"


@pytest.mark.parametrize("framing", ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"])
def test_connect_has_no_body(ring, framing):
    client = ring.client("proxy")
    ring.say(client, f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n{framing}\r\n\r\n".encode())
    assert status(client) == 400 and client.end and ring.dial() is None
    assert [reason for _, reason, _ in ring.ended()] == ["framing-ambiguous"]
