# SPDX-License-Identifier: ISC
"""A process that hangs is found, said and replaced; one that sleeps because there is nothing to do is not."""
import contextlib
import os
import signal
import subprocess

import pytest

from lib.http1 import Client
from lib.postern import proc_status, wait_until
from lib.stage import Stage
from steady import is_alive

STALL = {"timeouts": {"drain": 1.0, "stall": 1.0}}


def ask(stage, path="/"):
    with Client(stage.proxy) as client:
        return client.request("GET", f"{stage.url}{path}", stage.origin_authority).status


def is_asleep(pid):
    """Waits until it sleeps: what it was at is over."""
    return wait_until(lambda: proc_status(pid).get("State", "").startswith("S"), what="a worker that sleeps")


def replaced(stage, role, before):
    """Waits until another process has its place, and is ready; its pid."""
    wait_until(lambda: stage.postern.pids(role) not in ([], before), what=f"another {role}")
    wait_until(lambda: all(worker["ready"] for worker in stage.postern.ctl("status")["workers"]), what="a worker that serves")
    return stage.postern.pids(role)


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_is_stopped_between_sessions():
    with Stage(**STALL) as stage:
        before = stage.postern.pids("worker")
        assert ask(stage) == 200
        wait_until(lambda: stage.postern.ctl("status")["sessions"]["open"] == 0, what="the end of its session")
        assert is_asleep(before[0])
        with stopped(before[0]):
            replaced(stage, "worker", before)
        assert not is_alive(before[0])
        stage.postern.wait_said("worker 0 hangs in no session: it has not answered for 1.0 s, and is killed")
        assert ask(stage) == 200


@pytest.mark.usefixtures("needs_root")
def test_a_worker_that_hangs_in_a_session(strace):
    """Its read of a request takes twenty seconds; the log says where, the row is reported as lost, the next connection is served."""
    with Stage(**STALL) as stage, contextlib.ExitStack() as stack:
        before = stage.postern.pids("worker")
        client = stack.enter_context(Client(stage.site))
        assert client.request("GET", "/", stage.site).status == 200
        tracer = subprocess.Popen([strace, "-o", "/dev/null", "-e", "trace=recvfrom", "-e", "inject=recvfrom:delay_enter=20s", "-p", str(before[0])],
                                  stderr=subprocess.PIPE)
        stack.callback(tracer.wait)
        assert b"attached" in tracer.stderr.readline()
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: "hangs" in stage.postern.stderr(), what="a word of the watchdog")
        tracer.kill()           # which holds it, dead or not
        replaced(stage, "worker", before)
        said = [line for line in stage.postern.stderr().splitlines() if "hangs" in line][0]
        session, phase = said.partition(" in session ")[2].split(":")[0].split(", phase ")
        assert phase == "http"
        stage.postern.wait_access(lambda line: line["session"] == session and line.get("reason") == "lost")
        assert ask(stage) == 200


def test_a_control_process_that_is_stopped():
    """Over as many looks as that takes, workers that have nothing to do are left alone."""
    with Stage(workers=2, **STALL) as stage:
        before, workers = stage.postern.pids("control"), stage.postern.pids("worker")
        with stopped(before[0]):
            wait_until(lambda: stage.postern.pids("control") not in ([], before), what="another control")
        stage.postern.wait_said("control hangs: it has not answered for 1.0 s")
        assert ask(stage) == 200 and stage.postern.ctl("status")["state"] == "serving"
        assert stage.postern.pids("worker") == workers and "worker" not in "".join(line for line in stage.postern.stderr().splitlines() if "hangs" in line)


def test_a_logger_that_is_stopped():
    """It has four times as long. Meanwhile nobody waits for it, and what it did not write its replacement does, once."""
    with Stage(**STALL) as stage:
        before, paths = stage.postern.pids("logger"), [f"/meanwhile-{number}" for number in range(50)]
        assert ask(stage, "/before") == 200
        stage.postern.wait_access(lambda line: line.get("path") == "/before")
        assert is_asleep(before[0])
        with stopped(before[0]):
            assert [ask(stage, path) for path in paths] == [200] * len(paths)
            wait_until(lambda: stage.postern.pids("logger") not in ([], before), what="another logger")
        stage.postern.wait_said("logger hangs in state T: it has not answered for 4.0 s, and is killed")
        stage.postern.wait_access(lambda line: line.get("path") == paths[-1])
        written = [line["path"] for line in stage.postern.access() if line.get("path")]
        assert written == ["/before", *paths]
        assert stage.postern.pids("worker") != [] and "worker" not in "".join(line for line in stage.postern.stderr().splitlines() if "hangs" in line)
