# SPDX-License-Identifier: ISC
"""A new binary in place of the one that runs: what goes on, what changes hands, and what a binary that fails leaves as it was."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib import ws
from lib.control import Control
from lib.http1 import Client
from lib.lease import Lease
from lib.postern import POSTERND, children_of, descriptors_of, proc_status, role_of, wait_until
from lib.stage import Stage
from lib.upgrade import Replaceable, has_ended

from load import Load

DRAIN = {"timeouts": {"drain": 10.0}}


def replaceable(**settings):
    return Stage(program=Replaceable, **{**DRAIN, **settings})


def get(client, stage, path="/"):
    return client.request("GET", f"{stage.url}{path}", stage.origin_authority)


@contextlib.contextmanager
def closing_lease():
    lease = Lease()
    try:
        yield lease
    finally:
        lease.release()


def open_socket(stage):
    client = Client(stage.proxy)
    client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
    assert client.response().status == 101
    return client


def echo(client, text):
    client.send(ws.frame(ws.TEXT, text, mask=True))
    client.read_until(lambda data: (ws.TEXT, text) in ws.messages_in(ws.frames_in(data)))


def test_nothing_is_lost_whatever_the_number_of_workers_becomes():
    """Kept connections get their answers, and a new one when they were told to go; the sockets that are too many lose nobody."""
    with replaceable(workers=3) as stage:
        load = Load(stage, threads=6, per_connection=5)
        wait_until(lambda: load.answered > 50, what="load")
        for workers in (1, 4, 4):
            stage.postern.write({**stage.settings, "workers": workers})
            old, answered = stage.postern.upgrade(), load.answered
            assert has_ended(old) == 0
            assert len(stage.postern.workers()) == workers
            wait_until(lambda: load.answered > answered + 50, what="load behind the upgrade")
        load.stop()
        assert not load.refused and not load.wrong and not load.cut


def test_a_kept_connection_is_told_to_go_and_a_waiting_one_is_served():
    with replaceable() as stage, Client(stage.proxy) as kept, Client(stage.proxy) as silent:
        assert get(kept, stage).value("connection") is None
        wait_until(lambda: stage.postern.ctl("status")["sessions"]["open"] == 2, what="both connections")
        old = stage.postern.upgrade()
        for client in (kept, silent):
            answer = get(client, stage)
            assert answer.status == 200 and answer.value("connection") == "close"
            client.wait_close()
        assert has_ended(old) == 0


def test_websockets_stay_until_the_drain_is_over():
    """... are listed as draining, and end with 1012."""
    with replaceable(timeouts={"drain": 2.0}) as stage, open_socket(stage) as client:
        echo(client, b"before")
        number = stage.postern.ctl("sessions")["sessions"][0]["id"]
        old = stage.postern.upgrade()
        with Client(stage.proxy) as fresh:
            get(fresh, stage)
            rows = stage.postern.ctl("sessions")["sessions"]
            assert {row["state"] for row in rows if row["id"] == number} == {"DRAINING"}
            assert len({row["id"] for row in rows}) == 2
            assert stage.postern.ctl("sessions", "state=DRAINING")["sessions"][0]["phase"] == "websocket"
            assert stage.postern.ctl("show", number)["session"]["state"] == "DRAINING"
            assert stage.postern.ctl("status")["draining"] == {"pid": old.pid, "sessions": 1}
        echo(client, b"after")
        refused = stage.postern.ctl_run("upgrade")
        assert refused.returncode == 1 and "still drains" in refused.stderr
        client.wait_close()
        frames = ws.frames_in(bytes(client.received[client.offset:]))
        assert [frame.close_code for frame in frames if frame.op == ws.CLOSE] == [1012]
        assert has_ended(old) == 0
        wait_until(lambda: "draining" not in stage.postern.ctl("status"), what="the old table to be forgotten")
        assert not stage.postern.ctl("sessions", "state=DRAINING")["sessions"]


def test_what_drains_can_be_ended():
    """By its number, and with others that fit; what is not meant goes on."""
    with replaceable(workers=2, timeouts={"drain": 60.0}) as stage, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(stage)) for _ in range(4)]
        numbers = {}
        for client in clients:
            [row] = [row for row in stage.postern.ctl("sessions")["sessions"] if row["client"] == name_of(client)]
            numbers[client] = row["id"]
        old = stage.postern.upgrade()
        fresh = stack.enter_context(open_socket(stage))
        wait_until(lambda: len(stage.postern.ctl("sessions")["sessions"]) == 5, what="the rows of both")
        one, two, *rest = clients
        assert stage.postern.ctl("kill", numbers[one]) == {"killed": 1, "draining": 1}
        check_killed(stage, one, numbers[one])
        said = stage.postern.ctl_run("kill", f"client={name_of(two)}")
        assert said.returncode == 0 and "1 that drain" in said.stdout, said
        check_killed(stage, two, numbers[two])
        for client in (*rest, fresh):
            echo(client, b"not meant")
        assert stage.postern.ctl("kill", "state=DRAINING") == {"killed": 2, "draining": 2}
        for client in rest:
            check_killed(stage, client, numbers[client])
        assert has_ended(old) == 0
        assert stage.postern.ctl("kill", "protocol=websocket") == {"killed": 1}
        fresh.wait_close()


def name_of(client):
    return "%s:%d" % client.socket.getsockname()


def check_killed(stage, client, number):
    client.wait_close()
    frames = ws.frames_in(bytes(client.received[client.offset:]))
    assert [frame.close_code for frame in frames if frame.op == ws.CLOSE] == [1008]
    stage.postern.wait_access(lambda line: line["session"] == number and line.get("reason") == "killed")
    client.close()
    wait_until(lambda: number not in {row["id"] for row in stage.postern.ctl("sessions")["sessions"]}, what="the end of its row")


def test_what_there_is_one_of_changes_hands():
    """The control socket, the admin listener, the file with the process id, the access log; and a new configuration is in force."""
    with closing_lease() as lease:
        admin = f"{lease.prefix}.9:9100"
        with replaceable(admin={"address": admin}) as stage:
            stop, failures = threading.Event(), []

            def ask():
                while not stop.is_set():
                    try:
                        if stage.postern.ctl_run("status").returncode != 0:
                            failures.append("posternctl")
                        with Client(admin) as client:
                            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                            if client.response().status != 200:
                                failures.append("not healthy")
                    except OSError as error:
                        failures.append(error)
            asking = threading.Thread(target=ask)
            asking.start()
            before = stage.postern.ctl("status")
            assert stage.postern.pid_file() == before["pid"]
            stage.postern.write({**stage.settings, "policies": [{"name": "none", "action": "deny"}]})
            old = stage.postern.upgrade()
            after = wait_until(lambda: (now := stage.postern.ctl("status"))["pid"] != before["pid"] and now, what="the new control process")
            assert after["pid"] == stage.postern.process.pid == stage.postern.pid_file() and after["generation"] == before["generation"] + 1
            with Client(stage.proxy) as client:
                assert get(client, stage, "/new").status == 403
            stage.postern.wait_access(lambda line: line.get("path") == "/new")
            assert has_ended(old) == 0
            stop.set()
            asking.join()
            assert not failures
            assert os.path.exists(stage.postern.control_socket) and stage.postern.pid_file() == after["pid"]


def test_by_signal_twice():
    with replaceable(workers=2) as stage, Client(stage.proxy) as client:
        get(client, stage)
        for _ in range(2):
            before = stage.postern.pid_file()
            stage.postern.signal(signal.SIGUSR2)
            stage.postern.follow(wait_until(lambda: (now := stage.postern.pid_file()) != before and now, what="a new process"))
            with Client(stage.proxy) as fresh:
                assert get(fresh, stage).status == 200
            if client:
                assert get(client, stage).value("connection") == "close"
                client = None
            assert has_ended(stage.postern.old[-1]) == 0


def gated(stage):
    """The next new posternd waits at this gate before it begins."""
    gate = os.path.join(stage.postern.folder, "gate")
    os.mkfifo(gate)
    stage.postern.replace(script=f'read line < {gate}\nexec {POSTERND} "$@"')
    return gate


@pytest.mark.parametrize("by", ["signal", "posternctl"])
def test_a_reload_meanwhile_is_the_new_ones(by):
    """What the new one was given must not change; and what it may have read too early it reads again."""
    with replaceable() as stage, Control(stage.postern.control_socket) as asker, Control(stage.postern.control_socket) as other:
        gate = gated(stage)
        stage.postern.signal(signal.SIGUSR2)
        new = int(wait_until(lambda: re.search(r"started as process (\d+)", stage.postern.stderr()), what="the new one")[1])
        if by == "signal":
            stage.postern.signal(signal.SIGHUP)
        else:
            asker.send(b'{"command":"reload"}\n')
        assert other.ask("status")["pid"] != new             # behind the question
        with open(gate, "w") as file:
            file.write("go\n")
        stage.postern.follow(new)
        wait_until(lambda: (now := stage.postern.ctl("status"))["pid"] == new and now["generation"] == 3, what="the new one's own reload")
        if by == "posternctl":
            assert "another posternd serves now" in asker.line()["errors"][0]
        assert has_ended(stage.postern.old[-1]) == 0


def test_the_sockets_are_as_they_were_when_the_new_one_is_gone():
    """Its configuration does not ask by which interface somebody came; the old one's does, and goes on."""
    with replaceable() as stage:
        [client, origin] = stage.settings["zones"]
        assert stage.postern.reload({**stage.settings, "zones": [{**client, "interfaces": ["lo"]}, origin]}).returncode == 0
        with Client(stage.proxy) as before:
            assert get(before, stage).status == 200
        stage.postern.write({**stage.settings, "zones": [client, origin]})
        gate = gated(stage)
        stage.postern.signal(signal.SIGUSR2)
        new = int(wait_until(lambda: re.search(r"started as process (\d+)", stage.postern.stderr()), what="the new one")[1])
        stage.postern.signal(signal.SIGSTOP)
        with open(gate, "w") as file:
            file.write("go\n")
        wait_until(lambda: "worker" in {role_of(pid) for pid in children_of(new)}, what="workers behind its sockets")
        os.kill(new, signal.SIGKILL)
        wait_until(lambda: are_gone([new]), what="the new one to end")
        stage.postern.signal(signal.SIGCONT)
        wait_until(lambda: "upgrade failed" in stage.postern.stderr(), what="the end of the new one")
        with Client(stage.proxy) as after:
            assert get(after, stage).status == 200


