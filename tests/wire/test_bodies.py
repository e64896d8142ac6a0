# SPDX-License-Identifier: ISC
"""Bodies of every kind, of more bytes than fit anywhere, in both directions; and that what was cut never looks complete."""
import re
import select
import time

import pytest

from lib import http1, ws
from lib.postern import PATIENCE
from ring import GET, OK, OTHER, body, post, status

MIB = 1 << 20
WINDOW_SECONDS = 15.0
BIG = bytes(range(256)) * (3 * MIB // 256)


def chunked(data, size=50000):
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def same(found, wanted):
    """Without a page of bytes where they differ."""
    return found == wanted


def take(end, count=1 << 20):
    """Reads a little by hand; pump() does not read from a paused end."""
    if end.end:
        return
    try:
        data = end.sock.recv(count)
    except BlockingIOError:
        return
    except OSError:
        end.end = "rst"
        return
    end.received += data
    if not data:
        end.end = "fin"


def take_some(ring, end):
    """Something, once it is there: loopback may take its time to open a window again."""
    before, limit = len(end.received), time.monotonic() + WINDOW_SECONDS
    while len(end.received) == before and not end.end:
        take(end)
        ring.settle()
        assert time.monotonic() < limit, f"no more comes after {before} bytes"
        select.select([end.sock], [], [], 0.01)


def slowly(ring, reader, is_done):
    """Takes a little and lets everything come to rest, again and again."""
    while not is_done():
        take_some(ring, reader)
    reader.paused = False


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_big_answer_to_a_slow_reader(ring, framing):
    client, server = ring.asked()
    client.paused = True
    head, data = {"length": (b"Content-Length: %d\r\n" % len(BIG), BIG), "close": (b"", BIG),
                  "chunked": (b"Transfer-Encoding: chunked\r\n", chunked(BIG))}[framing]
    server.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + data)
    ring.settle()
    if framing == "close":
        while server.pending:
            slowly(ring, client, lambda: not server.pending)
        server.shut()
    slowly(ring, client, lambda: http1.response_at(client.received, 0) and http1.response_at(client.received, 0).complete)
    assert same(http1.response_at(client.received, 0).body, BIG)
    assert ring.ended() == [("end", None, None)]


@pytest.mark.parametrize("chunks", [False, True])
def test_a_big_upload_to_a_slow_server(ring, chunks):
    head = b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" if chunks else post(len(BIG))
    client, server = ring.asked(head=head)
    server.paused = True
    client.write(chunked(BIG) if chunks else BIG)
    ring.settle()
    slowly(ring, server, lambda: not client.pending)
    ring.settle()
    request = bytes(server.received)
    if chunks:
        assert same(http1.read_chunks(request, request.find(b"\r\n\r\n") + 4, http1.Response(200)).body, BIG)
    else:
        assert same(request[-len(BIG):], BIG)
    ring.say(server, OK)
    assert body(client) == b"ok"


@pytest.mark.parametrize("up", [True, False])
def test_a_tunnel_to_a_slow_reader(ring, up):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    writer, reader = (client, server) if up else (server, client)
    reader.received.clear()
    reader.paused = True
    writer.write(BIG)
    ring.settle()
    slowly(ring, reader, lambda: len(reader.received) == len(BIG))
    assert same(reader.received, BIG)


@pytest.mark.parametrize("up", [True, False])
def test_a_websocket_to_a_slow_reader(ring, up):
    client, server = ring.websocket()
    writer, reader = (client, server) if up else (server, client)
    reader.paused = True
    frames = ws.frame(ws.BINARY, BIG, mask=up) + ws.frame(ws.TEXT, b"after", mask=up)
    writer.write(frames)
    ring.settle()
    slowly(ring, reader, lambda: len(reader.received) == len(frames))
    assert same(reader.received, frames)


def test_both_directions_of_a_tunnel_at_once(ring):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    server.received.clear()
    client.write(BIG)
    server.write(BIG)
    ring.settle()
    assert same(client.received, BIG) and same(server.received, BIG)


# Slow is not stuck.


