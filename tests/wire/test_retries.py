# SPDX-License-Identifier: ISC
"""A kept connection that dies under a request: what is asked once more, how often, where, and what the log says of it."""
import errno

import pytest

from lib import ws
from ring import GET, OK, OTHER, Ring, body, post, status

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
UNSAFE_POST = b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
BOTH = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


def retries(ring):
    """(reason, how often it was asked once more) of each exchange that is over."""
    return [(None if r["reason"] == "ok" else r["reason"], r.get("retries", 0)) for r in ring.records() if r["event"] in ("end", "denied")]


@BOTH
def test_the_record_says_that_it_was_asked_once_more(ring, reset):
    client, server = ring.kept()
    ring.say(client, GET)
    server.close(reset)
    fresh = ring.server()
    (row,) = ring.rows()
    assert row["retries"] == 1
    ring.say(fresh, OK)
    assert body(client) == b"ok" and retries(ring) == [(None, 1)]
    client.received.clear()
    ring.say(client, GET)
    ring.say(fresh, OK)
    assert body(client) == b"ok" and retries(ring) == [(None, 0)]


@BOTH
def test_the_next_connection_may_die_under_the_next_request_too(ring, reset):
    client, server = ring.kept()
    for _ in range(3):
        ring.say(client, GET)
        server.close(reset)
        server = ring.server()
        ring.say(server, OK)
        assert body(client) == b"ok" and retries(ring) == [(None, 1)]
        client.received.clear()


@BOTH
@pytest.mark.parametrize("second", [False, True], ids=["fin", "rst"])
def test_the_second_death_is_the_last(ring, reset, second):
    client, server = ring.kept()
    ring.say(client, GET)
    server.close(reset)
    ring.server().close(second)
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert retries(ring) == [("peer-reset" if second else "upstream-closed", 1)]


@BOTH
@pytest.mark.parametrize("said", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"H"])
def test_a_server_that_said_anything_has_seen_the_request(ring, said, reset):
    client, server = ring.kept()
    ring.say(client, GET)
    ring.say(server, said)
    server.close(reset)
    ring.settle()
    assert b"HTTP/1.1 502" in client.received and ring.dial() is None
    assert retries(ring) == [("peer-reset" if reset else "response-truncated", 0)]


@BOTH
@pytest.mark.parametrize("sent", [1, 9, 10])
def test_a_body_that_was_sent_in_part_is_not_sent_again(ring, sent, reset):
    client, server = ring.kept()
    ring.say(client, post(10, b"PUT") + b"A" * sent)
    server.close(reset)
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert retries(ring) == [("retry-unsafe", 0)]


@BOTH
def test_a_body_that_meets_a_dead_connection_is_used_up(ring, reset):
    """Client first: the body is written to a connection whose end nobody has seen yet."""
    client, server = ring.kept()
    ring.say(client, post(100000, b"PUT"))
    client.sock.send(b"A" * 30000)
    server.close(reset)
    ring.settle()
    assert status(client) == 502 and ring.dial() is None
    assert retries(ring) == [("retry-unsafe", 0)]


@BOTH
def test_a_head_that_meets_a_dead_connection(ring, reset):
    """The end lies there before the request: the connection is left without a try, so nothing is sent twice, whatever the method."""
    client, server = ring.kept()
    client.sock.send(UNSAFE_POST)
    server.close(reset)
    ring.settle()
    if client.end is None:      # in a tunnel its end is that of the client, too, if it was seen first
        ring.say(ring.server(), OK)
        assert body(client) == b"ok" and retries(ring) == [(None, 0)]
    assert UNSAFE_POST[:4] not in server.received


@BOTH
def test_requests_that_were_sent_ahead(ring, reset):
    """The one whose connection died is asked once more; the one behind it waits, and is no part of that."""
    client, server = ring.kept()
    ring.say(client, GET + UNSAFE_POST)
    assert server.received.count(b"Host:") == 1
    server.close(reset)
    fresh = ring.server()
    assert fresh.received.startswith(b"GET") and fresh.received.count(b"Host:") == 1
    ring.say(fresh, OK)
    assert fresh.received.count(b"POST") == 1
    fresh.close(reset)
    ring.settle()
    assert ring.dial() is None and retries(ring) == [(None, 1), ("retry-unsafe", 0)]
    assert client.received.count(b"HTTP/1.1 200") == 1 and client.received.count(b"HTTP/1.1 502") == 1