@contextlib.contextmanager
def lent(stage):
    """The new posternd accepts beside the old one, and one of its workers is stopped, so that it cannot say that it serves. Its pid."""
    gate, old = gated(stage), stage.postern.process.pid
    stage.postern.wait_said("monitor: ready: ")           # debug lines have that word earlier
    stage.postern.signal(signal.SIGUSR2)
    new = int(wait_until(lambda: re.search(r"started as process (\d+)", stage.postern.stderr()), what="the new one")[1])
    ready = stage.postern.stderr().count("worker ready")
    os.kill(old, signal.SIGSTOP)
    with open(gate, "w") as file:
        file.write("go\n")
    wait_until(lambda: stage.postern.stderr().count("worker ready") == ready + stage.settings["workers"], what="its workers")
    held = next(pid for pid in children_of(new) if role_of(pid) == "worker")
    wait_until(lambda: proc_status(held)["State"].startswith("S"), what="a worker that waits")
    os.kill(held, signal.SIGSTOP)
    try:
        os.kill(old, signal.SIGCONT)
        wait_until(lambda: "accepts beside this one" in stage.postern.stderr(), what="both to accept")
        yield new
    finally:
        os.kill(held, signal.SIGCONT)
        stage.postern.replace()


def are_gone(pids):
    return all(proc_status(pid).get("State", "Z").startswith("Z") for pid in pids)


