# SPDX-License-Identifier: ISC
"""What rows and records say of a WebSocket: what passed, what did not, and how it ended."""
import pytest

from lib import ws
from test_ws_contracts import BOTH, CLIENT, SERVER, Pair, says, text

TEXT, BINARY, PING = ws.TEXT, ws.BINARY, ws.PING
DROPS = {"match": [{"name": "no", "pattern": "NEVER"}], "opcodes": ["text"], "on_violation": "drop_message"}


def row(ring):
    (only,) = ring.rows()
    return only


def counted(ring, up):
    way, now = "up" if up else "down", row(ring)
    return now[f"messages_{way}"], {kind: n for kind, n in now[f"frames_{way}"].items() if n}, now[f"bytes_{way}"]


@pytest.mark.parametrize("up", BOTH)
@pytest.mark.parametrize("group", [{}, {"opcodes": ["text"], "on_violation": "log"}, DROPS])
def test_what_passes_is_counted(ring, up, group):
    ring.reload(group)
    pair = Pair(ring)
    before = counted(ring, up)[2]
    said = [text(up), says(up, PING, b"p"), says(up, TEXT, b"a", fin=0), says(up, PING), says(up, 0, b"", fin=0), says(up, 0, b"b")]
    for one in said:
        pair.say(one)
    pair.say((up, text(up)[1] * 3))
    assert counted(ring, up) == (5, {"text": 5, "continuation": 2, "ping": 2}, before + sum(len(data) for _, data in said + [text(up)] * 3))


@pytest.mark.parametrize("up", BOTH)
def test_what_vanishes_is_not(ring, up):
    ring.reload(DROPS)
    pair = Pair(ring)
    pair.passes(text(up))
    before = counted(ring, up)
    pair.vanishes(says(up, BINARY, b"x"))
    pair.vanishes(text(up, b"NEVER"))
    pair.vanishes(says(up, TEXT, b"NE", fin=0))
    pair.vanishes(says(up, 0, b"VER"))
    pair.vanishes(says(up, TEXT, b"waits", fin=0))
    assert counted(ring, up) == before
    pair.say(says(up, 0, b""))
    assert counted(ring, up)[:2] == (2, {"text": 2, "continuation": 1})


def test_pushes_since_the_client_last_spoke(ring):
    ring.reload(DROPS)
    pair = Pair(ring)
    for n in range(3):
        pair.passes(text(SERVER))
        assert row(ring)["pushes"] == n + 1
    pair.vanishes(text(SERVER, b"NEVER"))
    pair.vanishes(text(CLIENT, b"NEVER"))
    pair.vanishes(says(CLIENT, BINARY, b"x"))
    pair.passes(says(CLIENT, PING))
    assert row(ring)["pushes"] == 3
    pair.passes(text(CLIENT))
    assert row(ring)["pushes"] == 0
    pair.passes(text(SERVER))
    assert row(ring)["pushes"] == 1


def test_a_frame_that_offends_is_not_counted(ring):
    pair = Pair(ring)
    pair.say((CLIENT, text(CLIENT)[1] + text(CLIENT, b"\xff")[1]))
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["messages_up"], record["frames_up"]) == ("utf8-invalid", 1, 1)


@pytest.mark.parametrize("up", BOTH)
def test_the_code_is_that_of_the_first_close_frame(ring, up):
    pair = Pair(ring)
    pair.passes(says(up, ws.CLOSE, b"\3\xe8"))
    pair.say((not up, b"\xff\xff"))
    (record,) = [r for r in ring.records() if r["event"] == "end"]
    assert (record["reason"], record["close_code"], record["closed_by"]) == ("frame-malformed", 1000, "postern")


@pytest.mark.parametrize("choice", ["log", "drop_message"])
def test_what_is_let_go_names_its_request(ring, choice):
    ring.reload({"opcodes": ["text"], "on_violation": choice})
    pair = Pair(ring)
    pair.say(says(CLIENT, BINARY, b"x"))
    (denied,) = ring.records()
    assert denied["event"] == "denied"
    pair.passes(says(CLIENT, ws.CLOSE, b"\3\xe8"))
    pair.passes(says(SERVER, ws.CLOSE, b"\3\xe8"))
    ended = ring.records()[-1]
    assert ended["event"] == "end" and denied["request"] == ended["request"] and denied["session"] == ended["session"]
