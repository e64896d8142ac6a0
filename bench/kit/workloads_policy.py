# SPDX-License-Identifier: ISC
"""Lists of hosts to deny, and their reload under load."""
import http.client
import shutil
import signal
import time

from .machine import read
from .material import ASKED_NAMES, HOST
from .running import ORIGIN_PORT, Failed, Place, Running
from .tables import median
from .workload import Workload

REST = 0.2      # seconds between two reloads
SIZES = (0, 1000, 10000, 100000, 1000000)


def size_of(variant):
    return int(variant.split()[0])


class Policy(Workload):
    """The requested host is on no list and changes with every request, 20000 names in turn. 64 kept connections. Before, names that are on
    the list must be denied."""
    name, kind = "policy", "policy"
    columns = ("us_op", "user_us_op", "system_us_op", "ops_s", "p99_us", "start_s", "start_cpu_s", "start_pss_mb", "pss_mb", "peak_rss_mb")
    floor = None
    curve = ("us_op", "names on the list", "CPU us per request")

    def variants(self):
        return [f"{size} names" for size in SIZES if size <= self.options.names]

    def peers_for(self, peers):
        return [of_kind(peer, kind) for peer in peers for kind in peer.lists]

    def can(self, peer, variant):
        return "policy" in peer.ways and size_of(variant) <= peer.list_limits.get(peer.list_kind, SIZES[-1])

    def place(self, variant):
        size = size_of(variant)
        return Place("policy", names_file=self.material.names_file(size) if size else None, hosts_file=self.material.hosts_file())

    def load_arguments(self, running, variant):
        host = ["-n", f"{HOST}:{ORIGIN_PORT}", "-M", ASKED_NAMES]
        if running.peer.program == "privoxy":      # it reads no hosts file of ours
            host = ["-n", f"localhost:{ORIGIN_PORT}"]
        return ["-m", "http", "-c", 64, "-p", "/r/100", *host, *running.target("policy")]

    def run(self, peer, variant, bench):
        with Running(peer, self.place(variant), bench) as running:
            check_denied(running)
            found = bench.load(running, self.load_arguments(running, variant) + self.timed())
            found["start_cpu_s"] = running.start_cpu
            found["start_pss_mb"] = running.base["pss"] / 2**20
            found["peak_rss_mb"] = peak_of(running.group) / 2**20
            return self.figures(running, variant, found)


def of_kind(peer, kind):
    """The same peer, with this kind of list."""
    made = type(peer)()
    made.list_kind, made.name = kind, f"{peer.name} {kind}"
    return made


def peak_of(group):
    """The largest that any of its processes ever was."""
    lines = [line for pid in group.pids() for line in read(f"/proc/{pid}/status").splitlines() if line.startswith("VmHWM:")]
    return max((int(line.split()[1]) * 1024 for line in lines), default=0)


def check_denied(running):
    """The first, the middle and the last name of the list."""
    names = running.place.names() if running.place.names_file else []
    for name in {names[index] for index in (0, len(names) // 2, -1)} if names else ():
        connection = http.client.HTTPConnection("127.0.0.1", running.place.port, timeout=20)
        prefix = f"http://{name}:{ORIGIN_PORT}" if running.peer.ways["policy"] == "forward" else ""
        connection.putrequest("GET", prefix + "/r/1", skip_host=True)
        connection.putheader("Host", name)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        if status != 403:
            raise Failed(f"{name} is on the list, and got {status}")


class Reload(Policy):
    """The list gets another name and is read again, again and again under load; and the same without. All of it on the proxy's one CPU."""
    name = "reload"
    columns = ("max_us", "p999_us", "p99_us", "us_op", "ops_s", "reload_s", "pss_mb", "peak_rss_mb")
    seconds = 10.0
    with_reloads = "with reloads"
    curve = None

    def variants(self):
        return [f"{max(1, self.options.names)} names, {how}" for how in ("no reload", self.with_reloads)]

    def can(self, peer, variant):
        return super().can(peer, variant) and peer.is_ours

    def place(self, variant):
        """With a list of its own, because it changes."""
        place = super().place(variant)
        place.names_file = shutil.copy(place.names_file, place.path("names"))
        return place

    def run(self, peer, variant, bench):
        took = []
        with Running(peer, self.place(variant), bench) as running:
            during = (lambda: took.extend(reload_for(running, self.seconds))) if variant.endswith(self.with_reloads) else None
            found = bench.load(running, self.load_arguments(running, variant) + self.timed(), during=during)
            check_denied(running)
            found["peak_rss_mb"] = peak_of(running.group) / 2**20
            found["reload_s"] = median(took)
            if during and not took:
                found["failed"] = "no reload was done in time"
            return self.figures(running, variant, found)


def reload_for(running, seconds):
    """Reloads one after the other, each of a list that has changed, with a rest between them; how long each took. None is begun that would not
    end within `seconds`."""
    took, log = [], running.place.path("said.log")
    limit = time.monotonic() + seconds * 0.9
    while time.monotonic() + max(took, default=0) < limit:
        with open(running.place.names_file, "a") as names:
            names.write(f"x{len(took)}.reload.example\n")
        done, began = reloads_in(log), time.monotonic()
        running.group.process.send_signal(signal.SIGHUP)
        while reloads_in(log) == done and time.monotonic() < limit:
            time.sleep(0.01)
        if reloads_in(log) > done:
            took.append(time.monotonic() - began)
        time.sleep(REST)
    return took


def reloads_in(log):
    return read(log).count("reloaded: generation")
