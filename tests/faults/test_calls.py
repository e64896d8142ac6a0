# SPDX-License-Identifier: ISC
"""R-15: system calls of a worker fail at random, under load. It neither dies nor spins, and no client gets another's answer or less than its own."""
import os
import signal
import time

from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage
from shim import Shim
from steady import LONG, SOCKETS, busy_seconds, steady

LIMITS = {"sessions_per_client": 4096}
RATES = [2, 20, 100]              # of a thousand calls
ANSWERS = 5000 if LONG else 60
IDLE_SECONDS, IDLE_SHARE = 2.0, 0.3
GROWTH = 1.5                      # of memory: all of the load ends and begins anew at once, again and again


def test_calls_fail_at_random():
    with Shim() as shim, Stage(environment=shim.environment, limits=LIMITS) as stage:
        before, (worker,) = stage.postern.processes(), stage.postern.workers()
        seed = shim.random = time.time_ns()
        with steady(stage, allow=("status", "cut", "closed", "refused"), growth=GROWTH) as load:
            for rate in RATES:
                shim.fail_calls(rate, pid=worker)
                seen = load.answered + len(load.lost)
                wait_until(lambda: load.answered + len(load.lost) > seen + ANSWERS, 120, f"anything with {rate} of 1000 calls failing")
            failed = shim.calls_failed
            load.pause()
            used, began = busy_seconds(worker), time.monotonic()
            time.sleep(IDLE_SECONDS)
            used, lasted = busy_seconds(worker) - used, time.monotonic() - began
            shim.fail_calls(0)
            load.run()
            load.more(50, SOCKETS)
        assert failed > 20, f"seed {seed}"
        assert used < IDLE_SHARE * lasted, f"{used} s of CPU in {lasted} s with nothing to do"
        assert stage.postern.processes() == before


def test_calls_fail_at_the_start_of_streams():
    """Denied is denied, whatever fails."""
    with Shim() as shim, Stage(environment=shim.environment, limits=LIMITS) as stage:
        worker, = stage.postern.workers()
        shim.random = time.time_ns()
        shim.fail_calls(50, pid=worker)
        refused = 0
        for number in range(2000 if LONG else 150):
            try:
                with Client(stage.proxy, timeout=15) as client:
                    answer = client.request("GET", f"http://127.0.0.1:1/{number}", "127.0.0.1:1")
                assert answer.status in (403, 502, 503), answer
                refused += answer.status == 403
            except OSError:
                pass
        shim.fail_calls(0)
        assert refused > 10 and not stage.origin.connections
        assert stage.postern.workers() == [worker]


def test_an_answer_to_the_watchdog_is_lost():
    """It is asked again: over as many looks as it takes to find one that is stopped, the worker is left alone."""
    with Shim() as shim, Stage(environment=shim.environment, timeouts={"stall": 6.0, "drain": 1.0}) as stage:
        (worker,), (control,) = stage.postern.workers(), stage.postern.pids("control")
        shim.fail_calls(500, pid=worker)
        wait_until(lambda: "the monitor cannot be answered" in stage.postern.stderr(), 60, "an answer that is lost")
        shim.fail_calls(0)
        os.kill(control, signal.SIGSTOP)
        wait_until(lambda: stage.postern.pids("control") not in ([], [control]), 60, "another control")
        assert stage.postern.workers() == [worker]
