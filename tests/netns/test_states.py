# SPDX-License-Identifier: ISC
"""What state means: who opened a flow gets the answers to it, and nobody gets anything else."""
import ftplib
import re
import socket
import threading

import pytest

from lib.netns import ACK, CLIENT, EVERYWHERE, ICMP, ICMPV6, RST, SECOND, SERVER, SYN, TCP, UDP, WAN, RawSender, UdpEcho
from lib.netns_stage import KERNEL, L4_PORT, PING, NetStage
from lib.postern import wait_until

FTP = {"name": "ftp", "from": "inside", "to": "outside", "protocols": ["tcp"], "ports": [21], "action": "allow"}
REPLY = {4: (ICMP, 0), 6: (ICMPV6, 129)}
REQUEST = {4: (ICMP, 8), 6: (ICMPV6, 128)}


@pytest.fixture(scope="module")
def stage():
    with NetStage() as made:
        yield made


def udp_client(namespace, family, port=0):
    made = namespace.socket(family, socket.SOCK_DGRAM)
    made.bind((EVERYWHERE[family], port))
    return made


def test_a_syn_from_the_server_side_is_dropped_and_counted(stage, family):
    net = stage.net
    with net.client.bind(family, L4_PORT), net.client.capture() as seen, RawSender(net.server) as raw:
        before = stage.counter("no-policy")
        for number in range(10):
            raw.syn(SERVER[family], 6000 + number, CLIENT[family], L4_PORT)
        wait_until(lambda: stage.counter("no-policy") >= before + 10, what="ten drops")
        assert stage.counter("no-policy") == before + 10
        assert not seen.of(lambda packet: packet.protocol == TCP)


def test_only_a_syn_opens(stage, family):
    """Segments without SYN that belong to nothing are dropped in either direction, though a policy allows the port."""
    net = stage.net
    with net.client.capture() as inside, net.server.capture() as outside, RawSender(net.server) as far, RawSender(net.client) as near:
        def dropped():
            return stage.counter("not-syn") + stage.counter("invalid")
        before = dropped()
        far.syn(SERVER[family], L4_PORT, CLIENT[family], 7000, ACK, acknowledged=1, payload=b"unasked")
        far.syn(SERVER[family], L4_PORT, CLIENT[family], 7000, SYN | ACK, acknowledged=1)
        far.syn(SERVER[family], L4_PORT, CLIENT[family], 7000, RST)
        near.syn(CLIENT[family], 7001, SERVER[family], L4_PORT, ACK, acknowledged=1, payload=b"midstream")
        near.syn(CLIENT[family], 7002, SERVER[family], L4_PORT, SYN)
        outside.wait(lambda packet: packet.sport == 7002)
        assert not outside.of(lambda packet: packet.sport == 7001)
        wait_until(lambda: dropped() == before + 4, what="four drops")
        assert not inside.of(lambda packet: packet.sport == L4_PORT and packet.dport == 7000)


def established(text):
    """The table's text without its rules for flows that are known: what a filter without state would do."""
    lines = text.splitlines()
    kept = [line for line in lines if not re.search(r"ct state (established,related|related,established|\{ ?(established|related))", line)]
    assert len(kept) < len(lines)
    return "\n".join(kept) + "\n"


def test_the_stateless_twin_drops_the_reply(family):
    with NetStage(policies=[KERNEL]) as stage:
        net = stage.net
        text = stage.postern.ctl_run("filter", check=True).stdout
        stage.postern.stop()          # on_exit = "closed": its rules stay, and nobody mends what we change now
        server = UdpEcho(net.server, family, L4_PORT)
        with net.server.capture() as outside:
            for loaded, answered in ((text, True), (established(text), False)):
                net.gateway.nft("delete table inet postern\n" + loaded)
                with udp_client(net.client, family) as client:
                    port = client.getsockname()[1]
                    client.sendto(b"hello", (SERVER[family], L4_PORT))
                    outside.wait(lambda packet: packet.sport == port and packet.protocol == UDP, what="the request")
                    outside.wait(lambda packet: packet.dport == port and not packet.incoming, what="the reply on its way")
                    if answered:
                        assert client.recv(100).endswith(b"hello")
                        continue
                    wait_until(lambda: stage.counter("no-policy") > 0, what="the drop of the reply")
                    client.settimeout(0.2)
                    with pytest.raises(TimeoutError):
                        client.recv(100)
        server.close()


