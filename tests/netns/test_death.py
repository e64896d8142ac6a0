# SPDX-License-Identifier: ISC
"""However it ends: while the rules are there nothing passes around the proxy, and they go only when they were told to."""
import os
import signal
import threading

import pytest

from lib import ws
from lib.netns import CLIENT, FAMILIES, FIN, PSH, SECOND, SERVER, RawSender
from lib.netns_stage import HTTP_PORT, L4_PORT, TLS_PORT, WEB, NetStage
from lib.postern import children_of, wait_until

INSIDE = {*CLIENT.values(), *SECOND.values()}


class Load:
    """Clients that ask until they are stopped, whatever becomes of it."""

    def __init__(self, stage, threads=4):
        self.stage, self.answered, self.stopped = stage, 0, threading.Event()
        self.threads = [threading.Thread(target=self._run, args=[FAMILIES[n % 2]], daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, family):
        while not self.stopped.is_set():
            try:
                with self.stage.dial(SERVER[family], timeout=0.3) as client:
                    while not self.stopped.is_set():
                        self.answered += client.request("GET", "/load", "web.test").status == 200
            except (OSError, ConnectionError):
                self.stopped.wait(0.01)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)


def established(stage):
    """Flows that are open when the end comes: WebSockets that the server was seen to answer on."""
    clients = []
    for family in FAMILIES:
        for _ in range(3):
            client = stage.dial(SERVER[family])
            client.send(ws.handshake("/ws", "web.test") + ws.frame(ws.TEXT, b"before", mask=True))
            client.read_until(lambda data: b"before" in data)
            clients.append(client)
    return clients


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def no_way_around(stage, outside, clients):
    """New and established flows, on both ways: what leaves the clients does not arrive at the server."""
    net = stage.net
    for client in clients:
        try:
            client.send(ws.frame(ws.TEXT, b"after", mask=True))
        except OSError:
            pass                      # reset already: as good
    ports = {client.local for client in clients}
    with RawSender(net.client) as raw:
        for family in FAMILIES:
            for local in ports:
                # What a client's kernel would retransmit or send on, whatever that kernel thinks of the connection.
                raw.syn(CLIENT[family], local, SERVER[family], HTTP_PORT, PSH | 16, acknowledged=5, payload=b"around")
                raw.syn(CLIENT[family], local, SERVER[family], HTTP_PORT, FIN | 16, acknowledged=5)
            for port in (HTTP_PORT, TLS_PORT):
                for number in range(50):
                    raw.syn(CLIENT[family], 20000 + number, SERVER[family], port)
                for number in range(3):
                    try:
                        stage.dial(SERVER[family], port, timeout=0.1).close()
                    except OSError:
                        pass
            # A marker that the policy of the kernel lets through: when it is there, all that went before it was decided.
            raw.udp(CLIENT[family], 29999, SERVER[family], L4_PORT, b"marker")
            outside.wait(lambda packet: packet.family == family and packet.payload == b"marker")
    around = outside.of(lambda packet: packet.source in INSIDE and packet.payload != b"marker")
    assert not around, f"{len(around)} packets around the proxy: {around[:3]}"
    assert outside.lost() == 0


@pytest.mark.parametrize("who", ["every process", "every process, and no entries", "the monitor"])
def test_killed_under_load(intercept, who):
    with NetStage(intercept, workers=2, timeouts={"drain": 0.5}) as stage:
        load = Load(stage)
        clients = established(stage)
        for client in clients:
            client.local = client.port
        wait_until(lambda: load.answered > 50, what="load")
        with stage.net.server.capture() as outside:
            monitor = stage.postern.process.pid
            others = children_of(monitor)
            assert len(others) >= 5
            kill([monitor] + (others if who != "the monitor" else []))
            stage.postern.process.wait()
            if who == "every process, and no entries":
                stage.net.gateway.run("conntrack", "-F")
            no_way_around(stage, outside, clients)
            if who == "the monitor":
                wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in others), what="the end of the others")
                no_way_around(stage, outside, clients)
        load.stop()
        assert stage.table()
        if intercept == "tproxy":
            # As far as connection tracking still takes them for packets of those flows.
            assert sum(map(stage.counter, ("intercepted", "invalid", "not-syn"))) > 0
        # It comes back to rules of its own, and serves.
        stage.postern.start()
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)


def test_a_worker_and_the_filter_process_are_started_again(intercept):
    with NetStage(intercept) as stage:
        table = stage.table()
        for role in ("filter", "worker"):
            (pid,) = stage.postern.pids(role)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: stage.postern.pids(role) not in ([], [pid]), what=f"another {role}")
            wait_until(lambda: stage.postern.ctl_run("filter").returncode == 0, what="an answer of the filter process")
            assert stage.get(SERVER[4]).status == 200
        assert stage.table() == table


def policy_routing(stage):
    """ip rules and routes of our table, both families."""
    return "".join(stage.net.gateway.run("ip", flag, *what, check=False).stdout
                   for flag in ("-4", "-6") for what in (("rule", "show", "pref", "20560"), ("route", "show", "table", "20560")))


@pytest.mark.parametrize("on_exit", ["closed", "open"])
def test_a_clean_stop(intercept, on_exit, family):
    with NetStage(intercept, packet_filter={"on_exit": on_exit}) as stage:
        assert stage.get(SERVER[family]).status == 200
        assert bool(policy_routing(stage)) == (intercept == "tproxy")
        stage.postern.stop()
        with stage.net.server.capture() as outside, RawSender(stage.net.client) as raw:
            raw.syn(CLIENT[family], 21000, SERVER[family], HTTP_PORT)
            raw.udp(CLIENT[family], 21000, SERVER[family], L4_PORT)
            outside.wait(lambda packet: packet.sport == 21000 and packet.dport == L4_PORT)
            assert bool(outside.of(lambda packet: packet.dport == HTTP_PORT)) == (on_exit == "open")
        assert bool(stage.table()) == (on_exit == "closed")
        if on_exit == "open":
            assert policy_routing(stage) == ""


def test_teardown_removes_all_of_it(intercept):
    with NetStage(intercept) as stage:
        foreign = "table ip foreign {\n\tchain c {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n"
        stage.net.gateway.nft(foreign)
        refused = stage.teardown()
        assert refused.returncode != 0 and refused.stderr.strip() and stage.table()          # while it runs
        stage.postern.stop()
        assert stage.table()
        assert stage.teardown().returncode == 0
        assert stage.table() == "" and policy_routing(stage) == ""
        assert stage.net.gateway.ruleset() == foreign
        assert stage.teardown().returncode == 0                      # nothing left to remove is fine
        stage.postern.start()
        assert stage.get(SERVER[4]).status == 200


def test_the_crash_of_a_monitor_that_would_have_opened(family):
    """on_exit = "open" is about a clean stop; a crash leaves the rules."""
    with NetStage(policies=[WEB], packet_filter={"on_exit": "open"}) as stage:
        pids = children_of(stage.postern.process.pid)
        kill([stage.postern.process.pid])
        stage.postern.process.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), what="the end of the others")
        assert stage.table()
