# SPDX-License-Identifier: ISC
"""Content: messages that are held until they are judged, and compressed ones that are read as they pass. Streams are real zlib ones."""
import random
import zlib

import pytest

from lib import ws
from ring import close_codes, status
from test_ws_contracts import BOTH, CLIENT, SERVER, Pair, says, text

TEXT, BINARY = ws.TEXT, ws.BINARY
DENY = {"message_bytes": 1000, "match": [{"name": "no-secret", "pattern": "secret"}]}


class Deflater:
    def __init__(self, up, bits=15, takeover=True):
        self.up, self.bits, self.takeover = up, bits, takeover
        self.stream = None

    def data(self, payload):
        if self.stream is None or not self.takeover:
            self.stream = zlib.compressobj(9, zlib.DEFLATED, -self.bits)
        return (self.stream.compress(payload) + self.stream.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def __call__(self, payload, op=TEXT):
        return self.up, ws.frame(op, self.data(payload), rsv=4, mask=self.up)

    def pieces(self, payload, cuts, op=TEXT):
        data = self.data(payload)
        size = len(data) // cuts + 1
        parts = [data[at:at + size] for at in range(0, len(data), size)] + [b""]
        return [(self.up, ws.frame(op if n == 0 else 0, part, fin=int(n + 1 == len(parts)), rsv=4 if n == 0 else 0, mask=self.up))
                for n, part in enumerate(parts)]


def compressed(ring, group, offered="permessage-deflate", agreed="permessage-deflate"):
    ring.reload(group)
    return Pair(ring, offered=offered, agreed=agreed)


# Held messages that are slow to judge. Ways to match "a*[bc]" in a text of "a" are many: their number grows with its square.

def slow(count, **more):
    rules = [{"name": f"slow-{n}", "pattern": "a*[bc]"} for n in range(count)]
    return {"message_bytes": 20000, "match": rules, **more}


LONG = b"a" * 3000


@pytest.mark.parametrize("up", BOTH)
def test_rules_that_take_too_long_for_one_message(ring, up):
    ring.reload(slow(200))
    pair = Pair(ring)
    pair.passes(text(up, b"a" * 10))
    up, data = text(up, LONG)
    reader = pair.end(not up)
    pair.say((up, data))
    assert close_codes(pair.end(up)) == [1008] and close_codes(reader) == [1001 if up else 1011]
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["reason"] == "match-limit" and record["rule"].startswith("slow-")


@pytest.mark.parametrize("choice", ["drop_message", "log"])
def test_a_stream_that_takes_too_long(ring, choice):
    """Each message takes 5 ms: twenty of them are all that a second may have. Then on_violation is not asked any more."""
    ring.reload(slow(200, on_violation=choice))
    pair = Pair(ring)
    for _ in range(10):
        (pair.vanishes if choice == "drop_message" else pair.passes)(text(CLIENT, LONG))
    assert pair.events() == ["match-limit"] * 10
    ring.advance(1)
    for _ in range(10):
        (pair.vanishes if choice == "drop_message" else pair.passes)(text(CLIENT, LONG))
    pair.events()
    pair.say((CLIENT, text(CLIENT, LONG)[1] * 15))
    assert close_codes(pair.client) == [1008]
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["reason"] == "match-limit"


def test_honest_messages_take_as_long_as_they_are_many(ring):
    ring.reload({"message_bytes": 20000, "match": [{"name": "secret", "pattern": "(?i)secret[0-9]+"}]})
    pair = Pair(ring)
    for _ in range(3):
        pair.passes((CLIENT, text(CLIENT, b"the secret of the source " * 700)[1] * 30))


def test_others_are_served_in_between(ring):
    """Messages that came in one read, and take long together, are judged in several turns of the loop."""
    ring.reload(slow(1))
    busy, other = Pair(ring), Pair(ring)
    count, message = 40, text(CLIENT, b"a" * 1000)[1]
    busy.client.write(message * count)
    busy.client.pump()
    ring.host.ask("step")
    other.client.write(text(CLIENT)[1])
    other.client.pump()
    turns = 0
    while not other.server.received:
        ring.host.ask("step")
        turns += 1
        for end in (busy.server, other.server):
            end.pump()
        assert turns < 5
    assert 0 < len(ws.frames_in(busy.server.received)) < count
    ring.settle()
    assert bytes(busy.server.received) == message * count


def test_an_end_behind_messages_that_wait_for_a_turn(ring):
    """The end of the stream was read with them; it counts when they have been judged."""
    ring.reload(slow(1))
    pair = Pair(ring)
    message = text(CLIENT, b"a" * 1000)[1]
    pair.client.write(message * 20)
    pair.client.flush()
    pair.client.shut()
    ring.settle()
    assert bytes(pair.server.received).startswith(message * 20)
    assert [r["reason"] for r in ring.records() if r["event"] == "end"] == ["client-gone"]


# Held messages.

@pytest.mark.parametrize("up", BOTH)
def test_what_fits_no_rule_passes_unchanged(ring, up):
    ring.reload(DENY)
    pair = Pair(ring)
    pair.passes(text(up))
    pair.passes(says(up, BINARY, b"\xff" * 1000))
    pair.passes(says(up, TEXT, b""))
    parts = [says(up, TEXT, b"sec", fin=0), says(up, 0, b"", fin=0), says(up, 0, "rät".encode())]
    pair.vanishes(parts[0])
    pair.passes(says(up, ws.PING, b"between"))
    pair.vanishes(parts[1])
    reader = pair.end(not up)
    reader.received.clear()
    pair.say(parts[2])
    assert reader.received == b"".join(data for _, data in parts)


@pytest.mark.parametrize("up", BOTH)
def test_those_before_the_denied_one_were_delivered(ring, up):
    ring.reload(DENY)
    pair = Pair(ring)
    good = [text(up, b"one")[1], text(up, b"two")[1], says(up, TEXT, b"a", fin=0)[1] + says(up, 0, b"b")[1]]
    bad = says(up, TEXT, b"the sec", fin=0)[1] + says(up, 0, b"ret word")[1]
    ring.say(pair.end(up), b"".join(good) + bad + text(up, b"behind")[1])
    reader = pair.end(not up)
    assert bytes(reader.received).startswith(b"".join(good))
    assert [f.op for f in ws.frames_in(reader.received, len(b"".join(good)))] == [ws.CLOSE]
    assert close_codes(pair.end(up)) == [1008] and close_codes(reader) == [1001 if up else 1011]
    assert ws.frames_in(pair.end(up).received)[-1].payload[2:] == b"match-denied: no-secret"
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["rule"], record["policy"]) == ("match-denied", "no-secret", "to-site")