LENDING = {"workers": 2, "log": {"level": "debug"}, "timeouts": {"drain": 10.0, "stall": 60.0}}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_new_one_that_ends_right_behind_its_start(number):
    """It accepts already, and so does the old one, as if nothing had been: nobody is refused or cut, and the next upgrade is as any."""
    with replaceable(**LENDING) as stage, open_socket(stage) as client, Client(stage.proxy) as kept:
        load = Load(stage, threads=3, per_connection=5)
        before = stage.postern.ctl("status")
        with lent(stage) as new:
            answered, children = load.answered, children_of(new)
            wait_until(lambda: load.answered > answered + 50, what="load while both accept")
            assert stage.postern.ctl("status")["pid"] == stage.postern.pid_file() == before["pid"]
            assert "under way" in stage.postern.ctl_run("upgrade").stderr
            os.kill(new, number)
            if number == signal.SIGKILL:
                stage.postern.wait_said("the new posternd died of signal 9")
        stage.postern.wait_said("upgrade failed: this posternd stays")
        wait_until(lambda: are_gone(children), what="the end of its children")
        answered = load.answered
        wait_until(lambda: load.answered > answered + 50, what="load behind it")
        assert get(kept, stage).value("connection") is None
        echo(client, b"still here")
        with Client(stage.proxy) as fresh:
            assert get(fresh, stage).value("connection") is None
        after = stage.postern.ctl("status")
        assert (after["pid"], after["state"]) == (before["pid"], "serving") and stage.postern.pid_file() == before["pid"]
        assert [worker["pid"] for worker in after["workers"]] == [worker["pid"] for worker in before["workers"]]
        client.close()
        assert get(kept, stage).status == 200
        old = stage.postern.upgrade()
        kept.close()
        assert has_ended(old) == 0
        load.stop()
        assert not load.refused and not load.wrong and not load.cut


