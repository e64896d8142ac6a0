# SPDX-License-Identifier: ISC
"""R-10: workers that are killed. What a single death costs is in tests/e2e/test_processes.py; here one dies again and again."""
import os
import signal
import time

from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage

DEATHS = 5
PAUSES = (0.1, 0.2, 0.4, 0.8)       # before the second birth, the third, ...; doubled from one to the next


def test_r10_a_crash_loop_backs_off():
    """Killed as soon as it is there: it comes later and later, its client waits in the queue and is not refused, and at last is served."""
    with Stage() as stage, Client(stage.proxy) as client:
        born = []
        for _ in range(DEATHS):
            (pid,) = wait_until(lambda: [pid for pid in stage.postern.workers() if pid not in born], what="a worker")
            if not born:
                began = time.monotonic()
            born.append(pid)
            os.kill(pid, signal.SIGKILL)
            with Client(stage.proxy):
                pass
        wait_until(lambda: [pid for pid in stage.postern.workers() if pid not in born], what="the last worker")
        assert time.monotonic() - began >= sum(PAUSES)
        with Client(stage.proxy) as again:
            assert again.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        assert client.wait_close() == b""
        (worker,) = stage.postern.ctl("status")["workers"]
        assert worker["restarts"] == DEATHS
