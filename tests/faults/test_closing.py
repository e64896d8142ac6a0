# SPDX-License-Identifier: ISC
"""R-21 on the wire ring: a connection is brought into each state that there is, and then one side closes, by FIN or by RST. Nothing is left of it:
no session, no descriptor, no memory. With POSTERN_LONG 100,000 connections."""
import os

import pytest

import ring as wire
from lib import ws
from lib.postern import SMALL_QUARANTINE, wait_until
from ring import GET, NAME, ORIGIN, OTHER, Ring
from steady import LONG, memory_kib

CONNECTIONS = 100000 if LONG else 1500
RULES = {"deflate": "inspect", "message_bytes": 65536, "match": [{"name": "no-secret", "pattern": "secret"}]}
SHARE = {"plain": 1, "ended": 10, "upstream": 20, "inspected": 40}        # over TLS each takes longer
GROWTH_KIB = 6000         # of a heap that has seen every state; a leak of 100 bytes a connection would be 10,000 in the long form


def says(*parts, listener="proxy"):
    """A client that has said this, one after the other, and no server."""
    def state(ring):
        client = ring.client(listener)
        for part in parts:
            ring.say(client, part)
        return client, None
    return state


def asked(*answers, head=GET, listener="site", more=b""):
    """A request is under way; the server has said so much."""
    def state(ring):
        client, server = ring.asked(listener, head)
        for data in answers:
            ring.say(server, data)
        if more:
            ring.say(client, more)
        return client, server
    return state


def dialling(head, listener="proxy"):
    def state(ring):
        client = ring.client(listener)
        server = ring.unanswered(client, head)
        ring.held = True
        return client, server
    return state


def tunnel(*first):
    def state(ring):
        client, server = ring.tunnel(OTHER)
        for up, data in first:
            ring.say(client if up else server, data)
        return client, server
    return state


def websocket(*frames, **more):
    def state(ring):
        client, server = ring.websocket(**more)
        for up, data in frames:
            ring.say(client if up else server, data)
        return client, server
    return state


def connect(to):
    return f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode()


