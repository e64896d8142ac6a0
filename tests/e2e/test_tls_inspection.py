# SPDX-License-Identifier: ISC
"""TLS that is looked into: what is inside is judged like anything in clear, servers are verified for the client, and nothing of that is hidden."""
import asyncio
import contextlib
import os
import socket
import ssl
import threading
import time

import pytest

from lib import hello, tls, ws
from lib.http1 import Client
from lib.libssl import TLS1_2, TLS1_3, Stream
from lib.postern import PROMPT, SMALL_QUARANTINE, rss_kib, wait_until
from lib.tls_stage import NAMES, ORIGIN, TLS_PORT, TlsStage, handshake_error, trusted

FAILING = "not good"


@pytest.fixture(scope="module")
def stage():
    with TlsStage() as made:
        yield made


def leaf(client):
    """Issuer, organisation of the subject, and names of the certificate that a client got."""
    found = client.socket.getpeercert()
    issuer = {key: value for pair in found["issuer"] for key, value in pair}
    subject = {key: value for pair in found["subject"] for key, value in pair}
    return issuer["commonName"], subject.get("organizationName", ""), [name for _, name in found["subjectAltName"]]


def get(client, path="/", host=f"{ORIGIN}:{TLS_PORT}"):
    return client.request("GET", path, host)


# Clients.

@pytest.mark.parametrize("way", ["CONNECT", "SOCKS"])
def test_curl(stage, curl, way):
    arguments = ["-x", f"http://{stage.at('proxy')}"] if way == "CONNECT" else ["--socks5-hostname", stage.at("proxy")]
    done = curl(*arguments, "--cacert", trusted(), f"https://{stage.target}/{way}", "-w", " %{http_code} %{num_connects}", f"https://{stage.target}/2")
    assert done.stdout == b"ok 200 1ok 200 0", done.stderr
    line = stage.postern.wait_access(lambda line: line.get("path") == f"/{way}")
    assert line["tls_client"]["way"] == "inspected" and line["tls_server"]["sni"] == ORIGIN and line["policy"] == "inside"
    assert "Postern test CA" in line["tls_server"]["issuer"] and line["tls_client"]["version"] == "TLSv1.3"


def test_a_name_that_the_target_did_not_name(stage, curl):
    """A tunnel to an address says nothing of names: what TLS says then is only the client's word."""
    done = curl("--socks5", stage.at("proxy"), "--resolve", f"{ORIGIN}:{TLS_PORT}:{stage.prefix}.1", "--cacert", trusted(), f"https://{stage.target}/")
    assert done.returncode == 35
    assert stage.postern.wait_access(lambda line: line.get("reason") == "sni-mismatch" and line.get("tls_client", {}).get("sni") == ORIGIN)


def test_python_websockets(stage):
    websockets = pytest.importorskip("websockets")

    async def talk():
        sock = Client(stage.at("proxy"))
        assert sock.tunnel(stage.target).status == 200
        async with websockets.connect(f"wss://{stage.target}/ws", sock=sock.socket, ssl=tls.client_context(trusted()), server_hostname=ORIGIN,
                                      compression=None) as client:
            for message in ("a", "ü" * 100, b"\0\xff" * 70000, ""):
                await client.send(message)
                assert await client.recv() == message
        return client.close_code
    assert asyncio.run(talk()) == 1000
    line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] == "end")
    assert line["tls_client"]["way"] == "inspected" and line["messages_up"] == 4


def test_wscat(stage, wscat):
    out, errors = wscat("--ca", trusted(), "--proxy", f"http://{stage.at('proxy')}", "-c", f"wss://{stage.target}/ws")
    assert "hello from wscat" in out, errors


# What is inside is judged.

def test_denied_by_path(stage):
    with stage.inspected() as client:
        assert get(client, "/allowed").status == 200
        answer = get(client, "/denied/x")
        assert answer.status == 403 and b"policy-denied" in answer.body
        port = client.port
    line = stage.postern.record_of(port, path="/denied/x", reason="policy-denied")
    assert line["tls_client"]["way"] == "inspected"
    assert "/denied/x" not in stage.secure.paths()


def test_websocket_rules_inside():
    def tune(settings):
        settings["policies"][-1]["websocket"] = {"match": [{"name": "no-secrets", "pattern": "secret[0-9]+"}], "client": {"message_bytes": 1000}}
    with TlsStage(tune=tune) as stage, stage.inspected() as client:
        client.send(ws.handshake("/ws", stage.target))
        assert client.response().status == 101
        client.send(ws.frame(ws.TEXT, b"fine", mask=True))
        assert client.read_until(lambda data: ws.messages_in(ws.frames_in(data)))[0] == (ws.TEXT, b"fine")
        client.send(ws.frame(ws.TEXT, b"a secret42", mask=True))
        client.wait_close()
        frames = ws.frames_in(bytes(client.received[client.offset:]))
        assert frames[-1].close_code == 1008
        line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] != "start")
        assert line["reason"] == "match-denied"


