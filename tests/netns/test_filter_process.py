# SPDX-License-Identifier: ISC
"""The filter process: what it may do, that everything waits for it, and that its replacement goes on where it stopped."""
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

from lib import ws
from lib.netns import CLIENT, FAMILIES, SERVER
from lib.netns_stage import DENY, KERNEL, PING, WEB, NetStage
from lib.postern import POSTERND, Postern, proc_status, wait_until
from test_commit import Monitor, Owner

NET_ADMIN = f"{1 << 12:016x}"
NOTHING = f"{0:016x}"
SESSIONS = 2500
SELF = {"name": "ssh", "to": "self", "protocols": ["tcp"], "ports": [22], "action": "allow"}


def status(stage):
    return stage.ask("status")["filter"]


def filter_of(stage):
    return stage.postern.pids("filter")


def another(stage, before):
    """Its replacement, once it answers."""
    wait_until(lambda: filter_of(stage) not in ([], before), what="another filter process")
    wait_until(lambda: stage.postern.ctl_run("blocks").returncode == 0, what="its answer")


def without_filter(stage):
    """The settings without a packet filter and what needs one."""
    settings = {key: value for key, value in stage.settings.items() if key != "packet_filter"}
    settings["listeners"] = [{"name": "proxy", "mode": "explicit", "address": "127.0.0.1:3128"}]
    settings["policies"] = [WEB]
    return settings


def tables(stage):
    return re.findall(r"table inet (\S+)", stage.net.gateway.run("nft", "list", "tables").stdout)


def test_it_has_one_capability_and_the_others_none():
    with NetStage() as stage:
        for pid, role in stage.postern.processes().items():
            said, kept = proc_status(pid), NET_ADMIN if role == "filter" else NOTHING
            assert (said["CapPrm"], said["CapEff"], said["CapBnd"]) == (kept, kept, kept), role
            assert (said["CapInh"], said["CapAmb"], said["NoNewPrivs"]) == (NOTHING, NOTHING, "1"), role
            assert set(said["Uid"].split()) == {"65534"}, role


def test_without_root_it_says_so():
    with NetStage(start=False) as stage:
        os.chmod(stage.postern.config, 0o644)
        done = stage.net.gateway.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", POSTERND, "-c", stage.postern.config,
                                     check=False)
        assert done.returncode == 1 and re.search(r"postern\.conf:\d+: packet_filter: .*root", done.stderr), done.stderr
        done = stage.net.gateway.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", POSTERND, "--teardown", "-c",
                                     stage.postern.config, check=False)
        assert done.returncode == 1 and "root" in done.stderr


def test_a_reload_adds_renames_and_removes_it():
    with NetStage() as stage:
        routing = stage.net.gateway.run("ip", "rule").stdout
        whole = stage.settings
        assert stage.postern.reload(without_filter(stage)).returncode == 0
        assert tables(stage) == [] and filter_of(stage) == [] and stage.net.gateway.run("ip", "rule").stdout != routing
        assert "filter" not in stage.ask("status") and stage.ask("status")["state"] == "serving"
        assert stage.postern.ctl_run("blocks").returncode != 0
        assert stage.postern.reload(whole).returncode == 0
        assert tables(stage) == ["postern"] and len(filter_of(stage)) == 1 and stage.net.gateway.run("ip", "rule").stdout == routing
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)
        stage.postern.ctl_run("block", "192.0.2.1", "300", check=True)
        assert stage.postern.reload({**whole, "packet_filter": {"backend": "nftables", "table": "wall"}}).returncode == 0
        assert tables(stage) == ["wall"] and status(stage)["table"] == "wall"
        assert "192.0.2.1" in stage.net.gateway.run("nft", "list", "table", "inet", "wall").stdout
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)


def kill_it(stage):
    """Its replacement comes after a tenth of a second."""
    before = filter_of(stage)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: filter_of(stage) != before, what="its end")


def test_a_rename_while_it_is_dead_removes_the_old_table():
    with NetStage() as stage:
        kill_it(stage)
        assert stage.postern.reload({**stage.settings, "packet_filter": {"backend": "nftables", "table": "wall"}}).returncode == 0
        assert tables(stage) == ["wall"]


def test_a_removal_while_it_is_dead():
    with NetStage() as stage:
        kill_it(stage)
        assert stage.postern.reload(without_filter(stage)).returncode == 0
        assert tables(stage) == [] and "20560" not in stage.net.gateway.run("ip", "rule").stdout
        assert stage.ask("status")["state"] == "serving"


