# SPDX-License-Identifier: ISC
"""Intercepted flows: what was dialled, what the first bytes say, and whether the two belong together. Nothing is dialled before."""
import pytest

from lib import hello, ws
from ring import MIXED, NAME, NOWHERE, OK, ORIGIN, OTHER, PREFIX, SECOND, close_codes, status

PAGE = f"GET /x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()


def page(host, target="/x"):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def dialled(ring):
    """Where the next connection goes, as a text; None: nothing is dialled."""
    answer, sock = ring.host.ask("server")
    if sock is None:
        return None, None
    return answer.split()[1], ring.keep(sock)


def asked(ring, request, original=ORIGIN, listener="strict"):
    """(client, where it dialled, server) after an intercepted client said its first bytes."""
    client = ring.client(listener, original)
    ring.say(client, request)
    to, server = dialled(ring)
    ring.settle()
    return client, to, server


def refused(ring, request, code, reason, original=ORIGIN, listener="strict"):
    client, to, _ = asked(ring, request, original, listener)
    assert to is None
    assert status(client) == code, client
    (record,) = ring.records()
    assert (record["event"], record["reason"]) == ("denied", reason)
    return client


# HTTP.

def test_http_goes_where_it_was_dialled(ring):
    client, to, server = asked(ring, PAGE)
    assert to == ORIGIN
    assert server.received.startswith(b"GET /x HTTP/1.1\r\nHost: origin.test\r\n")
    ring.say(server, OK)
    assert status(client) == 200
    (record,) = ring.records()
    assert (record["mode"], record["destination"], record["server"], record["host"]) == ("transparent", ORIGIN, ORIGIN, NAME)
    assert (record["policy"], record["listener"]) == ("way", "strict")


@pytest.mark.parametrize("request_", [
    page(ORIGIN), page(f"{PREFIX}.1"), page(f"{NAME}:8000"), b"GET /x HTTP/1.0\r\n\r\n", page("both.test"),
    page(ORIGIN, f"http://{ORIGIN}/x"), page(NAME, f"http://{NAME}/x"), page("ORIGIN.test.")])
def test_host_that_fits(ring, request_):
    _, to, server = asked(ring, request_)
    assert to == ORIGIN and server.received.startswith(b"GET /x HTTP/1.1\r\n")


@pytest.mark.parametrize("request_", [
    page("second.test"), page(SECOND), page(f"{NAME}:80"), page(f"{PREFIX}.1:443"), page(NAME, f"http://{ORIGIN}/x"),
    page(NAME, f"http://{NAME}:80/x"), page("six.test")])
def test_host_that_does_not_fit(ring, request_):
    refused(ring, request_, 403, "host-mismatch")
    assert "hostile" not in [told[0] for told in ring.kernel()]      # a page could make a browser do it


def test_each_request_is_checked(ring):
    client, _, server = asked(ring, PAGE)
    ring.say(server, OK)
    client.received.clear()
    server.received.clear()
    ring.say(client, page("second.test"))
    assert status(client) == 403 and not server.received and dialled(ring)[0] is None
    assert [(r["event"], r.get("reason")) for r in ring.records()][-1] == ("denied", "host-mismatch")


def test_kept_connection_serves_the_next_request(ring):
    client, _, server = asked(ring, PAGE)
    ring.say(server, OK)
    server.received.clear()
    ring.say(client, page("both.test"))
    assert b"Host: both.test\r\n" in server.received and dialled(ring)[0] is None


def test_resolve_dials_what_the_name_means(ring):
    _, to, server = asked(ring, page("second.test"), listener="resolve")
    assert to == f"{SECOND}:8000" and b"Host: second.test" in server.received
    refused(ring, page(SECOND), 403, "host-mismatch", listener="resolve")
    refused(ring, page("nowhere.test"), 403, "no-policy", listener="resolve")


def test_off_believes_the_name_and_dials_the_address(ring):
    _, to, server = asked(ring, page("second.test"), listener="off")
    assert to == ORIGIN and b"Host: second.test" in server.received
    _, to, _ = asked(ring, page("ghost.test"), listener="off")    # no look-up
    assert to == ORIGIN


def test_name_and_address_must_both_be_allowed(ring):
    refused(ring, page("denied.test"), 403, "no-policy")
    refused(ring, PAGE, 403, "address-private", original=f"{NOWHERE}:8000")
    refused(ring, page("denied.test"), 403, "no-policy", listener="off")
    refused(ring, PAGE, 403, "address-private", original=f"{NOWHERE}:8000", listener="off")


