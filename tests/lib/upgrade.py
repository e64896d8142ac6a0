# SPDX-License-Identifier: ISC
"""A posternd whose binary is replaced while it runs: the process that follows is nobody's child that we started, but it is ours to end and to wait for."""
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import time

from .postern import PATIENCE, POSTERND, Postern, proc_status, wait_until

PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None)


class Successor:
    """As much of subprocess.Popen as Postern needs, of a process that becomes our child when its own parent ends."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is not None:
            return self.returncode
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        if self.returncode is None and not proc_status(self.pid):
            self.returncode = -1
        return self.returncode

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("posternd", timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(9)


class Replaceable(Postern):
    """Runs a copy of the program, in its own folder, so that a test can put something else in its place."""

    def __init__(self, settings, start=True, **options):
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.old = []
        super().__init__(settings, start=False, **options)
        self.binary = os.path.join(self.folder, "posternd")
        self.replace()
        if start:
            self.start()

    def replace(self, script=None, source=POSTERND):
        """A copy of `source`, or a shell script, where the program lies. As an installer does it: a new file under the old name."""
        new = self.binary + ".new"
        if script is None:
            shutil.copy(source, new)
        else:
            with open(new, "w") as file:
                file.write(f"#!/bin/sh\n{script}\n")
            os.chmod(new, 0o755)
        os.rename(new, self.binary)

    def follow(self, pid):
        """From now on this is the process that is meant."""
        self.old.append(self.process)
        self.process = Successor(pid)

    def upgrade(self, patience=PATIENCE):
        """By posternctl; the old process, which drains."""
        self.follow(json.loads(self.ctl_run("--json", "upgrade", check=True, timeout=patience).stdout)["pid"])
        return self.old[-1]

    def pid_file(self):
        with open(os.path.join(self.runtime_dir, "posternd.pid")) as file:
            return int(file.read())

    def stop(self):
        for process in self.old:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            if process.poll() is None:
                process.send_signal(15)
                process.wait(15)
        super().stop()

    def kill(self):
        for process in self.old:
            if process.poll() is None:
                process.kill()
        super().kill()


def has_ended(process, drain=0):
    """Its exit status, once there is one: what is open may stay for `drain` seconds."""
    wait_until(lambda: process.poll() is not None, drain + PATIENCE, "the old posternd to end")
    return process.returncode
