# SPDX-License-Identifier: ISC
"""The real program over TCP: one instance a policy, its origin and its name server on a loopback network of their own."""
import os
import select
import socket
import time

from lib import dial
from lib.dns import NameServer
from lib.lease import Lease
from lib.postern import POSTERND, Postern, rss_kib
from vectors import baseline
from vectors.world import Upstream, World

# How long what the vector left behind may take to go away once its clients are gone: keepalive, and some for a busy machine.
SETTLE = 4000


def listen(address):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(64)
    sock.setblocking(False)
    return sock


class Target:
    """What vectors are run against: the addresses, and the origin's listening socket."""
    pids = None

    def __init__(self, policy, prefix, proxies, origin):
        self.policy, self.prefix, self.proxies = policy, prefix, proxies
        self.origin = origin
        self.listener = listen(origin)

    def world(self, mode, split=None):
        return SocketWorld(self, mode)

    def names(self, mode):
        return baseline.names(self.policy, self.prefix, mode, self.origin, self.proxies["reverse" if mode == "reverse" else "forward"])

    def records(self, ports):
        return None

    def trouble(self):
        return ""

    def close(self):
        self.listener.close()


class Instance(Target):
    """A posternd of our own."""

    def __init__(self, policy, binary=POSTERND):
        self.lease = Lease()
        prefix = self.lease.prefix
        super().__init__(policy, prefix, {"forward": f"{prefix}.2:{baseline.PROXY_PORT}", "reverse": f"{prefix}.2:{baseline.SITE_PORT}"},
                         (f"{prefix}.1", baseline.ORIGIN_PORT))
        self.dns = NameServer(f"{prefix}.3", baseline.fake_names(prefix), baseline.DNS_PORT)
        self.postern = Postern({}, binary, start=False)
        hosts = os.path.join(self.postern.folder, "hosts")
        with open(hosts, "w") as file:
            file.write(f"127.0.0.1 localhost\n{prefix}.1 {baseline.NAME}\n")
        os.chmod(hosts, 0o644)
        self.postern.write(baseline.settings(policy, prefix, hosts))
        self.postern.start()
        self.pids = self.postern.processes()

    def records(self, ports):
        return [line for line in self.postern.access() if client_port(line) in ports]

    def trouble(self):
        """Invariant I1: the same processes as before, nothing from a sanitizer."""
        said = self.postern.sanitizer_output()
        if said:
            return f"I1: sanitizer: {said[:1500]}"
        now = self.postern.processes()
        if now != self.pids:
            before, self.pids = self.pids, now
            return f"I1: processes were {before}, are {now}"
        return ""

    def find_secrets(self, secrets):
        texts = {"stderr": self.postern.stderr()}
        with open(self.postern.access_log) as file:
            texts["access log"] = file.read()
        for command in ("status", "sessions", "denials"):
            texts[command] = self.postern.ctl_run("--json", command).stdout
        found = [where for where, text in texts.items() for secret in secrets if secret.decode() in text]
        return f"secrets in {found}" if found else None

    def close(self):
        super().close()
        self.dns.close()
        try:
            self.postern.close()
        finally:
            self.lease.release()


def client_port(line):
    port = str(line.get("client", "")).rpartition(":")[2]
    return int(port) if port.isdigit() else 0


class SocketWorld(World):
    def __init__(self, target, mode):
        names = target.names(mode)
        prologue = None
        if mode == "tunnel":
            prologue = f"CONNECT {names['CO']} HTTP/1.1\r\nHost: {names['CO']}\r\n\r\n".encode()
        super().__init__(names, mode, prologue)
        self.target, self.listener = target, target.listener
        host, _, port = target.proxies["reverse" if mode == "reverse" else "forward"].rpartition(":")
        self.proxy = (host, int(port))
        self.settle_ms = SETTLE

    def connect(self):
        return dial.connect(self.proxy, 5, f"{self.target.prefix}.7" if self.target.pids else None)

    def accept(self):
        moved = False
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return moved
            self.upstream.append(Upstream(sock))
            moved = True

    def poll(self, ms):
        moved = self.accept()
        if self.pump() or moved:
            return True
        conns = [conn for conn in self.all_clients + self.upstream if not conn.closed]
        poller = select.poll()
        poller.register(self.listener, select.POLLIN)
        for conn in conns:
            want = (select.POLLIN if conn.end is None and not conn.paused else 0) | (select.POLLOUT if conn.pending else 0)
            if want:
                poller.register(conn.sock, want)
        return bool(poller.poll(ms))

    def wait(self, condition, ms):
        end = time.monotonic() + ms / 1000
        while True:
            while self.poll(0):
                pass
            if condition():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.poll(min(left * 1000, 50))

    def sleep(self, ms):
        self.wait(lambda: False, ms)

    def records(self):
        return self.target.records({conn.port for conn in self.all_clients})

    def rss_kib(self):
        return sum(rss_kib(pid) for pid in self.target.pids or ())

    def find_secrets(self, secrets):
        return self.target.find_secrets(secrets)
