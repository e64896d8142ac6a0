# SPDX-License-Identifier: ISC
"""R-13: 256 descriptors and 1,000 connections. The worker never runs out of them, does not spin, and serves again when the crowd has gone."""
import contextlib
import functools
import os
import socket
import time

from lib.http1 import Client
from lib.postern import POSTERND, Postern, wait_until
from lib.stage import Stage
from steady import LONG, busy_seconds
from timing import in_time

DESCRIPTORS, CONNECTIONS, CLIENTS = 256, 1000, 100
WINDOW = 10.0 if LONG else 2.0
RECOVERY = 2.0


def ask(stage, source):
    with contextlib.suppress(OSError), Client(stage.proxy, source=source) as client:
        return client.request("GET", f"{stage.url}/", stage.origin_authority).status


def crowd(stage, stack):
    """Silent connections of many clients; who of them was closed is not closed here."""
    host, port = stage.proxy.split(":")
    for number in range(CONNECTIONS):
        one = stack.enter_context(socket.socket())
        one.bind((f"127.0.0.{number % CLIENTS + 2}", 0))
        one.setblocking(False)
        one.connect_ex((host, int(port)))


def is_full(stage):
    sessions = stage.postern.ctl("status")["sessions"]
    return sessions["open"] >= sessions["limit"]


def answers(stage):
    """Whether each of some who were in the crowd is served."""
    return all(ask(stage, f"127.0.0.{number + 2}") == 200 for number in range(10))


def recovery(stage):
    """Over how many seconds everybody is served again, from when the crowd begins to go."""
    with contextlib.ExitStack() as stack:
        crowd(stage, stack)
        wait_until(lambda: is_full(stage), what="no place is left")
        began = time.monotonic()
    wait_until(lambda: answers(stage), 60, "answers, when the crowd has gone")
    return time.monotonic() - began


def test_more_connections_than_descriptors(tmp_path):
    program = tmp_path / "posternd"
    program.write_text(f'#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec {POSTERND} "$@"\n')
    program.chmod(0o755)
    with Stage(clients="127.0.0.0/24", timeouts={"drain": 1.0, "handshake": 600.0}, program=functools.partial(Postern, binary=str(program))) as stage:
        (worker,) = stage.postern.workers()
        with contextlib.ExitStack() as stack:
            crowd(stage, stack)
            wait_until(lambda: is_full(stage), what="no place is left")
            before = busy_seconds(worker)
            time.sleep(WINDOW)       # not for an effect: over which it is measured
            assert busy_seconds(worker) - before <= 0.2 * WINDOW
            assert len(os.listdir(f"/proc/{worker}/fd")) < DESCRIPTORS
        wait_until(lambda: answers(stage), 60, "answers, when the crowd has gone")
        in_time(RECOVERY, lambda: recovery(stage))
        assert stage.postern.workers() == [worker]
