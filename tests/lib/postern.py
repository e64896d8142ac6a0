# SPDX-License-Identifier: ISC
"""One posternd under test: started with a configuration of the test's own, watched, and stopped.

Everything it makes lies in one temporary folder. Whatever a sanitizer says on standard error fails the test that stops it,
and so does a process that its sandbox killed.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import libconfig

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("POSTERN_BUILD", os.path.join(ROOT, "build", "dev"))
POSTERND = os.path.join(BUILD, "posternd")
POSTERNCTL = os.path.join(BUILD, "posternctl")
# What sanitizers say, and the monitor of a process that its sandbox killed: replaced at once, it would not be missed.
SANITIZER = re.compile(r"ERROR: (?:Address|Leak|Memory|Thread)Sanitizer|runtime error:|DEADLYSIGNAL|system call that its sandbox does not allow")
# The slowest thing that still counts as working on a busy machine; conditions are polled, so it is only waited for by what fails. Machines that
# are shared stood still for half a minute.
PATIENCE = 60.0
# What is done at once takes less than this on a machine that also does other things; on an idle one it is a tenth of it.
PROMPT = 5.0
PR_SET_PDEATHSIG = 1
# For tests that look at memory: what was freed is kept by a sanitizer; with little of that the rest of the growth is ours.
SMALL_QUARANTINE = {"ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
LIBC = ctypes.CDLL(None)


def wait_until(condition, seconds=PATIENCE, what="the condition"):
    """Polls until `condition` returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.01)


def die_with_parent():
    """A killed test leaves no program behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def descriptors_of(pid):
    """{number: what it is open on}; one that is closed meanwhile is left out."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def proc_status(pid):
    """/proc/PID/status as a dict; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def rss_kib(pid):
    return int(proc_status(pid).get("VmRSS", "0 kB").split()[0])


def role_of(pid):
    """What a process of ours is, by its title: "worker", "logger", "control"; None if it is gone."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            title = file.read().strip()
    except OSError:
        return None
    return "worker" if re.fullmatch(r"postern-w\d+", title) else title.removeprefix("postern-")


