# SPDX-License-Identifier: ISC
"""TLS itself: clients and servers that do not speak it well, certificates that are not good, and what becomes of both."""
import os
import ssl

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import tls_ends
from lib import hello, ws
from ring import GET, OK, ORIGIN, OTHER, PREFIX, Ring, body, close_codes, status, world

TICK = 0.2
ALERT = b"\x15\x03\x03\x00\x02\x02"
MALFORMED, VERSION, INTERNAL, NAME_UNKNOWN, NO_PROTOCOL, DENIED = 50, 70, 80, 112, 120, 49
KINDS = ["expired", "notyet", "wrong", "unknown"]
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def rings(tmp_path):
    """rings(way, change): an engine of the test's own."""
    made = []

    def make(way, change=None):
        made.append(Ring(str(tmp_path), way=way, change=change))
        return made[-1]

    yield make
    for one in made:
        one.close()


def site(**more):
    """The settings with other keys in the group tls of the reverse listeners; None takes one away."""
    def change(made):
        for listener in made["listeners"]:
            if listener["mode"] == "reverse":
                listener["tls"] = {**listener["tls"], **more}
                listener["tls"] = {key: value for key, value in listener["tls"].items() if value is not None}
        return made
    return change


def policy(name, **more):
    def change(made):
        for one in made["policies"]:
            if one["name"] == name:
                one.update(more)
        return made
    return change


def raw_hello(sni="a.test", drop=(), add=b"", version=b"\x03\x03"):
    """A ClientHello as bytes: without the extensions `drop`, with those in `add`."""
    whole = hello.client_hello(sni)
    at = 5 + 4 + 2 + 32
    at += 1 + whole[at]
    at += 2 + int.from_bytes(whole[at:at + 2], "big")
    at += 1 + whole[at]
    head, rest = whole[9:at], whole[at + 2:]
    kept = b""
    while rest:
        number, size = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        kept += b"" if number in drop else rest[:4 + size]
        rest = rest[4 + size:]
    message = version + head[2:] + hello.sized(2, kept + add)
    return b"\x16\x03\x01" + hello.sized(2, b"\x01" + hello.sized(3, message))


def reasons(ring):
    return [reason for _, reason, _ in ring.ended()]


def alerted(end, alert):
    return bytes(end.received) == ALERT + bytes([alert])


# Clients of a TLS listener.


