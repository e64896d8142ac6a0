# SPDX-License-Identifier: ISC
"""WebSocket as three clients speak it, on every way to the origin."""
import asyncio
import os
import socket
import subprocess

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import ROOT
from lib.stage import Stage

WSCAT = os.path.join(ROOT, "tests", "e2e", "node_modules", ".bin", "wscat")


@pytest.fixture(scope="module")
def stage():
    with Stage() as made:
        yield made


def tunnel_connect(stage):
    host, port = stage.proxy.split(":")
    sock = socket.create_connection((host, int(port)), 10)
    sock.sendall(f"CONNECT {stage.origin_authority} HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 200")
    return sock


def tunnel_socks(stage):
    host, port = stage.proxy.split(":")
    sock = socket.create_connection((host, int(port)), 10)
    sock.sendall(b"\5\1\0")
    assert sock.recv(2) == b"\5\0"
    origin, origin_port = stage.origin_authority.split(":")
    sock.sendall(b"\5\1\0\1" + socket.inet_aton(origin) + int(origin_port).to_bytes(2, "big"))
    assert sock.recv(10)[:2] == b"\5\0"
    return sock


def plain(stage):
    host, port = stage.site.split(":")
    return socket.create_connection((host, int(port)), 10)


WAYS = {"CONNECT": tunnel_connect, "SOCKS5": tunnel_socks, "reverse": plain}


@pytest.mark.parametrize("way", WAYS)
def test_python_websockets(stage, way):
    websockets = pytest.importorskip("websockets")
    authority = stage.site if way == "reverse" else stage.origin_authority

    async def talk():
        sock = WAYS[way](stage)
        async with websockets.connect(f"ws://{authority}/ws", sock=sock, compression=None) as client:
            for message in ("a", "ü" * 100, b"\0\xff" * 70000, ""):
                await client.send(message)
                assert await client.recv() == message
            assert await asyncio.wait_for(await client.ping(), 10) is not None
        return client.close_code
    assert asyncio.run(talk()) == 1000


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


@pytest.mark.parametrize("way", ["CONNECT", "reverse"])
def test_wscat(stage, way):
    if not os.path.exists(WSCAT):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    command = [WSCAT, "-x", "hello from wscat", "-w", "1", "-c", f"ws://{stage.site if way == 'reverse' else stage.origin_authority}/ws"]
    if way == "CONNECT":
        command += ["--proxy", f"http://{stage.proxy}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.wait(60)              # its input stays open: it ends at its end
    out, errors = process.communicate()
    assert "hello from wscat" in out, errors


def test_records_of_a_live_stream(stage):
    """A line when it starts, and one when it ends that counts frames and messages."""
    with Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        port = client.port
        started = stage.postern.wait_access(lambda line: line.get("client", "").endswith(f":{port}") and line["event"] == "start")
        client.send(ws.frame(ws.TEXT, b"fr", fin=0, mask=True) + ws.frame(0, b"ag", mask=True))
        client.read_until(lambda data: ws.messages_in(ws.frames_in(data)) == [(ws.TEXT, b"frag")])
        client.send(ws.close_frame(1000, mask=True))
        client.wait_close()
    ended = stage.postern.wait_access(lambda line: line.get("request") == started["request"] and line["event"] == "end")
    assert (started["protocol"], ended["protocol"]) == ("websocket", "websocket")
    assert ended["frames_up"] >= 2 and ended["messages_up"] == 1 and ended["messages_down"] == 1
    assert ended["close_code"] == 1000 and ended["closed_by"] == "client"
