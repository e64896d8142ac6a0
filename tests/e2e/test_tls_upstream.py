# SPDX-License-Identifier: ISC
"""TLS to servers: who is not who it should be, or does not speak as it should, gets no byte of the request, and the log says what was wrong."""
import contextlib
import ssl
import threading

import pytest

from lib import tls
from lib.http1 import Client
from lib.origin import Gone
from lib.postern import wait_until
from lib.tls_stage import ORIGIN, SITE, TLS_PORT, TlsStage

NAME = "for another name"
DETAILS = {"expired": "expired", "notyet": "not yet valid", "selfsigned": "self-signed", "wronghost": NAME, "untrusted": "issuer",
           "revoked": "revoked", "wildcard-tld": NAME, "nul-san": NAME, "weak-sig": "", "rsa1024": "", "nameconstraint": "permitted subtree",
           "ip-mismatch": NAME, "email-san": NAME, "common-name": NAME}


def policy(**upstream):
    """One for everything, that says this of TLS to servers."""
    def tune(settings):
        settings["policies"] = [{"name": "all", "from": "client", "protocols": ["http", "websocket"], "action": "allow",
                                 **({"upstream_tls": upstream} if upstream else {})}]
    return tune


def ask(stage, listener="up", path="/"):
    """The status, and the line of the log."""
    with Client(stage.at(listener)) as client:
        answer = client.request("GET", path, "any.test", ["X-Secret: 123"])
        return answer, stage.postern.record_of(client.port, event=("end", "denied"), path=path, status=answer.status)


def is_untouched(stage):
    """No byte of a request, neither inside TLS nor in clear."""
    return all(b"GET" not in one.received and b"Secret" not in one.received for one in stage.secure.connections)


@pytest.fixture(scope="module")
def changing():
    """A stage whose origin changes its certificate with each test: nothing is kept open between them."""
    def tune(settings):
        policy()(settings)
        settings["tls"] = {**settings["tls"], "crl": tls.crls()}
    with TlsStage(tune=tune) as made:
        yield made


@pytest.mark.parametrize("kind", tls.BAD_SERVERS)
def test_bad_server(changing, kind):
    pair = tls.bad_server(kind, ORIGIN, f"{changing.prefix}.1")
    if kind == "revoked":
        tls.crls()
        assert changing.postern.reload().returncode == 0
    changing.secure.tls = tls.server_context(pair)
    answer, line = ask(changing, path=f"/{kind}")
    assert answer.status == 502 and line["reason"] == "upstream-certificate", line
    assert DETAILS[kind] in line["tls_server"]["verify"], line["tls_server"]
    assert is_untouched(changing) and "certificate" in answer.value("proxy-status")
    assert line["tls_server"]["subject"] and line["tls_server"]["issuer"], "the log says whose certificate it was"


def test_a_good_server_between_bad_ones(changing):
    changing.secure.tls = tls.server_context(tls.bad_server("good", ORIGIN, f"{changing.prefix}.1"))
    answer, line = ask(changing, path="/good")
    assert answer.status == 200 and line["tls_server"]["version"] == "TLSv1.3" and line["tls_server"]["sni"] == ORIGIN
    assert "Postern test CA" in line["tls_server"]["issuer"] and line["tls_server"]["alpn"] == "http/1.1"


def test_an_intermediate_without_crl_is_refused():
    """Where there are CRLs the whole chain is checked."""
    middle = tls.Authority("Intermediate CA", tls.root())

    def tune(settings):
        policy()(settings)
        settings["tls"] = {**settings["tls"], "crl": tls.root().crl()}
    with TlsStage(tune=tune, server=middle.certify(ORIGIN)) as stage:
        answer, line = ask(stage)
        assert answer.status == 502 and "CRL" in line["tls_server"]["verify"]


def test_a_chain_with_an_intermediate():
    middle = tls.Authority("Intermediate CA", tls.root())
    with TlsStage(tune=policy(), server=middle.certify(ORIGIN)) as stage:
        assert ask(stage)[0].status == 200


def test_an_address_as_upstream():
    """Verified as iPAddress, and no server name is sent."""
    def tune(settings):
        policy()(settings)
        up = next(one for one in settings["listeners"] if one["name"] == "up")
        up["upstreams"] = [f"https://{up['address'].rpartition('.')[0]}.1:{TLS_PORT}"]
    with TlsStage(tune=tune) as stage:
        answer, line = ask(stage)
        assert answer.status == 200 and "sni" not in line["tls_server"]
        stage.secure.tls = tls.server_context(tls.bad_server("ip-mismatch", ORIGIN, ""))
        for one in stage.secure.connections:
            one.close()
        answer, line = ask(stage)
        assert answer.status == 502 and NAME in line["tls_server"]["verify"]


# Servers that do not speak TLS as they should.

def plain_http(connection):
    connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.wait_end(5)


