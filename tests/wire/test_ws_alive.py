# SPDX-License-Identifier: ISC
"""Pings of ours, dead peers, idle and old streams."""
import fcntl
import select
import socket
import struct
import sys
import termios
import time

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
    at_rest(ring, dead)
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
    for payload in (b"", b"postern:00000000", bytes(16), said[:-1]):
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


# Who is slow, who is held back because of it, and who is dead.

WINDOW_SECONDS = 10.0


def unacknowledged(end):
    """Bytes that the program's kernel has for this end and that this end's kernel has not taken (/proc/net/tcp)."""
    ours, theirs = (f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
                    for host, port in (end.sock.getsockname(), end.sock.getpeername()))
    with open("/proc/net/tcp") as file:
        for line in file.readlines()[1:]:
            words = line.split()
            if words[1] == theirs and words[2] == ours:
                return int(words[4].partition(":")[0], 16)
    return 0


def at_rest(ring, end):
    """Acknowledgements may take a moment; virtual time waits for them."""
    found = [-1, -2, -3, -4]
    while len(set(found[-4:])) > 1:
        select.select([], [], [], 0.02)
        ring.settle()
        found.append(unacknowledged(end))
    return found[-1]


def arrived(end):
    """Bytes that this end's kernel has taken, read or not; of TLS, as they are on the wire."""
    return getattr(end.sock, "taken", len(end.received)) + struct.unpack("i", fcntl.ioctl(end.sock, termios.FIONREAD, bytes(4)))[0]


def take_some(ring, end):
    """The end reads until its window opens, and some more of what the program has for it is taken."""
    before, limit = arrived(end), time.monotonic() + WINDOW_SECONDS
    while arrived(end) == before:
        assert time.monotonic() < limit, "no more comes"
        select.select([end.sock], [], [], 0.02)
        try:
            end.received += end.sock.recv(4096)
        except BlockingIOError:
            pass
        ring.settle()
    at_rest(ring, end)


def holds(ring, writer, reader, up, count):
    """The reader's kernel has taken all but the last `count` bytes: nothing waits in the program."""
    ring.untaken(reader, count)
    ring.say(writer, ws.frame(ws.BINARY, b"x" * 2 * count, mask=up))
    reader.received.clear()


def at_last(ring, seconds):
    """Records of the end, so much later; later still if the reader's kernel took something meanwhile."""
    for _ in range(5):
        ring.advance(seconds)
        found = [record for record in ring.records() if record["event"] == "end"]
        if found:
            return found
    raise AssertionError("nobody is dead")


TLS_RECORD = {"inspected": 22, "ended": 22, "upstream": 29}  # bytes around what a record holds: TLS 1.3, and 1.2 upstream
FAR = 8 * 1048576  # more than all buffers on the way hold


