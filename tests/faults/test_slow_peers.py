# SPDX-License-Identifier: ISC
"""R-04, R-05 and R-22: servers that take or give a byte a second, bodies whose reader is slower than their sender, and a server whose TLS handshake
comes byte by byte. Who is fast is held back, memory stays bounded, and nobody else notices."""
import contextlib
import hashlib
import queue
import select
import ssl
import threading
import time

import pytest

from lib import tls
from lib.http1 import Client
from lib.origin import Connection, Gone
from lib.postern import PATIENCE, SMALL_QUARANTINE, wait_until
from lib.stage import Stage
from lib.tls_stage import NAMES, SITE, TlsStage
from steady import LONG, POOL, memory_kib
from timing import ends_on_time

MIB = 1 << 20
SIZE = 1024 * MIB if LONG else 48 * MIB         # of a body
STREAMS = 50 if LONG else 16
WINDOW = 30.0 if LONG else 2.5                  # how long servers are slow
PIECE = 1 << 18
FLOOR = 0.5                                     # seconds: below it a busy machine says more than the program
HANDSHAKE = 2.0
GAP = 0.1                                       # between two bytes of a handshake
HANDSHAKES = 8
UNITS = {"length": POOL, "chunked": b"".join(b"8000\r\n%b\r\n" % POOL[at:at + 0x8000] for at in range(0, MIB, 0x8000))}
HEADS = {"length": f"Content-Length: {SIZE}\r\n\r\n".encode(), "chunked": b"Transfer-Encoding: chunked\r\n\r\n"}
ENDS = {"length": b"", "chunked": b"0\r\n\r\n"}


class Receiver(Connection):
    """Who waits for bytes lets the sender send first."""

    def __init__(self, sock, rest=b""):
        super().__init__(sock)
        self.buffer, self.before = bytearray(rest), lambda: None

    def more(self, size=PIECE):
        self.before()
        super().more(size)


class Body:
    """A body on its way through Postern, up or down: `push()` sends what is taken at once, `receiver` reads. `fast`: the sender goes on by itself
    when the receiver reads."""

    def __init__(self, world, up, framing, fast=True):
        self.framing, self.sent = framing, 0
        self.length = SIZE // MIB * len(UNITS[framing]) + len(ENDS[framing])
        self.client = Client(world.stage.proxy)
        head = f"{'PUT' if up else 'GET'} {world.stage.url}/held HTTP/1.1\r\nHost: {world.stage.origin_authority}\r\n".encode()
        self.client.send(head + (HEADS[framing] if up else b"\r\n"))
        self.server = server = world.arrived.get(timeout=PATIENCE)
        server.socket.settimeout(PATIENCE)
        if up:
            self.sender, self.receiver = self.client.socket, Receiver(server.socket, server.buffer)
        else:
            server.send(b"HTTP/1.1 200 OK\r\n" + HEADS[framing])
            self.sender, self.receiver = server.socket, Receiver(self.client.socket)
            while self.receiver.line():
                pass
        self.sender.setblocking(False)
        if fast:
            self.receiver.before = self.push

    def push(self, most=1 << 40):
        """At most so many bytes; how many were taken."""
        before = self.sent
        with contextlib.suppress(BlockingIOError):
            while self.sent < self.length and self.sent - before < most:
                self.sent += self.sender.send(self._next(min(PIECE, most)))
        return self.sent - before

    def _next(self, most):
        unit, end = UNITS[self.framing], ENDS[self.framing]
        at = self.sent % len(unit)
        if self.sent >= self.length - len(end):
            return end[self.sent - self.length:]
        return unit[at:at + most]

    def drop(self):
        """Both ends: that a client has gone is not seen behind what it sent and nobody takes."""
        self.client.close()
        self.server.close()

    def parts(self):
        """What arrives, without its framing, to the end."""
        if self.framing == "length":
            left = SIZE
            while left:
                if not self.receiver.buffer:
                    self.receiver.more()
                part = self.receiver.take(min(left, len(self.receiver.buffer)))
                left -= len(part)
                yield part
            return
        while size := int(self.receiver.line(), 16):
            yield self.receiver.take(size)
            self.receiver.take(2)
        assert self.receiver.line() == b""


