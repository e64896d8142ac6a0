# SPDX-License-Identifier: ISC
"""Tunnels through which much flows: the bytes are spliced, and everything else is as if they were read and written."""
import os
import random
import socket

import pytest

from ring import GET, OK, OTHER, body, post

MUCH = 16 << 20          # more than sockets and a pipe hold
LEAST = 1 << 17          # what is read even if nobody takes it: a full buffer, and then more
FIRST = b"\0first"       # nobody's protocol
WAYS = ("connect", "socks", "transparent")


def much(count=MUCH, seed=1):
    return random.Random(seed).randbytes(count)


def opened(ring, way="connect"):
    """(client, server) of a tunnel that stands, FIRST having passed."""
    if way == "connect":
        client, server = ring.tunnel(OTHER)
    elif way == "socks":
        host, _, port = OTHER.rpartition(":")
        client = ring.client("proxy")
        ring.say(client, b"\x05\x01\x00")
        ring.say(client, b"\x05\x01\x00\x01" + socket.inet_aton(host) + int(port).to_bytes(2, "big"))
        server = ring.server()
        client.received.clear()
    else:
        client = ring.client("strict", OTHER)
    ring.say(client, FIRST)
    if way == "transparent":
        server = ring.server()
    assert bytes(server.received) == FIRST and not client.received
    server.received.clear()
    return client, server


def pipes(ring):
    """Descriptors of pipes that the program has, but for its standard streams."""
    folder = f"/proc/{ring.host.process.pid}/fd"
    return sum(os.readlink(f"{folder}/{fd}").startswith("pipe:") for fd in os.listdir(folder) if int(fd) > 2)


def stuck(ring, reader, writer):
    """Nobody reads what `writer` says, until it can say no more; returns what it said."""
    data = much()
    reader.paused = True
    ring.say(writer, data)
    said = data[:len(data) - writer.left]
    assert len(said) < len(data)
    writer.queue.clear()
    return said


def ended_by_reset(ring, who):
    ((event, reason, by),) = ring.ended()
    return event == "end" and by == who and reason in (("peer-reset", "client-gone") if who == "client" else ("peer-reset",))


@pytest.mark.parametrize("way", WAYS)
def test_all_of_it_arrives_and_is_counted(ring, way):
    client, server = opened(ring, way)
    before, up, down = pipes(ring), much(4 << 20, 1), much(8 << 20, 2)
    client.write(up)
    ring.say(server, down)
    assert bytes(server.received) == up and bytes(client.received) == down
    assert pipes(ring) > before
    (row,) = ring.rows()
    assert (row["bytes_up"], row["bytes_down"]) == (len(FIRST) + len(up), len(down))
    client.close()
    ring.settle()
    server.close()
    ring.settle()
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["bytes_up"], record["bytes_down"]) == (len(FIRST) + len(up), len(down))
    assert (record["reason"], record["closed_by"]) == ("ok", "client")


def test_little_is_not_spliced(ring):
    client, server = opened(ring)
    before = pipes(ring)
    for _ in range(50):
        ring.say(client, much(10000))
        ring.say(server, much(10000))
    assert len(server.received) == len(client.received) == 500000 and pipes(ring) == before


@pytest.mark.parametrize("down", [True, False])
def test_a_reader_that_stops_stops_the_writer(ring, down):
    ends = opened(ring)
    reader, writer = ends if down else ends[::-1]
    said, key, first = stuck(ring, reader, writer), "bytes_down" if down else "bytes_up", 0 if down else len(FIRST)
    (row,) = ring.rows()
    assert LEAST < row[key] <= len(said) + first
    reader.paused = False
    ring.say(writer, b"more")
    assert bytes(reader.received) == said + b"more"
    (row,) = ring.rows()
    assert row[key] == len(said) + len(b"more") + first


@pytest.mark.parametrize("down", [True, False])
def test_an_end_behind_much(ring, down):
    ends = opened(ring)
    reader, writer = ends if down else ends[::-1]
    said = stuck(ring, reader, writer)
    writer.shut()
    ring.settle()
    reader.paused = False
    ring.settle()
    assert bytes(reader.received) == said and reader.end == "fin" and writer.end is None
    ring.say(reader, b"still heard")
    assert writer.received == b"still heard"
    reader.shut()
    ring.settle()
    assert writer.end == "fin" and ring.sessions() == 0


