# SPDX-License-Identifier: ISC
"""TLS that is ended here: which certificate a client gets, what is agreed with it, who may come in, and what a reload changes."""
import asyncio
import datetime
import os
import re
import signal
import socket
import ssl
import subprocess

import pytest

from lib import tls, ws
from lib.http1 import Client
from lib.lease import Lease
from lib.libssl import TLS1_2, TLS1_3, Stream
from lib.postern import wait_until
from lib.tls_stage import BOTH_PORT, ORIGIN, PROXY, SECURE_SITE_PORT, SITE, TlsStage, handshake_error, inspector

@pytest.fixture(scope="module")
def stage():
    with TlsStage() as made:
        yield made


def trust():
    return tls.client_context(tls.root().file)


def get(client, path="/", host=SITE):
    return client.request("GET", path, host)


def subject_of(client):
    return dict(pair[0] for pair in client.socket.getpeercert()["subject"])["commonName"]


# Clients.

@pytest.mark.parametrize("listener,port", [("site", SECURE_SITE_PORT), ("both", BOTH_PORT)])
def test_curl(stage, curl, listener, port):
    own = stage.at(listener).partition(":")[0]
    done = curl("--cacert", tls.root().file, "--resolve", f"{SITE}:{port}:{own}", f"https://{SITE}:{port}/a", "-w", " %{http_code} %{num_connects}",
                f"https://{SITE}:{port}/b")
    assert done.stdout == b"ok 200 1ok 200 0", done.stderr


def test_curl_by_address(stage, curl):
    """No server name: refused, though the certificate names the address."""
    done = curl("--cacert", tls.root().file, f"https://{stage.at('site')}/")
    assert done.returncode == 35 and b"unrecognized name" in done.stderr


def test_https_to_an_explicit_proxy(stage, curl):
    own, port = stage.at("secure-proxy").split(":")
    proxy = ["--proxy-cacert", tls.root().file, "--resolve", f"{PROXY}:{port}:{own}", "-x", f"https://{PROXY}:{port}"]
    assert curl(*proxy, f"http://{stage.origin.authority}/plain").stdout == b"ok"
    assert curl(*proxy, "--proxytunnel", f"http://{stage.origin.authority}/tunnel").stdout == b"ok"
    done = curl(*proxy, "--cacert", tls.root().file, f"https://{stage.target}/twice")
    assert done.stdout == b"ok", done.stderr
    line = stage.postern.wait_access(lambda line: line.get("path") == "/plain")
    assert line["tls_client"]["way"] == "ended" and line["tls_client"]["sni"] == PROXY
    line = stage.postern.wait_access(lambda line: line.get("listener") == "secure-proxy" and line.get("protocol") == "tls")
    assert line["tls_client"]["way"] == "peeked" and line["tls_client"]["sni"] == ORIGIN


@pytest.mark.parametrize("listener", ["site", "both"])
def test_python_websockets(stage, listener):
    websockets = pytest.importorskip("websockets")
    own, port = stage.at(listener).split(":")

    async def talk():
        async with websockets.connect(f"wss://{SITE}:{port}/ws", host=own, server_hostname=SITE, ssl=trust(), compression=None) as client:
            for message in ("a", "ü" * 100, b"\0\xff" * 70000, ""):
                await client.send(message)
                assert await client.recv() == message
            assert await asyncio.wait_for(await client.ping(), 10) is not None
        return client.close_code
    assert asyncio.run(talk()) == 1000


@pytest.mark.parametrize("listener", ["site", "both"])
def test_wscat(stage, wscat, listener):
    own, port = stage.at(listener).split(":")
    out, errors = wscat("--ca", tls.root().file, "-c", f"wss://{SITE}:{port}/ws", names={SITE: own})
    assert "hello from wscat" in out, errors


def test_host_must_be_the_server_name(stage):
    with stage.client("site", SITE) as client:
        assert get(client, host="a.site.test").status == 421
        assert stage.postern.record_of(client.port, reason="host-mismatch")