def test_a_hello_byte_by_byte(rings):
    ring = rings("ended")
    client = ring.raw_client("site")
    first, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = tls_ends.client_context(world().ca)
    spoken = context.wrap_bio(first, out, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        spoken.do_handshake()
    for byte in out.read():
        ring.say(client, bytes([byte]))
    assert client.received[:3] == b"\x16\x03\x03" and ring.ended() == []


@pytest.mark.parametrize("data, alert", [
    (GET, None),
    (b"SSH-2.0-x\r\n", None),
    (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", MALFORMED),
    (b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xf0" + b"\x16\x03\x01\x40\x00" + b"x" * 16384 + b"\x16\x03\x01\x40\x00", MALFORMED),
    (raw_hello(add=hello.extension(43, b"\x02\x03\x04")), MALFORMED),
])
def test_what_is_no_hello(rings, data, alert):
    ring = rings("ended")
    client = ring.raw_client("site")
    ring.say(client, data)
    assert client.end == "fin" and (alerted(client, alert) if alert else not client.received)
    assert reasons(ring) == ["hello-malformed"] and ring.dial() is None


@pytest.mark.parametrize("data, alert, reason", [
    (raw_hello("b.test"), NAME_UNKNOWN, "sni-unknown"),
    (raw_hello("wild.test"), NAME_UNKNOWN, "sni-unknown"),
    (raw_hello(None), NAME_UNKNOWN, "sni-missing"),
    (raw_hello(add=hello.extension(16, b"\x00\x03\x02h2")), NO_PROTOCOL, "alpn-mismatch"),
    (raw_hello(drop=(43,), version=b"\x03\x02"), VERSION, "tls-handshake"),
])
def test_a_hello_that_is_refused(rings, data, alert, reason):
    ring = rings("ended", site(certificate=world().site.path, key=world().site.key_path, unknown_name="refuse"))
    client = ring.raw_client("site")
    ring.say(client, data)
    assert client.end == "fin" and alerted(client, alert)
    assert reasons(ring) == [reason]


@pytest.mark.parametrize("name", ["a.test", "A.TEST", "x.wild.test"])
def test_a_site_by_its_name(rings, name):
    ring = rings("ended", site(certificate=world().site.path, key=world().site.key_path, unknown_name="refuse"))
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().ca), name=name)
    assert client.sock.done
    ring.say(client, f"GET /x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    ring.say(ring.server(), OK)
    assert body(client) == b"ok"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["tls_client"]["sni"] == name.lower() and record["tls_client"]["way"] == "ended"


def test_host_must_be_the_name_of_the_handshake(rings):
    ring = rings("ended")
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert status(client) == 421 and reasons(ring) == ["host-mismatch"] and ring.dial() is None


def test_host_may_be_the_address_of_the_listener(rings):
    ring = rings("ended")
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: 127.0.98.2:8080\r\n\r\n")
    ring.say(ring.server(), OK)
    assert body(client) == b"ok"


def test_host_may_be_no_other_address(rings):
    ring = rings("ended")
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: 127.0.98.1:8080\r\n\r\n")
    assert status(client) == 421 and reasons(ring) == ["host-mismatch"] and ring.dial() is None


@pytest.mark.parametrize("sent, reason", [(0, "timeout-handshake"), (20, "timeout-handshake"), (1 << 20, "timeout-handshake")])
def test_a_client_that_stalls(rings, sent, reason):
    """Before its hello, within it, and behind our flight; timed in total, from its first byte."""
    ring = rings("ended")
    client = ring.raw_client("site")
    ring.advance(1)
    ring.say(client, raw_hello()[:sent])
    ring.advance((3 if sent else 2) - TICK)
    assert ring.ended() == [] and client.end is None
    ring.advance(2 * TICK)
    assert client.end and reasons(ring) == [reason]


def test_a_client_that_dribbles(rings):
    ring = rings("ended")
    client = ring.raw_client("site")
    for byte in raw_hello()[:28]:
        ring.say(client, bytes([byte]))
        ring.advance(0.1)
    assert ring.ended() == []
    ring.advance(0.2 + TICK)
    assert reasons(ring) == ["timeout-handshake"]


@pytest.mark.parametrize("listener", ["site", "proxy"])
def test_a_client_that_is_over_the_limit(rings, listener):
    def change(made):
        return {**made, "limits": {"sessions_per_client": 1}}

    ring = rings("ended", change)
    ring.client(listener)
    second = ring.raw_client(listener)
    ring.say(second, raw_hello())
    assert alerted(second, INTERNAL) and reasons(ring) == ["overload"]


def test_a_client_that_closes_in_its_handshake(rings):
    ring = rings("ended")
    client = ring.raw_client("site")
    ring.say(client, raw_hello())
    client.close()
    ring.settle()
    assert reasons(ring) == ["tls-handshake"] and ring.sessions() == 0


def test_a_client_that_does_not_trust_us(rings):
    ring = rings("ended")
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().stranger), name="a.test")
    assert not client.sock.done and reasons(ring) == ["tls-handshake"]


def test_bytes_that_were_changed_on_their_way(rings):
    ring = rings("ended")
    client = ring.client("site")
    client.sock.raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    ring.settle()
    assert client.end and reasons(ring) == ["tls-handshake"] and ring.sessions() == 0


def test_tls_within_tls_of_a_proxy_passes(rings):
    ring = rings("ended")
    client, server = ring.tunnel("origin.test:8000")
    data = raw_hello("origin.test")
    ring.say(client, data)
    assert server.received == data


@pytest.mark.parametrize("versions", [TLS12, TLS13])
@pytest.mark.parametrize("shown, fine", [("client", True), ("server", False), (None, False)])
def test_certificates_of_clients(rings, shown, fine, versions):
    ring = rings("ended", site(client_certificates="required", ca=world().ca.path))
    client = ring.raw_client("site")
    pair = getattr(world(), shown) if shown else None
    ring.secure(client, tls_ends.client_context(world().ca, versions, pair), name="a.test")
    ring.say(client, GET)
    if not fine:
        assert client.end and reasons(ring) == ["client-certificate"] and ring.dial() is None
        return
    ring.say(ring.server(), OK)
    (record,) = ring.records()
    assert body(client) == b"ok" and record["tls_client"]["subject"] == "CN=client"