def test_the_log_is_rotated_while_both_accept():
    """The new one opened it before; it must not go on in the old file."""
    with replaceable(**LENDING) as stage:
        with lent(stage) as new:
            os.rename(stage.postern.access_log, stage.postern.access_log + ".1")
            assert log_of(new) == stage.postern.access_log + ".1"
            stage.postern.signal(signal.SIGUSR1)
            for pid in (stage.postern.process.pid, new):
                wait_until(lambda pid=pid: log_of(pid) == stage.postern.access_log, what="the new log")
            stage.postern.follow(new)
        assert has_ended(stage.postern.old[-1]) == 0


def test_stopped_while_both_accept():
    with replaceable(**LENDING) as stage:
        with lent(stage) as new:
            stage.postern.signal(signal.SIGTERM)
            stage.postern.wait_said("monitor: draining")
        assert stage.postern.process.wait(15) == 0
        assert not os.path.exists(f"/proc/{new}")
        assert not os.listdir(stage.postern.runtime_dir)


def test_numbers_of_sessions_are_not_used_again():
    with replaceable() as stage:
        for path in ("/before", "/after"):
            with Client(stage.proxy) as client:
                get(client, stage, path)
            stage.postern.wait_access(lambda line, path=path: line.get("path") == path)
            has_ended(stage.postern.upgrade())
        lines = [line for line in stage.postern.access() if line.get("path")]
        assert len({line["session"] for line in lines}) == len(lines) == 2


