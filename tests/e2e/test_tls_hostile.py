# SPDX-License-Identifier: ISC
"""Clients that do not play by the rules of TLS, on a listener that ends it: none gets in, none stops the others, nothing reaches the origin."""
import contextlib
import socket
import threading
import time

import pytest

from lib import hello, tls, ws
from lib.http1 import Client
from lib.libssl import TLS1_2, TLS1_3, Failed, Stream
from lib.postern import PROMPT, SMALL_QUARANTINE, rss_kib
from lib.tls_stage import PROXY, SITE, TlsStage

HANDSHAKE = 1.5
REQUEST = f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def stage():
    with TlsStage(timeouts={"handshake": HANDSHAKE, "header": 1.5, "drain": 1.0}, environment=SMALL_QUARANTINE) as made:
        yield made


@pytest.fixture(params=["site", "secure-proxy"])
def listener(request):
    return request.param


def answer_to(stage, data, listener="site", seconds=10, gap=0, piece=None):
    """What comes until the connection is closed."""
    with Client(stage.at(listener), timeout=seconds) as client:
        piece = piece or len(data) or 1
        for at in range(0, len(data), piece):
            try:
                client.send(data[at:at + piece])
            except OSError:
                break
            time.sleep(gap)
        return client.wait_close(), client.port


def denied(stage, port, *reasons):
    return stage.postern.record_of(port, event="denied", reason=reasons)


def others_are_served(stage):
    began = time.monotonic()
    with stage.client("site", SITE) as client:
        assert client.request("GET", "/", SITE).status == 200
    return time.monotonic() - began


BAD_HELLOS = {
    "no name": (hello.client_hello(None), "unrecognized_name", "sni-missing"),
    "unknown name": (hello.client_hello("unknown.test"), "unrecognized_name", "sni-unknown"),
    "two names": (hello.client_hello([SITE, "b.test"]), None, "hello-malformed"),
    "the name twice": (hello.client_hello(SITE, twice=True), None, "hello-malformed"),
    "an address": (hello.client_hello("127.0.0.1"), None, "hello-malformed"),
    "an empty name": (hello.client_hello([""]), None, "hello-malformed"),
    "no host name": (hello.client_hello("a b.test"), None, "hello-malformed"),
    "a NUL in the name": (hello.client_hello(SITE + "\0.evil.test"), None, "hello-malformed"),
    "70,000 bytes": (hello.client_hello(SITE, padding=70000), None, "hello-malformed"),
    "30,000 bytes": (hello.client_hello(SITE, padding=30000), None, "hello-malformed"),
    "a length that is a lie": (bytes.fromhex("16030100050100fffff0"), None, "hello-malformed"),
    "an empty record": (bytes.fromhex("1603010000") + hello.client_hello(SITE), None, "hello-malformed"),
    "a ServerHello": (bytes.fromhex("160303002a02000026") + b"\3\3" + bytes(36), None, "hello-malformed"),
    "TLS 1.1": (hello.client_hello(SITE, versions=(), legacy=0x0302), "protocol_version", "tls-handshake"),
    "TLS 1.0": (hello.client_hello(SITE, versions=(), legacy=0x0301), "protocol_version", "tls-handshake"),
    "SSL 3.0": (hello.client_hello(SITE, versions=(), legacy=0x0300), "protocol_version", "tls-handshake"),
    "TLS 1.1 by extension": (hello.client_hello(SITE, versions=(0x0302, 0x0301)), "protocol_version", "tls-handshake"),
    "h2 alone": (hello.client_hello(SITE, alpn=["h2"]), "no_application_protocol", "alpn-mismatch"),
}


@pytest.mark.parametrize("kind", BAD_HELLOS)
def test_bad_hello(stage, kind):
    data, alert, reason = BAD_HELLOS[kind]
    before = len(stage.origin.connections)
    answer, port = answer_to(stage, data)
    said = hello.alerts_in(answer)
    assert len(said) == 1 and (alert is None or said == [alert]) and said[0] != "internal_error", (said, answer)
    denied(stage, port, reason, "hello-malformed")
    assert len(stage.origin.connections) == before


# What is not TLS gets nothing of HTTP or SOCKS there.
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n", b"\5\1\0", b"\4\1\0\x50\x7f\0\0\1\0", b"SSH-2.0-x\r\n", b"\x80\x2e\1\0\2",
                                  bytes(range(256)), b"\x16\x02\0\0\5hello", b"\x17\3\3\0\5hello", b"\x15\3\1\0\2\2\x28"], ids=repr)
def test_not_tls(stage, listener, data):
    answer, port = answer_to(stage, data, listener)
    assert not answer or hello.alerts_in(answer), answer
    denied(stage, port, "hello-malformed", "tls-handshake", "timeout-handshake", "client-gone", "tunnel-protocol")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_hello_in_small_records(stage, size):
    """It goes on to be answered: a ServerHello, not an alert."""
    with Client(stage.at("site")) as client:
        client.send(hello.records(hello.handshake_message(SITE), size))
        assert client.exactly(1) == b"\x16"


def test_hello_byte_by_byte(stage):
    with Client(stage.at("site")) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hello.client_hello(SITE):
            client.send(bytes([byte]))
            time.sleep(0.001)
        assert client.exactly(1) == b"\x16"


@pytest.mark.parametrize("name", ["SITE.TEST", "site.test.", "Site.Test."])
def test_name_is_normalised(stage, name):
    """The same site, or refused."""
    with Client(stage.at("site")) as client:
        client.send(hello.client_hello(name))
        first = client.exactly(1)
        assert first == (b"\x16" if not name.endswith(".") else first) and first in (b"\x16", b"\x15")


