# SPDX-License-Identifier: ISC
"""The control socket, posternctl and the admin endpoint: what they tell, what they do, and what they withstand (vectors CS-*, CA-45)."""
import json
import os
import random
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

from lib import ws
from lib.control import Control
from lib.dns import NameServer
from lib.http1 import Client
from lib.lease import Lease
from lib.postern import PATIENCE, POSTERNCTL, Postern, wait_until
from lib.stage import ORIGIN_PORT, Stage, settings

STRANGER = 65533
GARBAGE = [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{\"command\":5}", b"{\"command\":\"nonsense\"}", b"{" * 1000, b"\"status\"",
           b"{\"command\":\"show\"}", b"{\"command\":\"show\",\"id\":\"9-9-9-9\"}", b"{\"command\":\"show\",\"id\":\"-1-1\"}",
           b"{\"command\":\"kill\"}", b"{\"command\":\"sessions\",\"filters\":5}", b"{\"command\":\"sessions\",\"filters\":[\"nonsense=1\"]}",
           b"{\"command\":\"explain\"}", b"{\"command\":\"explain\",\"from\":\"x\",\"method\":\"GET\",\"url\":\"http://a/\"}",
           b"{\"command\":\"explain\",\"from\":\"127.0.0.1\",\"method\":\"GET\",\"url\":\"http://[::/\"}",
           b"{\"command\":\"log\",\"level\":\"info; rm -rf /\"}", b"{\"command\":\"denials\",\"count\":-1}"]


def open_websocket(stage, path="/ws"):
    client = Client(stage.proxy)
    client.send(ws.handshake(f"{stage.url}{path}", stage.origin_authority))
    assert client.response().status == 101
    return client


def session_of(stage, client):
    return stage.postern.record_of(client.port)["session"]


def alive(stage):
    with Client(stage.proxy) as client:
        return client.request("GET", f"{stage.url}/", stage.origin_authority).status == 200


def test_status(shared_stage):
    status = shared_stage.postern.ctl("status")
    assert status["state"] == "serving" and status["pid"] == shared_stage.postern.process.pid
    assert {listener["name"] for listener in status["listeners"]} == {"proxy", "site"}
    assert [worker["pid"] for worker in status["workers"]] == shared_stage.postern.workers()
    assert "serving" in shared_stage.postern.ctl_run("status", check=True).stdout


def test_sessions_show_explain_kill(shared_stage):
    stage = shared_stage
    with open_websocket(stage, "/one") as client, open_websocket(stage, "/two") as other:
        session = session_of(stage, client)
        listed = stage.postern.ctl_run("--json", "sessions", check=True).stdout
        assert session in listed and "/one" in listed and "/two" in listed
        shown = json.dumps(stage.postern.ctl("show", session))
        assert all(word in shown for word in ("/one", "websocket", "ESTABLISHED", "all"))
        why = json.dumps(stage.postern.ctl("explain", session))
        assert '"all"' in why and "postern.conf" in why
        assert session in stage.postern.ctl_run("sessions", check=True).stdout
        stage.postern.ctl_run("kill", session, check=True)
        client.wait_close()
        frames = ws.frames_in(bytes(client.received[client.offset:]))
        assert [frame.close_code for frame in frames] == [1008]
        stage.postern.wait_access(lambda line: line["session"] == session and line.get("reason") == "killed")
        other.send(ws.frame(ws.TEXT, b"alive", mask=True))
        other.read_until(lambda data: ws.frames_in(data))
        ended = json.dumps(stage.postern.ctl("show", session))
        assert "killed" in ended
        wait_until(lambda: stage.postern.ctl_run("kill", session).returncode != 0, what="a kill of what has ended to be refused")


def test_watch_is_live(shared_stage):
    stage = shared_stage
    process = subprocess.Popen([POSTERNCTL, "-s", stage.postern.control_socket, "--json", "watch"], stdout=subprocess.PIPE, bufsize=0)
    try:
        with open_websocket(stage, "/watched") as client:
            session = session_of(stage, client)
            seen = b""
            while session.encode() not in seen:
                assert select.select([process.stdout], [], [], 15)[0], seen
                seen += process.stdout.read(65536)
    finally:
        process.kill()
        process.wait()


def test_denials_and_why(shared_stage):
    stage = shared_stage
    with Client(stage.proxy) as client:
        assert client.request("GET", "http://127.0.0.1:9/secret-path", "127.0.0.1:9").status == 403
    line = stage.postern.wait_access(lambda line: line["event"] == "denied" and line.get("host") == "127.0.0.1")
    assert line.get("request", line["session"]) in stage.postern.ctl_run("--json", "denials", check=True).stdout
    why = json.dumps(stage.postern.ctl("explain", line.get("request", line["session"])))
    assert line["reason"] in why and "did_not_fit" in why or "near" in why
    assert stage.postern.ctl_run("denials", check=True).stdout.strip()


def test_dry_run(shared_stage):
    stage = shared_stage
    allowed = stage.postern.ctl("explain", "--from", "127.0.0.1", "GET", f"{stage.url}/x")
    assert (allowed["verdict"], allowed["policy"]["name"]) == ("allowed", "all")
    denied = stage.postern.ctl("explain", "--from", "127.0.0.2", "GET", f"{stage.url}/x")
    assert (denied["verdict"], denied["reason"]) == ("denied", "zone-unknown")
    assert stage.postern.ctl_run("explain", "--from", "nonsense", "GET", "http://a/").returncode != 0


@pytest.mark.parametrize("command", ["filter", "doctor", "blocks", "block 10.0.0.1", "block 10.0.0.0/8 60", "unblock 10.0.0.1",
                                     "explain --from 127.0.0.1 udp://192.0.2.1:53"])
def test_without_a_packet_filter(shared_stage, command):
    done = shared_stage.postern.ctl_run(*command.split())
    assert done.returncode == 1 and "no packet_filter is configured" in done.stderr


@pytest.mark.parametrize("command", ["filter all", "doctor now", "blocks 1", "block", "block somebody", "block 10.0.0.1/8", "block 10.0.0.1 0",
                                     "block 10.0.0.1 1h", "block 10.0.0.1 31536001", "unblock", "unblock 10.0.0.1 60",
                                     "explain --from 127.0.0.1 sctp://192.0.2.1:53"])
def test_a_wrong_command_line_is_not_sent(tmp_path, command):
    done = subprocess.run([POSTERNCTL, "-s", str(tmp_path / "none.sock"), *command.split()], capture_output=True, text=True, timeout=15)
    assert done.returncode == 2 and "none.sock" not in done.stderr


def test_a_flow_goes_to_an_address(shared_stage):
    for flow in ("tcp://name.test:22", "udp://192.0.2.1", "icmp://192.0.2.1:7", "tcp://192.0.2.1:0"):
        done = shared_stage.postern.ctl_run("explain", "--from", "127.0.0.1", flow)
        assert done.returncode == 1 and "packet_filter" not in done.stderr


def test_log_level(shared_stage):
    stage = shared_stage
    stage.postern.ctl_run("log", "debug", check=True)
    assert stage.postern.ctl("status")["log_level"] == "debug"
    assert stage.postern.ctl_run("log", "loud").returncode != 0
    stage.postern.ctl_run("log", "info", check=True)


def test_drain():
    with Stage() as stage:
        stage.postern.ctl_run("drain", check=True)
        assert stage.postern.process.wait(15) == 0


def test_without_a_socket_it_says_so(tmp_path):
    done = subprocess.run([POSTERNCTL, "-s", str(tmp_path / "none.sock"), "status"], capture_output=True, text=True, timeout=15)
    assert done.returncode != 0 and "none.sock" in done.stderr
    assert subprocess.run([POSTERNCTL, "nonsense"], capture_output=True, timeout=15).returncode != 0


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_an_error_or_the_end(shared_stage, garbage):
    with Control(shared_stage.postern.control_socket) as control:
        control.send(garbage + b"\n")
        answer = control.line()
        assert answer is None or "error" in answer or answer["verdict"] == "denied"
    assert shared_stage.postern.ctl("status")["state"] == "serving"


def test_random_garbage(shared_stage):
    pick = random.Random(11)
    for _ in range(200):
        with Control(shared_stage.postern.control_socket) as control:
            try:
                control.send(pick.randbytes(pick.randint(1, 3000)) + b"\n")
                control.socket.shutdown(socket.SHUT_WR)
                while control.socket.recv(65536):
                    pass
            except OSError:
                pass
    assert shared_stage.postern.ctl("status")["state"] == "serving"
    assert alive(shared_stage)


def test_cs03_a_line_without_end(shared_stage):
    """Closed at the limit, long before the megabyte is over; traffic does not notice."""
    with Control(shared_stage.postern.control_socket) as control:
        with pytest.raises(OSError):
            for _ in range(1024):
                control.send(b"x" * 1024)
            while control.socket.recv(65536):
                pass
            raise ConnectionResetError("closed in order")
    assert alive(shared_stage)
    assert shared_stage.postern.ctl("status")["state"] == "serving"


def test_many_connections_do_not_lock_the_operator_out(shared_stage):
    idle = [Control(shared_stage.postern.control_socket) for _ in range(100)]
    assert alive(shared_stage)
    for control in idle:
        control.close()
    wait_until(lambda: shared_stage.postern.ctl_run("status").returncode == 0, what="control to answer")


def test_cs02_other_users_are_refused(needs_root, shared_stage):
    done = subprocess.run([POSTERNCTL, "-s", shared_stage.postern.control_socket, "status"], capture_output=True, text=True,
                          timeout=15, user=STRANGER, group=STRANGER, extra_groups=[])
    assert done.returncode != 0


def test_cs02_the_peer_is_looked_at_too(needs_root, shared_stage):
    """Even where the file's mode would let a stranger in."""
    path = shared_stage.postern.control_socket
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o666)
    try:
        done = subprocess.run([POSTERNCTL, "-s", path, "status"], capture_output=True, text=True, timeout=15, user=STRANGER,
                              group=STRANGER, extra_groups=[])
        assert done.returncode != 0 and "serving" not in done.stdout
    finally:
        os.chmod(path, 0o600)


