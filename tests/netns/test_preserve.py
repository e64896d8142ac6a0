# SPDX-License-Identifier: ISC
"""preserve_client_address: servers see who asks, though it is the gateway that asks them."""
import os
import signal

from lib import ws
from lib.netns import CLIENT, SECOND, SERVER, SYN
from lib.netns_stage import NetStage
from lib.postern import wait_until


def preserving(intercept, **more):
    return NetStage(intercept, listener={"preserve_client_address": True}, **more)


def peers(stage, family):
    return [one.peer for one in stage.http[family].connections if one.requests]


def test_the_origin_sees_the_client(intercept, family):
    with preserving(intercept) as stage, stage.net.server.capture() as outside:
        body = os.urandom(500_000)
        stage.routes["/large"] = lambda connection, request: connection.answer(body)
        with stage.dial(SERVER[family]) as first, stage.dial(SERVER[family], where=stage.net.second) as second:
            assert first.request("GET", "/large", "web.test").body == body
            assert second.request("GET", "/large", "web.test").body == body
            assert sorted(peers(stage, family)) == sorted([CLIENT[family], SECOND[family]])
            row = next(row for row in stage.sessions("mode=transparent") if CLIENT[family] in row["client"])
            assert CLIENT[family] in row["upstream"]
        assert {packet.source for packet in outside.of(lambda packet: packet.incoming and packet.family == family)} == {CLIENT[family], SECOND[family]}


def test_websockets_and_tls(intercept, family):
    with preserving(intercept) as stage:
        with stage.dial(SERVER[family]) as client:
            client.send(ws.handshake("/ws", "web.test") + ws.frame(ws.TEXT, b"hello", mask=True))
            client.read_until(lambda data: b"hello" in data)
        assert stage.curl(f"-{family}", "https://tls.test/").stdout == "ok"
        assert [one.peer for one in stage.tls[family].connections[:1]] in ([CLIENT[family]], [])


def test_masquerade_does_not_hide_them(family):
    """masquerade is for what the kernel forwards; a worker's own flow keeps the address that it was given."""
    with preserving("tproxy", packet_filter={"masquerade": ["outside"]}) as stage:
        assert stage.get(SERVER[family]).status == 200
        assert peers(stage, family) == [CLIENT[family]]


def test_without_the_filter_process_nothing_is_dialled_from_another_address(family):
    with preserving("tproxy") as stage, stage.net.server.capture() as outside:
        (pid,) = stage.postern.pids("filter")
        os.kill(pid, signal.SIGSTOP)
        with stage.dial(SERVER[family], timeout=1) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
            try:
                client.response(seconds=1)
            except (TimeoutError, ConnectionError):
                pass
            assert not outside.of(lambda packet: packet.flags & SYN and packet.incoming)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: stage.get(SERVER[family]).status == 200, what="service again")
        assert set(peers(stage, family)) == {CLIENT[family]}