class Postern:
    """`namespace`: where it runs, a lib.netns.Namespace."""

    def __init__(self, settings, binary=POSTERND, arguments=(), environment=None, start=True, namespace=None):
        self.folder = tempfile.mkdtemp(prefix="postern-test-")
        os.chmod(self.folder, 0o755)
        self.config = os.path.join(self.folder, "postern.conf")
        self.access_log = os.path.join(self.folder, "access.jsonl")
        self.runtime_dir = os.path.join(self.folder, "run")
        self.control_socket = os.path.join(self.runtime_dir, "control.sock")
        self.binary, self.arguments, self.environment = binary, list(arguments), environment
        self.namespace = namespace
        self.process = None
        self._said, self._heard_all = bytearray(), threading.Event()
        self.settings = {}
        self.write(settings)
        if start:
            self.start()

    # Configuration.

    def write(self, settings):
        """`settings` is a dict, completed by the paths of this instance, or the text itself."""
        if isinstance(settings, dict):
            whole = {"runtime_dir": self.runtime_dir, "log": {"level": "info", "access": self.access_log}}
            if os.getuid() == 0:
                whole["user"] = "nobody"
            for key, value in settings.items():
                if key == "log":
                    whole["log"].update(value)
                else:
                    whole[key] = value
            self.settings = whole
            settings = libconfig.text_of(whole)
        with open(self.config, "w") as file:
            file.write(settings)
        os.chmod(self.config, 0o644)

    # Life.

    def start(self):
        environment, before = dict(os.environ, **(self.environment or {})), len(self._said)
        environment.setdefault("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1")
        with self.namespace or contextlib.nullcontext():
            self.process = subprocess.Popen([self.binary, "-c", self.config, *self.arguments], stderr=subprocess.PIPE,
                                            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder, preexec_fn=die_with_parent)
        before = len(self.stderr())  # of a process that ran before
        listener = threading.Thread(target=self._listen, args=[self.process.stderr], daemon=True)
        listener.start()
        try:
            wait_until(lambda: self.process.poll() is not None or re.search(r"\bready\b", self.stderr()[before:]), what="ready")
        except AssertionError:
            self.kill()
            raise AssertionError(f"posternd did not get ready:\n{self.stderr()}") from None
        if self.process.poll() is not None:
            listener.join(PATIENCE)
            raise AssertionError(f"posternd ended with {self.process.returncode}:\n{self.stderr()}")
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """At once, with all its processes; for what went wrong."""
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def stop(self):
        """TERM, then INT (stop now) if streams are still draining. Fails if it does not end, ends badly, or a sanitizer spoke."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(1)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"posternd did not stop:\n{self.stderr()[-4000:]}") from None
        self.check_sanitizers()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self):
        try:
            self.stop()
        finally:
            self.remove()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
            return
        print(self.stderr()[-6000:])
        if self.process and self.process.poll() is None:
            self.kill()
        self.remove()

    # What it says.

    def _listen(self, stream):
        """Standard error is a pipe, as under a service manager."""
        while data := os.read(stream.fileno(), 65536):
            self._said += data
        self._heard_all.set()

    def stderr(self):
        return bytes(self._said).decode(errors="replace")

    def wait_said(self, text):
        """Until it is on standard error, which comes through a pipe that a thread reads."""
        try:
            wait_until(lambda: text in self.stderr())
        except AssertionError:
            raise AssertionError(f"{text!r} was not said:\n{self.stderr()[-4000:]}") from None

    def forget_stderr(self):
        """For tests that make a process crash: what was said of it is no finding."""
        self._said.clear()

    def sanitizer_output(self):
        text = self.stderr()
        found = SANITIZER.search(text)
        return text[found.start():found.start() + 3000] if found else ""

    def check_sanitizers(self):
        self._heard_all.wait(PATIENCE)
        found = self.sanitizer_output()
        assert not found, f"sanitizer, or sandbox:\n{found}"

    def access(self):
        """Every line of the access log so far."""
        try:
            with open(self.access_log) as file:
                return [json.loads(line) for line in file.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []

    def wait_access(self, fits, seconds=PATIENCE):
        """The first line that `fits`, once it is written."""
        return wait_until(lambda: next((line for line in self.access() if fits(line)), None), seconds, "the line in the access log")

    def record_of(self, port, **facts):
        """The first line about the client at this port (which lib/dial.py gave it) with these facts, once it is written. Of a tuple, any."""
        def of_client(line):
            return line.get("client", "").endswith(f":{port}")

        def fits(line):
            return of_client(line) and all(line.get(key) in (value if isinstance(value, tuple) else (value,)) for key, value in facts.items())
        try:
            return self.wait_access(fits)
        except AssertionError:
            raise AssertionError(f"no record with {facts} among {list(filter(of_client, self.access()))}") from None

    # Processes.

    def processes(self):
        """pid -> role of the processes that the monitor started."""
        return {pid: role_of(pid) for pid in children_of(self.process.pid)}

    def pids(self, role):
        return sorted(pid for pid, found in self.processes().items() if found == role)

    def workers(self):
        return self.pids("worker")

    def waits(self):
        """Where each process waits, for who has to find out why something does not come."""
        found = []
        for pid, role in [(self.process.pid, "monitor"), *self.processes().items()]:
            try:
                said = [open(f"/proc/{pid}/{name}").read().strip() for name in ("wchan", "syscall")]
            except OSError as error:
                said = [str(error)]
            found.append(" ".join([role, str(pid), proc_status(pid).get("State", "gone"), *said]))
        return "\n".join(found)

    # Control.

    def ctl_run(self, *arguments, check=False, timeout=PATIENCE):
        try:
            done = subprocess.run([POSTERNCTL, "-s", self.control_socket, *arguments], capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            print(self.waits())
            raise
        if check:
            assert done.returncode == 0, f"posternctl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done

    def ctl(self, *arguments):
        """The JSON answer of a command; a list if it is one object a line."""
        text = self.ctl_run("--json", *arguments, check=True).stdout
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines() if line]

    def reload(self, settings=None):
        if settings is not None:
            self.write(settings)
        return self.ctl_run("reload")


def check_config(text, arguments=("-n",), binary=POSTERND, folder=None, name="postern.conf", mode=0o644):
    """posternd -n over a configuration's text: the finished process, with `.text` set to what it said on either stream."""
    own = folder or tempfile.mkdtemp(prefix="postern-conf-")
    path = os.path.join(own, name)
    try:
        if not isinstance(text, str):
            text = libconfig.text_of(text)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        done = subprocess.run([binary, *arguments, "-c", path], capture_output=True, text=True, timeout=PATIENCE)
        done.text = done.stdout + done.stderr
        return done
    finally:
        if folder is None:
            shutil.rmtree(own, ignore_errors=True)