@pytest.mark.parametrize("kind", ["symlink to a file", "a file", "symlinked folder"])
def test_cs05_what_stands_in_the_way_is_left_alone(tmp_path, kind):
    lease = Lease()
    postern = Postern(settings(lease.prefix), start=False)
    victim = tmp_path / "victim"
    if kind == "symlinked folder":
        victim.mkdir()
        os.symlink(victim, postern.runtime_dir)
    else:
        victim.write_text("precious")
        os.mkdir(postern.runtime_dir, 0o700)
        if kind == "a file":
            shutil.copy(victim, postern.control_socket)
        else:
            os.symlink(victim, postern.control_socket)
    try:
        with pytest.raises(AssertionError):
            postern.start()
        if kind == "symlinked folder":
            assert os.listdir(victim) == []
        else:
            assert victim.read_text() == "precious"
        assert kind != "a file" or open(postern.control_socket).read() == "precious"
    finally:
        if postern.process.poll() is None:
            postern.kill()
        postern.remove()
        lease.release()


def test_cs08_reload_takes_no_path(shared_stage):
    """The configuration's path is fixed at start; arguments are data."""
    with Control(shared_stage.postern.control_socket) as control:
        for path in ("/etc/passwd", "a b\n", "../x", "$(touch /tmp/postern-injected)"):
            control.ask("reload", path=path, file=path, configuration=path)
    assert shared_stage.postern.ctl("status")["configuration"].endswith("postern.conf")
    assert not os.path.exists("/tmp/postern-injected")


