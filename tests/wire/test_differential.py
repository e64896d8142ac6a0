# SPDX-License-Identifier: ISC
"""Three readers see the same messages in whatever leaves Postern: our own strict one, llhttp, and Python's http.client.

Hostile bytes go in, mutations of what the vectors say; what a server receives, and what a client receives, is read by all three. Where two
of them differ somebody could be made to see a request that Postern did not judge. POSTERN_LONG=1 takes 20,000 streams and another seed.
"""
import http.client
import io
import os
import random
import subprocess
import time

import pytest

from lib import strict_http1
from lib.postern import BUILD
from ring import OK
from vectors import data as vector_data, selection

LONG = os.environ.get("POSTERN_LONG") == "1"
STREAMS = 20000 if LONG else 1000
NAMES = {"T": "", "O": "a.test", "OH": "a.test", "OP": "80", "CO": "a.test:80", "PROXY": "127.0.98.2:8080", "OIPHEX": "7f", "OPHEX": "50",
         "PUBLIC_IP_OF_PROXY": "127.0.98.2", "DENIED_IP": "10.0.0.1", "O_TLS": "a.test:443"}
LARGEST = 6000
FRAMING = (b"content-length:", b"transfer-encoding:")
# Good ones, so that much of what is nearly good is among what comes of them.
GOOD = {"client": [b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nX-Some: thing, other\r\n\r\n",
                   b"POST /b?q=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
                   b"PUT /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nETag: x\r\n\r\n",
                   b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nExpect: 100-continue\r\n\r\n"],
        "server": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Some: thing\r\n\r\nhello",
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nETag: x\r\n\r\n",
                   b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
                   b"HTTP/1.0 200 OK\r\n\r\nto the end"]}
# What two parsers have disagreed about before.
WORDS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"+", b"-", b"chunked", b"Chunked", b"Transfer-Encoding: chunked\r\n",
         b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding:\r\n", b"Host: b.test\r\n", b"Connection: close\r\n", b"HTTP/1.0",
         b"0\r\n\r\n", b"5;a=b\r\nhello\r\n", b"ffffffffffffffff\r\n", b"GET /SMUGGLED HTTP/1.1\r\nHost: a.test\r\n\r\n", b"\x0b", b"\x7f", b"\xff",
         b"HTTP/1.1 200 OK\r\n", b"Trailer: X\r\n", b"Expect: 100-continue\r\n", b"Connection: Content-Length\r\n"]


class Llhttp:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "wire", "llhttp_reader")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, kind, data):
        """([(start, fields, body)], verdict); of a request the start is (method, target), of an answer the status."""
        self.process.stdin.write(f"{kind} {len(data)}\n".encode() + data)
        self.process.stdin.flush()
        messages, start, fields, body = [], [], [], b""
        while True:
            letter, _, text = self.process.stdout.readline().decode().strip().partition(" ")
            if letter == ".":
                return messages, text
            raw = bytes.fromhex(text)
            if letter == "S":
                start.append(raw)
            elif letter == "N":
                fields.append((raw, b""))
            elif letter == "V":
                fields[-1] = (fields[-1][0], fields[-1][1] + raw)
            elif letter == "B":
                body += raw
            else:
                messages.append((tuple(start) if kind == "request" else int(start[0]), fields, body))
                start, fields, body = [], [], b""

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Kept(io.BytesIO):
    """http.client closes what it has read; the next message still stands in it."""
    def makefile(self, *_):
        return self

    def close(self):
        pass


def by_http_client(file, method):
    """(status, fields, body) of one answer."""
    answer = http.client.HTTPResponse(file, method=method)
    answer.begin()
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.getheaders()]
    return answer.status, fields, answer.read()


def requests_by_http_client(data):
    """It reads answers: a request is one whose first line is another, and without a length it has no body."""
    found, file = [], Kept(data)
    while file.tell() < len(data):
        words = file.readline().rstrip(b"\r\n").split(b" ")
        here = file.tell()
        head = data[here:data.find(b"\r\n\r\n", here) + 2].lower() if b"\r\n\r\n" in data[here - 2:] else None
        if head is None:
            break
        framed = head.startswith(FRAMING) or any(b"\r\n" + name in head for name in FRAMING)
        rest = Kept(b"HTTP/1.1 200 OK\r\n" + (b"" if framed else b"Content-Length: 0\r\n") + data[here:])
        try:
            _, fields, body = by_http_client(rest, "GET")
        except http.client.IncompleteRead:
            break
        fields = fields if framed else fields[1:]
        found.append((tuple(words[:2]), fields, body))
        file.seek(len(data) - (len(rest.getvalue()) - rest.tell()))
    return found


