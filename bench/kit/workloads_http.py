# SPDX-License-Identifier: ISC
"""HTTP: kept connections, new ones, large bodies, tunnels, many open connections, system calls."""
import re
import signal
import subprocess
import time

from .machine import read
from .programs import must_have
from .running import Failed, Place, Running
from .columns import STREAM_COLUMNS
from .workload import Workload, stream_figures

REVERSE, EXPLICIT = "reverse proxy", "explicit proxy"


class ReverseOrExplicit(Workload):
    """Each variant twice: beside reverse proxies, and beside explicit ones. Floors take part in both."""

    def plain_variants(self):
        return []

    def variants(self):
        plain = self.plain_variants()
        return plain + [f"{variant}, {EXPLICIT}" for variant in plain] if plain else [REVERSE, EXPLICIT]

    def can(self, peer, variant):
        if self.kind not in peer.ways:
            return False
        return peer.is_floor or (peer.ways[self.kind] == "reverse") != variant.endswith(EXPLICIT)


class Kept(ReverseOrExplicit):
    """64 kept connections, closed loop, small answers."""
    name = "h1-keepalive-small"

    def plain_variants(self):
        return ["100 B", "10 KB"]

    def load_arguments(self, running, variant):
        path = "/r/100" if variant.startswith("100 B") else "/r/10240"
        return ["-m", "http", "-c", 64, "-p", path, *running.target("http")]


class New(ReverseOrExplicit):
    """64 at once, one request a connection; the request says Connection: close."""
    name = "h1-new-connection"

    def load_arguments(self, running, variant):
        return ["-m", "new", "-c", 64, "-S", 16, "-p", "/r/100", *running.target("http")]


class Bulk(Workload):
    """One connection, bytes without end from the origin, through CONNECT or a relay of the port."""
    name, kind, unit = "tunnel-bulk", "bulk", "GB"
    columns = STREAM_COLUMNS
    floor = "relay-splice"

    def load_arguments(self, running, variant):
        return ["-m", "bulk", "-c", 1, "-p", "", *running.target("bulk")]

    def figures(self, running, variant, found):
        return stream_figures(found)


class LargeBody(ReverseOrExplicit):
    """One connection, one answer without end with a length in its head."""
    name, unit = "h1-large-body", "GB"
    columns = STREAM_COLUMNS

    def load_arguments(self, running, variant):
        return ["-m", "bulk", "-c", 1, "-p", "/stream/1000000000000", *running.target("http")]

    def figures(self, running, variant, found):
        return stream_figures(found)


class Scale(Workload):
    """At most 64 requests in flight, in turn over more and more open connections."""
    name, kind = "scale", "scale"
    curve = ("us_op", "open connections", "CPU us per request")

    def variants(self):
        return [f"{count} connections" for count in (1, 10, 100, 1000, self.options.scale_max)]

    def load_arguments(self, running, variant):
        return ["-m", "http", "-c", variant.split()[0], "-A", 64, "-S", 4, "-p", "/r/100", *running.target("scale")]


class SystemCalls(Workload):
    """System calls of all of the proxy's processes, counted by strace; opening and closing the connections is in it, a small share."""
    name = "syscalls"
    columns = ("calls_op",)
    seconds = 1.5
    arguments = {"kept, 1 connection": ["-m", "http", "-c", 1], "kept, 64 connections": ["-m", "http", "-c", 64],
                 "new connections": ["-m", "new", "-c", 16, "-S", 16],
                 "WebSocket echo, 1 connection": ["-m", "echo", "-c", 1, "-p", "/ws/echo"],
                 "WebSocket echo, 100 connections": ["-m", "echo", "-c", 100, "-p", "/ws/echo"]}

    def variants(self):
        return list(self.arguments)

    def _kind(self, variant):
        return "ws" if variant.startswith("WebSocket") else "http"

    def can(self, peer, variant):
        return self._kind(variant) in peer.ways and not peer.is_direct

    def load_arguments(self, running, variant):
        return self.arguments[variant] + running.target(self._kind(variant))

    def run(self, peer, variant, bench):
        with Running(peer, Place(self._kind(variant)), bench) as running:
            arguments = self.load_arguments(running, variant)
            bench.load(running, [*arguments, "-w", 0.2, "-d", 0.1])
            report = running.place.path("strace")
            tracer = trace(running.group.pids(), report)
            try:
                found = bench.load(running, [*arguments, "-w", 0, "-d", self.seconds])
            finally:
                tracer.send_signal(signal.SIGTERM)
                tracer.wait(20)
            return self._count(found, read(report))

    @staticmethod
    def _count(found, report):
        operations = max(1, found["ops"] + found["warm_ops"])
        calls = {name: int(count) for name, count in re.findall(r"^\s*(\w+)\s+(\d+)\s*$", report, re.M) if name != "total"}
        if not calls:
            raise Failed("strace counted nothing")
        found["calls_op"] = sum(calls.values()) / operations
        often = sorted(calls.items(), key=lambda call: -call[1])
        found["remark"] = ", ".join(f"{name} {count / operations:.2f}" for name, count in often if count / operations >= 0.01)
        return found


def trace(pids, report):
    """Starts strace; returns when it has attached to all of them."""
    command = [must_have("strace"), "-f", "-c", "-U", "name,calls", "-o", report]
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 5
    while time.monotonic() < limit and not all("TracerPid:\t0" not in read(f"/proc/{pid}/status") for pid in pids):
        time.sleep(0.02)
    return tracer
