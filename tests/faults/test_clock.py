# SPDX-License-Identifier: ISC
"""R-16: the wall clock jumps. Timers do not know it; certificates and logs do."""
import contextlib
import time
from datetime import datetime

import pytest

from lib import layers
from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage
from shim import Shim
from steady import LONG, SOCKETS, steady

DAY, HOUR, YEARS = 86400, 3600, 20 * 365 * 86400
STEPS = 60 if LONG else 5
LIMITS = {"sessions_per_client": 4096}
KEEPALIVE = 2.0


@contextlib.contextmanager
def world(**more):
    with Shim() as shim, Stage(environment=shim.environment, limits=LIMITS, **more) as stage:
        yield stage, shim


def written(line):
    return datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()


def test_jumps_under_load():
    """A day ahead, a day back, then an hour each second: nothing is lost."""
    with world() as (stage, shim), steady(stage) as load:
        for shift in [DAY, -DAY] + [HOUR * n for n in range(STEPS)]:
            shim.wall_seconds = shift
            load.more(30)
            if shift in (DAY, -DAY):
                with Client(stage.proxy) as client:
                    assert client.request("GET", f"{stage.url}/at{shift}", stage.origin_authority).status == 200
                line = stage.postern.wait_access(lambda line: line.get("path") == f"/at{shift}")
                assert abs(written(line) - time.time() - shift) < 600
            time.sleep(1 if LONG else 0.2)
        load.more(30, SOCKETS)


@pytest.mark.parametrize("shift", [DAY, -DAY])
def test_timers_do_not_care(shift):
    """An idle connection is closed when its time is over, neither at once nor a day later."""
    with world(timeouts={"keepalive": KEEPALIVE, "drain": 1.0}) as (stage, shim), Client(stage.proxy) as client:
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        began = time.monotonic()
        shim.wall_seconds = shift
        client.wait_close(15)
        assert time.monotonic() - began > KEEPALIVE * 0.9
        assert stage.postern.workers() and stage.postern.ctl("status")["state"] == "serving"


def status_of(stage):
    """Of a request through inspection; None if there is no handshake."""
    try:
        with Client(stage.proxy) as client:
            return client.request("GET", "/", stage.origin_authority).status
    except OSError:
        return None


def test_certificates_are_judged_by_the_wall_clock():
    """The server's has ended in twenty years and not begun twenty years ago; nothing that was kept says otherwise."""
    with world(layer=layers.INSPECTED) as (stage, shim):
        assert status_of(stage) == 200
        for shift, why in ((YEARS, "certificate has expired"), (-YEARS, "certificate is not yet valid")):
            shim.wall_seconds = shift
            assert status_of(stage) != 200
            wait_until(lambda: f"upstream-certificate: {stage.prefix}.1: {why}" in stage.postern.stderr(), what=why)
            shim.wall_seconds = 0
            wait_until(lambda: status_of(stage) == 200, what="a good handshake again")
