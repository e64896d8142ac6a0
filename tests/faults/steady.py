# SPDX-License-Identifier: ISC
"""The load that runs while a test makes a fault happen, and what must be true when it is over.

    with Stage(**FOR_LOAD) as stage, steady(stage) as load:
        ...the fault...
        load.more(200)              # it goes on behind it

Keep-alive clients PUT a body and get another one back; WebSockets send a message and get it back. Every answer is looked at: by both ends, byte
by byte. What one client sees instead of its own whole answer is *lost*, and Lost says how:

    refused   the connection could not be made          status   an answer that is not 200
    wrong     another content than what was asked for    short    complete, but fewer bytes than there should be
    cut       visibly ended before its end               silent   nothing came in time, while the load itself was running
    closed    a WebSocket that the other side ended

Leaving `steady` stops the load and checks: nothing lost but what `allow` names, the canary is answered, descriptors and memory are back where
they were before (unless `back=False`). Leaving Stage checks what sanitizers said.
"""
import asyncio
import collections
import contextlib
import itertools
import os
import random
import re
import threading
import time

from lib import ws
from lib.http1 import Client
from lib.postern import PATIENCE, SMALL_QUARANTINE, proc_status, wait_until

LONG = os.environ.get("POSTERN_LONG") == "1"
# The load of the table of failure modes; the short form has the same shape.
CLIENTS, RATE, SOCKETS = (200, 500, 200) if LONG else (30, 100, 30)
SECONDS = 60 if LONG else 3          # around a fault
BODY = 65536
MESSAGE = 1000
PORT = 8001                          # of the load's own origin, which stands beside the stage's
FOR_LOAD = {"limits": {"sessions_per_client": 4096}, "environment": SMALL_QUARANTINE}
POOL = random.Random(7).randbytes(1 << 20)
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)

Lost = collections.namedtuple("Lost", "kind who what at")


