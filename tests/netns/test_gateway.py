# SPDX-License-Identifier: ISC
"""What the kernel does by itself: policies on ports, QUIC, masquerade, port forwards, and the zone self."""
import socket
import time

import pytest

from lib.netns import (CLIENT, DENIED, EVERYWHERE, FAMILIES, ICMP, ICMPV6, LAN, NOWHERE, PLAIN, RST, SECOND, SERVER, TCP, UDP, WAN,
                       Echo, RawSender, ask)
from lib.netns_stage import DENY, HTTP_PORT, KERNEL, L4_PORT, PING, TLS_PORT, WEB, NetStage, listeners
from lib.postern import PROMPT, wait_until

# Administratively prohibited, or a port that is not there: type of destination unreachable.
UNREACHABLE = {4: (ICMP, 3), 6: (ICMPV6, 1)}
SILENT = {"name": "silent", "from": "inside", "protocols": ["tcp", "udp"], "ports": [5900], "action": "drop"}
SSH, ADMIN, EXPLICIT = 2222, 9128, 3128


@pytest.fixture(scope="module")
def stage():
    with NetStage(policies=[DENY, SILENT, WEB, KERNEL, PING]) as made:
        yield made


def answer_of(namespace, address, port, text=b"hello", source=None):
    with namespace.connect(address, port, source) as connection:
        return ask(connection, text).decode().split("\n")


def udp_ask(namespace, family, target, port, text=b"hello", seconds=15):
    with namespace.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect((target, port))
        client.send(text)
        return client.recv(100)


def test_quic_is_refused_at_once_while_tcp_is_intercepted(stage, family):
    """UDP to a port that is intercepted would go around the proxy. Silence would make browsers wait; a refusal makes them fall back."""
    net = stage.net
    with net.client.capture() as inside, net.server.capture() as outside:
        begun = time.monotonic()
        for port in (TLS_PORT, HTTP_PORT):
            with pytest.raises(OSError) as refused:
                udp_ask(net.client, family, SERVER[family], port)
            assert not isinstance(refused.value, TimeoutError)
        assert time.monotonic() - begun < PROMPT
        inside.wait(lambda packet: (packet.protocol, packet.sport) == UNREACHABLE[family])
        assert not outside.of(lambda packet: packet.protocol == UDP)
    assert stage.curl(f"-{family}", "https://tls.test/").stdout == "ok"


def test_a_policy_that_names_the_port_lets_quic_through(family):
    quic = {"name": "quic", "from": "inside", "to": "outside", "protocols": ["udp"], "ports": [443], "action": "allow"}
    with NetStage(policies=[quic, WEB]) as stage, stage.net.server.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((EVERYWHERE[family], 443))
        with stage.net.client.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"initial", (SERVER[family], 443))
            assert server.recv(100) == b"initial"


def test_ports_that_a_policy_opens(stage, family):
    net, server = stage.net, Echo(stage.net.server, family, L4_PORT)
    assert answer_of(net.client, SERVER[family], L4_PORT) == [CLIENT[family], "hello"]
    row = {policy for _, policy, _ in stage.rules()}
    assert "kernel" in row
    server.close()


def test_ports_that_no_policy_opens(stage, family):
    net = stage.net
    with net.client.capture() as inside, net.server.capture() as outside, RawSender(net.client) as raw:
        before = stage.counter("no-policy")
        raw.syn(CLIENT[family], 7100, SERVER[family], 6001)
        raw.udp(CLIENT[family], 7100, SERVER[family], 6001)
        raw.syn(CLIENT[family], 7100, NOWHERE[family], L4_PORT)
        raw.udp("10.77.1.200" if family == 4 else "fd88::1", 7100, SERVER[family], 6001)
        wait_until(lambda: stage.counter("no-policy") >= before + 4, what="four drops")
        assert not outside.packets and not inside.of(lambda packet: packet.incoming)


def test_addresses_that_are_not_special_purpose(stage, family):
    net, server = stage.net, Echo(stage.net.server, family, L4_PORT)
    assert answer_of(net.client, PLAIN[family], L4_PORT) == [CLIENT[family], "hello"]
    server.close()


def test_deny_answers_and_drop_does_not(stage, family):
    net = stage.net
    with net.client.capture() as inside, net.server.capture() as outside, RawSender(net.client) as raw:
        raw.syn(CLIENT[family], 7200, DENIED[family], 6001)
        inside.wait(lambda packet: packet.protocol == TCP and packet.flags & RST and packet.dport == 7200, what="a reset")
        raw.udp(CLIENT[family], 7201, DENIED[family], 6001)
        inside.wait(lambda packet: (packet.protocol, packet.sport) == UNREACHABLE[family], what="unreachable")
        before = stage.counter("silent")
        raw.syn(CLIENT[family], 7202, SERVER[family], 5900)
        raw.udp(CLIENT[family], 7202, SERVER[family], 5900)
        wait_until(lambda: stage.counter("silent") >= before + 2, what="two drops")
        assert not inside.of(lambda packet: packet.incoming and packet.dport == 7202)
        assert not outside.packets


