# SPDX-License-Identifier: ISC
"""The machine that is measured on: a network namespace of our own, two CPUs, and the processes of one server as a group whose CPU time and
memory the kernel counts (cgroup v1 or v2; without either, /proc)."""
import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PR_SET_PDEATHSIG = 1
TICK = os.sysconf("SC_CLK_TCK")
# A proxied connection takes two: hence 8500 idle ones.
DESCRIPTORS = 20000
# Inside our own namespace only; the first of the values that the kernel takes.
SYSCTLS = {
    "net/ipv4/tcp_congestion_control": ("cubic", "reno"),
    "net/ipv4/ip_local_port_range": ("2048 60999",),
    "net/core/somaxconn": ("65535",),
    "net/ipv4/tcp_max_syn_backlog": ("65535",),
    "net/ipv4/tcp_tw_reuse": ("2",),
    "net/ipv4/tcp_max_tw_buckets": ("400000",),
}
CGROUPS = "/sys/fs/cgroup"
PREFIX = "postern-bench-"
LIBC = ctypes.CDLL(None, use_errno=True)


def read(path, default=""):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return default


def put(path, text):
    with open(path, "w") as file:
        file.write(text)


def enter_namespace():
    """No port of anybody else, and sysctls of our own. False: it may not be made."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    for key, values in SYSCTLS.items():
        for value in values:
            try:
                put(f"/proc/sys/{key}", value)
                break
            except OSError:
                continue
    return True


def stat_of(pid):
    """The fields of /proc/PID/stat behind the name; None if there is no such process."""
    text = read(f"/proc/{pid}/stat")
    return text[text.rindex(")") + 2:].split() if ")" in text else None


def cpu_of(pid):
    """User and system seconds, threads and children that ended included."""
    fields = stat_of(pid)
    if not fields:
        return 0.0, 0.0
    return (int(fields[11]) + int(fields[13])) / TICK, (int(fields[12]) + int(fields[14])) / TICK


def soft_interrupts_of(cpu):
    """The thread that does a CPU's soft interrupts, whose time is charged to nobody; None if it cannot be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit() and read(f"/proc/{name}/comm").strip() == f"ksoftirqd/{cpu}":
            return int(name)
    return None


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Cgroup:
    """Version 1 has one folder for CPU time and one for memory, version 2 one for both."""

    def __init__(self, name):
        self.is_v2 = os.path.exists(f"{CGROUPS}/cgroup.controllers")
        parents = [CGROUPS] if self.is_v2 else [f"{CGROUPS}/cpuacct", f"{CGROUPS}/memory"]
        self.folders = []
        for parent in parents:
            remove_stale(parent)
            folder = f"{parent}/{PREFIX}{os.getpid()}-{name}"
            with contextlib.suppress(OSError):
                os.mkdir(folder)
                self.folders.append(folder)
        self.works = len(self.folders) == len(parents) and self.seconds() is not None

    def files_to_join(self):
        return [f"{folder}/cgroup.procs" for folder in self.folders]

    def pids(self):
        return [int(word) for word in read(f"{self.folders[0]}/cgroup.procs").split()]

    def seconds(self):
        if self.is_v2:
            found = [line.split()[1] for line in read(f"{self.folders[0]}/cpu.stat").splitlines() if line.startswith("usage_usec ")]
            return int(found[0]) / 1e6 if found else None
        text = read(f"{self.folders[0]}/cpuacct.usage")
        return int(text) / 1e9 if text else None

    def kernel_bytes(self):
        """Sockets, epoll, stacks of threads."""
        if not self.is_v2:
            return int(read(f"{self.folders[1]}/memory.kmem.usage_in_bytes", "0"))
        return sum(int(line.split()[1]) for line in read(f"{self.folders[0]}/memory.stat").splitlines() if line.startswith("kernel "))

    def remove(self):
        for folder in self.folders:
            for _ in range(50):
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.02)


def remove_stale(parent):
    """What a bench that was killed left behind."""
    for name in os.listdir(parent) if os.path.isdir(parent) else ():
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and not os.path.exists(f"/proc/{owner}"):
            with contextlib.suppress(OSError):
                os.rmdir(f"{parent}/{name}")


class Group:
    """The processes of one server, on one CPU. They end with whoever started them."""

    def __init__(self, name, cpu):
        self.cpu = cpu
        cgroup = Cgroup(name)
        self.cgroup = cgroup if cgroup.works else None
        if self.cgroup is None:
            cgroup.remove()
        self.process = None

    def start(self, command, log=None, environment=None, **options):
        files = self.cgroup.files_to_join() if self.cgroup else []

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.setsid()
            for path in files:
                put(path, "0")
            os.sched_setaffinity(0, {self.cpu})
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

        with open(log or os.devnull, "ab") as said:
            self.process = subprocess.Popen(command, preexec_fn=prepare, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                            **options)
        return self.process

    def pids(self):
        if self.cgroup:
            return self.cgroup.pids()
        session = self.process.pid if self.process else None
        return [pid for pid in all_pids() if (stat_of(pid) or [None] * 4)[3] == str(session)]

    def pin(self):
        """Some servers choose the CPUs of their threads themselves."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), {self.cpu})

    def seconds(self):
        """CPU time of all of them, those that ended included, and the share of it that is user time as far as ticks tell."""
        each = [cpu_of(pid) for pid in self.pids()]
        user, system = sum(one[0] for one in each), sum(one[1] for one in each)
        return self.cgroup.seconds() if self.cgroup else user + system, user, system

    def memory(self):
        """Bytes: `pss`, `rss`, and `kernel` where the kernel says so."""
        found = {"pss": 0, "rss": 0, "kernel": self.cgroup.kernel_bytes() if self.cgroup else 0}
        for pid in self.pids():
            for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
                key = line.partition(":")[0].lower()
                if key in ("pss", "rss"):
                    found[key] += int(line.split()[1]) * 1024
        return found

    def end(self):
        for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
            for pid in self.pids():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            if self._are_gone(patience):
                break
        if self.process:
            self.process.wait()
        if self.cgroup:
            self.cgroup.remove()

    def _are_gone(self, seconds):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self.process:
                self.process.poll()
            if not self.pids():
                return True
            time.sleep(0.01)
        return False
