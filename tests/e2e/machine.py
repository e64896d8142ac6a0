# SPDX-License-Identifier: ISC
"""A machine of the test's own: namespaces, systemd as process 1, and Postern installed from a package (service_machine.sh)."""
import os
import signal
import subprocess

from lib.postern import PATIENCE, ROOT, wait_until

UNSHARED = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
SOCKET = "/run/postern/control.sock"


class Machine:
    def __init__(self, folder, package):
        self._log = open(os.path.join(folder, "said"), "w+")
        root = os.path.join(folder, "root")
        os.mkdir(root)
        script = os.path.join(ROOT, "tests", "e2e", "service_machine.sh")
        self._outside = subprocess.Popen([*UNSHARED, script, root, package], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._init = wait_until(self._first, what="a first process")
        wait_until(self._is_up, what="a machine that is up")

    def _first(self):
        with open(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children") as file:
            return int((file.read().split() or ["0"])[0])

    def _is_up(self):
        if self._outside.poll() is not None:
            self._log.seek(0)
            raise AssertionError(f"the machine ended: {self._log.read()}")
        with open(f"/proc/{self._init}/comm") as file:
            return file.read().strip() == "systemd" and "running" in self.run("systemctl", "is-system-running").stdout

    def run(self, *command, **options):
        inside = ["nsenter", "-t", str(self._init), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=PATIENCE, check=False, **options)

    def good(self, *command, **options):
        """What it prints; it must succeed."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def write(self, path, text, more=False):
        self.good("sh", "-c", f'mkdir -p "$(dirname {path})" && cat {">>" if more else ">"} {path}', input=text)

    def systemctl(self, *arguments):
        return self.good("systemctl", *arguments)

    def unit(self, name):
        """A property of the service."""
        return self.systemctl("show", "postern", "--value", "-p", name).strip()

    def has(self, **properties):
        return all(self.unit(name) == value for name, value in properties.items())

    def postern(self, *arguments):
        return self.good("posternctl", "-s", SOCKET, *arguments)

    def journal(self):
        return self.run("journalctl", "-u", "postern", "--no-pager").stdout[-4000:]

    def close(self):
        os.kill(self._init, signal.SIGKILL)
        self._outside.wait(PATIENCE)
        self._log.close()