def test_facts(stage):
    with stage.client("site", SITE) as client:
        assert get(client, "/facts").status == 200
        suite = client.socket.cipher()[0]
    facts = stage.postern.wait_access(lambda line: line.get("path") == "/facts")["tls_client"]
    assert facts["way"] == "ended" and facts["version"] == "TLSv1.3" and facts["suite"] == suite and facts["sni"] == SITE
    assert facts["ja4"].startswith("t13d") and "subject" not in facts


def test_truncation_is_seen(stage):
    """A client that vanishes without close_notify in the middle of a body did not end it."""
    with stage.client("site", SITE) as client:
        client.send(f"POST /cut HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 10\r\n\r\nhalf".encode())
        port = client.port
        os.close(client.socket.detach())
    assert stage.postern.record_of(port, path="/cut", reason="client-gone")


# Which certificate.

@pytest.fixture(scope="module")
def sites():
    """Four certificates: exact, wildcard, and one name with keys of both kinds."""
    ca = tls.root()
    pairs = {"exact": ca.certify("one.site.test", "site.test", subject="exact"), "wildcard": ca.certify("*.site.test", subject="wildcard"),
             "ec": ca.certify("twin.test", subject="ec"), "rsa": ca.certify("twin.test", subject="rsa", key="rsa2048")}

    def tune(settings):
        site = next(one for one in settings["listeners"] if one["name"] == "site")
        site["tls"] = {"certificates": [pair.files for pair in pairs.values()]}
        both = next(one for one in settings["listeners"] if one["name"] == "both")
        both["tls"] = {**pairs["exact"].files, "unknown_name": "first"}
    with TlsStage(tune=tune) as made:
        yield made


@pytest.mark.parametrize("name,subject", [("one.site.test", "exact"), ("two.site.test", "wildcard"), ("site.test", "exact"), ("ONE.site.TEST", "exact")])
def test_certificate_by_name(sites, name, subject):
    with sites.client("site", name) as client:
        assert subject_of(client) == subject
        assert get(client, host=name).status == 200


@pytest.mark.parametrize("signatures,subject", [("ECDSA", "ec"), ("RSA", "rsa")])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
def test_keys_of_both_kinds(sites, signatures, subject, version):
    context = trust()
    context.maximum_version = version
    context.set_ciphers(f"ECDHE-{signatures}-AES128-GCM-SHA256")
    with sites.client("site", "twin.test", context) as client:
        assert subject_of(client) == subject


@pytest.mark.parametrize("name", ["unknown.test", "a.b.site.test", None, "test"])
def test_unknown_name_is_refused(sites, name):
    context = tls.client_context()
    before = len(sites.origin.connections)
    said = handshake_error(lambda: sites.client("site", name, context))
    assert "UNRECOGNIZED_NAME" in said.upper()
    assert len(sites.origin.connections) == before


@pytest.mark.parametrize("name", ["unknown.test", None])
def test_unknown_name_may_get_the_first(sites, name):
    context = trust()
    context.check_hostname = False
    with sites.client("both", name, context) as client:
        assert subject_of(client) == "exact"
        assert get(client, host=name or "anything.test").status == 200


# What is agreed.

@pytest.mark.parametrize("offered,chosen", [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)])
def test_alpn(stage, offered, chosen):
    with stage.client("site", SITE, tls.client_context(tls.root().file, alpn=offered)) as client:
        assert client.socket.selected_alpn_protocol() == chosen
        assert get(client).status == 200


@pytest.mark.parametrize("offered", [["h2"], ["h2", "spdy/1"], ["imap"]])
def test_no_protocol_that_is_not_spoken(stage, offered):
    said = handshake_error(lambda: stage.client("site", SITE, tls.client_context(tls.root().file, alpn=offered)))
    assert "no application protocol" in said.lower()
    assert stage.postern.wait_access(lambda line: line.get("reason") == "alpn-mismatch")