@pytest.mark.parametrize("data", [b"\0\1\2\3not http", b"SSH-2.0-x\r\n", b"\5\1\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=repr)
def test_only_http_inside(stage, data):
    before = len(stage.secure.requests)
    with stage.inspected() as client:
        client.send(data)
        got = client.wait_close()
        assert not got or got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 5")
    assert len(stage.secure.requests) == before


@pytest.mark.parametrize("host", ["denied.test", "other.test:8443", f"{ORIGIN}:1", "127.0.0.1"])
def test_wrong_host_inside(stage, host):
    before = len(stage.secure.requests)
    with stage.inspected() as client:
        assert get(client, "/fronted", host).status in (403, 421)
        assert stage.postern.record_of(client.port, event="denied", reason="host-mismatch")
    assert len(stage.secure.requests) == before


def test_absolute_form_inside(stage):
    """Names the same, or is refused; and never another scheme."""
    with stage.inspected() as client:
        client.send(b"GET https://denied.test/x HTTP/1.1\r\nHost: denied.test\r\n\r\n")
        assert client.response().status in (400, 403, 421)


@pytest.mark.parametrize("sni", ["denied.test", "other.test", "x." + ORIGIN])
def test_other_name_than_connect(stage, sni):
    """Refused before anything is minted or dialled with TLS."""
    minted = stage.postern.stderr().count("signed")
    said = handshake_error(lambda: stage.inspected(sni=sni, context=tls.client_context()))
    assert said
    line = stage.postern.wait_access(lambda line: line.get("reason") == "sni-mismatch" and line.get("tls_client", {}).get("sni") == sni)
    assert line["event"] == "denied" and stage.postern.stderr().count("signed") == minted
    assert sni not in [name for name in stage.postern.stderr().split() if name == sni]


def test_leaf(stage):
    """Ours, for one name, not longer than the server's; its key is P-256."""
    with stage.inspected() as client:
        issuer, organisation, names = leaf(client)
        assert issuer.startswith("Inspection CA") and FAILING not in organisation and names == [ORIGIN]
        from cryptography import x509
        found = x509.load_der_x509_certificate(client.socket.getpeercert(True))
        assert found.not_valid_after <= stage.server.x509.not_valid_after
        assert found.public_key().curve.name == "secp256r1"
        assert found.public_key().public_numbers() != stage.server.x509.public_key().public_numbers()


def test_one_leaf_for_many_connections(stage):
    serials = set()
    for _ in range(5):
        with stage.inspected() as client:
            serials.add(client.socket.getpeercert()["serialNumber"])
    assert len(serials) == 1


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1"], None])
def test_alpn_on_both_legs(stage, offered):
    with stage.inspected(context=tls.client_context(trusted(), alpn=offered)) as client:
        assert client.socket.selected_alpn_protocol() == ("http/1.1" if offered else None)
        assert get(client, "/alpn").status == 200
        assert stage.secure.connections[-1].socket.selected_alpn_protocol() == "http/1.1"


def test_h2_alone(stage):
    handshake_error(lambda: stage.inspected(context=tls.client_context(trusted(), alpn=["h2"])))
    assert stage.postern.wait_access(lambda line: line.get("reason") == "alpn-mismatch")


@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_no_tickets(stage, version):
    """A session of one name opens no other: there is none to come back with."""
    def visit(name, session=None):
        client = Client(stage.at("proxy"))
        assert client.tunnel(f"{name}:{TLS_PORT}").status == 200
        with Stream("", name, version, session, sock=client.socket) as stream:
            stream.write(f"GET / HTTP/1.1\r\nHost: {name}:{TLS_PORT}\r\n\r\n".encode())
            stream.read_until(b"ok")
            return stream.resumed, stream.session()
    _, session = visit("a.test")
    assert not visit("a.test", session)[0]
    session.rename("b.test")
    assert not visit("b.test", session)[0]


# Servers that are not good.

BAD = ["expired", "notyet", "selfsigned", "wronghost", "untrusted", "wildcard-tld", "nul-san", "weak-sig", "rsa1024", "ip-mismatch", "email-san",
       "nameconstraint", "common-name"]


@pytest.fixture(scope="module")
def changing():
    with TlsStage() as made:
        yield made


@pytest.mark.parametrize("kind", BAD)
def test_failing_server(changing, kind):
    """A page under a certificate that says so; the request goes nowhere."""
    changing.secure.tls = tls.server_context(tls.bad_server(kind, ORIGIN, f"{changing.prefix}.1"))
    with changing.inspected() as client:
        _, organisation, names = leaf(client)
        assert FAILING in organisation and names == [ORIGIN]
        answer = get(client, f"/{kind}")
        assert answer.status == 502 and b"upstream-certificate" in answer.body
        line = changing.postern.record_of(client.port, path=f"/{kind}", reason="upstream-certificate")
        assert line["tls_server"]["verify"]
    assert not any(b"/" + kind.encode() in one.received for one in changing.secure.connections)


def test_a_good_server_after_bad_ones(changing):
    """The leaf that said so is not used for it."""
    changing.secure.tls = tls.server_context(changing.server)
    with changing.inspected() as client:
        assert FAILING not in leaf(client)[1] and get(client, "/good").status == 200


@pytest.mark.parametrize("kind", ["expired", "notyet"])
def test_a_server_that_need_not_be_verified(kind):
    """Who switches verification off mostly has a server whose certificate has ended: it is inspected like any other."""
    def tune(settings):
        for one in settings["policies"]:
            if one.get("tls") == "inspect":
                one["upstream_tls"] = {"verify": False}
    with TlsStage(tune=tune) as stage:
        stage.secure.tls = tls.server_context(tls.bad_server(kind, ORIGIN, f"{stage.prefix}.1"))
        with stage.inspected() as client:
            assert FAILING not in leaf(client)[1] and get(client, "/trusted").status == 200
            line = stage.postern.wait_access(lambda line: line.get("path") == "/trusted")
            assert line["tls_server"]["unverified"] is True


def test_failing_websocket(changing):
    changing.secure.tls = tls.server_context(tls.bad_server("expired", ORIGIN, ""))
    with changing.inspected() as client:
        client.send(ws.handshake("/ws", changing.target))
        assert client.response().status == 502


def plain_http(connection):
    connection.more()
    connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.wait_end(5)


def half_a_hello(connection):
    connection.more()
    connection.send(b"\x16\3\3\0\x7a\2\0\0\x76\3\3" + bytes(40))


@pytest.mark.parametrize("handler", [plain_http, half_a_hello, lambda connection: connection.more()], ids=["plain", "truncated", "closes"])
def test_server_without_tls(handler):
    with TlsStage(origin_tls=False, handler=handler) as stage, stage.inspected() as client:
        assert FAILING in leaf(client)[1]
        answer = get(client, "/x")
        assert answer.status == 502 and (b"upstream-tls" in answer.body or b"upstream-closed" in answer.body)
        assert not any(b"GET" in one.received for one in stage.secure.connections)


def test_server_wants_a_certificate():
    """And we have none: the page says so, and there is no way around it."""
    context = tls.server_context(tls.root().certify(ORIGIN), clients=tls.root().file)
    with TlsStage(origin_tls=context) as stage, stage.inspected() as client:
        answer = get(client, "/x")
        assert answer.status == 502 and b"upstream-wants-certificate" in answer.body
        assert not any(one.requests for one in stage.secure.connections)


def test_unreachable_server(stage):
    """The client learns of it inside or before, but gets no leaf that looks good."""
    with Client(stage.at("proxy")) as client:
        answer = client.tunnel(f"{ORIGIN}:9")
        assert answer.status in (200, 502, 403)


# Clients that refuse us.

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_refuses(version):
    """Counted for its name, and listed, so that an operator can decide."""
    context = tls.client_context(tls.root().file)
    context.maximum_version = version
    with TlsStage() as stage:
        for _ in range(3):
            said = handshake_error(lambda: stage.inspected("a.test", context))
            assert "CERTIFICATE_VERIFY_FAILED" in said
        with stage.inspected() as client:
            assert get(client).status == 200
        line = stage.postern.wait_access(lambda line: line.get("reason") == "inspection-refused")
        assert line["host"] == "a.test" and line["event"] == "denied"

        def listed():
            text = stage.postern.ctl_run("inspected", check=True).stdout
            return next((line for line in text.splitlines() if "a.test" in line and "3" in line), None)
        assert wait_until(listed, what="a.test in the list")
        found = stage.postern.ctl_run("--json", "inspected", check=True).stdout
        assert "a.test" in found and ORIGIN in found


def test_client_resets_after_our_certificate(stage):
    """Without a word: TLS 1.3 clients that pin do that."""
    with Client(stage.at("proxy")) as client:
        assert client.tunnel(f"b.test:{TLS_PORT}").status == 200
        client.send(hello.client_hello("b.test"))
        assert client.exactly(1) == b"\x16"
        port = client.port
    assert stage.postern.record_of(port, event="denied", reason=("inspection-refused", "client-gone", "peer-reset", "tls-handshake"))


@pytest.mark.parametrize("end", [socket.SHUT_WR, None])
def test_client_gone_before_our_certificate(end):
    """It saw none, so it refused none: its server took too long."""
    def slow(connection):
        connection.more()
        went.wait(15)
        connection.close(reset=True)
    went = threading.Event()
    with TlsStage(origin_tls=False, handler=slow) as stage, Client(stage.at("proxy")) as client:
        assert client.tunnel(stage.target).status == 200
        client.send(hello.client_hello(ORIGIN))
        wait_until(lambda: any(one.received for one in stage.secure.connections), what="a ClientHello of ours")
        port = client.port
        client.socket.shutdown(end) if end is not None else client.close()
        went.set()
        assert stage.postern.record_of(port, protocol="tls", reason="client-gone")
        assert ORIGIN not in stage.postern.ctl_run("inspected", check=True).stdout


def test_a_reload_that_ends_inspection():
    """What was idle inside is not asked again, and the log says why."""
    with TlsStage() as stage, stage.inspected() as client:
        assert get(client).status == 200
        passing = {"name": "passing", "from": "client", "to": "origin", "protocols": ["tls"], "action": "allow"}
        assert stage.postern.reload({**stage.settings, "policies": [*stage.settings["policies"][:-1], passing]}).returncode == 0
        client.send(f"GET /again HTTP/1.1\r\nHost: {stage.target}\r\n\r\n".encode())
        assert client.wait_close() == b"" and "/again" not in stage.secure.paths()
        assert stage.postern.record_of(client.port, reason="revoked")


# The minter.

def test_many_names():
    """2,000 names, each with a leaf: what is kept of them is bounded; others are served meanwhile. From 15 addresses: what one client may
    have minted is less than what all may. The server is a failing one, which costs the test least."""
    def tune(settings):
        settings["tls"] = {**settings["tls"], "mint_rate": 100000}
        settings["limits"] = {"sessions_per_client": 4000}

    def visit(number):
        """Up to the leaf."""
        with Client(stage.at("proxy"), source=f"127.0.0.{1 + number % 15}") as client:
            assert client.tunnel(f"n{number}.test:{TLS_PORT}").status == 200
            client.send(hello.client_hello(f"n{number}.test"))
            return client.exactly(1) == b"\x16"
    with TlsStage(tune=tune, environment=SMALL_QUARANTINE, origin_tls=False, handler=lambda connection: connection.more()) as stage:
        tls.write(stage.hosts, "".join(f"{stage.prefix}.1 {name}\n" for name in (*NAMES, *(f"n{number}.test" for number in range(2000)))).encode())
        assert stage.postern.reload().returncode == 0
        worker, = stage.postern.workers()
        assert visit(0)
        before, slowest, served = rss_kib(worker), 0, 0
        for number in range(2000):
            with contextlib.suppress(ConnectionError):
                served += visit(number)
            if number % 200 == 0:
                began = time.monotonic()
                with Client(stage.at("plain")) as client:
                    assert client.request("GET", "/", "any.test").status == 200
                slowest = max(slowest, time.monotonic() - began)
        grown = rss_kib(worker) - before
        assert grown < 32 * 1024 and slowest < PROMPT and served > 1000, (grown, slowest, served)


# explain.

@pytest.mark.parametrize("path,words", [("/x", ["inspect"]), ("/denied", ["policy-denied"])])
def test_explain(stage, path, words):
    done = stage.postern.ctl_run("explain", "--from", "127.0.0.1", "--listener", "proxy", "--resolve", "GET", f"https://{stage.target}{path}")
    text = done.stdout + done.stderr
    assert all(word in text for word in words), text


# Load.

def test_many_at_once(stage):
    """Forty clients that come together share the questions for one leaf."""
    failures = []

    def visit(number):
        try:
            with stage.inspected("allowed.test") as client:
                assert get(client, f"/many{number}", f"allowed.test:{TLS_PORT}").status == 200
        except Exception as error:
            failures.append(repr(error))
    threads = [threading.Thread(target=visit, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert stage.postern.stderr().count("for allowed.test") == 1


def test_bulk(stage):
    """A large body both ways, and backpressure: nothing is lost, memory is bounded."""
    body = os.urandom(1 << 20) * 8
    stage.routes["/bulk"] = lambda connection, request: connection.answer(b"".join(connection.body_parts(request)))
    with stage.inspected() as client:
        client.socket.settimeout(60)
        client.send(f"POST /bulk HTTP/1.1\r\nHost: {stage.target}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.response(seconds=60).body == body  # the server answers when it has read all
