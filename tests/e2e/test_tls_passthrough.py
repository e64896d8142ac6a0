# SPDX-License-Identifier: ISC
"""TLS that passes unread: the ClientHello must name what the tunnel was opened to, and policies may look at what else it says."""
import socket

import pytest

from lib import hello, tls
from lib.http1 import Client
from lib.tls_stage import ORIGIN, PROXY, TLS_PORT, TlsStage


def tune(settings):
    here = {"from": "client", "to": "origin"}
    settings["policies"] = [
        {"name": "tunnels", **here, "methods": ["CONNECT"], "protocols": ["http"], "action": "allow"},
        {"name": "old", **here, "hosts": ["other.test"], "sni": "optional", "protocols": ["tls"], "action": "allow"},
        {"name": "no-ech", **here, "hosts": ["a.test"], "ech": "deny", "protocols": ["tls"], "action": "allow"},
        {"name": "known", **here, "hosts": ["b.test"], "tls_fingerprints": ["t13d*_*_*"], "protocols": ["tls"], "action": "allow"},
        {"name": "strange", **here, "hosts": ["allowed.test"], "tls_fingerprints": ["t12d0000h0_*"], "protocols": ["tls"], "action": "allow"},
        {"name": "rest", **here, "hosts": [ORIGIN], "protocols": ["tls"], "action": "allow"}]
    del settings["tls"]["inspect_certificate"], settings["tls"]["inspect_key"]


@pytest.fixture(scope="module")
def stage():
    with TlsStage(tune=tune) as made:
        yield made


def by_connect(stage, name):
    client = Client(stage.at("proxy"))
    assert client.tunnel(f"{name}:{TLS_PORT}").status == 200
    return client


def by_secure_connect(stage, name):
    client = stage.client("secure-proxy", PROXY)
    assert client.tunnel(f"{name}:{TLS_PORT}").status == 200
    return client


def by_socks(stage, name):
    client = Client(stage.at("proxy"))
    client.send(b"\5\1\0")
    assert client.exactly(2) == b"\5\0"
    client.send(b"\5\1\0\3" + bytes([len(name)]) + name.encode() + TLS_PORT.to_bytes(2, "big"))
    assert client.exactly(10)[:2] == b"\5\0"
    return client


WAYS = {"CONNECT": by_connect, "CONNECT inside TLS": by_secure_connect, "SOCKS": by_socks}


@pytest.fixture(params=list(WAYS))
def way(request):
    return WAYS[request.param]


def passed(stage):
    """Bytes that reached the origin in all."""
    return sum(len(one.received) for one in stage.secure.connections)


@pytest.fixture(scope="module")
def raw():
    """An origin that keeps what comes and says nothing but a sign that it came."""
    def handler(connection):
        connection.more()
        connection.send(b"\x16\3\3\0\4seen")
        connection.wait_end(20)
    with TlsStage(tune=tune, origin_tls=False, handler=handler) as made:
        yield made


def sends(stage, way, name, data, piece=None):
    """What comes back, of what the client sends in a tunnel to `name`: ("seen" or the alert or "", port)."""
    with way(stage, name) as client:
        port = client.port
        try:
            for at in range(0, len(data), piece or len(data)):
                client.send(data[at:at + (piece or len(data))])
            client.read_until(lambda got: b"seen" in got, 5)
            return "seen", port
        except (ConnectionError, OSError):
            return ",".join(hello.alerts_in(bytes(client.received[client.offset:]))), port


def denied(stage, port, *reasons):
    return stage.postern.record_of(port, event="denied", **({"reason": reasons} if reasons else {}))


# With whole handshakes.

@pytest.mark.parametrize("way", [by_connect, by_socks], ids=["CONNECT", "SOCKS"])
def test_passes_unread(stage, way):
    with way(stage, ORIGIN) as client:
        client.secure(tls.client_context(tls.root().file), ORIGIN)
        assert int(client.socket.getpeercert()["serialNumber"], 16) == stage.server.x509.serial_number
        assert client.request("GET", "/unread", ORIGIN).status == 200
        port = client.port
    line = stage.postern.record_of(port, event="end", protocol="tls")
    assert (line["tls_client"]["way"], line["tls_client"]["sni"], line["policy"]) == ("peeked", ORIGIN, "rest")
    assert line["tls_client"]["ja4"].startswith("t13d") and "tls_server" not in line and "path" not in line