def test_no_name_is_resolved_that_may_not_be_dialled_there(ring):
    refused(ring, page("ghost.test"), 403, "address-private", original=f"{NOWHERE}:8000")
    client = ring.client("strict", ORIGIN)
    ring.say(client, page("ghost.test"))
    ring.advance(1.1)
    assert status(client) == 504    # this one was looked up, and there is no name server


def test_connect_is_nothing_special(ring):
    refused(ring, b"CONNECT origin.test:8000 HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n", 400, "target-malformed")


def test_websocket(ring):
    client, to, server = asked(ring, ws.handshake("/ws", NAME))
    ring.say(server, ws.switching())
    assert to == ORIGIN and status(client) == 101
    ring.say(server, ws.frame(ws.TEXT, b"pushed"))
    assert (ws.TEXT, b"pushed") in ws.messages_in(ws.frames_in(client.received, client.received.index(b"\r\n\r\n") + 4))


# TLS and the rest.

@pytest.mark.parametrize("size", [1, 7, 100000])
def test_tls_passes_as_it_came(ring, size):
    data = hello.client_hello(NAME)
    client = ring.client("strict", ORIGIN)
    for at in range(0, len(data), size):
        assert dialled(ring)[0] is None
        ring.say(client, data[at:at + size])
    to, server = dialled(ring)
    ring.settle()
    assert to == ORIGIN and bytes(server.received) == data
    ring.say(server, b"\x16\x03\x03answer")
    assert client.received == b"\x16\x03\x03answer"
    (record,) = ring.records()
    assert (record["event"], record["protocol"], record["host"], record["policy"]) == ("start", "tls", NAME, "way")


@pytest.mark.parametrize("data,reason,original,listener", [
    (hello.client_hello(None), "sni-missing", ORIGIN, "strict"),
    (hello.client_hello("second.test"), "sni-mismatch", ORIGIN, "strict"),
    (hello.client_hello("denied.test"), "no-policy", ORIGIN, "strict"),
    (hello.client_hello(NAME), "address-private", f"{NOWHERE}:8000", "strict"),
    (hello.client_hello(NAME), "no-policy", OTHER.replace("9000", "9001"), "strict"),
    (hello.client_hello("denied.test"), "no-policy", ORIGIN, "off"),
    (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "hello-malformed", ORIGIN, "strict"),
    (b"SSH-2.0-x\r\n", "tunnel-protocol", ORIGIN, "strict"),
    (b"\x05\x01\x00", "tunnel-protocol", ORIGIN, "strict"),
    (b"\x04\x01\x00\x50", "tunnel-protocol", ORIGIN, "off"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "tunnel-protocol", ORIGIN, "strict"),
    (b"SSH-2.0-x\r\n", "address-private", f"{NOWHERE}:9000", "strict")])
def test_what_is_refused_ends_without_a_byte_but_an_alert(ring, data, reason, original, listener):
    client, to, _ = asked(ring, data, original, listener)
    alert = b"\x15\x03\x03\x00\x02\x02"
    assert to is None and client.end
    assert client.received[:-1] == alert if data.startswith(b"\x16") else not client.received
    (record,) = ring.records()
    assert (record["event"], record["reason"]) == ("denied", reason)


def test_tls_where_anything_may_flow_must_name_its_server_too(ring):
    _, to, server = asked(ring, hello.client_hello(NAME), OTHER)
    assert to == OTHER and bytes(server.received) == hello.client_hello(NAME)
    client, to, _ = asked(ring, hello.client_hello("second.test"), OTHER)
    assert to is None and client.end
    assert [r.get("reason") for r in ring.records()][-1] == "sni-mismatch"


def test_tls_resolved(ring):
    _, to, _ = asked(ring, hello.client_hello("second.test"), listener="resolve")
    assert to == f"{SECOND}:8000"


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"\x05\x01\x00", b"\x00" * 40])
def test_other_bytes_are_a_tunnel_to_the_address(ring, data):
    client, to, server = asked(ring, data, OTHER)
    assert to == OTHER and bytes(server.received) == data
    ring.say(server, b"answer")
    assert client.received == b"answer"
    record = ring.records()[0]
    assert (record["protocol"], record["host"], record["policy"]) == ("tunnel", f"{PREFIX}.1", "way-any")


# Silence.