class FtpServer:
    """Active FTP, the little of it that a listing needs. Data connections come from port 20."""

    def __init__(self, namespace, family):
        self.namespace, self.family = namespace, family
        self.listener = namespace.bind(family, 21)
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self):
        while True:
            try:
                control, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[control], daemon=True).start()

    def _serve(self, control):
        file, target = control.makefile("rb"), None
        control.sendall(b"220 ready\r\n")
        for line in file:
            verb, _, rest = line.decode().strip().partition(" ")
            answer = "200 fine"
            if verb == "USER":
                answer = "230 in"
            elif verb == "PORT":
                numbers = rest.split(",")
                target = ".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5])
            elif verb == "EPRT":
                _, _, address, port, _ = rest.split(rest[0])
                target = address, int(port)
            elif verb == "LIST":
                control.sendall(b"150 here it comes\r\n")
                answer = "226 sent" if self._send(target) else "425 no connection"
            elif verb == "QUIT":
                control.sendall(b"221 bye\r\n")
                break
            control.sendall(answer.encode() + b"\r\n")
        control.close()

    def _send(self, target):
        try:
            with self.namespace.socket(self.family) as data:
                data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                data.bind((EVERYWHERE[self.family], 20))
                data.settimeout(1.5)
                data.connect(target)
                data.sendall(b"one file\r\n")
            return True
        except OSError:
            return False

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join(15)
        self.listener.close()


@pytest.mark.parametrize("helpers", [["ftp"], []], ids=["helper", "none"])
def test_active_ftp(family, helpers):
    packet_filter = {"helpers": helpers} if helpers else {}
    with NetStage(policies=[FTP], packet_filter=packet_filter) as stage, stage.net.client.capture() as inside:
        net, server, lines = stage.net, FtpServer(stage.net.server, family), []
        with net.client, ftplib.FTP() as ftp:
            ftp.connect(SERVER[family], 21, 15)
            ftp.login()
            ftp.set_pasv(False)
            if not helpers:
                with ftp.makeport(), pytest.raises(ftplib.error_temp):
                    ftp.sendcmd("LIST")
                    ftp.voidresp()
                assert stage.counter("no-policy") >= 1
                assert not inside.of(lambda packet: packet.sport == 20)
                return
            ftp.retrlines("LIST", lines.append)
            assert lines == ["one file"]
            data = inside.wait(lambda packet: packet.sport == 20 and packet.flags & SYN)
            # Once: a second connection to the same port is nobody's.
            before = stage.counter("no-policy")
            with RawSender(net.server) as raw:
                for port in (20, 1020):
                    raw.syn(SERVER[family], port, CLIENT[family], data.dport, sequence=99)
            wait_until(lambda: stage.counter("no-policy") > before, what="a drop")
            assert not inside.of(lambda packet: packet.sport == 1020)
            assert len({(packet.sport, packet.dport) for packet in inside.of(lambda packet: packet.sport == 20 and packet.flags & SYN)}) == 1
        server.close()


def test_ping(stage, family):
    net = stage.net
    net.client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", SERVER[family])
    with net.client.capture() as inside, RawSender(net.server) as raw:
        before = stage.counter("no-policy") + stage.counter("invalid")
        raw.ping(SERVER[family], CLIENT[family], 777, reply=True)
        raw.ping(SERVER[family], CLIENT[family], 778)
        wait_until(lambda: stage.counter("no-policy") + stage.counter("invalid") >= before + 2, what="both drops")
        assert not inside.of(lambda packet: packet.protocol in (ICMP, ICMPV6))


def test_two_clients_with_the_same_source_port_behind_one_address(family):
    """Masqueraded: the kernel has to tell them apart by ports that it chooses."""
    with NetStage(policies=[KERNEL, PING], packet_filter={"masquerade": ["outside"]}) as stage:
        net, server = stage.net, UdpEcho(stage.net.server, family, L4_PORT)
        clients = {name: udp_client(namespace, family, 40000) for name, namespace in (("first", net.client), ("second", net.second))}
        seen = set()
        for number in range(20):
            for name, client in clients.items():
                client.sendto(f"{name} {number}".encode(), (SERVER[family], L4_PORT))
            for name, client in clients.items():
                address, port, said = client.recv(200).decode().split(" ", 2)
                assert (address, said) == (WAN[family], f"{name} {number}")
                seen.add(port)
        assert len(seen) == 2
        rows = wait_until(lambda: [row for row in stage.sessions("protocol=udp") if row["client"].endswith(":40000")], what="rows")
        assert {row["client"] for row in rows} == {(f"[{where}]" if family == 6 else where) + ":40000" for where in (CLIENT[family], SECOND[family])}
        net.client.run("ping", "-c", "1", "-W", "5", SERVER[family])
        for one in (*clients.values(), server):
            one.close()


