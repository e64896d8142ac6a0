# SPDX-License-Identifier: ISC
"""limits.client_rate: a client for which everything waits has to move that much in each stretch of timeouts.body (5 s here), and nobody else."""
import pytest

from ring import OK, post, status

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
LARGE = 8 << 20


def drip(ring, end, seconds, size):
    for _ in range(seconds):
        ring.advance(1)
        ring.say(end, b"b" * size)


@pytest.mark.limits(client_rate=100)
def test_a_slow_upload(ring):
    """One byte less than it takes in the first five seconds."""
    client, server = ring.asked(head=post(10000))
    drip(ring, client, 4, 100)
    ring.say(client, b"b" * 99)
    assert ring.ended() == []
    ring.advance(1.2)
    assert ring.ended() == [("denied", "timeout-body", "postern")]
    assert status(client) == 408 and server.end == "rst"


@pytest.mark.limits(client_rate=100)
def test_an_upload_that_is_just_fast_enough(ring):
    client, server = ring.asked(head=post(1500))
    drip(ring, client, 15, 100)
    ring.say(server, OK)
    assert status(client) == 200 and ring.ended() == [("end", None, None)]


@pytest.mark.limits(client_rate=100)
def test_each_stretch_is_measured_anew(ring):
    """A burst at the begin buys five seconds, not more."""
    client, _ = ring.asked(head=post(1 << 20))
    drip(ring, client, 1, 100000)
    drip(ring, client, 7, 10)
    assert ring.ended() == []
    drip(ring, client, 3, 10)
    assert ring.ended() == [("denied", "timeout-body", "postern")]


@pytest.mark.limits(client_rate=0)
def test_no_rate(ring):
    client, server = ring.asked(head=post(30))
    drip(ring, client, 30, 1)
    ring.say(server, OK)
    assert status(client) == 200


@pytest.mark.limits(client_rate=1000000)
def test_an_answer_that_comes_slowly(ring):
    """That is the server's doing: events, one by one."""
    client, server = ring.asked()
    ring.say(server, HEAD % 20)
    drip(ring, server, 20, 1)
    assert client.received.endswith(b"b" * 20) and ring.ended() == [("end", None, None)]


@pytest.mark.limits(client_rate=1000000)
def test_a_server_that_takes_an_upload_slowly(ring):
    client, server = ring.asked(head=post(LARGE))
    server.paused = True
    client.write(b"b" * LARGE)
    for _ in range(12):
        ring.advance(1)
        server.received += server.sock.recv(1 << 18)
    assert ring.ended() == []


def read_slowly(ring, seconds, size):
    client, server = ring.asked()
    client.paused = True
    server.write(HEAD % LARGE + b"b" * LARGE)
    ring.settle()
    for _ in range(seconds):
        ring.advance(1)
        client.sock.recv(size)
        ring.settle()
    return ring.ended()


@pytest.mark.not_over("ended", "inspected", "upstream")     # ends over TLS write in pieces: between two of them nothing waits for the client
@pytest.mark.limits(client_rate=1000000)
def test_a_slow_reader(ring):
    assert read_slowly(ring, 6, 1 << 18) == [("end", "timeout-body", "postern")]


@pytest.mark.limits(client_rate=10000)
def test_a_reader_that_is_fast_enough(ring):
    assert read_slowly(ring, 12, 1 << 18) == []
