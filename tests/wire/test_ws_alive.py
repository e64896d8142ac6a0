# SPDX-License-Identifier: ISC
"""Pings of ours, dead peers, idle and old streams."""
import pytest

from lib import ws
from ring import close_codes

pytestmark = pytest.mark.websocket(ping_interval=2.0)


def pings(end):
    """Taken out of what was received; nothing else may be there."""
    frames = ws.frames_in(end.received)
    assert all(frame.op == ws.PING for frame in frames), frames
    end.received.clear()
    return [frame.payload for frame in frames]


def answer(ring, client, server):
    """Both get a ping, and answer it."""
    for end, up in ((client, True), (server, False)):
        (said,) = pings(end)
        assert said.startswith(b"postern:") and len(said) == 16
        ring.say(end, ws.frame(ws.PONG, said, mask=up))


def sides(ring, up):
    client, server = ring.websocket()
    return (client, server) if up else (server, client)


def test_silent_sides_are_asked_and_answers_go_no_further(ring):
    client, server = ring.websocket()
    for _ in range(4):
        ring.advance(1.9)
        assert not client.received and not server.received
        ring.advance(0.2)
        answer(ring, client, server)
    assert client.end is None and server.end is None


@pytest.mark.parametrize("up", [True, False])
def test_who_speaks_is_not_asked(ring, up):
    speaker, listener = sides(ring, up)
    ring.advance(1)
    ring.say(speaker, ws.frame(ws.TEXT, b"x", mask=up))
    listener.received.clear()
    ring.advance(1.1)
    assert not speaker.received and len(pings(listener)) == 1


@pytest.mark.parametrize("up", [True, False])
def test_a_dead_peer(ring, up):
    dead, other = sides(ring, up)
    ring.records()
    ring.advance(2.1)
    (said,) = pings(other)
    ring.say(other, ws.frame(ws.PONG, said, mask=not up))
    assert len(pings(dead)) == 1
    ring.advance(1.7)
    assert other.end is None
    ring.advance(0.4)
    assert close_codes(other) == [1001] and other.end == "fin"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("timeout-ping", 1006, "client" if up else "server")
    ring.advance(3)
    assert ring.sessions() == 0


@pytest.mark.parametrize("up", [True, False])
def test_other_pongs_pass(ring, up):
    speaker, listener = sides(ring, up)
    ring.advance(2.1)
    (said,) = pings(speaker)
    pings(listener)
    for payload in (b"", b"postern:00000000", said[:-1]):
        pong = ws.frame(ws.PONG, payload, mask=up)
        ring.say(speaker, pong)
        assert listener.received == pong
        listener.received.clear()
    pong = ws.frame(ws.PONG, said, mask=up)
    ring.say(speaker, pong)
    assert not listener.received
    ring.say(speaker, pong)  # a second time it answers nothing
    assert listener.received == pong


@pytest.mark.parametrize("up", [True, False])
def test_no_ping_within_a_frame(ring, up):
    speaker, listener = sides(ring, up)
    frame = ws.frame(ws.BINARY, b"x" * 200, mask=up)
    ring.say(speaker, frame[:100])
    ring.advance(2.1)
    assert listener.received == frame[:100]
    assert len(pings(speaker)) == 1
    ring.say(speaker, frame[100:])
    assert bytes(listener.received[:len(frame)]) == frame
    del listener.received[:len(frame)]
    assert len(pings(listener)) == 1
    assert listener.end is None


def test_fragments_do_not_hold_a_ping_up(ring):
    client, server = ring.websocket()
    ring.say(client, ws.frame(ws.TEXT, b"x", fin=0, mask=True))
    server.received.clear()
    ring.advance(2.1)
    answer(ring, client, server)


def test_no_ping_in_a_close_handshake(ring):
    client, server = ring.websocket()
    ring.say(client, ws.close_frame(1000, mask=True))
    ring.advance(2.1)
    assert not client.received and close_codes(server) == [1000]


@pytest.mark.websocket(ping_interval=2.0, idle=5.0)
def test_pings_and_pongs_are_no_messages(ring):
    client, server = ring.websocket()
    ring.advance(2.1)
    answer(ring, client, server)
    ring.say(client, ws.frame(ws.TEXT, b"x", mask=True))
    server.received.clear()
    ring.advance(2.1)
    answer(ring, client, server)
    ring.say(client, ws.frame(ws.PING, b"x", mask=True))
    ring.say(server, ws.frame(ws.PONG, b"x"))
    client.received.clear()
    server.received.clear()
    ring.advance(2.1)
    answer(ring, client, server)
    ring.advance(0.5)
    assert client.end is None
    ring.advance(0.5)
    assert close_codes(client) == close_codes(server) == [1001]
    assert ring.ended() == [("end", "timeout-tunnel", "postern")]


@pytest.mark.websocket(ping_interval=2.0)
def test_our_pings_keep_nothing_open(ring):
    """timeouts.tunnel_idle is 9 s."""
    client, server = ring.websocket()
    for _ in range(4):
        ring.advance(2.1)
        answer(ring, client, server)
    ring.advance(0.8)
    assert close_codes(client) == close_codes(server) == [1001]


@pytest.mark.websocket(age=5.0)
def test_an_old_stream(ring):
    client, server = ring.websocket()
    for _ in range(4):
        ring.advance(1.2)
        ring.say(client, ws.frame(ws.TEXT, b"x", mask=True))
    assert client.end is None
    ring.advance(0.3)
    assert close_codes(client) == close_codes(server) == [1001]
    assert ring.ended() == [("end", "timeout-age", "postern")]