def close_at_once(connection):
    connection.close()


def close_after_hello(connection):
    connection.more()


def garbage(connection):
    connection.more()
    connection.send(bytes(range(256)) * 4)
    connection.wait_end(5)


def cut_in_the_middle(connection):
    """The first record of a handshake, and no more of it."""
    connection.more()
    connection.send(b"\x16\3\3\0\x7a\2\0\0\x76\3\3" + bytes(40))


@pytest.mark.parametrize("handler", [plain_http, close_at_once, close_after_hello, garbage, cut_in_the_middle], ids=lambda one: one.__name__)
def test_not_tls(handler):
    with TlsStage(tune=policy(), origin_tls=False, handler=handler) as stage:
        answer, line = ask(stage)
        assert answer.status == 502 and line["reason"] in ("upstream-tls", "upstream-closed", "peer-reset"), line
        assert is_untouched(stage)


def test_a_server_that_stalls():
    """From its connect on, the time of a handshake."""
    release = threading.Event()

    def stall(connection):
        release.wait(10)
    with TlsStage(tune=policy(), origin_tls=False, handler=stall, timeouts={"handshake": 1.0, "drain": 1.0}) as stage:
        answer, line = ask(stage)
        release.set()
        assert answer.status in (502, 504) and line["reason"] in ("timeout-handshake", "timeout-connect", "upstream-tls"), line
        assert 800 <= line["duration_ms"] <= 4000


def old_server():
    context = tls.server_context(tls.root().certify(ORIGIN))
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def test_old_server():
    with TlsStage(tune=policy(), origin_tls=old_server()) as stage:
        answer, line = ask(stage)
        assert answer.status == 502 and line["reason"] == "upstream-tls" and is_untouched(stage)


@pytest.mark.parametrize("most,status", [(ssl.TLSVersion.TLSv1_2, 502), (ssl.TLSVersion.TLSv1_3, 200)])
def test_min_version(most, status):
    context = tls.server_context(tls.root().certify(ORIGIN))
    context.maximum_version = most
    with TlsStage(tune=policy(min_version="1.3"), origin_tls=context) as stage:
        answer, line = ask(stage)
        assert answer.status == status and (status == 200 or line["reason"] == "upstream-tls" and is_untouched(stage))


def test_only_http1_is_offered():
    """A server that speaks h2 alone is not spoken to."""
    context = tls.server_context(tls.root().certify(ORIGIN), alpn=None)
    context.set_alpn_protocols(["h2"])
    offered = []

    def see(sock, name, context):
        offered.append(name)
    context.sni_callback = see
    with TlsStage(tune=policy(), origin_tls=context) as stage:
        answer, line = ask(stage)
        # Python's ssl ignores an offer that it does not like, and chooses nothing.
        assert answer.status == 200 and offered == [ORIGIN] and "alpn" not in line["tls_server"]


@pytest.mark.parametrize("notify", [True, False])
def test_an_answer_that_ends_with_the_connection(notify):
    """Only close_notify ends it: without it it was cut."""
    def serve(connection):
        with contextlib.suppress(Gone):
            connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of i")
        if notify:
            with contextlib.suppress(OSError):
                connection.socket.unwrap()
        connection.socket.close()
    with TlsStage(tune=policy(), handler=serve) as stage, Client(stage.at("up")) as client:
        client.send(b"GET /cut HTTP/1.1\r\nHost: any.test\r\n\r\n")
        if notify:
            assert client.response().body == b"half of i"
        else:
            client.wait_close()
            assert b"0\r\n\r\n" not in client.received
        line = stage.postern.wait_access(lambda line: line.get("path") == "/cut")
        assert line["reason"] == ("ok" if notify else "response-truncated"), line


# What a policy says.

def test_pin():
    good, other = tls.root().certify(ORIGIN, fresh=True), tls.root().certify(ORIGIN, fresh=True)
    with TlsStage(tune=policy(pin=[good.pin]), server=good) as stage:
        assert ask(stage)[0].status == 200
        stage.secure.tls = tls.server_context(other)
        for one in stage.secure.connections:
            one.close()
        answer, line = ask(stage, path="/other")
        assert answer.status == 502 and line["reason"] == "upstream-certificate" and "pin" in line["tls_server"]["verify"]
        assert b"/other" not in b"".join(bytes(one.received) for one in stage.secure.connections)


def test_a_pin_does_not_replace_verification():
    pair = tls.bad_server("expired", ORIGIN, "")
    with TlsStage(tune=policy(pin=[pair.pin]), server=pair) as stage:
        assert ask(stage)[1]["reason"] == "upstream-certificate"


def test_trust_of_a_policy():
    """Instead of the common one, not besides it."""
    pair = tls.stranger().certify(ORIGIN)
    with TlsStage(tune=policy(trust=tls.stranger().file), server=pair) as stage:
        assert ask(stage)[0].status == 200
        stage.secure.tls = tls.server_context(tls.root().certify(ORIGIN))
        for one in stage.secure.connections:
            one.close()
        assert ask(stage)[1]["reason"] == "upstream-certificate"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("ours", ["good", "none", "stranger"])
