# SPDX-License-Identifier: ISC
"""Two implementations of WebSocket that are not ours, as ends of streams through Postern: python3-websockets (without its I/O) and the npm
package ws (tests/e2e/ws_end.js). Each is a client or a server, plays a plan and reports what it saw, in order: (opcode, length, MD5) for
each message and each control frame, then the close code and reason.

A plan: `steps` to send, `expect`, how many events the other end sends, and `close`, [code, reason] for the end that closes once it has
seen them all, else None. Payloads are cut from two pools, so that plans stay small.
"""
import hashlib
import json
import os
import queue
import random
import re
import selectors
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field

from websockets.client import ClientConnection
from websockets.connection import State
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.server import ServerConnection
from websockets.uri import parse_uri

from .postern import ROOT, die_with_parent

NODE_MODULES = os.path.join(ROOT, "tests", "e2e", "node_modules")
POOL = 200000
PATIENCE = 60.0
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def make_pools(rng):
    """(text, binary): characters of all lengths with runs of ASCII between them, and bytes that compress a little."""
    text = bytearray()
    while len(text) < POOL:
        text += ("".join(rng.choices("abcdef {}\":,0123", k=rng.randint(0, 24))) + rng.choice(["é", "ß", "€", "語", "😀", "\0", "\x7f"])).encode()
    return bytes(text), b"".join(rng.choice([rng.randbytes(16), b"\0" * 16, b"postern postern "]) for _ in range(POOL // 16))


@dataclass
class Plan:
    id: str
    steps: list
    expect: int
    close: list = None
    deflate: dict = None       # see deflate_of(); None: not offered, not accepted
    dial: dict = None


@dataclass
class Seen:
    """What one end saw of one stream."""
    events: list = field(default_factory=list)
    extensions: str = ""
    closed: tuple = None
    error: str = ""
    over: threading.Event = field(default_factory=threading.Event)


def digest(op, data):
    return op, len(data), hashlib.md5(data).hexdigest()


class QuietPongs:
    """Without automatic pongs: only what the plan says is sent."""

    def send_frame(self, frame):
        if frame.opcode is not Opcode.PONG or self.planned:
            super().send_frame(frame)

    planned = False


class QuietClient(QuietPongs, ClientConnection):
    pass


class QuietServer(QuietPongs, ServerConnection):
    pass


class PythonStream:
    """One stream, run by a thread of its own."""

    def __init__(self, connection, sock, plan, seen, pools):
        self.connection, self.socket, self.plan, self.seen, self.pools = connection, sock, plan, seen, pools
        self.out, self.message, self.shut, self.played = bytearray(), [], False, False
        self.again = 0
        self.rng = random.Random(plan.id)

    def play(self):
        self.seen.extensions = ",".join(one.name for one in self.connection.extensions)
        for step in self.plan.steps:
            self.connection.planned = True
            if step[0] == "f":
                self._frame(*step[1:])
            else:
                getattr(self.connection, f"send_{step[0]}")(bytes.fromhex(step[1]))
            self.connection.planned = False
        self.played = True
        self._maybe_close()

    def _frame(self, kind, start, length, fin):
        data = self.pools[kind - 1][start:start + length]
        if self.connection.expect_continuation_frame:
            self.connection.send_continuation(data, fin)
        else:
            (self.connection.send_text if kind == 1 else self.connection.send_binary)(data, fin)

    def _maybe_close(self):
        if self.played and self.plan.close and len(self.seen.events) == self.plan.expect and self.connection.state is State.OPEN:
            self.connection.send_close(*self.plan.close)

    def _event(self, frame):
        if frame.opcode is Opcode.CLOSE:
            return
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            self.seen.events.append(digest(int(frame.opcode), bytes(frame.data)))
        else:
            self.message.append((int(frame.opcode), bytes(frame.data)))
            if not frame.fin:
                return
            self.seen.events.append(digest(self.message[0][0], b"".join(data for _, data in self.message)))
            self.message = []
        self._maybe_close()

    def _take(self, data):
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        for event in self.connection.events_received():
            if hasattr(event, "opcode"):
                self._event(event)
            elif isinstance(self.connection, ServerConnection):
                self.connection.send_response(self.connection.accept(event))
        if self.connection.state is State.OPEN and not self.played:
            self.play()

    def _write(self):
        """In one piece, or in small ones: a proxy must not care."""
        for data in self.connection.data_to_send():
            self.shut = self.shut or not data
            self.out += data
        if self.out:
            size = self.again or self.rng.choice([1, 7, 500, 65536, 262144, 262144, 262144])
            self.again = 0
            try:
                del self.out[:self.socket.send(self.out[:size])]
            except NOT_NOW:
                self.again = size       # TLS wants the same once more
        elif self.shut:
            self.shut = False
            self.socket.shutdown(socket.SHUT_WR)

    def run(self, first=b""):
        try:
            self._run(first)
        except Exception as error:
            self.seen.error = self.seen.error or repr(error)
        self.socket.close()
        self.seen.closed = (self.connection.close_code, self.connection.close_reason)
        self.seen.error = self.seen.error or str(self.connection.parser_exc or getattr(self.connection, "handshake_exc", None) or "")
        self.seen.over.set()

    def _run(self, first):
        self.socket.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            if first:
                self._take(first)
            while self.connection.state is not State.CLOSED:
                self._write()
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.modify(self.socket, both if self.out or self.shut else selectors.EVENT_READ)
                ready = selector.select(PATIENCE)
                if not ready:
                    raise TimeoutError("nothing comes")
                if ready[0][1] & selectors.EVENT_READ:
                    self._read()

    def _read(self):
        """All that has come: TLS may hold more than the socket says."""
        try:
            while data := self.socket.recv(262144):
                self._take(data)
            self._take(b"")
        except NOT_NOW:
            pass


class PythonEnds:
    """`tls`: an ssl.SSLContext of the server's end; None: in clear. A plan's `dial` may have `enter`, which makes a socket one with TLS."""

    def __init__(self, address, port, pools, tls=None):
        self.pools, self.tls, self.served = pools, tls, {}
        self.listener = socket.create_server((address, port), backlog=128)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def add(self, plan):
        seen = Seen()
        if not plan.dial:
            self.served[plan.id] = (plan, seen)
        else:
            threading.Thread(target=self._dial, args=[plan, seen], daemon=True).start()
        return seen

    def _dial(self, plan, seen):
        try:
            self._connect(plan, seen)
        except Exception as error:
            seen.error = repr(error)
            seen.over.set()

    def _connect(self, plan, seen):
        dial = plan.dial
        sock = socket.create_connection((dial["host"], dial["port"]), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if dial.get("enter"):
            sock = dial["enter"](sock)
        if dial.get("tunnel"):
            sock.sendall(f"CONNECT {dial['tunnel']} HTTP/1.1\r\nHost: {dial['tunnel']}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += sock.recv(1) or (_ for _ in ()).throw(ConnectionError(f"CONNECT: {answer!r}"))
        offers = [ClientPerMessageDeflateFactory(**plan.deflate)] if plan.deflate is not None else None
        connection = QuietClient(parse_uri(f"ws://{dial['authority']}/"), extensions=offers, max_size=None)
        request = connection.connect()
        request.path = dial["target"]
        connection.send_request(request)
        PythonStream(connection, sock, plan, seen, self.pools).run()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[sock], daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(65536)
            if not data:
                return
            head += data
        plan, seen = self.served[re.match(rb"GET \S*/(\S+) ", head)[1].decode()]
        accepts = [ServerPerMessageDeflateFactory(**plan.deflate)] if plan.deflate is not None else None
        PythonStream(QuietServer(extensions=accepts, max_size=None), sock, plan, seen, self.pools).run(head)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE)      # who waits in accept() would keep it listening
        self.listener.close()


class NodeEnds:
    NAMES = {"server_no_context_takeover": "serverNoContextTakeover", "client_no_context_takeover": "clientNoContextTakeover",
             "server_max_window_bits": "serverMaxWindowBits", "client_max_window_bits": "clientMaxWindowBits"}

    def __init__(self, address, port, folder, pools):
        paths = [os.path.join(folder, "text"), os.path.join(folder, "binary")]
        for path, pool in zip(paths, pools):
            with open(path, "wb") as file:
                file.write(pool)
        self.seen, self.ready = {}, queue.Queue()
        self.process = subprocess.Popen(["node", os.path.join(ROOT, "tests", "e2e", "ws_end.js"), address, str(port), *paths],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        threading.Thread(target=self._listen, daemon=True).start()
        self.ready.get(timeout=PATIENCE)

    def add(self, plan):
        seen = self.seen[plan.id] = Seen()
        deflate = None if plan.deflate is None else {self.NAMES[key]: value for key, value in plan.deflate.items()}
        line = {**vars(plan), "deflate": False if deflate is None else {**deflate, "threshold": 0}}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return seen

    def _listen(self):
        for line in self.process.stdout:
            fact = json.loads(line)
            seen = self.seen.get(fact["id"])
            if seen is None:
                self.ready.put(fact)
            elif "op" in fact:
                seen.events.append((fact["op"], fact["n"], fact["h"]))
            elif "open" in fact:
                seen.extensions = fact["open"]
            elif "error" in fact:
                seen.error = fact["error"]
            else:
                seen.closed = tuple(fact["closed"])
                seen.over.set()

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
