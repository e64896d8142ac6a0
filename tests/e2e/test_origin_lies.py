# SPDX-License-Identifier: ISC
"""Origins that speak when nobody asked: nothing reaches a client that did not own it, and each lie is one event in the log."""
import contextlib
import random
import socket
import threading
import time

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage

LIE = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Lie: 1\r\n\r\nINJECTED"
LIES = {"unsolicited-bytes", "surplus-answer", "answer-before-request", "upgrade-unasked"}
TRIES = 60


def lies_in_log(postern):
    return [line for line in postern.access() if line.get("reason") in LIES and line["event"] in ("end", "denied")]


def get(client, stage, path="/"):
    return client.request("GET", f"{stage.url}{path}", stage.origin_authority)


def test_unsolicited_answer_between_requests():
    """The lie lies in the socket, seen, before the next request of anyone is written."""
    lie = threading.Event()

    def handler(connection):
        connection.read_request()
        connection.answer(b"mine")
        if len(stage.origin.connections) == 1:
            lie.wait(15)
            connection.send(LIE)
            connection.wait_end()
        while True:
            connection.read_request()
            connection.answer(b"mine")
    with Stage(handler=handler) as stage, Client(stage.proxy) as first, Client(stage.proxy) as other:
        assert get(first, stage).body == b"mine"
        lie.set()
        wait_until(lambda: lies_in_log(stage.postern), what="the lie in the log")
        assert get(other, stage).body == b"mine"
        with contextlib.suppress(ConnectionError):       # ending the session is right as well
            assert get(first, stage).body == b"mine"
        for client in (first, other):
            assert b"INJECTED" not in client.received
        assert len(lies_in_log(stage.postern)) == 1


def test_unsolicited_answer_racing_with_the_next_request():
    """What races with the same client's next request may be taken for its answer; the surplus is found then. Another client never sees it."""
    jitter = random.Random(7)

    def handler(connection):
        connection.read_request()
        connection.answer(b"mine")
        time.sleep(jitter.random() * 0.002)      # part of the lie, not a wait
        connection.send(LIE)
        while True:
            connection.read_request()
            connection.answer(b"mine")
    with Stage(handler=handler) as stage:
        for _ in range(TRIES):
            with Client(stage.proxy) as client, Client(stage.proxy) as other:
                assert get(client, stage).body == b"mine"
                with contextlib.suppress(ConnectionError):
                    get(client, stage)
                assert get(other, stage).body == b"mine"
                wait_until(lambda: len(lies_in_log(stage.postern)) == len(stage.origin.connections), what="an event for each lie")
                assert b"INJECTED" not in other.received


def test_answer_before_request():
    """The origin's window is too small for the request's head, so what it says before it reads was said before it could know."""
    with Stage(origin=False) as stage:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, port = stage.origin_authority.split(":")
        listener.bind((host, int(port)))
        listener.listen(8)
        with Client(stage.proxy) as client:
            client.send(f"GET {stage.url}/ HTTP/1.1\r\nHost: {stage.origin_authority}\r\nX: {'x' * 30000}\r\n\r\n".encode())
            connection, _ = listener.accept()
            connection.sendall(LIE)
            answer = client.response()
            connection.close()
        listener.close()
        assert answer.status == 502 and b"INJECTED" not in client.received
        line = stage.postern.wait_access(lambda line: line.get("reason") in LIES)
        assert line["reason"] == "answer-before-request"
        assert len(lies_in_log(stage.postern)) == 1


@pytest.mark.parametrize("method,answer", [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine" + LIE),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\nINJECTED"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\nINJECTED"),
])
def test_surplus(method, answer):
    def handler(connection):
        connection.read_request()
        connection.send(answer)
        connection.wait_end()
    with Stage(handler=handler) as stage, Client(stage.proxy) as client:
        with contextlib.suppress(ConnectionError):
            client.request(method, f"{stage.url}/", stage.origin_authority)
        stage.postern.wait_access(lambda line: line.get("reason") in LIES)
        wait_until(lambda: stage.origin.connections[0].ended.is_set(), what="the origin's connection to be closed")
        assert b"INJECTED" not in client.received
        assert len(lies_in_log(stage.postern)) == 1


@pytest.mark.parametrize("accept", [ws.accept_key(ws.KEY), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_101_unasked(accept):
    def handler(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + ws.frame(ws.TEXT, b"INJECTED"))
        connection.wait_end()
    with Stage(handler=handler) as stage, Client(stage.proxy) as client:
        assert get(client, stage).status == 502
        line = stage.postern.wait_access(lambda line: line.get("reason") in LIES)
        assert line["reason"] == "upgrade-unasked"
        assert b"INJECTED" not in client.received


def test_101_with_a_wrong_accept():
    def handler(connection):
        connection.read_request()
        connection.send(ws.switching(b"AAAAAAAAAAAAAAAAAAAAAA==") + ws.frame(ws.TEXT, b"INJECTED"))
        connection.wait_end()
    with Stage(handler=handler) as stage, Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 502
        stage.postern.wait_access(lambda line: line.get("reason") == "accept-mismatch")
        assert b"INJECTED" not in client.received


def test_only_idempotent_requests_are_sent_twice():
    """A kept connection that dies before the answer: GET is tried again, POST is 502 retry-unsafe, and nothing reaches an origin twice."""
    def handler(connection):
        connection.read_request()
        connection.answer(b"mine")
        connection.read_head()
        connection.close(reset=True)
    for method, status in (("GET", 200), ("POST", 502)):
        with Stage(handler=handler) as stage, Client(stage.proxy) as client:
            assert get(client, stage).body == b"mine"
            answer = client.request(method, f"{stage.url}/again", stage.origin_authority, body=b"x" if method == "POST" else b"")
            assert answer.status == status
            line = stage.postern.wait_access(lambda line: line.get("path") == "/again")
            assert method == "GET" or line["reason"] in ("retry-unsafe", "peer-reset")
