# SPDX-License-Identifier: ISC
"""A server's bytes reach the client that asked for them, as the answer to what it asked, or nobody."""
import pytest

from lib import ws
from ring import GET, OK, ORIGIN, body, post, status

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.not_over("inspected")
def test_an_answer_between_requests_is_nobodys(ring):
    client, server = ring.kept()
    ring.say(server, EVIL)
    assert server.end and not client.received
    assert ring.ended() == [("denied", "unsolicited-bytes", "server")]
    ring.say(client, GET)
    ring.say(ring.server(), OK)
    assert body(client) == b"ok"


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("first", ["answer", "request"])
def test_an_answer_that_lies_there_when_the_next_request_comes(ring, first):
    """Whatever the program is told first: behind a request it sees the answer only because it looks."""
    client, server = ring.kept()
    for end, data in ((server, EVIL), (client, GET)) if first == "answer" else ((client, GET), (server, EVIL)):
        end.sock.send(data)
    ring.settle()
    fresh = ring.server()
    assert server.end and not client.received
    ring.say(fresh, OK)
    assert body(client) == b"ok"
    assert [reason for _, reason, _ in ring.ended()] == ["unsolicited-bytes", None]


@pytest.mark.not_over("inspected")
def test_a_second_answer_behind_the_first(ring):
    client, server = ring.asked()
    ring.say(server, OK + EVIL)
    assert body(client) == b"ok" and server.end
    assert ring.ended() == [("end", "surplus-answer", "server")]
    ring.say(client, GET)
    ring.say(ring.server(), OK)
    assert b"evil" not in client.received


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("listener", ["site", "never", "shared"])
def test_an_answer_before_the_request(ring, listener):
    """The server speaks as soon as it accepts: the bytes lie there before the program has written anything."""
    client = ring.client(listener)
    server = ring.unanswered(client, GET)
    server.sock.send(EVIL)
    ring.host.ask("release")
    ring.settle()
    assert status(client) == 502 and b"evil" not in client.received
    assert [reason for _, reason, _ in ring.ended()] == ["answer-before-request"]


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("first", ["answer", "request"])
def test_bytes_before_a_request_on_a_shared_connection(ring, first):
    _, server = ring.kept("shared")
    other = ring.client("shared")
    for end, data in ((server, EVIL), (other, GET)) if first == "answer" else ((other, GET), (server, EVIL)):
        end.sock.send(data)
    fresh = ring.server()
    assert fresh is not server and not other.received
    ring.say(fresh, OK)
    assert body(other) == b"ok"
    assert [reason for _, reason, _ in ring.ended()] == ["unsolicited-bytes", None]


@pytest.mark.not_over("inspected")
def test_bytes_on_a_shared_connection_that_nobody_has(ring):
    client, server = ring.kept("shared")
    client.close()
    ring.say(server, EVIL)
    assert server.end
    (record,) = ring.records()
    assert (record["event"], record["reason"], record["closed_by"]) == ("denied", "unsolicited-bytes", "server")
    assert (record["session"], record["policy"], record["server"]) == ("0-1", "to-shared", ORIGIN)


@pytest.mark.not_over("inspected")
def test_a_shared_connection_serves_another_session(ring):
    first, server = ring.kept("shared")
    first.close()
    other = ring.client("shared")
    ring.say(other, GET)
    assert b"GET /x" in server.received and ring.dial() is None
    ring.say(server, OK)
    assert body(other) == b"ok"


@pytest.mark.not_over("inspected")
def test_a_shared_connection_that_ended_is_not_used(ring):
    _, server = ring.kept("shared")
    server.close()
    other = ring.client("shared")
    ring.say(other, GET)
    ring.say(ring.server(), OK)
    assert body(other) == b"ok"


