# SPDX-License-Identifier: ISC
"""R-01 and R-02: servers that reset, in the middle of an answer or of a request on a kept connection."""
import collections
import itertools
import random
import threading

import pytest

from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import Stage
from steady import FOR_LOAD, LONG, steady

CUTS = 10000 if LONG else 200
REQUESTS = 10000 if LONG else 1500
THREADS = 8
GROWTH = 1.25        # each cut answer is one of the 4,096 ended streams that are remembered, in memory that was not touched before
BOTH = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
FRAMINGS = {"length": (b"Content-Length: 20000\r\n\r\n", b"x" * 10000),
            "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"1388\r\n" + b"x" * 5000 + b"\r\n" + b"2710\r\n" + b"y" * 5000)}


def together(function, *arguments):
    """`function` THREADS times at once; what one of them raises."""
    failures = []

    def run(index):
        try:
            function(index, *arguments)
        except BaseException as failure:        # pylint: disable=broad-except
            failures.append(failure)

    threads = [threading.Thread(target=run, args=[index]) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_r01_an_answer_that_is_cut_looks_cut():
    whole = []

    def cut(connection, request):
        fields, part = FRAMINGS[request.path.rpartition(b"/")[2].decode()]
        connection.send(b"HTTP/1.1 200 OK\r\n" + fields + part)
        connection.close(reset=True)

    def ask(_, stage):
        for turn in range(CUTS // THREADS):
            with Client(stage.proxy) as client:
                path = f"/cut/{list(FRAMINGS)[turn % 2]}"
                client.send(f"GET {stage.url}{path} HTTP/1.1\r\nHost: {stage.origin_authority}\r\n\r\n".encode())
                try:
                    answer = client.response()
                except ConnectionError:
                    continue
                if answer.complete and answer.status == 200:
                    whole.append(answer)

    with Stage(routes={f"/cut/{name}": cut for name in FRAMINGS}, **FOR_LOAD) as stage, steady(stage, growth=GROWTH) as load:
        together(ask, stage)
        assert not whole
        assert sum(path.startswith("/cut/") for path in stage.origin.paths()) == CUTS // THREADS * THREADS
        load.more(100)


class DyingOrigin:
    """Answers a few requests of a connection and ends it when it has read the next one, of whatever kind; counts what it read by number."""

    def __init__(self, reset):
        self.reset, self.seen, self.answered = reset, collections.Counter(), collections.Counter()
        self.random, self._lock = random.Random(11), threading.Lock()

    def serve(self, connection):
        with self._lock:
            lives = self.random.randrange(1, 4)
        for turn in itertools.count():
            request = connection.read_head()
            number = request.path.rpartition(b"/")[2].decode()
            body = sum(len(part) for part in connection.body_parts(request))
            with self._lock:
                self.seen[number] += 1
            if turn == lives:
                connection.close(self.reset)
                return
            with self._lock:
                self.answered[number] += 1
            connection.answer(b"" if request.method == b"HEAD" else f"{number} {body}".encode())


KINDS = [("GET", b""), ("HEAD", b""), ("DELETE", b""), ("PUT", b"12345"), ("POST", b""), ("POST", b"12345"), ("PATCH", b"1")]
SAFE = 3        # how many of them may be asked twice


@BOTH
def test_r02_a_kept_connection_that_dies_under_a_request(reset):
    origin, results = DyingOrigin(reset), {}

    def ask(index, stage):
        client = Client(stage.site)
        for number in range(index, REQUESTS, THREADS):
            method, body = KINDS[number // THREADS % len(KINDS)]
            answer = client.request(method, f"/{number}", stage.site, ["Content-Length: 0"] if method == "POST" and not body else [], body)
            results[str(number)] = answer
            if answer.value("connection") == "close":
                client.close()
                client = Client(stage.site)
        client.close()

    with Stage(handler=origin.serve, **FOR_LOAD) as stage:
        together(ask, stage)
        again = sum(count == 2 for count in origin.seen.values())
        assert again > REQUESTS // 50
        wait_until(lambda: sum(line.get("retries", 0) for line in stage.postern.access()) == again, what=f"{again} retries in the log")
    assert len(results) == REQUESTS
    for number, answer in results.items():
        method, body = KINDS[int(number) // THREADS % len(KINDS)]
        is_safe = KINDS.index((method, body)) < SAFE
        assert answer.status == 200 or (not is_safe and answer.status == 502 and "retry-unsafe" in answer.value("proxy-status")), answer
        assert origin.seen[number] <= 1 + is_safe, f"{method} {number}: {origin.seen[number]} times"
        assert origin.answered[number] == (answer.status == 200)
        assert answer.status != 200 or method == "HEAD" or answer.body == f"{number} {len(body)}".encode(), "somebody else's answer"