def answers_by_http_client(data, method, count):
    found, file = [], Kept(data)
    for _ in range(count):
        found.append(by_http_client(file, method))
    return found


def canonical(messages):
    """What must be the same: names in one case, values without the white space around them."""
    return [(start, [(name.lower(), value.strip(b" \t")) for name, value in fields], body) for start, fields, body in messages]


def without_100(messages):
    return [message for message in messages if message[0] != 100]


def seeds_of(side):
    """What vectors make this side say, in one piece."""
    found = []
    for vector in selection.load_vectors():
        if vector["mode"] not in ("http", "forward", "reverse") or vector["run"] != "raw":
            continue
        for step in vector["send"]:
            if (step.get("to") == "proxy" and side == "client" or step.get("from") == "upstream" and side == "server") and "data" in step:
                said = vector_data.bytes_of(step["data"], NAMES)
                found += [said] if 0 < len(said) <= LARGEST else []
    assert len(found) > 50
    return found


def mutated(rng, seeds, good):
    data = bytearray(rng.choice(rng.choice((seeds, good))))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(6)
        if kind == 0:
            data[at:at] = rng.choice(WORDS)
        elif kind == 1:
            del data[at:at + rng.randrange(1, 4)]
        elif kind == 2:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            lines = data.split(b"\r\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            data = bytearray(b"\r\n".join(lines))
        elif kind == 4:
            lines = bytes(data).split(b"\r\n")
            lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(WORDS).strip())
            data = bytearray(b"\r\n".join(lines))
        else:
            data += rng.choice(rng.choice((seeds, good)))
    return bytes(data[:2 * LARGEST])


@pytest.fixture(scope="module")
def llhttp():
    reader = Llhttp()
    yield reader
    reader.close()


@pytest.fixture
def rng():
    seed = time.time_ns() if LONG else 7
    print("seed", seed)
    return random.Random(seed)


def leave(ring, *ends):
    for end in ends:
        end.close()
    ring.settle()
    ring.ends = [end for end in ring.ends if end not in ends]


def serve(ring, data):
    """What each server received of a client that says this; every complete request is answered."""
    client, servers, answered = ring.client("site"), [], []
    client.write(data)
    moved = True
    while moved:
        moved = False
        ring.settle()
        fresh = ring.dial()
        if fresh is not None:
            servers.append(fresh)
            answered.append(0)
            ring.settle()
            moved = True
        for n, server in enumerate(servers):
            requests, _ = strict_http1.requests_in(bytes(server.received))
            if len(requests) > answered[n] and not server.end:
                answered[n] += 1
                server.write(OK)
                moved = True
    leave(ring, client, *servers)
    return [bytes(server.received) for server in servers]


def test_what_a_server_receives(ring, llhttp, rng):
    seeds, reached = seeds_of("client"), 0
    for _ in range(STREAMS):
        said = mutated(rng, seeds, GOOD["client"])
        for received in serve(ring, said):
            ours, at = strict_http1.requests_in(received)
            ours = canonical([((one.method, one.target), one.fields, one.body) for one in ours])
            theirs, verdict = llhttp.read("request", received)
            assert canonical(theirs) == ours and verdict == ("complete" if at == len(received) else "incomplete"), (said, received)
            assert canonical(requests_by_http_client(received[:at])) == ours, (said, received)
            reached += len(ours)
    assert reached > STREAMS / 4     # most of it was about something


def test_what_a_client_receives(ring, llhttp, rng):
    seeds, reached = seeds_of("server"), 0
    for _ in range(STREAMS):
        method, said = rng.choice(("GET", "GET", "HEAD")), mutated(rng, seeds, GOOD["server"])
        client, server = ring.asked(head=f"{method} /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        server.write(said)
        ring.settle()
        leave(ring, server)
        ring.settle()
        received, ended = bytes(client.received), client.end == "fin"
        leave(ring, client)
        ours, at = strict_http1.answers_in(received, method == "HEAD", ended)
        theirs, _ = llhttp.read("head" if method == "HEAD" else "answer", received[:at])
        assert without_100(canonical(theirs)) == without_100(canonical(ours)), (method, said, received)
        counted = without_100(ours)
        assert canonical(answers_by_http_client(received[:at], method, len(counted))) == canonical(counted), (method, said, received)
        assert sum(status >= 200 for status, _, _ in ours) <= 1, (method, said, received)
        reached += len(counted)
    assert reached > STREAMS / 2
