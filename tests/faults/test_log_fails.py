# SPDX-License-Identifier: ISC
"""R-07: nobody takes the log any more, its disk, its folder or its reader. Traffic goes on as if nothing had happened, what is lost is counted, and when
there is room again lines are written again. No worker waits meanwhile but for events."""
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from blocked import EVENTS, never_blocked, watched
from lib.http1 import Client
from lib.origin import Gone
from lib.postern import Postern, wait_until
from lib.stage import Stage
from steady import FOR_LOAD, LONG, canary, steady

DISK = 1 << 20
ANSWERS = 3000 if LONG else 150


@pytest.fixture
def disk(needs_root, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", str(folder)]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def dropped(stage):
    return stage.postern.ctl("status")["log_dropped"]


def wait_line(stage, path, log):
    """A request of this path is asked, again and again, until the log has it."""
    def written():
        with Client(stage.proxy) as client:
            client.request("GET", f"{stage.url}{path}", stage.origin_authority)
        return os.path.exists(log) and f'"path":"{path}"' in open(log).read()
    wait_until(written, what=f"{path} in the log")


def test_the_disk_is_full(disk):
    log = disk / "access.jsonl"
    with Stage(log={"access": str(log)}, **FOR_LOAD) as stage, steady(stage) as load, never_blocked(stage.postern.workers()):
        filler = disk / "filler"
        with open(filler, "wb") as file:
            free = os.statvfs(disk)
            file.write(b"x" * (free.f_bavail * free.f_bsize - 8192))
        load.more(ANSWERS)
        wait_until(lambda: dropped(stage) > 0, what="the loss to be counted")
        filler.unlink()
        wait_line(stage, "/again", log)
        load.more(20)


def test_the_folder_is_removed(tmp_path):
    """Lines go to a file that nobody sees; a reload that cannot open it says so and changes nothing; once there is a folder, it can."""
    folder = tmp_path / "log"
    folder.mkdir()
    log = folder / "access.jsonl"
    with Stage(log={"access": str(log)}, **FOR_LOAD) as stage, steady(stage) as load, never_blocked(stage.postern.workers()):
        shutil.rmtree(folder)
        load.more(ANSWERS // 2)
        done = stage.postern.reload()
        assert done.returncode == 1 and str(log) in done.stdout + done.stderr
        load.more(ANSWERS // 2)
        folder.mkdir()
        assert stage.postern.reload().returncode == 0
        wait_line(stage, "/again", log)


def test_the_logger_stands_still():
    """The workers' rings of records fill, and are emptied again. The watchdog has patience here."""
    with Stage(**FOR_LOAD, timeouts={"stall": 600.0}) as stage, steady(stage) as load, never_blocked(stage.postern.workers()):
        (logger,) = stage.postern.pids("logger")

        def is_full():
            for _ in range(200):
                assert client.request("GET", "http://127.0.0.1:1/", "127.0.0.1:1").status == 403
            return dropped(stage) > 0
        os.kill(logger, signal.SIGSTOP)
        try:
            with Client(stage.proxy) as client:
                wait_until(is_full, 120, "the loss to be counted")
            load.more(ANSWERS)
        finally:
            os.kill(logger, signal.SIGCONT)
        wait_line(stage, "/again", stage.postern.access_log)
        assert stage.postern.pids("logger") == [logger]


def answer_wrongly(connection, _):
    connection.send(b"HTTP/1.1 two hundred\r\n\r\n")
    raise Gone


def test_nobody_reads_standard_error(monkeypatch):
    """A service manager that hangs. Its pipe is full after a few lines; the worker has something to say, too."""
    reading = threading.Event()
    reading.set()

    def listen_at_times(self, stream):
        while data := os.read(stream.fileno(), 4096):
            self._said += data
            reading.wait()
        self._heard_all.set()
    monkeypatch.setattr(Postern, "_listen", listen_at_times)
    with Stage({"/wrong": answer_wrongly}, **FOR_LOAD) as stage, steady(stage) as load, never_blocked(stage.postern.workers()):
        try:
            reading.clear()
            fcntl.fcntl(stage.postern.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
            for _ in range(12):               # what is said would fill the pipe twice
                assert stage.postern.reload().returncode == 0
                with Client(stage.proxy) as client:
                    assert [client.request("GET", f"{stage.url}/wrong", stage.origin_authority).status for _ in range(3)] == [502] * 3
            load.more(ANSWERS // 2)
            canary(stage)
        finally:
            fcntl.fcntl(stage.postern.process.stderr, fcntl.F_SETPIPE_SZ, 65536)       # room for two lines: the count follows one that found room
            reading.set()
        wait_until(lambda: stage.postern.reload().returncode == 0 and "found no room" in stage.postern.stderr(), what="the count of lost lines")


@pytest.mark.parametrize("wait", ["os.write(os.pipe()[1], bytes(1 << 20))", "select.epoll().poll()"], ids=["writes", "waits"])
def test_the_measure(wait):
    """Who writes to a pipe that nobody reads is seen; who waits for events is not."""
    def longest():
        with watched([child.pid]) as found:
            time.sleep(0.1)       # not for an effect: over which it is measured
        return max(found["longest"].values(), default=0)

    def waits():
        with open(f"/proc/{child.pid}/syscall") as file:
            return file.read().split()[0] in EVENTS
    child = subprocess.Popen(["/usr/bin/python3", "-c", f"import os, select; {wait}"])
    try:
        if "epoll" in wait:
            wait_until(waits)
            assert longest() == 0
        else:
            wait_until(lambda: longest() > 0.01)
    finally:
        child.kill()
        child.wait()
