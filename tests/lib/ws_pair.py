# SPDX-License-Identifier: ISC
"""Both ends of WebSockets through Postern, as plain sockets: a test writes frames on one end and reads what arrives at the other."""
import contextlib
import errno
import queue
import re
import socket
import ssl
import threading
import time

from . import dial, layers, ws
from .http1 import response_at
from .postern import PATIENCE
from .stage import ORIGIN_PORT, Stage

SOON = 0.02
OF_WEBSOCKET = {"method": "GET"}      # and not of the CONNECT around it


def listen(address, port):
    """Whoever had this address before may not have been woken from accept() yet, and listens until then."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_server((address, port), backlog=512)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise
            time.sleep(0.05)


class End:
    """One end: reads frames one by one; answers nothing by itself unless `lively` (pings, then)."""

    def __init__(self, sock, mask, rest=b"", lively=False):
        self.socket, self.mask, self.buffer, self.ended, self.lively = sock, mask, bytearray(rest), False, lively
        self.parts, self.op = [], 0
        self.pinged = []
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, op, payload=b"", fin=1, rsv=0):
        self.socket.sendall(ws.frame(op, payload, fin, rsv, self.mask))

    def say(self, op, payload):
        """A message; a list of payloads is sent as fragments."""
        parts = payload if isinstance(payload, list) else [payload]
        for number, part in enumerate(parts):
            self.send(op if number == 0 else 0, part, int(number == len(parts) - 1))

    def close(self, code=1000, reason=b""):
        self.socket.sendall(ws.close_frame(code, reason, self.mask))

    def frame(self, seconds=PATIENCE):
        """The next whole frame; None when the connection has ended (a part of a frame is then left in `buffer`)."""
        deadline = time.monotonic() + seconds
        while True:
            found = ws.frame_at(self.buffer, 0)
            if found and found.complete:
                del self.buffer[:found.end]
                return found
            if self.ended:
                return None
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(262144)
            except TimeoutError:
                raise
            except OSError:
                data = b""
            self.buffer += data
            self.ended = not data

    def message(self, seconds=PATIENCE):
        """The next (opcode, payload) of a message or control frame; None at the end."""
        while True:
            frame = self.frame(seconds)
            if frame is None:
                return None
            if frame.op == ws.PING and self.lively:
                self.pinged.append(frame.payload)
                self.send(ws.PONG, frame.payload)
            elif frame.op >= 8:
                return frame.op, frame.payload
            else:
                self.op = frame.op or self.op
                self.parts.append(frame.payload)
                if frame.fin:
                    payload, self.parts = b"".join(self.parts), []
                    return self.op, payload

    def closed(self, seconds=PATIENCE):
        """(code, reason) of the close frame, and then the connection's end, whatever comes before them; (1006, "") without one."""
        close = (1006, "")
        while (found := self.message(seconds)) is not None:
            if found[0] == ws.CLOSE:
                close = (int.from_bytes(found[1][:2], "big") if found[1] else 1005, found[1][2:].decode())
        return close

    def is_silent(self, seconds=0.3):
        try:
            self.socket.settimeout(seconds)
            data = self.socket.recv(262144)
            self.buffer += data
            self.ended = not data
            return False
        except TimeoutError:
            return not self.buffer

    def drop(self):
        """Ends the connection without a close frame; a thread that reads from it sees the end. The descriptor goes with the last who holds
        the socket: closed here, its number might be another connection's by the time that thread reads."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Silent(Exception):
    """Closed without a byte: a server that is dialled before there is a request."""


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(answer.status)
        self.answer = answer


class Pair:
    """`client` and `server` behind the handshakes; `request` is the head that the server got, `answer` what the client got."""

    def __init__(self, world, path, way="absolute", extensions=None, accepted=None, source=None, origin=None, lively=False):
        self.world = world
        way = "tunnel" if world.stage.layer == layers.INSPECTED else way
        sock = self._dial(way, source)
        self.port = sock.getsockname()[1]
        target = f"{world.stage.url}{path}" if way == "absolute" else path
        more = f"Sec-WebSocket-Extensions: {extensions}\r\n\r\n".encode() if extensions else b"\r\n"
        sock.sendall(ws.handshake(target, world.stage.origin_authority, origin)[:-2] + more)
        sock.settimeout(PATIENCE)
        self.request, server = self._accept(sock)
        more = f"Sec-WebSocket-Extensions: {accepted}\r\n\r\n".encode() if accepted else b"\r\n"
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.request)[1]
        server.sendall(ws.switching(key)[:-2] + more)
        self.answer, rest = self.head(sock)
        self.client, self.server = End(sock, True, rest, lively), End(server, False, lively=lively)

    def _dial(self, way, source):
        stage = self.world.stage
        authority = stage.site if way == "reverse" else stage.proxy
        sock = layers.enter(authority, dial.connect(authority, PATIENCE, source))
        if way == "tunnel" and stage.layer != layers.INSPECTED:
            authority = stage.origin_authority
            sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            assert self.head(sock)[0].startswith(b"HTTP/1.1 200")
        return sock

    @staticmethod
    def head(sock):
        data = bytearray()
        while b"\r\n\r\n" not in data:
            part = sock.recv(65536)
            if not part and not data:
                raise Silent
            assert part, f"closed behind {bytes(data)!r}"
            data += part
        end = data.index(b"\r\n\r\n") + 4
        return bytes(data[:end]), bytes(data[end:])

    def _accept(self, client):
        """The server's connection and the head on it; Refused if the client is answered instead."""
        deadline, answer = time.monotonic() + PATIENCE, bytearray()
        while time.monotonic() < deadline:
            try:
                server, _ = self.world.accept()
                server.settimeout(PATIENCE)
                head, rest = self.head(server)
                assert not rest
                return head, server
            except (TimeoutError, Silent):
                pass
            try:
                client.setblocking(False)
                answer += client.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            finally:
                client.settimeout(PATIENCE)
            found = response_at(answer, 0)
            if found and found.complete:
                client.close()
                raise Refused(found)
        raise AssertionError(f"neither dialled nor answered: {bytes(answer)!r}")

    def wait_record(self, **facts):
        """The first record of this WebSocket with these facts."""
        return self.world.postern.record_of(self.port, **OF_WEBSOCKET, **facts)

    def drop(self):
        self.client.drop()
        self.server.drop()


