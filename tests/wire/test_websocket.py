# SPDX-License-Identifier: ISC
"""WebSockets: the handshake on both sides, what is held until it is done, frames that break the rules, and every way to end."""
import pytest

from lib import ws
from ring import GET, OK, ORIGIN, close_codes, body, status

HELLO = {True: ws.frame(ws.TEXT, b"hello", mask=True), False: ws.frame(ws.TEXT, b"hello")}


def sides(ring, up):
    """(writer, reader) of a WebSocket."""
    client, server = ring.websocket()
    return (client, server) if up else (server, client)


def test_frames_sent_ahead_are_held_until_the_101(ring):
    client, server = ring.asked(head=ws.handshake("/ws", "a.test") + HELLO[True])
    assert server.received.endswith(b"\r\n\r\n")
    ring.say(server, ws.switching() + HELLO[False])
    assert server.received.endswith(HELLO[True]) and client.received.endswith(HELLO[False])


def test_another_version_is_told_ours(ring):
    """RFC 6455 4.4, and a page that can be read; the server hears nothing."""
    client = ring.client()
    ring.say(client, ws.handshake("/ws", "a.test").replace(b"Version: 13", b"Version: 8"))
    head = bytes(client.received).partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert status(client) == 426 and {"Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: close, Upgrade"} <= set(head)
    assert b"Only version 13 of WebSocket is spoken here." in body(client)
    assert ring.records()[-1]["reason"] == "ws-version" and not any(end.received for end in ring.ends if end is not client)


