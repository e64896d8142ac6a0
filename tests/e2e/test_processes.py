# SPDX-License-Identifier: ISC
"""Processes that die, configurations that change, logs that are rotated, all under load."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lib import ws
from lib.http1 import Client
from lib.lease import Lease
from lib.postern import PROMPT, children_of, proc_status, wait_until
from lib.stage import Stage

from load import Load



def replaced(postern, before):
    return wait_until(lambda: (now := postern.workers()) and len(now) == len(before) and set(now) != set(before) and now,
                      what="a new worker")


def test_a_killed_worker_is_replaced_and_nobody_is_refused():
    with Stage() as stage:
        before = stage.postern.workers()
        load = Load(stage, threads=4)
        wait_until(lambda: load.answered > 50, what="load")
        began = time.monotonic()
        os.kill(before[0], signal.SIGKILL)
        replaced(stage.postern, before)
        assert time.monotonic() - began < PROMPT
        answered = load.answered
        wait_until(lambda: load.answered > answered + 50, what="load after the kill")
        load.stop()
        assert not load.refused and not load.wrong
        lost = wait_until(lambda: [line for line in stage.postern.access() if line.get("reason") == "lost"], what="the lost sessions")
        assert lost


def test_a_killed_worker_takes_only_its_own_connections():
    with Stage(workers=2) as stage:
        before = stage.postern.workers()
        load = Load(stage, threads=8, total=20000, per_connection=100)
        wait_until(lambda: load.answered > 10000, seconds=120, what="half of the load")
        victim = next(pid for pid in before if open(f"/proc/{pid}/comm").read().strip() == "postern-w1")
        os.kill(victim, signal.SIGKILL)
        replaced(stage.postern, before)
        load.join()
        assert load.answered + len(load.cut) >= 20000
        assert not load.refused and not load.wrong

        def owners():
            found = {}
            for line in stage.postern.access():
                found.setdefault(int(line["client"].rpartition(":")[2]), set()).add(line["session"].split("-")[0])
            return found
        ports = [port for port, done, _ in load.cut if done > 0]
        known = wait_until(lambda: (found := owners()).keys() >= set(ports) and found, what="lines of what was cut")
        assert all("1" in known[port] for port in ports), "a connection of another worker was cut"
        assert len(load.cut) <= 8


def test_reload_under_load_loses_nothing():
    with Stage() as stage:
        load = Load(stage, threads=4)
        for number in range(10):
            wait_until(lambda: load.answered > 20 * number, what="load")
            done = stage.postern.reload(stage.postern.settings)
            assert done.returncode == 0, done.stderr
        stage.postern.write("this is not a configuration")
        assert stage.postern.reload().returncode != 0
        answered = load.answered
        wait_until(lambda: load.answered > answered + 50, what="load after the broken reload")
        load.stop()
        assert not load.refused and not load.wrong and not load.cut


def test_reload_by_signal_and_a_broken_one_keeps_the_old():
    with Stage() as stage, Client(stage.proxy) as client:
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        stage.postern.write({**stage.settings, "policies": [{"name": "none", "action": "deny"}]})
        stage.postern.signal(signal.SIGHUP)

        def denied():
            with Client(stage.proxy) as fresh:
                return fresh.request("GET", f"{stage.url}/", stage.origin_authority).status == 403
        wait_until(denied, what="the new policy")
        stage.postern.write({**stage.settings, "polices": []})
        before = len(stage.postern.stderr())
        stage.postern.signal(signal.SIGHUP)
        said = wait_until(lambda: re.search(r"polices.*", stage.postern.stderr()[before:]), what="the complaint")[0]
        assert "policies" in said
        assert denied()


def test_reload_judges_open_websockets_again():
    """A stream that the new policy does not allow ends with 1008; one that it allows lives on."""
    with Stage() as stage, Client(stage.proxy) as kept, Client(stage.proxy) as revoked:
        for client, path in ((kept, "/kept"), (revoked, "/revoked")):
            client.send(ws.handshake(f"{stage.url}{path}", stage.origin_authority))
            assert client.response().status == 101
        allowed = {**stage.settings["policies"][0], "paths": ["/kept"]}
        assert stage.postern.reload({**stage.settings, "policies": [allowed]}).returncode == 0
        revoked.wait_close()
        frames = ws.frames_in(bytes(revoked.received[revoked.offset:]))
        assert [frame.close_code for frame in frames if frame.op == ws.CLOSE] == [1008]
        stage.postern.wait_access(lambda line: line.get("reason") == "revoked" and line.get("path") == "/revoked")
        kept.send(ws.frame(ws.TEXT, b"still here", mask=True))
        kept.read_until(lambda data: (ws.TEXT, b"still here") in ws.messages_in(ws.frames_in(data)))


def test_changed_port_under_load():
    """CF-16: the old port serves until nothing is queued, the new one from the answer to reload on; no request is lost."""
    with Stage() as stage:
        load = Load(stage, threads=4, proxies=[stage.site], per_connection=5)
        load.stage = ReverseView(stage)
        wait_until(lambda: load.answered > 50, what="load")
        moved = f"{stage.prefix}.2:3129"
        listeners = [{**stage.settings["listeners"][0], "address": moved}, stage.settings["listeners"][1]]
        assert stage.postern.reload({**stage.settings, "listeners": listeners}).returncode == 0
        with Client(moved) as client:
            assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200

        def closed():
            try:
                Client(stage.proxy).close()
            except ConnectionRefusedError:
                return True
        wait_until(closed, what="the old port to be closed")
        load.stop()
        assert not load.refused and not load.wrong and not load.cut


class ReverseView:
    """A stage as the clients of its reverse listener see it."""

    def __init__(self, stage):
        self.url, self.origin_authority = "", stage.site


def test_log_rotation():
    with Stage() as stage, Client(stage.proxy) as client:
        client.request("GET", f"{stage.url}/before", stage.origin_authority)
        stage.postern.wait_access(lambda line: line.get("path") == "/before")
        os.rename(stage.postern.access_log, stage.postern.access_log + ".1")
        stage.postern.signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(stage.postern.access_log), what="a new log")
        client.request("GET", f"{stage.url}/after", stage.origin_authority)
        stage.postern.wait_access(lambda line: line.get("path") == "/after")
        with open(stage.postern.access_log + ".1") as file:
            assert "/after" not in file.read()


def test_term_drains():
    """Listeners stop, an idle keep-alive connection closes at once, a request in flight gets its answer."""
    go = threading.Event()

    def slow(connection, request):
        go.wait(15)
        connection.answer(b"late")
    with Stage(routes={"/slow": slow}, timeouts={"drain": 10.0}) as stage, Client(stage.proxy) as busy, Client(stage.proxy) as idle:
        idle.request("GET", f"{stage.url}/", stage.origin_authority)
        busy.send(f"GET {stage.url}/slow HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
        wait_until(lambda: "/slow" in stage.origin.paths(), what="the slow request at the origin")
        stage.postern.signal(signal.SIGTERM)
        idle.wait_close(5)

        def refused():
            try:
                Client(stage.proxy).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
        wait_until(refused, what="listeners to be closed")
        go.set()
        assert busy.response().body == b"late"
        assert stage.postern.process.wait(10) == 0


def test_second_term_stops_now():
    with Stage(timeouts={"drain": 60.0}) as stage, Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        stage.postern.signal(signal.SIGTERM)
        wait_until(lambda: "drain" in stage.postern.stderr(), what="draining")
        stage.postern.signal(signal.SIGTERM)
        assert stage.postern.process.wait(10) == 0
        client.wait_close(5)


def test_monitor_killed_and_the_others_end():
    with Stage() as stage:
        others = children_of(stage.postern.process.pid)
        assert len(others) >= 3
        stage.postern.process.kill()
        stage.postern.process.wait()
        wait_until(lambda: not any(proc_status(pid).get("State", "Z").startswith(("R", "S", "D")) for pid in others),
                   what="the others to end")


def test_other_processes_are_replaced():
    """A logger or control that dies comes back; traffic does not notice."""
    with Stage() as stage, Client(stage.proxy) as client:
        for role in ("logger", "control"):
            before = stage.postern.pids(role)
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: (now := stage.postern.pids(role)) and now != before, what=f"a new {role}")
            assert client.request("GET", f"{stage.url}/{role}", stage.origin_authority).status == 200
            stage.postern.wait_access(lambda line: line.get("path") == f"/{role}")
        assert wait_until(lambda: stage.postern.ctl_run("status").returncode == 0, what="control to answer")


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace here")
def test_worker_opens_no_file(needs_root, tmp_path):
    """From its start on, over traffic of every kind and a reload."""
    with Stage() as stage:
        worker, = stage.postern.workers()
        out = tmp_path / "strace"
        tracer = subprocess.Popen(["strace", "-f", "-q", "-e", "trace=open,openat,openat2,creat,execve,fork,vfork", "-o", str(out),
                                   "-p", str(worker)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: proc_status(worker).get("TracerPid", "0") != "0", what="strace")
            traffic(stage)
            assert stage.postern.reload(stage.postern.settings).returncode == 0
            traffic(stage)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(15)
        calls = [line for line in out.read_text().splitlines() if re.search(r"\b(open\w*|creat|exec\w*|v?fork)\(", line)]
        assert not calls, calls[:10]


def traffic(stage):
    with Client(stage.proxy) as client:
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        assert client.request("GET", "http://nowhere.invalid/", "nowhere.invalid").status in (403, 502, 504)
    with Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        client.send(ws.close_frame(1000, mask=True))
        client.wait_close()


def test_second_instance_in_one_runtime_dir_is_refused():
    with Stage() as stage:
        lease = Lease()
        text = open(stage.postern.config).read().replace(stage.prefix, lease.prefix)
        other = os.path.join(stage.postern.folder, "other.conf")
        with open(other, "w") as file:
            file.write(text)
        os.chmod(other, 0o644)
        done = subprocess.run([stage.postern.binary, "-c", other], capture_output=True, text=True, timeout=15)
        assert done.returncode != 0 and stage.postern.runtime_dir in done.stderr
        assert stage.postern.ctl_run("status").returncode == 0
        lease.release()


def test_reload_of_an_empty_file_keeps_the_old():
    """An editor that truncates before it writes must not close the listeners."""
    with Stage() as stage, Client(stage.proxy) as client:
        with open(stage.postern.config, "w"):
            pass
        result = stage.postern.ctl_run("reload")
        assert result.returncode == 1 and "is empty" in result.stdout + result.stderr
        client.send(f"GET {stage.url}/ HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
        assert client.response().status == 200
