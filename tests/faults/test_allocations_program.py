# SPDX-License-Identifier: ISC
"""R-14 on the program: allocations of one of its processes fail, under load, in reloads, in commands and at its start. Nothing dies, nothing that is
denied gets through, and what had no memory has had no effect."""
import contextlib
import os
import random
import subprocess

import pytest

from lib.http1 import Client
from lib.postern import PATIENCE, Postern, wait_until
from lib.stage import Stage
from shim import Shim
from steady import LONG, SOCKETS, canary, steady

# Of those that fail, in the short form; the order is another one each time.
EVERY = [1, 2, 3, 5, 11, 41, 173, 701, 2903, 20000]
SAMPLE, ALL = 25, 1 << 30
LIMITS = {"sessions_per_client": 4096}


@contextlib.contextmanager
def world(**settings):
    with Shim() as shim, Stage(environment=shim.environment, limits=LIMITS, **settings) as stage:
        try:
            yield stage, shim
        finally:
            shim.fail_alloc()


def numbers(dense, part=2):
    """1, 2, 3, ... for each allocation there is; behind the first `dense` steps by chance, up to a `part`-th of the number."""
    number = 1
    while True:
        yield number
        number += 1 if number < dense else random.randint(1, max(1, number // part))


def denied(stage):
    """What is not allowed is not answered by anybody but Postern."""
    try:
        with Client(stage.proxy) as client:
            answer = client.request("GET", "http://127.0.0.1:1/denied", "127.0.0.1:1")
    except OSError:
        return
    assert answer.status in (403, 500, 502, 503), answer


def test_under_load():
    """What fails is refused or cut, visibly; contents are never wrong."""
    with world() as (stage, shim):
        before = stage.postern.processes()
        worker, = stage.postern.workers()
        failed = 0
        with steady(stage, allow=("status", "cut", "closed", "refused")) as load:
            for every in EVERY:
                shim.fail_alloc(every=every, pid=worker)
                answered = load.answered + len(load.lost)
                wait_until(lambda: load.answered + len(load.lost) > answered + 30, what=f"anything with every {every}th allocation failing")
                denied(stage)
                failed += shim.allocs_failed
                shim.fail_alloc()
                load.more(10)
            load.more(50, SOCKETS)
        assert failed > 10
        assert stage.postern.processes() == before


def judged(stage):
    """Whether /new is served; both paths are what one of the two configurations says."""
    answers = []
    for path in ("/old", "/new"):
        with Client(stage.proxy) as client:
            answers.append(client.request("GET", f"{stage.url}{path}", stage.origin_authority).status)
    assert answers in ([200, 403], [403, 200]), answers
    return answers[1] == 200


def ask_for_reload(stage, role):
    """What posternctl did; None if it was not answered, as by a control process that has no memory to wait for it."""
    try:
        return stage.postern.ctl_run("reload", timeout=2 if role == "control" else PATIENCE)
    except subprocess.TimeoutExpired:
        return None


@pytest.mark.parametrize("role", ["worker", "monitor", "control"])
def test_in_a_reload(role):
    """A reload without memory says so and changes nothing, or it takes effect everywhere."""
    with world() as (stage, shim):
        policy = stage.settings["policies"][0]
        both = [{**stage.settings, "policies": [{**policy, "paths": [path]}]} for path in ("/old", "/new")]
        assert stage.postern.reload(both[0]).returncode == 0
        before, new = stage.postern.processes(), False
        pid = stage.postern.process.pid if role == "monitor" else stage.postern.pids(role)[0]
        for number in numbers(ALL if LONG else SAMPLE):
            stage.postern.write(both[not new])
            shim.fail_alloc(first=number, pid=pid)
            done = ask_for_reload(stage, role)
            failed = shim.allocs_failed
            shim.fail_alloc()
            wait_until(lambda: stage.postern.ctl("status")["state"] == "serving", what="the reload to be over")
            now = judged(stage)
            if role != "control":
                assert done.returncode in (0, 1), done
                assert (done.returncode == 0) == (now != new), f"allocation {number}: {done.stdout}{done.stderr}"
            new = now
            assert stage.postern.processes() == before, f"allocation {number}"
            if not failed:
                break
        assert number > 10


COMMANDS = [["status"], ["sessions"], ["explain", "--from", "127.0.0.1", "GET", "http://127.0.0.1:1/x"], ["kill", "0-999"]]


def test_in_commands():
    """Control answers, or says that it cannot, or closes; it goes on."""
    with world() as (stage, shim):
        canary(stage)
        denied(stage)
        before, (control,) = stage.postern.processes(), stage.postern.pids("control")
        for command in COMMANDS:
            for number in numbers(ALL if LONG else 4):
                shim.fail_alloc(first=number, pid=control)
                with contextlib.suppress(subprocess.TimeoutExpired):      # libevent may fail to wait for the socket, and does not say so
                    stage.postern.ctl_run(*command, timeout=1)
                failed = shim.allocs_failed
                shim.fail_alloc()
                if not failed:
                    break
            assert stage.postern.processes() == before, (command, number)
            assert stage.postern.ctl_run("status").returncode == 0


def check_end(postern, number):
    """It said why, or a library ended it: without memory glibc aborts for thread-local data, and reads through NULL in its name service; libcrypto
    takes a lock that it could not make; libseccomp leaves a call out of a list without a word."""
    said = postern.stderr()
    if not any(sign in said for sign in ("nss_database.c", "thread-local data: ABORT", "in CRYPTO_THREAD_read_lock", "its sandbox does not allow")):
        assert postern.process.returncode > 0 and "error" in said, (number, postern.process.returncode, said)
        assert not postern.sanitizer_output(), said


def test_at_the_start():
    """It starts, or it ends and says why. What OpenSSL then leaks is its own. A start makes 16,000 allocations; to try each takes hours."""
    with world(origin=True) as (stage, shim):
        text = open(stage.postern.config).read()
        stage.postern.stop()
        started = 0
        for number in numbers(*((400, 50) if LONG else (5, 2))):
            shim.fail_alloc(first=number)
            other = Postern("", start=False, environment={**shim.environment, "ASAN_OPTIONS": shim.environment["ASAN_OPTIONS"] + ":detect_leaks=0"})
            other.write(text.replace(stage.postern.folder, other.folder))
            try:
                other.start()
            except AssertionError:
                check_end(other, number)
                other.remove()
                continue
            failed = shim.allocs_failed
            shim.fail_alloc()
            other.close()
            started += 1
            if not failed:
                break
        assert started