@pytest.mark.parametrize("names, fine", [(15, True), (16, True), (17, False)])
def test_a_certificate_with_more_names_than_are_judged(rings, names, fine):
    ring = rings("ended", site(client_certificates="required", ca=world().ca.path))
    pair = tls_ends.make("many", world().ca, [f"n{n}.test" for n in range(names)], usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().ca, pair=pair.write(world().folder.name, "many")), name="a.test")
    ring.say(client, GET)
    assert (ring.dial() is not None) == fine and reasons(ring) == ([] if fine else ["client-certificate"])


@pytest.mark.parametrize("pattern, fine", [("CN=client", True), ("DNS:*.test", True), ("DNS:other.test", False)])
def test_certificates_decide(rings, pattern, fine):
    def change(made):
        return policy("to-site", client_certificates=[pattern])(site(client_certificates="optional", ca=world().ca.path)(made))

    ring = rings("ended", change)
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().ca, pair=world().client), name="a.test")
    ring.say(client, GET)
    assert (status(client) == 403) != fine and (ring.dial() is not None) == fine
    other = ring.client("site")
    ring.say(other, GET)
    assert status(other) == 403


# Servers.


def dial(ring, pair, versions=None, wants=None):
    """The server's end of the next dial, with this certificate; the handshake has come to its end."""
    answer, sock = ring.host.ask("server")
    assert sock is not None, answer
    server = ring.keep(sock)
    if pair is not None:
        server.sock = tls_ends.TlsSocket(sock, tls_ends.server_context(pair, versions, wants), server=True)
    ring.settle()
    return server


@pytest.mark.parametrize("versions", [TLS12, TLS13])
@pytest.mark.parametrize("kind", KINDS)
def test_a_servers_certificate_that_is_not_good(rings, kind, versions):
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, GET)
    server = dial(ring, world().other(kind), versions)
    assert status(client) == 502 and b"upstream-certificate" in client.received and not server.received
    (record,) = ring.records()
    assert record["reason"] == "upstream-certificate" and record["tls_server"]["verify"] and client.end is None


def test_a_server_that_may_be_anybody(rings):
    """verify = false: it passes, and the record says what it was."""
    ring = rings("upstream", policy("to-site", upstream_tls={"verify": False}))
    client = ring.client("site")
    ring.say(client, GET)
    ring.say(dial(ring, world().other("unknown")), OK)
    (record,) = ring.records()
    assert body(client) == b"ok" and record["tls_server"]["unverified"] is True


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"SSH-2.0-x\r\n" * 10, ALERT + b"\x28"])
def test_a_server_that_does_not_speak_tls(rings, said):
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, GET)
    server = dial(ring, None)
    assert server.received[:1] == b"\x16"
    ring.say(server, said)
    assert status(client) == 502 and b"upstream-tls" in client.received and b"evil" not in client.received
    assert reasons(ring) == ["upstream-tls"] and server.end and b"GET" not in server.received


def test_a_server_that_closes_in_its_handshake(rings):
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, GET)
    dial(ring, None).close()
    ring.settle()
    assert status(client) == 502 and reasons(ring) == ["upstream-tls"]


def test_a_server_that_stalls_in_its_handshake(rings):
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, GET)
    server = dial(ring, None)
    ring.advance(3 - TICK)
    assert ring.ended() == []
    ring.advance(2 * TICK)
    assert status(client) == 502 and reasons(ring) == ["upstream-tls"] and server.end and client.end is None
    ring.say(client, GET)
    ring.say(ring.server(), OK)
    assert client.received.endswith(b"ok")


@pytest.mark.parametrize("versions", [TLS12, TLS13])
def test_a_server_that_wants_a_certificate(rings, versions):
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, GET)
    dial(ring, world().server, versions, world().ca)
    assert status(client) == 502 and reasons(ring) == ["upstream-wants-certificate"]


@pytest.mark.parametrize("versions", [TLS12, TLS13])
def test_a_server_that_gets_a_certificate(rings, versions):
    ring = rings("upstream", policy("to-site", upstream_tls={"trust": world().ca.path, "certificate": world().client.path,
                                                             "key": world().client.key_path}))
    client = ring.client("site")
    ring.say(client, GET)
    ring.say(dial(ring, world().server, versions, world().ca), OK)
    assert body(client) == b"ok"


