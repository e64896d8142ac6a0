# SPDX-License-Identifier: ISC
"""What a workload is: which peers can do it, how the load is run, which figures come out. A result is a dict; `COLUMNS` says how its figures
are written. A result with `errors` or `failed` is a bad run: it is counted, and its figures are not used."""
from .running import Place, Running

# Key -> (title, format, whether less is better).
COLUMNS = {
    "us_op": ("CPU us/{}", "{:.2f}", True),
    "user_us_op": ("user", "{:.2f}", True),
    "system_us_op": ("system", "{:.2f}", True),
    "ops_s": ("{}/s", "{:.0f}", False),
    "s_gb": ("CPU s/GB", "{:.4f}", True),
    "user_s_gb": ("user", "{:.4f}", True),
    "system_s_gb": ("system", "{:.4f}", True),
    "gbit": ("Gbit/s", "{:.1f}", False),
    "p50_us": ("p50 us", "{:.0f}", True),
    "p99_us": ("p99 us", "{:.0f}", True),
    "p999_us": ("p99.9 us", "{:.0f}", True),
    "max_us": ("slowest us", "{:.0f}", True),
    "pss_kb_conn": ("PSS KiB/conn", "{:.2f}", True),
    "kernel_kb_conn": ("kernel KiB/conn", "{:.2f}", True),
    "open_us_conn": ("open us/conn", "{:.1f}", True),
    "open_cpu_us_conn": ("open CPU us/conn", "{:.1f}", True),
    "idle_cpu_ms_s": ("idle CPU ms/s", "{:.3f}", True),
    "alive": ("alive", "{:.0f}", None),
    "start_s": ("start s", "{:.2f}", True),
    "start_cpu_s": ("start CPU s", "{:.2f}", True),
    "start_pss_mb": ("start PSS MiB", "{:.1f}", True),
    "peak_rss_mb": ("peak RSS MiB", "{:.1f}", True),
    "reload_s": ("reload s", "{:.2f}", True),
    "calls_op": ("system calls/{}", "{:.2f}", True),
    "proxy_cpu_use": ("proxy's use of its CPU", "{:.2f}", None),
    "us_verdict": ("us/{}", "{:.3f}", True),
}
REQUEST_COLUMNS = ("us_op", "user_us_op", "system_us_op", "ops_s", "p50_us", "p99_us", "pss_kb_conn", "proxy_cpu_use")
STREAM_COLUMNS = ("s_gb", "user_s_gb", "system_s_gb", "gbit", "proxy_cpu_use")


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
        """Growth since the start, while all connections are open."""
        arguments = self.load_arguments(running, variant)
        connections = int(arguments[arguments.index("-c") + 1])
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
