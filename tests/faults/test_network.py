# SPDX-License-Identifier: ISC
"""R-25: the network changes under the gateway. Streams go on or end visibly, within their timers, and nothing stays behind."""
import hashlib
import os
import socket
import threading

import pytest

from lib.netns import ACK, FAMILIES, LAN, SERVER, SYN, TCP, WAN
from lib.netns_stage import NetStage, listeners
from lib.postern import wait_until

pytestmark = pytest.mark.usefixtures("needs_netns")
TIMEOUTS = {"drain": 1.0, "connect": 2.0, "response": 3.0, "body": 20.0, "keepalive": 20.0}
UPLOAD = os.urandom(1 << 20)


def stage_of(**more):
    return NetStage(timeouts=TIMEOUTS, **more)


def digest(connection, request):
    """What came, and as much back."""
    body = b"".join(connection.body_parts(request))
    connection.answer(body[::-1], fields=[f"X-Sum: {hashlib.sha256(body).hexdigest()}"])


def upload(stage, family, client=None, body=UPLOAD, url="", host="web.test"):
    client = client or stage.dial(SERVER[family], timeout=30)
    with client:
        answer = client.request("POST", f"{url}/digest", host, body=body)
    assert answer.status == 200 and answer.body == body[::-1] and answer.value("x-sum") == hashlib.sha256(body).hexdigest()


def nothing_is_left(stage):
    wait_until(lambda: not stage.sessions(), what="no session")


def routes(stage):
    stage.net.gateway.ip("addr replace fd77:2::1/64 dev wan0 nodad", "route replace default via 10.77.2.10", "route replace ::/0 via fd77:2::10")