def test_masquerade(family):
    with NetStage(policies=[KERNEL, PING, WEB], packet_filter={"masquerade": ["outside"]}) as stage, stage.net.server.capture() as outside:
        net, server = stage.net, Echo(stage.net.server, family, L4_PORT)
        assert answer_of(net.client, SERVER[family], L4_PORT) == [WAN[family], "hello"]
        net.client.run("ping", "-c", "1", "-W", "5", SERVER[family])
        assert stage.get(SERVER[family]).status == 200
        sources = {packet.source for packet in outside.of(lambda packet: packet.incoming and packet.family == family)}
        assert sources == {WAN[family]}
        rows = wait_until(lambda: [row for row in stage.sessions() if row["mode"] == "forwarded"], what="rows")
        assert any(WAN[family] in row.get("upstream", "") for row in rows)
        server.close()


def test_port_forwards(family):
    inside_of = {4: f"{CLIENT[4]}", 6: f"[{CLIENT[6]}]"}
    forwards = [{"from": "outside", "protocol": protocol, "port": 2222, "to": f"{inside_of[family]}:{port}"}
                for protocol, port in (("tcp", 2200), ("udp", 2201))]
    with NetStage(policies=[WEB], packet_filter={"forwards": forwards}) as stage:
        net, server = stage.net, Echo(stage.net.client, family, 2200)
        assert answer_of(net.server, WAN[family], 2222) == [SERVER[family], "hello"]
        with net.client.socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind((EVERYWHERE[family], 2201))
            with net.server.socket(family, socket.SOCK_DGRAM) as asker:
                asker.connect((WAN[family], 2222))
                asker.send(b"hello")
                data, peer = datagrams.recvfrom(100)
                datagrams.sendto(data[::-1], peer)
                assert asker.recv(100) == b"olleh" and peer[0] == SERVER[family]
        # Only what is forwarded: neither the port behind it, nor others, nor from inside.
        with net.client.capture() as seen, RawSender(net.server) as raw:
            before = stage.counter("no-policy")
            raw.syn(SERVER[family], 7300, CLIENT[family], 2200)
            raw.syn(SERVER[family], 7300, WAN[family], 2200)
            wait_until(lambda: stage.counter("no-policy") >= before + 2, what="two drops")
            assert not seen.of(lambda packet: packet.sport == 7300)
        row = wait_until(lambda: next((row for row in stage.sessions() if row.get("destination", "").endswith(":2222")), None), what="the row")
        assert row["translated"].endswith((":2200", ":2201"))
        server.close()


def self_settings():
    explicit = [{"name": f"proxy{family}", "mode": "explicit", "address": f"{address}:{EXPLICIT}", "from": ["inside"]}
                for family, address in ((4, "0.0.0.0"), (6, "[::]"))]
    return {"listeners": listeners() + explicit,
            "policies": [WEB, {"name": "ssh", "from": "inside", "to": "self", "protocols": ["tcp"], "ports": [SSH], "action": "allow"}]}


def opens(namespace, address, port, seconds=0.5):
    """True: accepted; False: refused; None: silence."""
    try:
        namespace.connect(address, port, timeout=seconds).close()
        return True
    except ConnectionRefusedError:
        return False
    except TimeoutError:
        return None


def test_what_is_open_on_the_gateway_itself(family):
    with NetStage(**self_settings()) as stage:
        net = stage.net
        others = [Echo(net.gateway, family, port) for port in (SSH, 2223)]
        assert opens(net.client, LAN[family], SSH, 15) and opens(net.client, LAN[family], EXPLICIT, 15)
        before = stage.counter("no-policy")
        assert opens(net.server, WAN[family], SSH) is None           # a policy to self, but for inside alone
        assert opens(net.server, WAN[family], EXPLICIT) is None      # the listener's `from`
        assert opens(net.client, LAN[family], 2223) is None
        assert stage.counter("no-policy") >= before + 3
        # The gateway's own address on its other side is the gateway still.
        assert opens(net.client, WAN[family], SSH, 15)
        # The gateway itself may go where it likes.
        server = Echo(net.server, family, 6100)
        assert answer_of(net.gateway, SERVER[family], 6100) == [WAN[family], "hello"]
        for one in (*others, server):
            one.close()


def test_errors_and_neighbours_reach_the_gateway(family):
    with NetStage(policies=[WEB]) as stage:
        net = stage.net
        for where in (net.gateway, net.client, net.server):
            where.ip("neigh flush all")
        assert stage.get(SERVER[family]).status == 200               # neighbour discovery went through a filter that drops by default
        with pytest.raises(OSError) as refused:
            udp_ask(net.gateway, family, SERVER[family], 6200)       # nobody listens: the error has to come back
        assert isinstance(refused.value, ConnectionRefusedError)
        # Nobody asked for this ping, and no policy to self allows it.
        assert net.server.run("ping", "-c", "1", "-W", "1", WAN[family], check=False).returncode != 0


def test_a_policy_to_self_for_pings(family):
    with NetStage(policies=[WEB, {"name": "ping-me", "to": "self", "protocols": ["icmp"], "action": "allow"}]) as stage:
        assert stage.net.server.run("ping", "-c", "1", "-W", "5", WAN[family]).returncode == 0
        assert stage.net.client.run("ping", "-c", "1", "-W", "5", LAN[family]).returncode == 0


def test_spoofed_sources_do_not_open(stage):
    """The client's address, arriving from the other side, is in no zone."""
    net = stage.net
    with net.client.capture() as inside, RawSender(net.server) as raw:
        before = stage.counter("no-policy")
        for family in FAMILIES:
            raw.syn(SECOND[family], 7400, CLIENT[family], L4_PORT)
        wait_until(lambda: stage.counter("no-policy") >= before + 2, what="two drops")
        assert not inside.of(lambda packet: packet.sport == 7400)
