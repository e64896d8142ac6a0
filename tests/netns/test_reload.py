# SPDX-License-Identifier: ISC
"""A new policy reaches the flows that the kernel forwards; a new route is seen at once."""
import pytest

from lib.netns import CLIENT, PLAIN, SERVER, Echo, UdpEcho, ask
from lib.netns_stage import KERNEL, PING, WEB, NetStage
from lib.postern import wait_until
from test_states import udp_client


def narrow(*ports):
    return {**KERNEL, "ports": list(ports)}


def test_flows_that_the_new_policy_does_not_open_end(family):
    with NetStage(policies=[WEB, KERNEL]) as stage:
        net = stage.net
        servers = [UdpEcho(net.server, family, port) for port in (5000, 5001)] + [Echo(net.server, family, port) for port in (5002, 5003)]
        udp = {port: udp_client(net.client, family) for port in (5000, 5001)}
        tcp = {port: net.client.connect(SERVER[family], port) for port in (5002, 5003)}
        for port, client in udp.items():
            client.sendto(b"one", (SERVER[family], port))
            assert client.recv(100).endswith(b"one")
        for client in tcp.values():
            ask(client, b"one")
        with stage.dial(SERVER[family]) as web:
            assert web.request("GET", "/", "web.test").status == 200

            def entries():
                return {entry["original"][3]: entry["id"] for entry in stage.conntrack() if entry["original"][3] in range(5000, 5004)}
            before = entries()
            assert set(before) == {5000, 5001, 5002, 5003}
            stage.reload(policies=[{**PING, "name": "first"}, WEB, narrow(5000, 5002)])      # and the policies have other numbers now
            wait_until(lambda: entries() == {5000: before[5000], 5002: before[5002]}, what="two flows less")
            for port, client in udp.items():
                client.settimeout(15 if port == 5000 else 0.3)
                client.sendto(b"two", (SERVER[family], port))
                if port == 5000:
                    assert client.recv(100).endswith(b"two")
                else:
                    with pytest.raises(TimeoutError):
                        client.recv(100)
            assert ask(tcp[5002], b"two").endswith(b"two")
            tcp[5003].settimeout(0.3)
            with pytest.raises((TimeoutError, ConnectionError)):
                ask(tcp[5003], b"two")
            assert web.request("GET", "/", "web.test").status == 200
            wait_until(lambda: len(stage.sessions("mode=forwarded")) == 2, what="two rows")
            rows = stage.sessions("mode=forwarded")
            assert {row["destination"].rpartition(":")[2] for row in rows} == {"5000", "5002"}
            assert {row["policy"]["name"] for row in rows} == {"kernel"}
        for one in (*servers, *udp.values(), *tcp.values()):
            one.close()


def test_the_same_ports_by_another_policy(family):
    """A flow that the new policy opens too goes on, under the new policy's name."""
    with NetStage(policies=[KERNEL]) as stage, UdpEcho(stage.net.server, family, 5000), udp_client(stage.net.client, family) as client:
        client.sendto(b"one", (SERVER[family], 5000))
        assert client.recv(100).endswith(b"one")
        stage.reload(policies=[WEB, {**KERNEL, "name": "renamed"}])
        wait_until(lambda: [row for row in stage.sessions("protocol=udp") if row["policy"]["name"] == "renamed"], what="the new name")
        client.sendto(b"two", (SERVER[family], 5000))
        assert client.recv(100).endswith(b"two")


def test_a_listener_more_takes_new_flows_only(family):
    """A port that was the kernel's becomes the proxy's: flows that are open are judged, and no longer allowed."""
    with NetStage(policies=[WEB, {**KERNEL, "ports": [8080]}]) as stage:
        net, server = stage.net, Echo(stage.net.server, family, 8080)
        with net.client.connect(SERVER[family], 8080) as client:
            ask(client, b"one")
            wider = [{**listener, "ports": [80, 443, 8080]} for listener in stage.settings["listeners"]]
            stage.reload(listeners=wider, policies=[WEB])
            client.settimeout(0.3)
            with pytest.raises((TimeoutError, ConnectionError)):
                ask(client, b"two")
        server.close()


def test_a_route_that_goes_is_seen_at_once(intercept, family):
    with NetStage(intercept) as stage:
        gateway, via = stage.net.gateway, {4: ("default", "10.77.2.10"), 6: ("::/0", "fd77:2::10")}[family]
        assert stage.get(PLAIN[family]).status == 200
        for _ in range(3):
            gateway.ip(f"route del {via[0]} via {via[1]}")
            answer = stage.get(PLAIN[family])
            assert answer.status == 502 and "no-route" in answer.value("proxy-status")
            assert stage.get(SERVER[family]).status == 200           # on the link: that route is still there
            gateway.ip(f"route add {via[0]} via {via[1]}")
            assert stage.get(PLAIN[family]).status == 200
        assert stage.denied("no-route")["destination"].endswith(":80")


def test_a_route_that_changes_its_interface_changes_the_zone(intercept, family):
    """The server's zone is that of the interface by which it would be left now, not by which it was left a second ago."""
    plain = {4: "44.77.0.10/32", 6: "2a77::10/128"}[family]
    with NetStage(intercept) as stage:
        assert stage.get(PLAIN[family]).status == 200
        stage.net.gateway.ip(f"route add {plain} via {CLIENT[family]} dev lan0")
        answer = stage.get(PLAIN[family], where=stage.net.second)
        assert answer.status == 403 and "zone-unknown" in answer.value("proxy-status") or "no-policy" in answer.value("proxy-status")
        stage.net.gateway.ip(f"route del {plain}")
        assert stage.get(PLAIN[family]).status == 200