@pytest.mark.parametrize("up", BOTH)
def test_a_byte_at_a_time(ring, up):
    ring.reload(DENY)
    pair = Pair(ring)
    for byte in text(up, b"hello")[1] + text(up, b"secret")[1]:
        ring.say(pair.end(up), bytes([byte]))
    assert ws.frames_in(pair.end(not up).received)[0].payload == b"hello"
    assert close_codes(pair.end(up)) == [1008]


@pytest.mark.parametrize("choice", ["drop_message", "log"])
@pytest.mark.parametrize("up", BOTH)
def test_denied_and_not_closed(ring, up, choice):
    ring.reload({**DENY, "on_violation": choice})
    pair = Pair(ring)
    (pair.vanishes if choice == "drop_message" else pair.passes)(text(up, b"secret"))
    pair.passes(text(up))
    (record,) = [r for r in ring.records() if r["event"] == "denied"]
    assert (record["reason"], record["rule"]) == ("match-denied", "no-secret")


def test_rules_about_one_side(ring):
    ring.reload({"message_bytes": 1000, "match": [{"name": "one", "from": "server", "pattern": "secret"}]})
    pair = Pair(ring)
    pair.passes(text(CLIENT, b"secret"))
    pair.is_closed(text(SERVER, b"secret"), "match-denied", 1008, "match-denied: one")


def test_json(ring):
    ring.reload({"message_bytes": 1000, "match": [{"name": "shape", "json": {"required": ["kind"], "forbidden": ["admin"]}}]})
    pair = Pair(ring)
    pair.passes(text(CLIENT, b'{"kind": 1, "other": [2]}'))
    pair.is_closed(text(CLIENT, b'{"kind": 1, "admin": true}'), "match-denied", 1008, "match-denied: shape")


def test_what_is_held_has_a_bound(ring):
    ring.reload(DENY)
    pair = Pair(ring)
    pair.vanishes(says(CLIENT, TEXT, b"x" * 1000, fin=0))
    pair.vanishes(says(CLIENT, 0, b"", fin=0))
    pair.is_closed(says(CLIENT, 0, b"x", fin=0), "message-too-big", 1009)


def test_the_other_side_is_told_though_a_message_is_held(ring):
    """Nothing of it was passed on: a close frame can be understood."""
    ring.reload(DENY)
    pair = Pair(ring)
    pair.vanishes((CLIENT, text(CLIENT, b"x" * 500)[1][:200]))
    ring.say(pair.server, text(SERVER, b"secret")[1])
    assert close_codes(pair.server) == [1008] and close_codes(pair.client) == [1011]