def test_a_clean_stop_while_it_is_dead():
    with NetStage(packet_filter={"on_exit": "open"}) as stage:
        kill_it(stage)
        stage.postern.signal(signal.SIGINT)
        assert stage.postern.process.wait(10) == 0
        assert tables(stage) == [] and "20560" not in stage.net.gateway.run("ip", "rule").stdout


@pytest.mark.parametrize("running", [True, False], ids=["renamed", "added"])
def test_what_the_kernel_refuses_changes_nothing(running):
    """The table belongs to somebody else's process."""
    with NetStage() as stage:
        whole = stage.settings
        if not running:
            assert stage.postern.reload(without_filter(stage)).returncode == 0
        owner = Owner(stage.net.gateway, "theirs")
        before = stage.net.gateway.run("nft", "-s", "list", "ruleset").stdout, stage.net.gateway.run("ip", "rule").stdout
        generation, pids = stage.ask("status")["generation"], stage.postern.processes()
        log = os.path.join(stage.folder, "another.jsonl")
        done = stage.postern.reload({**whole, "packet_filter": {"backend": "nftables", "table": "theirs"}, "log": {"access": log}})
        assert done.returncode != 0 and "packet_filter" in done.stderr, done.stderr
        assert (stage.net.gateway.run("nft", "-s", "list", "ruleset").stdout, stage.net.gateway.run("ip", "rule").stdout) == before
        assert stage.ask("status")["generation"] == generation
        wait_until(lambda: stage.postern.processes() == pids, what="the same processes as before")
        stage.postern.signal(signal.SIGUSR1)             # the log is the old one, too
        if running:
            assert stage.get(SERVER[4], "/the-old-log").status == 200
            stage.postern.wait_access(lambda line: line.get("path") == "/the-old-log")
        owner.close()


def test_it_does_not_answer():
    """It is killed, and comes back with what is in force; what it was asked about is refused."""
    with NetStage() as stage:
        before, table = filter_of(stage), stage.table()
        os.kill(before[0], signal.SIGSTOP)
        done = stage.postern.reload({**stage.settings, "policies": [WEB]})
        assert done.returncode != 0 and "no answer in time" in done.stderr
        another(stage, before)
        assert stage.table() == table and stage.ask("status")["generation"] == 1


def test_it_hangs(intercept):
    """Sessions go on meanwhile; its replacement, four times timeouts.stall later, changes nothing of the table, and sees the flows again."""
    with NetStage(intercept, timeouts={"stall": 1.0}) as stage, contextlib.closing(stage.dial(SERVER[4])) as client:
        monitor, before, table = Monitor(stage.net.gateway), filter_of(stage), stage.table()
        client.send(ws.handshake("/ws", "web.test"))
        assert client.response().status == 101
        wait_until(lambda: proc_status(before[0])["State"].startswith("S"), what="nothing to do")
        monitor.changes()
        os.kill(before[0], signal.SIGSTOP)
        client.send(ws.frame(ws.TEXT, b"meanwhile", mask=True))
        client.read_until(lambda data: (ws.TEXT, b"meanwhile") in ws.messages_in(ws.frames_in(data)))
        another(stage, before)
        assert stage.said(r"filter hangs in state T: it has not answered for 4\.0 s, and is killed")
        assert stage.table() == table and monitor.changes() == []
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)
        wait_until(lambda: all(row.get("conntrack") for row in stage.sessions("protocol=websocket")), what="what connection tracking says")
        monitor.close()


def test_it_misses_no_session_however_many_open_while_it_is_busy(intercept, family):
    """More than the socket pair holds, and faster than those that say nothing are given up."""
    with NetStage(intercept, limits={"sessions_per_client": 2 * SESSIONS}, timeouts={"stall": 600.0}) as stage, contextlib.ExitStack() as clients:
        (pid,) = filter_of(stage)
        os.kill(pid, signal.SIGSTOP)
        for _ in range(SESSIONS):
            clients.enter_context(stage.net.client.connect(SERVER[family], 80))
        wait_until(lambda: len(stage.sessions()) == SESSIONS, what="the sessions")
        stage.said("filter cannot be told")
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: [bool(row.get("conntrack")) for row in stage.sessions()] == [True] * SESSIONS, what="their entries")


