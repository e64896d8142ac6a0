# SPDX-License-Identifier: ISC
"""What a workload is: which peers can do it, how the load is run, which figures come out. A result is a dict of figures (columns.py); one with
`errors` or `failed` is a bad run: it is counted, and its figures are not used."""
from .columns import REQUEST_COLUMNS
from .running import Place, Running
from .tables import Table

MANY = 1000

class Workload:
    """`kind` is the key of Peer.ways; `floor` names the peer that the last ratio is to; `curve` what a plot over the variants shows."""
    name, kind, unit = "?", "http", "req"
    columns = REQUEST_COLUMNS
    floor = "relay-rw"
    seconds, warm = 2.0, 0.5
    curve = None

    def __init__(self, options, material):
        self.options, self.material = options, material
        if options.seconds:
            self.seconds = options.seconds
        self.warm = min(self.warm, self.seconds)

    def variants(self):
        return [""]

    def peers_for(self, peers):
        """The rows of the table; a workload may make several of one peer."""
        return peers

    def can(self, peer, variant):
        return self.kind in peer.ways

    def columns_for(self, variant):
        return self.columns

    def unit_for(self, variant):
        return self.unit

    def table(self, variant, rows, peers):
        """Lines of markdown."""
        return Table(self, variant, rows, peers).lines()

    def place(self, variant):
        return Place(self.kind)

    def load_arguments(self, running, variant):
        raise NotImplementedError

    def timed(self):
        return ["-w", self.warm, "-d", self.seconds]

    def run(self, peer, variant, bench):
        with Running(peer, self.place(variant), bench) as running:
            found = bench.load(running, self.load_arguments(running, variant) + self.timed())
            return self.figures(running, variant, found)

    def figures(self, running, variant, found):
        """Adds to what was counted what the columns need, and returns it."""
        operations = found["ops"]
        found["ops_s"] = operations / found["secs"]
        if running.group and operations:
            per_unit(found, "us_op", found["cpu_s"] / operations * 1e6)
            self.add_memory(running, variant, found)
        return found

    def add_memory(self, running, variant, found):
        """While all connections are open; what one of them takes is only told from the rest where they are many."""
        arguments = self.load_arguments(running, variant)
        connections = int(arguments[arguments.index("-c") + 1])
        found["pss_mb"] = found["memory"]["pss"] / 2**20 or None      # not everybody may see it
        if connections >= MANY:
            found["pss_kb_conn"] = (found["memory"]["pss"] - running.base["pss"]) / connections / 1024
        found["start_s"] = running.start_seconds


def per_unit(found, key, value):
    """CPU time for one unit, and how it divides."""
    found[key] = value
    if found["user_share"] is not None:
        found[f"user_{key}"] = value * found["user_share"]
        found[f"system_{key}"] = value * (1 - found["user_share"])


def stream_figures(found):
    gigabytes = found["bytes"] / 1e9
    found["gbit"] = gigabytes * 8 / found["secs"]
    if "cpu_s" in found and gigabytes:
        per_unit(found, "s_gb", found["cpu_s"] / gigabytes)
    return found