BROKEN = {
    "ends": ("exit 3", "status 3"),
    "dies": ("kill -9 $$", "signal 9"),
    "hangs": ("exec sleep 1000", "timeouts.upgrade"),
    "is older": ('unset POSTERN_UPGRADE; exec "%s" "$@"', "status 1"),
    "has no descriptors": ('ulimit -n 25; exec "%s" "$@"', None),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_new_binary_that_fails_leaves_the_old_one(what):
    with replaceable(timeouts={"drain": 10.0, "upgrade": 1.0 if what == "hangs" else 30.0}) as stage, open_socket(stage) as client:
        script, why = BROKEN[what]
        before = stage.postern.ctl("status")
        stage.postern.replace(script=script.replace("%s", POSTERND))
        check_fails(stage, client, why, before)


def check_fails(stage, client, why, before):
    said = stage.postern.ctl_run("upgrade")
    assert said.returncode == 1 and "the running posternd stays" in said.stderr, said
    assert why is None or why in said.stderr, said.stderr
    with Client(stage.proxy) as fresh:
        answer = get(fresh, stage)
        assert answer.status == 200 and answer.value("connection") is None
    echo(client, b"still here")
    after = stage.postern.ctl("status")
    assert (after["pid"], after["state"]) == (before["pid"], "serving")
    assert [worker["pid"] for worker in after["workers"]] == [worker["pid"] for worker in before["workers"]]
    assert stage.postern.pid_file() == before["pid"]


FAKE = """
import os, socket, sys, time
channel = socket.socket(fileno=int(os.environ["POSTERN_UPGRADE"].split()[0]))
channel.setblocking(True)
def until(word):
    while channel.recv(8192)[:1] != word:
        pass
%s
"""

FAKES = {
    "ends behind GO": ("channel.send(b'R'); until(b'G'); sys.exit(5)", "status 5"),
    "hangs behind GO": ("channel.send(b'R'); until(b'G'); time.sleep(1000)", "timeouts.upgrade"),
    "is silent behind GO": ("channel.send(b'R'); until(b'G'); channel.close(); time.sleep(1000)", "timeouts.upgrade"),
    "serves before its turn": ("channel.send(b'V'); channel.send(b'R'); until(b'K'); until(b'G'); sys.exit(6)", "status 6"),
    "serves and does not listen": ("channel.send(b'R'); until(b'G'); channel.shutdown(0); channel.send(b'V'); time.sleep(1000)", "does not hear"),
    "gives orders": ("[channel.send(word) for word in (b'S', b'L', b'X0 1 2 3', b'T', b'G', b'K1 2', b'?', bytes(4000))]; sys.exit(7)", "status 7"),
    "complains at length": ("channel.send(b'F' + b'x' * 20000); sys.exit(8)", "xxxx"),
    "says nothing": ("channel.send(b''); sys.exit(9)", "status 9"),
}


@pytest.mark.parametrize("what", FAKES)
def test_a_new_program_that_is_none_of_ours(what):
    """Whatever it says in whatever order: the old one goes on, and the next upgrade is as any."""
    said, why = FAKES[what]
    with replaceable(timeouts={"drain": 10.0, "upgrade": 2.0 if "timeouts" in why else 30.0}) as stage, open_socket(stage) as client:
        before, program = stage.postern.ctl("status"), os.path.join(stage.postern.folder, "fake.py")
        with open(program, "w") as file:
            file.write(FAKE % said)
        stage.postern.replace(script=f"exec {sys.executable} {program}")
        check_fails(stage, client, why, before)
        client.close()
        stage.postern.write({**stage.settings, "timeouts": {"drain": 10.0}})
        assert stage.postern.ctl("reload")["ok"]
        stage.postern.replace()
        assert has_ended(stage.postern.upgrade()) == 0


def test_no_binary_and_no_program():
    with replaceable() as stage, open_socket(stage) as client:
        before = stage.postern.ctl("status")
        os.remove(stage.postern.binary)
        check_fails(stage, client, "No such file", before)
        with open(stage.postern.binary, "w") as file:
            file.write("this is no program")
        os.chmod(stage.postern.binary, 0o755)
        check_fails(stage, client, "Exec format error", before)
        stage.postern.replace()
        old = stage.postern.upgrade()
        client.close()
        assert has_ended(old) == 0


@pytest.mark.parametrize("change, why", [({"polices": []}, "polices"),
                                         ({"workers": 2, "log": {"access": "/no/such/folder/log"}}, "/no/such/folder")],
                         ids=["key", "log"])
def test_a_configuration_that_fails_leaves_the_old_one(change, why):
    with replaceable() as stage, open_socket(stage) as client:
        before = stage.postern.ctl("status")
        stage.postern.write({**stage.settings, **change})
        check_fails(stage, client, why, before)


def test_an_address_that_is_taken_leaves_the_old_one():
    with replaceable() as stage, open_socket(stage) as client, socket.socket() as other:
        other.bind((f"{stage.prefix}.2", 3999))
        other.listen()
        before = stage.postern.ctl("status")
        taken = {**stage.settings["listeners"][0], "name": "taken", "address": f"{stage.prefix}.2:3999"}
        stage.postern.write({**stage.settings, "listeners": [taken, *stage.settings["listeners"]]})
        check_fails(stage, client, "3999", before)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_process_1_stays():
    """In a container without an init: when it ended the kernel would end everybody else there."""
    with replaceable() as stage:
        stage.postern.replace(script=f'exec unshare --pid --fork --kill-child "{POSTERND}" "$@"')
        stage.postern.stop()
        stage.postern.start()
        [first] = children_of(stage.postern.process.pid)
        refused = stage.postern.ctl_run("upgrade")
        assert refused.returncode == 1 and "process 1" in refused.stderr
        with Client(stage.proxy) as client:
            assert get(client, stage).status == 200
        os.kill(first, signal.SIGTERM)
        assert stage.postern.process.wait(15) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_the_new_one_starts(number):
    with replaceable() as stage:
        stage.postern.replace(script="echo begun > begun; exec sleep 1000")
        stage.postern.signal(signal.SIGUSR2)
        wait_until(lambda: os.path.exists(os.path.join(stage.postern.folder, "begun")), what="the new one")
        refused = stage.postern.ctl_run("upgrade")
        assert refused.returncode == 1 and "under way" in refused.stderr
        started = int(re.search(r"started as process (\d+)", stage.postern.stderr())[1])
        stage.postern.signal(number)
        assert stage.postern.process.wait(10) == 0
        assert not os.path.exists(f"/proc/{started}")


def test_stopped_while_the_old_one_drains():
    """TERM to the new one lets both drain; the second one ends both."""
    with replaceable(timeouts={"drain": 60.0}) as stage, open_socket(stage) as before:
        old = stage.postern.upgrade()
        with open_socket(stage) as after:
            stage.postern.signal(signal.SIGTERM)
            wait_until(lambda: stage.postern.stderr().count("draining") == 2, what="both to drain")
            echo(before, b"still here")
            echo(after, b"here, too")
            stage.postern.signal(signal.SIGTERM)
            assert has_ended(old) == 0 and stage.postern.process.wait(15) == 0
            before.wait_close()
            after.wait_close()
        assert not os.listdir(stage.postern.runtime_dir)


def test_stopped_while_only_the_old_one_has_anything_to_drain():
    """The new one is done at once. It waits for the old one without turning its loop, and passes on that it is to end."""
    with replaceable(timeouts={"drain": 60.0}) as stage, open_socket(stage) as before:
        old = stage.postern.upgrade()
        stage.postern.signal(signal.SIGTERM)
        wait_until(lambda: not children_of(stage.postern.process.pid), what="the new one's children to end")
        used = cpu_seconds(stage.postern.process.pid)
        time.sleep(4)                                         # its own deadline for its children is three seconds
        assert cpu_seconds(stage.postern.process.pid) - used < 0.4
        echo(before, b"still here")
        stage.postern.signal(signal.SIGTERM)
        assert has_ended(old) == 0 and stage.postern.process.wait(15) == 0


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def test_the_log_is_rotated_for_both():
    with replaceable() as stage, Client(stage.proxy) as kept:
        get(kept, stage)
        old = stage.postern.upgrade()
        os.rename(stage.postern.access_log, stage.postern.access_log + ".1")
        stage.postern.signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(stage.postern.access_log), what="a new log")
        wait_until(lambda: log_of(old.pid) == stage.postern.access_log, what="the old one to follow")
        get(kept, stage, "/by-the-old")
        stage.postern.wait_access(lambda line: line.get("path") == "/by-the-old")
        assert has_ended(old) == 0


def log_of(pid):
    """Where the access log of this monitor is now."""
    return next((path for path in descriptors_of(pid).values() if "access" in path), None)


def test_nobody_but_a_posternd_passes_anything_on():
    with Stage() as stage:
        done = stage.postern.ctl_run("status")
        assert done.returncode == 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, open(stage.postern.config) as text:
            for value in ("x", "0 1", f"{theirs.fileno()} {text.fileno()}"):
                refused = subprocess.run([POSTERND, "-c", stage.postern.config], capture_output=True, text=True, timeout=30,
                                         pass_fds=[theirs.fileno(), text.fileno()], env={**os.environ, "POSTERN_UPGRADE": value})
                assert refused.returncode == 1 and ("POSTERN_UPGRADE" in refused.stderr or "understand" in refused.stderr), refused.stderr