class World:
    """A stage whose origin hands over the connections of requests for /held, behind their heads."""

    def __init__(self):
        self.arrived, self._over = queue.Queue(), threading.Event()
        self.stage = Stage({"/held": self._hold}, limits={"sessions_per_client": 4096}, environment=SMALL_QUARANTINE)

    def _hold(self, connection, _):
        self.arrived.put(connection)
        self._over.wait(600)
        raise Gone

    def sample(self):
        """How long a request of somebody else takes."""
        began = time.monotonic()
        with Client(self.stage.proxy) as client:
            assert client.request("GET", f"{self.stage.url}/", self.stage.origin_authority).status == 200
        return time.monotonic() - began

    def memory(self):
        return memory_kib(self.stage.postern.workers()[0])

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._over.set()
        self.stage.__exit__(*failure)


def fill(bodies):
    """Until nobody takes any more; all of them are stopped before their end."""
    quiet = 0
    while quiet < 20:
        quiet = 0 if sum(body.push() for body in bodies) else quiet + 1
        time.sleep(0.01)
    assert all(0 < body.sent < body.length for body in bodies), "nobody held the sender back"


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def test_r04_servers_of_a_byte_a_second():
    """They take bodies, and give answers, a byte a second."""
    with World() as world:
        baseline, before = p99([world.sample() for _ in range(200)]), world.memory()
        taking = [Body(world, True, list(UNITS)[number % 2]) for number in range(STREAMS)]
        giving = [Body(world, False, "length", fast=False) for _ in range(STREAMS)]
        fill(taking)
        times, began, seconds = [], time.monotonic(), 0
        while len(times) < 200 or time.monotonic() - began < WINDOW:
            if time.monotonic() - began >= seconds:
                seconds += 1
                for body in taking:
                    body.receiver.more(1)
                for body in giving:
                    assert body.push(1) == 1
            times.append(world.sample())
        assert world.memory() - before <= 128 * 2 * STREAMS
        assert p99(times) <= max(2 * baseline, FLOOR), (p99(times), baseline)
        for body in giving:
            while len(body.receiver.buffer) < seconds:
                body.receiver.more()
            assert body.receiver.buffer == POOL[:seconds]
        for body in giving + taking:
            body.drop()


