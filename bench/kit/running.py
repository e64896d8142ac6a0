# SPDX-License-Identifier: ISC
"""A proxy that runs, the origin behind it, and one run of the load against it."""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import machine
from .machine import Group, put, read

ORIGIN_PORT, SOURCE_PORT, PROXY_PORT = 62000, 62001, 61000
LOAD_SECONDS = 150


class Failed(Exception):
    """This run has no figures; the text says why."""


class Place:
    """What a peer needs to write its configuration: ports, files, and a folder of its own. What it writes is what the user can look at
    afterwards, unless it is a list of names."""

    def __init__(self, kind, pair=None, names_file=None, hosts_file=None):
        self.folder = tempfile.mkdtemp(prefix="postern-bench-")
        os.chmod(self.folder, 0o1777)
        self.kind = kind
        self.pair = pair                  # material.Pair: TLS is wanted
        self.names_file = names_file      # hosts to deny, one a line
        self.hosts_file = hosts_file      # hosts(5)
        self.port = PROXY_PORT
        self.target_port = SOURCE_PORT if kind == "bulk" else ORIGIN_PORT
        self.origin = f"127.0.0.1:{ORIGIN_PORT}"
        self.written = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def make_folders(self, *names):
        for name in names:
            os.makedirs(self.path(name), exist_ok=True)
            os.chmod(self.path(name), 0o777)

    def write(self, name, text, shown=True):
        """Returns the path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        put(path, text)
        os.chmod(path, 0o644)
        if shown:
            self.written[name] = text
        return path

    def names(self):
        """Of the hosts to deny."""
        return read(self.names_file).split()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for_port(port, seconds, process):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.005)
    return False


class Running:
    """A peer from its start to its end; a context manager. `direct` has no process: its `group` is None."""

    def __init__(self, peer, place, bench):
        self.peer, self.place, self.bench = peer, place, bench
        self.group, self.start_seconds, self.base = None, None, None

    def __enter__(self):
        try:
            if not self.peer.is_direct:
                self._start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.group:
            self.group.end()
        self.place.remove()

    def _start(self):
        command = self.peer.set_up(self.place, self.bench.programs)
        self.bench.keep(self.peer, command, self.place.written)
        log = self.place.path("said.log")
        self.group = Group(re.sub(r"[^a-z0-9]+", "-", self.peer.name), self.bench.proxy_cpu)
        began = time.monotonic()
        process = self.group.start(command, log=log, environment={**os.environ, **self.peer.environment(self.place)})
        if not wait_for_port(self.place.port, self.peer.start_limit, process):
            raise Failed(f"{self.peer.name} does not listen: {read(log)[-1500:]}")
        self.start_seconds = time.monotonic() - began
        self.start_cpu = self.group.seconds()[0]
        self.group.pin()
        self.base = self.group.memory()

    def target(self, kind):
        """The load's options that lead through this peer to the origin."""
        way = self.peer.ways[kind]
        port = self.place.target_port if self.peer.is_direct else self.place.port
        options = ["-a", str(port), "-H", f"127.0.0.1:{self.place.target_port}"]
        return options + {"forward": ["-F"], "connect": ["-C"]}.get(way, [])


class Bench:
    """What all runs share: programs, CPUs, the origin, and where configurations are kept."""

    def __init__(self, programs, proxy_cpu, load_cpu, keeper):
        self.programs, self.proxy_cpu, self.load_cpu = programs, proxy_cpu, load_cpu
        self.keeper = keeper
        self.soft_interrupts = machine.soft_interrupts_of(proxy_cpu)
        self.origin = None

    def keep(self, peer, command, files):
        self.keeper.keep(peer, command, files)

    def __enter__(self):
        self.origin = Group("origin", self.load_cpu)
        process = self.origin.start([self.programs.path("origin"), str(ORIGIN_PORT), str(SOURCE_PORT)])
        if not wait_for_port(ORIGIN_PORT, 5, process):
            self.origin.end()
            raise Failed("the origin does not start: is another bench running? (without a network namespace there is only one)")
        return self

    def __exit__(self, *_):
        self.origin.end()

    def snapshot(self, group):
        total, user, system = group.seconds() if group else (0.0, 0.0, 0.0)
        soft = sum(machine.cpu_of(self.soft_interrupts)) if self.soft_interrupts else 0.0
        return {"at": time.monotonic(), "cpu": total, "user": user, "system": system, "soft": soft}

    def load(self, running, arguments, during=None):
        """One run of the load. `during`, called when the interval begins, may take its time; after it the load of mode "idle" goes on.
        Returns what the load counted, and the proxy's CPU time and memory in just that interval."""
        command = ["taskset", "-c", str(self.load_cpu), self.programs.path("load"), *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=lambda: machine.LIBC.prctl(machine.PR_SET_PDEATHSIG, signal.SIGKILL))
        try:
            return self._follow(process, running, during)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _follow(self, process, running, during):
        found = self._line(process, "READY")
        before = self.snapshot(running.group)
        if during:
            during()
            process.stdin.write(b"go on\n")
            process.stdin.flush()
        found.update(self._line(process, "END"))
        after = self.snapshot(running.group)
        if running.group:
            found.update(spent(before, after))
            found["memory"] = running.group.memory()
        return found

    @staticmethod
    def _line(process, word):
        readable, _, _ = select.select([process.stdout], [], [], LOAD_SECONDS)
        line = process.stdout.readline().decode() if readable else ""
        if line.startswith(word + " "):
            return json.loads(line[len(word):])
        process.kill()
        said = process.stderr.read().decode().strip()
        raise Failed(f"load: {said[-300:] or 'it says nothing'}")


def spent(before, after):
    """CPU seconds between two snapshots. The ticks of /proc say how they divide into user and system."""
    user, system = after["user"] - before["user"], after["system"] - before["system"]
    seconds = after["cpu"] - before["cpu"]
    share = user / (user + system) if user + system > 0 else None
    return {"cpu_s": seconds, "user_share": share, "soft_interrupts_s": after["soft"] - before["soft"],
            "proxy_cpu_use": seconds / max(1e-9, after["at"] - before["at"])}
