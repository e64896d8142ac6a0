# SPDX-License-Identifier: ISC
"""CONNECT and SOCKS: what flows inside is looked at before a byte of it passes."""
import socket

import pytest

from lib import hello
from ring import NAME, OK, ORIGIN, OTHER, body, status

NAMED = f"{NAME}:8000"
OPEN = f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode()
INSIDE = f"GET /x HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode()


def socks(ring, to=OTHER, opening=True):
    """(client, server) of a SOCKS tunnel."""
    host, _, port = to.rpartition(":")
    client = ring.client("proxy")
    ring.say(client, b"\x05\x01\x00")
    assert client.received == b"\x05\x00"
    client.received.clear()
    ring.say(client, b"\x05\x01\x00\x01" + socket.inet_aton(host) + int(port).to_bytes(2, "big"))
    if not opening:
        return client, None
    server = ring.server()
    assert client.received[:2] == b"\x05\x00" and len(client.received) == 10
    client.received.clear()
    return client, server


def test_http_inside_is_judged_request_by_request(ring):
    client, server = ring.tunnel()
    ring.say(client, INSIDE)
    assert server.received.startswith(b"GET /x HTTP/1.1\r\n")
    ring.say(server, OK)
    assert body(client) == b"ok"
    server.received.clear()
    ring.say(client, f"GET /deny HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    assert b"HTTP/1.1 403" in client.received and not server.received
    assert [event for event, _, _ in ring.ended()] == ["end", "end", "denied"]


@pytest.mark.parametrize("host", ["other.test", "127.0.98.1:80", "127.0.98.1:9000"])
def test_host_must_name_the_tunnels_target(ring, host):
    client, server = ring.tunnel()
    ring.say(client, f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert status(client) == 403 and not server.received
    assert ring.ended()[-1][1] == "host-mismatch"


def test_a_tunnel_in_a_tunnel(ring):
    client, server = ring.tunnel()
    ring.say(client, OPEN)
    assert status(client) == 400 and not server.received


@pytest.mark.parametrize("sni, passes", [(NAME, True), (NAME.upper(), True), ("other.test", False), (None, False)])
def test_a_hello_must_name_the_target(ring, sni, passes):
    client, server = ring.tunnel(NAMED)
    data = hello.client_hello(sni)
    ring.say(client, data[:20])
    assert not server.received
    ring.say(client, data[20:])
    assert (server.received == data) == passes
    if not passes:
        assert not server.received and client.end and server.end
        assert ring.ended() == [("denied", "sni-mismatch" if sni else "sni-missing", "postern")]


def test_tls_then_passes_unread(ring):
    client, server = ring.tunnel(NAMED)
    ring.say(client, hello.client_hello(NAME))
    ring.say(server, b"\x16\x03\x03 whatever")
    assert client.received == b"\x16\x03\x03 whatever"
    client.close()
    ring.settle()
    server.close()
    ring.settle()
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["protocol"] == "tls" and record["bytes_down"] == 12 and record["status"] == 200


@pytest.mark.parametrize("first", [b"\0\1\2\3", b"SSH-2.0-x\r\n", b"\x05\x01\x00", b"PRI * HTTP/2.0\r\n\r\n"])
@pytest.mark.parametrize("to, passes", [(OTHER, True), (ORIGIN, False)])
def test_anything_else_needs_a_policy(ring, first, to, passes):
    client, server = ring.tunnel(to)
    ring.say(client, first)
    assert (server.received == first) == passes
    if not passes:
        assert not server.received and client.end
        assert ring.ended() == [("denied", "tunnel-protocol", "postern")]


def test_http_where_only_anything_is_allowed(ring):
    client, server = ring.tunnel(OTHER)
    ring.say(client, f"GET /x HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode())
    assert not server.received and client.end
    assert ring.ended() == [("denied", "tunnel-protocol", "postern")]


@pytest.mark.parametrize("to, passes", [(OTHER, True), (ORIGIN, False)])
def test_a_server_that_speaks_first(ring, to, passes):
    client, server = ring.tunnel(to)
    ring.say(server, b"220 hello\r\n")
    assert (client.received == b"220 hello\r\n") == passes
    if not passes:
        assert not client.received and client.end and server.end
        assert ring.ended() == [("denied", "server-first", "postern")]


@pytest.mark.parametrize("to", [OTHER, ORIGIN])
def test_a_server_that_closes_first(ring, to):
    client, server = ring.tunnel(to)
    server.close()
    ring.settle()
    assert client.end
    assert ring.ended() == [("end", "upstream-closed", "server")]


@pytest.mark.parametrize("to", [OTHER, ORIGIN])
def test_a_server_that_closes_when_half_a_hello_is_there(ring, to):
    client, server = ring.tunnel(to)
    ring.say(client, b"\x16\x03")
    server.close()
    ring.settle()
    assert client.end
    assert ring.ended() == [("end", "upstream-closed", "server")]


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("to", [OTHER, ORIGIN])
def test_a_client_that_opens_a_tunnel_and_leaves(ring, to, reset):
    """It broke no rule: that is the end of a tunnel, and no denial."""
    client, server = ring.tunnel(to)
    client.close(reset)
    ring.settle()
    server.close()
    ring.advance(3)
    (found,) = ring.ended()
    assert found[0] == "end" and found[2] == "client"
    assert ring.sessions() == 0


def test_bytes_sent_ahead_of_the_answer_to_connect_are_held(ring):
    client = ring.client("proxy")
    server = ring.unanswered(client, OPEN + INSIDE)
    assert not client.received and not server.received
    ring.host.ask("release")
    ring.settle()
    assert client.received.startswith(b"HTTP/1.1 200") and server.received.startswith(b"GET /x")
    ring.say(server, OK)
    assert client.received.endswith(b"ok")


def test_an_answer_that_waits_in_the_tunnel_before_the_request(ring):
    client = ring.client("proxy")
    server = ring.unanswered(client, OPEN + INSIDE)
    server.sock.send(OK)
    ring.host.ask("release")
    ring.settle()
    assert b"ok" not in body(client) and server.end
    assert "unsolicited-bytes" in [reason for _, reason, _ in ring.ended()]


def test_a_connect_that_is_denied_reaches_nobody(ring):
    client = ring.client("proxy")
    ring.say(client, b"CONNECT 127.0.98.1:22 HTTP/1.1\r\nHost: 127.0.98.1:22\r\n\r\n")
    assert status(client) == 403 and ring.dial() is None
    assert ring.ended() == [("denied", "no-policy", "postern")]


def test_socks_opens_a_tunnel(ring):
    client, server = socks(ring)
    ring.say(client, b"\0hello")
    ring.say(server, b"\1hello")
    assert server.received == b"\0hello" and client.received == b"\1hello"


def test_socks_with_http_inside(ring):
    client, server = socks(ring, ORIGIN)
    ring.say(client, INSIDE)
    ring.say(server, OK)
    assert body(client) == b"ok"


def test_socks_denied(ring):
    client, _ = socks(ring, "127.0.98.1:22", opening=False)
    assert client.received[:2] == b"\x05\x02" and client.end and ring.dial() is None
    assert ring.ended() == [("denied", "no-policy", "postern")]


@pytest.mark.parametrize("command", [2, 3])
def test_socks_commands_that_are_not_served(ring, command):
    client = ring.client("proxy")
    ring.say(client, b"\x05\x01\x00")
    ring.say(client, bytes([5, command, 0, 1, 127, 0, 98, 1, 0x23, 0x28]))
    assert client.received[2:4] == b"\x05\x07" and client.end
    assert ring.ended() == [("denied", "socks-command", "postern")]


def test_socks_all_at_once(ring):
    client = ring.client("proxy")
    ring.say(client, b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x62\x01\x23\x28\0early")
    server = ring.server()
    assert server.received == b"\0early" and client.received[:4] == b"\x05\x00\x05\x00"


GREETING = b"\x05\x01\x00"
SOCKS_OTHER = b"\x05\x01\x00\x01" + socket.inet_aton(OTHER.split(":")[0]) + int(OTHER.split(":")[1]).to_bytes(2, "big")
DENY_OTHER = {"name": "no-more", "ports": [int(OTHER.split(":")[1])], "action": "deny", "protocols": ["http", "tls", "tunnel"]}


@pytest.mark.parametrize("listener, first, more", [
    ("proxy", GREETING, SOCKS_OTHER), ("proxy", b"", f"CONNECT {OTHER} HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()),
    ("off", b"", b"SSH-2.0-x\r\n"), ("off", b"", hello.client_hello(NAME))], ids=["socks", "connect", "intercepted", "intercepted-tls"])
def test_who_speaks_after_a_reload_is_judged_by_it(ring, listener, first, more):
    """The connection was there before; what it is for was said behind. Nothing is dialled that the new policies deny."""
    client = ring.client(listener, OTHER if listener == "off" else "")
    ring.say(client, first)
    ring.reload(policies=[DENY_OTHER])
    ring.say(client, more)
    assert ring.dial() is None and client.end is not None
    assert [r["policy"] for r in ring.records()] == ["no-more"]