def test_profiles():
    """CBC and RSA key exchange only by name."""
    def tune(settings):
        for one in settings["listeners"]:
            if one["name"] == "both":
                one["tls"] = {**one["tls"], "profile": "compatible"}
            if one["name"] == "site":
                one["tls"] = {**one["tls"], "min_version": "1.3"}
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(tls.root().file)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    new = trust()
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsStage(tune=tune) as stage:
        with stage.client("both", SITE, old) as client:
            assert get(client).status == 200
        handshake_error(lambda: stage.client("secure-proxy", PROXY, old))
        with stage.client("secure-proxy", PROXY, new) as client:
            assert client.socket.version() == "TLSv1.2"
        assert "version" in handshake_error(lambda: stage.client("site", SITE, new)).lower()


@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_resumption_is_shared_by_workers(version):
    """Sessions of one worker are resumed by the other; so are they by a worker that came later."""
    def tune(settings):
        settings["workers"] = 2
    with TlsStage(tune=tune) as stage:
        host = f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()

        def visit(session=None):
            with Stream(stage.at("site"), SITE, version, session) as stream:
                stream.write(host)
                stream.read_until(b"ok")
                return stream.resumed, stream.session()
        resumed, session = visit()
        assert not resumed
        for _ in range(12):
            assert visit(session)[0]
        wait_until(lambda: {line["session"].split("-")[0] for line in stage.postern.access()} == {"0", "1"}, what="a line of both workers")
        old = stage.postern.workers()[0]
        os.kill(old, 9)
        wait_until(lambda: len(stage.postern.workers()) == 2 and old not in stage.postern.workers(), what="another worker")
        for _ in range(8):
            assert visit(session)[0]
        assert stage.postern.wait_access(lambda line: line.get("tls_client", {}).get("resumed"))


def test_ticket_keys_rotate():
    """The last keys but one are forgotten."""
    def tune(settings):
        settings["tls"] = {**settings["tls"], "ticket_seconds": 1}
    with TlsStage(tune=tune) as stage:
        request = f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()

        def visit(session=None):
            with Stream(stage.at("site"), SITE, TLS1_2, session) as stream:
                stream.write(request)
                stream.read_until(b"ok")
                return stream.resumed, stream.session()
        _, session = visit()
        assert visit(session)[0]
        wait_until(lambda: not visit(session)[0], what="the end of a ticket")


def test_a_ticket_is_of_one_listener(sites):
    """The same certificate elsewhere is not the same place: what one listener gave the other does not take."""
    context = tls.client_context()
    with sites.client("site", "one.site.test", context) as client:
        get(client, host="one.site.test")
        session = client.socket.session
        assert session is not None
    for listener, name, resumed in (("site", "one.site.test", True), ("both", "one.site.test", False), ("site", "twin.test", False)):
        host, port = sites.at(listener).split(":")
        sock = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=name, session=session)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        assert sock.session_reused is resumed, (listener, name)
        sock.close()


def test_tickets_may_be_off():
    def tune(settings):
        site = next(one for one in settings["listeners"] if one["name"] == "site")
        site["tls"] = {**site["tls"], "tickets": False}
    with TlsStage(tune=tune) as stage:
        for version in (TLS1_2, TLS1_3):
            request = f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()
            with Stream(stage.at("site"), SITE, version) as stream:
                stream.write(request)
                stream.read_until(b"ok")
                session = stream.session()
            with Stream(stage.at("site"), SITE, version, session) as stream:
                assert not stream.resumed


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_ocsp_staple(version):
    pair = tls.root().certify(SITE)
    staple = tls.root().staple(pair)

    def tune(settings):
        next(one for one in settings["listeners"] if one["name"] == "site")["tls"] = {**pair.files, "ocsp": staple}
    with TlsStage(tune=tune) as stage:
        done = subprocess.run(["openssl", "s_client", "-connect", stage.at("site"), "-servername", SITE, "-status", version, "-CAfile", tls.root().file],
                              input=b"", capture_output=True, timeout=20)
        assert b"OCSP Response Status: successful" in done.stdout and b"Cert Status: good" in done.stdout
        done = subprocess.run(["openssl", "s_client", "-connect", stage.at("secure-proxy"), "-servername", PROXY, "-status", version],
                              input=b"", capture_output=True, timeout=20)
        assert b"OCSP response: no response sent" in done.stdout