class Link:
    """One connection of a client. `asked`: how many answers it brought; `began`: whether something of the one that is waited for has come."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.asked, self.began, self.is_dropped = reader, writer, 0, False, False


class Ended(Exception):
    """An exchange that did not become a whole, right answer."""

    def __init__(self, kind, what=""):
        super().__init__(f"{kind}: {what}")
        self.kind, self.what = kind, what


def content(number, answer=False, length=BODY):
    """What request `number` carries, and what its answer does: no two are alike."""
    at = (number * 7919 + 104729 * answer) % (len(POOL) - length)
    return POOL[at:at + length]


async def read_head(reader):
    return await reader.readuntil(b"\r\n\r\n")


async def read_frame(reader):
    data = bytearray(await reader.readexactly(2))
    while (frame := ws.frame_at(data, 0)) is None or not frame.complete:
        data += await reader.readexactly(2 if frame is None else frame.end - len(data))
    return frame


class Patience:
    """Ends what takes too long, by looks of the loop and not by the clock: a load that did not run itself, on a machine that stood still, blames
    nobody. `stall`: for how long it did not at most."""
    LOOK = 0.1

    def __init__(self, seconds):
        self._looks, self._now, self._ends, self.stall = round(seconds / self.LOOK), 0, {}, 0.0

    async def look(self):
        while True:
            began = time.monotonic()
            await asyncio.sleep(self.LOOK)
            self.stall = max(self.stall, time.monotonic() - began - self.LOOK)
            self._now += 1
            for task in [task for task, end in self._ends.items() if end <= self._now]:
                task.cancel()

    async def wait(self, turn):
        """What `turn` returns; TimeoutError if it was ended."""
        task = asyncio.ensure_future(turn)
        self._ends[task] = self._now + self._looks
        try:
            return await task
        except asyncio.CancelledError:
            raise asyncio.TimeoutError from None
        finally:
            del self._ends[task]


class Origin:
    """Answers the load, and looks at what came."""

    def __init__(self, lose):
        self._lose, self.served = lose, collections.Counter()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await read_head(reader)
                if b"\r\nupgrade:" in head.lower():
                    await self._echo(head, reader, writer)
                    return
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, head, reader, writer):
        target, length = head.split(b" ", 2)[1], LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        number = int(target.rpartition(b"/")[2] or b"0")
        self.served[number] += 1
        if body and body != content(number, length=len(body)):
            self._lose("wrong", "origin", f"request {number} came with another content")
        answer = content(number, answer=True, length=len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Number: %d\r\n\r\n%b" % (len(answer), number, answer))
        await writer.drain()

    async def _echo(self, head, reader, writer):
        key = re.search(rb"\r\nsec-websocket-key: *(\S+)\r\n", head, re.IGNORECASE)[1]
        writer.write(ws.switching(key))
        while True:
            frame = await read_frame(reader)
            writer.write(ws.frame(ws.PONG if frame.op == ws.PING else frame.op, frame.payload))
            await writer.drain()
            if frame.op == ws.CLOSE:
                return


class Steady:
    """`rate`: requests a second of all clients together. `body`: bytes each way. `where`: (proxy, authority, prefix of targets) if not those of
    the stage; `serve`: whether this has an origin of its own. Runs on a thread of its own until stop()."""

    def __init__(self, stage, clients=CLIENTS, rate=RATE, sockets=SOCKETS, body=BODY, where=None, serve=True, patience=PATIENCE):
        self.stage, self.body, self.patience = stage, body, patience
        origin = f"{stage.prefix}.1:{PORT}"
        self.proxy, self.authority, self.url = where or (stage.proxy, origin, f"http://{origin}")
        self.answered, self.echoed, self.retried, self.lost, self.close_codes = 0, 0, 0, [], collections.Counter()
        self.slowest = 0.0
        self.origin, self._patience = Origin(self._lose), Patience(patience)
        self._numbers = itertools.count(1)
        self.clients, self.sockets, self._period = clients, sockets, clients / rate
        self._on, self._stopped, self._busy = threading.Event(), False, 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._main(origin if serve else None)], daemon=True)
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise AssertionError("the load's origin does not start")

    # For tests.

    def run(self):
        self._on.set()

    def pause(self):
        """All connections are closed when this returns; run() goes on."""
        self._on.clear()
        wait_until(lambda: self._busy == 0, self.patience + PATIENCE, "the load to pause")

    def more(self, answers, echoes=0, seconds=60):
        """Waits for that many more answers, and messages back."""
        answered, echoed = self.answered + answers, self.echoed + echoes
        wait_until(lambda: self.answered >= answered and self.echoed >= echoed, seconds, f"{answers} answers and {echoes} echoes more")

    def stop(self):
        self._stopped = True
        self._on.clear()
        self._thread.join(self.patience + PATIENCE)
        assert not self._thread.is_alive(), "a client of the load hangs"

    def losses(self, allow=()):
        return [one for one in list(self.lost) if one.kind not in allow]

    @property
    def stall(self):
        """For how many seconds the load itself did not run, at most."""
        return self._patience.stall

    # The inside.

    def _lose(self, kind, who, what):
        self.lost.append(Lost(kind, who, what, time.time()))

    async def _main(self, origin):
        server, self.loop = None, asyncio.get_running_loop()
        if origin:
            host, port = origin.split(":")
            server = await asyncio.start_server(self.origin.serve, host, int(port), backlog=1024)
        looks = asyncio.ensure_future(self._patience.look())
        self._ready.set()
        await asyncio.gather(*[self._life(self._ask, number, self._period) for number in range(self.clients)],
                             *[self._life(self._say, number, 1.0) for number in range(self.sockets)])
        looks.cancel()
        if server:
            server.close()

    async def _life(self, turn, number, period):
        """One client: `turn` each `period` seconds over one connection, a new one when that is gone."""
        link, who = None, f"{turn.__name__}-{number}"
        due = time.monotonic() + random.random() * period
        while not self._stopped:
            if not self._on.is_set():
                link = self._drop(link)
                await asyncio.sleep(0.02)
                due = time.monotonic() + random.random() * period
                continue
            if time.monotonic() < due:
                await asyncio.sleep(min(0.1, due - time.monotonic()))
                continue
            due = max(due + period, time.monotonic() - 1)
            link = await self._turn(turn, link, who)
        self._drop(link)

    async def _turn(self, turn, link, who):
        try:
            if link is None:
                link = await self._dial()
            return await self._patience.wait(turn(link))
        except Ended as error:
            self._lose(error.kind, who, error.what)
        except asyncio.TimeoutError:
            self._lose("silent", who, f"for {self.patience} s")
        except (asyncio.IncompleteReadError, OSError) as error:
            self._lose("cut", who, repr(error))
        self._drop(link)
        return None

    async def _dial(self):
        host, _, port = self.proxy.rpartition(":")
        try:
            reader, writer = await self._patience.wait(asyncio.open_connection(host.strip("[]"), int(port), limit=1 << 18))
        except (OSError, asyncio.TimeoutError) as error:
            raise Ended("refused", repr(error)) from None
        self._busy += 1
        return Link(reader, writer)

    def _drop(self, link):
        if link is not None and not link.is_dropped:
            link.is_dropped = True
            link.writer.close()
            self._busy -= 1

    async def _ask(self, link):
        """One request. A kept connection that ends before the first byte of the answer may be repeated once (RFC 9112 9.3.1): it raced."""
        number = next(self._numbers)
        try:
            return await self._exchange(link, number)
        except (asyncio.IncompleteReadError, OSError) as error:
            if not link.asked or link.began or getattr(error, "partial", b""):
                raise
        self.retried += 1
        self._drop(link)
        link = await self._dial()
        try:
            return await self._exchange(link, number)
        except BaseException:
            self._drop(link)
            raise

    async def _exchange(self, link, number):
        body, began = content(number, length=self.body), time.monotonic()
        link.began = False
        link.writer.write(f"PUT {self.url}/steady/{number} HTTP/1.1\r\nHost: {self.authority}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await read_head(link.reader)
        link.began = True
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Ended("status", head.split(b"\r\n", 1)[0].decode("latin-1"))
        length = int(LENGTH.search(head)[1])
        answer = await link.reader.readexactly(length)
        if answer != content(number, answer=True, length=self.body):
            raise Ended("short" if length < self.body else "wrong", f"answer to {number}: {length} bytes")
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.answered += 1
        link.asked += 1
        if b"\r\nconnection: close" in head.lower():
            self._drop(link)
            return None
        return link

    async def _say(self, link):
        number = next(self._numbers)
        if not link.asked:
            link.writer.write(ws.handshake(f"{self.url}/socket/{number}", self.authority))
            head = await read_head(link.reader)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Ended("status", head.split(b"\r\n", 1)[0].decode("latin-1"))
            link.asked = 1
        message = content(number, length=MESSAGE)
        link.writer.write(ws.frame(ws.BINARY, message, mask=True))
        frame = await read_frame(link.reader)
        if frame.op == ws.CLOSE:
            self.close_codes[frame.close_code] += 1
            raise Ended("closed", f"with {frame.close_code}")
        if frame.payload != message:
            raise Ended("wrong", f"echo of {number}")
        self.echoed += 1
        return link


def memory_kib(pid):
    """Of its own: shared memory, the table and the rings of records and ended sessions, has a size that it fills in time."""
    return int(proc_status(pid).get("RssAnon", "0 kB").split()[0])


def footprint(postern):
    """role -> (processes, descriptors, KiB of memory) of all that the monitor started, and of itself."""
    sums = collections.defaultdict(lambda: [0, 0, 0])
    for pid, role in [(postern.process.pid, "monitor"), *postern.processes().items()]:
        try:
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        for index, value in enumerate((1, descriptors, memory_kib(pid))):
            sums[role][index] += value
    return {role: tuple(value) for role, value in sums.items()}


def is_back(now, before, growth, floor_kib):
    return all(role in now and now[role][0] == processes and now[role][1] <= descriptors and
               now[role][2] <= max(kib * growth, kib + floor_kib) for role, (processes, descriptors, kib) in before.items())


def wait_back(postern, before, growth=1.10, floor_kib=2048, seconds=PATIENCE):
    """Until processes and descriptors are what they were `before` (a footprint), and memory within `growth`."""
    try:
        wait_until(lambda: is_back(footprint(postern), before, growth, floor_kib), seconds)
    except AssertionError:
        raise AssertionError(f"not back where it was:\nbefore {before}\nnow    {footprint(postern)}\n{postern.ctl('sessions')['sessions']}") from None


def idle_footprint(postern):
    """Once no session is left."""
    wait_until(lambda: postern.ctl("status")["sessions"]["open"] == 0, what="no session")
    return footprint(postern)


def canary(stage):
    with Client(stage.proxy) as client:
        answer = client.request("GET", f"{stage.url}/canary", stage.origin_authority)
        assert answer.status == 200, answer


def busy_seconds(pid):
    """CPU time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid):
    return proc_status(pid).get("State", "Z")[0] not in "ZX"


def told(lost):
    """What they have in common: how many of each kind and turn, within which time, and the first ones."""
    kinds = collections.Counter((one.kind, one.who.split("-")[0]) for one in lost)
    return f"{dict(kinds)} within {max(one.at for one in lost) - min(one.at for one in lost):.1f} s: {lost[:10]}"


@contextlib.contextmanager
def steady(stage, allow=(), back=True, growth=1.10, **sizes):
    """See above. `back`: whether descriptors and memory must come back; `sizes` as for Steady."""
    load = Steady(stage, **sizes)
    try:
        before = None
        if back:                          # what is made once, is made before
            load.run()
            load.more(2 * load.clients, load.sockets)
            load.pause()
            before = idle_footprint(stage.postern)
        load.run()
        load.more(load.clients)
        yield load
    finally:
        load.stop()
    lost = load.losses(allow)
    assert not lost, f"{len(lost)} lost of {load.answered + load.echoed}: {told(lost)}; the load stood still for {load.stall:.1f} s at most"
    canary(stage)
    if back:
        wait_back(stage.postern, before, growth)
