# SPDX-License-Identifier: ISC
"""slowhttptest in all its modes: slow heads, slow bodies, ranges, slow readers. Honest clients keep their times meanwhile."""
import shutil
import subprocess
import time

import pytest

from lib.http1 import Client
from lib.stage import Stage
from steady import LONG

SECONDS, CONNECTIONS = (60, 1000) if LONG else (3, 200)
FLOOR = 0.5      # seconds: below it a busy machine says more than the program
MODES = {"head": ["-H"], "body": ["-B"], "range": ["-R", "-a", "10", "-b", "3000"],
         "read": ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3"]}


def sample(stage):
    began = time.monotonic()
    with Client(stage.proxy, source="127.0.0.2") as client:
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
    return time.monotonic() - began


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


@pytest.fixture(scope="module")
def stage():
    if not shutil.which("slowhttptest"):
        pytest.skip("no slowhttptest here")
    large = bytes(1 << 20)
    with Stage({"/large": lambda connection, request: connection.answer(large)}, clients="127.0.0.0/28") as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
def test_honest_clients(stage, mode):
    baseline = p99([sample(stage) for _ in range(200)])
    before = stage.postern.ctl("status")["sessions"]["opened"]
    path = "/large" if mode == "read" else "/"
    attack = subprocess.Popen(["slowhttptest", *MODES[mode], "-c", str(CONNECTIONS), "-r", "200", "-i", "1", "-l", str(SECONDS), "-u",
                               f"http://{stage.site}{path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    times = [sample(stage)]
    while attack.poll() is None:
        times.append(sample(stage))
    said = attack.communicate()[0]
    attacked = stage.postern.ctl("status")["sessions"]["opened"] - before - len(times)
    assert len(times) >= 20 and attacked >= CONNECTIONS // 2, (len(times), attacked, said)
    assert p99(times) <= max(2 * baseline, FLOOR), (p99(times), baseline)
