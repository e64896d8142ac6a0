# SPDX-License-Identifier: ISC
"""What a policy lets each side of a WebSocket say: at the limit, one past it, by either side, and what on_violation makes of it."""
import pytest

from lib import ws
from ring import body, close_codes, status

TEXT, BINARY, PING, PONG, CLOSE = ws.TEXT, ws.BINARY, ws.PING, ws.PONG, ws.CLOSE
CLIENT, SERVER = True, False


def says(up, op, payload=b"", **more):
    return up, ws.frame(op, payload, mask=up, **more)


def text(up, payload=b"hello"):
    return says(up, TEXT, payload)


def key(up, **keys):
    return {"client" if up else "server": keys}


class Pair:
    def __init__(self, ring, **opening):
        self.ring = ring
        self.client, self.server = ring.websocket(**opening)

    def end(self, up):
        return self.client if up else self.server

    def say(self, said):
        up, data = said
        self.ring.say(self.end(up), data)

    def passes(self, said):
        up, data = said
        reader = self.end(not up)
        before = len(reader.received)
        self.say(said)
        assert bytes(reader.received[before:]) == data

    def vanishes(self, said):
        before = [len(end.received) for end in (self.client, self.server)]
        self.say(said)
        assert [len(end.received) for end in (self.client, self.server)] == before

    def is_closed(self, said, reason, code, told=None):
        """By what was said: both sides get the right codes, the record the reason."""
        up, data = said
        reader = self.end(not up)
        before = len(reader.received)
        self.say(said)
        assert close_codes(self.end(up)) == [code]
        assert [frame.op for frame in ws.frames_in(reader.received, before)] == [CLOSE]
        assert close_codes(reader) == [1001 if up else 1011]
        assert ws.frames_in(self.end(up).received)[-1].payload[2:].decode() == (told or reason)
        assert self.client.end == self.server.end == "fin"
        (record,) = [r for r in self.ring.records() if r["event"] != "interval"]
        assert (record["event"], record["reason"], record["close_code"], record["closed_by"]) == ("end", reason, code, "postern")
        return record

    def events(self):
        return [r["reason"] for r in self.ring.records() if r["event"] == "denied"]


BOTH = [CLIENT, SERVER]
# (websocket group, what passes, what does not, reason, code), for the side that `up` names.
BROKEN = {
    "text-only": lambda up: (key(up, opcodes=["text"]), [text(up)], says(up, BINARY, b"x"), "opcode-denied", 1003),
    "binary-only": lambda up: (key(up, opcodes=["binary"]), [says(up, BINARY, b"x")], text(up), "opcode-denied", 1003),
    "silent": lambda up: (key(up, send=False), [text(not up), says(up, PING)], text(up), "send-denied", 1008),
    "messages": lambda up: (key(up, messages_per_second=2, burst=2.0), [text(up)] * 4, text(up), "rate-exceeded", 1008),
    "bytes": lambda up: (key(up, bytes_per_second=10), [text(up), text(up)], text(up, b"x"), "rate-exceeded", 1008),
    "control": lambda up: (key(up, control_frames=2), [says(up, PING), says(up, PONG)], says(up, PING), "control-flood", 1008),
}
SIZES = {
    "message": lambda up: (key(up, message_bytes=5), [text(up)], text(up, b"hello!"), "message-too-big", 1009),
    "frame": lambda up: (key(up, frame_bytes=5), [text(up)], text(up, b"hello!"), "message-too-big", 1009),
    "fragments": lambda up: (key(up, fragments=2), [says(up, TEXT, b"a", fin=0), says(up, 0, b"b", fin=0)], says(up, 0, b"c"),
                             "fragment-limit", 1008),
}
PUSHES = {
    "first": ({"server": {"first": False}}, [says(SERVER, PING)], text(SERVER), "push-contract", 1008),
    "messages": ({"server": {"messages_per_client_message": 2}}, [text(CLIENT), text(SERVER), text(SERVER)], text(SERVER),
                 "push-contract", 1008),
    "bytes": ({"server": {"bytes_per_client_byte": 2}}, [text(CLIENT), text(SERVER, b"x" * 10)], text(SERVER, b"x"), "push-contract", 1008),
}


def all_of(table):
    return [pytest.param(case(up), id=f"{name}-{'client' if up else 'server'}") for name, case in table.items() for up in BOTH]


CONTRACTS = all_of(BROKEN) + [pytest.param(case, id=f"push-{name}") for name, case in PUSHES.items()]


