# SPDX-License-Identifier: ISC
"""Loopback networks for tests that run side by side.

Each holder has 127.X.Y.0/24 to itself while it lives: fixed ports on it collide with nobody, neither with another test nor with
ephemeral ports (a client's source address is 127.0.0.1). The lock is the kernel's, so a killed test leaves nothing behind; what
its programs still listen on while they die is passed over.
"""
import fcntl
import os
import tempfile


LISTEN = "0A"


def is_listened_on(prefix):
    """Whether the kernel still has a listening socket of somebody in this network."""
    network = "".join(f"{int(part):02X}" for part in reversed(prefix.split(".")))
    with open("/proc/net/tcp") as file:
        rows = (line.split() for line in file)
        return any(row[3] == LISTEN and row[1][2:8] == network for row in rows)


class Lease:
    def __init__(self):
        folder = os.path.join(tempfile.gettempdir(), f"postern-leases-{os.getuid()}")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for number in range(1, 4000):
            self._fd = os.open(os.path.join(folder, str(number)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._fd)
                continue
            # Users do not share lock files, so they do not share the second byte either.
            self.prefix = f"127.{100 + number // 250 + 20 * (os.getuid() % 7)}.{1 + number % 250}"
            if not is_listened_on(self.prefix):
                return
            self.release()
        raise RuntimeError("no loopback network is free")

    def address(self, host):
        return f"{self.prefix}.{host}"

    def release(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
