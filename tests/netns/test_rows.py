# SPDX-License-Identifier: ISC
"""One table: each row, of a proxied flow or of one that the kernel forwards, is what connection tracking and the sockets say."""
import contextlib
import re
import socket
import struct
import time

import pytest

from lib import ws
from lib.netns import CLIENT, FAMILIES, LAN, SECOND, SERVER, WAN, Echo, UdpEcho, ask
from lib.netns_stage import TLS_PORT, NetStage, client_tls
from lib.postern import wait_until
from test_states import udp_client

# Entries of what has ended go soon, so that a test can wait for them.
SHORT = {"icmp_timeout": 2, "icmpv6_timeout": 2, "tcp_timeout_time_wait": 1, "tcp_timeout_close": 1,
         "tcp_timeout_fin_wait": 1, "tcp_timeout_last_ack": 1, "tcp_timeout_close_wait": 1}


def text_of(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def pair_of(text):
    """"10.0.0.1:80" or "[::1]:80" as (address, port)."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def sockets(namespace):
    """Established TCP sockets of the namespace: {(local, peer)}."""
    found = set()
    for line in namespace.run("ss", "-tnH", "state", "established").stdout.splitlines():
        local, peer = line.split()[-2:]
        found.add((pair_of(re.sub(r"%\w+", "", local)), pair_of(peer)))
    return found


def endless(connection, request):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
    connection.wait_end(60)


@contextlib.contextmanager
def proxied(stage):
    """20 flows through the proxy: answers and uploads under way, WebSockets, TLS, of both clients and both families."""
    stage.routes["/endless"] = endless
    with contextlib.ExitStack() as stack:
        for number in range(20):
            family, where = FAMILIES[number % 2], (stage.net.client, stage.net.second)[number // 2 % 2]
            kind = ("http", "http", "websocket", "tls", "upload")[number // 4]
            client = stack.enter_context(stage.dial(SERVER[family], TLS_PORT if kind == "tls" else 80, where=where))
            if kind in ("http", "upload"):
                # Ends with a reset: after an end alone it could still wait for its answer, and the flow would be none that has ended.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if kind == "tls":
                client.socket = client_tls().wrap_socket(client.socket, server_hostname="tls.test")
            if kind == "websocket":
                client.send(ws.handshake("/ws", "web.test"))
                assert client.response().status == 101
            elif kind == "tls":
                assert client.request("GET", f"/row/{number}", "tls.test").status == 200
            elif kind == "upload":
                client.send(b"POST /row HTTP/1.1\r\nHost: web.test\r\nContent-Length: 100\r\n\r\nbegun")
            else:
                client.send(b"GET /endless HTTP/1.1\r\nHost: web.test\r\n\r\n")
                client.read_until(lambda data: b"begun" in data)
        yield


@contextlib.contextmanager
def forwarded(stage):
    """30 flows that the kernel forwards: 12 of TCP, 12 of UDP, 6 of ICMP."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for family in FAMILIES:
            servers["tcp", family] = stack.enter_context(Echo(stage.net.server, family, 5000))
            servers["udp", family] = stack.enter_context(UdpEcho(stage.net.server, family, 5000))
        for number in range(12):
            family, where = FAMILIES[number % 2], (stage.net.client, stage.net.second)[number // 2 % 2]
            ask(stack.enter_context(where.connect(SERVER[family], 5000)), b"hello")
            client = stack.enter_context(udp_client(where, family))
            client.sendto(b"hello", (SERVER[family], 5000))
            assert client.recv(100).endswith(b"hello")
        pings = []
        for number in range(6):
            family, where = FAMILIES[number % 2], (stage.net.client, stage.net.second)[number // 2 % 2]
            pings.append(where.popen("ping", "-q", "-c", "20", "-i", "0.5", SERVER[family], stdout=-3))
        yield
        for ping in pings:
            ping.kill()
            ping.wait()


def tracked(stage):
    """Entries of flows that begin at the clients: those that rows stand for."""
    inside = {*CLIENT.values(), *SECOND.values()}
    return {entry["id"]: entry for entry in stage.conntrack() if entry["original"][0] in inside and entry["original"][2] in SERVER.values()}


def differences(stage):
    """What does not fit between rows and entries; [] is what we want."""
    entries, rows = tracked(stage), [row for row in stage.sessions()]
    wrong = [("no entry for the row", row["id"], row.get("conntrack")) for row in rows if row.get("conntrack") not in entries]
    wrong += [("no row for the entry", entries[number]["line"]) for number in entries.keys() - {row.get("conntrack") for row in rows}]
    for row in rows:
        entry = entries.get(row.get("conntrack"))
        if entry is None:
            continue
        source, sport, target, dport = entry["original"]
        answering, answering_port, *_ = entry["reply"]
        icmp = entry["protocol"].startswith("icmp")
        if pair_of(row["client"]) != (source, sport):
            wrong.append(("client", row["client"], entry["line"]))
        if pair_of(row["destination"])[0] != target or (not icmp and pair_of(row["destination"])[1] != dport):
            wrong.append(("destination", row["destination"], entry["line"]))
        if (answering, answering_port) != (target, dport) and not icmp and pair_of(row.get("translated", ":0")) != (answering, answering_port):
            wrong.append(("translated", row.get("translated"), entry["line"]))
        if row.get("mark") != entry["mark"]:
            wrong.append(("mark", row.get("mark"), entry["line"]))
        state = {"tcp": "ESTABLISHED" if entry["state"] == "ESTABLISHED" else entry["state"]}.get(
            entry["protocol"], "NEW" if "UNREPLIED" in entry["flags"] else "ESTABLISHED")
        if row.get("conntrack_state") != state:
            wrong.append(("state", row.get("conntrack_state"), entry["line"]))
        if row["mode"] == "forwarded" and row["protocol"] != {"icmpv6": "icmp"}.get(entry["protocol"], entry["protocol"]):
            wrong.append(("protocol", row["protocol"], entry["line"]))
    return wrong


def test_fifty_flows(intercept):
    with NetStage(intercept) as stage:
        for name, value in SHORT.items():
            stage.net.gateway.sysctl(f"net.netfilter.nf_conntrack_{name}", value)
        with proxied(stage), forwarded(stage):
            wait_until(lambda: len(stage.sessions()) >= 50, what="50 rows")
            wait_until(lambda: not differences(stage), 5, what="rows that equal entries")
            rows = stage.sessions()
            assert len(rows) == 50 and len({row["id"] for row in rows}) == 50
            assert sorted({row["mode"] for row in rows}) == ["forwarded", "transparent"]
            live = sockets(stage.net.gateway)
            for row in rows:
                assert (row["interface_in"], row["zone_in"]) == ("lan0", "inside")
                if row["mode"] == "forwarded":
                    assert (row["interface_out"], row["zone_out"]) == ("wan0", "outside")
                    assert row["policy"]["name"] == ("ping" if row["protocol"] == "icmp" else "kernel")
                    continue
                ours = row["destination"] if intercept == "tproxy" else row["translated"]
                assert (pair_of(ours), pair_of(row["client"])) in live
                assert (pair_of(row["upstream"]), pair_of(row["server"])) in live
                assert pair_of(row["upstream"])[0] in WAN.values() and row["server"] == row["destination"]
            assert len(live) == 40
        # Nobody says that a flow of UDP has ended; its entry does.
        for family in FAMILIES:
            stage.net.gateway.run("conntrack", "-D", "-f", f"ipv{family}", "-p", "udp")
        ended = time.monotonic()
        try:
            wait_until(lambda: not stage.sessions(), 5, what="an empty table")
        except AssertionError:
            raise AssertionError(f"left: {stage.sessions()}, {list(tracked(stage).values())}") from None
        assert time.monotonic() - ended < 5 and not sockets(stage.net.gateway)

        def ends():
            return [line["protocol"] for line in stage.postern.access() if line["event"] == "end" and line["mode"] == "forwarded"]
        wait_until(lambda: len(ends()) >= 30, what="their lines")
        assert set(ends()) == {"tcp", "udp", "icmp"}


@pytest.mark.parametrize("mode", ["transparent", "forwarded"])
def test_kill_deletes_the_entry(intercept, family, mode):
    with NetStage(intercept) as stage, Echo(stage.net.server, family, 5000):
        stage.routes["/endless"] = endless
        client = stage.net.client.connect(SERVER[family], 80 if mode == "transparent" else 5000)
        if mode == "forwarded":
            ask(client, b"hello")
        else:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: web.test\r\n\r\n")
            assert b"200" in client.recv(1000)
        row = wait_until(lambda: next((row for row in stage.sessions(f"mode={mode}") if row.get("conntrack")), None), what="the row")
        assert row["conntrack"] in tracked(stage)
        with stage.net.server.capture() as outside:
            stage.postern.ctl_run("kill", row["id"], check=True)
            wait_until(lambda: row["conntrack"] not in tracked(stage), 5, "the end of the entry")
            wait_until(lambda: not stage.sessions(f"mode={mode}"), 5, "the end of the row")
            before = stage.counter("not-syn")
            with contextlib.suppress(ConnectionError):
                client.sendall(b"after the end")
                if mode == "forwarded":
                    wait_until(lambda: stage.counter("not-syn") > before, what="the drop")
            assert not outside.of(lambda packet: b"after the end" in packet.payload)
        client.close()
        assert stage.postern.wait_access(lambda line: line.get("reason") == "killed")["session"] == row["id"]


TO_SELF = {"name": "to-self", "from": "inside", "to": "self", "protocols": ["tcp", "udp"], "ports": [2222, 2223], "action": "allow"}
PLACES = [(4, 4), (6, 6), (4, 6)]                                # of the client; of the server's socket


@contextlib.contextmanager
def session_with_the_gateway(stage, family, server_family):
    """A connection that a server on the gateway has accepted: (client, server, row)."""
    with stage.net.gateway.socket(server_family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if server_family == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, family == 6)
        listening.bind(({4: "0.0.0.0", 6: "::"}[server_family], 2222))
        listening.listen()
        with stage.net.client.connect(LAN[family], 2222) as client:
            server, _ = listening.accept()
            with server:
                server.settimeout(5)
                client.sendall(b"hello")
                assert server.recv(100) == b"hello"
                name = text_of(*client.getsockname()[:2])
                row = wait_until(lambda: next((row for row in stage.sessions("mode=forwarded") if row["client"] == name), None), what="the row")
                yield client, server, row
        # What listens is not the client's: it goes on.
        with stage.net.client.connect(LAN[family], 2222, timeout=5):
            listening.accept()[0].close()


def is_over(client, server):
    with pytest.raises(ConnectionError):
        server.send(b"I speak next")
        server.recv(100)
    with pytest.raises(ConnectionError):
        client.settimeout(5)
        client.sendall(b"after the end")
        if not client.recv(100):
            raise ConnectionError("ended")


@pytest.mark.parametrize("family, server_family", PLACES)
def test_kill_ends_a_flow_to_the_gateway_although_its_server_speaks_next(family, server_family):
    with NetStage(policies=[TO_SELF]) as stage:
        with session_with_the_gateway(stage, family, server_family) as (client, server, row):
            assert stage.ask("kill", id=row["id"]) == {"killed": 1}
            is_over(client, server)
            wait_until(lambda: not stage.sessions("mode=forwarded"), 5, "the end of the row")
            assert not [entry for entry in stage.conntrack() if 2222 in (entry["original"][1], entry["original"][3]) and entry["state"] == "ESTABLISHED"]
        assert stage.postern.wait_access(lambda line: line.get("session") == row["id"])["reason"] == "killed"


def test_kill_ends_a_translated_flow_to_the_gateway():
    """Another table sends port 2223 of the gateway to 2222: the socket knows the second alone. And a server on one interface is found."""
    with NetStage(policies=[TO_SELF]) as stage, stage.net.gateway.bind(4, 2222) as listening:
        stage.net.gateway.run("nft", "-f", "-", input="table ip other { chain c { type nat hook prerouting priority -100; "
                              "tcp dport 2223 redirect to :2222; }; }\n")
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lan0")
        with stage.net.client.connect(LAN[4], 2223) as client, listening.accept()[0] as server:
            client.sendall(b"hello")
            row = wait_until(lambda: next(iter(stage.sessions("mode=forwarded")), None), what="the row")
            stage.postern.ctl_run("kill", row["id"], check=True)
            server.settimeout(5)
            is_over(client, server)


def test_kill_leaves_a_udp_server_and_ends_a_connected_one(family):
    with NetStage(policies=[TO_SELF]) as stage, stage.net.gateway.bind(family, 2222, socket.SOCK_DGRAM) as server, \
            udp_client(stage.net.client, family) as client:
        server.settimeout(5)

        def spoken():
            client.sendto(b"hello", (LAN[family], 2222))
            data, peer = server.recvfrom(100)
            server.sendto(data, peer)
            assert client.recv(100) == b"hello"
            return peer
        spoken()
        row = wait_until(lambda: next(iter(stage.sessions("mode=forwarded")), None), what="the row")
        assert stage.ask("kill", id=row["id"]) == {"killed": 1}
        wait_until(lambda: not stage.sessions("mode=forwarded"), 5, "the end of the row")
        server.connect(spoken())
        row = wait_until(lambda: next(iter(stage.sessions("mode=forwarded")), None), what="the row")
        assert stage.ask("kill", id=row["id"]) == {"killed": 1}
        with pytest.raises(ConnectionError):
            server.recv(100)


def test_states_and_translation_are_seen(family):
    """NEW while nobody answers; both tuples of a masqueraded flow; INVALID is counted, as it has no entry."""
    with NetStage(packet_filter={"masquerade": ["outside"]}) as stage, udp_client(stage.net.client, family) as client:
        blackhole = stage.net.server.socket(family, socket.SOCK_DGRAM)
        blackhole.bind(({4: "0.0.0.0", 6: "::"}[family], 5001))
        client.sendto(b"unanswered", (SERVER[family], 5001))
        row = wait_until(lambda: next(iter(stage.sessions("protocol=udp")), None), what="the row")
        assert row["conntrack_state"] == "NEW" and pair_of(row["upstream"])[0] == WAN[family]
        data, peer = blackhole.recvfrom(100)
        blackhole.sendto(data, peer)
        assert client.recv(100) == data
        wait_until(lambda: stage.sessions("protocol=udp")[0]["conntrack_state"] == "ESTABLISHED", what="ESTABLISHED")
        blackhole.close()
