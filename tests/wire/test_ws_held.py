# SPDX-License-Identifier: ISC
"""Messages that are held: what they count for, how much room and time they have, and what a reload makes of them."""
import pytest

from lib import ws
from ring import close_codes
from test_ws_content import Deflater, compressed
from test_ws_contracts import CLIENT, SERVER, Pair, says, text

TEXT, BINARY = ws.TEXT, ws.BINARY
RULE = [{"name": "no", "from": "client", "pattern": "NEVER"}]
ANSWERS = {"match": RULE, "server": {"messages_per_client_message": 1}, "on_violation": "drop_message"}


def answered(ring, **more):
    """The client has spoken, and the server has said all that it may."""
    ring.reload({**ANSWERS, **more})
    pair = Pair(ring)
    pair.passes(text(CLIENT))
    pair.passes(text(SERVER))
    return pair


def gets(pair, said, *payloads):
    """What was held arrives with this."""
    up, _ = said
    reader = pair.end(not up)
    before = len(reader.received)
    pair.say(said)
    assert [f.payload for f in ws.frames_in(reader.received, before)] == list(payloads)


# What they count for.

def test_a_refused_continuation_was_never_said(ring):
    pair = answered(ring, client={"bytes_per_second": 10})
    pair.vanishes(says(CLIENT, TEXT, b"a", fin=0))
    pair.vanishes(says(CLIENT, 0, b"x" * 11))
    pair.vanishes(text(SERVER))
    assert pair.events() == ["rate-exceeded", "push-contract"]


def test_a_denied_message_was_never_said(ring):
    pair = answered(ring)
    pair.vanishes(text(CLIENT, b"NEVER"))
    pair.vanishes(text(SERVER))
    assert pair.events() == ["match-denied", "push-contract"]


def test_it_counts_when_it_is_let_go(ring):
    """Until then nobody was asked anything; and what the server said meanwhile was an answer to the message before."""
    pair = answered(ring)
    pair.vanishes(says(CLIENT, TEXT, b"a", fin=0))
    pair.vanishes(text(SERVER))
    gets(pair, says(CLIENT, 0, b"b"), b"a", b"b")
    pair.passes(text(SERVER))
    pair.vanishes(text(SERVER))


def test_bytes_of_the_whole_message_count(ring):
    pair = answered(ring, server={"bytes_per_client_byte": 2})
    pair.vanishes(says(CLIENT, TEXT, b"abc", fin=0))
    gets(pair, says(CLIENT, 0, b"de"), b"abc", b"de")
    pair.passes(text(SERVER, b"x" * 10))
    pair.vanishes(text(SERVER, b"x"))


def test_the_server_stays_second_until_something_passed(ring):
    ring.reload({"match": RULE, "server": {"first": False}, "on_violation": "drop_message"})
    pair = Pair(ring)
    pair.vanishes(text(CLIENT, b"NEVER"))
    pair.vanishes(text(SERVER))
    pair.passes(text(CLIENT))
    pair.passes(text(SERVER))


# Room: `held_bytes` for all of a worker, counted as it is taken from memory, for frames and for what they say.

HALF = b"x" * 40000


def holding(ring, up=CLIENT):
    pair = Pair(ring)
    pair.vanishes(says(up, TEXT, HALF, fin=0))
    return pair


def is_refused(ring):
    Pair(ring).is_closed(says(CLIENT, TEXT, HALF, fin=0), "overload", 1013)


@pytest.mark.limits(held_bytes=200000)
@pytest.mark.parametrize("choice", ["close", "drop_message", "log"])
def test_room_for_all(ring, choice):
    ring.reload({"match": RULE, "on_violation": choice})
    first = holding(ring)
    is_refused(ring)
    gets(first, says(CLIENT, 0, b"end"), HALF, b"end")
    second = holding(ring)
    is_refused(ring)
    gets(second, says(CLIENT, 0, b"end"), HALF, b"end")


@pytest.mark.limits(held_bytes=200000)
@pytest.mark.parametrize("end", ["violation", "close", "gone"])
def test_room_is_given_back_at_the_end(ring, end):
    """At once, though the session lingers until its sides have gone."""
    ring.reload({"match": RULE})
    pair = holding(ring)
    if end == "violation":
        ring.say(pair.server, b"\xff\xff")
    elif end == "close":
        pair.passes(says(CLIENT, ws.CLOSE, b"\3\xe8"))
    else:
        pair.client.shut()
        ring.settle()
    assert ring.sessions() == 1
    ring.records()
    holding(ring)


@pytest.mark.limits(held_bytes=200000)
def test_what_vanishes_takes_no_room(ring):
    ring.reload({"match": RULE, "message_bytes": 1000000, "client": {"bytes_per_second": 50000}, "on_violation": "drop_message"})
    pair = holding(ring)
    pair.vanishes(says(CLIENT, 0, b"x" * 10001, fin=0))
    holding(ring)
    pair.vanishes(says(CLIENT, 0, b"x" * 900000, fin=0))
    pair.vanishes(says(CLIENT, 0, b"end"))
    ring.advance(1)
    gets(pair, text(CLIENT), b"hello")


# Time: `message`, here 3.5 s.

