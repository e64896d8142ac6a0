# SPDX-License-Identifier: ISC
"""A new binary where a packet filter is: the table is never missing, flows go on and have one row, and a new one that fails leaves what was."""
import os
import re
import signal
import socket

import pytest

from lib import ws
from lib.netns import FAMILIES, SERVER
from lib.netns_stage import DENY, KERNEL, L4_PORT, PING, WEB, NetStage
from lib.postern import proc_status, wait_until
from lib.upgrade import Replaceable, has_ended


def replaceable(intercept="tproxy", **more):
    return NetStage(intercept, program=Replaceable, **{"timeouts": {"drain": 2.0}, "packet_filter": {"on_exit": "open"}, **more})


def open_socket(stage, family):
    client = stage.dial(SERVER[family])
    client.send(ws.handshake("/ws", "web.test"))
    assert client.response().status == 101
    return client


def echo(client, text):
    client.send(ws.frame(ws.TEXT, text, mask=True))
    client.read_until(lambda data: (ws.TEXT, text) in ws.messages_in(ws.frames_in(data)))


def forwarded(stage, family):
    """Both ends of a flow that the kernel forwards."""
    with stage.net.server:
        listener = socket.create_server((SERVER[family], L4_PORT), family=socket.AF_INET6 if family == 6 else socket.AF_INET)
    client = stage.net.client.connect(SERVER[family], L4_PORT, None, 15.0)
    server, _ = listener.accept()
    listener.close()
    return client, server


def rows_of(stage, client):
    return [row for row in stage.sessions() if row["client"].endswith(f":{client.getsockname()[1]}")]


def test_flows_go_on_and_the_table_is_there(intercept):
    with replaceable(intercept) as stage:
        pairs = [forwarded(stage, family) for family in FAMILIES]
        sockets = [open_socket(stage, family) for family in FAMILIES]
        stage.ask("block", address="10.77.1.99")
        for client, _ in pairs:
            wait_until(lambda client=client: len(rows_of(stage, client)) == 1, what="the row of a forwarded flow")
        old = stage.postern.upgrade()
        assert stage.table()
        for client, server in pairs:
            client.sendall(b"on")
            assert server.recv(10) == b"on"
            wait_until(lambda client=client: [row["state"] for row in rows_of(stage, client)] == ["ESTABLISHED"], what="one row of it")
        for number, client in enumerate(sockets):
            echo(client, b"%d" % number)
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)
        assert {row["state"] for row in stage.sessions("protocol=websocket")} == {"DRAINING"}
        assert has_ended(old) == 0
        assert stage.table()                                  # though "open" is for a clean stop
        assert [block["address"] for block in stage.ask("blocks")["blocks"]] == ["10.77.1.99"]
        for client, server in pairs:
            server.sendall(b"back")
            assert client.recv(10) == b"back"
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)
        assert not re.search(r"by another program", stage.postern.stderr())
        assert stage.ask("status")["filter"]["mended"] == 0
        for client, server in pairs:
            client.close()
            server.close()


def gated(stage):
    """The next new posternd, which has another table, waits at this gate before it begins. The gate, and its process."""
    gate = os.path.join(stage.postern.folder, "gate")
    os.mkfifo(gate)
    stage.postern.replace()
    os.rename(stage.postern.binary, stage.postern.binary + ".real")
    stage.postern.replace(script=f'read line < {gate}\nexec {stage.postern.binary}.real "$@"')
    stage.postern.write({**stage.settings, "policies": [DENY, WEB, {**KERNEL, "ports": [7]}, PING]})
    stage.postern.signal(signal.SIGUSR2)
    return gate, int(stage.said(r"is started as process (\d+)")[1])


def open_gate(gate):
    with open(gate, "w") as file:
        file.write("go\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_new_one_that_ends_behind_its_commit_leaves_the_old_table(number):
    """Its table is in force and it waits for its turn: the table is not its own to take away, though "open" is what a stop means."""
    with replaceable() as stage:
        before = stage.table()
        gate, new = gated(stage)
        stage.postern.signal(signal.SIGSTOP)
        open_gate(gate)
        changed = wait_until(lambda: (now := stage.table()) not in (before, "") and now, what="the new table")
        os.kill(new, number)
        wait_until(lambda: not proc_status(new), what="the new one to end")
        assert stage.table() == changed
        stage.postern.signal(signal.SIGCONT)
        stage.said("upgrade failed")
        wait_until(lambda: stage.table() == before, what="the old table")
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)
        assert stage.postern.pid_file() == stage.postern.process.pid


def test_a_filter_process_that_comes_back_meanwhile_does_not_mend():
    """... the table of the new one: each would put back its own."""
    with replaceable() as stage, open_socket(stage, 4):
        gate, new = gated(stage)
        [filter_process] = stage.postern.pids("filter")
        os.kill(filter_process, signal.SIGKILL)
        wait_until(lambda: stage.postern.pids("filter") not in ([], [filter_process]) and stage.ask("status")["filter"].get("ready"), what="another filter")
        open_gate(gate)
        stage.postern.follow(new)
        assert has_ended(stage.postern.old[-1]) == 0          # it has drained for two seconds, and looked at the table in each
        assert not re.search(r"by another program", stage.postern.stderr())


def test_another_table_is_refused():
    with replaceable() as stage:
        before = stage.table()
        stage.postern.write({**stage.settings, "packet_filter": {"backend": "nftables", "table": "other"}})
        refused = stage.postern.ctl_run("upgrade")
        assert refused.returncode == 1 and "reload first" in refused.stderr
        assert stage.table() == before and "other" not in stage.net.gateway.run("nft", "list", "tables").stdout