# Who may come in.

@pytest.fixture(scope="module")
def members():
    """A CA for clients, one of whose certificates is revoked, and policies by what certificates name."""
    ca = tls.Authority("Clients' CA")
    alice = ca.certify("alice.clients.test", client=True, subject="alice")
    bob = ca.certify("email:bob@clients.test", "uri:spiffe://clients.test/bob", client=True, subject="bob")
    mallory = ca.revoke(ca.certify("mallory.clients.test", client=True, subject="mallory"))
    stranger = tls.stranger().certify("alice.clients.test", client=True, subject="alice")
    server = ca.certify("alice.clients.test", subject="alice")

    def tune(settings):
        site = next(one for one in settings["listeners"] if one["name"] == "site")
        site["tls"] = {**site["tls"], "client_certificates": "required", "ca": ca.file, "crl": ca.crl()}
        proxy = next(one for one in settings["listeners"] if one["name"] == "secure-proxy")
        proxy["tls"] = {**proxy["tls"], "client_certificates": "optional", "ca": ca.file, "crl": ca.crl()}
        settings["policies"] = [
            {"name": "alice", "listeners": ["site"], "paths": ["/alice"], "client_certificates": ["DNS:alice.*"], "action": "allow"},
            {"name": "bob", "listeners": ["site"], "paths": ["/bob"], "client_certificates": ["URI:spiffe://clients.test/*"], "action": "allow"},
            {"name": "both", "listeners": ["site"], "paths": ["/both"], "client_certificates": ["*CN=alice*", "email:bob@clients.test"],
             "action": "allow"},
            {"name": "proxy", "listeners": ["secure-proxy"], "to": "origin", "client_certificates": ["DNS:alice.clients.test"],
             "protocols": ["http"], "action": "allow"}]
    with TlsStage(tune=tune) as made:
        made.pairs = {"alice": alice, "bob": bob, "mallory": mallory, "stranger": stranger, "server": server, "nobody": None}
        yield made


def show(members, who, **options):
    return tls.client_context(tls.root().file, members.pairs[who], **options)