def begun(ring, case, **more):
    group, passing, *_ = case
    ring.reload({**group, **more})
    pair = Pair(ring)
    for said in passing:
        pair.passes(said)
    return pair


@pytest.mark.parametrize("case", CONTRACTS + all_of(SIZES))
def test_broken_it_closes(ring, case):
    _, _, breaking, reason, code = case
    begun(ring, case).is_closed(breaking, reason, code)


@pytest.mark.parametrize("case", CONTRACTS)
def test_the_message_vanishes(ring, case):
    _, _, breaking, reason, _ = case
    pair = begun(ring, case, on_violation="drop_message")
    pair.vanishes(breaking)
    assert pair.events() == [reason]
    up = breaking[0]
    pair.passes(says(not up, PING))
    pair.passes(says(not up, CLOSE, b"\3\xe8"))
    pair.passes(says(up, CLOSE, b"\3\xe8"))
    assert [r["close_code"] for r in ring.records() if r["event"] == "end"] == [1000]


@pytest.mark.parametrize("case", CONTRACTS)
def test_it_is_only_recorded(ring, case):
    _, _, breaking, reason, _ = case
    pair = begun(ring, case, on_violation="log")
    pair.passes(breaking)
    assert pair.events() == [reason]


@pytest.mark.parametrize("case", all_of(SIZES))
@pytest.mark.parametrize("choice", ["drop_message", "log"])
def test_sizes_always_close(ring, case, choice):
    _, _, breaking, reason, code = case
    begun(ring, case, on_violation=choice).is_closed(breaking, reason, code)


