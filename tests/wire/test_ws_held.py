# SPDX-License-Identifier: ISC
"""Messages that are held: what they count for, how much room and time they have, and what a reload makes of them."""
import pytest

from lib import ws
from ring import close_codes
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
