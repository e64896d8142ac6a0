# SPDX-License-Identifier: ISC
"""R-24: of a hundred clients one is hostile and plays a vector, of client or server, another one each time. Nothing of the others is lost, nothing
restarts, memory does not grow."""
import asyncio
import json
import os
import random
import threading
import time

from lib.postern import ROOT, SMALL_QUARANTINE
from lib.stage import Stage
from steady import LONG, footprint, steady
from vectors import baseline
from vectors.data import bytes_of

SECONDS = 600 if LONG else 30
RATE = 500 if LONG else 150
HOSTILE_PORT = 8002
WAIT = 0.3                # for an answer of any kind
LARGEST = 4 << 20
WARM = 0.3                # of the time: pools and caches fill
GROWTH_KIB = 2048         # of all processes together, from then on


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


def test_one_of_a_hundred_is_hostile():
    with Stage(environment=SMALL_QUARANTINE, limits={"sessions_per_client": 4096}) as stage:
        before = stage.postern.processes()
        with steady(stage, rate=RATE, body=8192) as load:
            hostile, samples, began = Hostile(stage, RATE / 100), [], time.monotonic()
            while (at := time.monotonic() - began) < SECONDS:
                if at > WARM * SECONDS:
                    samples.append(memory(stage))
                answered = load.answered
                time.sleep(SECONDS / 30)
                assert load.answered > answered, "the load stands still"
            hostile.stop()
            load.more(50)
            third = len(samples) // 3
            grown = sum(samples[-third:]) / third - sum(samples[:third]) / third
            print(f"{load.answered} answers, {load.echoed} echoes, {len(hostile.played)} vectors, {grown:.0f} KiB in {SECONDS * (1 - WARM) * 2 / 3:.0f} s")
        assert stage.postern.processes() == before
        assert len(hostile.played) > min(20, RATE / 100 * SECONDS / 4)
        assert grown < GROWTH_KIB
