# SPDX-License-Identifier: ISC
"""R-08, R-09, R-20, R-27 and R-28: configurations, binaries, name servers that come late, and signals, under load."""
import collections
import contextlib
import errno
import os
import signal
import threading
import time

import pytest

from lib.dns import NameServer
from lib.http1 import Client
from lib.postern import ROOT, wait_until
from lib.stage import Stage
from lib.upgrade import Replaceable, has_ended
from shim import Shim
from steady import FOR_LOAD, LONG, footprint, steady
from timing import in_time

RELOADS = 60 if LONG else 5
UPGRADES = 10 if LONG else 2
DRAIN_S = 20.0       # a WebSocket stays for as long
READY_S = 120.0      # a machine that is busy with the load starts nothing at once
SIGNALS = 1000 if LONG else 200
RELOAD_S = 2.0
GROWTH = 1.25        # each exchange is one of the 4,096 ended streams that are remembered, in memory that was not touched before
BROKEN = ["zones = (", "polices = ();", 'listeners = ( { name = "x"; mode = "explicit"; address = "nowhere"; } );', "policies = 7;"]

Seen = collections.namedtuple("Seen", "path status")


class Witness:
    """Asks for two places all the time, each time by another path."""

    def __init__(self, stage):
        self.stage, self.seen, self._stop = stage, [], threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._stop.is_set():
            with Client(self.stage.proxy) as client:
                for place in ("one", "two"):
                    path = f"/{place}/{number}"
                    answer = client.request("GET", f"{self.stage.url}{path}", self.stage.origin_authority)
                    self.seen.append(Seen(path, answer.status))
                    if answer.value("connection") == "close":
                        break
            number += 1

    def stop(self):
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()


def side(settings, name):
    """Side a lets everybody to one and nobody to two; side b the other way round. Each policy has its side in its name."""
    base = settings["policies"][0]
    verdicts = {"one": "allow" if name == "a" else "deny", "two": "deny" if name == "a" else "allow"}
    return {**settings, "policies": [*({**base, "name": f"{place}-{name}", "paths": [f"/{place}/*"], "action": verdict}
                                       for place, verdict in verdicts.items()), {**base, "name": f"rest-{name}"}]}


def verdict_of(policy):
    place, _, name = policy.partition("-")
    return 200 if (place == "one") == (name == "a") else 403


def test_r08_reloads_good_and_broken():
    with Stage(**FOR_LOAD) as stage, steady(stage, growth=GROWTH) as load:
        postern, witness = stage.postern, Witness(stage)
        counts = {role: numbers[:2] for role, numbers in footprint(postern).items() if role in ("monitor", "control", "logger")}
        for turn in range(RELOADS):
            began = time.monotonic()
            assert postern.reload(side(stage.settings, "ab"[turn % 2])).returncode == 0
            generation = postern.ctl("status")["generation"]
            postern.write(BROKEN[turn % len(BROKEN)])
            if turn % 2:
                before = postern.stderr().count("reload failed")
                postern.signal(signal.SIGHUP)
                wait_until(lambda: postern.stderr().count("reload failed") > before, what="the complaint")
            else:
                assert postern.reload().returncode == 1
            assert postern.ctl("status")["generation"] == generation
            load.more(load.clients)
            time.sleep(max(0, began + 1 - time.monotonic()) if LONG else 0)
        witness.stop()
        wait_until(lambda: {role: numbers[:2] for role, numbers in footprint(postern).items() if role in counts} == counts, what="flat descriptors")
        assert postern.reload(stage.settings).returncode == 0
        expected = dict(witness.seen)
        wait_until(lambda: len([line for line in postern.access() if line.get("path") in expected]) >= len(expected), what="the log")
        lines = [line for line in postern.access() if line.get("path") in expected and line["policy"] != "all"]
        assert {line["policy"] for line in lines} == {"one-a", "one-b", "two-a", "two-b"}
        for line in lines:
            assert line["policy"].startswith(line["path"][1:4])
            assert verdict_of(line["policy"]) == expected[line["path"]] == line["status"], line


def test_r09_upgrades_under_load():
    """No kept connection ends but behind an answer that says so. WebSockets make each upgrade as long as its drain: in the long form alone."""
    settings = {**FOR_LOAD, "timeouts": {"drain": DRAIN_S, "upgrade": READY_S}}
    sizes = {} if LONG else {"sockets": 0}
    with Stage(program=Replaceable, workers=2, **settings) as stage, steady(stage, allow=("closed",), back=False, **sizes) as load:
        for turn in range(UPGRADES):
            stage.postern.write({**stage.settings, "workers": 1 + turn % 3})
            stage.postern.replace()
            assert has_ended(stage.postern.upgrade(READY_S), DRAIN_S) == 0
            load.more(load.clients)
        assert load.retried == 0
        assert set(load.close_codes) == ({1012} if LONG else set())