def test_stalls(stage):
    """The timer is for all of the handshake, in whatever state it rests. All stall together."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients = []
        for listener, name in (("site", SITE), ("secure-proxy", PROXY)):
            for sent in (0, 1, 5, 100, None):
                client = stack.enter_context(Client(stage.at(listener)))
                client.send(hello.client_hello(name)[:sent])
                clients.append(client)
        for client in clients:
            client.wait_close()
            assert HANDSHAKE * 0.9 <= time.monotonic() - began <= HANDSHAKE + PROMPT
            denied(stage, client.port, "timeout-handshake")


def test_slow_handshake(stage):
    """A byte now and then does not help."""
    began = time.monotonic()
    _, port = answer_to(stage, hello.client_hello(SITE), gap=0.02, piece=1)
    assert HANDSHAKE * 0.9 <= time.monotonic() - began <= HANDSHAKE + PROMPT
    denied(stage, port, "timeout-handshake")


def test_silence_after_the_handshake(stage):
    """Who is in has the time for a head, as in clear."""
    with stage.client("site", SITE) as client:
        began = time.monotonic()
        client.wait_close()
        assert time.monotonic() - began <= HANDSHAKE + PROMPT
        denied(stage, client.port, "timeout-handshake", "timeout-header")


@pytest.mark.parametrize("times", [1])
def test_renegotiation(stage, times):
    with Stream(stage.at("site"), SITE, TLS1_2) as stream:
        stream.write(REQUEST)
        stream.read_until(b"ok")
        with pytest.raises(Failed, match="no renegotiation|ended|eof|handshake failure"):
            stream.renegotiate()
    others_are_served(stage)


def test_early_data(stage):
    """It is not taken; what was sent early reaches nobody."""
    with Stream(stage.at("site"), SITE, TLS1_3) as stream:
        stream.write(REQUEST)
        stream.read_until(b"ok")
        session = stream.session()
    session.allow_early_data()
    try:
        with Stream(stage.at("site"), SITE, TLS1_3, session, early=f"GET /SMUGGLED HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()) as stream:
            assert not stream.early_data_accepted
            stream.write(REQUEST)
            stream.read_until(b"ok")
    except Failed:
        pass
    others_are_served(stage)
    assert "/SMUGGLED" not in stage.origin.paths()


def flood(stream, asking, seconds):
    end, count = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            stream.update_keys(asking)
            count += 1
    except Failed:
        pass
    return count


@pytest.mark.parametrize("asking", [False, True])
def test_key_update_flood(stage, asking):
    """It is ended soon, and says why; others are served meanwhile."""
    with Stream(stage.at("site"), SITE, TLS1_3) as stream:
        stream.write(REQUEST)
        stream.read_until(b"ok")
        port = stream.socket.getsockname()[1]
        before = rss_kib(stage.postern.workers()[0])
        thread = threading.Thread(target=flood, args=[stream, asking, 5])
        thread.start()
        assert others_are_served(stage) < PROMPT
        thread.join()
        denied(stage, port, "tls-flood")
        assert rss_kib(stage.postern.workers()[0]) - before < 16 * 1024


def test_a_few_key_updates(stage):
    with Stream(stage.at("site"), SITE, TLS1_3) as stream:
        for number in range(8):
            stream.update_keys(asking=bool(number % 2))
            stream.write(REQUEST)
            stream.read_until(b"ok")


def test_key_updates_inside_a_websocket(stage):
    """The flood ends the stream with 1008."""
    with Stream(stage.at("site"), SITE, TLS1_3) as stream:
        stream.write(ws.handshake("/ws", SITE))
        stream.read_until(b"\r\n\r\n")
        port = stream.socket.getsockname()[1]
        assert flood(stream, False, 5) >= 16
        stage.postern.record_of(port, event=("end", "denied"), reason="tls-flood")


@pytest.mark.parametrize("damage", ["flip", "cut", "plain"])
def test_damaged_records(stage, damage):
    """After the handshake: a record that was changed on the way, one cut short, or text in clear."""
    client = stage.client("site", SITE)
    raw = socket.socket(fileno=client.socket.detach())
    port = raw.getsockname()[1]
    raw.sendall({"flip": b"\x17\3\3\0\x20" + bytes(32), "cut": b"\x17\3\3\0\x20" + bytes(9), "plain": REQUEST}[damage])
    raw.shutdown(socket.SHUT_WR)
    raw.settimeout(15)
    while raw.recv(4096):
        pass
    raw.close()
    if damage != "cut":     # one that leaves without a request is no news
        denied(stage, port, "tls-handshake")
    others_are_served(stage)


def test_many_half_open(stage):
    """200 clients that begin and stall: others are served, and what they hold goes with them."""
    halves = [Client(stage.at("site")) for _ in range(200)]
    try:
        for number, client in enumerate(halves):
            client.send(hello.client_hello(SITE)[:number])
        assert others_are_served(stage) < PROMPT
        for client in halves:
            client.wait_close()
    finally:
        for client in halves:
            client.close()
    assert others_are_served(stage) < PROMPT


def test_resets_in_the_middle(stage):
    data = hello.client_hello(SITE)
    for size in (0, 1, 5, 6, 100, len(data)):
        with Client(stage.at("site")) as client:
            client.send(data[:size])
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert others_are_served(stage) < PROMPT