def test_a_large_message_and_a_slow_reader(ring):
    ring.reload({"message_bytes": 8000000, "match": [{"name": "x", "pattern": "^secret$"}]})
    pair = Pair(ring)
    large = text(CLIENT, b"x" * 6000000)
    pair.passes(large)
    pair.passes(text(CLIENT))


def test_match_rules_that_come_and_go(ring):
    pair = Pair(ring)
    pair.passes(says(CLIENT, TEXT, b"sec", fin=0))
    ring.reload(DENY)
    pair.passes(says(CLIENT, 0, b"ret"))  # it had begun to pass
    pair.vanishes(says(CLIENT, TEXT, b"sec", fin=0))
    ring.reload()
    reader = pair.server
    reader.received.clear()
    pair.say(says(CLIENT, 0, b"ret"))
    assert [f.payload for f in ws.frames_in(reader.received)] == [b"sec", b"ret"]
    ring.reload(DENY)
    pair.is_closed(text(CLIENT, b"secret"), "match-denied", 1008, "match-denied: no-secret")


# Compression: what is negotiated.

OFFER = "permessage-deflate; client_max_window_bits"


def asked(ring, group, offered=OFFER):
    ring.reload(group)
    return ring.asked(head=ws.handshake("/ws", "a.test")[:-2] + f"Sec-WebSocket-Extensions: {offered}\r\n\r\n".encode())


def test_strip(ring):
    client, server = asked(ring, {"deflate": "strip"})
    assert b"Extensions" not in server.received
    ring.say(server, ws.switching())
    assert client.received.startswith(b"HTTP/1.1 101") and b"Extensions" not in client.received


def test_a_reload_judges_the_compression_that_was_agreed(ring):
    """Not the one that was offered, and taken away: who speaks without any goes on under a policy that denies it."""
    ring.reload()
    pair = Pair(ring, offered=OFFER)
    for group in ({"deflate": "deny"}, {"deflate": "inspect"}, {"deflate": "pass"}, {"deflate": "deny"}, None):
        ring.reload(group)
        pair.passes(text(CLIENT))
        pair.passes(text(SERVER))
        pair.vanishes((CLIENT, b""))
    assert pair.events() == []


@pytest.mark.parametrize("before", ["pass", "inspect"])
def test_a_reload_that_denies_the_compression_that_was_agreed(ring, before):
    pair = compressed(ring, {"deflate": before})
    pair.passes(Deflater(CLIENT)(b"hello"))
    ring.reload({"deflate": "deny"})
    assert close_codes(pair.client) == [1008] and close_codes(pair.server) == [1008]
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert record["reason"] == "revoked"


