#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Switches off one check after the other (include/base/mutant.h), and says which of them nobody misses.

  run.py [CHECK...]           the tests that tests/mutants/table.txt names: they pass, and with the check off at least one fails
  run.py --full [CHECK...]    every unit program and every vector on the wire ring instead, until one fails
  run.py --find [CHECK...]    the same to the end, and prints all that fail: from this the table is written

The program under test is the build of the preset `mutants`. Every name of a check in src/ must be in the table, and the other way round.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)

from vectors import judge, selection          # noqa: E402
from vectors.wire import WireTarget           # noqa: E402

TABLE = os.path.join(TESTS, "mutants", "table.txt")
NAME = re.compile(r"FAULT\(\s*([A-Z0-9_]+)")
SECONDS = 120


class Bench:
    """Runs single tests with some checks off: "unit proto_h1", "vector LN-01 reverse", "wire test_x.py::test_y", "loose"."""

    def __init__(self, build, off=""):
        self.build, self.targets, self.vectors = build, {}, {one["id"]: one for one in selection.load_vectors()}
        self.environment = {**os.environ, "POSTERN_MUTANT": off, "POSTERN_BUILD": build}
        os.environ.update(self.environment)

    def fails(self, test):
        kind, *rest = test.split()
        return getattr(self, kind)(*rest)

    def succeeds(self, *command):
        try:
            return subprocess.run(command, env=self.environment, cwd=ROOT, timeout=SECONDS, capture_output=True).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def unit(self, name):
        return not self.succeeds(os.path.join(self.build, "tests", f"unit_{name}"))

    def wire(self, name):
        return not self.succeeds(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", os.path.join(TESTS, "wire", name))

    def absent(self):
        """The proof that other builds hold no switch would see the switches of this one."""
        return self.succeeds(os.path.join(TESTS, "mutants", "absent.sh"), os.path.join(self.build, "tests", "wire", "wire_host"))

    def loose(self):
        """A program with the loose llhttp says so before anything else; a compiler says so even before that."""
        command = [os.path.join(self.build, "tests", "posternd_loose"), "-c", "/nonexistent"]
        said = subprocess.run(command, env=self.environment, timeout=SECONDS, capture_output=True, text=True).stderr
        return "not the strict one" not in said

    def vector(self, name, mode):
        vector = self.vectors[name]
        policy = vector["policy"]
        if policy not in self.targets:
            self.targets[policy] = WireTarget(policy, os.path.join(self.build, "tests", "wire", "wire_host"))
        failures = judge.judge_safely(vector, self.targets[policy], mode)
        if any(failure.startswith(("I1", "HARNESS")) for failure in failures):
            self.close(self.targets.pop(policy))
        return bool(failures)

    @staticmethod
    def close(target):
        try:
            target.close()
            return True
        except Exception:
            return False

    def end(self):
        """Programs that do not end well fail, too."""
        return all([self.close(target) for target in self.targets.values()])


def names_in_sources():
    names = set()
    for path in glob.glob(os.path.join(ROOT, "src", "*", "*.c")):
        with open(path) as file:
            names |= set(NAME.findall(file.read()))
    return names


def read_table():
    """{checks that are off together: tests that see it}; a line is `CHECK[,CHECK...]: test; test  # remark`."""
    table = {}
    with open(TABLE) as file:
        for line in file:
            checks, _, tests = line.partition("#")[0].strip().partition(":")
            if checks:
                table[checks] = [test.strip() for test in tests.split(";") if test.strip()]
    return table


def all_tests(build):
    units = sorted(os.path.basename(path)[5:] for path in glob.glob(os.path.join(build, "tests", "unit_*")) if os.access(path, os.X_OK)
                   and not os.path.isdir(path))
    here, _ = selection.split(selection.load_vectors(), wire=True)
    vectors = [f"vector {one['id']} {mode}" for one in here for mode in selection.modes_of(one, True) if one["run"] != "tls"]
    return [f"unit {name}" for name in units] + vectors + ["loose"]


def failing(build, off, tests, first):
    """Of the tests those that fail, at most one of them if `first`."""
    bench, found = Bench(build, off), []
    for test in tests:
        if bench.fails(test):
            found.append(test)
            if first:
                break
    if not bench.end() and not found:
        found.append("the end of the program")
    return found


def judge_check(task):
    build, checks, tests, first = task
    return checks, failing(build, checks, tests, first)


def complaints(options, table):
    missing = names_in_sources() - {name for checks in table for name in checks.split(",")}
    unknown = {name for checks in table for name in checks.split(",")} - names_in_sources()
    found = [f"{name}: not in {os.path.relpath(TABLE, ROOT)}" for name in sorted(missing)]
    return found + [f"{name}: not in src/" for name in sorted(unknown)]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "mutants"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--find", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("checks", nargs="*")
    options = parser.parse_args(arguments)
    table = read_table()
    bad = complaints(options, table)
    every = all_tests(options.build)
    chosen = {name: table.get(name, []) for name in options.checks} if options.checks else table or dict.fromkeys(names_in_sources(), [])
    named = sorted({test for tests in chosen.values() for test in tests} | {"absent"})
    passing = every + [test for test in named if test not in every] if options.full or options.find else named
    tasks = [(options.build, "", passing[n::options.jobs], False) for n in range(options.jobs)]
    tasks += [(options.build, checks, passing if options.full or options.find else tests, not options.find) for checks, tests in sorted(chosen.items())]
    good = 0
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for checks, found in pool.map(judge_check, tasks):
            if not checks:
                bad += [f"{test} fails with every check on" for test in found]
            elif not found:
                bad.append(f"{checks}: nothing fails without it")
            else:
                good += 1
            if (options.full or options.find) and checks:
                print(f"{checks}: {'; '.join(found[:12])}", flush=True)
    for sentence in bad:
        print(f"FAIL {sentence}")
    print(f"{good} passed, {len(bad)} failed")
    return 1 if bad or not good else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
