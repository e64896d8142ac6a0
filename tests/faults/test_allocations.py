# SPDX-License-Identifier: ISC
"""R-14 on the wire ring: one exchange, stream or tunnel after the other, and in each another allocation fails, the first, the second, ... until there
is none left. Libraries' allocations are counted, too. Whatever fails, a client gets its answer or a refusal, one that is denied is never
served, the next one is; and at the end the host gives back everything, under the leak sanitizer."""
import contextlib
import os
import zlib

import pytest

import ring as wire
from lib import ws
from ring import GET, OK, Ring, body, status
from shim import Shim
from steady import LONG

# Each allocation up to this one fails, in the short form; behind it each STRIDE-th, 
ALL, STRIDE = (1 << 30, 1) if LONG else (40, 53)
ENDLESS = 1 << 40
REFUSALS = {0, 400, 403, 500, 502, 503, 504, 429, 431}
POST = wire.post(5000) + b"x" * 5000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
RULES = {"deflate": "inspect", "message_bytes": 4096, "match": [{"name": "no-secret", "pattern": "secret"}], "server": {"messages_per_second": 1000},
         "client": {"messages_per_second": 1000}}


@contextlib.contextmanager
def world(tmp_path, way="plain"):
    with Shim() as shim:
        saved = {key: os.environ.get(key) for key in shim.environment}
        os.environ.update(shim.environment)
        try:
            made = Ring(str(tmp_path), websocket=RULES, way=way)
        finally:
            for key, value in saved.items():
                os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)
        made.sessions()          # it is up
        yield made, shim
        shim.fail_alloc()
        made.close()


def forget(ring):
    """Everything of one flow ends; nobody waits any more."""
    for end in ring.ends:
        end.close()
    while (found := ring.host.ask("server"))[1] is not None:
        found[1].close()
    ring.ends.clear()
    ring.opened.clear()
    ring.settle()
    ring.records()


def answered(ring, answer):
    """What became of what was asked: the server's end, if one was dialled; it answers if it was asked something."""
    server = ring.dial()
    if server is None:
        return None
    ring.settle()
    if b"\r\n\r\n" in server.received:
        ring.say(server, answer)
    return server


def http(request, answer, listener="site", expected=b"ok"):
    def flow(ring):
        client = ring.client(listener)
        ring.say(client, request)
        server = answered(ring, answer)
        if status(client) == 200 and (body(client) == expected or client.end is None or not expected):
            assert body(client) == expected, client
            assert server is not None
            return "good"
        assert status(client) in REFUSALS or (client.end and len(body(client)) < len(expected)), client
        return "refused"
    return flow


