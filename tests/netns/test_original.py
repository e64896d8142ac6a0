# SPDX-License-Identifier: ISC
"""The address that a client dialled is what the kernel says it is, or the flow is refused. Nothing is dialled to a guessed address."""
import contextlib
import os
import signal

import pytest

from lib.conntrack import Crowd
from lib.netns import CLIENT, FAMILIES, LAN, SECOND, SERVER, SYN, TCP, WAN
from lib.netns_stage import INTERCEPTS, LISTENER_PORT, WEB, NetStage
from lib.postern import wait_until

REQUEST = b"GET /guessed HTTP/1.1\r\nHost: web.test\r\n\r\n"
LONG = os.environ.get("POSTERN_LONG") == "1"


def dialled(outside):
    """SYNs that arrived at the server."""
    return outside.of(lambda packet: packet.protocol == TCP and packet.flags & SYN and packet.incoming)


class Stopped:
    """The worker does not run: connections wait in the listener's backlog."""

    def __init__(self, stage):
        (self.pid,) = stage.postern.workers()

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


@pytest.mark.parametrize("what", ["flushed", "the entry alone"])
def test_no_entry_when_it_is_asked_for(family, what):
    """REDIRECT: connection tracking is the only witness. Between the SYN and the accept its entry goes."""
    with NetStage("redirect") as stage, stage.net.server.capture() as outside:
        with Stopped(stage):
            client = stage.dial(SERVER[family])
            flush = ["-F"] if what == "flushed" else ["-D", "-f", f"ipv{family}", "-p", "tcp", "--orig-port-src", str(client.port)]
            stage.net.gateway.run("conntrack", *flush)
        line = stage.denied("no-original-destination")
        assert line["client"].endswith(f":{client.port}") and "server" not in line
        client.close()                # it cannot be told: what would translate the answer is what is missing
        assert not dialled(outside)
        assert stage.get(SERVER[family]).status == 200               # the next one is served


def ask_and_see(client, path):
    """The status, or None if the stream ended or hangs."""
    try:
        return client.request("GET", path, "web.test").status
    except (OSError, ConnectionError):
        return None


def test_tproxy_with_no_entry_when_it_is_asked_for(family):
    """Its socket says what was dialled, so nothing is guessed with or without an entry."""
    with NetStage("tproxy") as stage, stage.net.server.capture() as outside:
        with Stopped(stage):
            client = stage.dial(SERVER[family], timeout=1)
            stage.net.gateway.run("conntrack", "-F")
        assert client.request("GET", "/", "web.test").status == 200
        client.close()
        assert {packet.target for packet in dialled(outside)} == {SERVER[family]}
        assert {packet.source for packet in outside.of(lambda packet: packet.incoming)} == {WAN[family]}
        assert stage.get(SERVER[family]).status == 200


def test_flushed_in_the_middle_of_a_stream(intercept, family):
    """With TPROXY what is open goes on: its socket says whose it is. With REDIRECT it goes on or ends. Nothing goes around."""
    with NetStage(intercept) as stage, stage.net.server.capture() as outside:
        with stage.dial(SERVER[family], timeout=1) as client:
            assert client.request("GET", "/", "web.test").status == 200
            stage.net.gateway.run("conntrack", "-F")
            assert ask_and_see(client, "/again") in ((200,) if intercept == "tproxy" else (200, None))
        assert {packet.source for packet in outside.of(lambda packet: packet.incoming)} == {WAN[family]}
        assert stage.get(SERVER[family]).status == 200


NOT_THERE = {"name": "not-there", "from": "inside", "to": "outside", "protocols": ["http"], "paths": ["/denied"], "action": "deny"}


@pytest.mark.parametrize("intercept", INTERCEPTS if LONG else ["redirect"])
def test_the_table_is_full(intercept):
    """The kernel drops what would need a new entry, so nobody new comes in and nothing is dialled; who is in is served, and told if a new
    connection to the server is needed. When there is room again, everybody is served."""
    with NetStage(intercept, timeouts={"drain": 1.0, "connect": 1.0, "keepalive": 600.0}, policies=[NOT_THERE, WEB]) as stage, contextlib.ExitStack() as stack:
        crowd = Crowd(stage.net.gateway)
        if crowd.why_not():
            pytest.skip(crowd.why_not())
        served, late = ({family: stack.enter_context(stage.dial(SERVER[family])) for family in FAMILIES} for _ in range(2))
        for family in FAMILIES:
            assert served[family].request("GET", "/", "web.test").status == 200
            assert late[family].request("GET", "/denied", "web.test").status == 403
        stage.net.gateway.sysctl("net.netfilter.nf_conntrack_events", 0)       # what the filter process does with many is not what is asked here
        crowd.fill()
        outside = stack.enter_context(stage.net.server.capture())
        for family in FAMILIES:
            crowd.fill()
            assert served[family].request("GET", "/again", "web.test").status == 200
            with pytest.raises(TimeoutError):
                stage.dial(SERVER[family], timeout=1)
            crowd.fill()
            assert late[family].request("GET", "/late", "web.test").status in (502, 504)
        assert outside.of(lambda packet: packet.incoming) and not dialled(outside)
        stage.net.gateway.run("conntrack", "-F")
        for family in FAMILIES:
            wait_until(lambda: stage.get(SERVER[family]).status == 200, what="new connections")