def test_r20_before_its_name_server():
    """Started first, it denies what it cannot resolve, and serves when the names can be."""
    with Stage() as stage, Client(stage.proxy) as client:
        assert stage.postern.reload({**stage.settings, "resolver": {**stage.settings["resolver"], "timeout": 0.2, "negative_ttl": 0.1}}).returncode == 0
        url = "http://late.test:8000/"
        assert client.request("GET", url, "late.test:8000").status in (502, 504)
        with contextlib.closing(NameServer(f"{stage.prefix}.3", {"late.test": [f"{stage.prefix}.1"]}, port=5353)):
            def served():
                with Client(stage.proxy) as fresh:
                    return fresh.request("GET", url, "late.test:8000").status == 200
            wait_until(served, what="the name")


def test_r20_before_its_address():
    """The start ends, and says why: the service's unit tries again until the address is there."""
    with Stage() as stage:
        listener = {**stage.settings["listeners"][0], "address": "192.0.2.7:3128"}
        stage.postern.stop()
        stage.postern.write({**stage.settings, "listeners": [listener]})
        with pytest.raises(AssertionError, match="ended with 1(?s:.*)192.0.2.7:3128"):
            stage.postern.start()
        stage.postern.write(stage.settings)
        stage.postern.start()
        with Client(stage.proxy) as client:
            assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
    unit = open(os.path.join(ROOT, "packaging", "postern.service")).read()
    assert "\nRestart=always\n" in unit and "\nStartLimitIntervalSec=0\n" in unit


def fifo(path):
    os.mkfifo(path, 0o600)


UNREADABLE = {"fifo": fifo, "folder": os.mkdir, "nothing": lambda path: None, "loop": lambda path: os.symlink(path, path),
              "device": lambda path: os.symlink("/dev/zero", path), "error": lambda path: os.symlink("/proc/self/mem", path)}


def refuses(postern, text):
    """A reload cannot be, and says why."""
    def take():
        began = time.monotonic()
        done = postern.ctl_run("reload")
        assert done.returncode == 1 and text in done.stderr, done.stderr
        return time.monotonic() - began
    in_time(RELOAD_S, take)


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)


@pytest.mark.parametrize("place", ["configuration", "hosts_file"])
def test_r27_what_cannot_be_read(place):
    """The error comes in time and names the file; what was in force stays, and a good file is taken as ever."""
    with Stage() as stage, Client(stage.proxy) as client:
        postern, hosts = stage.postern, os.path.join(stage.postern.folder, "hosts.list")
        path = postern.config if place == "configuration" else hosts
        good = {**stage.settings, "policies": [{**stage.settings["policies"][0], "hosts_file": hosts}]} if place == "hosts_file" else stage.settings
        for make in UNREADABLE.values():
            postern.write(good)
            remove(path)
            make(path)
            refuses(postern, path)
            assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
            remove(path)
        assert postern.reload(stage.settings).returncode == 0


@pytest.mark.parametrize("place", ["configuration", "hosts_file"])
def test_r27_a_disk_that_fails_in_the_middle_of_a_file(place):
    """The first half can be read. It is not taken for the whole."""
    with Shim() as shim, Stage(environment=shim.environment) as stage, Client(stage.proxy) as client:
        postern, hosts = stage.postern, os.path.join(stage.postern.folder, "hosts.list")
        with open(hosts, "w") as file:
            file.writelines(f"{number}.example\n" for number in range(10000))
        os.chmod(hosts, 0o644)
        policy = {**stage.settings["policies"][0], "name": "listed", "hosts_file": hosts}
        postern.write({**stage.settings, "policies": [policy]})         # which would deny what is allowed
        path = postern.config if place == "configuration" else hosts
        shim.fail_read(path, os.path.getsize(path) // 2, postern.process.pid)
        refuses(postern, f"{path}: {os.strerror(errno.EIO)}")
        assert shim.reads_failed > 0
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200
        shim.file_to = 0
        assert postern.reload().returncode == 0
        assert client.request("GET", f"{stage.url}/", stage.origin_authority).status == 403


def test_r28_signals():
    """Hundreds of each that may come, to the monitor and to all the others; nobody dies, and the log goes on behind its last rotation."""
    with Stage(**FOR_LOAD) as stage, steady(stage) as load:
        postern = stage.postern
        everybody = [postern.process.pid, *postern.processes()]
        for turn in range(SIGNALS):
            postern.signal(signal.SIGUSR1)
            for pid in everybody:
                os.kill(pid, (signal.SIGPIPE, signal.SIGCHLD)[turn % 2])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            for pid in everybody[1:]:
                os.kill(pid, number)
        load.more(load.clients)
        os.rename(postern.access_log, postern.access_log + ".1")
        postern.signal(signal.SIGUSR1)
        with Client(stage.proxy) as client:
            wait_until(lambda: os.path.exists(postern.access_log), what="a new log")
            client.request("GET", f"{stage.url}/behind", stage.origin_authority)
        postern.wait_access(lambda line: line.get("path") == "/behind")
        assert [postern.process.pid, *postern.processes()] == everybody
        assert not any(worker["restarts"] for worker in postern.ctl("status")["workers"])