@pytest.mark.parametrize("who,allowed", [("alice", ["/alice", "/both"]), ("bob", ["/bob", "/both"])])
def test_client_certificate_in_policy(members, who, allowed):
    for path in ("/alice", "/bob", "/both"):
        with members.client("site", SITE, show(members, who)) as client:
            assert get(client, path).status == (200 if path in allowed else 403), path
    line = members.postern.wait_access(lambda line: line.get("path") == allowed[0] and line.get("status") == 200)
    assert who in line["tls_client"]["subject"] and "Clients' CA" in line["tls_client"]["issuer"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("who,detail", [("mallory", "revoked"), ("stranger", ""), ("server", "purpose"), ("nobody", "")])
def test_client_certificate_refused(members, who, detail, version):
    """No request passes: in TLS 1.3 a client learns of it only when it reads."""
    context = show(members, who)
    context.maximum_version = version
    before = len(members.origin.requests)

    def ask():
        client = members.client("site", SITE, context)
        try:
            get(client, "/alice")
        finally:
            client.close()
        return client
    handshake_error(ask)
    line = members.postern.wait_access(lambda line: line.get("reason") == "client-certificate" and detail in line.get("tls_client", {}).get("verify", ""))
    assert line["event"] == "denied" and len(members.origin.requests) == before


@pytest.mark.parametrize("who,status", [("alice", 200), ("nobody", 403), ("bob", 403)])
def test_optional_client_certificate(members, who, status):
    with members.client("secure-proxy", PROXY, show(members, who)) as client:
        assert client.request("GET", f"http://{members.origin.authority}/", members.origin.authority).status == status


def test_a_client_certificate_is_remembered_with_the_ticket(members):
    context = show(members, "alice")
    sessions = []
    for number in range(2):
        host, port = members.at("site").split(":")
        sock = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=SITE, session=sessions[0] if sessions else None)
        sock.sendall(f"GET /alice HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        assert sock.session_reused is bool(number)
        sessions.append(sock.session)
        sock.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_revoked_client_does_not_come_back_by_its_ticket(version):
    """A session that is resumed shows no certificate: with a new list of revoked ones it has to be shown again."""
    ca = tls.Authority("Clients' CA")
    alice = ca.certify("alice.clients.test", client=True)
    context = tls.client_context(tls.root().file, alice)
    context.maximum_version = version

    def tune(settings):
        site = next(one for one in settings["listeners"] if one["name"] == "site")
        site["tls"] = {**site["tls"], "client_certificates": "required", "ca": ca.file, "crl": ca.crl()}

    with TlsStage(tune=tune) as stage:
        host, port = stage.at("site").split(":")

        def visit(session=None):
            with context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=SITE, session=session) as sock:
                sock.sendall(f"GET /alice HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode())
                if not sock.recv(100).startswith(b"HTTP/1.1 200"):
                    raise ConnectionError("no answer")
                return sock.session, sock.session_reused
        first, _ = visit()
        session, resumed = visit(first)
        assert resumed
        ca.revoke(alice)
        ca.crl()
        assert stage.postern.reload().returncode == 0
        before = len(stage.origin.requests)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            visit(session)
        line = stage.postern.wait_access(lambda line: line.get("reason") == "client-certificate")
        assert "revoked" in line["tls_client"]["verify"] and len(stage.origin.requests) == before


# Reload.

def test_reload_replaces_certificates_under_open_sessions():
    with TlsStage() as stage:
        pair = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")
        with stage.client("site", SITE) as old:
            old.send(ws.handshake("/ws", SITE))
            assert old.response().status == 101
            before = old.socket.getpeercert()["serialNumber"]
            tls.root().certify(SITE, path=pair["certificate"].removesuffix(".crt"), fresh=True)
            assert stage.postern.reload().returncode == 0
            with stage.client("site", SITE) as new:
                assert new.socket.getpeercert()["serialNumber"] != before
                assert get(new).status == 200
            old.send(ws.frame(ws.TEXT, b"still here", mask=True))
            assert old.read_until(lambda data: ws.messages_in(ws.frames_in(data))) == [(ws.TEXT, b"still here")]


def test_a_handshake_that_begins_after_a_reload_gets_the_new_certificate():
    """Its connection was accepted before it."""
    with TlsStage() as stage, Client(stage.at("site")) as waiting:
        pair = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")
        with stage.client("site", SITE) as old:
            before = old.socket.getpeercert()["serialNumber"]
        wait_until(lambda: any(row["client"].endswith(f":{waiting.port}") for row in stage.postern.ctl("sessions")["sessions"]), what="its row")
        tls.root().certify(SITE, path=pair["certificate"].removesuffix(".crt"), fresh=True)
        assert stage.postern.reload().returncode == 0
        waiting.secure(tls.client_context(tls.root().file), SITE)
        assert waiting.socket.getpeercert()["serialNumber"] != before
        assert get(waiting).status == 200


def ends_in(text):
    """{file: (key, seconds)} of the metrics."""
    found = re.findall(r'(?m)^postern_certificate_end_timestamp_seconds\{key="([^"]*)",file="([^"]*)"\} (-?\d+)$', text)
    ends = {file: (key, int(seconds)) for key, file, seconds in found}
    assert len(ends) == len(found), found
    return ends


def test_metrics_say_when_certificates_end():
    """Of all that are shown and of the CA of inspection, each once; a reload that is refused changes nothing, a good one does, and a control
    process that comes back knows it too."""
    lease = Lease()
    admin = f"{lease.prefix}.4:9128"
    ca = tls.root()
    pairs = [ca.certify(SITE, key="rsa2048", life=(-tls.DAY, 9 * tls.DAY)), ca.certify("b.test", life=(-9 * tls.DAY, -tls.DAY))]
    shown = ca.certify("us.test", client=True, life=(-tls.DAY, 7 * tls.DAY))

    def tune(settings):
        listeners = {one["name"]: one for one in settings["listeners"]}
        listeners["site"]["tls"] = {"certificates": [pair.files for pair in pairs]}
        settings["policies"][-1]["upstream_tls"] = shown.files

    def ends(stage):
        with Client(stage.postern.settings["admin"]["address"]) as client:
            return ends_in(client.request("GET", "/metrics", admin).body.decode())

    def seconds(certificate):
        return int(certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc).timestamp())

    with TlsStage(tune=tune, admin={"address": admin}) as stage:
        files = {one["name"]: one["tls"].get("certificate") for one in stage.settings["listeners"] if "tls" in one}
        found = ends(stage)
        assert set(found) == {pair.certificate for pair in [*pairs, shown]} | {files["secure-proxy"], files["both"], inspector().file}
        assert found[pairs[0].certificate] == ("listeners.site.tls.certificates[0].certificate", seconds(pairs[0].x509))
        assert found[pairs[1].certificate][1] == seconds(pairs[1].x509)
        assert found[shown.certificate] == ("policies.inside.upstream_tls.certificate", seconds(shown.x509))
        assert found[inspector().file] == ("tls.inspect_certificate", seconds(inspector().certificate))
        path = pairs[0].certificate.removesuffix(".crt")
        new = ca.certify(SITE, key="rsa2048", life=(-tls.DAY, 30 * tls.DAY), path=path)
        good = open(pairs[1].key, "rb").read()
        tls.write(pairs[1].key, b"no key\n", 0o600)
        assert stage.postern.reload().returncode != 0
        assert ends(stage) == found
        tls.write(pairs[1].key, good, 0o600)
        assert stage.postern.reload().returncode == 0
        found[new.certificate] = (found[new.certificate][0], seconds(new.x509))
        assert ends(stage) == found
        before = stage.postern.pids("control")
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: (now := stage.postern.pids("control")) and now != before, what="a new control process")
        wait_until(lambda: stage.postern.ctl_run("status").returncode == 0, what="control to answer")
        wait_until(lambda: ends(stage) == found, what="a control process that knows the certificates")
    lease.release()


