# SPDX-License-Identifier: ISC
"""Descriptors are few: nothing that is only kept for later takes them from those who need one now."""
import contextlib

from lib.http1 import Client
from lib.lease import Lease
from lib.origin import Origin
from lib.postern import POSTERND, Postern
from lib.stage import ORIGIN_PORT, settings

DESCRIPTORS = 80
ADDRESSES = range(10, 90)


def test_idle_shared_connections_leave_room(tmp_path):
    """One client asks more servers than there are descriptors, one after the other; none is refused, nor anybody after it."""
    program = tmp_path / "posternd"
    program.write_text(f"#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec {POSTERND} \"$@\"\n")
    program.chmod(0o755)
    lease = Lease()
    policy = {"name": "all", "from": "client", "to": "origin", "protocols": ["http"], "upstream_reuse": "shared", "action": "allow"}
    whole = settings(lease.prefix, clients="127.0.0.0/25", policies=[policy])
    whole["zones"][1]["networks"] = [f"{lease.prefix}.0/24"]
    with contextlib.ExitStack() as stack:
        stack.callback(lease.release)
        servers = [f"{lease.prefix}.{last}" for last in ADDRESSES]
        for server in servers:
            stack.callback(Origin(server, ORIGIN_PORT).close)
        postern = stack.enter_context(Postern(whole, binary=str(program)))
        for server in [*servers, *servers]:
            with Client(whole["listeners"][0]["address"]) as client:
                assert client.request("GET", f"http://{server}:{ORIGIN_PORT}/", f"{server}:{ORIGIN_PORT}").status == 200, server
        limit = postern.ctl("status")["sessions"]["limit"]
        together = [stack.enter_context(Client(whole["listeners"][0]["address"], source=f"127.0.0.{number + 1}")) for number in range(limit)]
        for client, server in zip(together, servers):
            assert client.request("GET", f"http://{server}:{ORIGIN_PORT}/", f"{server}:{ORIGIN_PORT}").status == 200, server
