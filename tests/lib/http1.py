# SPDX-License-Identifier: ISC
"""The client's view: answers read from a growing buffer, leniently enough to see what a wrong proxy did."""
import re
import ssl
import time
from dataclasses import dataclass, field

from . import dial, layers
from .postern import PATIENCE

STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\Z")


@dataclass
class Response:
    status: int
    fields: list = field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    end: int = 0         # behind what was read of it
    error: str = ""

    def value(self, name):
        return next((v for n, v in self.fields if n == name.lower()), None)


def head_at(data, at):
    """The answer's head at `at`, or None if it has not all come. error is set if it is no head at all."""
    end = data.find(b"\r\n\r\n", at)
    first = bytes(data[at:at + 5])
    if not b"HTTP/".startswith(first[:5]):
        return Response(0, end=len(data), error=f"no status line: {bytes(data[at:at + 40])!r}")
    if end < 0:
        return None
    lines = bytes(data[at:end]).split(b"\r\n")
    match = STATUS.match(lines[0])
    if not match:
        return Response(0, end=len(data), error=f"no status line: {lines[0][:60]!r}")
    pairs = [line.partition(b":")[::2] for line in lines[1:]]
    fields = [(name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, value in pairs]
    return Response(int(match[1]), fields, end=end + 4)


def read_chunks(data, at, answer):
    body = bytearray()
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            break
        size = bytes(data[at:line_end]).split(b";")[0]
        if not re.match(rb"[0-9A-Fa-f]+\Z", size):
            answer.error = f"chunk line {size[:30]!r}"
            break
        length, at = int(size, 16), line_end + 2
        if length == 0:
            end = data.find(b"\r\n\r\n", line_end)
            answer.complete = end >= 0
            at = end + 4 if end >= 0 else at
            break
        body += data[at:at + length]
        if len(data) < at + length + 2:
            break
        at += length + 2
    answer.body, answer.end = bytes(body), min(at, len(data))
    return answer


def has_body(status, method):
    return not (status < 200 or status in (204, 304) or method == b"HEAD" or (method == b"CONNECT" and status < 300))


def response_at(data, at, method=b"GET", ended=False):
    """The answer at `at` with as much of its body as there is, or None. `ended`: no more bytes will come."""
    answer = head_at(data, at)
    if answer is None or answer.error:
        return answer
    if not has_body(answer.status, method):
        answer.complete = True
    elif "chunked" in (answer.value("transfer-encoding") or "").lower():
        return read_chunks(data, answer.end, answer)
    else:
        length = answer.value("content-length")
        rest = len(data) - answer.end
        want = int(length) if length and length.isdigit() else None
        answer.complete = ended if want is None else rest >= want
        take = rest if want is None else min(rest, want)
        answer.body = bytes(data[answer.end:answer.end + take])
        answer.end += take
    return answer


class Client:
    """A blocking client connection for tests that read as a script does."""

    def __init__(self, authority, timeout=PATIENCE, source=None, tls=None, name=None):
        """`tls`: an ssl.SSLContext; `name`: of the server, for SNI and its certificate."""
        self.socket = layers.enter(authority, dial.connect(authority, timeout, source))
        if tls:
            self.secure(tls, name)
        self.timeout = timeout
        self.received, self.offset, self.ended = bytearray(), 0, False

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def secure(self, tls, name):
        """From now on TLS: at once, or inside a tunnel."""
        try:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        except BaseException:
            self.socket.close()
            raise

    def tunnel(self, authority):
        """CONNECT; the answer."""
        self.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        return self.response(b"CONNECT")

    def send(self, data):
        self.socket.sendall(data)

    def more(self, deadline):
        """Reads once; False when the other side has closed. TimeoutError if nothing came."""
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self.received += data
        self.ended = not data
        return bool(data)

    def response(self, method=b"GET", seconds=None, interim=False):
        """The next final answer (with `interim`, the next of any kind), complete; ConnectionError if the other side closed before."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while True:
            answer = response_at(self.received, self.offset, method, self.ended)
            if answer is not None and (answer.complete or answer.error or self.ended):
                if answer.error:
                    raise ConnectionError(answer.error)
                if not answer.complete:
                    raise ConnectionError(f"answer {answer.status} was cut after {len(answer.body)} bytes of body")
                self.offset = answer.end
                if interim or answer.status >= 200 or answer.status == 101:
                    return answer
                continue
            if self.ended:
                raise ConnectionError("closed without an answer")
            self.more(deadline)

    def read_until(self, fits, seconds=None):
        """Reads until fits(bytes that are not consumed yet) is true; returns what it returned."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while True:
            found = fits(bytes(self.received[self.offset:]))
            if found:
                return found
            if self.ended:
                raise ConnectionError("closed before that came")
            self.more(deadline)

    def exactly(self, count, seconds=None):
        self.read_until(lambda data: len(data) >= count, seconds)
        self.offset += count
        return bytes(self.received[self.offset - count:self.offset])

    def wait_close(self, seconds=None):
        """Reads until the other side closes; returns what came meanwhile."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while not self.ended:
            self.more(deadline)
        return bytes(self.received[self.offset:])

    def request(self, method, target, host, fields=(), body=b""):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        return self.response(method.encode())

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
