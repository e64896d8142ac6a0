# SPDX-License-Identifier: ISC
"""The command: options, rounds over workloads, variants and peers, and what comes out. See ../run."""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time

from . import machine, plots
from .catalogue import WORKLOADS
from .columns import COLUMNS
from .keeper import Keeper, slug
from .material import Material
from .programs import ROOT, Missing, build, describe
from .roster import all_peers
from .running import Bench, Failed
from .tables import render

DEFAULT_PEERS = ("direct,relay-rw,relay-splice,relay-ws,haproxy,haproxy-tcp,haproxy-splice-1m,nginx,nginx-64k,nginx-stream-128k,trafficserver,hitch,"
                 "squid,tinyproxy,postern,postern-shared,postern-forward,postern-contract,postern-pattern")
EPILOG = """The proxies are measured side by side on loopback, in a network namespace of their own: the proxy alone on one CPU, with one worker or thread;
origin, load and harness on another. They take turns, each run with a proxy that was just started. What compares is the CPU time that the proxy itself spent on
a unit of work; throughput and latency stand beside it. docs/performance.md says more."""


def above_zero(kind):
    def read(text):
        if kind(text) <= 0:
            raise ValueError
        return kind(text)
    read.__name__ = "number above 0"        # in what argparse says of a wrong one
    return read


def parser():
    made = argparse.ArgumentParser(prog="bench/run", description="Postern beside its peers, and beside the least that a proxy can do.", epilog=EPILOG)
    made.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="; ".join(WORKLOADS) + "; or all")
    made.add_argument("--peers", default=DEFAULT_PEERS, help="names with commas (default: %(default)s)")
    made.add_argument("--runs", type=above_zero(int), default=5, help="rounds over all peers (default: %(default)s)")
    made.add_argument("--seconds", type=above_zero(float), help="measured in each run")
    made.add_argument("--variants", help="only these, or those that contain one of these texts (commas without a space)")
    made.add_argument("--json", metavar="FILE", help="writes every single run")
    made.add_argument("--plots", metavar="FOLDER", help="writes an SVG for each workload that has a curve")
    made.add_argument("--keep", metavar="FOLDER", help="where configurations are kept (default: bench/kept in the build's folder)")
    made.add_argument("--configurations", action="store_true", help="prints them, too")
    made.add_argument("--pin", metavar="PROXY,LOAD", default="0,1", help="the two CPUs (default: %(default)s)")
    made.add_argument("--posternd", metavar="[LABEL=]PATH", action="append", default=[],
                      help="instead of the release build's (or POSTERND); several with labels take turns as postern@LABEL")
    made.add_argument("--build", metavar="FOLDER", help="of both ends, and of posternd (default: build/release)")
    made.add_argument("--idle", type=above_zero(int), default=8500, help="connections of ws-idle (default: %(default)s)")
    made.add_argument("--idle-tls", type=above_zero(int), default=1000, help="connections of wss-idle (default: %(default)s)")
    made.add_argument("--scale-max", type=above_zero(int), default=9500, help="last point of scale (default: %(default)s)")
    made.add_argument("--names", type=above_zero(int), default=1000000, help="the longest list of policy and reload (default: %(default)s)")
    made.add_argument("--list", action="store_true", help="says what workloads and peers there are")
    made.add_argument("--quiet", action="store_true", help="says nothing of single runs")
    return made


def list_all(peers):
    print("workloads:")
    for name, workload in WORKLOADS.items():
        print(f"  {name:20} {' '.join((workload.__doc__ or '').split())}")
    print("peers:")
    for name, peer in peers.items():
        print(f"  {name:20} {', '.join(sorted(peer.ways))}")


def chosen(names, known, what):
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Missing(f"no such {what}: {', '.join(unknown)}; bench/run --list says which there are")
    return names


def wanted_variants(options, variants):
    """Whole names, or parts of them."""
    if not options.variants or variants == [""]:
        return variants
    texts = re.split(",(?! )", options.variants)
    return [one for one in variants if any(text == one or (text in one and text not in variants) for text in texts)]


def check_variants(options, names):
    there = [variant for name in names for variant in WORKLOADS[name](options, None).variants()]
    if not wanted_variants(options, there):
        raise Missing(f"--variants {options.variants}: there is none like it, but: {'; '.join(there)}")


