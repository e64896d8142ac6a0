# SPDX-License-Identifier: ISC
"""The access log: its keys and their order, what it never says, and disks and readers that fail (vectors LG-02, LG-05, LG-07)."""
import json
import os
import re
import select
import signal
import subprocess

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import proc_status, wait_until
from lib.stage import Stage

KEYS = ("time event session request client user listener mode zone_in zone_out interface_in interface_out destination server host "
        "method path protocol status policy reason bytes_up bytes_down frames_up frames_down messages_up messages_down duration_ms "
        "first_byte_ms retries tls_client tls_server conntrack closed_by close_code").split()


def everything(stage):
    """One stream of each kind."""
    for method, url, host, body in (("GET", f"{stage.url}/get", stage.origin_authority, b""),
                                    ("POST", f"{stage.url}/post", stage.origin_authority, b"12345"),
                                    ("GET", "http://127.0.0.1:1/", "127.0.0.1:1", b"")):
        with Client(stage.proxy) as client:
            client.request(method, url, host, body=body)
    with Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        client.response()
        client.send(ws.frame(ws.TEXT, b"hello", mask=True))
        client.read_until(lambda data: len(ws.frames_in(data)) == 1)
        client.send(ws.close_frame(1000, mask=True))
        client.wait_close()
    with Client(stage.site) as client:
        client.request("GET", "/reverse", stage.site)
    with Client(stage.proxy) as client:
        client.send(b"\5\1\0")
        client.exactly(2)
        client.send(b"\5\1\0\1\x7f\0\0\1\0\1")
        client.wait_close()


def test_keys_their_order_and_values():
    with Stage() as stage:
        everything(stage)
        stage.postern.wait_access(lambda line: line.get("path") == "/reverse")
        with open(stage.postern.access_log, "rb") as file:
            raw = file.read()
        for text in raw.splitlines():
            line = json.loads(text)
            assert [key for key in KEYS if key in line] == list(line), f"order: {list(line)}"
            assert json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() == text, "not compact"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
            assert line["event"] in ("start", "interval", "end", "denied")
            assert re.fullmatch(r"\d+-\d+", line["session"]) and line.get("request", line["session"]).startswith(line["session"])
            assert None not in line.values() and "" not in line.values()
        post = stage.postern.wait_access(lambda line: line.get("path") == "/post")
        assert (post["method"], post["status"], post["policy"], post["zone_in"], post["zone_out"], post["listener"], post["mode"]) == \
            ("POST", 200, "all", "client", "origin", "proxy", "explicit")
        assert post["server"] == stage.origin_authority
        denied = stage.postern.wait_access(lambda line: line["event"] == "denied" and line.get("status") == 403)
        assert denied["reason"] in ("no-policy", "address-private", "zone-unknown")


def test_exactly_one_line_a_request():
    with Stage() as stage:
        with Client(stage.proxy) as client:
            for number in range(50):
                client.request("GET", f"{stage.url}/{number}", stage.origin_authority)
        wait_until(lambda: len(stage.postern.access()) >= 50, what="50 lines")
        with Client(stage.proxy) as client:
            client.request("GET", f"{stage.url}/last", stage.origin_authority)
        stage.postern.wait_access(lambda line: line.get("path") == "/last")
        paths = [line.get("path", str(line)) for line in stage.postern.access()]
        assert sorted(paths) == sorted([f"/{number}" for number in range(50)] + ["/last"])


def test_a_killed_worker_leaves_one_line_for_each_request_too():
    """Answered, refused and lingering, under way, idle: what was reported is not reported again, what was under way is lost."""
    def half(connection, _):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_end()
    with Stage(routes={"/half": half}) as stage, Client(stage.site) as idle, Client(stage.site) as refused, Client(stage.site) as open_:
        assert idle.request("GET", "/done", stage.site).status == 200
        open_.send(f"GET /half HTTP/1.1\r\nHost: {stage.site}\r\n\r\n".encode())
        open_.read_until(lambda data: data.endswith(b"half"))
        refused.send(b"NONSENSE\r\n\r\n")
        assert refused.response().status == 400
        stage.postern.wait_access(lambda line: line["event"] == "denied")
        os.kill(stage.postern.workers()[0], signal.SIGKILL)
        stage.postern.wait_access(lambda line: line.get("path") == "/half")
        wait_until(lambda: stage.postern.ctl("status")["sessions"]["open"] == 0, what="no session is left")
        told = [(line.get("request", "-"), line.get("path"), line.get("reason")) for line in stage.postern.access()
                if line["event"] in ("end", "denied")]
        assert len({request for request, _, _ in told}) == len(told)
        assert sorted(path for _, path, _ in told if path) == ["/done", "/half"]
        assert [reason for request, path, reason in told if path == "/half" and request != "-"] == ["lost"]