def test_server_first_where_tunnels_are_allowed(ring):
    client = ring.client("strict", OTHER)
    ring.advance(0.9)
    assert dialled(ring)[0] is None
    ring.advance(0.2)
    to, server = dialled(ring)
    ring.settle()
    assert to == OTHER
    ring.say(server, b"220 hello\r\n")
    assert client.received == b"220 hello\r\n"
    ring.say(client, b"QUIT\r\n")
    assert server.received == b"QUIT\r\n"


@pytest.mark.parametrize("original,listener", [(ORIGIN, "strict"), (f"{NOWHERE}:9000", "strict"), (ORIGIN, "off"), (ORIGIN, "resolve")])
def test_nothing_is_dialled_for_the_silent(ring, original, listener):
    client = ring.client(listener, original)
    ring.advance(2.8)
    assert dialled(ring)[0] is None and client.end is None
    ring.advance(0.3)
    assert client.end and not client.received and ring.ended() == [("denied", "timeout-handshake", "postern")]


def test_part_of_a_first_word_is_not_silence(ring):
    client = ring.client("strict", OTHER)
    ring.say(client, b"GE")
    ring.advance(1.5)
    assert dialled(ring)[0] is None
    ring.advance(2)
    assert client.end and dialled(ring)[0] is None


@pytest.mark.parametrize("data", [page(NAME), b"SSH-2.0-x\r\n"])
def test_who_speaks_late_is_judged_as_if_at_once(ring, data):
    client = ring.client("strict", MIXED)
    ring.advance(1.2)
    first = ring.server()
    ring.say(client, data)
    to, second = dialled(ring)
    ring.settle()
    assert first.end and not first.received and to == MIXED and second.received.startswith(data[:5])


def test_who_speaks_late_is_refused_as_if_at_once(ring):
    client = ring.client("strict", OTHER)
    ring.advance(1.2)
    server = ring.server()
    ring.say(client, PAGE)
    assert status(client) == 403 and server.end and not server.received and dialled(ring)[0] is None


def test_late_bytes_may_take_their_time_again(ring):
    client = ring.client("strict", MIXED)
    ring.advance(3.5)
    assert client.end is None
    ring.say(client, b"GE")
    ring.advance(2.5)
    ring.say(client, PAGE[2:])
    assert ring.server() and ring.server().received.startswith(b"GET /x")


# What the kernel does not know.

@pytest.mark.parametrize("original,reason", [("direct", "no-original-destination"), ("unknown", "no-original-destination"),
                                             (f"{PREFIX}.2:3128", "loop"), (f"{PREFIX}.2:8091", "loop")])
def test_no_destination(ring, original, reason):
    client = ring.client("strict", original)
    ring.say(client, PAGE)
    assert client.end and not client.received and dialled(ring)[0] is None
    assert ring.ended() == [("denied", reason, "postern")] and ring.sessions() == 0
    assert "hostile" not in [told[0] for told in ring.kernel()]


# The filter process.

def test_it_is_told_of_flows(ring):
    client, _, server = asked(ring, PAGE)
    assert ring.kernel() == [["opened", "1", "127.0.0.1", ORIGIN]]
    ring.say(server, OK)
    client.close()
    ring.settle()
    assert ring.kernel() == [["closed", "1", "kept"]]


def test_killed_flows_are_removed(ring):
    client, _, server = asked(ring, PAGE)
    ring.say(server, OK)
    assert ring.host.ask("kill 1")[0] == "ok"
    ring.settle()
    ring.advance(3)
    assert client.end and ring.kernel()[-1] == ["closed", "1", "removed"]
    assert ring.host.ask("kill 1")[0] == "none"


def test_rows_have_what_conntrack_says(ring):
    client, _, server = asked(ring, PAGE)
    assert ring.host.ask("flow 1")[0] and ring.host.ask("flow 99")[0]
    ring.say(server, OK)
    assert "4711" in str(ring.records()[0]["conntrack"])


def test_servers_offences_are_not_the_clients(ring):
    client, server = ring.websocket()
    ring.kernel()
    ring.say(server, ws.frame(ws.TEXT, b"\xff\xfe"))
    assert close_codes(client) and ring.kernel() == []
    client, server = ring.websocket()
    ring.say(client, ws.frame(ws.TEXT, b"\xff\xfe", mask=True))
    assert ["hostile", "127.0.0.1", "utf8-invalid"] in ring.kernel()


# The block.