def test_all_frames_of_a_message_vanish(ring):
    ring.reload({"opcodes": ["text"], "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.vanishes(says(CLIENT, BINARY, b"a", fin=0))
    pair.passes(says(CLIENT, PING, b"between"))
    pair.vanishes(says(CLIENT, 0, b"b", fin=0))
    pair.vanishes(says(CLIENT, 0, b"c"))
    pair.passes(text(CLIENT))
    assert pair.events() == ["opcode-denied"]


def test_a_message_that_passed_in_part_cannot_vanish(ring):
    ring.reload({"client": {"bytes_per_second": 10}, "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.passes(says(CLIENT, TEXT, b"x" * 10, fin=0))
    pair.is_closed(says(CLIENT, 0, b"x"), "rate-exceeded", 1008)


def test_what_vanishes_was_never_said(ring):
    """A message whose payload is refused gives the server no new right to speak."""
    ring.reload({"client": {"bytes_per_second": 10}, "server": {"messages_per_client_message": 1}, "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.passes(text(CLIENT))
    pair.passes(text(SERVER))
    pair.vanishes(text(CLIENT, b"x" * 11))
    pair.vanishes(text(SERVER))
    assert pair.events() == ["rate-exceeded", "push-contract"]


def test_a_rate_comes_back(ring):
    ring.reload({"client": {"messages_per_second": 2}})
    pair = Pair(ring)
    for _ in range(3):
        pair.passes(text(CLIENT))
        pair.passes(text(CLIENT))
        ring.advance(1)
    pair.passes(text(CLIENT))
    pair.passes(text(CLIENT))
    pair.is_closed(text(CLIENT), "rate-exceeded", 1008)


def test_a_quiet_window(ring):
    ring.reload({"server": {"quiet_after": 2.0}})
    pair = Pair(ring)
    pair.passes(text(CLIENT))
    ring.advance(1.9)
    pair.passes(text(SERVER))
    ring.advance(0.2)
    pair.is_closed(text(SERVER), "push-contract", 1008)


def test_a_quiet_window_begins_with_the_stream(ring):
    """Not with the request: how long the server took to agree is no silence of the client."""
    ring.reload({"server": {"quiet_after": 2.0}})
    pair = Pair(ring, takes=3)
    pair.passes(text(SERVER))
    ring.advance(2.1)
    pair.is_closed(text(SERVER), "push-contract", 1008)


def test_events_are_bounded(ring):
    ring.reload({"client": {"opcodes": ["text"]}, "on_violation": "log"})
    pair = Pair(ring)
    ring.say(pair.client, says(CLIENT, BINARY)[1] * 50)
    assert pair.events() == ["opcode-denied"] * 10
    ring.advance(1)
    ring.say(pair.client, says(CLIENT, BINARY)[1])
    assert pair.events() == ["opcode-denied"]
    assert len(ws.frames_in(pair.server.received)) == 51


HIDDEN = [b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(60), b"SSH-2.0-OpenSSH_9.2p1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
          b"\x05\x01\x00"]


@pytest.mark.parametrize("up", BOTH)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_tunnel_inside(ring, up, hidden):
    ring.reload({"tunnels": False})
    pair = Pair(ring)
    pair.passes(text(up, b"SSH-2.0-not"))
    pair.is_closed(says(up, BINARY, hidden), "tunnel-inside", 1008)


@pytest.mark.parametrize("up", BOTH)
def test_only_the_first_binary_message_is_looked_at(ring, up):
    ring.reload({"tunnels": False})
    pair = Pair(ring)
    pair.passes(says(up, BINARY, b"\0\1\2"))
    pair.passes(says(up, BINARY, HIDDEN[1]))


# Caps.

def refused(ring, path="/ws"):
    client = ring.client("site")
    ring.say(client, ws.handshake(path, "a.test"))
    assert status(client) == 403 and b"stream-limit" in client.received
    assert ring.dial() is None
    return client


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("cap", ["streams", "streams_per_client"])
def test_a_cap(ring, cap):
    ring.reload({cap: 2})
    first, _ = ring.websocket()
    ring.asked(head=ws.handshake("/ws", "a.test"))  # asks, and has its place
    refused(ring)
    first.close()
    ring.settle()
    ring.asked(head=ws.handshake("/ws", "a.test"))
    refused(ring)


@pytest.mark.not_over("inspected")
def test_a_refused_upgrade_gives_its_place_back(ring):
    ring.reload({"streams": 1})
    client, server = ring.asked(head=ws.handshake("/ws", "a.test"))
    ring.say(server, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert status(client) == 403
    ring.websocket()
    refused(ring)


@pytest.mark.not_over("inspected")
def test_open_ones_count_under_a_new_policy(ring):
    ring.websocket()
    ring.websocket()
    ring.reload({"streams": 3})
    ring.websocket()
    refused(ring)


def other(name, **websocket):
    return {"name": name, "listeners": ["site"], "protocols": ["websocket"], "websocket": websocket, "action": "allow"}


@pytest.mark.not_over("inspected")
@pytest.mark.parametrize("cap", ["streams", "streams_per_client"])
def test_a_reload_gives_open_ones_to_a_policy_that_is_full(ring, cap):
    pairs = [ring.websocket() for _ in range(3)]
    ring.reload(policies=[other("small", **{cap: 2})])
    ended = [pair for pair in pairs if pair[0].end]
    assert len(ended) == 1 and close_codes(ended[0][0]) == [1008]
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["rule"]) == ("revoked", "small")
    refused(ring)
    for client, server in pairs:
        if client.end is None:
            ring.say(client, ws.frame(ws.TEXT, b"still here", mask=True))
            assert ws.frames_in(server.received)[-1].payload == b"still here"


@pytest.mark.not_over("inspected")
def test_a_lower_cap_ends_nobody(ring):
    pairs = [ring.websocket() for _ in range(3)]
    ring.reload({"streams": 1})
    assert all(client.end is None for client, _ in pairs)
    for client, _ in pairs:
        refused(ring)
        client.close()
        ring.settle()
    ring.websocket()
    refused(ring)


def test_the_cap_of_the_address_that_is_connected(ring):
    """both.test has two addresses. The first one's policy has no cap; the connection that is kept goes to the second one."""
    def to(zone, **websocket):
        return {"name": f"to-{zone}", "listeners": ["proxy"], "from": "client", "to": zone, "ports": [8000],
                "protocols": ["http", "websocket"], "websocket": websocket, "action": "allow"}

    ring.reload(policies=[to("second"), to("origin", streams=1)])
    open_one = ring.client("proxy")
    ring.say(open_one, ws.handshake("http://origin.test:8000/ws", "origin.test:8000"))
    ring.server()
    client = ring.client("proxy")
    ring.say(client, b"GET http://origin.test:8000/x HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n")
    server = ring.server()
    ring.say(server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.received.clear()
    server.received.clear()
    ring.say(client, ws.handshake("http://both.test:8000/ws", "both.test:8000"))
    assert status(client) == 403 and b"stream-limit" in client.received
    assert not server.received


# Reloads.

def test_a_new_contract_holds_for_open_streams(ring):
    pair = Pair(ring)
    pair.passes(says(CLIENT, BINARY, b"x"))
    pair.passes(says(CLIENT, BINARY, b"x", fin=0))
    ring.reload({"opcodes": ["text"]})
    pair.passes(says(CLIENT, 0, b"x"))
    pair.passes(text(CLIENT))
    pair.is_closed(says(CLIENT, BINARY, b"x"), "opcode-denied", 1003)


@pytest.mark.limits(sessions_per_client=250)
def test_of_200_exactly_73_are_revoked(ring):
    pairs = [Pair(ring, path=f"/{'no' if n % 73 == n else 'yes'}/{n}") for n in range(200)]
    half = ws.frame(TEXT, b"x" * 300, mask=True)
    for pair in pairs:
        pair.client.write(half[:150])
    ring.settle()
    ring.records()
    ring.reload(policies=[{"name": "no-more", "paths": ["/no/*"], "protocols": ["websocket"], "action": "deny"}])
    for pair in pairs[:73]:
        assert close_codes(pair.client) == [1008] and len(pair.server.received) == 150  # no close frame within a frame
        assert ws.frames_in(pair.client.received)[-1].payload[2:] == b"revoked: no-more"
        assert pair.client.end == pair.server.end == "fin"
    for pair in pairs[73:]:
        pair.client.write(half[150:])
        pair.server.write(text(SERVER)[1])
    ring.settle()
    for pair in pairs[73:]:
        assert pair.server.received == half and pair.client.received == text(SERVER)[1] and pair.client.end is None
    ended = [r for r in ring.records() if r["event"] == "end"]
    assert [(r["reason"], r["rule"], r["closed_by"]) for r in ended] == [("revoked", "no-more", "postern")] * 73


NO_MORE = {"name": "no-more", "paths": ["/no/*"], "protocols": ["websocket"], "action": "deny"}


def answered_after(ring, path, *changes, **more):
    """A WebSocket whose handshake the server answers after a reload; its ends hold nothing but frames."""
    client, server = ring.asked(head=ws.handshake(path, "a.test"))
    ring.reload(*changes, **more)
    server.received.clear()
    ring.say(server, ws.switching())
    assert status(client) == 101
    client.received[:] = body(client)
    return client, server


def test_a_reload_before_the_server_answers_the_handshake(ring):
    """The request ends under the policies that it began with; the WebSocket that comes of it lives under the new ones."""
    client, server = answered_after(ring, "/no/1", policies=[NO_MORE])
    assert close_codes(client) == close_codes(server) == [1008] and client.end == server.end == "fin"
    ended = [r for r in ring.records() if r["event"] == "end" and r["path"] == "/no/1"]
    assert [(r["reason"], r["rule"], r["close_code"]) for r in ended] == [("revoked", "no-more", 1008)]
    client, server = answered_after(ring, "/yes/1", policies=[NO_MORE, NO_MORE | {"name": "nor", "paths": ["/nor/*"]}])
    ring.say(client, text(CLIENT)[1])
    assert bytes(server.received) == text(CLIENT)[1] and client.end is server.end is None


def test_a_contract_that_comes_before_the_server_answers_the_handshake(ring):
    client, _ = answered_after(ring, "/ws", {"opcodes": ["text"]})
    ring.say(client, says(CLIENT, BINARY, b"x")[1])
    assert close_codes(client) == [1003]


def test_a_policy_whose_handshake_does_not_fit_any_more(ring):
    pair = Pair(ring)
    ring.reload({"origins": ["https://a.example"]})
    assert ws.frames_in(pair.client.received)[-1].payload == b"\3\xf0revoked: to-site"
    assert ws.frames_in(pair.server.received)[-1].payload == b"\3\xf0revoked: to-site"


def test_sniff_after_rate_drop(ring):
    """What vanished was not the beginning of the stream."""
    ring.reload({"tunnels": False, "client": {"bytes_per_second": 100}, "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.vanishes(says(CLIENT, BINARY, b"\0" * 101))
    pair.say(says(CLIENT, BINARY, HIDDEN[1]))
    assert pair.client.end == "fin" and pair.ring.records()[-1]["reason"] == "tunnel-inside"


def test_sniff_after_tunnel_drop(ring):
    ring.reload({"tunnels": False, "match": [{"name": "no", "from": "client", "pattern": "NEVER"}], "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.vanishes(says(CLIENT, BINARY, HIDDEN[1]))
    pair.vanishes(says(CLIENT, BINARY, HIDDEN[1]))


def test_idle_kept_by_vanished(ring):
    ring.reload({"idle": 10, "client": {"send": False}, "on_violation": "drop_message"})
    pair = Pair(ring)
    for _ in range(4):
        ring.advance(4)
        pair.say(text(CLIENT))
    assert pair.client.end