@pytest.mark.not_over("inspected")
@BOTH
def test_the_retry_goes_to_no_other_kept_connection(ring, reset):
    first, kept = ring.asked("shared")
    other, server = ring.asked("shared")
    ring.say(kept, OK)
    ring.say(server, OK)
    for end in (kept, server, first):
        end.received.clear()
    ring.say(first, GET)
    used, idle = (kept, server) if kept.received else (server, kept)
    assert not idle.received
    used.close(reset)
    fresh = ring.server()
    assert fresh.received.startswith(b"GET") and not idle.received
    ring.say(fresh, OK)
    assert body(first) == b"ok"


@BOTH
@pytest.mark.parametrize("second", [False, True], ids=["answered", "dead"])
def test_a_handshake_on_a_kept_connection(ring, reset, second):
    client, server = ring.kept()
    ring.say(client, ws.handshake("/ws", "a.test"))
    server.close(reset)
    fresh = ring.server()
    if second:
        fresh.close(reset)
        ring.settle()
        assert status(client) == 502 and ring.dial() is None
        assert retries(ring) == [("peer-reset" if reset else "upstream-closed", 1)]
        return
    ring.say(fresh, ws.switching())
    assert status(client) == 101
    assert [r.get("retries") for r in ring.records()] == [1]


def test_silence_is_no_death(ring):
    """A request that was received, and to which nobody answers, is not asked again: its server may be at it."""
    client, server = ring.kept()
    ring.say(client, GET)
    ring.advance(7.2)
    assert status(client) == 504 and ring.dial() is None
    assert retries(ring) == [("timeout-response", 0)]


def test_the_first_request_in_a_tunnel_goes_by_a_fresh_connection(ring):
    client, server = ring.tunnel()
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: " + b"127.0.98.1:8000\r\n\r\n")
    server.close()
    ring.settle()
    assert status(client) == 502 and ring.dial() is None and retries(ring)[-1] == ("upstream-closed", 0)


@BOTH
def test_the_next_one_in_a_tunnel_goes_by_a_kept_one(ring, reset):
    client, server = ring.tunnel()
    request = b"GET /x HTTP/1.1\r\nHost: 127.0.98.1:8000\r\n\r\n"
    ring.say(client, request)
    ring.say(server, OK)
    client.received.clear()
    ring.say(client, request)
    server.close(reset)
    fresh = ring.server()
    ring.say(fresh, OK)
    assert body(client) == b"ok" and [entry for entry in retries(ring) if entry[1]] == [(None, 1)]
    fresh.close()
    ring.settle()
    assert client.end


@pytest.fixture
def two(tmp_path):
    """The listener `site` has two upstreams."""
    def change(made):
        next(one for one in made["listeners"] if one["name"] == "site")["upstreams"].append(OTHER)
        return made
    made = Ring(str(tmp_path), change=change)
    yield made
    made.close()


@pytest.mark.parametrize("error, after", [(errno.EADDRNOTAVAIL, 200), (errno.ECONNREFUSED, 503)])
def test_without_a_port_of_ours_no_upstream_is_blamed(two, error, after):
    """Who opens many connections uses our ports up. As soon as there is one again it is used; what a server refused is believed for a while."""
    client = two.client()
    two.host.ask(f"fail {error}")
    two.say(client, GET)
    assert status(client) == 502
    two.host.ask("fail 0")
    client.received.clear()
    two.say(client, GET)
    if after == 200:
        two.say(two.server(), OK)
    assert status(client) == after


@BOTH
@pytest.mark.parametrize("begun", [b"1", b"18\r\n", b"18;a=b"])
def test_a_body_that_was_begun_goes_to_no_other_upstream(two, begun, reset):
    """What was read of its framing cannot be read again: the next one would take the first bytes of a chunk for its size."""
    client = two.client()
    two.say(client, b"PUT /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + begun)
    server = two.server()
    server.close(reset)
    two.settle()
    assert two.dial() is None and status(client) == 502
    assert retries(two) == [("peer-reset" if reset else "upstream-closed", 0)]


@pytest.mark.parametrize("idle", [b"GET /deny HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: \r\n\r\n",
                                  b"GET /x HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"])
def test_who_is_refused_takes_no_try_of_an_upstream(two, idle):
    """One request tries what is down. One that is never sent there tries nothing, and keeps nobody from it."""
    two.host.ask(f"fail {errno.ECONNREFUSED}")
    client = two.client()
    two.say(client, GET)
    assert status(client) == 502
    two.host.ask("fail 0")
    two.advance(2)
    for _ in range(3):
        two.say(two.client(), idle)
    client = two.client()
    two.say(client, GET)
    assert status(client) == 0
    two.say(two.server(), OK)
    assert body(client) == b"ok"