@pytest.mark.not_over("inspected")
def test_deny(ring):
    ring.reload({"deflate": "deny"})
    client = ring.client("site")
    ring.say(client, ws.handshake("/ws", "a.test")[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    assert status(client) == 403 and b"extension-denied" in client.received and ring.dial() is None
    ring.websocket()


@pytest.mark.parametrize("mode", ["pass", "inspect"])
def test_the_offer_and_its_answer_pass(ring, mode):
    client, server = asked(ring, {"deflate": mode}, "x-other, " + OFFER)
    assert b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" in server.received
    ring.say(server, ws.switching()[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate;client_max_window_bits=10\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 101")
    assert b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n" in client.received


@pytest.mark.parametrize("answer", ["x-other", "permessage-deflate; server_max_window_bits=7", "permessage-deflate, permessage-deflate"])
def test_a_wrong_answer(ring, answer):
    client, server = asked(ring, {"deflate": "inspect"})
    ring.say(server, ws.switching()[:-2] + f"Sec-WebSocket-Extensions: {answer}\r\n\r\n".encode())
    assert status(client) == 502 and ring.records()[0]["reason"] == "extension-unoffered"


def test_messages_that_may_vanish_are_compressed_alone(ring):
    client, server = asked(ring, {"deflate": "inspect", "on_violation": "drop_message"})
    assert b"server_no_context_takeover" in server.received and b"client_no_context_takeover" in server.received


# Compression: what passes.

@pytest.mark.parametrize("up", BOTH)
@pytest.mark.parametrize("mode", ["pass", "inspect"])
def test_compressed_messages_pass_as_they_came(ring, up, mode):
    pair = compressed(ring, {"deflate": mode})
    deflater, rand = Deflater(up), random.Random(7)
    for n in range(12):
        pair.passes(deflater(b"hello, hello, hello" * n))
        pair.passes(text(up, b"plain"))
        pair.passes(deflater(rand.randbytes(3000), BINARY))
        for part in deflater.pieces("Grüße, Grüße, Grüße".encode() * (n + 1), 3):
            pair.passes(part)


@pytest.mark.parametrize("up", BOTH)
@pytest.mark.parametrize("terms", ["", "; server_no_context_takeover; client_no_context_takeover", "; server_max_window_bits=9"])
def test_what_was_agreed_is_kept_to(ring, up, terms):
    pair = compressed(ring, {"deflate": "inspect"}, "permessage-deflate" + terms, "permessage-deflate" + terms)
    deflater = Deflater(up, 9 if "bits" in terms and not up else 15, "no_context" not in terms)
    for _ in range(5):
        pair.passes(deflater(b"abcdefgh" * 300))


def test_compressed_though_nobody_agreed(ring):
    ring.reload({"deflate": "inspect"})
    Pair(ring).is_closed(Deflater(CLIENT)(b"x"), "frame-malformed", 1002)


@pytest.mark.parametrize("up", BOTH)
def test_size_is_measured_inflated(ring, up):
    pair = compressed(ring, {"deflate": "inspect", "message_bytes": 1000})
    deflater = Deflater(up)
    pair.passes(deflater(b"x" * 1000))
    pair.passes(deflater(random.Random(3).randbytes(1000), BINARY))
    pair.passes(text(up, b"x" * 1000))
    pair.is_closed(deflater(b"x" * 1001), "message-too-big", 1009)


@pytest.mark.parametrize("up", BOTH)
def test_plain_size_is_exact_beside_compressed(ring, up):
    compressed(ring, {"deflate": "inspect", "message_bytes": 1000}).is_closed(text(up, b"x" * 1001), "message-too-big", 1009)


@pytest.mark.parametrize("up", BOTH)
def test_a_bomb(ring, up):
    pair = compressed(ring, {"deflate": "inspect", "message_bytes": 0, "inflate_ratio": 100})
    pair.passes(Deflater(up)(b"x" * 60000))
    pair = Pair(ring, offered="permessage-deflate", agreed="permessage-deflate")
    ring.records()
    pair.is_closed(Deflater(up)(b"x" * 1000000), "deflate-ratio", 1009)


@pytest.mark.parametrize("up", BOTH)
@pytest.mark.parametrize("said, reason, code", [
    (lambda up: says(up, TEXT, b"\xff\xff\xff", rsv=4), "deflate-malformed", 1007),
    (lambda up: Deflater(up)(b"caf\xc3"), "utf8-invalid", 1007),
    (lambda up: Deflater(up)(b"\xff"), "utf8-invalid", 1007),
])
def test_what_comes_out_is_checked(ring, up, said, reason, code):
    pair = compressed(ring, {"deflate": "inspect"})
    pair.is_closed(said(up), reason, code)


@pytest.mark.parametrize("up", BOTH)
def test_rules_read_what_was_compressed(ring, up):
    pair = compressed(ring, {**DENY, "deflate": "inspect"})
    deflater = Deflater(up)
    pair.passes(deflater(b"hello"))
    pair.passes(deflater(b"hello hello"))
    pair.is_closed(deflater(b"a secret"), "match-denied", 1008, "match-denied: no-secret")


@pytest.mark.parametrize("up", BOTH)
def test_compressed_messages_vanish(ring, up):
    terms = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    pair = compressed(ring, {**DENY, "deflate": "inspect", "on_violation": "drop_message"}, terms, terms)
    deflater = Deflater(up, takeover=False)
    pair.passes(deflater(b"hello"))
    pair.vanishes(deflater(b"a secret"))
    pair.passes(deflater(b"hello"))
    for part in deflater.pieces(b"secret" * 50, 3)[:-1]:
        pair.vanishes(part)


@pytest.mark.parametrize("up", BOTH)
def test_a_tunnel_in_compressed_messages(ring, up):
    pair = compressed(ring, {"tunnels": False, "deflate": "inspect"})
    pair.is_closed(Deflater(up)(b"SSH-2.0-x\r\n", BINARY), "tunnel-inside", 1008)


def test_a_policy_that_cannot_read_the_stream_revokes_it(ring):
    pair = compressed(ring, {"deflate": "pass"})
    ring.records()
    ring.reload({"deflate": "inspect"})
    assert close_codes(pair.client) == [1008]
    pair = compressed(ring, {"deflate": "inspect"})
    ring.reload({"deflate": "inspect", "message_bytes": 10})
    pair.passes(Deflater(CLIENT)(b"x" * 10))
    ring.reload({"deflate": "pass"})
    assert pair.client.end is None
    ring.reload({"deflate": "strip"})
    assert close_codes(pair.client) == [1008]