def test_interval_records():
    with Stage(log={"interval": 0.3}) as stage, Client(stage.proxy) as client:
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        assert client.response().status == 101
        intervals = wait_until(lambda: (lines := [line for line in stage.postern.access() if line["event"] == "interval"])
                               and len(lines) >= 2 and lines, what="two interval records")
        assert all(line["protocol"] == "websocket" and line["request"] == intervals[0]["request"] for line in intervals)


def test_query_strings_and_credentials_are_not_written():
    """Nothing that a client may hold secret: fields, and what stands behind the question mark or before an @."""
    with Stage(log={"level": "debug"}) as stage:
        with Client(stage.proxy) as client:
            client.request("GET", f"{stage.url}/page?token=S3CR3T", stage.origin_authority,
                           ["Authorization: Bearer S3CR3T", "Cookie: sid=S3CR3T", "Proxy-Authorization: Basic UzNDUjNU"])
        with Client(stage.proxy) as client:
            client.send(f"GET http://user:S3CR3T@{stage.origin_authority}/ HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
            client.wait_close()
        stage.postern.wait_access(lambda line: line.get("path", "").startswith("/page"))
        said = [open(stage.postern.access_log).read(), stage.postern.stderr()]
        said += [stage.postern.ctl_run("--json", command).stdout for command in ("status", "sessions", "denials")]
        for text in said:
            assert "S3CR3T" not in text and "UzNDUjNU" not in text


def test_lg05_a_crashed_worker_leaves_no_core(tmp_path):
    with Stage() as stage:
        with Client(stage.proxy) as client:
            client.request("GET", f"{stage.url}/", stage.origin_authority)
        worker, = stage.postern.workers()
        with open(f"/proc/{worker}/limits") as file:
            assert re.search(r"Max core file size +0 +0 ", file.read())
        os.kill(worker, signal.SIGSEGV)
        wait_until(lambda: worker not in stage.postern.workers(), what="the worker to die")
        assert not [name for name in os.listdir(stage.postern.folder) if name.startswith("core")]
        wait_until(stage.postern.workers, what="a new worker")
        stage.postern.forget_stderr()


@pytest.mark.parametrize("role", ["worker", "logger", "control"])
def test_lg07_unprivileged(needs_root, role):
    """A process that parses what strangers send can read no memory of others and holds no privilege."""
    with Stage() as stage:
        for pid in stage.postern.pids(role):
            status = proc_status(pid)
            assert all(number != "0" for number in status["Uid"].split()), status["Uid"]
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"] == "1" and status.get("Groups", "").split() in ([], [status["Gid"].split()[0]])


@pytest.fixture
def small_disk(needs_root, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs", str(folder)]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_stops_nothing_but_the_log(small_disk):
    """Lines that find no room are counted; when there is room again, lines are written again, whole."""
    log = small_disk / "access.jsonl"
    with Stage(log={"access": str(log)}) as stage:
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * (200 << 10))
        with Client(stage.proxy) as client:
            for number in range(600):
                assert client.request("GET", f"{stage.url}/{number}", stage.origin_authority).status == 200
        wait_until(lambda: "No space" in stage.postern.stderr() or dropped(stage) > 0, what="the loss to be counted")
        filler.unlink()

        def written():
            with Client(stage.proxy) as client:
                client.request("GET", f"{stage.url}/again", stage.origin_authority)
            return '"path":"/again"' in log.read_text()
        wait_until(written, what="the log to go on")
        assert dropped(stage) > 0
        broken = [line for line in log.read_text().splitlines() if not complete(line)]
        assert len(broken) <= 1, broken[:3]


def complete(line):
    try:
        return bool(json.loads(line))
    except json.JSONDecodeError:
        return False


def dropped(stage):
    return int(re.search(r'"log_dropped"\s*:\s*(\d+)|$', stage.postern.ctl_run("--json", "status").stdout)[1] or 0)


def test_stopped_reader_of_a_log_pipe_stops_nothing(tmp_path):
    """The access log is a pipe whose reader sleeps: traffic goes on, and what was lost is counted."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Stage(log={"access": str(fifo)}) as stage:
            with Client(stage.proxy) as client:
                for number in range(1000):
                    assert client.request("GET", f"{stage.url}/{number}/{'x' * 200}", stage.origin_authority).status == 200
            said = b""
            while select.select([reader], [], [], 1)[0] and (data := os.read(reader, 65536)):
                said += data
            assert said.count(b"\n") > 100
            assert said.count(b"\n") + dropped(stage) >= 1000
    finally:
        os.close(reader)