def test_an_answer_outlives_the_timeouts_while_its_client_reads(ring):
    client, server = ring.asked()
    client.paused = True
    server.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
    ring.settle()
    for left in range(20000, 0, -2000):
        ring.untaken(client, left)
        ring.advance(4)
        take(client, 2000)
    ring.untaken(client, 0)
    slowly(ring, client, lambda: client.end or len(body(client)) == len(BIG))
    assert client.end is None and same(body(client), BIG)


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("old", [False, True])
def test_the_last_answer_outlives_the_lingering(ring, old):
    """The server is done, the client is slow: what waits for it is not thrown away."""
    client = ring.client()
    client.paused = True
    ring.say(client, b"GET /x HTTP/1.0\r\n\r\n" if old else b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    server = ring.server()
    flood_until_blocked(ring, server, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    server.shut()
    total = drip(ring, client, 4)
    assert (client.end, total) == ("fin", len(server.sent))


def flood_until_blocked(ring, end, head):
    """Fills everything between this end and the other, without a rest of ours that waits."""
    end.sent = bytearray(head)
    end.sock.send(head)
    while True:
        try:
            count = end.sock.send(b"x" * 65536)
            end.sent += b"x" * count
        except BlockingIOError:
            ring.settle()
            try:
                count = end.sock.send(b"x" * 65536)
                end.sent += b"x" * count
            except BlockingIOError:
                return


def drip(ring, client, seconds):
    """Reads slowly to the end; the payload bytes that came, head of the server's answer included."""
    while client.end is None:
        ring.advance(seconds)
        take_some(ring, client)
        select.select([client.sock], [], [], WINDOW_SECONDS)        # the next bytes, or the end: until then the program's kernel does not know
        ring.settle()
    answer = http1.response_at(client.received, 0, b"GET", True)
    assert bool(answer.complete)
    return len(answer.body) + len(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")


@pytest.mark.not_over("inspected")
def test_a_client_that_takes_nothing_is_left_visibly(ring):
    """Old clients know the end of an answer by the end of the connection: that must not be an end in order."""
    client = ring.client()
    client.paused = True
    ring.say(client, b"GET /x HTTP/1.0\r\n\r\n")
    server = ring.server()
    flood_until_blocked(ring, server, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    server.shut()
    ring.settle()
    ring.advance(60)
    assert ring.sessions() == 0
    client.paused = False
    ring.settle()
    assert client.end == "rst"


# Half-close.


def test_a_client_that_closes_its_half_still_gets_its_answer(ring):
    client, server = ring.asked()
    client.shut()
    ring.settle()
    ring.say(server, OK)
    assert body(client) == b"ok" and client.end == "fin"
    assert ring.ended() == [("end", None, None)] and ring.sessions() == 0


def test_a_client_that_closes_its_half_behind_several_requests(ring):
    client, server = ring.asked(head=GET * 3)
    client.shut()
    for served in range(3):
        ring.say(server, OK)
    assert client.received.count(b"200 OK") == 3 and client.end == "fin"


def test_a_big_answer_to_a_half_closed_slow_client(ring):
    client, server = ring.asked()
    client.shut()
    client.paused = True
    server.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
    ring.settle()
    slowly(ring, client, lambda: len(body(client)) == len(BIG))
    ring.settle()
    assert same(body(client), BIG) and client.end == "fin"


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_tunnel_closes_one_half_after_the_other(ring, first):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    ends = [client, server] if first == "client" else [server, client]
    ends[0].shut()
    ring.settle()
    assert ends[1].end == "fin" and ends[0].end is None
    ring.say(ends[1], b"still here")
    assert ends[0].received.endswith(b"still here")
    ends[1].shut()
    ring.settle()
    assert ends[0].end == "fin" and ring.sessions() == 0
    assert ring.ended()[-1] == ("end", None, first)


def test_the_last_bytes_of_a_tunnel_to_a_slow_half_closed_client(ring):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    client.shut()
    ring.settle()
    client.paused = True
    flood_until_blocked(ring, server, b"")
    server.shut()
    ring.settle()
    slowly(ring, client, lambda: len(client.received) == len(server.sent))
    ring.settle()
    assert client.end == "fin"


# Cut answers look cut.


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("minor", [0, 1])
def test_an_answer_that_its_server_cuts(ring, head, reset, minor):
    client, server = ring.asked(head=b"GET /x HTTP/1.%d\r\nHost: a.test\r\n\r\n" % minor)
    ring.say(server, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n5\r\nabcde\r\n")
    server.close(reset)
    ring.settle()
    answer = http1.response_at(client.received, 0, b"GET", client.end == "fin")
    assert client.end and not answer.complete
    assert ring.ended() == [("end", "peer-reset" if reset else "response-truncated", "server")]


@pytest.mark.parametrize("minor", [0, 1])
def test_an_answer_without_length_ends_with_a_reset(ring, minor):
    client, server = ring.asked(head=b"GET /x HTTP/1.%d\r\nHost: a.test\r\n\r\n" % minor)
    ring.say(server, b"HTTP/1.1 200 OK\r\n\r\nabcde")
    server.close(True)
    ring.settle()
    assert client.end and not http1.response_at(client.received, 0, b"GET", client.end == "fin").complete


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("minor", [0, 1])
def test_an_answer_without_length_ends_with_its_connection(ring, minor):
    client, server = ring.asked(head=b"GET /x HTTP/1.%d\r\nHost: a.test\r\n\r\n" % minor)
    ring.say(server, b"HTTP/1.%d 200 OK\r\n\r\nabcde" % minor)
    server.shut()
    ring.settle()
    answer = http1.response_at(client.received, 0, b"GET", client.end == "fin")
    assert answer.complete and answer.body == b"abcde" and client.end == (None if minor else "fin")


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_passes_through_a_tunnel(ring, side):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    (client if side == "client" else server).close(True)
    ring.settle()
    assert (server if side == "client" else client).end == "rst" and ring.sessions() == 0


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_right_behind_the_last_bytes(ring, side):
    """One event tells of both: the reset is seen a moment later, and must not wait for a timeout."""
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    end = client if side == "client" else server
    end.sock.send(b"last words")
    end.close(True)
    ring.settle()
    ring.advance(0.3)
    assert ring.sessions() == 0


def test_a_body_that_its_client_cuts_never_looks_complete(ring):
    client, server = ring.asked(head=post(100))
    ring.say(client, b"abc")
    client.shut()
    ring.settle()
    assert server.end == "rst" and status(client) in (0, 400)


def test_chunks_that_are_malformed_in_the_middle(ring):
    client, server = ring.asked(head=b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    ring.say(client, b"3\r\nabc\r\n")
    ring.say(client, b"zz\r\n")
    assert server.end == "rst" and b"0\r\n\r\n" not in server.received
    assert status(client) == 400
    assert ring.ended() == [("denied", "body-malformed", "postern")]


def test_trailers_in_pieces(ring):
    client, server = ring.asked()
    ring.say(server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
    for piece in (b"Server-", b"Timing: a\r\n", b"\r", b"\n"):
        ring.say(server, piece)
    assert client.received.endswith(b"\r\n\r\n") and http1.response_at(client.received, 0).complete
    ring.say(client, GET)
    assert server.received.count(b"GET /x") == 2


# Early answers.


def test_an_early_answer_while_the_upload_goes_on(ring):
    client, server = ring.asked(head=post(MIB))
    ring.say(client, b"a" * 1000)
    ring.say(server, b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert status(client) == 413 and re.search(rb"(?i)\r\nconnection: close\r\n", client.received) and client.end == "fin"
    ring.settle()
    assert server.end
    assert ring.ended() == [("end", None, "postern")] or ring.sessions() == 1


def test_an_early_answer_from_a_server_that_resets(ring):
    """413, then close with unread bytes: our next write fails, and the answer that lies there counts all the same."""
    client, server = ring.asked(head=post(4 * MIB))
    server.paused = True
    ring.say(client, b"a" * 100000)
    server.sock.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    server.close()
    client.write(b"a" * MIB)
    ring.settle()
    assert status(client) == 413 and body(client) == b"big"


@pytest.mark.not_over("inspected")
def test_a_server_that_answers_and_resets_before_it_was_asked(ring):
    client = ring.client()
    server = ring.unanswered(client, GET)
    server.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    server.close(True)
    ring.host.ask("release")
    ring.settle()
    assert status(client) == 502 and b"evil" not in client.received


def test_expect_continue_passes_both_ways(ring):
    client, server = ring.asked(head=post(3)[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert b"Expect: 100-continue" in server.received
    ring.say(server, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    ring.say(client, b"abc")
    ring.say(server, OK)
    assert client.received.endswith(b"ok") and client.end is None


def test_expect_continue_refused(ring):
    client, server = ring.asked(head=post(3)[:-2] + b"Expect: 100-continue\r\n\r\n")
    ring.say(server, b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
    assert status(client) == 417 and client.end == "fin" and server.end


# Memory and fairness.


@pytest.mark.not_over("inspected")
def test_a_client_that_reads_none_of_its_refusals_is_not_served_for_ever(ring):
    client = ring.client()
    client.paused = True
    denied = b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n"
    ring.say(client, denied)
    sent = 0
    for _ in range(4000):
        try:
            sent += client.sock.send(denied)
        except BlockingIOError:
            break
        # Where more than one came at once, the limit of requests ahead would end it.
        ring.settle()
        ring.records()
    for _ in range(200):
        try:
            sent += client.sock.send(denied * 100)
        except BlockingIOError:
            break
        ring.host.ask("turn")
        ring.records()
    else:
        raise AssertionError("all is taken from a client that reads nothing")


def queued(*ends):
    """Bytes that kernels hold of the connections of these ends: behind the writer, and before the reader (/proc/net/tcp)."""
    ports = {f"{port:04X}" for end in ends for port in (end.sock.getsockname()[1], end.sock.getpeername()[1])}
    total = 0
    with open("/proc/net/tcp") as file:
        for line in file.readlines()[1:]:
            words = line.split()
            if words[1][-4:] in ports and words[2][-4:] in ports:
                total += sum(int(count, 16) for count in words[4].split(":"))
    return total


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("kind", ["http", "chunked", "tunnel", "websocket"])
def test_no_more_than_128_kib_is_held_for_a_slow_reader(ring, kind, up):
    if kind == "tunnel":
        client, server = ring.tunnel(OTHER)
        ring.say(client, b"\0")
    elif kind == "websocket":
        client, server = ring.websocket()
    else:
        coding = b"Transfer-Encoding: chunked\r\n" if kind == "chunked" else b"Content-Length: 8000000\r\n"
        client, server = ring.asked(head=b"POST /x HTTP/1.1\r\nHost: a.test\r\n" + coding + b"\r\n" if up else GET)
        if not up:
            ring.say(server, b"HTTP/1.1 200 OK\r\n" + coding + b"\r\n")
    writer, reader = (client, server) if up else (server, client)
    reader.received.clear()
    reader.paused = True
    piece = {"websocket": ws.frame(ws.BINARY, b"x" * 5000, mask=up), "chunked": b"1f4\r\n" + b"x" * 500 + b"\r\n"}.get(kind, b"x" * 5000)
    writer.write(piece * (2 * MIB // len(piece)))
    ring.settle()
    samples, end = [0], time.monotonic() + PATIENCE
    # Until what was delivered is acknowledged, too: before, it is counted at both ends.
    while (len(samples) < 4 or samples[-1] != samples[-3] or samples[-1] <= 0) and time.monotonic() < end:
        select.select([], [], [], 0.03)
        ring.settle()
        # Where the writer speaks TLS, what it has encrypted and its kernel has not taken is its own, too.
        left = writer.left + len(getattr(writer.sock, "out", b""))
        samples.append(2 * MIB // len(piece) * len(piece) - left - queued(client, server))
    assert left > 0 and 0 < samples[-1] <= 131072 + 2048