class PairWorld:
    """A stage whose origin is a bare socket. `groups`: path (without the slash) -> websocket group; one policy for each, of that name.
    `layer`: in clear, or over TLS (lib/layers.py)."""

    def __init__(self, groups, layer=layers.CLEAR, **overrides):
        policies = [{"name": name, "from": "client", "paths": [f"/{name}", f"/{name}/*"], "protocols": ["websocket"], "action": "allow",
                     **({"websocket": group} if group else {})} for name, group in groups.items()]
        tunnels = {"name": "tunnels", "from": "client", "to": "origin", "methods": ["CONNECT"], "protocols": ["http"], "action": "allow"}
        overrides.setdefault("policies", [*policies, tunnels])
        self.stage = Stage(origin=False, clients="127.0.0.0/28", layer=layer, **overrides)
        self.settings = self.stage.settings
        self.listener = listen(f"{self.stage.lease.prefix}.1", ORIGIN_PORT)
        self.secured = self._securing = None
        if self.stage.tls:
            self.secured = queue.Queue()
            self._securing = threading.Thread(target=self._secure, daemon=True)
            self._securing.start()

    def _secure(self):
        """The server's handshake comes before the client's: somebody must be there for it."""
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self.secured.put((self.stage.tls.wrap_socket(sock, server_side=True), peer))

    def accept(self):
        """The next connection to the server; TimeoutError if it does not come at once."""
        if self.secured is None:
            self.listener.settimeout(SOON)
            return self.listener.accept()
        try:
            return self.secured.get(timeout=SOON)
        except queue.Empty:
            raise TimeoutError from None

    @property
    def postern(self):
        return self.stage.postern

    def pair(self, path, **options):
        return Pair(self, path, **options)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        if self._securing:
            self._securing.join(PATIENCE)       # who waits in accept() would keep it listening
        self.listener.close()
        self.stage.__exit__(*failure)