@pytest.mark.parametrize("versions", [TLS12, TLS13])
@pytest.mark.parametrize("how", ["notify", "cut", "reset"])
def test_an_answer_that_ends_with_its_connection(rings, how, versions):
    """Only close_notify is an end."""
    ring = rings("upstream")
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n")
    server = dial(ring, world().server, versions)
    ring.say(server, b"HTTP/1.1 200 OK\r\n\r\nabcde")
    if how == "cut":
        server.sock.cut()
        server.closed = True
    else:
        server.close(how == "reset")
    ring.settle()
    assert client.received.endswith(b"abcde")
    assert client.end == ("fin" if how == "notify" else "rst")
    assert reasons(ring) == [{"notify": None, "cut": "response-truncated", "reset": "peer-reset"}[how]]


def test_a_shared_connection_outlives_its_tickets(rings):
    """TLS 1.3 tickets come behind the handshake: they are no speech."""
    ring = rings("upstream")
    first = ring.client("shared")
    ring.say(first, GET)
    server = dial(ring, world().server, TLS13)
    ring.say(server, OK)
    first.close()
    ring.settle()
    server.received.clear()
    second = ring.client("shared")
    ring.say(second, GET)
    assert b"GET /x" in server.received and ring.dial() is None
    ring.say(server, OK)
    assert body(second) == b"ok"
    assert [r["tls_server"]["version"] for r in ring.records()] == ["TLSv1.3"] * 2


def test_a_shared_connection_is_not_taken_for_another_name(rings):
    """Two upstreams on one address: whoever was verified as one is not asked for the other."""
    def change(made):
        made["listeners"][[one["name"] for one in made["listeners"]].index("shared")]["upstreams"] = [
            "https://a.test:8000", "https://origin.test:8000"]
        return made

    ring = rings("upstream", change)
    for _ in range(2):
        client = ring.client("shared")
        ring.say(client, GET)
        server = dial(ring, world().server, TLS13)
        ring.say(server, OK)
        assert body(client) == b"ok"
        client.close()
        ring.settle()
    third = ring.client("shared")
    ring.say(third, GET)
    assert ring.dial() is None


# Inspection.


def opened(ring, name="a.test", listener="in-site"):
    """(client, server): a tunnel that stands, before a byte of TLS."""
    client = ring.raw_client(listener)
    ring.say(client, f"CONNECT {name}:8000 HTTP/1.1\r\nHost: {name}:8000\r\n\r\n".encode())
    server = dial(ring, None)
    assert client.received.startswith(b"HTTP/1.1 200")
    client.received.clear()
    ring.records()
    return client, server


def minted(ring):
    return ring.host.ask("mint")[0].split("\n")[1:-1]


def serve(ring, server, pair=None, versions=None, wants=None):
    before = bytes(server.received)
    server.received.clear()
    server.sock = tls_ends.TlsSocket(server.sock, tls_ends.server_context(pair or world().server, versions, wants), server=True,
                                     before=before)
    ring.settle()


def test_the_server_comes_first(rings):
    """Not a byte for the client before its server is known, and nothing is minted."""
    ring = rings("inspected")
    client, server = opened(ring)
    ring.say(client, raw_hello())
    assert server.received[:1] == b"\x16" and not client.received and minted(ring) == []
    ring.host.ask("mint hold")
    serve(ring, server)
    assert server.sock.done and not client.received and minted(ring) == ["a.test good"]
    ring.host.ask("mint answer")
    ring.settle()
    assert client.received[:1] == b"\x16"


def test_inspected_from_end_to_end(rings):
    ring = rings("inspected")
    client, server = opened(ring)
    client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(world().inspect, alpn=("h2", "http/1.1")), name="a.test")
    ring.settle()
    assert not client.sock.done and minted(ring) == []
    serve(ring, server)
    assert client.sock.done and client.sock.tls.selected_alpn_protocol() == "http/1.1" and minted(ring) == ["a.test good"]
    assert server.sock.tls.selected_alpn_protocol() == "http/1.1"
    ring.say(client, GET)
    assert server.received.startswith(b"GET /x HTTP/1.1\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok"
    connect, request = [r for r in ring.records() if r["event"] == "end"]
    assert connect["protocol"] == "tls" and request["protocol"] == "http"
    assert request["tls_client"]["way"] == request["tls_server"]["way"] == "inspected"
    assert request["tls_client"]["sni"] == "a.test" and request["tls_server"]["subject"] == "CN=server"


def test_a_leaf_is_kept(rings):
    ring = rings("inspected")
    for _ in range(2):
        ring.inspected("in-site")
    assert minted(ring) == ["a.test good"]


@pytest.mark.parametrize("kind", KINDS + ["plain"])
def test_a_failing_server_is_answered_by_a_page(rings, kind):
    ring = rings("inspected")
    client, server = opened(ring)
    client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(world().inspect), name="a.test")
    ring.settle()
    if kind == "plain":
        ring.say(server, b"HTTP/1.1 200 OK\r\n\r\n")
    else:
        serve(ring, server, world().other(kind))
    assert client.sock.done and server.end and minted(ring) == ["a.test failing"]
    ring.say(client, GET)
    reason = "upstream-tls" if kind == "plain" else "upstream-certificate"
    assert status(client) == 502 and reason.encode() in client.received and b"GET" not in server.received
    assert client.end == "fin" and not client.sock.truncated and reasons(ring)[-1] == reason


