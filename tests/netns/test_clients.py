# SPDX-License-Identifier: ISC
"""Clients that know of no proxy: HTTP, TLS, WebSocket and event streams, through TPROXY and REDIRECT, on IPv4 and IPv6."""
import asyncio
import hashlib
import os
import queue
import re
import subprocess

import pytest

from lib import ws
from lib.netns import ACK, CLIENT, ICMP, ICMPV6, SECOND, SERVER, TCP, WAN, RawSender, ip_packet, tcp_segment, too_big
from lib.netns_stage import NetStage, client_tls
from lib.origin import digest
from lib.postern import ROOT, wait_until

WSCAT = os.path.join(ROOT, "tests", "e2e", "node_modules", ".bin", "wscat")
V = {4: "-4", 6: "-6"}


def literal(address):
    return f"[{address}]" if ":" in address else address


def server_sent(stage, path):
    """A route that sends what the test puts into the queue, each as it comes."""
    pushes = queue.Queue()

    def route(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n")
        while (event := pushes.get()) is not None:
            connection.send(b"data: " + event + b"\n\n")
        connection.close()
    stage.routes[path] = route
    return pushes


def pushing_websocket(stage, path):
    """A WebSocket server that says what the test puts into the queue, and nothing else."""
    pushes = queue.Queue()

    def route(connection, request):
        connection.send(ws.switching(request.values(b"Sec-WebSocket-Key")[0]))
        while (message := pushes.get()) is not None:
            connection.send(ws.frame(ws.TEXT, message))
        connection.send(ws.close_frame(1000))
        connection.wait_end()
    stage.routes[path] = route
    return pushes


def test_http(shared, family):
    path = f"/http{family}"
    done = shared.curl(V[family], f"http://web.test{path}", "-w", " %{http_code} %{remote_ip}")
    assert done.stdout == f"ok 200 {SERVER[family]}"
    request = next(request for request in shared.http[family].requests if request.path == path.encode())
    assert request.values(b"Host") == [b"web.test"] and request.target == path.encode()
    assert {one.peer for one in shared.http[family].connections if one.requests} == {WAN[family]}
    line = shared.postern.wait_access(lambda line: line.get("path") == path)
    assert (line["mode"], line["listener"], line["zone_in"], line["zone_out"]) == ("transparent", f"web{family}", "inside", "outside")
    assert line["client"].startswith(literal(CLIENT[family])) and line["destination"] == f"{literal(SERVER[family])}:80"
    assert (line["interface_in"], line["interface_out"], line["policy"], line["reason"]) == ("lan0", "wan0", "web", "ok")


def test_a_large_upload_and_download(shared, family):
    body = os.urandom(300_000) * 5
    shared.routes["/digest"] = digest
    shared.routes["/large"] = lambda connection, request: connection.answer(body)
    with shared.dial(SERVER[family]) as client:
        answer = client.request("POST", "/digest", "web.test", body=body)
        assert answer.body == f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
        assert client.request("GET", "/large", "web.test").body == body


def test_tls_passes_unread(shared, family):
    done = shared.curl(V[family], f"https://tls.test/secret{family}", "-w", " %{http_code}")
    assert done.stdout == "ok 200"
    line = shared.postern.wait_access(lambda line: line.get("host") == "tls.test" and line["destination"] == f"{literal(SERVER[family])}:443")
    assert line["protocol"] == "tls" and "path" not in line


def test_websockets_in_python(shared, family):
    websockets = pytest.importorskip("websockets")

    async def talk():
        async with websockets.connect("ws://web.test/ws", host=SERVER[family], port=80, compression=None) as client:
            for message in ("a", "ü" * 1000, b"\0\xff" * 70000, ""):
                await client.send(message)
                assert await client.recv() == message
        return client.close_code
    with shared.net.client:
        assert asyncio.run(talk()) == 1000


def test_wss_in_python(shared, family):
    websockets = pytest.importorskip("websockets")

    async def talk():
        async with websockets.connect("wss://tls.test/ws", host=SERVER[family], port=443, ssl=client_tls(), server_hostname="tls.test",
                                      compression=None) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        return client.close_code
    with shared.net.client:
        assert asyncio.run(talk()) == 1000


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_wscat(shared, family, scheme):
    if not os.path.exists(WSCAT):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    host = literal(SERVER[family])
    process = shared.net.client.popen(WSCAT, "--no-check", "-x", f"hello {scheme}{family}", "-w", "1", "-c", f"{scheme}://{host}/ws",
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = "", ""
    try:
        process.wait(60)              # its input stays open: it ends at its end
    finally:
        process.kill()
        out, errors = process.communicate()
    if scheme == "wss":
        # An address is no server name: nothing says whom the client means, so TLS without one is refused.
        assert "hello" not in out and shared.denied("sni-missing")
    else:
        assert f"hello ws{family}" in out, errors


def test_wscat_wss_by_name(shared, family):
    if not os.path.exists(WSCAT):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    process = shared.net.client.popen("env", f"NODE_OPTIONS=--dns-result-order={'ipv4first' if family == 4 else 'verbatim'}", WSCAT, "--no-check",
                                      "-x", "hello wss", "-w", "1", "-c", "wss://tls.test/ws", hosts=shared.hosts, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.wait(60)
    finally:
        process.kill()
        out, errors = process.communicate()
    assert "hello wss" in out, errors


def test_events_arrive_as_they_are_sent(shared, family):
    path = f"/events{family}"
    pushes = server_sent(shared, path)
    process = shared.net.client.popen("curl", "-sSN", V[family], f"http://web.test{path}", hosts=shared.hosts, stdout=subprocess.PIPE, text=True)
    try:
        for number in range(3):
            pushes.put(b"%d" % number)
            assert process.stdout.readline() == f"data: {number}\n" and process.stdout.readline() == "\n"
    finally:
        pushes.put(None)
        process.wait(15)
        process.stdout.close()
    assert process.returncode == 0


def test_pushes_of_a_websocket_arrive(shared, family):
    path = f"/pushes{family}"
    pushes = pushing_websocket(shared, path)
    with shared.dial(SERVER[family]) as client:
        client.send(ws.handshake(path, "web.test"))
        assert client.response().status == 101
        for number in range(3):
            pushes.put(b"push %d" % number)
            client.read_until(lambda data: (ws.TEXT, b"push %d" % number) in ws.messages_in(ws.frames_in(data)))
        row = next(row for row in shared.sessions(f"path={path}"))
        assert row["pushes"] == 3 and row["messages_down"] == 3 and row["messages_up"] == 0
        pushes.put(None)
        client.read_until(lambda data: any(frame.close_code == 1000 for frame in ws.frames_in(data)))


def test_denied_is_said_to_the_client(shared, family):
    before = len(shared.http[family].connections)
    answer = shared.get("10.77.2.66" if family == 4 else "fd77:2::66")
    assert answer.status == 403 and "policy-denied" in answer.value("proxy-status")
    assert len(shared.http[family].connections) == before


def test_host_must_name_what_was_dialled(shared, family):
    """host_check is strict unless it is told otherwise: the name of another server is refused, and no byte of it goes anywhere."""
    before = len(shared.http[family].connections)
    for host in ("other.test", "nobody.test"):
        answer = shared.get(SERVER[family], host=host)
        assert 400 <= answer.status < 600, host
    assert "host-mismatch" in shared.get(SERVER[family], host="other.test").value("proxy-status")
    assert len(shared.http[family].connections) == before


def test_two_clients_with_the_same_source_port(shared, family):
    where = {b"first": shared.net.client, b"second": shared.net.second}
    shared.routes["/who"] = lambda connection, request: connection.answer(request.values(b"X-Who")[0] * 1000)
    clients = {}
    for name, namespace in where.items():
        clients[name] = shared.dial(SERVER[family], where=namespace, source=(("0.0.0.0", "::")[family == 6], 40000 + family))
    assert len({client.port for client in clients.values()}) == 1
    for _ in range(5):
        for name, client in clients.items():
            assert client.request("GET", "/who", "web.test", [f"X-Who: {name.decode()}"]).body == name * 1000
    rows = wait_until(lambda: [row for row in shared.sessions() if row["client"].endswith(f":{40000 + family}")], what="rows")
    assert {row["client"] for row in rows} == {f"{literal(address[family])}:{40000 + family}" for address in (CLIENT, SECOND)}
    for client in clients.values():
        client.close()


def test_errors_reach_an_intercepted_stream(shared, family):
    """A router between client and gateway says "too big" to the server, as it thinks; the gateway has to take that as said to itself."""
    net, mtu = shared.net, 1300
    shared.routes["/some"] = lambda connection, request: connection.answer(b"x" * 5000)
    with shared.dial(SERVER[family]) as client, net.client.capture() as inside:
        assert client.request("GET", "/some", "web.test").status == 200
        last = inside.wait(lambda packet: packet.dport == client.port and packet.payload.endswith(b"x"))
        behind = max(packet.sequence + len(packet.payload) for packet in inside.of(lambda packet: packet.dport == client.port))
        segment = tcp_segment(last.source, last.target, last.sport, last.dport, ACK, behind & 0xFFFFFFFF, 1)
        with RawSender(net.client) as raw:
            error = too_big(CLIENT[family], last.source, mtu, ip_packet(last.source, last.target, TCP, segment))
            raw.send(CLIENT[family], last.source, {4: ICMP, 6: ICMPV6}[family], error)

        def known():
            listed = net.gateway.run("ss", "-tinH", "state", "established").stdout
            mine = [part for part in re.split(r"\n(?=\d)", listed) if f":{client.port} " in part.split("\n")[0] + " "]
            return any(f"pmtu:{mtu}" in part for part in mine)
        wait_until(known, 5, what="the smaller path MTU of the client's flow")
        assert client.request("GET", "/some", "web.test").body == b"x" * 5000


@pytest.mark.parametrize("listener", ["resolve", "off"])
def test_host_check(intercept, family, listener):
    with NetStage(intercept, listener={"host_check": listener}) as stage:
        where = {}
        stage.routes["/where"] = lambda connection, request: (where.update(at=connection.dialled), connection.answer(b"x"))
        assert stage.get(SERVER[family], "/where", host="other.test").status == 200
        wanted = {4: "10.77.2.11", 6: "fd77:2::11"}[family] if listener == "resolve" else SERVER[family]
        # By name, either family's address may be the one that is dialled.
        assert where["at"] == wanted or (listener == "resolve" and where["at"] in ("10.77.2.11", "fd77:2::11"))