def metrics(address):
    with Client(address) as client:
        return client.request("GET", "/metrics", address).body.decode()


def test_nobody_holds_the_admin_listener():
    """A byte now and then keeps no connection, be it of a head that never ends or behind an answer: others get in."""
    lease = Lease()
    admin = f"{lease.prefix}.4:9128"
    with Stage(admin={"address": admin}):
        held = [Client(admin) for _ in range(32)]
        for number, client in enumerate(held):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" if number % 2 else b"GET /")
        end = time.monotonic() + PATIENCE
        while held and time.monotonic() < end:
            for client in list(held):
                try:
                    client.send(b"x")
                except OSError:
                    held.remove(client)
                    client.close()
            time.sleep(0.5)      # the pace of the attack
        assert not held
        assert metrics(admin)
    lease.release()


def test_cs07_metrics_are_bounded():
    """Ten thousand names change numbers, never the set of labels, and no byte of a client stands in one."""
    lease = Lease()
    admin = f"{lease.prefix}.4:9128"
    with Stage(admin={"address": admin}) as stage:
        assert alive(stage)
        before = metrics(admin)

        def names_of(text):
            return {line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")}
        with Client(stage.proxy) as client:
            for number in range(10_000):
                if client.ended:
                    client = Client(stage.proxy)
                answer = client.request("GET", f"http://client-name-{number}.invalid/", f"client-name-{number}.invalid")
                assert answer.status in (403, 502, 504)
                if answer.value("connection") == "close":
                    client.close()
                    client = Client(stage.proxy)
            client.close()
        after = metrics(admin)
        assert "client-name" not in after
        assert len(names_of(after)) <= len(names_of(before)) + 5
        assert re.search(r"(?m)^postern_\w+(\{[^}]*\})? [1-9]", after)
        with Client(admin) as client:
            assert client.request("GET", "/healthz", admin).status == 200
        with Client(admin) as client:
            assert client.request("GET", "/etc/passwd", admin).status == 404
        for garbage in (b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * 5000 + b"\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
            with Client(admin) as client:
                try:
                    client.send(garbage)
                    client.socket.shutdown(socket.SHUT_WR)
                    client.wait_close()
                except OSError:
                    pass
        assert alive(stage) and metrics(admin)
    lease.release()


def test_ca45_the_checked_address_is_the_dialled_one():
    """A name that answers the origin first and a forbidden address from then on: one look-up a connection, never the second address."""
    lease = Lease()
    address = f"{lease.prefix}.3"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        hosts = os.path.join(folder, "hosts")
        open(hosts, "w").close()
        os.chmod(hosts, 0o644)
        with Stage(resolver={"servers": [f"{address}:5353"], "hosts": hosts, "timeout": 1.0, "negative_ttl": 0.1}) as stage:
            server = NameServer(address, {}, 5353)
            server.names["flip.test"] = lambda: [f"{stage.prefix}.{1 if first_of(server) else 9}"]
            target = f"flip.test:{ORIGIN_PORT}"
            with Client(stage.proxy) as client:
                assert client.request("GET", f"http://{target}/1", target).status == 200
            line = stage.postern.wait_access(lambda line: line.get("path") == "/1")
            assert line["server"] == stage.origin_authority
            with Client(stage.proxy) as client:
                assert client.request("GET", f"http://{target}/2", target).status == 403
            assert server.questions.count(("flip.test", 1)) == 2
            server.close()
    lease.release()


def first_of(server):
    """Whether at most one address question has been asked."""
    return sum(kind == 1 for _, kind in server.questions) <= 1