def test_blocked_websocket(ring):
    client, server = ring.websocket()
    client.write(ws.frame(ws.TEXT, b"blocked message", mask=True))
    client.pump()
    assert ring.host.ask("block 127.0.0.1/32")[0] == "ok 1"
    ring.settle()
    frames = ws.frames_in(client.received)
    assert [(one.op, one.close_code, bytes(one.payload[2:])) for one in frames] == [(ws.CLOSE, 1008, b"blocked")]
    assert [one.op for one in ws.frames_in(server.received)] == [ws.CLOSE] and server.end and close_codes(server) == [1008]
    ring.advance(3)
    assert ring.kernel()[-1][2] == "removed" and ring.ended() == [("end", "blocked", "postern")]


def test_what_waits_for_the_server_is_not_passed_on(ring):
    client, server = ring.websocket()
    server.paused = True
    for _ in range(40):
        ring.say(client, ws.frame(ws.BINARY, b"x" * 16000, mask=True))
    ring.host.ask("block 127.0.0.0/8")
    server.paused = False
    ring.settle()
    assert server.end == "rst" and close_codes(client) == [1008]


def test_blocked_others_end_at_once(ring):
    client, server = ring.asked()
    silent = ring.client("strict", ORIGIN)
    tunnel, far = ring.tunnel()
    assert ring.host.ask("block 127.0.0.1/32")[0] == "ok 3"
    ring.settle()
    assert client.end and silent.end and tunnel.end and server.end and far.end and ring.sessions() == 0
    assert {reason for _, reason, _ in ring.ended()} == {"blocked"}
    assert [line[2] for line in ring.kernel() if line[0] == "closed"] == ["removed"] * 3


def test_only_the_blocked(ring):
    client, server = ring.asked()
    assert ring.host.ask("block 127.0.0.2/32")[0] == "ok 0"
    ring.say(server, OK)
    assert status(client) == 200


# The client's address.

def wanted(ring):
    return [line for line in ring.kernel() if line[0] == "socket"]


def test_client_address_is_kept(ring):
    client = ring.client("kept", ORIGIN)
    ring.say(client, PAGE)
    assert dialled(ring)[0] is None
    ((_, request, source, to),) = wanted(ring)
    assert (source, to) == ("127.0.0.1", ORIGIN)
    ring.host.ask(f"socket {request} 127.0.0.1")
    ring.settle()
    to, server = dialled(ring)
    ring.settle()
    assert to == ORIGIN
    ring.say(server, OK)
    assert status(client) == 200
    server.received.clear()
    ring.say(client, PAGE)      # its own connection is used again, but nobody else's
    assert server.received
    ring.say(server, OK)
    other = ring.client("kept", ORIGIN)
    ring.say(other, PAGE)
    assert len(wanted(ring)) == 1


def test_only_addresses_of_the_clients_family(ring):
    client = ring.client("kept", "[::1]:8000")
    ring.say(client, page("[::1]"))
    assert not wanted(ring) and status(client) in (403, 502)


def test_no_socket(ring):
    client = ring.client("kept", ORIGIN)
    ring.say(client, PAGE)
    ((_, request, _, _),) = wanted(ring)
    ring.host.ask(f"socket {request}")
    ring.settle()
    assert status(client) == 500 and dialled(ring)[0] is None
    assert ring.ended()[-1] == ("denied", "internal", "postern")
    ring.host.ask("gone")
    client = ring.client("kept", ORIGIN)
    ring.say(client, PAGE)
    assert status(client) == 500


def test_socket_that_comes_too_late(ring):
    client = ring.client("kept", ORIGIN)
    ring.say(client, PAGE)
    ((_, request, _, _),) = wanted(ring)
    ring.advance(6.1)
    assert status(client) == 504 and ring.ended()[-1] == ("denied", "timeout-connect", "postern")
    ring.host.ask(f"socket {request} 127.0.0.1")
    ring.settle()
    assert dialled(ring)[0] is None
    ring.host.ask("socket 99 127.0.0.1")


def test_sockets_of_several_clients(ring):
    clients = [ring.client("kept", ORIGIN) for _ in range(3)]
    for client in clients:
        ring.say(client, PAGE)
    requests = [line[1] for line in wanted(ring)]
    ring.host.ask("kill 2")
    ring.settle()
    for request in reversed(requests):
        ring.host.ask(f"socket {request} 127.0.0.1")
    ring.settle()
    servers = [dialled(ring)[1] for _ in range(2)]
    assert all(servers) and dialled(ring)[0] is None and clients[1].end