def test_an_inspected_server_that_wants_a_certificate(rings):
    ring = rings("inspected")
    for versions in (TLS12, TLS13):
        client, server = opened(ring)
        client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(world().inspect), name="a.test")
        ring.settle()
        serve(ring, server, versions=versions, wants=world().ca)
        ring.say(client, GET)
        assert status(client) == 502 and b"upstream-wants-certificate" in client.received


@pytest.mark.parametrize("sni, reason", [("b.test", "sni-mismatch"), (None, "sni-missing")])
def test_nothing_is_minted_for_another_name(rings, sni, reason):
    ring = rings("inspected")
    client, server = opened(ring)
    ring.say(client, raw_hello(sni))
    assert alerted(client, NAME_UNKNOWN) and client.end and server.end and not server.received
    assert reasons(ring) == [reason] and minted(ring) == []


def test_without_a_name_where_a_policy_lets_it(rings):
    ring = rings("inspected", policy("to-site", sni="optional"))
    client, server = opened(ring)
    client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(None))
    ring.settle()
    serve(ring, server)
    assert client.sock.done and minted(ring) == ["a.test good"]


@pytest.mark.parametrize("ech, passes", [("deny", False), ("allow", True)])
def test_an_encrypted_hello(rings, ech, passes):
    ring = rings("inspected", policy("to-site", ech=ech))
    client, server = opened(ring)
    ring.say(client, raw_hello(add=hello.extension(0xfe0d, b"\x00" * 20)))
    assert (server.received[:1] == b"\x16") == passes
    if not passes:
        assert alerted(client, DENIED) and reasons(ring) == ["ech-denied"]


def test_a_client_that_speaks_only_something_else(rings):
    ring = rings("inspected")
    client, server = opened(ring)
    ring.say(client, raw_hello(add=hello.extension(16, b"\x00\x03\x02h2")))
    assert alerted(client, NO_PROTOCOL) and not server.received and reasons(ring) == ["alpn-mismatch"]


@pytest.mark.parametrize("how", ["alert", "close", "late"])
def test_a_client_that_refuses_the_leaf(rings, how):
    ring = rings("inspected")
    client, server = opened(ring)
    trust = world().stranger if how == "alert" else None
    if how == "close":
        ring.say(client, raw_hello())
    else:
        client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(trust), name="a.test")
        ring.settle()
    serve(ring, server)
    if how == "close":
        client.close()
    if how == "late":
        client.sock.cut()
        client.closed = True
    ring.settle()
    assert server.end and reasons(ring)[-1] == "inspection-refused" and ring.sessions() == 0
    assert b"GET" not in server.received


@pytest.mark.parametrize("how", ["refuse", "lost", "hold"])
def test_a_minter_that_gives_no_leaf(rings, how):
    ring = rings("inspected")
    client, server = opened(ring)
    ring.host.ask("mint hold" if how != "refuse" else "mint refuse")
    ring.say(client, raw_hello())
    serve(ring, server)
    if how == "lost":
        ring.host.ask("mint lost")
        ring.settle()
    if how == "hold":
        ring.advance(3 - TICK)
        assert ring.ended() == []
        ring.advance(2 * TICK)
    assert alerted(client, INTERNAL) and client.end and server.end and reasons(ring) == ["mint-failed"]


