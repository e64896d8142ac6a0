# SPDX-License-Identifier: ISC
"""Every limit and timeout of the configuration: what is at it passes, what is one past it does not."""
import contextlib
import socket
import threading
import time

import pytest

from lib import layers, ws
from lib.http1 import Client
from lib.postern import PROMPT, wait_until
from lib.stage import Stage

LIMITS = {"header_bytes": 2048, "header_count": 10, "uri_bytes": 128, "body_bytes": 1000, "pipeline": 4, "interim": 3}
# A timer that fires this late is late; one that fires before its time is wrong.
SLACK = PROMPT


@pytest.fixture(scope="module", params=layers.ALL)
def stage(request):
    with Stage(limits=LIMITS, layer=request.param) as made:
        yield made


def ask(stage, head, body=b"", method=b"GET"):
    with Client(stage.proxy) as client:
        client.send(head + body)
        return client.response(method)


def head_of(stage, size=None, fields=0, path="/", method="GET", more=""):
    """A head of exactly `size` bytes, or with `fields` fields, Host among them."""
    head = f"{method} {stage.url}{path} HTTP/1.1\r\nHost: {stage.origin_authority}\r\n{more}"
    head += "".join(f"X-{number}: y\r\n" for number in range(fields - 1))
    if size:
        head += "P: " + "p" * (size - len(head) - len("P: \r\n\r\n")) + "\r\n"
    return (head + "\r\n").encode()


def test_header_bytes(stage):
    most = LIMITS["header_bytes"]
    assert len(head_of(stage, most)) == most
    assert ask(stage, head_of(stage, most)).status == 200
    assert ask(stage, head_of(stage, most + 1)).status == 431


def test_header_count(stage):
    assert ask(stage, head_of(stage, fields=LIMITS["header_count"])).status == 200
    assert ask(stage, head_of(stage, fields=LIMITS["header_count"] + 1)).status == 431


def test_uri_bytes(stage):
    room = LIMITS["uri_bytes"] - len(stage.url) - 1
    assert ask(stage, head_of(stage, path="/" + "a" * room)).status == 200
    assert ask(stage, head_of(stage, path="/" + "a" * (room + 1))).status == 414


@pytest.mark.parametrize("extra,status", [(0, 200), (1, 413)])
def test_body_bytes(stage, extra, status):
    size = LIMITS["body_bytes"] + extra
    head = head_of(stage, method="POST", more=f"Content-Length: {size}\r\n")
    assert ask(stage, head, b"b" * size).status == status
    head = head_of(stage, method="POST", more="Transfer-Encoding: chunked\r\n")
    body = b"1f4\r\n" + b"b" * 500 + b"\r\n" + f"{size - 500:x}\r\n".encode() + b"b" * (size - 500) + b"\r\n0\r\n\r\n"
    assert ask(stage, head, body).status == status


def test_pipeline(stage):
    """As many requests as the limit says may wait; with more, those before are answered and the connection is closed."""
    most = LIMITS["pipeline"]
    for count in (most, most + 3):
        with Client(stage.proxy) as client:
            client.send(head_of(stage) * count)
            answers = []
            with contextlib.suppress(ConnectionError):
                while len(answers) < count:
                    answers.append(client.response())
            assert {answer.status for answer in answers} == {200}
            assert len(answers) == most if count == most else most <= len(answers) < count
            assert count == most or answers[-1].value("connection") == "close"


@pytest.mark.parametrize("count,status", [(LIMITS["interim"], 200), (LIMITS["interim"] + 1, 502)])
def test_interim(stage, count, status):
    def hints(connection, request):
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * count)
        connection.answer()
    stage.origin.routes["/hints"] = hints
    assert ask(stage, head_of(stage, path="/hints")).status == status


@pytest.mark.parametrize("limits,most", [({"sessions_per_client": 5}, 5), ({"sessions": 5}, 5)])
def test_sessions(limits, most):
    """One too many is told so or closed at once; when one ends, there is room again."""
    with Stage(limits=limits, clients="127.0.0.0/28") as stage, contextlib.ExitStack() as stack:
        sources = ["127.0.0.1" if "sessions_per_client" in limits else f"127.0.0.{number + 2}" for number in range(most)]
        clients = [stack.enter_context(Client(stage.proxy, source=source)) for source in sources]
        for client in clients:
            client.send(head_of(stage))
            assert client.response().status == 200
        with Client(stage.proxy) as refused:
            try:
                refused.send(head_of(stage))
                assert refused.response().status == 503
            except (ConnectionError, OSError):
                pass
        stage.postern.wait_access(lambda line: line.get("reason") == "overload")
        clients[0].close()

        def room():
            with Client(stage.proxy) as again, contextlib.suppress(ConnectionError, OSError):
                again.send(head_of(stage))
                return again.response().status == 200
        wait_until(room, what="room for another")


