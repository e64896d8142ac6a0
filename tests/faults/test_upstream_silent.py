# SPDX-License-Identifier: ISC
"""R-03: a server that is there and then is not: nothing says so, its packets just stop. R-06: names whose servers lie, or say nothing."""
import contextlib
import socket
import struct
import threading
import time

import pytest

from lib import dns
from lib.http1 import Client
from lib.netns import SERVER
from lib.netns_stage import NetStage
from lib.origin import Origin
from lib.postern import wait_until
from lib.stage import Stage
from steady import LONG
from timing import ends_on_time

STREAMS = 100 if LONG else 20
RESPONSE = 2.0


class Hanging:
    """Requests that are on their way when the packets of their server stop."""

    def __init__(self, stage):
        self.stage, self.arrived, self.rounds = stage, threading.Semaphore(0), 0
        stage.routes["/hang"] = self._hang

    def _hang(self, connection, _):
        self.arrived.release()
        connection.wait_end(60)

    def ends(self):
        """After how many seconds each has its 504. What is left of them is gone in time."""
        self.rounds += 1
        clients = [self.stage.dial(SERVER[4]) for _ in range(STREAMS)]
        for client in clients:
            assert client.request("GET", "/", SERVER[4]).status == 200
        began, spent = [], []
        for client in clients:
            began.append(time.monotonic())
            client.send(f"GET /hang HTTP/1.1\r\nHost: {SERVER[4]}\r\n\r\n".encode())
        assert all(self.arrived.acquire(timeout=15) for _ in clients)
        self.stage.net.server.nft("table ip away {\n chain in {\n type filter hook input priority 0\n drop\n }\n}\n")
        for client, since in zip(clients, began):
            assert client.response().status == 504
            spent.append(time.monotonic() - since)
            client.close()
        wait_until(lambda: self.stage.ask("status")["sessions"]["open"] == 0, 5, "no session")
        self.stage.net.server.nft("delete table ip away")
        assert max(spent) < RESPONSE + 5
        return spent


@pytest.mark.usefixtures("needs_root", "needs_netns")
def test_r03_a_server_whose_packets_stop():
    """Each request gets its 504 at the timer, and its place is free."""
    with NetStage(timeouts={"drain": 1.0, "response": RESPONSE, "connect": 1.0}) as stage:
        hanging = Hanging(stage)
        ends_on_time(RESPONSE, hanging.ends)

        def records():
            return [line for line in stage.postern.access() if line.get("path") == "/hang"]
        wait_until(lambda: len(records()) == STREAMS * hanging.rounds, what="a line of each")
        assert {line["reason"] for line in records()} == {"timeout-response"}
        assert all(RESPONSE * 1000 <= line["duration_ms"] for line in records())


class LyingServer:
    """A name server whose answers to questions for addresses are made by `lie(packet, kind, there)`: a list of datagrams."""

    def __init__(self, address, lie, there):
        self.lie, self.there, self.asked = lie, there, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 5353))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            if len(packet) < 12:
                return
            self.asked.append(dns.question_of(packet)[:2])
            for answer in self.lie(packet, self.asked[-1][1], self.there):
                self.socket.sendto(answer, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join(15)
        self.socket.close()


def reply(packet, records=(), code=0, flags=0x8580, number=None):
    """The answer to this question, with the records of it."""
    name, _, end = dns.question_of(packet)
    return ((packet[:2] if number is None else struct.pack(">H", number)) + struct.pack(">HHHHH", flags | code, 1, len(records), 0, 0) +
            packet[12:end] + b"".join(records))


def address(packet, text, ttl=60):
    return dns.record(dns.question_of(packet)[0], 1, socket.inet_aton(text), ttl)


def only_a(make):
    """AAAA: the name has none."""
    return lambda packet, kind, there: make(packet, there) if kind == 1 else [reply(packet)]


def loop(packet, _):
    name = dns.question_of(packet)[0]
    return [reply(packet, [dns.record(name, 5, dns.encode_name("b.test"), 60), dns.record("b.test", 5, dns.encode_name(name), 60)])]


def another_name(packet, there):
    return [packet[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0) + dns.encode_name("x.test") + b"\0\1\0\1" +
            dns.record("x.test", 1, socket.inet_aton(there), 60)]


# Whose answer is what, and the status that clients get.
LIES = {
    "nxdomain": (lambda packet, kind, there: [reply(packet, code=3)], {502}),
    "servfail": (lambda packet, kind, there: [reply(packet, code=2)], {502, 504}),
    "refused": (lambda packet, kind, there: [reply(packet, code=5)], {502, 504}),
    "silent": (lambda packet, kind, there: [], {504}),
    "wrong-id": (only_a(lambda packet, there: [reply(packet, [address(packet, there)], number=int.from_bytes(packet[:2], "big") ^ 1)]), {502, 504}),
    "wrong-name": (only_a(another_name), {502, 504}),
    "cname-loop": (only_a(loop), {502, 504}),
    "garbage": (lambda packet, kind, there: [packet[:2] + b"\x85\x80" + b"\xff" * 600], {502, 504}),
    "64k": (only_a(lambda packet, there: [reply(packet, [address(packet, there)] * 2500)]), {403, 502, 504}),
    "no-zone": (only_a(lambda packet, there: [reply(packet, [address(packet, there)])]), {403}),
    "private": (only_a(lambda packet, there: [reply(packet, [address(packet, "10.1.2.3")])]), {403}),
}
REASONS = {403: {"address-private", "no-policy"}, 502: {"name-unresolved"}, 504: {"name-timeout"}}


@pytest.mark.parametrize("lie", LIES)
def test_r06_names(lie):
    """Refused with a reason, and what they point to is not dialled; others are served all the while."""
    make, statuses = LIES[lie]
    with Stage(timeouts={"drain": 1.0, "connect": 1.5}) as stage, contextlib.ExitStack() as stack:
        there = Origin(f"{stage.prefix}.9", 8000)
        stack.callback(there.close)
        server = LyingServer(f"{stage.prefix}.3", make, f"{stage.prefix}.9")
        stack.callback(server.close)
        client, other = (stack.enter_context(Client(stage.proxy)) for _ in range(2))
        client.send(b"GET http://a.test:8000/ HTTP/1.1\r\nHost: a.test:8000\r\n\r\n")
        wait_until(lambda: server.asked, what="a question")
        assert other.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        status = client.response().status
        assert status in statuses
        assert other.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        record = stage.postern.wait_access(lambda line: line.get("host") == "a.test")
        assert record["reason"] in REASONS[status] and not there.connections


def test_r06_a_name_that_changes_its_mind():
    """Its answers are not to be kept: the first is good, and is what is dialled; the next one is another's, and nobody goes there."""
    asked = iter(range(1000))
    lie = only_a(lambda packet, there: [reply(packet, [address(packet, there if next(asked) else there[:-1] + "1", ttl=0)])])
    with Stage() as stage, contextlib.ExitStack() as stack:
        there = Origin(f"{stage.prefix}.9", 8000)
        stack.callback(there.close)
        server = LyingServer(f"{stage.prefix}.3", lie, f"{stage.prefix}.9")
        stack.callback(server.close)
        with Client(stage.proxy) as client:
            assert client.request("GET", "http://a.test:8000/", "a.test:8000").status == 200
        with Client(stage.proxy) as client:
            assert client.request("GET", "http://a.test:8000/", "a.test:8000").status == 403
        assert len(stage.origin.connections) == 1 and not there.connections