def test_a_client_that_goes_while_the_minter_is_asked(rings):
    ring = rings("inspected")
    client, server = opened(ring)
    ring.host.ask("mint hold")
    ring.say(client, raw_hello())
    serve(ring, server)
    client.close(True)
    ring.settle()
    ring.host.ask("mint answer")
    ring.advance(1)
    assert ring.sessions() == 0 and server.end


@pytest.mark.parametrize("step", ["server", "client"])
def test_an_inspected_handshake_that_stalls(rings, step):
    ring = rings("inspected")
    client, server = opened(ring)
    ring.say(client, raw_hello())
    if step == "client":
        serve(ring, server)
    ring.advance(3 - TICK)
    assert ring.ended() == [] and minted(ring) == (["a.test good"] if step == "client" else [])
    ring.advance(2 * TICK)
    if step == "client":
        assert client.end and reasons(ring) == ["timeout-handshake"]
    else:
        assert minted(ring) == ["a.test failing"] and server.end and client.received[:1] == b"\x16"


def test_a_host_that_is_not_the_tunnels(rings):
    ring = rings("inspected")
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert status(client) == 421 and not ring.server().received and reasons(ring) == ["host-mismatch"]


def test_a_path_inside_is_judged(rings):
    ring = rings("inspected")
    client = ring.client("site")
    ring.say(client, b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert status(client) == 403 and not ring.server().received


def test_what_is_no_longer_inspected_ends(rings):
    """A new generation lets the name pass unread: what was opened to be seen into is not judged by a policy that does not look."""
    ring = rings("inspected")
    client, server = ring.kept("site")
    ring.reload(change=policy("to-site", tls="passthrough", protocols=["http", "websocket", "tls"]))
    ring.say(client, GET)
    assert client.end and not server.received and not client.received


def test_it_goes_on_under_a_generation_that_says_the_same(rings):
    ring = rings("inspected")
    client, server = ring.kept("site")
    ring.reload()
    ring.say(client, GET)
    fresh = ring.dial()  # contexts are of a generation: the server is verified by what is said now
    if fresh is not None:
        ring.settle()
    ring.say(fresh or server, OK)
    assert body(client) == b"ok"


def test_tunnels_that_pass_are_closed_when_they_are_to_be_inspected(rings):
    inspect = policy("to-site", listeners=["in-site"])
    through = policy("to-site", tls="passthrough", protocols=["tls"], listeners=["in-site"])
    ring = rings("inspected", through)
    client, server = opened(ring)
    data = raw_hello()
    ring.say(client, data)
    assert server.received == data
    ring.reload()
    assert client.end is None
    ring.reload(change=inspect)
    assert client.end and server.end and "revoked" in reasons(ring)


def test_fingerprints_decide_and_a_tunnel_that_passes_is_judged_by_them_again(rings):
    def by(pattern):
        return policy("to-site", tls="passthrough", protocols=["tls"], listeners=["in-site"], tls_fingerprints=[pattern])

    ring = rings("inspected", by("t13d*"))
    client, server = opened(ring)
    ring.say(client, raw_hello())
    assert server.received
    ring.reload(change=by("t12*"))
    assert client.end and "revoked" in reasons(ring)
    client, server = opened(ring)
    ring.say(client, raw_hello())
    assert alerted(client, DENIED) and not server.received


# Intercepted clients.


def intercepting(made):
    made["tls"] = {"inspect_certificate": world().inspect.path, "inspect_key": world().inspect.key_path}
    for one in made["policies"]:
        if one["name"] == "way":
            one.update({"tls": "inspect", "protocols": ["http", "websocket"], "upstream_tls": {"trust": world().ca.path}})
    return made


@pytest.mark.parametrize("listener", ["strict", "resolve", "off"])
def test_an_intercepted_client_is_inspected(rings, listener):
    ring = rings("plain", intercepting)
    client = ring.raw_client(listener, ORIGIN)
    client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(world().inspect), name="origin.test")
    ring.settle()
    server = dial(ring, world().server)
    assert client.sock.done and minted(ring) == ["origin.test good"]
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok" and server.received.startswith(b"GET /x")


def test_an_intercepted_client_that_is_denied_has_dialled_nobody(rings):
    ring = rings("plain", intercepting)
    client = ring.raw_client("strict", ORIGIN)
    ring.say(client, raw_hello("second.test"))
    assert alerted(client, NAME_UNKNOWN) and ring.dial() is None and minted(ring) == []


