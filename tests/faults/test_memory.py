# SPDX-License-Identifier: ISC
"""limits.memory, and the limit of a control group: new work is refused before the kernel kills anything, what runs goes on, and it ends by itself.

What takes the memory are WebSocket messages that are held for a rule and whose end does not come.
"""
import contextlib
import functools
import os
import tempfile

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import POSTERND, Postern, SMALL_QUARANTINE, wait_until
from lib.stage import Stage
from lib.ws_pair import End

MIB = 1 << 20
# Freed memory goes back to the kernel, as that of the plain allocator does.
ENVIRONMENT = {"ASAN_OPTIONS": SMALL_QUARANTINE["ASAN_OPTIONS"].replace("quarantine_size_mb=1", "quarantine_size_mb=0")
               .replace("local_quarantine_size_kb=64", "local_quarantine_size_kb=0") + ":allocator_release_to_os_interval_ms=100"}
HELD = {"name": "held", "from": "client", "paths": ["/held"], "protocols": ["websocket"], "action": "allow",
        "websocket": {"message_bytes": 64 * MIB, "match": [{"name": "none", "pattern": "never"}]}}
REST = {"name": "rest", "from": "client", "to": "origin", "protocols": ["http", "websocket", "tls"], "action": "allow"}
KEPT, FLOODERS = "127.0.0.2", [f"127.0.0.{last}" for last in range(3, 60)]     # each has but its share
SETTINGS = {"clients": "127.0.0.0/26", "policies": [HELD, REST], "limits": {"held_bytes": 1 << 40}, "environment": ENVIRONMENT}


def memory(stage):
    return stage.postern.ctl("status")["memory"]


def socket_to(stage, path, source=None):
    client = Client(stage.proxy, source=source)
    client.send(ws.handshake(f"{stage.url}{path}", stage.origin_authority))
    assert client.response().status == 101
    return End(client.socket, True)


def get(client, stage):
    return client.request("GET", f"{stage.url}/", stage.origin_authority)


def refused(answer):
    return answer.status == 503 and b"overload" in answer.body and answer.value("retry-after")


class Begun:
    """A message whose first part is held; the rest may come."""
    SIZE, FIRST = 4 * MIB, 3 * MIB

    def __init__(self, stage, source=None):
        self.end = socket_to(stage, "/held", source)
        self.end.socket.sendall(ws.frame(ws.BINARY, b"", mask=True, length=self.SIZE, length_size="64") + bytes(self.FIRST))

    def finish(self):
        self.end.socket.sendall(bytes(self.SIZE - self.FIRST))
        assert self.end.message() == (ws.BINARY, ws.masked(bytes(self.SIZE), ws.MASK))

    def drop(self):
        self.end.drop()


class Flood:
    """Messages that have begun, as many as it takes."""

    def __init__(self, stage):
        self.begun = []
        wait_until(lambda: memory(stage)["state"] == "full" or self._more(stage), seconds=60, what="memory to be full")

    def _more(self, stage):
        assert len(self.begun) < 100, "all was taken, and memory is not full"
        with contextlib.suppress(AssertionError, ConnectionError):       # it may just have become full
            self.begun.append(Begun(stage, FLOODERS[len(self.begun) % len(FLOODERS)]))

    def drop(self):
        for one in self.begun:
            one.drop()


def check_refusals(stage, kept, running):
    workers = stage.postern.workers()
    assert refused(get(kept, stage)), "a request on a kept connection"
    with Client(stage.proxy) as fresh:
        assert refused(get(fresh, stage))
    with Client(stage.proxy) as fresh:
        assert refused(fresh.tunnel(stage.origin_authority))
    with Client(stage.proxy) as fresh:
        fresh.send(ws.handshake(f"{stage.url}/", stage.origin_authority))
        assert refused(fresh.response())
    with Client(stage.proxy) as fresh:
        fresh.send(b"\x05\x01\x00")
        fresh.exactly(2)
        fresh.send(b"\x05\x01\x00\x01" + bytes(int(part) for part in f"{stage.prefix}.1".split(".")) + (8000).to_bytes(2, "big"))
        assert fresh.exactly(2)[1] != 0
    running.say(ws.TEXT, b"still here")
    assert running.message() == (ws.TEXT, b"still here")
    assert stage.postern.workers() == workers


def check_whole_course(stage):
    """From good to full and back."""
    with Client(stage.proxy, source=KEPT) as kept:
        running, begun = socket_to(stage, "/"), Begun(stage)
        assert get(kept, stage).status == 200
        flood = Flood(stage)
        check_refusals(stage, kept, running)
        begun.finish()
        assert memory(stage)["state"] == "full"
        begun.drop()
        flood.drop()
        wait_until(lambda: memory(stage)["state"] == "good", seconds=30, what="memory to be good")
        with Client(stage.proxy) as fresh:
            assert get(fresh, stage).status == 200
        running.say(ws.TEXT, b"and still")
        assert running.message() == (ws.TEXT, b"and still")
        running.drop()
    said = stage.postern.stderr()
    assert said.index("memory is full") < said.rindex("memory is good")


def test_budget():
    with Stage(**SETTINGS) as stage:
        limit = 2 * wait_until(lambda: memory(stage)["used"], what="a first look")
        assert stage.postern.reload({**stage.settings, "limits": {**SETTINGS["limits"], "memory": limit}}).returncode == 0
        wait_until(lambda: memory(stage)["limit"] == limit, what="the new limit")
        check_whole_course(stage)


class Group:
    """A control group with a limit of memory."""

    def __init__(self, limit):
        for base, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            try:
                self.folder = tempfile.mkdtemp(prefix="postern-test-", dir=base)
            except OSError:
                continue
            try:
                with open(os.path.join(self.folder, name), "w") as file:
                    file.write(str(limit))
                return
            except OSError:
                os.rmdir(self.folder)
        pytest.skip("no control group can be made here")

    def program(self, folder):
        """Starts posternd in it."""
        path = os.path.join(folder, "posternd")
        with open(path, "w") as file:
            file.write(f'#!/bin/sh\necho $$ > {self.folder}/cgroup.procs\nexec {POSTERND} "$@"\n')
        os.chmod(path, 0o755)
        return path

    def killed(self):
        """How many the kernel killed in it."""
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(os.path.join(self.folder, name)) as file:
                    return int(dict(line.split() for line in file)["oom_kill"])
            except (OSError, KeyError):
                pass
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        wait_until(self._remove, what="the group to be empty")

    def _remove(self):
        try:
            os.rmdir(self.folder)
            return True
        except OSError:
            return False


def test_control_group(tmp_path):
    """The whole course again, with no limit but that of the group, and the kernel kills nobody."""
    limit = 512 * MIB
    with Group(limit) as group:
        with Stage(**SETTINGS, program=functools.partial(Postern, binary=group.program(str(tmp_path)))) as stage:
            wait_until(lambda: memory(stage)["limit"] == limit, what="the group's limit")
            check_whole_course(stage)
            assert group.killed() == 0
