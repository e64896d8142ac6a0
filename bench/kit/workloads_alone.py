# SPDX-License-Identifier: ISC
"""What is measured without a proxy: the parts of a request that are pure code, one by one (bench/verdict.c)."""
import os
import re
import subprocess

from .running import Failed
from .tables import median
from .workload import Workload

LINE = re.compile(r"^(?P<part>\S.*?)\s{2,}(?P<ns>[0-9.]+) ns", re.M)


class Verdict(Workload):
    """The policy's verdict, look-ups of names, and the other parts of a request that are pure code: no socket, no loop, no other process."""
    name, columns, floor = "verdict", (), None

    def peers_for(self, peers):
        return [peer for peer in peers if peer.is_ours][:1]

    def can(self, peer, variant):
        return True

    def run(self, peer, variant, bench):
        program = bench.programs.path("verdict")
        if not os.path.exists(program):
            raise Failed(f"{program} was not built")
        done = subprocess.run(["taskset", "-c", str(bench.proxy_cpu), program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Failed(done.stdout[-300:])
        return {"ns": {found["part"]: float(found["ns"]) for found in LINE.finditer(done.stdout)}}

    def table(self, variant, rows, peers):
        results = [one["ns"] for row in rows.values() for one in row if "ns" in one]
        parts = results[0] if results else {}
        return ["| part | ns a call |", "| --- | ---: |",
                *(f"| {part} | {median([one.get(part) for one in results]):.1f} |" for part in parts)]