def test_its_replacement_changes_nothing_and_keeps_blocks():
    with NetStage() as stage:
        stage.postern.ctl_run("block", "192.0.2.0/24", "300", check=True)
        monitor, before = Monitor(stage.net.gateway), filter_of(stage)
        monitor.changes()
        os.kill(before[0], signal.SIGKILL)
        another(stage, before)
        assert monitor.changes() == []
        monitor.close()
        (block,) = stage.ask("blocks")["blocks"]
        assert block["address"] == "192.0.2.0/24" and 200 < block["seconds"] <= 300
        assert status(stage)["blocks"] == 1 and status(stage)["restarts"] == 1 and status(stage)["mended"] == 0
        stage.postern.ctl_run("unblock", "192.0.2.0/24", check=True)
        assert stage.ask("blocks")["blocks"] == [] and "192.0.2.0" not in stage.table()


@pytest.mark.parametrize("role", ["filter", "control", "worker"])
def test_who_comes_back_is_connected_again(role, family):
    """A stream's conntrack entry is still followed when filter was replaced; control asks it, and new workers tell it of flows."""
    with NetStage(workers=1) as stage:
        def dialled():
            client = stage.dial(SERVER[family])
            client.send(ws.handshake("/ws", "web.test"))
            assert client.response().status == 101
            return client
        client = dialled()
        before = stage.postern.pids(role)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: stage.postern.pids(role) not in ([], before), what=f"another {role}")
        wait_until(lambda: stage.postern.ctl_run("blocks").returncode == 0, what="an answer")
        if role == "worker":
            client.close()
            client = dialled()

        def state():
            rows = [row for row in stage.sessions() if row["mode"] == "transparent" and row.get("conntrack")]
            return rows[0]["conntrack_state"] if rows else None
        wait_until(lambda: state() == "ESTABLISHED", what="the facts of its entry")
        stage.net.gateway.run("conntrack", "-D", "-f", f"ipv{family}", "-s", CLIENT[family], "-p", "tcp", "--dport", "80")
        wait_until(lambda: state() == "CLOSED", what="the end of its entry")
        client.close()


def test_status_tells_of_mending():
    with NetStage() as stage:
        first = status(stage)
        assert first["table"] == "postern" and first["mended"] == 0 and first["pid"] == filter_of(stage)[0] and first["ready"]
        stage.net.gateway.nft("flush ruleset")
        wait_until(lambda: stage.table(), 5, "the table")
        second = wait_until(lambda: (now := status(stage))["mended"] == 1 and now, what="the count")
        assert second["committed"] > first["committed"]
        stage.said(r"table inet postern was removed by another program")
        assert "filter" in stage.postern.ctl_run("status", check=True).stdout


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["int", "term-term"])
def test_stopping_at_once_is_a_clean_stop(signals):
    with NetStage(packet_filter={"on_exit": "open"}, timeouts={"drain": 60.0}) as stage, stage.dial(SERVER[4]) as client:
        client.send(ws.handshake("/ws", "web.test"))
        assert client.response().status == 101
        for number in signals:
            stage.postern.signal(number)
            if number == signal.SIGTERM:
                stage.said("draining")                   # two at once are one
        assert stage.postern.process.wait(10) == 0
        assert tables(stage) == [] and "20560" not in stage.net.gateway.run("ip", "rule").stdout


def test_a_check_asks_the_kernel_and_changes_nothing():
    with NetStage(start=False, policies=[DENY, WEB, KERNEL, PING, SELF]) as stage:
        def check():
            return stage.net.gateway.run(POSTERND, "-n", "-c", stage.postern.config, check=False)
        done = check()
        assert done.returncode == 0, done.stderr
        assert tables(stage) == []
        owner = Owner(stage.net.gateway, "postern")
        before = stage.net.gateway.run("nft", "list", "ruleset").stdout
        done = check()
        assert done.returncode == 1 and re.search(r":\d+: packet_filter: the kernel refuses", done.stderr), done.stderr
        assert stage.net.gateway.run("nft", "list", "ruleset").stdout == before
        owner.close()


def test_teardown_is_refused_while_one_runs():
    with NetStage() as stage:
        done = stage.teardown()
        assert done.returncode == 1 and "another posternd runs" in done.stderr
        assert stage.table() and stage.get(SERVER[4]).status == 200
        stage.postern.stop()
        done = stage.teardown()
        assert done.returncode == 0 and "table inet postern: removed" in done.stdout
        assert stage.table() == ""


