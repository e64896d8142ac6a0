# SPDX-License-Identifier: ISC
"""One record for each exchange, tunnel and denial, whoever ends it and when; keeping connections; pipelining."""
import re

import pytest

from lib import ws
from ring import GET, OK, ORIGIN, OTHER, body, post, status

DENIED = b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n"


def answered(n):
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % n


def serve(ring, end, most=100):
    """Answers what comes on this connection, one by one; how many there were."""
    for served in range(most):
        if end.received.count(b"\r\n\r\n") <= served:
            return served
        ring.say(end, answered(served))
    return most


def test_the_record_of_an_exchange(ring):
    client, server = ring.asked(head=post(5) + b"hello")
    ring.say(server, OK)
    (record,) = ring.records()
    assert record["event"] == "end" and record["session"] == "0-1" and record["request"] == "0-1-1"
    assert (record["bytes_up"], record["bytes_down"], record["status"]) == (5, 2, 200)
    assert (record["method"], record["path"], record["policy"], record["protocol"]) == ("POST", "/x", "to-site", "http")


def test_requests_are_numbered(ring):
    client, server = ring.asked()
    for _ in range(3):
        ring.say(server, OK)
        ring.say(client, GET)
    other = ring.client()
    ring.say(other, DENIED)
    assert [record["request"] for record in ring.records()] == ["0-1-1", "0-1-2", "0-1-3", "0-2-1"]


def test_a_denial_keeps_the_connection(ring):
    client, server = ring.kept()
    for _ in range(3):
        ring.say(client, DENIED)
    assert client.received.count(b"HTTP/1.1 403") == 3 and client.end is None
    assert ring.ended() == [("denied", "policy-denied", "postern")] * 3
    ring.say(client, GET)
    ring.say(server, OK)
    assert client.received.endswith(b"ok")