class Session:
    """One call of the command: what was asked for, and the results as they come."""

    def __init__(self, options, bench, material, peers):
        self.options, self.bench, self.material, self.peers = options, bench, material, peers
        self.workloads = {}

    def rounds(self, workload):
        """variant -> name -> results. In each round another peer is the first."""
        data, peers = {}, workload.peers_for(self.peers)
        variants = wanted_variants(self.options, workload.variants())
        for number in range(self.options.runs):
            for variant in variants:
                able = [peer for peer in peers if workload.can(peer, variant)]
                first = number % len(able) if able else 0
                for peer in able[first:] + able[:first]:
                    self.bench.keeper.enter(workload.name, variant)
                    result = self._run(workload, peer, variant)
                    data.setdefault(variant, {}).setdefault(peer.name, []).append(result)
                    self._say(workload, variant, number, peer, result)
        return data, {peer.name: peer for peer in peers}

    def _run(self, workload, peer, variant):
        try:
            result = workload.run(peer, variant, self.bench)
        except (Failed, OSError) as error:      # a run that failed is a result
            result = {"failed": str(error) or type(error).__name__}
        result["load_average"] = os.getloadavg()[0]
        return result

    def _say(self, workload, variant, number, peer, result):
        if self.options.quiet:
            return
        figures = [f"{key} {COLUMNS[key][1].format(result[key])}" for key in workload.columns_for(variant)[:4] if result.get(key) is not None]
        said = result.get("failed") or ", ".join(figures + ([f"{result['errors']} errors"] if result.get("errors") else []))
        print(f"  {workload.name} [{variant}] run {number + 1} {peer.name}: {said}", file=sys.stderr, flush=True)

    def measure(self, name):
        workload = WORKLOADS[name](self.options, self.material)
        data, peers = self.rounds(workload)
        if not data:
            print(f"{name}: none of these peers can do that", file=sys.stderr)
            return
        self.workloads[name] = data
        print(render(workload, data, peers), flush=True)
        if self.options.plots and workload.curve:
            self._plot(workload, data)

    def _plot(self, workload, data):
        picture = plots.plot(workload.name, data, *workload.curve)
        if picture:
            os.makedirs(self.options.plots, exist_ok=True)
            path = os.path.join(self.options.plots, slug(workload.name) + ".svg")
            machine.put(path, picture)
            print(f"plot: {path}")

    def write_json(self, described):
        if self.options.json:
            machine.put(self.options.json, json.dumps({**described, "configurations": self.bench.keeper.kept, "workloads": self.workloads}, indent=1))


def cpus_of(options):
    try:
        proxy, load = map(int, options.pin.split(","))
        if proxy == load or not {proxy, load} <= os.sched_getaffinity(0):
            raise ValueError
        return proxy, load
    except ValueError:
        raise Missing(f"--pin {options.pin}: two CPUs are needed, of {sorted(os.sched_getaffinity(0))}") from None


def prepare_process(load_cpu):
    """Ends cleanly however it is told to; before the rest of the machine, and out of the proxy's way."""
    def stop(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.sched_setaffinity(0, {load_cpu})
    with contextlib.suppress(OSError):
        os.nice(-5)


def run(options):
    paths = options.posternd or ([os.environ["POSTERND"]] if os.environ.get("POSTERND") else [])
    labels = [text.rpartition("=")[0] for text in paths] or [""]
    known = all_peers(labels)
    if options.list:
        list_all(known)
        return 0
    names = chosen(list(WORKLOADS) if options.workloads == ["all"] else options.workloads, WORKLOADS, "workload")
    if not names:
        raise Missing(f"which workload? {', '.join(WORKLOADS)}")
    check_variants(options, names)
    wanted = options.peers.split(",")
    peers = [known[name]() for name in chosen(with_labels(wanted, labels), known, "peer")]
    for peer in peers:
        peer.check()
    proxy_cpu, load_cpu = cpus_of(options)
    programs = build(options.build, paths)
    keeper = Keeper(options.keep or os.path.join(programs.folder, "bench", "kept"))
    if not options.keep:
        shutil.rmtree(keeper.folder, ignore_errors=True)
    described = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "runs": options.runs, "programs": describe(programs),
                 "own_namespace": machine.enter_namespace()}
    prepare_process(load_cpu)
    with Material() as material, Bench(programs, proxy_cpu, load_cpu, keeper) as bench:
        session = Session(options, bench, material, peers)
        try:
            for name in names:
                session.measure(name)
        finally:
            session.write_json(described)
    if options.configurations:
        print(keeper.text())
    print(f"configurations: {os.path.relpath(keeper.folder, ROOT) if keeper.folder.startswith(ROOT) else keeper.folder}")
    return 0


def with_labels(names, labels):
    """"postern" is all of them where they have labels."""
    if labels == [""]:
        return names
    ours = [name for name in all_peers([""]) if name.startswith("postern")]
    return [full for name in names for full in ([f"{name}@{label}".removesuffix("@") for label in labels] if name in ours else [name])]


def main():
    if os.getuid() != 0:
        print("bench/run: not root: no network namespace and no cgroups; CPU time comes from /proc, and ports may be taken", file=sys.stderr)
    try:
        return run(parser().parse_args())
    except Missing as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
