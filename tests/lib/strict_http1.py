# SPDX-License-Identifier: ISC
"""A strict parser of HTTP/1.1 requests (RFC 9112), written apart from the program's own.

It judges what an origin received: every byte must belong to a request that can be read in one way only. It accepts nothing that RFC
9112 lets a recipient repair (bare LF, obs-fold, space before the colon, lists in Content-Length), and no extension it does not know.
"""
import re
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?\Z")
TARGET = re.compile(rb"[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+\Z")
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
                   rb"(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\"))?)*)\Z")


class Malformed(Exception):
    """The bytes are no strict HTTP/1.1."""


class Incomplete(Exception):
    """The bytes end inside a message: no fault of theirs yet."""


@dataclass
class Request:
    method: bytes
    target: bytes
    version: bytes
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    end: int = 0

    def values(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    @property
    def path(self):
        path = self.target
        if b"://" in path:
            path = b"/" + path.split(b"://", 1)[1].partition(b"/")[2]
        return path.partition(b"?")[0]

    @property
    def upgrades(self):
        return bool(self.values(b"Upgrade"))


def line_at(data, at):
    """The line that begins at `at` without its CRLF, and where the next one begins. A lone CR or LF is an error as soon as it is seen."""
    end = data.find(b"\r\n", at)
    line = bytes(data[at:end if end >= 0 else len(data)])
    if b"\n" in line or b"\0" in line or b"\r" in line.rstrip(b"\r") or (end >= 0 and b"\r" in line):
        raise Malformed(f"bare CR, LF or NUL in {line[:60]!r}")
    if end < 0:
        raise Incomplete
    return line, end + 2


def fields_at(data, at):
    fields = []
    while True:
        line, at = line_at(data, at)
        if line == b"":
            return fields, at
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise Malformed(f"field line {line[:60]!r}")
        value = value.strip(b" \t")
        if not VALUE.match(value):
            raise Malformed(f"field value {line[:60]!r}")
        fields.append((name, value))


def start_line(line):
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Malformed(f"request line {line[:60]!r}")
    method, target, version = parts
    if not TOKEN.match(method) or not TARGET.match(target) or BAD_ESCAPE.search(target):
        raise Malformed(f"request line {line[:60]!r}")
    if method == b"CONNECT":
        right = AUTHORITY.match(target) and b":" in target
    elif target == b"*":
        right = method == b"OPTIONS"
    else:
        right = target.startswith(b"/") or re.match(rb"https?://[^/?]+", target)
    if not right:
        raise Malformed(f"target {target[:60]!r}")
    return method, target, version


def check_host(request):
    hosts = request.values(b"Host")
    if len(hosts) != 1 and (request.version == b"HTTP/1.1" or hosts):
        raise Malformed(f"{len(hosts)} Host fields")
    if hosts and not AUTHORITY.match(hosts[0]):
        raise Malformed(f"Host {hosts[0][:60]!r}")


def framing(request):
    """"chunked", or the length of the body."""
    lengths, codings = request.values(b"Content-Length"), request.values(b"Transfer-Encoding")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or request.version != b"HTTP/1.1":
            raise Malformed(f"framing: {codings} {lengths}")
        return "chunked"
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.match(rb"[0-9]{1,19}\Z", lengths[0]):
        raise Malformed(f"Content-Length {lengths}")
    return int(lengths[0])


def chunks_at(data, at):
    body = bytearray()
    while True:
        line, at = line_at(data, at)
        match = CHUNK.match(line)
        if not match:
            raise Malformed(f"chunk line {line[:60]!r}")
        size = int(match[1], 16)
        if size == 0:
            break
        if len(data) < at + size + 2:
            if not b"\r\n".startswith(bytes(data[at + size:at + size + 2])):
                raise Malformed("no CRLF behind a chunk")
            raise Incomplete
        if data[at + size:at + size + 2] != b"\r\n":
            raise Malformed("no CRLF behind a chunk")
        body += data[at:at + size]
        at += size + 2
    trailers, at = fields_at(data, at)
    for name, _ in trailers:
        if name.lower() in (b"content-length", b"transfer-encoding", b"host", b"trailer"):
            raise Malformed(f"trailer {name!r}")
    return bytes(body), trailers, at


def request_at(data, at):
    line, at = line_at(data, at)
    request = Request(*start_line(line), fields=[])
    request.fields, at = fields_at(data, at)
    check_host(request)
    length = framing(request)
    if length == "chunked":
        request.body, request.trailers, at = chunks_at(data, at)
    else:
        if len(data) < at + length:
            raise Incomplete
        request.body, at = bytes(data[at:at + length]), at + length
    request.end = at
    return request


def requests_in(data, at=0, stop_at_upgrade=False):
    """All complete requests from `at` on, and where the bytes begin that are none yet. Malformed if they can never be one."""
    requests = []
    while at < len(data):
        try:
            request = request_at(data, at)
        except Incomplete:
            break
        requests.append(request)
        at = request.end
        if stop_at_upgrade and request.upgrades:
            break
    return requests, at


STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*\Z")


def answer_body_at(data, at, status, fields, is_head, ended):
    """(body, where it ends) of an answer, as strictly as of a request; one without a length goes to the end of the connection."""
    names = [name.lower() for name, _ in fields]
    if is_head or status < 200 or status in (204, 304):
        return b"", at
    if b"transfer-encoding" not in names and b"content-length" not in names:
        if not ended:
            raise Incomplete
        return bytes(data[at:]), len(data)
    length = framing(Request(b"", b"", b"HTTP/1.1", fields))
    if length == "chunked":
        body, _, at = chunks_at(data, at)
        return body, at
    if len(data) < at + length:
        raise Incomplete
    return bytes(data[at:at + length]), at + length


def answers_in(data, is_head=False, ended=False):
    """[(status, fields, body)] of all complete answers, interim ones among them, and where the bytes begin that are none yet."""
    answers, at = [], 0
    while at < len(data):
        try:
            line, after = line_at(data, at)
            match = STATUS_LINE.match(line)
            if not match:
                raise Malformed(f"status line {line[:60]!r}")
            fields, after = fields_at(data, after)
            body, at = answer_body_at(data, after, int(match[1]), fields, is_head, ended)
        except Incomplete:
            break
        answers.append((int(match[1]), fields, body))
    return answers, at
