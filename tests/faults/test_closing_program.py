# SPDX-License-Identifier: ISC
"""R-21 over real sockets: many connections at once, each brought into a state and then closed, by FIN or by RST, by the client or by the server."""
import asyncio
import random

from lib import ws
from lib.postern import SMALL_QUARANTINE
from lib.stage import Stage
from steady import LONG, PORT, canary, idle_footprint, wait_back

CONNECTIONS = 100000 if LONG else 1500
TOGETHER = 40
SEEN = 0.02               # for what a client has said to be read
HANGS = 0.5
ENDS = 5.0                # for what a server's close must bring
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
# What a server says before it closes; None: the client closes.
SERVERS = {"/hang": None, "/nothing": b"", "/head": HEAD[:20], "/body": HEAD + b"x" * 500, "/whole": HEAD + b"x" * 1000,
           "/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "/interim": b"HTTP/1.1 103 Early\r\n\r\n",
           "/socket": ws.switching(), "/frame": ws.switching() + ws.frame(ws.TEXT, b"half of it")[:5]}


def clients(authority):
    """What clients say; behind each of them the client closes, or the server that it asks."""
    url = f"http://{authority}"
    host = f"Host: {authority}\r\n".encode()
    said = [b"", b"GE", b"\x05", b"\x05\x01\x00", f"GET {url}/x HTTP/1.1\r\nHost".encode(), b"CONNECT " + authority.encode() + b" HTTP/1.1\r\n" + host + b"\r\n",
            f"POST {url}/hang HTTP/1.1\r\n".encode() + host + b"Content-Length: 10\r\n\r\nhalf", b"no protocol at all\r\n\r\n"]
    said += [f"GET {url}{path} HTTP/1.1\r\n".encode() + host + b"\r\n" for path in SERVERS if path not in ("/socket", "/frame")]
    sockets = [ws.handshake(f"{url}{path}", authority) for path in ("/socket", "/frame")]
    return said + sockets + [sockets[0] + ws.frame(ws.TEXT, b"half of a message", mask=True)[:9]]


def close(writer):
    writer.transport.abort() if random.random() < 0.5 else writer.close()


async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = SERVERS[head.split(b" ")[1].decode()]
        if answer is None:
            await asyncio.wait_for(reader.read(), HANGS)       # a client that only stopped writing still waits for its answer
        else:
            writer.write(answer)
            await asyncio.sleep(SEEN * random.random())
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        pass
    finally:
        close(writer)


async def client(proxy, said):
    reader, writer = await asyncio.open_connection(*proxy.split(":"))
    try:
        writer.write(said)
        if any(path.encode() + b" " in said for path, answer in SERVERS.items() if answer is not None):
            await asyncio.wait_for(reader.read(1 << 16), ENDS)
        await asyncio.sleep(SEEN * random.random())
    except OSError:
        pass
    finally:
        close(writer)


async def play(prefix, proxy, count):
    authority = f"{prefix}.1:{PORT}"
    server, all_of_them = await asyncio.start_server(serve, f"{prefix}.1", PORT), clients(authority)

    async def some(first):
        for number in range(first, count, TOGETHER):
            await client(proxy, all_of_them[number % len(all_of_them)])
    await asyncio.gather(*[some(first) for first in range(TOGETHER)])
    server.close()


def test_connections_close_in_each_state():
    with Stage(environment=SMALL_QUARANTINE, limits={"sessions_per_client": 4096}) as stage:
        asyncio.run(play(stage.prefix, stage.proxy, CONNECTIONS // 3))
        before, processes = idle_footprint(stage.postern), stage.postern.processes()
        asyncio.run(play(stage.prefix, stage.proxy, CONNECTIONS))
        idle_footprint(stage.postern)
        wait_back(stage.postern, before)
        canary(stage)
        assert stage.postern.processes() == processes