@pytest.mark.parametrize("answer, reason", [
    (ws.switching(key=b"AAAAAAAAAAAAAAAAAAAAAA=="), "accept-mismatch"),
    (ws.switching(protocol="chat"), "subprotocol-unoffered"),
    (ws.switching()[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension-unoffered"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "accept-mismatch"),
    (ws.switching()[:-2] + b"Content-Length: 3\r\n\r\n", "response-malformed"),
])
def test_a_wrong_101(ring, answer, reason):
    client, server = ring.asked(head=ws.handshake("/ws", "a.test") + HELLO[True])
    ring.say(server, answer + HELLO[False])
    assert status(client) == 502 and b"hello" not in client.received and server.end
    assert not server.received.endswith(HELLO[True])
    assert ring.records()[0]["reason"] == reason


def test_after_a_refused_upgrade_it_is_http_again(ring):
    client, server = ring.asked(head=ws.handshake("/ws", "a.test") + GET)
    ring.say(server, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert status(client) == 403
    assert server.received.endswith(b"\r\n\r\n") and server.received.count(b"GET /x") == 1
    ring.say(server, OK)
    assert client.received.endswith(b"ok")


def test_frames_behind_a_refused_upgrade_are_no_request(ring):
    client, server = ring.asked(head=ws.handshake("/ws", "a.test") + HELLO[True])
    ring.say(server, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.received.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 400" in client.received
    assert HELLO[True] not in server.received


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("bad, reason, code", [
    (lambda up: ws.frame(ws.TEXT, b"x", mask=not up), None, 1002),
    (lambda up: ws.frame(ws.TEXT, b"x", rsv=4, mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(3, b"x", mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(ws.PING, b"x" * 126, mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(ws.PING, b"x", fin=0, mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(0, b"x", mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(ws.TEXT, b"x", length_size="16", mask=up), "frame-malformed", 1002),
    (lambda up: ws.frame(ws.TEXT, b"\xff", mask=up), "utf8-invalid", 1007),
    (lambda up: ws.frame(ws.CLOSE, b"\x03\xed", mask=up), "close-malformed", 1002),
    (lambda up: ws.frame(ws.CLOSE, b"x", mask=up), "close-malformed", 1002),
    (lambda up: ws.frame(ws.BINARY, b"", length=1 << 40, length_size="64", mask=up), "message-too-big", 1009),
])
def test_a_frame_that_breaks_the_rules(ring, up, bad, reason, code):
    offender, other = sides(ring, up)
    ring.say(offender, HELLO[up] + bad(up) + HELLO[up])
    reason = reason or ("frame-unmasked" if up else "frame-masked")
    assert [frame.op for frame in ws.frames_in(other.received)] == [ws.TEXT, ws.CLOSE]
    assert close_codes(offender) == [code] and close_codes(other) == [1001 if up else 1011]
    assert offender.end == other.end == "fin"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == (reason, code, "postern")
    ring.advance(3)
    assert ring.sessions() == 0


@pytest.mark.parametrize("up", [True, False])
def test_an_offence_within_a_frame_that_passed_in_part(ring, up):
    """A close frame would be read as its payload: only the end of the connection can say it."""
    offender, other = sides(ring, up)
    frame = ws.frame(ws.TEXT, b"ab\xffcd", mask=up)
    ring.say(offender, frame[:-3])
    ring.say(offender, frame[-3:])
    assert close_codes(offender) == [1007]
    assert other.received == frame[:-3] and other.end
    assert [r["reason"] for r in ring.records() if r["event"] == "end"] == ["utf8-invalid"]


@pytest.mark.parametrize("up", [True, False])
def test_the_other_side_is_in_the_middle_of_a_frame(ring, up):
    offender, other = sides(ring, up)
    half = ws.frame(ws.BINARY, b"x" * 100, mask=not up)[:50]
    ring.say(other, half)
    ring.say(offender, ws.frame(3, mask=up))
    assert offender.received == half and offender.end
    assert close_codes(other) == [1001 if up else 1011]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_frames_in_pieces(ring, up, pieces):
    writer, reader = sides(ring, up)
    data = (HELLO[up] + ws.frame(ws.PING, b"p" * 125, mask=up) + ws.frame(ws.TEXT, b"\xc3", fin=0, mask=up)
            + ws.frame(0, b"\xa4" * 1, mask=up) + ws.frame(ws.BINARY, b"b" * 300, mask=up))
    for at in range(0, len(data), pieces):
        ring.say(writer, data[at:at + pieces])
    assert reader.received == data


@pytest.mark.parametrize("up", [True, False])
def test_a_close_handshake(ring, up):
    first, second = sides(ring, up)
    ring.say(first, ws.close_frame(1000, b"bye", mask=up))
    assert close_codes(second) == [1000] and second.end is None
    ring.say(second, HELLO[not up] + ws.close_frame(1000, mask=not up))
    assert close_codes(first) == [1000] and len(ws.frames_in(first.received)) == 2
    assert first.end == second.end == "fin"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("ok", 1000, "client" if up else "server")
    first.close()
    second.close()
    ring.settle()
    assert ring.sessions() == 0


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("behind", [
    lambda up: ws.close_frame(1011, mask=up), lambda up: ws.frame(ws.PING, b"x", mask=up), lambda up: HELLO[up] * 3,
    lambda up: ws.frame(0, b"the end of a message", mask=up), lambda up: b"\xff" * 300000, lambda up: ws.frame(ws.TEXT, b"x" * 99, mask=up)[:20],
])
def test_what_stands_behind_a_close_frame(ring, up, at_once, behind):
    """It is discarded (RFC 6455 1.4): the close handshake goes its way, and the code is that of the close frame."""
    first, second = sides(ring, up)
    begin = ws.frame(ws.TEXT, b"the begin", fin=0, mask=up)
    close = ws.close_frame(1000, mask=up)
    for said in [begin + close + behind(up)] if at_once else [begin + close, behind(up)]:
        ring.say(first, said)
    assert second.received == begin + close and not first.received and first.end is second.end is None
    answer = HELLO[not up] + ws.close_frame(1000, mask=not up)
    ring.say(second, answer)
    assert first.received == answer and first.end == second.end == "fin"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("ok", 1000, "client" if up else "server")


@pytest.mark.parametrize("up", [True, False])
def test_who_goes_on_behind_its_close_frame_is_not_waited_for_as_long(ring, up):
    first, second = sides(ring, up)
    ring.say(first, ws.close_frame(1000, mask=up) + HELLO[up])
    ring.advance(0.9)
    assert first.end is second.end is None
    ring.advance(0.2)
    assert first.end is not None and second.end is not None and HELLO[up] not in second.received
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["reason"] == "timeout-close"


@pytest.mark.parametrize("up", [True, False])
def test_a_close_frame_and_the_end_at_once(ring, up):
    """Whoever closes its half behind its close frame still gets the answer to it."""
    first, second = sides(ring, up)
    first.sock.send(ws.close_frame(3001, mask=up))
    first.shut()
    ring.settle()
    assert close_codes(second) == [3001]
    ring.say(second, ws.close_frame(3001, mask=not up))
    assert close_codes(first) == [3001]
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("ok", 3001, "client" if up else "server")


@pytest.mark.parametrize("up", [True, False])
def test_a_close_frame_and_nobody_there_any_more(ring, up):
    first, second = sides(ring, up)
    first.sock.send(ws.close_frame(3001, mask=up))
    first.close()
    ring.settle()
    assert close_codes(second) == [3001]
    ring.say(second, ws.close_frame(3001, mask=not up))
    second.close()
    ring.settle()
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("ok", 3001, "client" if up else "server")
    assert ring.sessions() == 0


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_one_side_goes_without_a_word(ring, up, reset):
    gone, left = sides(ring, up)
    gone.close(reset)
    ring.settle()
    assert close_codes(left) == [1001] and left.end or reset and left.end
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["close_code"] == 1006 and record["closed_by"] == ("client" if up else "server")
    left.close()
    ring.settle()
    assert ring.sessions() == 0


@pytest.mark.parametrize("up", [True, False])
def test_one_side_goes_while_the_other_speaks(ring, up):
    """What is written to it fails, before it is read that it is gone."""
    gone, left = sides(ring, up)
    left.sock.send(HELLO[not up])
    gone.close(reset=True)
    ring.settle()
    assert close_codes(left) == [1001] and left.end
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["close_code"] == 1006 and record["closed_by"] == ("client" if up else "server")


@pytest.mark.parametrize("up", [True, False])
def test_a_flood_of_control_frames(ring, up):
    writer, reader = sides(ring, up)
    ping = ws.frame(ws.PING, mask=up)
    for _ in range(3):
        ring.say(writer, ping * 100)
        ring.advance(5)
        ring.say(writer, HELLO[up])
        ring.advance(5.1)
    assert reader.end is None
    ring.say(writer, ping * 101)
    assert close_codes(writer) == [1008] and reader.end
    assert [r["reason"] for r in ring.records() if r["event"] == "end"] == ["control-flood"]


def test_a_killed_one(ring):
    client, server = ring.websocket()
    assert ring.host.ask("kill 1")[0] == "ok"
    ring.settle()
    assert close_codes(client) == [1008] and close_codes(server) == [1008]
    assert ring.ended() == [("end", "killed", "postern")]
    assert ring.host.ask("kill 99")[0] == "none"


def test_messages_and_pushes_are_counted(ring):
    client, server = ring.websocket()
    ring.say(server, HELLO[False] * 3)
    ring.say(client, ws.frame(ws.TEXT, b"a", fin=0, mask=True) + ws.frame(0, b"b", mask=True))
    ring.say(client, ws.close_frame(1000, mask=True))
    ring.say(server, ws.close_frame(1000))
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["messages_up"], record["messages_down"]) == (1, 3)
    assert (record["frames_up"], record["frames_down"]) == (3, 4)
    assert record["protocol"] == "websocket" and record["status"] == 101


@pytest.mark.parametrize("way", ["absolute", "ws", "tunnel"])
def test_through_the_explicit_proxy(ring, way):
    if way == "tunnel":
        client, server = ring.tunnel()
        ring.say(client, ws.handshake("/ws", ORIGIN))
    else:
        client = ring.client("proxy")
        scheme = "ws" if way == "ws" else "http"
        ring.say(client, ws.handshake(f"{scheme}://{ORIGIN}/ws", ORIGIN))
        server = ring.server()
    assert server.received.startswith(b"GET /ws HTTP/1.1\r\n")
    ring.say(server, ws.switching())
    ring.say(client, HELLO[True])
    ring.say(server, HELLO[False])
    assert server.received.endswith(HELLO[True]) and client.received.endswith(HELLO[False])
    assert body(client).endswith(HELLO[False])