@pytest.mark.parametrize("device", ["wan0", "lan0"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_interface_goes_down_and_comes_back(family, device):
    """What TCP can repair it does: the answer comes when the interface is back."""
    asked, answer = threading.Event(), threading.Event()

    def slow(connection, request):
        asked.set()
        answer.wait(15)
        connection.answer(b"late")
    with stage_of() as stage:
        stage.routes["/slow"] = slow
        stage.net.gateway.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
        stage.net.gateway.sysctl(f"net.ipv6.conf.{device}.keep_addr_on_down", 1)
        with stage.dial(SERVER[family], timeout=30) as client:
            client.send(b"GET /slow HTTP/1.1\r\nHost: web.test\r\n\r\n")
            assert asked.wait(15)
            stage.net.gateway.ip(f"link set {device} down")
            stage.net.gateway.ip(f"link set {device} up")
            routes(stage)
            answer.set()
            assert client.response().body == b"late"
        wait_until(lambda: stage.get(SERVER[family]).status == 200, what="new connections")
        nothing_is_left(stage)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gateways_address_changes(family):
    """A kept connection to the server is from an address that is gone: the next request there gets an answer or an error in time. New ones come
    from the new address."""
    new, length = {4: ("10.77.2.9", 24), 6: ("fd77:2::9", 64)}[family]
    with stage_of() as stage, stage.net.server.capture() as outside:
        stage.net.gateway.sysctl("net.ipv4.conf.wan0.promote_secondaries", 1)
        stage.net.server.ip(f"route replace {'default' if family == 4 else '::/0'} via {new}")
        stage.net.gateway.ip(f"addr add {new}/{length} dev wan0" + (" nodad" if family == 6 else ""))
        with stage.dial(SERVER[family], timeout=30) as client:
            assert client.request("GET", "/", "web.test").status == 200
            stage.net.gateway.ip(f"addr del {WAN[family]}/{length} dev wan0", f"route replace {'default' if family == 4 else '::/0'} via {SERVER[family]}")
            try:
                assert client.request("GET", "/again", "web.test").status in (200, 502, 504)
            except ConnectionError:
                pass
        wait_until(lambda: stage.get(SERVER[family]).status == 200, what="new connections")
        outside.wait(lambda packet: packet.incoming and packet.source == new, what="something from the new address")
        nothing_is_left(stage)


def test_without_ipv4():
    """IPv6 alone: one listener, one family."""
    only = [one for one in listeners() if one["name"] == "web6"]
    with stage_of(listeners=only) as stage:
        stage.routes["/digest"] = digest
        for where in (stage.net.gateway, stage.net.client, stage.net.server):
            for device in ("lan0", "wan0", "eth0"):
                where.run("ip", "-4", "addr", "flush", "dev", device, check=False)
        upload(stage, 6)
        assert stage.get(SERVER[6]).status == 200
        assert not stage.net.gateway.run("ip", "-4", "addr", "show", "scope", "global").stdout
        nothing_is_left(stage)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_packets(family):
    """The least that IPv6 promises, on both sides."""
    with stage_of() as stage:
        stage.routes["/digest"] = digest
        stage.net.gateway.ip("link set lan0 mtu 1280", "link set wan0 mtu 1280")
        with stage.net.server.capture() as outside:
            upload(stage, family)
            assert outside.of(lambda packet: packet.incoming)
        nothing_is_left(stage)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_that_stays_closed_for_a_while(family):
    """The server does not read: the kernel probes its window, Postern and the client wait. When it reads, everything is there."""
    stalled, go = threading.Event(), threading.Event()

    def stalls(connection, request):
        stalled.set()
        go.wait(15)
        digest(connection, request)
    with stage_of() as stage:
        stage.routes["/digest"] = stalls
        stage.http[family].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)      # of what it accepts
        with stage.dial(SERVER[family], timeout=30) as client:
            sender = threading.Thread(target=upload, args=[stage, family, client, UPLOAD * 2], daemon=True)
            sender.start()
            assert stalled.wait(15)

            def probed():
                found = stage.net.gateway.run("ss", "-tno", f"-{family}").stdout
                return "persist" in found
            wait_until(probed, what="a window probe")
            assert stage.sessions()
            go.set()
            sender.join(30)
            assert not sender.is_alive()
        assert stage.get(SERVER[family]).status == 200
        nothing_is_left(stage)


ECE, CWR = 64, 128
# A router that is congested: it marks packets of who says that he understands it.
CONGESTED = """table inet congested {
    counter marked { }
    chain early {
        type filter hook prerouting priority -310
        ip ecn { ect0, ect1 } numgen inc mod 4 0 ip ecn set ce counter name marked
        ip6 ecn { ect0, ect1 } numgen inc mod 4 0 ip6 ecn set ce counter name marked
    }
}
"""


def bits_of(seen, incoming):
    """Of the packets that a machine sent, or got: flags of its SYN or its answer to one, and those of all the others together."""
    first, rest = 0, 0
    for packet in seen.of(lambda packet: packet.protocol == TCP and packet.incoming == incoming):
        if packet.flags & SYN:
            first |= packet.flags
        else:
            rest |= packet.flags
    return first & (SYN | ACK | ECE | CWR), rest & (ECE | CWR)


@pytest.mark.parametrize("way", ["transparent", "explicit"])
@pytest.mark.parametrize("family", FAMILIES)
def test_congestion_is_marked(family, way):
    """ECN is agreed on and used on both connections, in both directions, and everything arrives."""
    host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
    own = f"[{LAN[family]}]" if family == 6 else LAN[family]
    proxy = {"name": "proxy", "mode": "explicit", "address": f"{own}:3128", "from": ["inside"]}
    with stage_of(listeners=[*listeners(), proxy]) as stage:
        stage.routes["/digest"] = digest
        machines = (stage.net.client, stage.net.gateway, stage.net.server)
        for machine in machines:
            machine.sysctl("net.ipv4.tcp_ecn", 1)
            machine.nft(CONGESTED)
        with stage.net.client.capture() as inside, stage.net.server.capture() as outside:
            where = (SERVER[family], 80) if way == "transparent" else (LAN[family], 3128)
            upload(stage, family, stage.dial(*where, timeout=30), UPLOAD * 4, "" if way == "transparent" else f"http://{host}", host)
            for seen, asks in ((inside, False), (outside, True)):
                assert bits_of(seen, asks) == (SYN | ECE | CWR, ECE | CWR)
                assert bits_of(seen, not asks) == (SYN | ACK | ECE, ECE | CWR)
        for machine in machines:
            assert "packets 0 " not in machine.run("nft", "list", "counter", "inet", "congested", "marked").stdout
        nothing_is_left(stage)