def test_client_certificate(version, ours):
    clients = tls.Authority("CA of the server's clients")
    pairs = {"good": clients.certify("us.test", client=True), "none": None, "stranger": tls.stranger().certify("us.test", client=True)}
    context = tls.server_context(tls.root().certify(ORIGIN), clients=clients.file)
    context.maximum_version = version
    more = pairs[ours].files if pairs[ours] else {}
    with TlsStage(tune=policy(**more), origin_tls=context) as stage:
        answer, line = ask(stage)
        if ours == "good":
            assert answer.status == 200
        else:
            assert answer.status == 502 and line["reason"] in ("upstream-wants-certificate", "upstream-tls"), line
            assert ours != "none" or line["reason"] == "upstream-wants-certificate"
            assert not any(one.requests for one in stage.secure.connections)


def test_server_name():
    """Asked for and verified instead of the upstream's."""
    with TlsStage(tune=policy(server_name="b.test"), server=tls.root().certify("b.test")) as stage:
        answer, line = ask(stage)
        assert answer.status == 200 and line["tls_server"]["sni"] == "b.test"
        stage.secure.tls = tls.server_context(tls.root().certify(ORIGIN))
        for one in stage.secure.connections:
            one.close()
        assert ask(stage)[1]["reason"] == "upstream-certificate"


def test_verify_off_shouts():
    """It works, warns at each load, and every line says so."""
    with TlsStage(tune=policy(verify=False), server=tls.bad_server("selfsigned", "elsewhere.test", "127.9.9.9")) as stage:
        warned = stage.postern.stderr().count("verify")
        assert warned >= 1
        answer, line = ask(stage)
        assert answer.status == 200 and line["tls_server"]["unverified"] is True
        assert stage.postern.reload().returncode == 0
        assert stage.postern.stderr().count("verify") > warned


def test_connections_are_not_shared_across_policies():
    """What one policy verified another may not have: each its own connection."""
    def tune(settings):
        settings["policies"] = [{"name": name, "from": "client", "paths": [f"/{name}"], "protocols": ["http"], "upstream_reuse": "shared",
                                 "action": "allow", "upstream_tls": {"verify": name == "strict"}} for name in ("loose", "strict")]
    with TlsStage(tune=tune, server=tls.bad_server("selfsigned", "elsewhere.test", "127.9.9.9")) as stage:
        assert ask(stage, path="/loose")[0].status == 200
        assert ask(stage, path="/strict")[0].status == 502
        assert ask(stage, path="/loose")[0].status == 200
        assert stage.secure.paths() == ["/loose", "/loose"]


def test_sessions_are_resumed():
    def tune(settings):
        policy()(settings)
        settings["policies"][0]["upstream_reuse"] = "never"
    with TlsStage(tune=tune) as stage:
        lines = [ask(stage, path=f"/{number}")[1] for number in range(4)]
        assert not lines[0]["tls_server"].get("resumed") and lines[-1]["tls_server"].get("resumed"), lines
        assert lines[-1]["tls_server"]["issuer"]


def test_the_request_is_not_sent_twice():
    """A server that ends the connection behind the handshake is not asked again."""
    def serve(connection):
        connection.read_head()
    with TlsStage(tune=policy(), handler=serve) as stage, Client(stage.at("both"), tls=tls.client_context(), name=SITE) as client:
        assert client.request("POST", "/once", SITE, body=b"x").status == 502
        assert sum(b"/once" in one.received for one in stage.secure.connections) == 1


@pytest.mark.parametrize("path", [None, "/healthz"])
def test_checks_verify_as_requests_do(path):
    """A certificate of somebody else's takes the upstream down before a client asks; a good one brings it back."""
    def tune(settings):
        policy()(settings)
        health = {"interval": 0.05, "rise": 1, "fall": 1, **({"path": path} if path else {})}
        for listener in settings["listeners"]:
            if listener["name"] == "up":
                listener["health"] = health

    def state():
        return {one["listener"]: one["state"] for one in stage.postern.ctl("status")["upstreams"]}["up"]

    with TlsStage(server=tls.root().certify("other.test"), tune=tune) as stage:
        wait_until(lambda: state() == "down", what="a check that fails")
        assert is_untouched(stage)
        answer, line = ask(stage)
        assert answer.status == 503 and line["reason"] == "upstream-down" and is_untouched(stage)
        stage.secure.tls = tls.server_context(tls.bad_server("good", ORIGIN, f"{stage.prefix}.1"))
        wait_until(lambda: state() == "up", what="a check that is good")
        assert ask(stage)[0].status == 200
        assert path is None or "/healthz" in stage.secure.paths()
