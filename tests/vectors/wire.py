# SPDX-License-Identifier: ISC
"""The session code alone: a host program in the test's hands, over a control socket, on a clock that only the test moves.

Commands and answers are one datagram each: `client LISTENER` and `server` bring a descriptor, `turn` runs the loop until nothing
happens, `advance MS` moves the clock, `records` gives access records as JSON lines.
"""
import array
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from lib import libconfig, loopback
from lib.postern import SANITIZER
from vectors import baseline
from vectors.world import Upstream, World

PREFIX = "127.0.99"
STEP = 50
# valgrind with its options, if it is asked for: what it finds is the program's exit status. With it everything takes its time.
UNDER = os.environ.get("POSTERN_UNDER", "").split()
REAL_SECONDS = 120.0 if UNDER else 5.0
ANSWER_BYTES = 1 << 20


class Host:
    """The program under test and the socket to it."""

    def __init__(self, program, settings):
        self.folder = tempfile.TemporaryDirectory(prefix="postern-wire-")
        config = os.path.join(self.folder.name, "postern.conf")
        with open(config, "w") as file:
            file.write(libconfig.text_of(settings))
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            theirs.setsockopt(socket.SOL_SOCKET, option, ANSWER_BYTES)
        self.control.settimeout(120 if UNDER else 30)
        self.stderr = open(os.path.join(self.folder.name, "stderr"), "w+b")
        self.process = subprocess.Popen([*UNDER, program, config, str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=self.stderr)
        theirs.close()

    def ask(self, command):
        """(answer, descriptor or None)."""
        self.control.send(command.encode())
        descriptors = array.array("i")
        text, ancillary, _, _ = self.control.recvmsg(ANSWER_BYTES, socket.CMSG_LEN(4 * descriptors.itemsize))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
        if not text:
            raise RuntimeError(f"the host program ended: {self.said()[-2000:]}")
        return text.decode(), (socket.socket(fileno=descriptors[0]) if descriptors else None)

    def said(self):
        with open(self.stderr.name, errors="replace") as file:
            return file.read()

    def close(self):
        try:
            self.control.send(b"quit")
            code = self.process.wait(60 if UNDER else 10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.send_signal(signal.SIGKILL)
            code = self.process.wait()
        said = self.said()
        self.control.close()
        self.folder.cleanup()
        if code or SANITIZER.search(said):
            raise AssertionError(f"the host program ended with {code}: {said[-3000:]}")


class WireTarget:
    """One host program, used for one vector after the other."""

    def __init__(self, policy, program):
        self.policy = policy
        with tempfile.NamedTemporaryFile("w", prefix="postern-hosts-", delete=False) as hosts:
            hosts.write(f"{PREFIX}.1 {baseline.NAME}\n")
        self.hosts = hosts.name
        self.host = Host(program, baseline.settings(policy, PREFIX, self.hosts, client="127.0.0.1"))

    def world(self, mode, split=None):
        return WireWorld(self, mode, split)

    def names(self, mode):
        return baseline.names(self.policy, PREFIX, mode)

    def trouble(self):
        if self.host.process.poll() is not None:
            return f"I1: the host program ended: {self.host.said()[-1500:]}"
        found = SANITIZER.search(self.host.said())
        return f"I1: sanitizer: {self.host.said()[found.start():][:1500]}" if found else ""

    def close(self):
        os.unlink(self.hosts)
        self.host.close()


class WireWorld(World):
    def __init__(self, target, mode, split):
        names = target.names(mode)
        prologue = f"CONNECT {names['CO']} HTTP/1.1\r\nHost: {names['CO']}\r\n\r\n".encode() if mode == "tunnel" else None
        super().__init__(names, mode, prologue, split)
        self.host, self.listener = target.host, {"reverse": "site", "transparent": "way"}.get(mode, "proxy")
        self.settle_ms = 4000
        self.taken = []
        self.host.ask("records")

    def connect(self):
        answer, sock = self.host.ask(f"client {self.listener}" + (f" {self.original}" if self.mode == "transparent" else ""))
        if sock is None:
            raise RuntimeError(f"client {self.listener}: {answer}")
        return sock

    def take_dials(self):
        moved = False
        while True:
            answer, sock = self.host.ask("server")
            if sock is None:
                return moved
            self.upstream.append(Upstream(sock))
            if answer.split()[1] != self.names["O"]:
                self.foreign.append(answer.split()[1])
            moved = True

    def poll(self, ms=0):
        wrote = self.pump()
        self.host.ask("turn")
        dialled = self.take_dials()
        return self.pump() or dialled or wrote

    def settle(self):
        """Turns until nothing has moved twice in a row: what loopback still carries is there by then."""
        idle, end = 0, time.monotonic() + REAL_SECONDS
        while idle < 2 and time.monotonic() < end:
            idle = 0 if self.poll() or loopback.is_under_way() else idle + 1

    def wait(self, condition, ms):
        for _ in range(0, ms + 1, STEP):
            self.settle()
            if condition():
                return True
            self.host.ask(f"advance {STEP}")
        self.settle()
        return bool(condition())

    def sleep(self, ms):
        self.wait(lambda: False, ms)

    def records(self):
        text, _ = self.host.ask("records")
        self.taken += [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return self.taken