def kept(ring):
    """Two requests on one connection, answered each with its own."""
    client = ring.client("shared")
    outcome = "good"
    server = None
    for n in (1, 2):
        client.received.clear()
        ring.say(client, b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % n)
        server = ring.dial() or server
        ring.settle()
        if server is not None and b"GET /%d " % n in server.received:
            ring.say(server, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        if status(client) == 200 and client.end is None:
            assert body(client) == b"%d" % n
        else:
            assert status(client) in REFUSALS, client
            outcome = "refused"
        if client.end:
            break
    return outcome


def denied(request, listener="site"):
    def flow(ring):
        client = ring.client(listener)
        ring.say(client, request)
        server = answered(ring, OK)
        assert status(client) in REFUSALS, client
        assert server is None or not server.received, server
        return "good" if status(client) == 403 else "refused"
    return flow


def websocket(ring):
    client = ring.client("site")
    ring.say(client, ws.handshake("/ws", "a.test")[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    server = answered(ring, ws.switching()[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    if status(client) != 101:
        assert status(client) in REFUSALS, client
        return "refused"
    up, down = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.compressobj(9, zlib.DEFLATED, -15)
    for end in (client, server):
        end.received = end.received.partition(b"\r\n\r\n")[2]
    outcome = "good"
    for n in range(4):
        text = b"message %d of some length, " % n * 20
        server.received.clear()
        client.received.clear()
        for sender, reader, stream in ((client, server, up), (server, client, down)):
            data = (stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
            ring.say(sender, ws.frame(ws.TEXT, data, rsv=4, mask=sender is client))
            frames = [frame for frame in ws.frames_in(reader.received) if frame.op not in (ws.CLOSE, ws.PING)]
            if not frames:
                assert client.end or server.end or ws.CLOSE in [frame.op for frame in ws.frames_in(reader.received)], (client, server)
                return "refused"
            assert [(frame.payload, frame.rsv) for frame in frames] == [(data, 4)], frames
    secret = zlib.compressobj(9, zlib.DEFLATED, -15)      # a message of its own: no window is needed to read it
    server.received.clear()
    ring.say(client, ws.frame(ws.TEXT, (secret.compress(b"a secret") + secret.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4, mask=True))
    assert ws.TEXT not in [frame.op for frame in ws.frames_in(server.received)], server
    return outcome


def tunnel(ring):
    client = ring.client("proxy")
    ring.say(client, b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (wire.OTHER.encode(), wire.OTHER.encode()))
    server = ring.dial()
    ring.settle()
    if status(client) != 200:
        assert status(client) in REFUSALS, client
        return "refused"
    client.received.clear()
    for sender, reader in ((client, server), (server, client)):
        ring.say(sender, b"\0bytes of nobody's protocol" * 100)
        if reader is None or bytes(reader.received) != b"\0bytes of nobody's protocol" * 100:
            assert client.end, (client, reader)
            return "refused"
    return "good"


def socks(ring):
    client = ring.client("proxy")
    ring.say(client, b"\x05\x01\x00")
    ring.say(client, b"\x05\x01\x00\x03\x0borigin.test\x1f\x40")
    server = ring.dial()
    ring.settle()
    if bytes(client.received[:4]) != b"\x05\x00\x05\x00" or client.end:
        assert server is None or not server.received
        return "refused"
    client.received.clear()
    ring.say(client, b"GET / HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n")
    if server is not None and b"\r\n\r\n" in server.received:
        ring.say(server, OK)
    return "good" if status(client) == 200 and body(client) == b"ok" else "refused"


def ask(target, host):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


PLAIN = {
    "get": http(GET, OK), "post": http(POST, OK), "chunked": http(GET, CHUNKED, expected=b"5\r\nhello\r\n0\r\n\r\n"), "kept": kept,
    "by-name": http(ask("http://origin.test:8000/x", "origin.test:8000"), OK, "proxy"),
    "denied": denied(b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n"), "denied-name": denied(ask("http://denied.test:8001/", "denied.test:8001"), "proxy"),
    "mismatch": denied(ask("http://origin.test:8000/deny/x", "origin.test:8000"), "proxy"),
    "websocket": websocket, "tunnel": tunnel, "socks": socks,
}
OVER_TLS = {"get": http(GET, OK), "denied": denied(b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n")}


def sweep(ring, shim, flow, run):
    """Before, between and behind the failures the flow is good."""
    pid, number, failures = ring.host.process.pid, 1, 0
    assert flow(ring) == "good"
    forget(ring)
    while True:
        shim.fail_alloc(first=number, run=run, pid=pid)
        try:
            outcome = flow(ring)
        except AssertionError as error:
            raise AssertionError(f"allocation {number}: {error}") from error
        failed = shim.allocs_failed
        shim.fail_alloc()
        forget(ring)
        if not failed:
            break
        failures += 1
        number += 1 if number < ALL else STRIDE
        if failures % 10 == 0:
            assert flow(ring) == "good", f"after allocation {number} failed"
            forget(ring)
    assert failures and outcome == "good"
    assert flow(ring) == "good"


def test_without_memory_at_all_a_new_engine_serves_nobody_and_later_everybody(tmp_path):
    """Nothing is in its pools yet."""
    for first in range(1, 30):
        with world(tmp_path) as (ring, shim):
            shim.fail_alloc(first=first, run=ENDLESS, pid=ring.host.process.pid)
            PLAIN["get"](ring)
            failed = shim.allocs_failed
            shim.fail_alloc()
            forget(ring)
            assert PLAIN["get"](ring) == "good"
        if not failed:
            return
    raise AssertionError("a request needs more than that?")


@pytest.mark.parametrize("run", [0, ENDLESS], ids=["one", "all-from"])
@pytest.mark.parametrize("name", PLAIN)
def test_each_allocation_of_a_flow_fails(tmp_path, name, run):
    with world(tmp_path) as (ring, shim):
        sweep(ring, shim, PLAIN[name], run)


@pytest.mark.parametrize("run", [0, ENDLESS], ids=["one", "all-from"])
@pytest.mark.parametrize("way", ["ended", "upstream"])
@pytest.mark.parametrize("name", OVER_TLS)
def test_each_allocation_of_a_flow_over_tls_fails(tmp_path, way, name, run):
    with world(tmp_path, way) as (ring, shim):
        sweep(ring, shim, OVER_TLS[name], run)