@pytest.mark.parametrize("framing", UNITS)
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_r05_a_fast_sender_and_a_slow_reader(up, framing):
    """1 KiB a second is read of each: what waits is bounded. Then one is read to its end, and is whole."""
    with World() as world:
        world.sample()
        before = world.memory()
        bodies = [Body(world, up, framing) for _ in range(STREAMS)]
        fill(bodies)
        for body in bodies:
            body.receiver.more(1024)
        fill(bodies)
        assert world.memory() - before <= 200 * STREAMS
        for body in bodies[1:]:
            body.drop()
        wait_until(lambda: world.stage.postern.ctl("status")["sessions"]["open"] == 1, what="one session")
        before, most, came = world.memory(), 0, hashlib.sha256()
        for number, part in enumerate(bodies[0].parts()):
            came.update(part)
            if number % 64 == 0:
                most = max(most, world.memory())
        expected = hashlib.sha256()
        for _ in range(SIZE // MIB):
            expected.update(POOL)
        assert came.digest() == expected.digest()
        assert most - before <= 8 * 1024
        bodies[0].drop()


class Dripping:
    """A server whose handshake, a true one, leaves it byte by byte; behind it, it answers. `ended`: when each connection was seen to end."""

    def __init__(self, gap):
        self.gap, self.dripped, self.ended = gap, 0, queue.Queue()
        self.context = tls.server_context(tls.root().certify(*NAMES))

    def serve(self, connection):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = self.context.wrap_bio(incoming, outgoing, server_side=True)
        try:
            self._step(connection, incoming, outgoing, end.do_handshake)
            self._step(connection, incoming, outgoing, lambda: end.read(65536))
            end.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            connection.send(outgoing.read())
            connection.wait_end()
        finally:
            self.ended.put(time.monotonic())

    def _step(self, connection, incoming, outgoing, step):
        """Until it is done."""
        while True:
            try:
                step()
                done = True
            except ssl.SSLWantReadError:
                done = False
            while outgoing.pending:
                connection.send(outgoing.read(1))
                self.dripped += 1
                if select.select([connection.socket], [], [], self.gap)[0]:       # the gap is the fault itself; that it is over is seen at once
                    connection.more()
            if done:
                return
            if not connection.buffer:
                connection.more()
            incoming.write(connection.take(len(connection.buffer)))


def ask(stage):
    """Requests for what a server with TLS has; when they began, and their clients."""
    began, clients = time.monotonic(), [Client(stage.at("up")) for _ in range(HANDSHAKES)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    return began, clients


def test_r22_a_server_whose_handshake_drips_fast():
    """Byte by byte is no fault: it is the time that counts."""
    server = Dripping(0)
    with TlsStage(origin_tls=False, handler=server.serve, timeouts={"handshake": 60.0, "drain": 1.0}) as stage:
        _, clients = ask(stage)
        assert {client.response().status for client in clients} == {200}
        assert server.dripped > 5 * HANDSHAKES
        for client in clients:
            client.close()


def test_r22_a_server_whose_handshake_drips():
    """The client is told at the timer, and the server is left at the timer."""
    server, rounds = Dripping(GAP), []
    with TlsStage(origin_tls=False, handler=server.serve, timeouts={"handshake": HANDSHAKE, "drain": 1.0}) as stage:
        def ends():
            rounds.append(HANDSHAKES)
            began, clients = ask(stage)
            told = []
            for client in clients:
                assert client.response().status == 502
                told.append(time.monotonic() - began)
                client.close()
            return told + [server.ended.get(timeout=PATIENCE) - began for _ in clients]
        ends_on_time(HANDSHAKE, ends)
        wait_until(lambda: stage.postern.ctl("status")["sessions"]["open"] == 0, what="no session")
        assert server.dripped > 5 * HANDSHAKES
        stage.postern.wait_said("upstream-tls: origin.test: the handshake took too long\n")

        def records():
            return [line for line in stage.postern.access() if line.get("path") == "/"]
        wait_until(lambda: len(records()) == sum(rounds), what="a line of each")
        assert {line["reason"] for line in records()} == {"upstream-tls"}
        assert all(line["duration_ms"] >= HANDSHAKE * 900 for line in records())


class DrippingClient:
    """A client whose handshake comes byte by byte: its ClientHello, or its `last` words, which it only has when the server has spoken."""

    def __init__(self, stage, last):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = tls.client_context(tls.root().file).wrap_bio(incoming, outgoing, server_hostname=SITE)
        self.client, self.began, self.spent = Client(stage.at("site")), time.monotonic(), None
        while not self._step(end) and last:
            self.client.send(outgoing.read())
            incoming.write(self.client.socket.recv(65536))
        self.left = bytearray(outgoing.read())

    @staticmethod
    def _step(end):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
            return True

    def drip(self):
        with contextlib.suppress(ConnectionError):      # seen when it reads
            self.client.send(bytes([self.left.pop(0)] if len(self.left) > 1 else []))       # never the last one

    def listen(self):
        """Whether the other side has closed."""
        with contextlib.suppress(ConnectionError):
            if self.client.socket.recv(65536):
                return
        self.spent = time.monotonic() - self.began
        self.client.close()


@pytest.mark.parametrize("last", [False, True], ids=["hello", "finished"])
def test_r22_a_client_whose_handshake_drips(last):
    """It is closed at the timer, which a byte now and then does not move."""
    with TlsStage(timeouts={"handshake": HANDSHAKE, "drain": 1.0}) as stage:
        rounds = []

        def ends():
            rounds.append(HANDSHAKES)
            clients = [DrippingClient(stage, last) for _ in range(HANDSHAKES)]
            while waiting := {one.client.socket: one for one in clients if one.spent is None}:
                for one in waiting.values():
                    one.drip()
                until = time.monotonic() + GAP
                while readable := select.select([sock for sock, one in waiting.items() if one.spent is None], [], [], max(0, until - time.monotonic()))[0]:
                    for sock in readable:
                        waiting[sock].listen()
            return [one.spent for one in clients]
        ends_on_time(HANDSHAKE, ends)
        wait_until(lambda: stage.postern.ctl("status")["sessions"]["open"] == 0, what="no session")
        wait_until(lambda: len(stage.postern.access()) == sum(rounds), what="a line of each")
        assert {line["reason"] for line in stage.postern.access()} == {"timeout-handshake"}
