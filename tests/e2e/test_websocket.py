# SPDX-License-Identifier: ISC
"""WebSocket as three clients speak it, on every way to the origin."""
import asyncio
import contextlib
import select
import socket
import ssl
import threading

import pytest

from lib import layers, ws
from lib.http1 import Client
from lib.stage import Stage


@pytest.fixture(scope="module", params=layers.ALL)
def stage(request):
    with Stage(layer=request.param) as made:
        yield made


def enter(stage, authority):
    host, port = authority.split(":")
    return layers.enter(authority, socket.create_connection((host, int(port)), 10))


def tunnel_connect(stage):
    sock = enter(stage, stage.proxy)
    if stage.layer == layers.INSPECTED:
        return sock
    sock.sendall(f"CONNECT {stage.origin_authority} HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 200")
    return sock


def tunnel_socks(stage):
    """With TLS inside the tunnel where that is looked into, and around it where it is ended."""
    host, port = stage.proxy.split(":")
    sock = socket.create_connection((host, int(port)), 10)
    if stage.layer == layers.ENDED:
        sock = layers.enter(stage.proxy, sock)
    sock.sendall(b"\5\1\0")
    assert sock.recv(2) == b"\5\0"
    origin, origin_port = stage.origin_authority.split(":")
    sock.sendall(b"\5\1\0\1" + socket.inet_aton(origin) + int(origin_port).to_bytes(2, "big"))
    assert sock.recv(10)[:2] == b"\5\0"
    return layers.into_tls(sock, layers.inspector().file, origin) if stage.layer == layers.INSPECTED else sock


def plain(stage):
    return enter(stage, stage.site)


WAYS = {"CONNECT": tunnel_connect, "SOCKS5": tunnel_socks, "reverse": plain}
REVERSE = {layers.CLEAR, layers.ENDED}      # an upstream with TLS is that of test_tls_upstream.py


class Stream:
    """A stream of asyncio is its own when it is given a socket with TLS; so what python3-websockets speaks is carried by hand: by one
    thread, since OpenSSL does not let two read and write a connection at the same time."""

    def __init__(self, sock):
        self.socket, (self.mine, self.theirs) = sock, socket.socketpair()
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self):
        with self.socket, self.mine, contextlib.suppress(OSError):
            while True:
                ready = [self.socket] if self.socket.pending() else select.select([self.socket, self.mine], [], [])[0]
                for source, target in ((self.socket, self.mine), (self.mine, self.socket)):
                    data = self._read(source) if source in ready else None
                    if data == b"":
                        return
                    target.sendall(data or b"")

    def _read(self, source):
        """b"" at the end; None, if what came is no data."""
        source.settimeout(0)
        try:
            return source.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        finally:
            source.settimeout(10)


@pytest.mark.parametrize("way", WAYS)
def test_python_websockets(stage, way):
    websockets = pytest.importorskip("websockets")
    if way == "reverse" and stage.layer not in REVERSE:
        return
    authority = stage.site if way == "reverse" else stage.origin_authority

    async def talk():
        sock = WAYS[way](stage)
        sock = sock if stage.layer == layers.CLEAR else Stream(sock).theirs
        async with websockets.connect(f"ws://{authority}/ws", sock=sock, compression=None) as client:
            for message in ("a", "ü" * 100, b"\0\xff" * 70000, ""):
                await client.send(message)
                assert await client.recv() == message
            assert await asyncio.wait_for(await client.ping(), 10) is not None
        return client.close_code
    assert asyncio.run(talk()) == 1000


@pytest.mark.parametrize("stage", [layers.CLEAR], indirect=True)      # over TLS: test_tls_termination.py, test_tls_inspection.py
@pytest.mark.parametrize("way", ["absolute form", "reverse"])
def test_aiohttp(stage, way):
    aiohttp = pytest.importorskip("aiohttp")

    async def talk():
        async with aiohttp.ClientSession() as session:
            url = f"ws://{stage.site if way == 'reverse' else stage.origin_authority}/ws"
            proxy = None if way == "reverse" else f"http://{stage.proxy}"
            async with session.ws_connect(url, proxy=proxy) as client:
                await client.send_str("hello")
                assert (await client.receive(timeout=10)).data == "hello"
                await client.send_bytes(b"\1\2")
                assert (await client.receive(timeout=10)).data == b"\1\2"
    asyncio.run(talk())


@pytest.mark.parametrize("stage", [layers.CLEAR], indirect=True)
@pytest.mark.parametrize("way", ["CONNECT", "reverse"])
def test_wscat(stage, wscat, way):
    proxy = ["--proxy", f"http://{stage.proxy}"] if way == "CONNECT" else []
    out, errors = wscat("-c", f"ws://{stage.site if way == 'reverse' else stage.origin_authority}/ws", *proxy)
    assert "hello from wscat" in out, errors


def test_records_of_a_live_stream(stage):
    """A line when it starts, and one when it ends that counts frames and messages."""
    with Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        started = stage.postern.record_of(client.port, event="start", protocol="websocket")
        client.send(ws.frame(ws.TEXT, b"fr", fin=0, mask=True) + ws.frame(0, b"ag", mask=True))
        client.read_until(lambda data: ws.messages_in(ws.frames_in(data)) == [(ws.TEXT, b"frag")])
        client.send(ws.close_frame(1000, mask=True))
        client.wait_close()
    ended = stage.postern.wait_access(lambda line: line.get("request") == started["request"] and line["event"] == "end")
    assert ended["protocol"] == "websocket"
    assert ended["frames_up"] >= 2 and ended["messages_up"] == 1 and ended["messages_down"] == 1
    assert ended["close_code"] == 1000 and ended["closed_by"] == "client"
