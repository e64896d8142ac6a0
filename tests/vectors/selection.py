# SPDX-License-Identifier: ISC
"""Which vectors run here, in which modes, and where the others are: docs/vectors.md holds the table, nothing is left out silently."""
import json
import os
import re
from dataclasses import dataclass

from lib.postern import ROOT
from vectors import secure

VECTORS = os.path.join(ROOT, "tests", "vectors.jsonl")
TABLE = os.path.join(ROOT, "docs", "vectors.md")
# "transparent" needs a kernel, or a host that injects what was dialled: it is run on the wire ring only, and in tests/netns.
# "reverse", "forward" (absolute form) and "tunnel" (inside CONNECT) are ways to reach the origin; "explicit" leaves that to the vector.
MODES = {"http": ["forward", "reverse"], "forward": ["forward"], "reverse": ["reverse"], "ws": ["forward", "reverse", "tunnel"],
         "connect": ["explicit"], "socks5": ["explicit"]}
WIRE_MODES = {**MODES, "http": MODES["http"] + ["transparent"], "transparent": ["transparent"]}
ROW = re.compile(r"\| *((?:id|family|policy|run|mode|wire|tcp) [^|]*?) *\| *([^|]+?) *\|")


@dataclass
class Row:
    """One line of the table: the words after the key are the values it covers; several conditions are joined by `and`."""
    conditions: list
    where: str
    backend: str                 # "wire" or "tcp": holds there only; "": on both

    def fits(self, vector):
        return all(str(vector[key]) in values for key, values in self.conditions)


def parse_row(what, where):
    conditions, backend = [], ""
    for condition in what.split(" and "):
        key, *values = condition.replace(",", " ").split()
        if key in ("wire", "tcp"):
            backend = key
            key, *values = values
        conditions.append((key, values))
    return Row(conditions, where, backend)


def load_table():
    with open(TABLE) as file:
        return [parse_row(*match.groups()) for line in file if (match := ROW.match(line.strip()))]


def load_vectors():
    with open(VECTORS) as file:
        return [json.loads(line) for line in file]


def modes_of(vector, wire=False):
    """The ways in which a vector runs."""
    if vector["run"] == "tls":
        return secure.MODES[vector["family"]]
    return (WIRE_MODES if wire else MODES)[vector["mode"]]


def split(vectors, wire=False):
    """(here, not here): the second as (vector, where it is). A vector that is neither runnable nor in the table is an error."""
    table = [row for row in load_table() if row.backend in ("", "wire" if wire else "tcp")]
    modes = WIRE_MODES if wire else MODES
    here, elsewhere = [], []
    for vector in vectors:
        row = next((row for row in table if row.fits(vector)), None)
        if row:
            elsewhere.append((vector, row.where))
        elif vector["run"] in ("raw", "netns") and vector["mode"] in modes or vector["run"] == "tls" and vector["family"] in secure.MODES:
            here.append(vector)
        else:
            raise SystemExit(f"{vector['id']} can not run here and docs/vectors.md does not say where it does")
    return here, elsewhere
