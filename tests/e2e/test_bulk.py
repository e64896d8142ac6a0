# SPDX-License-Identifier: ISC
"""Much passes a tunnel unread: every byte of it, both ways at once, and the worker does not grow.

64 MiB by default; POSTERN_BULK_MIB=1024 for the long run.
"""
import contextlib
import hashlib
import os
import random
import socket
import threading

import pytest

from lib.lease import Lease
from lib.postern import POSTERND, Postern, rss_kib, wait_until
from lib.stage import PROXY_PORT, settings

MIB = int(os.environ.get("POSTERN_BULK_MIB", "64"))
GROWTH_KIB = 2048
PORT = 9100
FIRST = b"\0first"           # nobody's protocol
BLOCK = random.Random(1).randbytes(1 << 20)
TUNNELS, DESCRIPTORS = 200, 540
POLICY = {"name": "all", "from": "client", "to": "origin", "protocols": ["tunnel"], "action": "allow"}


def send_all(sock, mib, found):
    digest = hashlib.sha256()
    for n in range(mib):
        block = BLOCK[n % 251:] + BLOCK[:n % 251]
        digest.update(block)
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    found.append(digest.hexdigest())


def receive_all(sock, found, look=lambda: None):
    digest, count = hashlib.sha256(), 0
    while data := sock.recv(1 << 18):
        digest.update(data)
        count += len(data)
        look()
    found.extend((digest.hexdigest(), count))


class Server:
    """Sends so much to each that says FIRST, and hears what it says; `heard` and `said` are what hash it has."""

    def __init__(self, address, mib):
        self.mib, self.said, self.heard = mib, [], []
        self.sock = socket.create_server((address, PORT), backlog=TUNNELS)
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.sock.accept()
                self.threads.append(threading.Thread(target=self.serve, args=(sock,), daemon=True))
                self.threads[-1].start()

    def serve(self, sock):
        with sock, contextlib.suppress(OSError):
            assert sock.recv(len(FIRST), socket.MSG_WAITALL) == FIRST
            sender = threading.Thread(target=send_all, args=(sock, self.mib, self.said), daemon=True)
            sender.start()
            receive_all(sock, self.heard)
            sender.join(60)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.threads[0].join(15)
        self.sock.close()


class World:
    def __init__(self, mib, binary=POSTERND):
        lease = Lease()
        self.address = f"{lease.prefix}.1"
        with contextlib.ExitStack() as stack:
            stack.callback(lease.release)
            self.server = Server(self.address, mib)
            stack.callback(self.server.close)
            self.postern = stack.enter_context(Postern(settings(lease.prefix, policies=[POLICY]), binary=binary))
            self.proxy = (f"{lease.prefix}.2", PROXY_PORT)
            self.stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.stack.__exit__(*failure)

    def tunnel(self, way="connect"):
        sock = socket.create_connection(self.proxy, timeout=60)
        if way == "connect":
            target = f"{self.address}:{PORT}"
            sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += sock.recv(1)
            assert answer.startswith(b"HTTP/1.1 200"), answer
        else:
            sock.sendall(b"\x05\x01\x00")
            assert sock.recv(2, socket.MSG_WAITALL) == b"\x05\x00"
            sock.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(self.address) + PORT.to_bytes(2, "big"))
            assert sock.recv(10, socket.MSG_WAITALL)[:2] == b"\x05\x00"
        sock.sendall(FIRST)
        return sock


@pytest.fixture
def unkept(monkeypatch):
    """AddressSanitizer keeps no freed memory: that is not the program's."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=0:thread_local_quarantine_size_kb=0")


@pytest.mark.parametrize("way", ["connect", "socks"])
def test_all_of_it_both_ways(way, unkept):
    with World(MIB) as world, world.tunnel(way) as sock:
        (worker,) = world.postern.workers()
        before, sizes, said, heard = rss_kib(worker), [0], [], []
        sender = threading.Thread(target=send_all, args=(sock, MIB, said), daemon=True)
        sender.start()
        receive_all(sock, heard, lambda: sizes.append(rss_kib(worker)))
        sender.join(60)
        record = world.postern.wait_access(lambda r: r["event"] == "end")
        wait_until(lambda: world.server.said and world.server.heard, what="the server's end")
        assert heard == [world.server.said[0], MIB << 20] and world.server.heard == [said[0], MIB << 20]
        assert (record["bytes_up"], record["bytes_down"], record["reason"]) == ((MIB << 20) + len(FIRST), MIB << 20, "ok")
        assert max(sizes) - before < GROWTH_KIB


def ended(world):
    return [record for record in world.postern.access() if record["event"] == "end"]


def test_many_at_once(tmp_path):
    """More of them than there are pipes, and none is read at first."""
    program = tmp_path / "posternd"
    program.write_text(f"#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec {POSTERND} \"$@\"\n")
    program.chmod(0o755)
    with World(1, str(program)) as world, contextlib.ExitStack() as stack:
        assert world.postern.ctl("status")["sessions"]["limit"] >= TUNNELS
        socks = [stack.enter_context(world.tunnel()) for _ in range(TUNNELS)]
        for sock in socks:
            heard = []
            receive_all(sock, heard)
            assert heard == [hashlib.sha256(BLOCK).hexdigest(), 1 << 20]
            sock.close()
        wait_until(lambda: len(ended(world)) == TUNNELS, what="all records")
        assert {(r["bytes_up"], r["bytes_down"]) for r in ended(world)} == {(len(FIRST), 1 << 20)}
