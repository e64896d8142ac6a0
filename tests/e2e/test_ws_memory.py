# SPDX-License-Identifier: ISC
"""Messages of any size pass through a policy without a size limit, and the worker does not grow; what inflates too far is stopped.

64 MiB by default; POSTERN_WS_MIB=1024 for the long run. With AddressSanitizer freed memory is kept for a while to find uses of it:
that is switched off here, because it is the sanitizer's memory and not the program's.
"""
import os
import threading
import time
import zlib

import pytest

from lib import ws
from lib.postern import proc_status, rss_kib
from lib.ws_pair import PairWorld

MIB = int(os.environ.get("POSTERN_WS_MIB", "64"))
GROWTH_KIB = 1024
CHUNK = 1 << 18
BOUND = 1 << 20
HELD = 32 << 20
OPEN = {"message_bytes": 0, "fragments": 0}


@pytest.fixture(scope="module")
def world():
    before = os.environ.get("ASAN_OPTIONS")
    os.environ["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
    try:
        groups = {"open": OPEN, "inspect": {**OPEN, "deflate": "inspect"}, "bound": {"message_bytes": BOUND, "deflate": "inspect", "inflate_ratio": 0},
                  "ratio": {**OPEN, "deflate": "inspect", "inflate_ratio": 100}, "wait": {"message_bytes": BOUND, "match": [{"name": "none", "pattern": "never"}]},
                  "held": {"message_bytes": HELD, "match": [{"name": "none", "pattern": "never"}]},
                  "fits": {**OPEN, "deflate": "inspect", "inflate_ratio": 2000}}
        with PairWorld(groups) as made:
            yield made
    finally:
        os.environ.pop("ASAN_OPTIONS")
        if before is not None:
            os.environ["ASAN_OPTIONS"] = before


class Watch:
    """The most that the worker has grown since the begin."""

    def __init__(self, world):
        self.pid = world.postern.workers()[0]
        self.before = self.most = rss_kib(self.pid)

    def look(self):
        self.most = max(self.most, rss_kib(self.pid))

    @property
    def growth(self):
        self.look()
        return self.most - self.before


def headers_and_chunks(op, size, mask, fragment):
    """A message of `size` bytes of ASCII: in one frame, or in fragments of so many bytes."""
    body = ws.masked(b"postern " * (CHUNK // 8), ws.MASK) if mask else b"postern " * (CHUNK // 8)
    frame = fragment or size
    for at in range(0, size, frame):
        yield ws.frame(op if at == 0 else 0, b"", int(at + frame >= size), mask=mask, length=frame, length_size="64" if frame > 65535 else None)
        for _ in range(0, frame, CHUNK):
            yield body[:min(CHUNK, frame)]


def carry(pair, up, op, size, fragment, watch):
    sender, receiver = (pair.client, pair.server) if up else (pair.server, pair.client)

    def send():
        for part in headers_and_chunks(op, size, up, fragment):
            sender.socket.sendall(part)
    thread = threading.Thread(target=send, daemon=True)
    receiver.socket.settimeout(60)
    thread.start()
    frames = -(-size // (fragment or size))
    head = len(ws.frame(op, b"", mask=up, length=fragment or size, length_size="64" if (fragment or size) > 65535 else None))
    total, got, buffer, reads = size + frames * head, 0, bytearray(1 << 20), 0
    while got < total:
        count = receiver.socket.recv_into(buffer)
        assert count, f"closed after {got} of {total} bytes"
        got += count
        reads += 1
        if reads % 64 == 0:
            watch.look()
    thread.join(60)


@pytest.mark.parametrize("path", ["open", "inspect"])
@pytest.mark.parametrize("fragment", [None, CHUNK], ids=["whole", "fragments"])
@pytest.mark.parametrize("op", [ws.TEXT, ws.BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_long_message(world, up, op, fragment, path):
    pair = world.pair(f"/{path}")
    carry(pair, up, op, 4 * CHUNK, fragment, Watch(world))       # what is made once is there
    watch = Watch(world)
    carry(pair, up, op, MIB << 20, fragment, watch)
    assert watch.growth < GROWTH_KIB
    sender, receiver = (pair.client, pair.server) if up else (pair.server, pair.client)
    sender.say(ws.TEXT, b"behind it")
    assert receiver.message() == (ws.TEXT, b"behind it")
    pair.drop()


def peak_kib(watch):
    """The kernel's own: what is freed while it passes is gone before anybody looks."""
    return int(proc_status(watch.pid)["VmHWM"].split()[0])


def test_the_measure(world):
    """A policy with a rule about content holds a message until it is whole, and frees it: the worker grows by that much, and no more with each."""
    watch, peaks = Watch(world), []
    for _ in range(3):          # the second has what an allocator keeps of the first
        pair = world.pair("/held")
        carry(pair, True, ws.BINARY, HELD, CHUNK, watch)
        pair.drop()
        pair.wait_record(event="end")
        peaks.append(peak_kib(watch))
    assert peaks[0] - watch.before > 0.9 * (HELD >> 10)
    assert peaks[2] < peaks[1] + (HELD >> 11)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("path", ["open", "wait"])
def test_a_receiver_that_does_not_read(world, path, up):
    """The sender is not read any more; nothing piles up, and nothing is lost."""
    pair = world.pair(f"/{path}")
    sender, receiver = (pair.client, pair.server) if up else (pair.server, pair.client)
    watch, size = Watch(world), BOUND
    data = ws.frame(ws.BINARY, b"postern " * (size // 8), mask=up) * 24
    sender.socket.setblocking(False)
    sent, blocked = 0, 0
    while blocked < 20 and sent < len(data):
        try:
            sent += sender.socket.send(data[sent:sent + CHUNK])
            blocked = 0
        except BlockingIOError:
            blocked += 1
            time.sleep(0.01)
        watch.look()
    assert sent < len(data), "nobody held the sender back"
    assert watch.growth < GROWTH_KIB + (4 * BOUND >> 10 if path == "wait" else 0)

    def rest():
        sender.socket.setblocking(True)
        sender.socket.sendall(data[sent:])
    thread = threading.Thread(target=rest, daemon=True)
    thread.start()
    for _ in range(24):
        assert receiver.message(60) == (ws.BINARY, b"postern " * (size // 8))
    thread.join(60)
    pair.drop()


# Bombs.

def compressed(size):
    deflater = zlib.compressobj(9, wbits=-15)
    zeros = bytes(1 << 20)
    return b"".join(deflater.compress(zeros) for _ in range(size >> 20)) + deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]


BOMB = compressed(256 << 20)
assert (256 << 20) / len(BOMB) > 1000


def throw(pair, up, fragment):
    sender, receiver = (pair.client, pair.server) if up else (pair.server, pair.client)
    parts = [BOMB[at:at + fragment] for at in range(0, len(BOMB), fragment)]
    data = b"".join(ws.frame(2 if number == 0 else 0, part, int(number == len(parts) - 1), 4 if number == 0 else 0, up)
                    for number, part in enumerate(parts))

    def send():
        try:
            sender.socket.sendall(data)
        except OSError:
            pass
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    seen, close = 0, (1006, "")
    while (frame := receiver.frame()) is not None:
        if frame.op == ws.CLOSE:
            close = frame.close_code, frame.payload[2:].decode()
        else:
            seen += len(frame.payload)
    seen += len(receiver.buffer)
    thread.join(15)
    return seen, close


@pytest.mark.parametrize("path,reason", [("bound", "message-too-big"), ("ratio", "deflate-ratio")])
@pytest.mark.parametrize("fragment", [len(BOMB), 200], ids=["whole", "fragments"])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_bomb(world, up, fragment, path, reason):
    pair = world.pair(f"/{path}", extensions="permessage-deflate", accepted="permessage-deflate")
    watch = Watch(world)
    seen, close = throw(pair, up, fragment)
    assert seen <= 2 * BOUND // 1000, "what was passed on inflates to more than the bound and what is in one frame"
    assert close in ((1001 if up else 1011, reason), (1006, ""))       # without a close frame where a frame was under way
    assert fragment == len(BOMB) or close != (1006, "")
    offender = pair.client if up else pair.server
    assert offender.closed() in ((1009, reason), (1006, ""))
    ended = pair.wait_record(event="end")
    assert (ended["reason"], ended["close_code"]) == (reason, 1009)
    assert watch.growth < GROWTH_KIB
    pair.drop()


def test_a_bomb_that_is_allowed(world):
    """Without bounds it passes as it came; inflating it takes no memory."""
    pair = world.pair("/fits", extensions="permessage-deflate", accepted="permessage-deflate")
    watch = Watch(world)
    thread = threading.Thread(target=pair.client.send, args=[ws.BINARY, BOMB, 1, 4], daemon=True)
    thread.start()
    frame = pair.server.frame(60)
    assert frame.payload == BOMB
    assert watch.growth < GROWTH_KIB
    thread.join(15)
    pair.drop()
