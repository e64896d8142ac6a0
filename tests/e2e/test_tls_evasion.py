# SPDX-License-Identifier: ISC
"""A ClientHello that some server would take and that does not look like one passes neither around inspection nor around the server name, though
a policy behind allows whatever is no TLS."""
import contextlib

import pytest

from lib import hello
from lib.http1 import Client
from lib.tls_stage import ORIGIN, TlsStage


def tune(settings):
    origin = {"from": "client", "to": "origin"}
    settings["policies"].append({"name": "rest", **origin, "protocols": ["tunnel"], "action": "allow"})


@pytest.fixture(scope="module")
def stage():
    with TlsStage(tune=tune, origin_tls=False, handler=lambda connection: connection.wait_end()) as made:
        yield made


def tunnel(stage):
    client = Client(stage.at("proxy"))
    assert client.tunnel(stage.target).status == 200
    return client


def old_hello(name):
    """As SSL 2.0 wrote it (RFC 5246 E.2)."""
    body = b"\x01\x03\x03" + (9).to_bytes(2, "big") + b"\0\0" + (32).to_bytes(2, "big") + bytes.fromhex("00c02f00c02b0000ff") + bytes(range(32))
    return (0x8000 | len(body)).to_bytes(2, "big") + body


DISGUISED = {
    "record version 3.5": b"\x16\x03\x05" + hello.client_hello(ORIGIN)[3:],
    "record version 3.255": b"\x16\x03\xff" + hello.client_hello(ORIGIN)[3:],
    "an alert in front": b"\x15\x03\x01\x00\x02\x01\x5a" + hello.client_hello(ORIGIN),
    "ChangeCipherSpec in front": b"\x14\x03\x03\x00\x01\x01" + hello.client_hello(ORIGIN),
    "data in front": b"\x17\x03\x03\x00\x00" + hello.client_hello(ORIGIN),
    "SSL 2.0": old_hello(ORIGIN),
}


@pytest.mark.parametrize("piece", [1, 100000])
@pytest.mark.parametrize("kind", DISGUISED)
def test_tls_in_disguise(stage, kind, piece):
    """What some server takes for a ClientHello is no tunnel of something else."""
    data, before = DISGUISED[kind], len(stage.secure.connections)
    with tunnel(stage) as client:
        with contextlib.suppress(OSError):
            for at in range(0, len(data), piece):
                client.send(data[at:at + piece])
        client.wait_close()
        assert stage.postern.record_of(client.port, event="denied", reason="hello-malformed")
    for connection in stage.secure.connections[before:]:
        connection.ended.wait(5)
        assert not connection.received


def test_something_else(stage):
    """The same bytes but one: that is what the policy behind is for."""
    with tunnel(stage) as client:
        client.send(b"\x18" + DISGUISED["an alert in front"][1:])
        assert stage.postern.record_of(client.port, policy="rest")
