# SPDX-License-Identifier: ISC
"""Ways around the workers and the rules that attackers found, each of them closed."""
import contextlib
import os
import signal
import socket

import pytest

from lib.netns import CLIENT, DENIED, LAN, SERVER, TCP, WAN, Echo, UdpEcho
from lib.netns_stage import DENY, L4_PORT, WEB, NetStage, listeners
from lib.postern import wait_until

TUNNEL = {"name": "tunnel", "from": "inside", "to": "outside", "protocols": ["tunnel"], "ports": [21], "action": "allow"}
FOREIGN = """table inet foreign {
    chain tracking {
        type filter hook forward priority 5
        ct state new counter
    }
}
"""


@pytest.mark.parametrize("preserve", [False, True], ids=["own address", "client's address"])
def test_a_socket_that_outlives_its_worker(family, preserve):
    """A dead worker's socket still sends, without a user; after a flush it begins a flow, which must not let the client around."""
    with NetStage("tproxy", listener={"preserve_client_address": preserve}) as stage:
        net, body = stage.net, os.urandom(8_000_000)
        net.gateway.sysctl("net.ipv4.ip_early_demux", 0)      # or else routing is not asked as long as the socket lives
        stage.routes["/large"] = lambda connection, request: connection.answer(body)
        with net.client.socket(family) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((SERVER[family], 80))
            port = client.getsockname()[1]
            client.sendall(b"GET /large HTTP/1.1\r\nHost: web.test\r\n\r\n")
            wait_until(lambda: "Send-Q" in net.gateway.run("ss", "-tn").stdout and any(
                int(line.split()[2]) > 0 for line in net.gateway.run("ss", "-tnH").stdout.splitlines() if f":{port}" in line), what="a full socket")
            with net.server.capture() as outside:
                for pid in stage.postern.workers():
                    os.kill(pid, signal.SIGKILL)
                wait_until(lambda: f":{port}" not in net.gateway.run("ss", "-tnpH").stdout or "users" not in next(
                    (line for line in net.gateway.run("ss", "-tnpH").stdout.splitlines() if f":{port}" in line), ""), what="its end")
                net.gateway.run("conntrack", "-F")
                wait_until(lambda: any(port in entry["original"] for entry in stage.conntrack("-p", "tcp")), what="a flow of the kernel's own")
                client.settimeout(1)
                with contextlib.suppress(OSError):
                    while client.recv(2000):
                        pass
                assert not outside.of(lambda packet: packet.incoming and packet.protocol == TCP and packet.sport == port)


def test_helpers_do_not_read_workers_flows(family):
    """What a client says in a tunnel to port 21 would open a port of the gateway to the server."""
    proxy = {"name": "proxy", "mode": "explicit", "address": f"{LAN[4]}:3128" if family == 4 else f"[{LAN[6]}]:3128", "from": ["inside"]}
    with NetStage(listeners=[*listeners(), proxy], policies=[WEB, TUNNEL], packet_filter={"helpers": ["ftp"]}) as stage:
        net, target = stage.net, SERVER[family] if family == 4 else f"[{SERVER[family]}]"
        host, order = WAN[family], ("PORT 10,77,2,1,8,174" if family == 4 else f"EPRT |2|{WAN[6]}|2222|")
        with Echo(net.server, family, 21), net.gateway.bind(family, 2222), net.client.connect(LAN[family], 3128) as client:
            client.sendall(f"CONNECT {target}:21 HTTP/1.1\r\nHost: {target}:21\r\n\r\n".encode())
            for text in (b"USER somebody\r\n", order.encode() + b"\r\n"):
                client.sendall(text)
                got = b""
                while not got.endswith(text):
                    data = client.recv(4096)
                    assert data, got
                    got += data
            with pytest.raises(OSError):
                net.server.connect(host, 2222, source=(SERVER[family], 20), timeout=1).close()


def test_flows_that_began_without_the_table(family):
    """While the filter process could not mend it. Somebody else's table keeps connection tracking alive."""
    everything = {"name": "other", "from": "inside", "to": "outside", "protocols": ["udp"], "ports": [L4_PORT], "action": "allow"}
    with NetStage(policies=[DENY, WEB, everything]) as stage:
        net = stage.net
        net.gateway.nft(FOREIGN)
        (pid,) = stage.postern.pids("filter")
        with contextlib.ExitStack() as open_ones:
            keep = open_ones.enter_context
            for port in (81, 443, L4_PORT):
                keep(UdpEcho(net.server, family, port))
            keep(Echo(net.server, family, 81))
            os.kill(pid, signal.SIGSTOP)
            net.gateway.run("nft", "delete", "table", "inet", "postern")
            web, denied = keep(net.client.connect(SERVER[family], 80)), keep(net.client.connect(DENIED[family], 81))
            datagrams = {port: keep(net.client.socket(family, socket.SOCK_DGRAM)) for port in (81, 443, L4_PORT)}
            for port, one in datagrams.items():
                one.sendto(b"before", (SERVER[family], port))
                assert one.recv(100).endswith(b"before")
            os.kill(pid, signal.SIGCONT)
            wait_until(stage.table, what="the table")
            with net.server.capture() as outside:
                for one in (web, denied):
                    one.sendall(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
                for port in (81, 443):
                    datagrams[port].sendto(b"after", (SERVER[family], port))
                datagrams[L4_PORT].sendto(b"after", (SERVER[family], L4_PORT))
                assert datagrams[L4_PORT].recv(100).endswith(b"after")              # judged, and allowed
                wait_until(lambda: stage.counter("not-syn") >= 2, what="drops")
                assert {packet.dport for packet in outside.of(lambda packet: packet.incoming and packet.source == CLIENT[family])} == {L4_PORT}
        assert stage.get(SERVER[family]).status == 200