def test_facts_of_what_passes_unread(rings):
    ring = rings("plain")
    client = ring.raw_client("strict", ORIGIN)
    ring.say(client, raw_hello("origin.test"))
    server = dial(ring, None)
    assert server.received == raw_hello("origin.test")
    client.close()
    ring.settle()
    server.close()
    ring.settle()
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    facts = record["tls_client"]
    assert facts["way"] == "peeked" and facts["sni"] == "origin.test" and facts["ja4"].startswith("t13d04")


def test_addresses_are_who_they_are(rings):
    """A server that is dialled by its address must show it."""
    ring = rings("inspected", policy("to-site", sni="optional"))
    client, server = opened(ring, name=f"{PREFIX}.1")
    client.sock = tls_ends.TlsSocket(client.sock, tls_ends.client_context(None))
    ring.settle()
    serve(ring, server)
    assert client.sock.done and minted(ring) == [f"{PREFIX}.1 good"]


# Tunnels and WebSockets in TLS, and generations.


@pytest.mark.parametrize("how", ["notify", "cut"])
def test_the_end_of_a_tunnel_within_tls(rings, how):
    """What TLS does not vouch for passes as a reset."""
    ring = rings("ended")
    client, server = ring.tunnel(OTHER)
    ring.say(client, b"\0hello")
    if how == "notify":
        client.shut()
    else:
        client.sock.cut()
        client.closed = True
    ring.settle()
    assert server.received == b"\0hello" and server.end == ("fin" if how == "notify" else "rst")
    if how == "cut":
        assert reasons(ring) == ["peer-reset"]


def test_an_inspected_websocket_is_revoked_with_its_inspection(rings):
    ring = rings("inspected")
    client, server = ring.websocket()
    ring.reload()
    ring.say(client, ws.frame(ws.TEXT, b"hello", mask=True))
    assert client.end is None and server.received
    ring.reload(change=policy("to-site", tls="passthrough", protocols=["http", "websocket", "tls"]))
    assert close_codes(client) == [1008] and "revoked" in reasons(ring)


def test_a_websocket_behind_tls_is_revoked_by_certificate(rings):
    def named(pattern):
        return lambda made: policy("to-site", client_certificates=[pattern])(asking(made))

    asking = site(client_certificates="required", ca=world().ca.path)
    ring = rings("ended", named("CN=client"))
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().ca, pair=world().client), name="a.test")
    ring.say(client, ws.handshake("/ws", "a.test"))
    ring.say(ring.server(), ws.switching())
    assert status(client) == 101
    client.received.clear()
    ring.reload()
    assert not client.received
    ring.reload(change=named("CN=other"))
    assert close_codes(client) == [1008]


@pytest.mark.parametrize("used", [True, False])
def test_who_showed_no_certificate_before_it_was_required(rings, used):
    ring = rings("ended")
    client = ring.client("site")
    if used:
        ring.say(client, GET)
        server = ring.server()
        ring.say(server, OK)
        assert body(client) == b"ok"
        client.received.clear()
    ring.reload(change=site(client_certificates="required", ca=world().ca.path))
    ring.say(client, GET)
    assert client.end and not client.received and ring.dial() is None
    if used:
        assert server.received.count(b"GET") == 1


def test_a_websocket_that_showed_no_certificate_before_it_was_required(rings):
    ring = rings("ended")
    client = ring.client("site")
    ring.say(client, ws.handshake("/ws", "a.test"))
    ring.say(ring.server(), ws.switching())
    client.received.clear()
    ring.reload(change=site())
    assert not client.received
    ring.reload(change=site(client_certificates="required", ca=world().ca.path))
    assert close_codes(client) == [1008]


def test_certificates_of_clients_under_another_ca(rings):
    ring = rings("ended", site(client_certificates="required", ca=world().ca.path))
    client = ring.raw_client("site")
    ring.secure(client, tls_ends.client_context(world().ca, pair=world().client), name="a.test")
    server = None
    both = os.path.join(world().folder.name, "both.pem")
    with open(both, "wb") as out:
        for one in (world().stranger, world().ca):
            with open(one.path, "rb") as file:
                out.write(file.read())
    for change, fine in ((site(client_certificates="required", ca=both), True),
                         (site(client_certificates="optional", ca=world().ca.path), True),
                         (site(client_certificates="required", ca=world().stranger.path), False)):
        ring.reload(change=change)
        client.received.clear()
        ring.say(client, GET)
        if not fine:
            assert client.end and not client.received
            return
        server = server or ring.server()
        ring.say(server, OK)
        assert body(client) == b"ok"


