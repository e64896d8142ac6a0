# SPDX-License-Identifier: ISC
"""The sandbox of the real processes: what the kernel says of each, what becomes of one that breaks out, and what is had where a part is missing."""
import contextlib
import os
import re
import subprocess

import pytest

from lib import held, inject
from lib.http1 import Client
from lib.lease import Lease
from lib.origin import Origin
from lib.postern import POSTERND, Postern, descriptors_of, proc_status, wait_until
from lib.stage import ORIGIN_PORT, settings
from lib.tls_stage import TlsStage

ROLES = ("worker", "logger", "control", "minter")
SYS_CONNECT, SYS_EXECVE, SYS_BPF, SYS_SETUID = 42, 59, 321, 105
KILLED = "was killed: it made a system call that its sandbox does not allow"


@contextlib.contextmanager
def running(binary=POSTERND, **overrides):
    """A posternd in front of an origin, and a function that asks it for something."""
    lease = Lease()
    with contextlib.ExitStack() as stack:
        stack.callback(lease.release)
        stack.callback(Origin(f"{lease.prefix}.1", ORIGIN_PORT).close)
        postern = stack.enter_context(Postern(settings(lease.prefix, **overrides), binary=binary))

        def ask():
            with Client(f"{lease.prefix}.2:3128") as client:
                return client.request("GET", f"http://{lease.prefix}.1:{ORIGIN_PORT}/", f"{lease.prefix}.1:{ORIGIN_PORT}").status
        yield postern, ask


def refused(tmp_path, binary, **overrides):
    """What a posternd says that does not start."""
    postern = Postern(settings("127.77.7", **overrides), binary=binary, start=False)
    try:
        done = subprocess.run([binary, "-c", postern.config], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stderr
        return done.stderr
    finally:
        postern.remove()


def is_sanitized():
    with open(POSTERND, "rb") as file:
        return b"__asan_init" in file.read()


def limits_of(pid):
    with open(f"/proc/{pid}/limits") as file:
        return {line[:26].strip(): line[26:].split()[:2] for line in file.read().splitlines()[1:]}


def level(postern):
    return postern.ctl("status")["sandbox"]


def test_every_process_is_held():
    """OP-01. What the kernel says of each process, while it serves."""
    with TlsStage() as stage:
        found = stage.postern.processes()
        assert set(found.values()) == set(ROLES)
        assert level(stage.postern)["system_calls"]
        for pid, role in found.items():
            status, limits = proc_status(pid), limits_of(pid)
            assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1"), role
            assert limits["Max core file size"] == ["0", "0"], role
            assert is_sanitized() or limits["Max processes"] == ["0", "0"], role
            assert (limits["Max file size"] == ["0", "0"]) == (role in ("control", "minter")), role
            if os.getuid() == 0:
                assert {status[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}, role
                assert "0" not in status["Uid"].split() + status["Gid"].split(), role
            files = [link for fd, link in descriptors_of(pid).items() if fd > 2 and link.startswith("/") and not link.startswith("/memfd:")]
            assert files == ([stage.postern.access_log] if role == "logger" else []), role


def test_one_user_for_each_role(needs_root, tmp_path):
    """Everything that can be had is had, so it may be required; and everybody still serves."""
    with running(held.with_users(tmp_path), user="pt", sandbox="required") as (postern, ask):
        assert ask() == 200
        for pid, role in postern.processes().items():
            assert set(proc_status(pid)["Uid"].split()) == {str(held.USERS[role])}, role
        assert level(postern)["users"] == "own"
        assert "warn monitor: sandbox" not in postern.stderr()
        assert postern.reload(postern.settings).returncode == 0 and ask() == 200


def test_one_user_is_enough_and_is_said(needs_root, tmp_path):
    binary = held.with_users(tmp_path, roles=["worker", "minter"])
    with running(binary, user="pt") as (postern, ask):
        assert ask() == 200 and level(postern)["users"] == "shared"
        for pid, role in postern.processes().items():
            assert set(proc_status(pid)["Uid"].split()) == {str(held.USERS[role] if role == "worker" else 64800)}, role
        said = re.findall(r"warn monitor: sandbox: (.*)", postern.stderr())
        assert len(said) == 1 and "pt-logger, pt-control, pt-filter" in said[0], said
    said = refused(tmp_path, binary, user="pt", sandbox="required")
    assert re.search(r"sandbox: \"required\", but processes share a user \(there is no pt-logger,", said), said


def test_where_a_part_is_missing(tmp_path):
    """In a container that forbids it: the rest is had, it is said once, and who requires it is refused. The unit test has the other parts."""
    binary, what = held.without(tmp_path, "landlock_restrict_self"), "no Landlock"
    with running(binary) as (postern, ask):
        assert ask() == 200
        assert not level(postern)["landlock"] and level(postern)["system_calls"]
        assert len(re.findall(what, postern.stderr())) == 2     # the warning, and the line about what holds
    assert re.search(rf"sandbox: \"required\", but .*{what}", refused(tmp_path, binary, sandbox="required"))


def test_off():
    with running(sandbox="off") as (postern, ask):
        assert ask() == 200
        assert (level(postern)["wanted"], level(postern)["landlock"], level(postern)["system_calls"]) == ("off", 0, False)
        assert {proc_status(pid)["Seccomp"] for pid in postern.processes()} == {"0"}
        postern.wait_said("sandbox is off")


@pytest.mark.skipif(not inject.POSSIBLE, reason="needs root, and the registers of x86-64")
def test_who_breaks_out_is_killed_and_replaced():
    """The call is made by the process itself, from where it waits. The monitor says what happened, and the replacement serves."""
    with TlsStage() as stage:
        before = {role: stage.postern.pids(role) for role in ROLES}
        for role, call in (("worker", SYS_EXECVE), ("logger", SYS_CONNECT), ("control", SYS_BPF), ("minter", SYS_SETUID)):
            inject.make_call(before[role][0], call, 0, 0, 0)
            wait_until(lambda: re.search(rf"error monitor: {role}[ \d]* {KILLED}", stage.postern.stderr()), what=f"the monitor's word about {role}")
            wait_until(lambda: (now := stage.postern.pids(role)) and now != before[role], what=f"another {role}")
        wait_until(lambda: (done := stage.postern.ctl_run("status")).returncode == 0 and "serving" in done.stdout, what="all of them")
        with stage.inspected() as client:
            assert client.request("GET", "/", "origin.test:8443").status == 200
        assert {proc_status(pid)["Seccomp"] for pid in stage.postern.processes()} == {"2"}
        stage.postern.forget_stderr()
