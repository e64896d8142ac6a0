# SPDX-License-Identifier: ISC
"""Names that cannot be resolved, and servers that cannot be reached: one answer each, and the client goes on."""
import pytest

from lib import ws
from lib.http1 import Client
from lib.stage import Stage


def absolute(authority, path="/"):
    return f"GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


@pytest.mark.parametrize("timeout", [0.3, 5.0])
def test_a_name_that_fails_is_answered_once(timeout):
    """The head waits in the connection while its name is asked for; refused, it must not be read again."""
    with Stage(resolver={"servers": ["127.0.0.1:9"], "timeout": timeout}) as stage, Client(stage.proxy) as client:
        client.send(absolute("nix.invalid"))
        assert client.response().status in (502, 504)
        client.send(absolute(stage.origin_authority))
        assert client.response().status == 200
        client.send(absolute(stage.origin_authority, "/again"))
        assert client.response().status == 200


def test_requests_sent_behind_a_failing_name_are_answered_in_order():
    with Stage(resolver={"servers": ["127.0.0.1:9"], "timeout": 0.3}) as stage, Client(stage.proxy) as client:
        client.send(absolute("nix.invalid") + absolute(stage.origin_authority))
        assert [client.response().status in (502, 504), client.response().status] == [True, 200]


def test_pings_in_one_write_are_counted():
    """A hundred control frames in ten seconds pass, also at once; one more does not."""
    for count, closes in ((100, False), (101, True)):
        with Stage() as stage, Client(stage.proxy) as client:
            client.send(ws.handshake(f"{stage.url}/", stage.origin_authority))
            assert client.response().status == 101
            client.send(ws.frame(9, b"", mask=True) * count + ws.frame(1, b"end", mask=True))
            if closes:
                client.wait_close()
            else:
                client.read_until(lambda data: b"end" in data)
