# SPDX-License-Identifier: ISC
"""The load itself: it loses nothing where nothing happens, and sees what it is there to see."""
import contextlib
import os
import signal
import time

import pytest

from lib.postern import wait_until
from lib.stage import Stage
from steady import BODY, FOR_LOAD, SOCKETS, Steady, steady


def test_without_a_fault_nothing_is_lost():
    with Stage(**FOR_LOAD) as stage, steady(stage) as load:
        load.more(200, SOCKETS)


def head(status, length):
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("kind, answer, whole", [
    ("short", head("200 OK", 5) + b"12345", True),
    ("wrong", head("200 OK", BODY) + b"x" * BODY, True),
    ("status", head("500 No", 0), True),
    ("cut", head("200 OK", BODY) + b"x" * 100, False),
    ("silent", b"", True),
], ids=["short", "wrong", "status", "cut", "silent"])
def test_what_is_lost_is_seen(kind, answer, whole):
    def serve(connection):
        while True:
            connection.read_request()
            connection.send(answer)
            if not whole:
                return
    with Stage(handler=serve) as stage, contextlib.ExitStack() as stack:
        load = Steady(stage, clients=2, rate=50, sockets=0, where=(stage.proxy, stage.origin_authority, stage.url), serve=False, patience=1.0)
        stack.callback(load.stop)
        load.run()
        wait_until(lambda: len(load.lost) >= 2, what="something lost")
        assert {one.kind for one in load.lost} == {kind} and not load.answered


def test_a_proxy_that_is_not_there_is_seen():
    with Stage() as stage, contextlib.ExitStack() as stack:
        load = Steady(stage, clients=1, rate=50, sockets=1, where=(f"{stage.prefix}.2:1", stage.origin_authority, stage.url), serve=False)
        stack.callback(load.stop)
        load.run()
        wait_until(lambda: len(load.lost) >= 2, what="something lost")
        assert {one.kind for one in load.lost} == {"refused"}


@contextlib.contextmanager
def hurried(stage):
    """A load that always waits for answers, for 3 s each."""
    load = Steady(stage, clients=5, rate=5000, sockets=0, body=1000, patience=3.0)
    try:
        load.run()
        load.more(100)
        yield load
    finally:
        load.stop()


def test_a_worker_that_stands_still_is_seen():
    with Stage(limits=FOR_LOAD["limits"], timeouts={"stall": 60.0, "drain": 1.0}) as stage, hurried(stage) as load:
        worker, = stage.postern.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_until(lambda: len(load.lost) >= 5, what="the silence")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert {one.kind for one in load.lost} == {"silent"}


def test_a_load_that_stands_still_blames_nobody():
    with Stage(**FOR_LOAD) as stage, hurried(stage) as load:
        load.loop.call_soon_threadsafe(time.sleep, 6.0)
        wait_until(lambda: load.stall > 3.0, what="the load to go on")
        load.more(100)
        assert not load.lost
