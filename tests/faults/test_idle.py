# SPDX-License-Identifier: ISC
"""R-23: idle WebSockets beside a load: what each costs, and what the load notices of them. At the end each still answers."""
import contextlib
import threading
import time

import pytest

from lib import layers, ws
from lib.http1 import Client
from lib.postern import SMALL_QUARANTINE, rss_kib
from lib.stage import Stage
from lib.ws_pair import End
from steady import LONG, steady

# layer: how many, KiB of each. Each takes two descriptors of the worker and two of this process, which may have 20,000, and one client has its share.
KINDS = {layers.CLEAR: (7000 if LONG else 300, 16), layers.ENDED: (1000 if LONG else 100, 48)}
SAMPLES = 2000 if LONG else 200
FLOOR = 0.5      # seconds: below it a busy machine says more than the program


def p99(stage):
    """Of requests on a kept connection."""
    times = []
    with Client(stage.proxy) as client:
        for _ in range(SAMPLES):
            began = time.monotonic()
            assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
            times.append(time.monotonic() - began)
    return sorted(times)[int(SAMPLES * 0.99)]


def opened(stage):
    client = Client(stage.proxy)
    client.send(ws.handshake(f"{stage.url}/idle", stage.origin_authority))
    assert client.response().status == 101
    return End(client.socket, True)


@pytest.fixture
def small_stacks():
    """The origin has a thread for each connection."""
    before = threading.stack_size(256 * 1024)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("small_stacks")
@pytest.mark.parametrize("layer", KINDS)
def test_idle_websockets(layer):
    count, kib = KINDS[layer]
    with Stage(layer=layer, limits={"sessions_per_client": 2 * count}, environment=SMALL_QUARANTINE) as stage:
        with steady(stage, back=False) if layer == layers.CLEAR else contextlib.nullcontext():
            baseline = p99(stage)
            worker = stage.postern.workers()[0]
            before = rss_kib(worker)
            idle = [opened(stage) for _ in range(count)]
            assert rss_kib(worker) - before <= kib * count
            beside = p99(stage)
            assert beside <= max(1.5 * baseline, FLOOR), (beside, baseline)
            for number, end in enumerate(idle):
                message = f"message {number}".encode()
                end.say(ws.TEXT, message)
                assert end.message() == (ws.TEXT, message)
            assert stage.postern.workers() == [worker]
        for end in idle:
            end.drop()