def test_certificates_change_and_nobody_notices(rings):
    ring = rings("ended", site(certificate=world().site.path, key=world().site.key_path))
    before = ring.client("site")
    ring.reload(change=site())
    after = ring.client("site")
    assert before.sock.tls.getpeercert() != after.sock.tls.getpeercert()
    for client in (before, after):
        ring.say(client, GET)
        ring.say(ring.server(), OK)
        assert body(client) == b"ok"


def test_a_listener_that_no_longer_ends_tls_is_another(rings):
    ring = rings("ended")
    client, server = ring.kept()

    def clear(made):
        for listener in made["listeners"]:
            listener.pop("tls", None)
        return made

    ring.reload(change=clear)
    ring.say(client, GET)
    assert client.end == "fin" and not client.received and not server.received


def test_forwarding_fields_say_https(rings):
    def change(made):
        for listener in made["listeners"]:
            if listener["name"] in ("site", "in-site"):
                listener["forwarded"] = "replace"
        return made

    for way, proto in (("ended", b"https"), ("inspected", b"https"), ("upstream", b"http"), ("plain", b"http")):
        ring = rings(way, change)
        _, server = ring.asked()
        assert b"\r\nX-Forwarded-Proto: " + proto + b"\r\n" in server.received and b";proto=" + proto + b"\r\n" in server.received


# Dry runs.


def test_a_dry_run_of_what_is_inspected(rings):
    ring = rings("inspected")
    said = ring.explain("GET", "https://a.test:8000/x", listener="in-site")
    assert (said["verdict"], said["tls"], said["policy"]["name"], said["path"]) == ("allowed", "inspected", "to-site", "/x")
    assert [step["stage"] for step in said["stages"]] == ["flow", "target", "address", "first-bytes", "flow", "target", "address"]
    said = ring.explain("GET", "https://a.test:8000/deny", listener="in-site")
    assert (said["verdict"], said["tls"], said["policy"]["name"]) == ("denied", "inspected", "denied")
    said = ring.explain("GET", "wss://a.test:8000/x", listener="in-site")
    assert (said["verdict"], said["tls"], said["protocol"]) == ("allowed", "inspected", "websocket")
    said = ring.explain("CONNECT", "a.test:8000", listener="in-site")
    assert (said["verdict"], said["tls"], [step["stage"] for step in said["stages"]]) == ("allowed", "inspected",
                                                                                       ["flow", "target", "address"])
    said = ring.explain("GET", f"https://{PREFIX}.1:8000/x", listener="in-site")
    assert said["reason"] == "sni-missing" and "tls" not in said


def test_a_dry_run_of_what_passes_unread(rings):
    def without_packet_filter(made):
        made["listeners"] = [one for one in made["listeners"] if one["name"] != "kept"]
        for one in made["policies"]:
            if "listeners" in one:
                one["listeners"] = [name for name in one["listeners"] if name != "kept"]
        del made["packet_filter"]
        return made

    ring = rings("plain", without_packet_filter)
    said = ring.explain("GET", "https://origin.test:8000/deny", listener="proxy")
    assert (said["verdict"], said["tls"], said["protocol"]) == ("allowed", "unread", "tls")
    assert ring.explain("CONNECT", "origin.test:8000", listener="proxy")["tls"] == "unread"
    said = ring.explain("GET", "https://origin.test:9001/", listener="proxy")
    assert said["verdict"] == "denied" and said["near"] and "tls" not in said
    said = ring.explain("GET", "https://origin.test:8000/", listener="strict", address=f"{PREFIX}.1")
    assert (said["verdict"], said["tls"]) == ("allowed", "unread")


@pytest.mark.parametrize("name, reason", [("a.test", None), ("b.test", "sni-unknown")])
def test_a_dry_run_of_a_site(rings, name, reason):
    ring = rings("ended", site(certificate=world().site.path, key=world().site.key_path, unknown_name="refuse"))
    said = ring.explain("GET", f"https://{name}/x", listener="site")
    assert said["verdict"] == ("denied" if reason else "allowed") and said.get("reason") == (reason or said.get("reason"))
    said = ring.explain("GET", "https://a.test/x", listener="site", headers=["Host: b.test"])
    assert said["reason"] == "host-mismatch"
