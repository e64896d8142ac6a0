# SPDX-License-Identifier: ISC
"""Whether event loops block: whether processes sleep anywhere but where a loop waits for events.

Who is not on a processor because others are is not asleep. So a sleep is only what two looks find in the same system call, asleep, with the same count of
switches that the process asked for. Looks are made by a program of its own, about once a millisecond: `blocked.py PID...` says that it looks, does so until
its standard input ends, and prints how often it did and the longest sleep in each system call, in seconds."""
import contextlib
import json
import os
import platform
import re
import select
import subprocess
import sys
import time

PAUSE_MS = 1
EVENTS = {"x86_64": ("232", "281"), "aarch64": ("22",)}[platform.machine()]         # epoll_wait, epoll_pwait
FACTS = re.compile(r"^State:\t(\w).*^voluntary_ctxt_switches:\t(\d+)", re.MULTILINE | re.DOTALL)


def sleep_of(pid):
    """(system call, number of the sleep); None if it does not sleep or waits for events. Waiting for memory or a lock of the kernel (D) is not
    counted: that is the machine's doing, and workers have no files."""
    try:
        with open(f"/proc/{pid}/syscall") as file:
            call = file.read().split()[0]
        with open(f"/proc/{pid}/status") as file:
            state, switches = FACTS.search(file.read()).groups()
    except (OSError, AttributeError, IndexError):
        return None
    return (call, switches) if state == "S" and call not in ("running", "-1", *EVENTS) else None


def watch(pids):
    """Of a sleep counts what is certain: from behind the first look at it to before the last."""
    print("looking", flush=True)
    looks, since, longest = 0, {}, {}
    while not select.select([sys.stdin], [], [], PAUSE_MS / 1000)[0]:
        looks += 1
        for pid in pids:
            now, sleep = time.monotonic(), sleep_of(pid)
            before, began = since.get(pid, (None, 0))
            if sleep is None or sleep != before:
                since[pid] = (sleep, time.monotonic())
            else:
                longest[sleep[0]] = max(longest.get(sleep[0], 0), now - began)
    print(json.dumps({"looks": looks, "longest": longest}))


@contextlib.contextmanager
def watched(pids):
    """Yields a dict that has `looks` and `longest` when the block is over."""
    found = {}
    watcher = subprocess.Popen([sys.executable, os.path.abspath(__file__), *map(str, pids)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        watcher.stdout.readline()
        yield found
    finally:
        found.update(json.loads(watcher.communicate("\n", 60)[0]))


@contextlib.contextmanager
def never_blocked(pids, seconds=0.01):
    """Only root may look at processes that gave up their privileges."""
    if os.getuid() != 0:
        yield
        return
    with watched(pids) as found:
        yield
    assert found["looks"] and not [one for one in found["longest"].values() if one > seconds], found


if __name__ == "__main__":
    watch(sys.argv[1:])