def test_an_upload_that_the_server_has_not_read_keeps_its_connection_to_itself(ring):
    """Answered before its body was taken: the rest of that body must never be what stands before another session's request."""
    server = None
    for chunks in range(1, 40):
        client = ring.client("shared")
        ring.say(client, b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        server = ring.dial() or server
        ring.settle()
        server.paused = True
        ring.say(client, (b"2710\r\n" + b"A" * 10000 + b"\r\n") * chunks + b"0\r\n\r\n")
        server.sock.send(OK)
        ring.settle()
        assert body(client) == b"ok"
        other = ring.client("shared")
        ring.say(other, GET)
        fresh = ring.dial()
        server.paused = False
        ring.settle()
        assert body_is_whole(server) or fresh is not None, f"{chunks} chunks"
        server = fresh or server
        ring.say(server, OK)
        server.received.clear()
        for end in (client, other):
            end.close()
        ring.settle()


def body_is_whole(server):
    """All of the upload came before the next request, if that came here at all."""
    upload, end, behind = bytes(server.received).partition(b"0\r\n\r\n")
    return bool(end) or b"GET" not in upload


@pytest.mark.parametrize("pieces", [1, 2])
def test_answers_in_pieces_over_a_shared_connection(ring, pieces):
    """Input that was kept goes with the exchange that it belonged to."""
    server = None
    for _ in range(3):
        client = ring.client("shared")
        ring.say(client, GET)
        server = ring.dial() or server
        ring.settle()
        for at in range(0, len(OK), len(OK) // pieces):
            ring.say(server, OK[at:at + len(OK) // pieces])
        assert body(client) == b"ok"
        client.close()
        ring.settle()


@pytest.mark.parametrize("login", [b"Authorization: Negotiate YII=", b"authorization: ntlm TlRM"])
def test_a_connection_that_somebody_logged_in_on_is_not_shared(ring, login):
    client, server = ring.asked("shared", b"GET /x HTTP/1.1\r\nHost: a.test\r\n" + login + b"\r\n\r\n")
    ring.say(server, OK)
    ring.say(client, GET)
    ring.say(server, OK)
    assert client.received.count(b"200 OK") == 2
    other = ring.client("shared")
    ring.say(other, GET)
    assert ring.dial() is not None and server.received.count(b"GET") == 2


def test_a_connection_that_asks_for_a_login_is_not_shared(ring):
    client, server = ring.asked("shared")
    ring.say(server, b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a, b\", NTLM\r\nContent-Length: 0\r\n\r\n")
    assert status(client) == 401
    other = ring.client("shared")
    ring.say(other, GET)
    assert ring.dial() is not None


def test_a_connection_that_refused_an_upgrade_is_not_shared(ring):
    client, server = ring.asked("shared", ws.handshake("/ws", "a.test"))
    ring.say(server, OK)
    assert status(client) == 200
    ring.say(client, GET)
    ring.say(server, OK)
    other = ring.client("shared")
    ring.say(other, GET)
    assert ring.dial() is not None


def test_the_server_of_an_earlier_exchange_is_left_when_a_tunnel_is_opened(ring):
    client = ring.client("proxy")
    ring.say(client, f"GET http://{ORIGIN}/x HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    server = ring.server()
    ring.say(server, OK)
    client.received.clear()
    ring.say(client, f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    fresh = ring.server()
    assert status(client) == 200 and server.end
    client.received.clear()
    server.sock.setblocking(False)
    ring.say(client, f"GET /y HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    assert b"GET /y" in fresh.received
    ring.say(fresh, OK)
    assert body(client) == b"ok"


def test_a_101_nobody_asked_for(ring):
    client, server = ring.asked()
    ring.say(server, ws.switching() + b"raw bytes")
    assert status(client) == 502 and b"raw bytes" not in client.received and server.end
    assert ring.ended() == [("denied", "upgrade-unasked", "postern")]


def test_interim_answers_up_to_the_limit(ring):
    client, server = ring.asked()
    ring.say(server, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 8 + OK)
    assert client.received.count(b"HTTP/1.1 103") == 8 and client.received.endswith(b"ok")
    assert ring.ended() == [("end", None, None)]


def test_one_interim_answer_too_many(ring):
    client, server = ring.asked()
    ring.say(server, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9)
    assert b"HTTP/1.1 502" in client.received and server.end
    assert ring.ended() == [("denied", "interim-limit", "postern")]


def test_interim_answers_do_not_reach_an_old_client(ring):
    client, server = ring.asked(head=b"GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n")
    ring.say(server, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert status(client) == 200


# Kept connections that die, and what may be asked twice.


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
def test_an_idempotent_request_is_sent_once_more(ring, method, reset):
    client, server = ring.kept()
    ring.say(client, method + b" /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    server.close(reset)
    fresh = ring.server()
    assert fresh.received.startswith(method)
    ring.say(fresh, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert status(client) == 204
    assert ring.ended() == [("end", None, None)]


def test_an_upload_of_which_nothing_was_sent(ring):
    client, server = ring.kept()
    ring.say(client, post(3, b"PUT"))
    server.close()
    fresh = ring.server()
    ring.say(client, b"abc")
    assert fresh.received.endswith(b"\r\n\r\nabc")
    ring.say(fresh, OK)
    assert body(client) == b"ok"


def test_a_handshake_is_sent_once_more(ring):
    client, server = ring.kept()
    ring.say(client, ws.handshake("/ws", "a.test") + ws.frame(ws.TEXT, b"early", mask=True))
    server.close()
    fresh = ring.server()
    assert fresh.received.endswith(b"\r\n\r\n")
    ring.say(fresh, ws.switching())
    assert status(client) == 101 and fresh.received.endswith(ws.frame(ws.TEXT, b"early", mask=True))


def test_it_is_sent_once_more_and_no_more(ring):
    client, server = ring.kept()
    ring.say(client, GET)
    server.close()
    ring.server().close()
    ring.settle()
    assert status(client) == 502 and ring.dial() is None


@pytest.mark.parametrize("request_", [b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", post(3, b"PUT") + b"abc",
                                      b"PATCH /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                      b"PUT /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_others_are_not(ring, request_):
    client, server = ring.kept()
    ring.say(client, request_)
    server.close()
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert ring.ended() == [("denied", "retry-unsafe", "postern")]


def test_nothing_is_sent_again_after_a_byte_of_an_answer(ring):
    client, server = ring.kept()
    ring.say(client, GET)
    ring.say(server, b"HTTP/1.1 2")
    server.close()
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert ring.ended() == [("denied", "response-truncated", "postern")]


def test_a_fresh_connection_that_ends_is_no_reason_to_ask_again(ring):
    client, server = ring.asked()
    server.close()
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert ring.ended() == [("denied", "upstream-closed", "postern")]


@pytest.mark.not_over("inspected")
def test_never_means_a_connection_for_each_request(ring):
    client, server = ring.asked("never")
    assert b"Connection: close" in server.received
    ring.say(server, OK)
    assert server.end and client.end is None
    ring.say(client, GET)
    assert ring.dial() is not None
