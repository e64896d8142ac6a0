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


@pytest.mark.parametrize("ring, target, outcome", [
    ("ended", "https://a.test/x", "passes"), ("ended", "HTTPS://a.test:443/x", "passes"), ("ended", "wss://a.test/x", "passes"),
    ("ended", "https://a.test:80/x", "host-mismatch"), ("ended", "https://b.test/x", "host-mismatch"),
    ("inspected", "https://a.test/x", "passes"), ("inspected", "https://a.test:8000/x", "passes"),
    ("inspected", "https://a.test:443/x", "host-mismatch"),
    ("plain", "https://a.test/x", "target-malformed"), ("upstream", "https://a.test/x", "target-malformed"),
], indirect=["ring"])
def test_the_whole_target_inside_tls(ring, target, outcome):
    """There, and only there, it may say so."""
    client = ring.client("site")
    ring.say(client, f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
    if outcome != "passes":
        assert status(client) == {"host-mismatch": 421, "target-malformed": 400}[outcome]
        assert [reason for _, reason, _ in ring.ended() if reason] == [outcome]
        return
    server = ring.server()
    assert server.received.startswith(b"GET /x HTTP/1.1\r\nHost: a.test\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok"


@pytest.mark.parametrize("ring", ["plain", "ended"], indirect=True)
def test_tls_to_the_proxy_is_not_tls_in_the_tunnel(ring):
    client, server = ring.tunnel(ORIGIN)
    ring.say(client, f"GET https://{ORIGIN}/x HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    assert status(client) == 400 and not server.received
    assert [reason for _, reason, _ in ring.ended() if reason] == ["target-malformed"]


def test_an_explicit_proxy_is_asked_for_what_is_inside_tls_with_connect(ring):
    client = ring.client("proxy")
    ring.say(client, b"GET https://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert status(client) == 400 and ring.dial() is None
    assert [reason for _, reason, _ in ring.ended()] == ["target-malformed"]


@pytest.mark.parametrize("framing", ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"])
def test_connect_has_no_body(ring, framing):
    client = ring.client("proxy")
    ring.say(client, f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n{framing}\r\n\r\n".encode())
    assert status(client) == 400 and client.end and ring.dial() is None
    assert [reason for _, reason, _ in ring.ended()] == ["framing-ambiguous"]