TEXT = ws.frame(ws.TEXT, b"half of a message, and the rest of it", mask=True)
DEFLATE = {"offered": "permessage-deflate", "agreed": "permessage-deflate"}
STATES = {
    "sniff": says(), "sniff-begun": says(b"GE"), "socks": says(b"\x05"), "socks-greeted": says(b"\x05\x01\x00"),
    "head-begun": says(b"GET /x HTTP/1.1\r\nHost: a"), "resolving": says(f"GET http://ghost.test:8000/ HTTP/1.1\r\nHost: ghost.test:8000\r\n\r\n".encode()),
    "resolving-tunnel": says(connect("ghost.test:8000")), "refused": says(b"GET /x\x01 HTTP/1.1\r\n\r\n"),
    "denied": says(b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n", listener="site"),
    "dialling": dialling(f"GET http://{NAME}:8000/x HTTP/1.1\r\nHost: {NAME}:8000\r\n\r\n".encode()), "dialling-tunnel": dialling(connect(OTHER)),
    "asked": asked(), "body-up": asked(head=wire.post(5000), more=b"x" * 1000), "head-down": asked(b"HTTP/1.1 200 O"),
    "interim": asked(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "body-down": asked(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1000),
    "chunk-down": asked(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nxyz"),
    "until-close": asked(b"HTTP/1.1 200 OK\r\n\r\nxyz"), "pipelined": asked(more=GET * 3), "kept": lambda ring: ring.kept(),
    "kept-shared": lambda ring: ring.kept("shared"),
    "peek": lambda ring: ring.tunnel(ORIGIN), "tunnel": tunnel((1, b"\0" * 3000), (0, b"\1" * 3000)), "tunnel-up": tunnel((1, b"\0" * 300)),
    "upgrade-wait": asked(head=ws.handshake("/ws", "a.test")), "websocket": websocket(), "frame-begun": websocket((1, TEXT[:9])),
    "message-held": websocket((1, ws.frame(ws.TEXT, b"half", fin=0, mask=True))), "deflated": websocket((1, ws.frame(ws.TEXT, b"\xaa\xaa", rsv=4, mask=True)), **DEFLATE),
    "close-up": websocket((1, ws.close_frame(1000, mask=True))), "close-down": websocket((0, ws.close_frame(1000))),
    "violated": websocket((1, ws.frame(ws.TEXT, b"unmasked"))), "transparent": says(GET, listener="strict 127.0.98.1:8000"),
}


def begun(data):
    def state(ring):
        client = ring.raw_client("site")
        ring.say(client, data)
        return client, None
    return state


def server_silent(ring):
    """The server's handshake never begins."""
    client = ring.client("site")
    ring.say(client, GET)
    answer, sock = ring.host.ask("server")
    assert sock is not None, answer
    return client, ring.keep(sock)


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 100
KEPT = {"asked": asked(), "kept": lambda ring: ring.kept(), "websocket": websocket((1, TEXT))}
OVER_TLS = {
    "ended": {"hello-begun": begun(HELLO[:5]), "hello-part": begun(HELLO), "secure": says(listener="site"), **KEPT},
    "upstream": {"server-silent": server_silent, **KEPT},
    "inspected": {"secure": says(listener="site"), **KEPT},
}


def forget(ring):
    """All that is left closes, too; who waits for a timer gets one."""
    for end in ring.ends:
        end.close()
    if ring.held:
        ring.host.ask("release")
        ring.held = False
    ring.ends.clear()
    ring.opened.clear()
    for _ in range(10):
        ring.host.ask("turn")
        while (found := ring.host.ask("server"))[1] is not None:      # requests that waited are asked elsewhere, then
            found[1].close()
        if ring.sessions() == 0:
            return
    ring.advance(10)
    assert ring.sessions() == 0


def close(end, reset):
    if reset:
        end.close(reset=True)
    else:
        end.shut()           # the other direction stays open, as it does where a process only stops writing


def rounds(ring, states, number):
    """Each state, closed from each side that there is, each way; returns how many connections that were."""
    count = 0
    for name, state in states.items():
        for side in (0, 1):
            for reset in (False, True):
                ends = state(ring)
                if ends[side] is not None:
                    close(ends[side], reset)
                    ring.settle()
                    count += 1
                try:
                    forget(ring)
                except AssertionError as error:
                    raise AssertionError(f"round {number}: {name}, {('client', 'server')[side]}, {('FIN', 'RST')[reset]}: {error}") from error
    return count


def descriptors_of(ring):
    """When also what waits to be used again, or for a side that says nothing, was given up."""
    ring.advance(300)
    ring.settle()
    return len(os.listdir(f"/proc/{ring.host.process.pid}/fd"))


@pytest.mark.parametrize("way", ["plain", *OVER_TLS])
def test_a_side_closes_in_each_state(tmp_path, monkeypatch, way):
    for key, value in SMALL_QUARANTINE.items():
        monkeypatch.setenv(key, value)
    states = STATES if way == "plain" else OVER_TLS[way]
    ring = Ring(str(tmp_path), websocket=RULES, way=way)
    ring.held = False
    pid = ring.host.process.pid
    rounds(ring, states, 0)
    descriptors, memory, closed, number = descriptors_of(ring), memory_kib(pid), 0, 0
    while closed < (CONNECTIONS // SHARE[way]):
        number += 1
        closed += rounds(ring, states, number)
        ring.records()
    wait_until(lambda: descriptors_of(ring) <= descriptors, what="as many descriptors as in the beginning")
    assert memory_kib(pid) < memory + GROWTH_KIB
    print(f"{way}: {closed} connections, memory {memory} -> {memory_kib(pid)} KiB")
    ring.close()