def test_any_protocol_may_be_agreed_unread(raw):
    """h2 inside is the ends' own business."""
    assert sends(raw, by_connect, ORIGIN, hello.client_hello(ORIGIN, alpn=["h2"]))[0] == "seen"


# What ClientHellos may say.

@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize("record", [16384, 1, 50])
def test_right_name(raw, way, piece, record):
    data = hello.client_hello(ORIGIN, record=record)
    said, _ = sends(raw, way, ORIGIN, data, piece)
    assert said == "seen"
    assert bytes(raw.secure.connections[-1].received) == data


@pytest.mark.parametrize("name,sni", [(ORIGIN, ORIGIN.upper()), (ORIGIN.upper(), ORIGIN), (ORIGIN + ".", ORIGIN)])
def test_names_are_compared_normalised(raw, name, sni):
    assert sends(raw, by_connect, name, hello.client_hello(sni))[0] == "seen"


@pytest.mark.parametrize("sni", ["denied.test", "x.origin.test", "origin.tes", "test", "other.test"])
def test_other_name(raw, way, sni):
    before = passed(raw)
    said, port = sends(raw, way, ORIGIN, hello.client_hello(sni))
    line = denied(raw, port)
    assert said != "seen" and line["reason"] == "sni-mismatch" and line["tls_client"]["sni"] == sni
    assert passed(raw) == before


def test_no_name(raw, way):
    before = passed(raw)
    said, port = sends(raw, way, ORIGIN, hello.client_hello(None))
    assert said != "seen" and denied(raw, port, "sni-missing") and passed(raw) == before


def test_no_name_where_none_is_needed(raw, way):
    assert sends(raw, way, "other.test", hello.client_hello(None))[0] == "seen"


def test_a_wrong_name_where_none_is_needed(raw, way):
    said, port = sends(raw, way, "other.test", hello.client_hello("denied.test"))
    assert said != "seen" and denied(raw, port, "sni-mismatch")


@pytest.mark.parametrize("data", [hello.client_hello([ORIGIN, "denied.test"]), hello.client_hello(ORIGIN, twice=True),
                                  hello.client_hello(ORIGIN, padding=20000), hello.client_hello(ORIGIN + "\0.evil.test"),
                                  bytes.fromhex("16030100050100fffff0")], ids=["two names", "twice", "oversized", "NUL", "lie"])
def test_malformed(raw, way, data):
    before = passed(raw)
    said, port = sends(raw, way, ORIGIN, data)
    assert said != "seen" and denied(raw, port, "hello-malformed") and passed(raw) == before


@pytest.mark.parametrize("name,ech,reason", [("a.test", False, None), ("a.test", True, "ech-denied"), (ORIGIN, True, None)])
def test_ech(raw, name, ech, reason):
    said, port = sends(raw, by_connect, name, hello.client_hello(name, ech=ech))
    if reason:
        assert said != "seen" and denied(raw, port, reason)
    else:
        assert said == "seen"
        line = raw.postern.record_of(port, protocol="tls")
        assert line["tls_client"].get("ech", False) is ech


@pytest.mark.parametrize("name,allowed", [("b.test", True), ("allowed.test", False)])
def test_fingerprints(raw, name, allowed):
    said, port = sends(raw, by_connect, name, hello.client_hello(name))
    assert (said == "seen") is allowed
    if not allowed:
        assert denied(raw, port, "no-policy", "tunnel-protocol")


def test_fingerprint_of_an_old_client(raw):
    data = hello.client_hello("b.test", versions=(), legacy=0x0303)
    said, port = sends(raw, by_connect, "b.test", data)
    assert said != "seen" and denied(raw, port)["tls_client"]["ja4"].startswith("t12d")


def test_a_tunnel_that_is_no_tls(raw, way):
    said, port = sends(raw, way, ORIGIN, b"SSH-2.0-OpenSSH_9.2\r\n")
    assert said != "seen" and denied(raw, port, "tunnel-protocol", "no-policy")


def test_stalled_hello(raw):
    """Half of one is not passed on, however long it waits."""
    before = passed(raw)
    with by_connect(raw, ORIGIN) as client:
        client.send(hello.client_hello(ORIGIN)[:60])
        client.socket.settimeout(0.3)
        with pytest.raises(socket.timeout):
            client.socket.recv(1)
    assert passed(raw) == before
