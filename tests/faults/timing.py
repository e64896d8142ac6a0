# SPDX-License-Identifier: ISC
"""Bars of time, also for a machine with other work to do: that one is late, and never early. So each round must be right, but only one of several in time."""
import statistics

ROUNDS = 8


def in_time(seconds, take):
    """`take()` does it once, and returns how many seconds it took."""
    spent = []
    while not spent or spent[-1] > seconds:
        assert len(spent) < ROUNDS, f"{seconds} s is what it may take, it took {spent}"
        spent.append(take())


def ends_on_time(timer, ends):
    """`ends()` has some streams run into the timer, and returns after how many seconds each was seen to end, from before its timer began. Nobody may
    be early; half of a round may be late."""
    def take():
        spent = ends()
        assert min(spent) >= 0.9 * timer, spent
        return statistics.median(spent)
    in_time(1.1 * timer, take)
