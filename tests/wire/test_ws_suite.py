# SPDX-License-Identifier: ISC
"""What conformance suites ask for beyond the vectors, with the default policy unless said otherwise: long messages in many fragments (group 9 of
Autobahn's cases), close frames of each kind (7), windows and contexts (13). What is valid arrives byte for byte, whichever side says it."""
import itertools
import time

import pytest

from lib import ws
from ring import STUCK_SECONDS, close_codes

MIB = 1048576


def sides(ring, up, **options):
    client, server = ring.websocket(**options)
    return (client, server) if up else (server, client)


def say_long(ring, writer, reader, data):
    """More than the kernel takes at once, and at rest is only what all of has arrived."""
    limit = time.monotonic() + STUCK_SECONDS
    ring.say(writer, data)
    while (writer.pending or len(reader.received) < len(data)) and reader.end is None:
        assert time.monotonic() < limit, f"{len(reader.received)} of {len(data)} bytes arrived"
        ring.settle()


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("size, total", [(64, 4 * MIB), (4096, 4 * MIB), (65536, 4 * MIB), (16 * MIB, 16 * MIB)])
def test_long_messages_in_fragments(ring, up, size, total):
    """An empty frame ends the message, as the suites do it: one more than the sizes divide into."""
    writer, reader = sides(ring, up)
    part = ws.frame(0, b"x" * size, fin=0, mask=up)
    data = ws.frame(ws.TEXT, b"x" * size, fin=0, mask=up) + part * (total // size - 1) + ws.frame(0, mask=up)
    say_long(ring, writer, reader, data)
    assert reader.received == data and reader.end is writer.end is None


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("payload", [b"", *((code).to_bytes(2, "big") for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)),
                                     b"\x03\xe8" + b"r" * 123])
def test_close_frames_pass_as_they_came(ring, up, payload):
    first, second = sides(ring, up)
    frame = ws.frame(ws.CLOSE, payload, mask=up)
    for at in range(len(frame)):
        ring.say(first, frame[at:at + 1])
    answer = ws.frame(ws.CLOSE, payload, mask=not up)
    ring.say(second, answer)
    assert second.received == frame and first.received == answer and first.end == second.end == "fin"


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_that_nobody_may_send(ring, up, code):
    first, second = sides(ring, up)
    ring.say(first, ws.close_frame(code, mask=up))
    assert close_codes(first) == [1002] and close_codes(second) == [1001 if up else 1011]
    assert first.end == second.end == "fin"


@pytest.mark.parametrize("up", [True, False])
def test_an_offender_that_goes_on_sending_reads_why(ring, up):
    """What it sends is taken, so no reset overtakes the close frame."""
    first, second = sides(ring, up)
    ring.say(first, ws.frame(3, mask=up))
    for _ in range(20):
        ring.say(first, ws.frame(ws.BINARY, b"x" * 60000, mask=up))
    assert close_codes(first) == [1002] and first.end == "fin"


WINDOWS = [f"; {side}_max_window_bits={bits}" for side, bits in itertools.product(("server", "client"), range(8, 16))]
CONTEXTS = ["", "; server_no_context_takeover", "; client_no_context_takeover", "; server_no_context_takeover; client_no_context_takeover"]
PARAMETERS = CONTEXTS + WINDOWS + ["; server_no_context_takeover; server_max_window_bits=8; client_max_window_bits=15"]


@pytest.mark.not_over("ended", "inspected", "upstream")     # many, and of the handshake alone
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=pytest.mark.websocket(deflate=mode)) for mode in ("pass", "inspect")])
def test_parameters_of_deflate(ring, mode, parameters):
    """RFC 7692 7.2.3.1: this is "Hello", with a window of any size."""
    offered = parameters.replace("client_max_window_bits=8", "client_max_window_bits") if "client" in parameters else parameters
    client, server = ring.websocket(offered="permessage-deflate" + offered, agreed="permessage-deflate" + parameters)
    for writer, reader, up in ((client, server, True), (server, client, False)):
        hello = bytes.fromhex("f248cdc9c90700")
        data = ws.frame(ws.TEXT, hello, rsv=4, mask=up) + ws.frame(ws.TEXT, hello[:3], fin=0, rsv=4, mask=up) + ws.frame(0, hello[3:], mask=up)
        ring.say(writer, data)
        assert reader.received == data


def test_the_default_takes_compression_away(ring):
    """The handshake goes on without it, and what was offered reaches no server."""
    client, server = ring.asked(head=ws.handshake("/ws", "a.test")[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
    assert b"xtensions" not in server.received
    ring.say(server, ws.switching())
    assert client.received.startswith(b"HTTP/1.1 101 ") and b"xtensions" not in client.received