@pytest.mark.parametrize("down", [True, False])
def test_a_writer_that_is_reset(ring, down):
    """What it said before may be lost, but its end does not look like one in order."""
    ends = opened(ring)
    reader, writer = ends if down else ends[::-1]
    stuck(ring, reader, writer)
    writer.close(reset=True)
    ring.advance(1)
    reader.paused = False
    ring.settle()
    assert reader.end == "rst"
    assert ended_by_reset(ring, "server" if down else "client")


@pytest.mark.parametrize("down", [True, False])
def test_a_reader_that_is_reset(ring, down):
    ends = opened(ring)
    reader, writer = ends if down else ends[::-1]
    stuck(ring, reader, writer)
    reader.close(reset=True)
    ring.advance(1)
    assert writer.end == "rst" and ring.sessions() == 0
    assert ended_by_reset(ring, "client" if down else "server")


def test_one_that_stands_still_is_idle(ring):
    client, server = opened(ring)
    stuck(ring, client, server)
    ring.advance(8)
    assert ring.sessions() == 1
    ring.advance(2)
    assert ring.sessions() == 0
    assert ring.ended()[-1][1] == "timeout-tunnel"


def test_a_policy_that_changes(ring):
    client, server = opened(ring)
    stuck(ring, client, server)
    ring.reload(policies=[{"name": "no-more", "listeners": ["proxy"], "protocols": ["tunnel"], "action": "deny"}])
    client.paused = False
    ring.settle()
    assert client.end == "rst" and server.end == "rst" and ring.sessions() == 0
    assert ring.ended()[-1][1] == "revoked"


def test_more_tunnels_than_pipes(ring):
    """All stand still at once; then all go on."""
    pairs = [opened(ring) for _ in range(40)]
    data = much(4 << 20)
    for client, server in pairs:
        client.paused = True
        server.write(data)
    ring.settle()
    assert 0 < pipes(ring) <= 2 * 32 + 2
    for client, _ in pairs:
        client.paused = False
    ring.settle()
    assert all(bytes(client.received) == data for client, _ in pairs)


def answer(length):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


def test_a_long_answer_and_the_next(ring):
    client, server = ring.asked()
    before, data = pipes(ring), much(4 << 20)
    ring.say(server, answer(len(data)) + data)
    assert body(client) == data and pipes(ring) > before
    client.received.clear()
    server.received.clear()
    ring.say(client, GET)
    assert server.received.startswith(b"GET /x")
    ring.say(server, OK)
    assert body(client) == b"ok"
    assert [(r["bytes_up"], r["bytes_down"], r["reason"]) for r in ring.records()] == [(0, len(data), "ok"), (0, 2, "ok")]


def test_bytes_behind_a_long_answer(ring):
    client, server = ring.asked()
    data = much(4 << 20)
    ring.say(server, answer(len(data)) + data + b"HTTP/1.1 200 OK\r\n")
    assert body(client) == data and server.end
    assert ring.ended() == [("end", "surplus-answer", "server")]


@pytest.mark.parametrize("missing", [1, 1 << 20])
def test_a_long_answer_that_is_cut(ring, missing):
    client, server = ring.asked()
    data = much(4 << 20)
    ring.say(server, answer(len(data)) + data[missing:])
    assert len(body(client)) == len(data) - missing
    server.close()
    ring.settle()
    assert client.end == "rst" or len(body(client)) < len(data)
    assert ring.ended() == [("end", "response-truncated", "server")]


def test_a_long_upload_and_the_next(ring):
    data = much(4 << 20)
    client, server = ring.asked(head=post(len(data)))
    before = pipes(ring)
    server.received.clear()
    ring.say(client, data + GET)
    assert bytes(server.received) == data and pipes(ring) > before
    ring.say(server, OK)
    assert server.received[len(data):].startswith(b"GET /x")
    ring.say(server, OK)
    assert [(r["bytes_up"], r["bytes_down"], r["reason"]) for r in ring.records()] == [(len(data), 2, "ok"), (0, 2, "ok")]


def test_a_long_upload_that_is_cut(ring):
    client, server = ring.asked(head=post(4 << 20))
    ring.say(client, much(1 << 20))
    client.close()
    ring.settle()
    assert server.end == "rst"
    assert ring.ended() == [("denied", "client-gone", "postern")]
