# SPDX-License-Identifier: ISC
"""WebSockets: echo, push, rules about content, idle ones in clear and over TLS."""
import time

from .running import Place, Running
from .columns import STREAM_COLUMNS
from .workload import Workload, stream_figures
from .workloads_http import ReverseOrExplicit


class Echo(ReverseOrExplicit):
    """100 connections, masked texts of 64 bytes, one in flight on each."""
    name, kind, unit = "ws-echo", "ws", "round trip"

    def load_arguments(self, running, variant):
        return ["-m", "echo", "-c", 100, "-p", "/ws/echo", "-s", 64, *running.target("ws")]


class Push(Workload):
    """The server floods 10 connections with binary frames."""
    name, kind, unit = "ws-push", "ws", "frame"
    columns = ("us_op", "user_us_op", "system_us_op", "ops_s", "s_gb", "gbit", "proxy_cpu_use")
    floor = "relay-ws"
    sizes = {"64 B": 64, "16 KB": 16384}

    def variants(self):
        return list(self.sizes)

    def load_arguments(self, running, variant):
        size = self.sizes[variant]
        return ["-m", "push", "-c", 10, "-p", f"/ws/push/{size}/binary", "-s", size, "-k", "binary", *running.target("ws")]

    def figures(self, running, variant, found):
        return stream_figures(super().figures(running, variant, found))


class Rules(Workload):
    """What enforcement costs by what the policy says: RFC 6455 alone, limits for everything (contract), a pattern in each message (pattern).
    Messages of 16 KiB on 10 connections; in utf8 every other character has three bytes."""
    name, kind, unit = "ws-rules", "ws", "round trip"
    floor = "relay-rw"
    echo = "64 B ascii, echo"

    def variants(self):
        return [self.echo] + [f"16 KB {kind}, {sender} sends" for sender in ("client", "server") for kind in ("binary", "ascii", "utf8")]

    def can(self, peer, variant):
        return "ws-rules" in peer.ways or peer.name in ("relay-rw", "relay-ws") or peer.name.partition("@")[0] == "postern"

    def columns_for(self, variant):
        return self.columns if variant == self.echo else STREAM_COLUMNS

    def load_arguments(self, running, variant):
        target = running.target("ws-rules" if "ws-rules" in running.peer.ways else "ws")
        if variant == self.echo:
            return ["-m", "echo", "-c", 50, "-p", "/ws/echo", "-s", 64, *target]
        kind = variant.split()[2].rstrip(",")
        mode, path = ("send", "take") if "client" in variant else ("push", "push")
        return ["-m", mode, "-c", 10, "-p", f"/ws/{path}/16384/{kind}", "-s", 16384, "-k", kind, *target]

    def figures(self, running, variant, found):
        if variant == self.echo:
            return super().figures(running, variant, found)
        if "client" in variant:      # the origin says what it took
            found["bytes"] = found["ops"] * 16384
        return stream_figures(found)


class Idle(Workload):
    """Many idle WebSockets: memory each, time and CPU to open one, CPU while nothing happens; at the end each must still echo."""
    name, kind, unit = "ws-idle", "ws", "conn"
    columns = ("pss_kb_conn", "kernel_kb_conn", "open_us_conn", "open_cpu_us_conn", "idle_cpu_ms_s", "alive")
    curve = ("pss_kb_conn", "idle connections", "PSS KiB per connection")
    settle, hold = 0.3, 1.5

    def variants(self):
        most = self.options.idle
        return [f"{count} connections" for count in sorted({count for count in (100, 1000) if count < most} | {most})]

    def can(self, peer, variant):
        return self.kind in peer.ways and not peer.is_direct

    def load_arguments(self, running, variant):
        return [*running.target(self.kind), "-p", "/ws/echo", "-s", 64]

    def run(self, peer, variant, bench):
        count = int(variant.split()[0])
        with Running(peer, self.place(variant), bench) as running:
            arguments = self.load_arguments(running, variant)
            # What is allocated once is in the base.
            bench.load(running, ["-m", "echo", "-c", 16, "-w", 0.1, "-d", 0.2, *arguments])
            time.sleep(self.settle)
            base, cpu = running.group.memory(), running.group.seconds()[0]
            seen = {}

            def look():
                seen["opening"] = running.group.seconds()[0] - cpu
                time.sleep(self.settle)
                before, began = running.group.seconds()[0], time.monotonic()
                time.sleep(self.hold)
                seen["idle"] = (running.group.seconds()[0] - before) / (time.monotonic() - began)
                seen["memory"] = running.group.memory()
            found = bench.load(running, ["-m", "idle", "-c", count, "-o", 64, "-S", 8, *arguments], during=look)
            return self._figures(found, seen, base, count)

    @staticmethod
    def _figures(found, seen, base, count):
        for key in ("pss", "kernel"):
            found[f"{key}_kb_conn"] = (seen["memory"][key] - base[key]) / count / 1024
        found["open_us_conn"] = found["open_ms"] * 1000 / count
        found["open_cpu_us_conn"] = seen["opening"] / count * 1e6
        found["idle_cpu_ms_s"] = seen["idle"] * 1000
        found["alive"] = found["ops"]
        if found["ops"] != count:
            found["errors"] += count - found["ops"]
        return found


class IdleTls(Idle):
    """1000 idle WebSockets over TLS."""
    name, kind = "wss-idle", "wss"
    floor = None
    curve = None

    def variants(self):
        return [f"{self.options.idle_tls} connections"]

    def place(self, variant):
        return Place("wss", pair=self.material.pair("ecdsa"))

    def load_arguments(self, running, variant):
        return ["-T", *super().load_arguments(running, variant)]