def test_packets_that_are_not_tracked(intercept, family):
    """Somebody else's table says notrack: no mark, no entry, no translation. Such packets are dropped and counted."""
    protocol = {4: "ip", 6: "ip6"}[family]
    with NetStage(intercept) as stage, stage.net.server.capture() as outside:
        stage.net.gateway.nft(f"""table inet foreign {{
            chain early {{ type filter hook prerouting priority -310; {protocol} saddr {CLIENT[family]} tcp dport 80 notrack; }}
        }}""")
        before = stage.counter("untracked")
        try:
            with stage.dial(SERVER[family], timeout=1) as client:
                client.send(REQUEST)
                client.wait_close(1)
        except OSError:
            pass
        assert not outside.of(lambda packet: packet.source == CLIENT[family])
        assert not dialled(outside) or {packet.target for packet in dialled(outside)} == {SERVER[family]}
        if not dialled(outside):
            assert stage.counter("untracked") > before
        assert stage.get(SERVER[family], where=stage.net.second).status == 200


def test_a_direct_connection_to_the_listener(intercept, family):
    """Nothing was intercepted, so nothing says where to. A policy to self lets it reach the worker, who refuses it."""
    direct = {"name": "direct", "to": "self", "protocols": ["tcp"], "ports": [LISTENER_PORT], "action": "allow"}
    with NetStage(intercept, policies=[direct, WEB]) as stage, stage.net.server.capture() as outside:
        places = [(stage.net.client, LAN[family]), (stage.net.client, WAN[family]), (stage.net.gateway, {4: "127.0.0.1", 6: "::1"}[family])]
        for number, (where, address) in enumerate(places, 1):
            try:
                with stage.dial(address, LISTENER_PORT, where=where) as client:
                    client.send(REQUEST)
                    assert client.wait_close(5) == b""
            except OSError:
                pass                  # reset at once
            wait_until(lambda: len([line for line in stage.postern.access() if line.get("reason") == "no-original-destination"]) == number,
                       what="the line of the refusal")
        assert not dialled(outside)
        assert stage.get(SERVER[family]).status == 200


def test_the_listeners_port_is_not_open(intercept, family):
    """It is where the kernel brings what it intercepts. Who dials it himself is dropped."""
    with NetStage(intercept) as stage:
        before = stage.counter("no-policy")
        with pytest.raises(TimeoutError):
            stage.dial(LAN[family], LISTENER_PORT, timeout=0.3)
        assert stage.counter("no-policy") > before


def test_the_gateways_own_port_80_is_not_intercepted(intercept, family):
    """What is for this machine is never handed to a transparent listener."""
    with NetStage(intercept) as stage, stage.net.server.capture() as outside:
        with pytest.raises(OSError):
            stage.dial(LAN[family], 80, timeout=0.3)
        assert not dialled(outside)


SPOOF = """import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
taken = socket.socket(family)
taken.settimeout(0.5)
taken.setsockopt(*((socket.SOL_IP, 19, 1) if family == socket.AF_INET else (41, 75, 1)))
taken.bind((sys.argv[1], 0))
taken.connect((sys.argv[2], 80))
"""


def test_workers_begin_no_flow_with_the_address_of_others(family):
    """Their transparent sockets may answer with it. That one binds another with it takes a worker that somebody else has taken over."""
    with NetStage("tproxy") as stage, stage.net.server.capture() as outside:
        before = stage.counter("spoofed")
        stage.net.gateway.run("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin",
                              "/usr/bin/python3", "-c", SPOOF, CLIENT[family], SERVER[family], check=False)
        assert stage.counter("spoofed") > before
        assert not dialled(outside)


def test_a_loop_is_cut(intercept, family):
    """Host names the gateway's own listener, and host_check is off or resolves it: it is not dialled."""
    names = {"loop.test": LAN, "web.test": SERVER}
    with NetStage(intercept, names=names, listener={"host_check": "resolve"}) as stage:
        answer = stage.get(SERVER[family], host=f"loop.test:{LISTENER_PORT}")
        assert answer.status >= 400
        # What a client dialled stands for the port: it is 80, where nobody listens and no zone is.
        assert stage.get(SERVER[family], host="loop.test").status >= 400
        assert stage.get(SERVER[family]).status == 200


def test_zones_by_the_interface_that_it_came_in_by(intercept, family):
    """The row has both interfaces and zones, though the worker that accepted it sees neither packet nor route."""
    with NetStage(intercept) as stage, stage.dial(SERVER[family]) as client:
        assert client.request("GET", "/", "web.test").status == 200
        row = wait_until(lambda: next(iter(stage.sessions("mode=transparent")), None), what="the row")
        assert (row["interface_in"], row["zone_in"], row["interface_out"], row["zone_out"]) == ("lan0", "inside", "wan0", "outside")


def test_clients_of_no_zone_are_not_intercepted(intercept):
    zones = [{"name": "inside", "interfaces": ["lan0"], "networks": [f"{SECOND[4]}/32", f"{SECOND[6]}/128"]},
             {"name": "outside", "interfaces": ["wan0"], "networks": ["10.77.2.0/24", "fd77:2::/64"]}]
    with NetStage(intercept, zones=zones) as stage:
        for family in FAMILIES:
            with stage.net.server.capture() as outside:
                with pytest.raises(TimeoutError):
                    stage.dial(SERVER[family], timeout=0.3)
                assert not dialled(outside)
            assert stage.get(SERVER[family], where=stage.net.second).status == 200
