# SPDX-License-Identifier: ISC
"""Each timeout fires when its time is over, not before, with its reason; and what moves in time is left alone."""
import socket

import pytest

from lib import http1, ws
from ring import GET, OK, ORIGIN, OTHER, RESOLVER, body, close_codes, post, status

TICK = 0.2  # a timer fires late by two ticks at most; the rest is the test's


def fires(ring, seconds, expected, by="postern"):
    """Nothing happens until `seconds` from now, and this is what happens then."""
    ring.advance(seconds - TICK)
    assert ring.ended() == []
    ring.advance(2 * TICK)
    assert ring.ended() == ([(*expected, by)] if expected else [])


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("listener", ["site", "proxy"])
def test_a_client_that_never_speaks(ring, listener):
    client = ring.client(listener)
    fires(ring, 3, ("denied", "timeout-handshake"))
    assert client.end == "fin" and not client.received


@pytest.mark.parametrize("greeting", [b"\x05", b"\x05\x01\x00", b"\x16\x03"])
def test_a_socks_client_that_stops(ring, greeting):
    client = ring.client("proxy")
    ring.say(client, greeting)
    fires(ring, 3, ("denied", "timeout-handshake"))
    assert client.end == "fin"


@pytest.mark.parametrize("listener", ["site", "proxy"])
def test_a_head_is_timed_in_total(ring, listener):
    client = ring.client(listener)
    ring.advance(1)
    for byte in GET[:19]:
        ring.say(client, bytes([byte]))
        ring.advance(0.2)
    assert ring.ended() == [] and not client.received
    fires(ring, 0.2, ("denied", "timeout-header"))
    assert status(client) == 408 and client.end == "fin"


def test_the_second_head_too(ring):
    client, _ = ring.kept()
    ring.say(client, b"GET ")
    fires(ring, 4, ("denied", "timeout-header"))
    assert status(client) == 408


def test_an_idle_connection(ring):
    """No record: nothing was asked and nobody is denied."""
    client, server = ring.kept()
    fires(ring, 8, None)
    assert client.end == "fin" and server.end == "fin"


def test_an_idle_connection_that_speaks_in_time(ring):
    client, server = ring.kept()
    ring.advance(7.5)
    ring.say(client, GET)
    ring.say(server, OK)
    ring.advance(7.5)
    assert client.end is None


@pytest.mark.not_over("inspected")
def test_a_dial(ring):
    client = ring.client()
    ring.unanswered(client, GET)
    fires(ring, 6, ("denied", "timeout-connect"))
    assert status(client) == 504 and client.end is None


