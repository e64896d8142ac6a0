# SPDX-License-Identifier: ISC
"""The minter: who can have the key of the CA, what it signs and how fast, and what becomes of clients when it dies, hangs or gets another key."""
import os
import re
import signal
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lib import libconfig, tls
from lib.http1 import Client
from lib.postern import POSTERND, PROMPT, ROOT, check_config, children_of, descriptors_of, proc_status, wait_until
from lib.tls_stage import ORIGIN, TLS_PORT, TlsStage, inspector

MANY = 2000
CLIENTS = [f"127.0.0.{last}" for last in range(1, 12)]
BACK_WITHIN = PROMPT
LARGEST_MAPPING = 1 << 28       # those of sanitizers are larger
PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def many(stage_settings):
    """More names than the minter may sign for at once."""
    prefix = stage_settings["resolver"]["servers"][0].rpartition(".")[0]
    path = os.path.join(tls.home(), f"many-{prefix}")
    names = [ORIGIN] + [f"n{number}.many.test" for number in range(MANY)]
    tls.write(path, "".join(f"{prefix}.1 {name}\n" for name in names).encode())
    stage_settings["resolver"]["hosts"] = path


def stage_of_many(**overrides):
    def tune(settings):
        many(settings)
        settings["tls"].update(overrides.pop("tls", {}))
        settings.update(overrides)
    server = tls.root().certify(ORIGIN, "*.many.test")
    return TlsStage(tune=tune, server=server)


def minter(stage):
    return stage.postern.pids("minter")[0]


def status_of(stage):
    return stage.postern.ctl("status")["minter"]


def leaf_of(client):
    return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))


def ask(stage, name=ORIGIN, source=None, context=None):
    """The status of one request, inspected; or the exception that ended it."""
    try:
        with stage.inspected(name, source=source, context=context) as client:
            return client.request("GET", "/", f"{name}:{TLS_PORT}").status
    except (OSError, ConnectionError) as error:
        return error


def signed(stage):
    return re.findall(r"minter: signed a certificate for (\S+), asked by worker \d+", stage.postern.stderr())


# Who can have the key.

