# SPDX-License-Identifier: ISC
"""While places are short no client has more than its share: one that floods is refused, others are let in, and streams are left alone."""
import collections
import contextlib

import pytest

from lib import ws
from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage

PLACES = 40
GREEDY, OTHERS = "127.0.0.2", [f"127.0.0.{last}" for last in range(3, 3 + PLACES // 4)]
LIMITS = {"sessions": PLACES, "sessions_per_client": PLACES}


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def stage(request):
    with Stage(clients="127.0.0.0/26", limits=LIMITS, workers=request.param) as made:
        yield made


def ask(client, stage):
    return client.request("GET", f"{stage.url}/", stage.origin_authority)


def somebody(stage):
    """Another client, which has one connection."""
    client = Client(stage.proxy, source=OTHERS[-1])
    assert ask(client, stage).status == 200
    return client


class Flooder:
    """Connections of one client, each used once, as many as are admitted; of the others is counted how they ended."""

    def __init__(self, stage, count, stack, source=GREEDY):
        self.open, self.ended = [], collections.Counter()
        for _ in range(count):
            client = stack.enter_context(Client(stage.proxy, source=source))
            try:
                answer = ask(client, stage)
            except (ConnectionError, OSError):
                self.ended["closed"] += 1
                continue
            if answer.status == 200 and answer.value("connection") != "close":
                self.open.append(client)
            else:
                self.ended[answer.status] += 1
                client.close()


def counter(stage, name):
    return stage.postern.ctl("status")["sessions"][name]


def test_the_last_quarter_is_not_one_clients(stage):
    """It keeps three quarters: beyond that its own idle connections go. Everybody else gets in, one by one, to the last place."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(somebody(stage))
        flood = Flooder(stage, PLACES * 2, stack)
        alive = PLACES * 2 - sum(map(is_closed, flood.open)) - sum(flood.ended.values())
        assert PLACES // 2 <= alive <= PLACES * 3 // 4 + 1, (alive, flood.ended)
        for source in OTHERS[:PLACES // 4 - 1]:
            client = stack.enter_context(Client(stage.proxy, source=source))
            assert ask(client, stage).status == 200, source


def streams_of(stage, count, stack, source=GREEDY):
    """WebSockets, as many as are let in."""
    streams = []
    for _ in range(count):
        client = stack.enter_context(Client(stage.proxy, source=source))
        client.send(ws.handshake(f"{stage.url}/ws", stage.origin_authority))
        with contextlib.suppress(ConnectionError, OSError):
            if client.response().status == 101:
                streams.append(client)
    return streams


def test_one_that_is_alone(stage):
    """It gets all but the last place, which another one gets; then it is one of two."""
    with contextlib.ExitStack() as stack:
        streams = streams_of(stage, PLACES, stack)
        assert len(streams) == PLACES - 1
        other = stack.enter_context(somebody(stage))
        for client in streams[:PLACES // 5]:
            client.close()
        wait_until(lambda: counter(stage, "open") <= PLACES - PLACES // 5, what="places")
        assert not streams_of(stage, 3, stack)
        assert ask(other, stage).status == 200
        assert len(streams_of(stage, 3, stack, OTHERS[1])) == 3


def test_idle_connections_of_the_greedy_go_first(stage):
    """One used its connections and keeps all; others come, more than there are places left: all are served, because idle ones go."""
    with contextlib.ExitStack() as stack:
        flood = Flooder(stage, PLACES, stack)
        before = len(flood.open)
        for source in OTHERS * 3:
            client = stack.enter_context(Client(stage.proxy, source=source))
            assert ask(client, stage).status == 200, source
        closed = [client for client in flood.open if is_closed(client)]
        assert 0 < len(closed) < before


def is_closed(client):
    client.socket.settimeout(0.001)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_streams_of_the_greedy_are_left_alone(stage):
    """WebSockets are at work: none is closed. Who comes then gets what is left, and is told so when nothing is."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(somebody(stage))
        streams = streams_of(stage, PLACES, stack)
        assert len(streams) == PLACES * 3 // 4
        for source in OTHERS[:PLACES // 4 - 1]:
            client = stack.enter_context(Client(stage.proxy, source=source))
            assert ask(client, stage).status == 200, source
        for client in streams:
            client.send(ws.frame(ws.TEXT, b"here", mask=True))
        for client in streams:
            assert client.exactly(6) == ws.frame(ws.TEXT, b"here")


def test_room_again(stage):
    """When the crowd has gone nobody is held to anything."""
    with contextlib.ExitStack() as stack:
        Flooder(stage, PLACES, stack)
    wait_until(lambda: counter(stage, "open") == 0, what="no session")
    with contextlib.ExitStack() as stack:
        assert len(Flooder(stage, PLACES // 2, stack).open) == PLACES // 2


def test_a_flood_of_refused(stage):
    """Who is refused takes no place that others could have: some are told, the others closed, and one who has a share is served meanwhile."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(somebody(stage))
        Flooder(stage, PLACES, stack)
        silent = [stack.enter_context(Client(stage.proxy, source=GREEDY)) for _ in range(200)]
        other = stack.enter_context(Client(stage.proxy, source=OTHERS[0]))
        assert ask(other, stage).status == 200
        wait_until(lambda: sum(map(is_closed, silent)) >= 200 - 2 * 64, what="connections that are closed at once")