@pytest.mark.parametrize("to", [ORIGIN, OTHER])
def test_a_dial_for_a_tunnel(ring, to):
    client = ring.client("proxy")
    ring.unanswered(client, f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
    fires(ring, 6, ("denied", "timeout-connect"))
    assert status(client) == 504


def test_a_look_up(ring):
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(RESOLVER)
    client = ring.client("proxy")
    ring.say(client, b"GET http://nobody.test:8000/ HTTP/1.1\r\nHost: nobody.test:8000\r\n\r\n")
    fires(ring, 1, ("denied", "name-timeout"))
    assert status(client) == 504 and client.end is None
    silent.close()


@pytest.mark.not_over("inspected")
def test_a_server_that_does_not_answer(ring):
    client, server = ring.asked()
    fires(ring, 7, ("denied", "timeout-response"))
    assert status(client) == 504 and server.end == "rst" and client.end is None
    client.received.clear()
    ring.say(client, GET)
    ring.say(ring.server(), OK)
    assert body(client) == b"ok"


def test_interim_answers_win_no_time(ring):
    client, server = ring.asked()
    ring.advance(5)
    ring.say(server, b"HTTP/1.1 103 Early Hints\r\n\r\n")
    fires(ring, 2, ("denied", "timeout-response"))


@pytest.mark.limits(client_rate=0)
def test_the_answer_is_waited_for_from_the_end_of_the_request(ring):
    client, server = ring.asked(head=post(3))
    ring.advance(4)
    ring.say(client, b"ab")
    ring.advance(4)
    ring.say(client, b"c")
    fires(ring, 7, ("denied", "timeout-response"))


@pytest.mark.limits(client_rate=0)
def test_an_upload_that_stops(ring):
    client, server = ring.asked(head=post(3))
    ring.advance(4)
    ring.say(client, b"ab")
    fires(ring, 5, ("denied", "timeout-body"))
    assert status(client) == 408 and client.end == "fin" and server.end == "rst"


def test_a_server_that_takes_no_more_of_an_upload(ring):
    client, server = ring.asked(head=post(4 << 20))
    server.paused = True
    client.write(b"a" * (4 << 20))
    ring.settle()
    fires(ring, 5, ("denied", "timeout-response"))
    assert status(client) == 504


def test_an_answer_that_stops(ring):
    client, server = ring.asked()
    ring.say(server, OK[:-1])
    ring.advance(4)
    assert ring.ended() == []
    fires(ring, 1, ("end", "timeout-body"))
    assert client.end == "fin" and not client.received.endswith(b"ok")


def test_an_answer_that_goes_on(ring):
    client, server = ring.asked()
    ring.say(server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    for _ in range(5):
        ring.advance(4)
        ring.say(server, b"a")
    assert body(client) == b"aaaaa"


def test_events_pass_one_by_one(ring):
    client, server = ring.asked()
    ring.say(server, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for n in range(3):
        ring.say(server, b"data: %d\n\n" % n)
        assert client.received.endswith(b"data: %d\n\n\r\n" % n)


def test_a_tunnel_in_which_nobody_speaks_first(ring):
    client, server = ring.tunnel(OTHER)
    fires(ring, 3, ("end", "timeout-handshake"))
    assert client.end and server.end


def test_a_hello_that_never_ends(ring):
    client, server = ring.tunnel()
    ring.say(client, b"\x16\x03\x01\x02\x00\x01")
    fires(ring, 3, ("end", "timeout-handshake"))
    assert not server.received


@pytest.mark.parametrize("up", [True, False])
def test_an_idle_tunnel(ring, up):
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    ring.advance(8)
    ring.say(client if up else server, b"still here")
    fires(ring, 9, ("end", "timeout-tunnel"))
    assert client.end and server.end


@pytest.mark.parametrize("up", [True, False])
def test_an_idle_websocket(ring, up):
    client, server = ring.websocket()
    ring.advance(8)
    ring.say(client if up else server, ws.frame(ws.PING, mask=up))
    fires(ring, 9, ("end", "timeout-tunnel"))
    assert close_codes(client) == [1001] and close_codes(server) == [1001]


@pytest.mark.parametrize("up", [True, False])
def test_a_close_frame_that_nobody_answers(ring, up):
    client, server = ring.websocket()
    ring.say(client if up else server, ws.close_frame(3000, mask=up))
    ring.advance(5 - TICK)
    assert ring.ended() == []
    ring.advance(2 * TICK)
    (record,) = ring.records()
    assert (record["event"], record["reason"], record["close_code"]) == ("end", "timeout-close", 3000)


def test_a_handshake_that_the_server_does_not_answer(ring):
    client, server = ring.asked(head=ws.handshake("/ws", "a.test"))
    fires(ring, 7, ("denied", "timeout-response"))
    assert status(client) == 504


def test_a_stream_is_reported_while_it_lives(ring):
    client, server = ring.websocket()
    for _ in range(3):
        ring.advance(6 + TICK)
        ring.say(client, ws.frame(ws.PING, mask=True))
    events = [record["event"] for record in ring.records()]
    assert events == ["interval"] * 3
    ring.say(client, ws.close_frame(1000, mask=True))
    ring.say(server, ws.close_frame(1000))
    assert [record["event"] for record in ring.records()] == ["end"]


@pytest.mark.parametrize("idle", [True, False])
def test_a_drain(ring, idle):
    client, server = ring.kept() if idle else ring.asked()
    ring.host.ask("drain 2000")
    ring.settle()
    assert (client.end == "fin") == idle
    ring.advance(1.8)
    if not idle:
        assert client.end is None
        ring.advance(0.4)
        assert client.end and ring.ended() == [("end", "drained", "postern")]
    assert ring.sessions() == 0


def test_an_answer_in_a_drain_is_the_last(ring):
    client, server = ring.asked()
    ring.host.ask("drain 2000")
    ring.say(server, OK)
    assert body(client) == b"ok" and b"Connection: close" in client.received and client.end == "fin"


@pytest.mark.not_over("ended", "inspected")
def test_who_asked_for_the_end_is_not_waited_for(ring):
    client, server = ring.asked(head=GET[:-2] + b"Connection: close\r\n\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok" and client.end == "fin" and ring.sessions() == 0


def test_who_asked_for_the_end_and_still_uploads_is_waited_for(ring):
    """It has an early answer, and close() would answer what it still sends with a reset."""
    client, server = ring.asked(head=post(1000)[:-2] + b"Connection: close\r\n\r\n")
    ring.say(client, b"x" * 10)
    ring.say(server, OK)
    assert body(client) == b"ok" and client.end == "fin" and ring.sessions() == 1
    ring.say(client, b"x" * 990)
    assert client.end == "fin"
    client.close()
    ring.settle()
    assert ring.sessions() == 0


@pytest.mark.not_over("ended", "inspected")
def test_who_asked_for_the_end_and_goes_on_is_waited_for(ring):
    """The last of its answer waits for it, and it speaks meanwhile."""
    client, server = ring.asked(head=GET[:-2] + b"Connection: close\r\n\r\n")
    client.paused = True
    ring.say(server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = waits = 0
    while waits < 5:            # what the kernel does not take waits, and goes on waiting
        size = 1000 if waits else 20000
        ring.say(server, b"%x\r\n%s\r\n" % (size, b"x" * size))
        sent += size
        waits = waits + 1 if ring.waiting() else 0
    ring.say(server, b"0\r\n\r\n")
    assert ring.ended() == [("end", None, None)] and ring.sessions() == 1
    ring.say(client, b"more")
    client.paused = False
    while client.end is None:
        ring.say(client, b"more")
    assert http1.response_at(client.received, 0).body == b"x" * sent and client.end == "fin"


def test_a_killed_session_that_is_closing(ring):
    """A client that goes on behind its last request is: what it says is thrown away, so that it sees its answer and not a reset."""
    client, server = ring.asked(head=GET[:-2] + b"Connection: close\r\n\r\nmore")
    ring.say(server, OK)
    assert client.end == "fin" and ring.sessions() == 1
    ring.host.ask("kill 1")
    ring.host.ask("turn")
    assert ring.sessions() == 0 and ring.ended() == [("end", None, None)]


def test_a_websocket_in_a_drain(ring):
    client, server = ring.websocket()
    ring.host.ask("drain 2000")
    ring.advance(2.2)
    assert close_codes(client) == [1012] and close_codes(server) == [1001]
    assert ring.ended() == [("end", "drained", "postern")]
