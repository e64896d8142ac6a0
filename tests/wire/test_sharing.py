# SPDX-License-Identifier: ISC
"""upstream_reuse = "shared": what one session left on its way stands before nobody else's request."""
import pytest

from ring import GET, OK, body, post

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def answered_early(ring, size):
    """An upload of that size, taken from its client as far as there is room, answered by a server that reads nothing but its head."""
    client = ring.client("shared")
    ring.say(client, post(size))
    server = ring.server()
    server.paused = True
    client.write(b"A" * size)
    ring.settle()
    server.sock.send(OK)
    ring.settle()
    assert body(client) == b"ok"
    return server


@pytest.mark.parametrize("beyond", [-16 << 10, 32 << 10])
def test_the_end_of_an_upload_is_no_part_of_another_sessions_request(ring, beyond):
    """It lies in the sending kernel, unacknowledged, or still in our memory."""
    measured = answered_early(ring, 2 << 20)
    measured.paused = False
    ring.settle()
    server = answered_early(ring, len(body(measured)) + beyond)
    other = ring.client("shared")
    ring.say(other, GET)
    fresh = ring.dial()
    server.sock.send(EVIL)
    server.paused = False
    ring.settle()
    assert fresh is not None and b"GET /x" in fresh.received
    assert b"GET /x" not in server.received and b"evil" not in other.received