def stuffed(ring, up, piece):
    """(writer, reader): the reader takes nothing, and the writer is held back, in the middle of frames or between them."""
    writer, reader = sides(ring, up)
    reader.paused = True
    writer.write(ws.frame(ws.BINARY, b"x" * piece, mask=up) * (FAR // piece))
    ring.settle()
    assert writer.pending and at_rest(ring, reader) > 0
    ring.records()
    return writer, reader


@pytest.mark.parametrize("piece", [FAR, 5000])
@pytest.mark.parametrize("up", [True, False])
def test_who_never_reads_is_dead_and_not_who_waits_for_it(ring, up, piece):
    writer, reader = stuffed(ring, up, piece)
    ring.advance(3.8)
    assert ring.ended() == []
    (record,) = at_last(ring, 1.5)
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("timeout-ping", 1006, "server" if up else "client")
    ring.advance(0.1)
    assert close_codes(writer) == [1001]


@pytest.mark.parametrize("piece", [FAR, 5000])
@pytest.mark.parametrize("up", [True, False])
def test_a_slow_reader_and_who_waits_for_it_live(ring, up, piece):
    writer, reader = stuffed(ring, up, piece)
    for _ in range(8):
        ring.advance(1.0)
        take_some(ring, reader)
    assert writer.pending and writer.end is None and reader.end is None
    assert ring.ended() == []


@pytest.mark.parametrize("up", [True, False])
def test_who_was_held_back_has_all_the_time_to_answer(ring, up):
    """It had a ping while it was not read; the reader takes all at last, and what the writer has to say is little."""
    writer, reader = stuffed(ring, up, 5000)
    for _ in range(3):
        ring.advance(1.9)
        take_some(ring, reader)
    reader.paused = False
    while writer.pending:
        ring.settle()
    writer_gets = [frame.op for frame in ws.frames_in(writer.received)]
    assert writer_gets in ([], [ws.PING])
    writer.received.clear()
    for said in [frame.payload for frame in ws.frames_in(reader.received) if frame.op == ws.PING]:
        ring.say(reader, ws.frame(ws.PONG, said, mask=not up))
    ring.advance(1.8)
    assert writer.end is None and reader.end is None and ring.ended() == []


@pytest.mark.websocket(ping_interval=2.0, idle=60.0)
@pytest.mark.parametrize("up", [True, False])
def test_a_ping_behind_much_that_the_kernel_holds(ring, up):
    """The writer is not held back, and the reader gets what was before the ping bit by bit; then nothing more."""
    writer, reader = sides(ring, up)
    holds(ring, writer, reader, up, 15000)

    def wait(left):
        ring.untaken(reader, left)
        ring.advance(1.5)
        for said in pings(writer):
            ring.say(writer, ws.frame(ws.PONG, said, mask=up))

    for left in range(15000, 1000, -2000):
        wait(left)
    assert ring.ended() == [] and reader.end is None
    ring.advance(5)
    assert ring.ended() == [("end", "timeout-ping", "server" if up else "client")]


@pytest.mark.parametrize("up", [True, False])
def test_who_speaks_and_takes_nothing_is_dead(ring, up):
    """Both speak; one of them never reads."""
    writer, reader = stuffed(ring, up, 5000)
    for _ in range(3):
        ring.say(reader, ws.frame(ws.TEXT, b"x", mask=not up))
        ring.advance(1.3)
        assert ring.ended() == []
    ring.say(reader, ws.frame(ws.TEXT, b"x", mask=not up))
    (record,) = at_last(ring, 1.3)
    assert (record["reason"], record["closed_by"]) == ("timeout-ping", "server" if up else "client")


@pytest.mark.parametrize("up", [True, False])
def test_who_takes_nothing_in_the_middle_of_a_frame_is_dead(ring, up):
    """No ping can be sent, and the writer is not held back: what the reader does not take fits into buffers."""
    writer, reader = sides(ring, up)
    holds(ring, writer, reader, up, 15000)
    frame = ws.frame(ws.BINARY, b"x" * 100, mask=up)
    ring.say(writer, frame[:20])
    around = TLS_RECORD[ring.way] if ring.way in ("inspected", "upstream" if up else "ended") else 0
    for n in range(4):
        assert ring.ended() == []
        ring.untaken(reader, 15020 + (n + 1) * (1 + around))
        ring.say(writer, frame[20 + n:21 + n])
        ring.advance(1.3)
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["closed_by"]) == ("timeout-ping", "server" if up else "client")


@pytest.mark.parametrize("up", [True, False])
def test_a_ping_that_is_owed_starts_nothing(ring, up):
    """The writer stays in a frame for long, a byte at a time; nothing can be asked of the reader, who has taken all."""
    writer, reader = sides(ring, up)
    frame = ws.frame(ws.BINARY, b"x" * 100, mask=up)
    ring.say(writer, frame[:20])
    for n in range(20, 32):
        ring.advance(1.0)
        ring.say(writer, frame[n:n + 1])
    assert ring.ended() == [] and reader.received == frame[:32]
    ring.say(writer, frame[32:])
    reader.received[:len(frame)] = b""
    assert len(pings(reader)) == 1
    ring.advance(1.9)
    assert reader.end is None


# Pongs.

@pytest.mark.parametrize("up", [True, False])
def test_a_pong_to_the_ping_before_goes_no_further(ring, up):
    speaker, listener = sides(ring, up)

    def asked():
        (said,) = pings(speaker)
        for theirs in pings(listener):
            ring.say(listener, ws.frame(ws.PONG, theirs, mask=not up))
        return said

    ring.advance(2.1)
    first = asked()
    ring.say(speaker, ws.frame(ws.TEXT, b"busy", mask=up))
    listener.received.clear()
    ring.advance(2.1)
    second = asked()
    assert first != second
    for said in (first, second):
        ring.say(speaker, ws.frame(ws.PONG, said, mask=up))
        assert not listener.received
    for said in (first, second):  # no second time
        ring.say(speaker, ws.frame(ws.PONG, said, mask=up))
        assert ws.frames_in(listener.received)[-1].payload == said


@pytest.mark.parametrize("up", [True, False])
def test_a_pong_to_the_last_ping_answers_those_before(ring, up):
    speaker, listener = sides(ring, up)
    said = []
    for _ in range(2):
        ring.advance(2.1)
        said += pings(speaker)
        listener.received.clear()
        ring.say(listener, ws.frame(ws.TEXT, b"busy", mask=not up))
        ring.say(speaker, ws.frame(ws.TEXT, b"busy", mask=up))
        listener.received.clear()
        speaker.received.clear()
    ring.say(speaker, ws.frame(ws.PONG, said[1], mask=up))
    assert not listener.received
    pong = ws.frame(ws.PONG, said[0], mask=up)
    ring.say(speaker, pong)
    assert listener.received == pong
