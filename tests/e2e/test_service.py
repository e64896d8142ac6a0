# SPDX-License-Identifier: ISC
"""What a service manager hears, and from whom: it believes only the main process, and is told when that is another one."""
import os
import signal
import socket
import struct

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import proc_status, wait_until
from lib.stage import Stage
from lib.upgrade import Replaceable, has_ended

WATCHDOG_USEC = 400000


class Manager:
    """A notification socket as systemd has it: with the sender's process id to each message."""

    def __init__(self, address):
        self.address, self.heard = address, []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)

    def listen(self):
        """All messages so far, as (pid, {name: value})."""
        while True:
            try:
                data, control, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self.heard
            pid = struct.unpack("iII", control[0][2])[0]
            self.heard.append((pid, dict(line.split("=", 1) for line in data.decode().splitlines())))

    def wait(self, name, pid, since=0):
        """The first message from `pid` with this name."""
        return wait_until(lambda: next((words for sender, words in self.listen()[since:] if sender == pid and name in words), None),
                          what=f"{name} from {pid}")

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def address_of(kind, folder):
    return f"@postern-test-{os.getpid()}" if kind == "abstract" else str(folder / "notify")


@pytest.mark.parametrize("kind", ["abstract", "path"])
def test_a_life(kind, tmp_path):
    address = address_of(kind, tmp_path)
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_USEC)}
    with Manager(address) as manager, Stage(program=Replaceable, environment=environment) as stage:
        first = stage.postern.process.pid
        assert manager.wait("READY", first) == {"READY": "1", "MAINPID": str(first), "STATUS": "Serving, generation 1"}
        manager.wait("WATCHDOG", first)
        assert stage.postern.reload(stage.settings).returncode == 0
        reloading = manager.wait("RELOADING", first)
        assert int(reloading["MONOTONIC_USEC"]) > 0
        wait_until(lambda: manager.listen()[-1][1].get("WATCHDOG") or "generation 2" in manager.listen()[-1][1].get("STATUS", ""), what="the end of it")
        assert stage.postern.reload("broken").returncode == 1
        wait_until(lambda: sum("READY" in words for _, words in manager.listen()) == 3, what="it is ready though the reload failed")
        stage.postern.write(stage.settings)
        old = stage.postern.upgrade()
        second = stage.postern.process.pid
        assert manager.wait("MAINPID", second)["READY"] == "1"
        manager.wait("WATCHDOG", second)
        senders = [(pid, words.get("MAINPID")) for pid, words in manager.listen()]
        at = senders.index((first, str(second)))
        assert {pid for pid, _ in senders[:at + 1]} == {first} and {pid for pid, _ in senders[at + 1:]} == {second}
        assert has_ended(old) == 0
        stage.postern.signal(signal.SIGTERM)
        stopping = manager.wait("STOPPING", second)
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 1000000
        assert stage.postern.process.wait(15) == 0


def test_the_new_main_process_is_a_child_of_the_manager():
    """systemd asks whose child it is when it is told, while the old one still drains, and never again; of another's it does not wait for the end. Here we
    are process 1 to it."""
    address = f"@postern-child-{os.getpid()}"
    with Manager(address) as manager, Stage(program=Replaceable, environment={"NOTIFY_SOCKET": address}) as stage, Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        old = stage.postern.upgrade()
        manager.wait("MAINPID", stage.postern.process.pid)
        assert proc_status(stage.postern.process.pid)["PPid"] == str(os.getpid()) and old.poll() is None


def test_a_monitor_that_hangs_gives_no_sign_of_life():
    address = f"@postern-hangs-{os.getpid()}"
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_USEC)}
    with Manager(address) as manager, Stage(environment=environment) as stage:
        pid = stage.postern.process.pid
        manager.wait("WATCHDOG", pid)
        stage.postern.signal(signal.SIGSTOP)
        wait_until(lambda: proc_status(pid)["State"].startswith("T"), what="it to stop")
        before = len(manager.listen())
        with pytest.raises(AssertionError):
            wait_until(lambda: len(manager.listen()) > before, seconds=2 * WATCHDOG_USEC / 1e6)
        stage.postern.signal(signal.SIGCONT)
        manager.wait("WATCHDOG", pid, since=before)
