# SPDX-License-Identifier: ISC
"""The load itself: it loses nothing where nothing happens, and sees what it is there to see."""
import contextlib

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