@pytest.mark.parametrize("up", [CLIENT, SERVER])
def test_time_for_a_message(ring, up):
    ring.reload({"match": [{"name": "no", "pattern": "NEVER"}]})
    pair = Pair(ring)
    pair.vanishes(says(up, TEXT, b"a", fin=0))
    for _ in range(3):
        ring.advance(1)
        pair.vanishes(says(up, 0, b"b", fin=0))
        pair.passes(says(up, ws.PING))
    ring.advance(0.4)
    gets(pair, says(up, 0, b"c"), b"a", b"b", b"b", b"b", b"c")
    ring.advance(3)
    pair.vanishes(says(up, TEXT, b"a", fin=0))
    ring.advance(3.4)
    assert pair.client.end is None
    ring.advance(0.2)
    assert close_codes(pair.end(up)) == [1008] and close_codes(pair.end(not up)) == [1001 if up else 1011]
    assert ring.ended() == [("end", "timeout-message", "postern")]


def test_a_message_that_is_not_held_has_time(ring):
    pair = Pair(ring)
    pair.passes(says(CLIENT, TEXT, b"a", fin=0))
    ring.advance(8)
    pair.passes(says(CLIENT, 0, b"b"))


def test_time_does_not_run_while_the_reader_is_slow(ring):
    """What waits for it keeps us from reading the rest. Behind it there is all the time again."""
    ring.reload({"match": RULE, "message_bytes": 30000000})
    pair = Pair(ring)
    large = text(CLIENT, b"x" * 20000000)[1]
    ring.say(pair.client, large[:-9])
    pair.server.paused = True
    ring.say(pair.client, large[-9:] + says(CLIENT, TEXT, b"a", fin=0)[1])
    ring.say(pair.client, says(CLIENT, 0, b"b", fin=0)[1])
    ring.advance(8)
    assert pair.client.end is None
    pair.server.paused = False
    ring.settle()
    ring.advance(3)
    ring.say(pair.client, says(CLIENT, 0, b"c")[1])
    assert [f.payload[:1] for f in ws.frames_in(pair.server.received)] == [b"x", b"a", b"b", b"c"]


def test_held_pieces_do_not_keep_it_from_being_idle(ring):
    """Messages that vanish in the end say nothing, however slowly they come."""
    ring.reload({"match": RULE, "idle": 10, "on_violation": "drop_message"})
    pair = Pair(ring)
    for _ in range(6):
        pair.say(says(CLIENT, TEXT, b"NE", fin=0))
        ring.advance(2)
        pair.say(says(CLIENT, 0, b"VER"))
    assert pair.client.end and ring.ended()[-1][1] == "timeout-tunnel"


# Reloads.

RATE = {"client": {"bytes_per_second": 30}, "on_violation": "drop_message"}


def test_what_vanished_before_a_reload_is_forgotten(ring):
    """A message of which nobody asks anything is not part of the one that vanished before it."""
    ring.reload(RATE)
    pair = Pair(ring)
    pair.vanishes(text(CLIENT, b"x" * 31))
    assert pair.events() == ["rate-exceeded"]
    ring.reload()
    pair.passes(says(CLIENT, TEXT, b"x", fin=0))
    ring.reload(RATE)
    pair.is_closed(says(CLIENT, 0, b"x" * 1000), "rate-exceeded", 1008)


def test_what_was_announced_before_a_reload_is_forgotten(ring):
    ring.reload({**RATE, "message_bytes": 50})
    pair = Pair(ring)
    pair.passes(text(CLIENT, b"x" * 30))
    ring.reload({"message_bytes": 50})
    pair.passes(says(CLIENT, TEXT, b"x", fin=0))
    ring.advance(1)
    ring.reload({**RATE, "message_bytes": 50})
    pair.passes(says(CLIENT, 0, b"x" * 29))


def test_a_frame_that_began_before_a_reload(ring):
    frame = says(CLIENT, TEXT, b"x" * 100)[1]
    pair = Pair(ring)
    pair.passes((CLIENT, frame[:20]))
    ring.reload({"match": RULE})
    pair.passes((CLIENT, frame[20:]))
    pair.passes(text(CLIENT))
    pair.is_closed(text(CLIENT, b"NEVER"), "match-denied", 1008, "match-denied: no")


def test_a_limit_that_went_while_a_message_was_held(ring):
    """What is held stays bounded; behind it there is no limit any more."""
    ring.reload({"match": RULE, "message_bytes": 50})
    pair = Pair(ring)
    pair.vanishes(says(CLIENT, TEXT, b"a", fin=0))
    ring.reload({"message_bytes": 0})
    gets(pair, says(CLIENT, 0, b"b"), b"a", b"b")
    pair.passes(says(CLIENT, BINARY, b"x" * 10, fin=0))
    pair.passes((CLIENT, b"\x80\xff" + (17 << 20).to_bytes(8, "big") + b"abcd"))


def test_compression_that_is_not_read_any_more(ring):
    """A message that was cut within a character when it was read last."""
    deflater = Deflater(CLIENT)
    pair = compressed(ring, {"match": RULE, "deflate": "inspect"})
    halves = [deflater.data(b"caf\xc3") + b"\0\0\xff\xff", deflater.data(b"\xa9")]
    pair.vanishes(says(CLIENT, TEXT, halves[0], fin=0, rsv=4))
    ring.reload({"deflate": "pass"})
    gets(pair, says(CLIENT, 0, halves[1]), *halves)
