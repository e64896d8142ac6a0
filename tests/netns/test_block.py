# SPDX-License-Identifier: ISC
"""Blocked clients: by an operator, or by what they did. The kernel drops them, and their streams end."""
import time

import pytest

from lib import ws
from lib.netns import CLIENT, FAMILIES, LAN, SERVER, WAN, UdpEcho
from lib.netns_stage import NetStage
from lib.postern import wait_until
from test_rows import PLACES, TO_SELF, is_over, session_with_the_gateway
from test_states import udp_client

BLOCK = {"packet_filter": {"block_seconds": 60, "block_after": 5}}


@pytest.fixture
def stage(intercept):
    with NetStage(intercept, **BLOCK) as made:
        yield made


def blocked(stage, address):
    """By what posternctl says, which asks the kernel."""
    return any(one["address"] == address for one in stage.ask("blocks")["blocks"])


def test_in_the_middle_of_a_websocket(stage, family):
    net = stage.net
    with stage.dial(SERVER[family]) as client, net.server.capture() as outside:
        client.send(ws.handshake("/ws", "web.test"))
        assert client.response().status == 101
        client.send(ws.frame(ws.TEXT, b"before", mask=True))
        client.read_until(lambda data: b"before" in data)
        stage.postern.ctl_run("block", CLIENT[family], check=True)
        client.send(ws.frame(ws.TEXT, b"blocked message", mask=True, mask_key=b"\0\0\0\0"))
        frames = client.read_until(lambda data: [frame for frame in ws.frames_in(data) if frame.op == ws.CLOSE and frame.complete])
        assert [frame.close_code for frame in frames] == [1008]
        wait_until(lambda: stage.counter("blocked") > 0, what="the kernel's counter")
        line = stage.postern.wait_access(lambda line: line.get("reason") == "blocked")
        assert line["protocol"] == "websocket" and line["closed_by"] == "postern"
        # The server was told, and of the message it got nothing.
        outside.wait(lambda packet: packet.incoming and packet.dport == 80 and b"\x03" in packet.payload or packet.flags & 1)
        assert not outside.of(lambda packet: b"blocked message" in packet.payload)
        assert not any(b"blocked message" in bytes(one.received) for one in stage.http[family].connections)


def test_block_and_unblock(stage, family):
    address = CLIENT[family]
    stage.postern.ctl_run("block", address, "30", check=True)
    with pytest.raises(TimeoutError):
        stage.dial(SERVER[family], timeout=0.3)
    assert stage.get(SERVER[family], where=stage.net.second).status == 200
    assert blocked(stage, address) and address in stage.table()
    stage.reload()
    assert blocked(stage, address)
    stage.reload(policies=stage.settings["policies"][:2])
    assert blocked(stage, address)                                   # a new ruleset keeps who is blocked
    stage.postern.ctl_run("unblock", address, check=True)
    assert not blocked(stage, address)
    assert stage.get(SERVER[family]).status == 200
    stage.postern.ctl_run("unblock", address, check=True)            # nothing to remove is fine
    assert stage.postern.ctl_run("block", "nonsense").returncode != 0


def test_a_block_ends_by_itself(family):
    with NetStage(**BLOCK) as stage:
        stage.postern.ctl_run("block", CLIENT[family], "1", check=True)
        with pytest.raises(TimeoutError):
            stage.dial(SERVER[family], timeout=0.2)
        wait_until(lambda: not blocked(stage, CLIENT[family]), 5, "the end of the block")
        assert stage.get(SERVER[family]).status == 200


def test_networks_can_be_blocked(family):
    network = {4: "10.77.1.0/28", 6: "fd77:1::10/124"}[family]
    with NetStage(**BLOCK) as stage:
        stage.postern.ctl_run("block", network, check=True)
        for where in (stage.net.client, stage.net.second):
            with pytest.raises(TimeoutError):
                stage.dial(SERVER[family], timeout=0.2, where=where)
        stage.postern.ctl_run("unblock", network, check=True)
        assert stage.get(SERVER[family]).status == 200


def test_a_machine_in_a_blocked_network_still_reaches_itself(family):
    """A hostile client's /64 is blocked as a whole, and the gateway has an address of it, too."""
    with NetStage(**BLOCK) as stage:
        stage.postern.ctl_run("block", {4: "10.77.1.0/28", 6: "fd77:1::/64"}[family], check=True)
        with stage.net.gateway.bind(family, 7777), stage.net.gateway.connect(LAN[family], 7777, timeout=1) as made:
            assert made.getpeername()[0] == LAN[family]


def test_a_flow_that_the_kernel_forwards_is_cut(family):
    with NetStage(**BLOCK) as stage, UdpEcho(stage.net.server, family, 5000), udp_client(stage.net.client, family) as client:
        client.sendto(b"one", (SERVER[family], 5000))
        assert client.recv(100).endswith(b"one")
        stage.postern.ctl_run("block", CLIENT[family], check=True)
        with stage.net.server.capture() as outside:
            before = stage.counter("blocked")
            client.sendto(b"two", (SERVER[family], 5000))
            wait_until(lambda: stage.counter("blocked") > before, what="the kernel's counter")
            assert not outside.packets


@pytest.mark.parametrize("family, server_family", PLACES)
def test_a_flow_to_the_gateway_ends(family, server_family):
    """Also if its server speaks next; and it does not go on when the client is let in again. Others' stay."""
    with NetStage(**BLOCK, policies=[TO_SELF]) as stage, stage.net.gateway.bind(4, 2223, address=WAN[4]) as listening, \
            stage.net.second.connect(WAN[4], 2223) as other, listening.accept()[0] as others:
        with session_with_the_gateway(stage, family, server_family) as (client, server, row):
            stage.postern.ctl_run("block", CLIENT[family], check=True)
            is_over(client, server)
            stage.postern.ctl_run("unblock", CLIENT[family], check=True)
            assert stage.postern.wait_access(lambda line: line.get("reason") == "blocked")["client"].startswith(("10.77.1.10:", "[fd77:1::10]:"))
            others.sendall(b"still here")
            assert other.recv(100) == b"still here"


def test_hostile_clients_block_themselves(stage, family):
    """More than block_after hostile events a minute. On IPv4 the other client does the same, but less; on IPv6 a /64 is one client."""
    def hostile(where):
        with stage.dial(SERVER[family], where=where, timeout=2) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            return client.wait_close(2)
    if family == 4:
        for _ in range(3):
            assert b" 400 " in hostile(stage.net.second)
    who, count = {4: CLIENT[4], 6: "fd77:1::/64"}[family], 0
    while not blocked(stage, who) and count < 20:
        try:
            hostile(stage.net.client)
        except OSError:
            break
        count += 1
    wait_until(lambda: blocked(stage, who), 5, "the block")
    assert count >= 5
    with pytest.raises(TimeoutError):
        stage.dial(SERVER[family], timeout=0.3)
    if family == 4:
        assert stage.get(SERVER[family], where=stage.net.second).status == 200
    stage.said(rf"(?i)block.*{who}|{who}.*block", 2)


def test_ordinary_denials_are_not_hostile(stage):
    for family in FAMILIES:
        for _ in range(8):
            assert stage.get({4: "10.77.2.66", 6: "fd77:2::66"}[family]).status == 403
        time.sleep(0.05)
        assert not blocked(stage, CLIENT[family])