@pytest.mark.parametrize("request_, code", [
    (post(5).replace(b"/x", b"/deny"), 403), (b"GET /x HTTP/1.1\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /x HTTP/2.0\r\n\r\n", 505), (b"\r\n\r\nGET", 400), (b"GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 400),
    (DENIED.replace(b"1.1\r\n", b"1.0\r\n"), 403), (DENIED[:-2] + b"Connection: close\r\n\r\n", 403)])
def test_denials_that_end_the_connection(ring, request_, code):
    client = ring.client()
    ring.say(client, request_)
    assert status(client) == code and client.end == "fin" and b"Connection: close" in client.received
    assert len(ring.records()) == 1


def test_a_denial_to_head_has_no_body(ring):
    client = ring.client()
    ring.say(client, DENIED.replace(b"GET", b"HEAD"))
    assert status(client) == 403 and body(client) == b""
    ring.say(client, DENIED)
    assert client.received.count(b"HTTP/1.1 403") == 2


def test_pipelined_requests_are_answered_in_order(ring):
    client, server = ring.asked(head=GET * 5)
    assert serve(ring, server) == 5
    assert [part[:2] for part in client.received.split(b"\r\n\r\n")[1:]] == [b"%02d" % n for n in range(5)]
    assert client.end is None and len(ring.records()) == 5


@pytest.mark.limits(pipeline=3)
@pytest.mark.parametrize("count, last", [(3, False), (4, True), (12, True)])
def test_pipelining_is_bounded(ring, count, last):
    client, server = ring.asked(head=GET * count)
    served = serve(ring, server)
    assert served == 3 and (client.end == "fin") == last
    assert (b"Connection: close" in client.received) == last
    assert [reason for _, reason, _ in ring.ended()] == [None] * 3 + ["pipeline-limit"] * last


@pytest.mark.limits(pipeline=1)
def test_requests_that_wait_for_their_answers_are_not_pipelined(ring):
    client, server = ring.kept()
    for _ in range(4):
        ring.say(client, GET)
        ring.say(server, OK)
    assert client.end is None and client.received.count(b"200 OK") == 4


def test_a_denied_one_among_pipelined_ones(ring):
    client, server = ring.asked(head=GET + DENIED + GET)
    assert b"403" not in client.received
    serve(ring, server)
    assert re.findall(rb"HTTP/1.1 (\d+)", client.received) == [b"200", b"403", b"200"]


def test_old_clients(ring):
    client, server = ring.asked(head=b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\nHost: a.test\r\n\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok" and client.end is None and b"Connection: keep-alive" in client.received
    ring.say(client, b"GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n")
    ring.say(server, OK)
    assert client.end == "fin"


def test_old_servers(ring):
    client, server = ring.asked()
    ring.say(server, OK.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert body(client) == b"ok" and client.end is None and server.end
    ring.say(client, GET)
    assert ring.dial() is not None


@pytest.mark.parametrize("answer", [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4000\r\n\r\n",
                                    b"HTTP/1.1 204 No Content\r\n\r\n"])
def test_answers_without_a_body(ring, answer):
    client, server = ring.asked()
    ring.say(server, answer)
    ring.say(client, GET)
    ring.say(server, OK)
    assert client.received.endswith(b"\r\n\r\nok")


def test_head_says_how_long_it_would_be(ring):
    client, server = ring.asked(head=GET.replace(b"GET", b"HEAD"))
    ring.say(server, b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    assert b"Content-Length: 4000\r\n" in client.received and client.end is None
    ring.say(client, GET)
    ring.say(server, OK)
    assert client.received.endswith(b"ok")


@pytest.mark.parametrize("head", [GET, post(3) + b"abc", ws.handshake("/ws", "a.test")])
def test_a_client_that_resets_while_it_waits(ring, head):
    """The server need not answer first."""
    client, server = ring.asked(head=head)
    client.close(True)
    ring.settle()
    ring.advance(0.3)
    assert ring.ended() == [("end", "client-gone", "client")]
    assert server.end == "rst" and ring.sessions() == 0


# Whoever goes, and whenever: one record, no session left.

PHASES = {
    "new": lambda ring: (ring.client(), None),
    "new explicit": lambda ring: (ring.client("proxy"), None),
    "head": lambda ring: part(ring, "site", b"GET /x HT"),
    "head explicit": lambda ring: part(ring, "proxy", b"GE"),
    "socks": lambda ring: part(ring, "proxy", b"\x05\x01"),
    "socks request": lambda ring: part(ring, "proxy", b"\x05\x01\x00\x05"),
    "dial": lambda ring: held(ring, "site", GET),
    "tunnel dial": lambda ring: held(ring, "proxy", f"CONNECT {OTHER} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()),
    "asked": lambda ring: ring.asked(),
    "upload": lambda ring: ring.asked(head=post(100) + b"abc"),
    "chunked upload": lambda ring: ring.asked(head=b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"),
    "interim": lambda ring: said(ring, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "answer head": lambda ring: said(ring, b"HTTP/1.1 200 OK\r\nContent-"),
    "answer body": lambda ring: said(ring, OK[:-1]),
    "answer chunks": lambda ring: said(ring, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"),
    "answer until close": lambda ring: said(ring, b"HTTP/1.1 200 OK\r\n\r\nab"),
    "early answer": lambda ring: said(ring, OK[:-1], post(100)),
    "kept": lambda ring: ring.kept(),
    "kept shared": lambda ring: ring.kept("shared"),
    "peek": lambda ring: ring.tunnel(OTHER),
    "peek hello": lambda ring: spoken(ring, ORIGIN, b"\x16\x03\x01"),
    "tunnel": lambda ring: spoken(ring, OTHER, b"\0hello"),
    "http in tunnel": lambda ring: spoken(ring, ORIGIN, f"GET /x HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode()),
    "upgrade": lambda ring: ring.asked(head=ws.handshake("/ws", "a.test")),
    "websocket": lambda ring: ring.websocket(),
    "websocket frame": lambda ring: framed(ring),
    "websocket closing": lambda ring: closing(ring),
}


def part(ring, listener, data):
    client = ring.client(listener)
    ring.say(client, data)
    return client, None


def held(ring, listener, request):
    client = ring.client(listener)
    server = ring.unanswered(client, request)
    return client, server


def said(ring, answer, request=GET):
    client, server = ring.asked(head=request)
    ring.say(server, answer)
    return client, server


def spoken(ring, to, data):
    client, server = ring.tunnel(to)
    ring.say(client, data)
    return client, server


def framed(ring):
    client, server = ring.websocket()
    ring.say(client, ws.frame(ws.TEXT, b"hello", mask=True)[:8])
    ring.say(server, ws.frame(ws.TEXT, b"hello")[:4])
    return client, server


def closing(ring):
    client, server = ring.websocket()
    ring.say(client, ws.close_frame(1000, mask=True))
    return client, server


NO_SERVER = {"new", "new explicit", "head", "head explicit", "socks", "socks request"}
NOTHING_ASKED = NO_SERVER | {"kept", "kept shared"}


def expected(phase, how):
    """How many records there are. Half-closed, a client that asked nothing may wait until a timeout denies it."""
    if phase in NOTHING_ASKED:
        return {0, 1} if how == "half" else {0}
    return {2} if phase == "http in tunnel" else {1} # the CONNECT's own, too


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
@pytest.mark.parametrize("phase, side", [(phase, side) for phase in PHASES for side in ("client", "server")
                                         if side == "client" or phase not in NO_SERVER])
def test_an_end_in_every_phase(ring, phase, side, how):
    client, server = PHASES[phase](ring)
    end = client if side == "client" else server
    if how == "half":
        end.shut()
    else:
        end.close(how == "rst")
    ring.settle()
    ring.host.ask("release")
    ring.settle()
    ring.advance(30)
    records = [record for record in ring.records() if record["event"] in ("end", "denied")]
    assert len(records) in expected(phase, how), records
    assert len({record.get("request") for record in records}) == len(records)
    assert ring.sessions() == 0