TIMEOUTS = {"handshake": 2.0, "header": 1.5, "body": 1.0, "connect": 1.0, "response": 1.5, "keepalive": 1.0, "tunnel_idle": 1.5}


@pytest.fixture(scope="module", params=layers.ALL)
def hasty(request):
    with Stage(layer=request.param, timeouts={**TIMEOUTS, "drain": 1.0},
               policies=[{"name": "all", "to": "origin", "protocols": ["http", "websocket", "tls", "tunnel"], "action": "allow"}]) as made:
        yield made


class Clock:
    """How long the block took, which must be about the timer's time."""

    def __init__(self, timer):
        self.seconds = TIMEOUTS[timer]

    def __enter__(self):
        self.began = time.monotonic()

    def __exit__(self, kind, *_):
        took = time.monotonic() - self.began
        assert kind or self.seconds * 0.9 <= took <= self.seconds + SLACK, f"{took:.2f} s for a timer of {self.seconds} s"


def test_timeout_handshake(hasty):
    """Of which TLS is a part; inside a tunnel that is looked into it is over, and the next request is waited for."""
    with Clock("keepalive" if hasty.layer == layers.INSPECTED else "handshake"), Client(hasty.proxy) as client:
        assert client.wait_close() == b""


def test_timeout_header_is_for_the_whole_head(hasty):
    """A byte now and then does not help."""
    with Client(hasty.proxy) as client:
        with Clock("header"):
            for byte in head_of(hasty, 1000):
                client.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    client.more(time.monotonic() + 0.05)
                    break
            assert client.response().status == 408
        hasty.postern.record_of(client.port, reason="timeout-header")


def test_timeout_body(hasty):
    with Client(hasty.proxy) as client:
        client.send(head_of(hasty, method="POST", more="Content-Length: 10\r\n") + b"half")
        with Clock("body"), contextlib.suppress(ConnectionError):
            assert client.response().status == 408
        hasty.postern.record_of(client.port, reason="timeout-body")


def test_timeout_response(hasty):
    release = threading.Event()
    hasty.origin.routes["/never"] = lambda connection, request: release.wait(15)
    with Client(hasty.proxy) as client:
        client.send(head_of(hasty, path="/never"))
        with Clock("response"):
            assert client.response().status == 504
        release.set()
        hasty.postern.record_of(client.port, reason="timeout-response")


def test_timeout_keepalive(hasty):
    with Client(hasty.proxy) as client:
        client.send(head_of(hasty))
        assert client.response().status == 200
        with Clock("keepalive"):
            assert client.wait_close() == b""


@pytest.mark.parametrize("hasty", [layers.CLEAR, layers.ENDED], indirect=True)     # no tunnel inside a tunnel
def test_timeout_tunnel(hasty):
    with Client(hasty.proxy) as client:
        client.send(f"CONNECT {hasty.origin_authority} HTTP/1.1\r\nHost: {hasty.origin_authority}\r\n\r\n".encode())
        assert client.response(b"CONNECT").status == 200
        client.send(b"\0not anything known\n")
        with Clock("tunnel_idle"):
            client.wait_close()
        hasty.postern.record_of(client.port, reason="timeout-tunnel")


def test_timeout_idle_websocket(hasty):
    with Client(hasty.proxy) as client:
        client.send(ws.handshake(f"{hasty.url}/ws", hasty.origin_authority))
        assert client.response().status == 101
        with Clock("tunnel_idle"):
            client.wait_close()
        frames = ws.frames_in(bytes(client.received[client.offset:]))
        assert [frame.close_code for frame in frames] == [1001]


def test_timeout_connect():
    """A listener whose queue is full answers no SYN."""
    with Stage(origin=False, timeouts={**TIMEOUTS, "drain": 1.0}) as stage, contextlib.ExitStack() as stack:
        host, port = stage.origin_authority.split(":")
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, int(port)))
        with Client(stage.proxy) as client:
            client.send(head_of(stage))
            with Clock("connect"):
                assert client.response().status == 504
            stage.postern.record_of(client.port, reason="timeout-connect")


def test_refused_connection_is_502():
    with Stage(origin=False) as stage, Client(stage.proxy) as client:
        client.send(head_of(stage))
        assert client.response().status == 502
        stage.postern.record_of(client.port, reason="upstream-refused")