@pytest.mark.parametrize("damage", ["no key", "other key", "garbage", "loose key"])
def test_a_bad_file_leaves_everything_as_it_was(damage):
    with TlsStage() as stage:
        pair = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")
        if damage == "no key":
            os.unlink(pair["key"])
        elif damage == "other key":
            tls.write(pair["key"], tls.key_pem(tls.new_key("ec")), 0o600)
        elif damage == "garbage":
            tls.write(pair["certificate"], b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        else:
            os.chmod(pair["key"], 0o640)
        done = stage.postern.reload()
        assert done.returncode != 0 and f"{stage.postern.config}:" in done.stdout + done.stderr and ".tls." in done.stdout + done.stderr
        with stage.client("site", SITE) as client:
            assert get(client).status == 200


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_loose_permissions_of_a_key(mode):
    """Neither started nor checked."""
    with TlsStage(start=False) as stage:
        key = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")["key"]
        os.chmod(key, mode)
        with pytest.raises(AssertionError, match="site.tls.key"):
            stage.postern.start()
        done = subprocess.run([stage.postern.binary, "-n", "-c", stage.postern.config], capture_output=True, text=True)
        assert done.returncode == 1 and "listeners.site.tls.key" in done.stdout + done.stderr
        os.chmod(key, 0o600)
        stage.postern.start()


def test_a_key_of_somebody_else(needs_root):
    with TlsStage(start=False) as stage:
        key = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")["key"]
        os.chown(key, 12345, 12345)
        with pytest.raises(AssertionError, match="site.tls.key"):
            stage.postern.start()
