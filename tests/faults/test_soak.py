# SPDX-License-Identifier: ISC
"""R-24: of a hundred clients one is hostile and plays a vector, of client or server, another one each time. Nothing of the others is lost, nothing
restarts, memory does not grow.

Memory goes up and down with what is in flight, so what counts is the least of each ten seconds. A line through these has a slope, and what they
stray from it says how well that is known: the bar is broken if the slope is above it by more than twice its standard error. In ten minutes the
allocator of a sanitizer wanders by more than the bar allows in an hour; there the growth is bounded, and the leak sanitizer looks at what is left."""
import asyncio
import json
import os
import random
import statistics
import threading
import time

import pytest

from lib.postern import POSTERND, ROOT, SMALL_QUARANTINE
from lib.stage import Stage
from steady import LONG, footprint, steady
from vectors import baseline
from vectors.data import bytes_of

SECONDS = int(os.environ.get("POSTERN_SOAK", 600 if LONG else 30))
RATE = 500 if LONG else 150
HOSTILE_PORT = 8002
WAIT = 0.3                # for an answer of any kind
LARGEST = 4 << 20
WARM = 0.2                # of the time: pools and caches fill
FLOOR_S = 10              # the least memory in as many seconds is looked at
SLOPE = 1.0               # MiB an hour of all processes together, from then on; of ten minutes
GROWTH_KIB = 2048         # the same from the first to the last
GROWTH = 1.25             # from before to behind it all: hostile ones need what others never asked for
STILL_S = 20              # the load gets answers in as many seconds


with open(POSTERND, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()


def plays(prefix):
    """(id, what the client writes, what the server writes) of each vector that is bytes."""
    names = baseline.names("baseline", prefix, "forward", (f"{prefix}.1", HOSTILE_PORT), f"{prefix}.2:3128")
    found = []
    with open(os.path.join(ROOT, "tests", "vectors.jsonl")) as file:
        for vector in map(json.loads, file):
            if vector["run"] == "raw":
                up = [bytes_of(step["data"], names) for step in vector["send"] if "to" in step and "data" in step]
                down = [bytes_of(step["data"], names) for step in vector["send"] if ("from" in step or "upstream" in step) and "data" in step]
                if sum(map(len, up + down)) < LARGEST:
                    found.append((vector["id"], up, down))
    return found


class Hostile:
    """`rate` vectors a second, on a thread of its own, until stop()."""

    def __init__(self, stage, rate):
        self.stage, self.rate, self.played, self._down, self._stopped = stage, rate, set(), [], False
        self.plays = plays(stage.prefix)
        self._thread = threading.Thread(target=asyncio.run, args=[self._main()], daemon=True)
        self._thread.start()

    async def _main(self):
        server = await asyncio.start_server(self._serve, f"{self.stage.prefix}.1", HOSTILE_PORT)
        while not self._stopped:
            random.shuffle(self.plays)
            for name, up, down in self.plays:
                began = time.monotonic()
                self._down = down
                await self._play(up)
                self.played.add(name)
                await asyncio.sleep(max(0, 1 / self.rate - (time.monotonic() - began)))
                if self._stopped:
                    break
        server.close()

    async def _play(self, up):
        try:
            reader, writer = await asyncio.open_connection(*self.stage.proxy.split(":"))
            for data in up:
                writer.write(data)
                await asyncio.wait_for(reader.read(65536), WAIT)
        except (OSError, asyncio.TimeoutError):
            pass
        if random.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()

    async def _serve(self, reader, writer):
        down = self._down
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            for data in down:
                writer.write(data)
            await asyncio.wait_for(reader.read(1 << 20), 5)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            pass
        finally:                              # also if it is cancelled, because the loop ends
            writer.close()

    def stop(self):
        self._stopped = True
        self._thread.join(30)
        assert not self._thread.is_alive()


def memory(stage):
    return sum(kib for _, _, kib in footprint(stage.postern).values())


def floors(samples):
    """The least of each FLOOR_S seconds behind the warm-up, of (seconds, KiB)."""
    least = {}
    for at, kib in samples:
        if at >= WARM * SECONDS:
            least[at // FLOOR_S] = min(kib, least.get(at // FLOOR_S, kib))
    return [(FLOOR_S * number, kib) for number, kib in sorted(least.items())]


def slope(points):
    """Of the line through (seconds, KiB) by least squares, and its standard error, in MiB an hour."""
    times, sizes = zip(*points)
    line = statistics.linear_regression(times, sizes)
    strays = sum((size - line.intercept - line.slope * at) ** 2 for at, size in points)
    spread = sum((at - statistics.fmean(times)) ** 2 for at in times)
    return line.slope * 3600 / 1024, (strays / (len(points) - 2) / spread) ** 0.5 * 3600 / 1024


def check_memory(samples):
    least = floors(samples)
    grown = least[-1][1] - least[0][1]
    print(f"memory {least[0][1]} KiB, {grown:+} KiB in {least[-1][0] - least[0][0]:.0f} s")
    assert grown < GROWTH_KIB
    if LONG and not SANITIZED:
        rise, error = slope(least)
        print(f"{rise:+.2f} MiB an hour, standard error {error:.2f}")
        assert rise - 2 * error < SLOPE


def watched(stage, load):
    """(seconds, KiB) each second; the load must not stand still meanwhile."""
    samples, began, answered = [], time.monotonic(), [load.answered]
    while (at := time.monotonic() - began) < SECONDS:
        samples.append((at, memory(stage)))
        time.sleep(1)
        answered = [*answered, load.answered][-STILL_S:]
        assert len(answered) < STILL_S or answered[-1] > answered[0], "the load stands still"
    return samples


@pytest.mark.parametrize("leak", [0.0, 3.0])
def test_a_leak_is_seen(leak):
    """Of 3 MiB an hour in ten minutes, in noise that is ten times what there is."""
    noise = random.Random(24)
    points = [(at, 6000 + leak * 1024 * at / 3600 + noise.gauss(0, 20)) for at in range(120, 600, FLOOR_S)]
    rise, error = slope(points)
    assert abs(rise - leak) < 3 * error < 1.0
    assert (rise - 2 * error < SLOPE) == (not leak)


def test_one_of_a_hundred_is_hostile():
    with Stage(environment=SMALL_QUARANTINE, limits={"sessions_per_client": 4096}) as stage:
        before = stage.postern.processes()
        with steady(stage, rate=RATE, body=8192, growth=GROWTH) as load:
            hostile = Hostile(stage, RATE / 100)
            samples = watched(stage, load)
            hostile.stop()
            load.more(50)
            print(f"{load.answered} answers, {load.echoed} echoes, {len(hostile.played)} vectors; the load stood still for {load.stall:.1f} s at most")
        assert stage.postern.processes() == before
        assert len(hostile.played) > min(20, RATE / 100 * SECONDS / 4)
        check_memory(samples)