@contextlib.contextmanager
def another_posternd(stage, table="postern"):
    """With a runtime folder of its own; not started."""
    settings_ = {**without_filter(stage), "packet_filter": {"backend": "nftables", "table": table}, "listeners": []}
    other = Postern(settings_, start=False, namespace=stage.net.gateway)
    try:
        yield other
    finally:
        other.remove()


def run_posternd(stage, other, *arguments):
    return stage.net.gateway.run(POSTERND, "-c", other.config, *arguments, check=False, timeout=20)


def test_a_table_has_one_posternd():
    """With another configuration it is neither taken over nor removed."""
    with NetStage() as stage, another_posternd(stage) as other:
        theirs = f"table inet postern is another posternd's (process {stage.postern.process.pid})"
        before, routing = stage.table(), stage.net.gateway.run("ip", "rule").stdout
        for arguments in ((), ("--teardown",)):
            done = run_posternd(stage, other, *arguments)
            assert done.returncode == 1 and theirs in done.stderr, done.stderr
            assert (stage.table(), stage.net.gateway.run("ip", "rule").stdout) == (before, routing)
        os.kill(filter_of(stage)[0], signal.SIGKILL)     # the monitor's it is, nobody else's
        assert theirs in run_posternd(stage, other, "--teardown").stderr
        stage.postern.process.kill()
        stage.postern.process.wait(10)
        done = wait_until(lambda: (run := run_posternd(stage, other, "--teardown")).returncode == 0 and run, what="the teardown")
        assert "table inet postern: removed" in done.stdout


def abstract(stage, name):
    """A socket that listens there."""
    with stage.net.gateway:
        made = socket.socket(socket.AF_UNIX)
    made.bind(f"\0postern-table/{name}")
    made.listen()
    return made


def test_a_reload_takes_and_gives_up_the_lock_of_a_table():
    with NetStage() as stage, abstract(stage, "theirs"):
        whole = stage.settings
        theirs = f"table inet theirs is another posternd's (process {os.getpid()})"
        done = stage.postern.reload({**whole, "packet_filter": {"backend": "nftables", "table": "theirs"}})
        assert done.returncode != 0 and theirs in done.stderr, done.stderr
        assert tables(stage) == ["postern"]
        assert stage.postern.reload({**whole, "packet_filter": {"backend": "nftables", "table": "wall"}}).returncode == 0
        abstract(stage, "postern").close()
        with pytest.raises(OSError):
            abstract(stage, "wall")
        assert stage.postern.reload(without_filter(stage)).returncode == 0
        abstract(stage, "wall").close()


def test_the_lock_of_somebody_who_is_not_root_is_a_warning():
    with NetStage(start=False) as stage:
        code = "import os, socket, time; os.setuid(65534); s = socket.socket(socket.AF_UNIX); " \
               "s.bind(b'\\0postern-table/postern'); s.listen(); print('ready', flush=True); time.sleep(600)"
        squatter = stage.net.gateway.popen("python3", "-c", code, stdout=subprocess.PIPE)
        try:
            assert squatter.stdout.readline() == b"ready\n"
            stage.postern.start()
            stage.said("table inet postern is not locked: somebody who is not root")
            assert stage.table()
        finally:
            squatter.kill()
            squatter.communicate()


def test_without_the_capability_it_is_named():
    with NetStage(start=False) as stage:
        for arguments in ((), ("--teardown",)):
            done = stage.net.gateway.run("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", POSTERND, "-c", stage.postern.config,
                                         *arguments, check=False, timeout=20)
            assert done.returncode == 1 and "CAP_NET_ADMIN" in done.stderr, done.stderr


def test_explain_and_unblock_say_what_is_not_there():
    with NetStage() as stage:
        done = stage.postern.ctl_run("explain", "--from", CLIENT[4], "--interface", "lan7", f"tcp://{SERVER[4]}:80")
        assert done.returncode != 0 and "no interface" in done.stderr, done.stderr
        stage.postern.ctl_run("block", "192.0.2.1", "300", check=True)
        for answer in ("is no longer blocked", "was not blocked"):
            assert stage.postern.ctl_run("unblock", "192.0.2.1", check=True).stdout == f"192.0.2.1 {answer}\n"