def test_it_has_nothing_but_its_sockets():
    with TlsStage() as stage:
        assert ask(stage) == 200
        pid = minter(stage)
        status = proc_status(pid)
        assert {status[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16} or os.getuid() != 0
        assert status["NoNewPrivs"] == "1" and status["VmLck"].split()[0] != "0"
        if os.getuid() == 0:
            assert "0" not in status["Uid"].split()
        network = open("/proc/net/tcp").read() + open("/proc/net/tcp6").read() + open("/proc/net/udp").read()
        owned = descriptors_of(pid)
        sockets = [link for fd, link in owned.items() if fd > 2 and link.startswith("socket:")]
        assert len(sockets) == 2, owned     # the monitor, and one worker
        assert not any(link[8:-1] in network for link in sockets)
        assert [fd for fd, link in owned.items() if fd > 2 and not link.startswith("socket:")] == []
        assert owned[0] == owned[1] == "/dev/null"


def is_sanitized():
    with open(POSTERND, "rb") as file:
        return b"__asan_init" in file.read()


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user")
def test_workers_could_not_open_or_trace_it():
    """A process with the user of a worker tries what a worker that was taken over would."""
    if is_sanitized():
        pytest.skip("a build with the address sanitizer stays traceable")
    with TlsStage() as stage:
        pid, uid = minter(stage), int(proc_status(stage.postern.workers()[0])["Uid"].split()[0])
        assert int(proc_status(pid)["Uid"].split()[0]) == uid
        script = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for path in ("mem", "maps", "environ", "fd", "map_files", "auxv"):
    try:
        (os.listdir if path in ("fd", "map_files") else open)("/proc/{pid}/" + path)
        print("opened", path)
    except PermissionError:
        pass
if libc.ptrace({PTRACE_ATTACH}, {pid}, None, None) == 0:
    print("traced")
data = ctypes.create_string_buffer(8)
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
here, there = Piece(ctypes.addressof(data), 8), Piece(0x400000, 8)
if libc.process_vm_readv({pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0 or ctypes.get_errno() != 1:
    print("read")
print("tried")
"""
        done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, user=uid, group=uid, extra_groups=[])
        assert done.stdout == "tried\n", done.stdout + done.stderr


def memory_has(pid, patterns):
    """Is any of these bytes in the writable memory of a process?"""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if "rw" not in line.split()[1] or last - first > LARGEST_MAPPING:
                continue
            try:
                memory.seek(first)
                held = memory.read(last - first)
            except OSError:
                continue
            if any(pattern in held for pattern in patterns):
                return True
    return False


@pytest.mark.skipif(os.getuid() != 0, reason="reads the memory of others")
def test_nobody_else_has_the_key_in_memory():
    with TlsStage(workers=2) as stage:
        assert ask(stage) == 200
        assert stage.postern.reload(stage.postern.settings).returncode == 0
        assert ask(stage) == 200
        number = inspector().key.private_numbers().private_value
        patterns = [number.to_bytes(32, "big"), number.to_bytes(32, "little"),
                    open(inspector().key_file, "rb").read().splitlines()[1][:60]]
        assert memory_has(minter(stage), patterns), "this test finds nothing anywhere"
        others = [stage.postern.process.pid] + [pid for pid in children_of(stage.postern.process.pid) if pid != minter(stage)]
        assert len(others) >= 5
        assert [pid for pid in others if memory_has(pid, patterns)] == []
        for pid in others[1:]:
            assert not any(inspector().key_file in link for link in descriptors_of(pid).values())


def test_its_memory_has_no_copy_of_the_file():
    """What was read is wiped once the key was made of it."""
    if os.getuid() != 0:
        pytest.skip("reads the memory of others")
    with TlsStage() as stage:
        assert ask(stage) == 200
        assert not memory_has(minter(stage), [open(inspector().key_file, "rb").read().splitlines()[1][:60]])


# The CA.

def make_ca(*arguments):
    return subprocess.run([os.path.join(ROOT, "scripts", "make-ca"), *arguments], capture_output=True, text=True)


def test_make_ca(tmp_path):
    folder = tmp_path / "ca"
    done = make_ca("--name", "A CA: of 'ours'", "--days", "10", str(folder))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"inspect.key", "inspect.pem"}
    assert (folder / "inspect.key").stat().st_mode & 0o777 == 0o600
    made = x509.load_pem_x509_certificate((folder / "inspect.pem").read_bytes())
    assert made.subject.rfc4514_string() == "CN=A CA: of 'ours'"
    assert 9 <= (made.not_valid_after - tls.now()).days <= 10
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    fingerprint = made.fingerprint(hashes.SHA256()).hex(":").upper()
    assert fingerprint in done.stdout and "certutil" in done.stdout
    before = (folder / "inspect.key").read_bytes()
    assert make_ca(str(folder)).returncode != 0 and (folder / "inspect.key").read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["--only", ".x", "F"], ["--only", "a,DNS:b", "F"], ["--days", "ten", "F"], ["--name", "a/CN=b", "F"],
                                       ["--what", "F"], ["F", "G"]], ids=" ".join)
def test_make_ca_refuses(arguments, tmp_path):
    done = make_ca(*[word.replace("F", str(tmp_path / "f")) if word in "FG" else word for word in arguments])
    assert done.returncode != 0
    assert not (tmp_path / "f").exists()


def test_make_ca_never_writes_into_a_repository(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = make_ca(str(tmp_path / "etc"))
    assert done.returncode != 0 and "repository" in done.stderr
    assert not (tmp_path / "etc").exists()


def test_constrained_ca_signs_for_its_domains_alone(tmp_path):
    assert make_ca("--only", ORIGIN, str(tmp_path)).returncode == 0

    def tune(settings):
        settings["tls"].update(inspect_certificate=str(tmp_path / "inspect.pem"), inspect_key=str(tmp_path / "inspect.key"))
    with TlsStage(tune=tune) as stage:
        context = tls.client_context(str(tmp_path / "inspect.pem"))
        assert ask(stage, context=context) == 200
        assert isinstance(ask(stage, "a.test", context=context), (OSError, ConnectionError))
        stage.postern.wait_access(lambda line: line.get("reason") == "mint-failed")
        stage.postern.wait_said("no certificate can be signed for a.test")


# What it signs, and how fast.

def test_leaf_is_as_it_should_be():
    with TlsStage() as stage:
        with stage.inspected() as client:
            leaf = leaf_of(client)
            server = stage.server.x509
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.DNSName(ORIGIN)]
        assert leaf.not_valid_after == server.not_valid_after
        assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        assert leaf.public_key().public_numbers() != server.public_key().public_numbers()
        path = tls.write(os.path.join(tls.home(), "shown.pem"), tls.pem(leaf))
        done = subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", ORIGIN, "-CAfile",
                               inspector().file, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_is_signed_and_said_once():
    with TlsStage(workers=1) as stage:
        for _ in range(5):
            assert ask(stage) == 200
        assert signed(stage) == [ORIGIN]


def test_failing_server_is_said():
    with TlsStage(server=tls.bad_server("expired", ORIGIN, "127.0.0.1")) as stage:
        with stage.inspected() as client:
            subject = leaf_of(client).subject.rfc4514_string()
            assert client.request("GET", "/", stage.target).status == 502
        assert "server's certificate is not good" in subject
        stage.postern.wait_said("(the server's own is not good)")


def test_rate_is_limited():
    """One a second, and two seconds of it saved up; then a client is refused, and later it is not."""
    with stage_of_many(tls={"mint_rate": 1}) as stage:
        begun, good = time.monotonic(), 0
        while (answer := ask(stage, f"n{good}.many.test", CLIENTS[good % 11])) == 200:
            good += 1
            assert good <= 2 + 1 + (time.monotonic() - begun)
        assert good >= 2 and isinstance(answer, (OSError, ConnectionError)), answer
        stage.postern.wait_said("more than 1 certificates a second (tls.mint_rate)")
        stage.postern.wait_access(lambda line: line.get("reason") == "mint-failed")
        assert ask(stage, "n0.many.test") == 200        # kept
        wait_until(lambda: ask(stage, f"n{good}.many.test") == 200, what="another turn")


def test_one_client_cannot_use_it_up():
    with stage_of_many(tls={"mint_rate": 1000}) as stage:
        done = [None] * 120

        def run(first):
            for number in range(first, 120, 8):
                done[number] = ask(stage, f"n{number}.many.test", CLIENTS[0])
        threads = [threading.Thread(target=run, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ask(stage, "n200.many.test", CLIENTS[1]) == 200
        assert done.count(200) >= 64
        if done.count(200) < 120:       # a machine that is slower than sixteen names a second never reaches the limit
            stage.postern.wait_said("127.0.0.1 asks for too many names")


# Its death, and its key.

class NewNames:
    """Clients that ask for names that nobody asked for before, each until it is answered."""

    def __init__(self, stage, threads=4):
        self.stage, self.results, self.running = stage, [], True
        self.threads = [threading.Thread(target=self._run, args=(first, threads)) for first in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, first, step):
        for number in range(first, MANY, step):
            answer = None
            while self.running and answer != 200:
                answer = ask(self.stage, f"n{number}.many.test", CLIENTS[number % 11])
                self.results.append(answer)

    def good(self):
        return self.results.count(200)

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join()


def kill_and_wait(stage):
    before = minter(stage)
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: (status := status_of(stage))["ready"] and status["pid"] not in (None, before), what="a new minter")
    return time.monotonic() - began


def test_a_killed_minter_is_replaced_under_load():
    """Three times in a row: names that wait for it are refused, everything else goes on, and it is back within a second."""
    with stage_of_many(tls={"mint_rate": 1000}) as stage:
        workers = stage.postern.workers()
        with stage.inspected() as kept:
            load = NewNames(stage)
            for turn in range(1, 4):
                good = load.good()
                wait_until(lambda: load.good() > good + 5, what="load")
                assert kill_and_wait(stage) < BACK_WITHIN
                assert kept.request("GET", "/", stage.target).status == 200
                assert status_of(stage)["restarts"] == turn
            good = load.good()
            wait_until(lambda: load.good() > good + 5, what="load after the kills")
            load.stop()
        assert all(answer == 200 or isinstance(answer, (OSError, ConnectionError)) for answer in load.results)
        assert stage.postern.workers() == workers
        assert {line["reason"] for line in stage.postern.access() if line.get("reason") not in (None, "", "none", "ok")} <= {"mint-failed"}


def test_reloads_under_load_refuse_nobody():
    """The key is sent, checked and taken up again each time, and every worker begins to ask anew."""
    with stage_of_many(tls={"mint_rate": 1000}) as stage:
        pid = minter(stage)
        load = NewNames(stage)
        for _ in range(10):
            good = load.good()
            wait_until(lambda: load.good() > good + 5, what="load")
            assert stage.postern.reload(stage.postern.settings).returncode == 0
        load.stop()
        assert set(load.results) == {200}, set(map(str, load.results))
        assert minter(stage) == pid


def test_a_hanging_minter_holds_up_nobody_else():
    with stage_of_many(timeouts={"handshake": 1.0, "drain": 1.0}) as stage:
        assert ask(stage) == 200
        os.kill(minter(stage), signal.SIGSTOP)
        try:
            assert ask(stage) == 200                                        # kept
            assert isinstance(ask(stage, "n0.many.test"), (OSError, ConnectionError))   # refused, not passed on
            with Client(stage.at("proxy")) as client:
                assert client.request("GET", f"http://{ORIGIN}:8000/", f"{ORIGIN}:8000").status == 200
        finally:
            os.kill(minter(stage), signal.SIGCONT)
        wait_until(lambda: ask(stage, "n0.many.test") == 200, what="a leaf")


def test_it_ends_with_the_monitor():
    with TlsStage() as stage:
        pid = minter(stage)
        stage.postern.process.kill()
        stage.postern.process.wait()
        wait_until(lambda: not proc_status(pid).get("State", "Z").startswith(("R", "S", "D")), what="its end")


def test_it_stops_cleanly():
    with TlsStage() as stage:
        assert ask(stage) == 200
        stage.postern.signal(signal.SIGTERM)
        assert stage.postern.process.wait(10) == 0
        assert "minter died" not in stage.postern.stderr() and "minter ended" not in stage.postern.stderr()


def with_ca(stage, authority, **more):
    return {**stage.postern.settings, "tls": {"trust": tls.root().file, "inspect_certificate": authority.file,
                                              "inspect_key": authority.key_file, **more}}


def test_reload_brings_another_key():
    with TlsStage() as stage:
        pid = minter(stage)
        other = tls.Authority("Another inspection CA")
        assert ask(stage) == 200
        done = stage.postern.reload(with_ca(stage, other))
        assert done.returncode == 0, done.stderr
        assert isinstance(ask(stage), ssl.SSLError)     # it does not trust the other one
        assert ask(stage, context=tls.client_context(other.file)) == 200
        assert minter(stage) == pid


@pytest.mark.parametrize("what,sentence", [
    ("key", "the key is not that of the certificate"),
    ("leaf", "the certificate is not of a CA"),
    ("expired", "the certificate has expired"),
    ("garbage", "the key cannot be read"),
])
def test_bad_key_is_refused_and_the_old_one_stays(what, sentence):
    ca = tls.Authority("Other CA", days=-0.5 if what == "expired" else 30)
    pair = ca.certify("leaf.test", fresh=True)
    files = {"key": (inspector().file, ca.key_file), "leaf": (pair.certificate, pair.key), "expired": (ca.file, ca.key_file),
             "garbage": (inspector().file, tls.write(os.path.join(tls.home(), "garbage.key"), b"no key\n", 0o600))}[what]
    with TlsStage() as stage:
        assert ask(stage) == 200
        bad = {**stage.postern.settings, "tls": {"trust": tls.root().file, "inspect_certificate": files[0], "inspect_key": files[1]}}
        done = stage.postern.reload(bad)
        assert done.returncode != 0
        assert re.search(r"postern\.conf:\d+: tls\.inspect_key: .*" + sentence, done.stdout + done.stderr), done.stdout + done.stderr
        assert ask(stage, "a.test") == 200      # a new name: the old key signs
        assert status_of(stage)["ready"]
        checked = check_config(libconfig.text_of(bad))
        assert checked.returncode != 0 and sentence in checked.text, checked.text


def test_start_with_a_bad_key_fails():
    def tune(settings):
        settings["tls"]["inspect_key"] = tls.Authority("Other CA").key_file
    with pytest.raises(AssertionError, match=r"postern\.conf:\d+: tls\.inspect_key: .*the key is not that of the certificate"):
        TlsStage(tune=tune)


def test_inspection_goes_and_comes_with_reloads():
    with TlsStage() as stage:
        settings = dict(stage.postern.settings)
        without = {**settings, "tls": {"trust": tls.root().file},
                   "policies": [{**policy, "protocols": ["http", "websocket", "tls"]} if policy.pop("tls", None) else policy
                                for policy in (dict(policy) for policy in settings["policies"])]}
        assert ask(stage) == 200
        assert stage.postern.reload(without).returncode == 0
        wait_until(lambda: not stage.postern.pids("minter"), what="its end")
        assert "minter" not in stage.postern.ctl("status")
        with stage.inspected(context=tls.client_context(tls.root().file)) as client:     # the origin's own certificate
            assert client.request("GET", "/", stage.target).status == 200
        assert stage.postern.reload(settings).returncode == 0
        assert status_of(stage)["ready"]
        assert ask(stage) == 200
        assert "minter died" not in stage.postern.stderr() and "minter ended" not in stage.postern.stderr()


def test_key_that_was_replaced_in_place_while_it_runs_needs_a_reload():
    """The monitor keeps the file open: a restarted minter has the same key as before, not what lies at its path now."""
    with TlsStage() as stage:
        assert ask(stage) == 200
        other = tls.Authority("Never loaded")
        kept = inspector().key_file + ".kept"
        os.rename(inspector().key_file, kept)
        try:
            tls.write(inspector().key_file, open(other.key_file, "rb").read(), 0o600)
            kill_and_wait(stage)
            assert ask(stage, "b.test") == 200
        finally:
            os.rename(kept, inspector().key_file)
