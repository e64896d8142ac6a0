# SPDX-License-Identifier: ISC
"""Whether packets are under way in this machine: loopback delivers in the sender's system call, but on a busy machine a thread of the kernel
does it, when it gets a processor."""

BACKLOG = 11      # column: packets that wait for a CPU (Linux 5.10)


def is_under_way():
    with open("/proc/net/softnet_stat") as file:
        rows = [line.split() for line in file]
    return any(int(row[BACKLOG], 16) for row in rows if len(row) > BACKLOG)
