# SPDX-License-Identifier: ISC
"""A crowd of flows that fills the kernel's table of connection tracking (linux/netfilter/nfnetlink_conntrack.h)."""
import socket
import struct

NETLINK_NETFILTER, NEW_ENTRY, CREATE, NESTED = 12, 1 << 8, 0x401, 0x8000
CONFIRMED = 2 | 4 | 8       # both sides have spoken: such an entry does not make room for a new one
MOST = 1 << 20              # entries that are made
BATCH = 256
HOLE = b"??"                # where the port of a flow stands


def attribute(kind, *content):
    data = b"".join(content)
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def entry_of(host):
    """The message that makes an entry of a UDP flow of this address."""
    far, port = socket.inet_aton("198.51.100.1"), struct.pack(">H", 9)
    tuples = [attribute(kind | NESTED, attribute(1 | NESTED, attribute(1, source), attribute(2, target)),
                        attribute(2 | NESTED, attribute(1, bytes([socket.IPPROTO_UDP])), attribute(2, sport), attribute(3, dport)))
              for kind, source, target, sport, dport in ((1, host, far, HOLE, port), (2, far, host, port, HOLE))]
    body = struct.pack("=BBH", socket.AF_INET, 0, 0) + b"".join(tuples)
    body += attribute(3, struct.pack(">I", CONFIRMED)) + attribute(7, struct.pack(">I", 600))
    return struct.pack("=IHHII", 16 + len(body), NEW_ENTRY, CREATE, 0, 0) + body


class Crowd:
    """How many entries there may be is the machine's to say, but it counts those of each namespace by themselves."""

    def __init__(self, where):
        self.where, self.sent = where, 0
        self.room = int(where.sysctl("net.netfilter.nf_conntrack_max"))

    def why_not(self):
        return "" if 0 < self.room <= MOST else f"a table of {self.room} entries is not filled"

    def fill(self):
        """Again, too: in a table that is nearly full the kernel looks for entries that can go."""
        with self.where, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            while int(self.where.sysctl("net.netfilter.nf_conntrack_count")) < self.room:
                assert self.sent < 2 * self.room, "the table does not fill"
                parts = entry_of(struct.pack(">I", 0xC0000200 + (self.sent >> 16))).split(HOLE)
                kernel.send(b"".join(struct.pack(">H", number & 0xFFFF).join(parts) for number in range(self.sent, self.sent + BATCH)))
                self.sent += BATCH
