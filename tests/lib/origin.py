# SPDX-License-Identifier: ISC
"""An origin server that does what a test tells it, right or wrong. One thread a connection; every byte that came is kept."""
import contextlib
import hashlib
import re
import socket
import struct
import threading

from . import strict_http1, ws
from .postern import PATIENCE

RECORD_MAX = 1 << 20


class Gone(Exception):
    """The other side closed."""


class Connection:
    """The origin's end of one connection."""

    def __init__(self, sock, peer=None):
        self.socket, self.peer, self.dialled = sock, peer, sock.getsockname()[0]
        self.received = bytearray()      # the first RECORD_MAX bytes of everything
        self.buffer = bytearray()        # not consumed yet
        self.requests = []
        self.ended = threading.Event()
        self.server, self._closing = None, threading.Lock()      # the thread that serves it

    def more(self, size=262144):
        try:
            data = self.socket.recv(size)
        except OSError:
            data = b""
        if not data:
            self.ended.set()
            raise Gone
        self.received += data[:max(0, RECORD_MAX - len(self.received))]
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        return self.take(self.buffer.index(b"\r\n") + 2)[:-2]

    def read_head(self):
        """The next request's head, strictly parsed."""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head = self.take(self.buffer.index(b"\r\n\r\n") + 4)
        line, at = strict_http1.line_at(head, 0)
        request = strict_http1.Request(*strict_http1.start_line(line), fields=[])
        request.fields, _ = strict_http1.fields_at(head, at)
        self.requests.append(request)
        return request

    def body_parts(self, request):
        """The body as it comes, never whole in memory."""
        length = strict_http1.framing(request)
        if length == "chunked":
            while (size := int(self.line().split(b";")[0], 16)) > 0:
                yield self.take(size)
                self.take(2)
            while self.line():
                pass
            return
        while length > 0:
            if not self.buffer:
                self.more()
            part = self.take(min(length, len(self.buffer)))
            length -= len(part)
            yield part

    def read_request(self):
        request = self.read_head()
        request.body = b"".join(self.body_parts(request))
        return request

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.ended.set()
            raise Gone from None

    def answer(self, body=b"ok", status="200 OK", fields=()):
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
        self.send(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body)

    def wait_end(self, seconds=15.0):
        """Reads until the other side closes."""
        self.socket.settimeout(seconds)
        try:
            while True:
                self.more()
        except Gone:
            pass

    def close(self, reset=False):
        """Only the thread that serves the connection closes it. For any other it is shut down, which that thread sees: closed under it, the
        descriptor's number would be another connection's, whose first bytes it would read."""
        with self._closing:
            with contextlib.suppress(OSError):
                if reset:
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.socket.shutdown(self.socket, socket.SHUT_RD if reset else socket.SHUT_RDWR)
            if threading.get_ident() == self.server:
                self.socket.close()


def digest(connection, request):
    """Answers an upload with its length and hash."""
    total, sha = 0, hashlib.sha256()
    for part in connection.body_parts(request):
        total += len(part)
        sha.update(part)
    connection.answer(f"{total} {sha.hexdigest()}".encode())


def echo_websocket(connection, request):
    """A WebSocket server that sends back each message and answers pings and the close."""
    offered = request.values(b"Sec-WebSocket-Protocol")
    chosen = offered[0].split(b",")[0].strip().decode() if offered else None
    connection.send(ws.switching(request.values(b"Sec-WebSocket-Key")[0], chosen))
    while True:
        frame = ws.frame_at(connection.buffer, 0)
        if frame is None or not frame.complete:
            connection.more()
            continue
        del connection.buffer[:frame.end]
        if frame.op == ws.CLOSE:
            connection.send(ws.frame(ws.CLOSE, frame.payload))
            return
        op = ws.PONG if frame.op == ws.PING else frame.op
        if frame.op != ws.PONG:
            connection.send(ws.frame(op, frame.payload, int(frame.fin)))


class Origin:
    """Listens at once. `routes`: path -> function(connection, request); or `handler`: function(connection) for the whole connection.
    `tls`: an ssl.SSLContext that all of it goes through."""

    def __init__(self, address, port=8000, routes=None, handler=None, tls=None):
        self.routes, self.handler, self.tls = {} if routes is None else routes, handler, tls
        self.connections, self._lock = [], threading.Lock()
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((address, port))
        self.socket.listen(512)
        host = f"[{address}]" if ":" in address else address
        self.authority = f"{host}:{self.socket.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.socket.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, peer[0])
            with self._lock:
                self.connections.append(connection)
            threading.Thread(target=self._run, args=[connection], daemon=True).start()

    def _run(self, connection):
        connection.server = threading.get_ident()
        try:
            if self.tls:
                connection.socket = self.tls.wrap_socket(connection.socket, server_side=True)
            (self.handler or self._serve)(connection)
        except (Gone, OSError):
            pass
        except strict_http1.Malformed as error:
            connection.malformed = str(error)
        finally:
            connection.close()

    def _serve(self, connection):
        while True:
            request = connection.read_head()
            route = self.routes.get(request.path.decode("latin-1"))
            if route:
                route(connection, request)
            elif request.upgrades:
                echo_websocket(connection, request)
                return
            else:
                for _ in connection.body_parts(request):
                    pass
                self.default(connection, request)

    def default(self, connection, request):
        connection.answer(b"" if request.method == b"HEAD" else b"ok")

    @property
    def requests(self):
        return [request for connection in list(self.connections) for request in list(connection.requests)]

    def paths(self):
        return [re.sub(rb"\?.*", b"", request.target).decode("latin-1") for request in self.requests]

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE)
        self.socket.close()
        for connection in list(self.connections):
            connection.close()
