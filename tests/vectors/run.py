#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Runs the vectors of tests/vectors.jsonl and prints what failed, and how many ran, passed, failed, and are not here.

  run.py [--family F] [--id ID] [--mode M] [--wire HOST_PROGRAM] [--jobs N] [--verbose] [--list]
  run.py --peer forward=HOST:PORT --peer reverse=HOST:PORT --origin HOST:PORT      another proxy, judged by the same vectors
"""
import argparse
import concurrent.futures
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from vectors import judge, secure, selection   # noqa: E402
from vectors.sockets import Instance, Target   # noqa: E402

SPLITS = (1, 2, 7)
TLS = "TLS"         # the target of all vectors about it, whatever their policy


class Fleet:
    """The targets of one process, one a policy, made when first needed."""

    def __init__(self, options):
        self.options, self.targets = options, {}

    def target(self, vector):
        policy = TLS if vector["run"] == "tls" else vector["policy"]
        if policy not in self.targets:
            self.targets[policy] = self.make(policy)
        return self.targets[policy]

    def make(self, policy):
        if policy == TLS:
            return secure.SecureTarget()
        if self.options.peer:
            proxies = dict(text.split("=", 1) for text in self.options.peer)
            host, _, port = self.options.origin.rpartition(":")
            return Target(policy, host.rpartition(".")[0], proxies, (host, int(port)))
        if self.options.wire:
            from vectors.wire import WireTarget
            return WireTarget(policy, self.options.wire)
        return Instance(policy)

    def close(self):
        """Faults found when the targets end: (policy, sentence)."""
        faults = []
        for policy, target in self.targets.items():
            try:
                target.close()
            except Exception as error:
                faults.append((policy, str(error)))
        self.targets = {}
        return faults


def jobs_of(vectors, options):
    """(vector, mode, split) of everything that is to run."""
    jobs = []
    for vector in vectors:
        for mode in selection.modes_of(vector, bool(options.wire)):
            if options.mode and mode != options.mode or options.peer and not is_for_peers(vector, mode, options):
                continue
            jobs += [(vector, mode, split) for split in (SPLITS if options.wire else (None,))]
    return jobs


def is_for_peers(vector, mode, options):
    return mode in peer_modes(options) and vector["policy"] == "baseline" and vector["run"] == "raw"


def peer_modes(options):
    given = {text.split("=", 1)[0] for text in options.peer}
    return given | ({"tunnel", "explicit"} if "forward" in given else set())


def run_share(jobs, options):
    """Runs one process's share; returns [(id, mode, split, failures, seconds)]."""
    fleet, results = Fleet(options), []
    for vector, mode, split in jobs:
        began = time.monotonic()
        try:
            target = fleet.target(vector)
        except Exception as error:
            results.append((vector["id"], mode, split, [f"the target did not start: {error}"], 0.0))
            continue
        failures = judge.judge_safely(vector, target, mode, split)
        if any(failure.startswith("I1") for failure in failures):
            fleet.targets.pop(TLS if vector["run"] == "tls" else vector["policy"])
            try:
                target.close()
            except Exception:
                pass
        results.append((vector["id"], mode, split, failures, time.monotonic() - began))
    results += [(policy, "end", None, [fault], 0.0) for policy, fault in fleet.close()]
    return results


def run_all(jobs, options):
    if options.jobs <= 1 or len(jobs) < 4:
        return run_share(jobs, options)
    shares = [jobs[n::options.jobs] for n in range(options.jobs)]
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        return [result for share in pool.map(run_share, shares, [options] * options.jobs) for result in share]


def label(name, mode, split):
    return f"{name} {mode}" + (f" split {split}" if split else "")


def report(results, options):
    failed = [result for result in results if result[3]]
    for name, mode, split, failures, seconds in sorted(results, key=lambda result: (result[0], result[1], result[2] or 0)):
        if failures:
            print(f"FAIL {label(name, mode, split)}: " + "; ".join(failures))
        elif options.verbose:
            print(f"ok   {label(name, mode, split)} ({seconds:.2f} s)")
    return failed


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append", help="families that begin with this")
    parser.add_argument("--id", action="append")
    parser.add_argument("--mode", choices=["forward", "reverse", "tunnel", "explicit", "transparent", "tls", "mitm"])
    parser.add_argument("--wire", metavar="PROGRAM", help="the session code in this process's hands, split in pieces of 1, 2 and 7 bytes")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--peer", action="append", default=[], metavar="MODE=HOST:PORT")
    parser.add_argument("--origin", default="127.0.0.1:8000")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--list", action="store_true", help="name what is not here, and where it is")
    return parser.parse_args(arguments)


def chosen(vectors, options):
    return [vector for vector in vectors if (not options.id or vector["id"] in options.id)
            and (not options.family or any(vector["family"].startswith(family) for family in options.family))]


def main(arguments):
    options = options_of(arguments)
    if options.peer:
        options.jobs = 1
    here, elsewhere = selection.split(chosen(selection.load_vectors(), options), wire=bool(options.wire))
    if options.list:
        for vector, where in elsewhere:
            print(f"{vector['id']} ({vector['family']}): {where}")
    began = time.monotonic()
    results = run_all(jobs_of(here, options), options)
    failed = report(results, options)
    print(f"vectors: {len(here)} here in {len(results)} runs, {len(elsewhere)} not here; {time.monotonic() - began:.0f} s")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
