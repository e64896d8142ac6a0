# SPDX-License-Identifier: ISC
"""What a vector's steps act on: client connections, the origin's connections, and time.

Nothing here blocks: pump() moves what can be moved, and wait() pumps until a condition holds or its time is over. Over TCP time is
the machine's (sockets.py); on the wire backend it is the test's (wire.py).
"""
import socket
import struct

from lib import http1, strict_http1, ws


class Conn:
    """One end that the test holds."""

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.port = sock.getsockname()[1] if sock.family == socket.AF_INET else 0
        self.received, self.queue = bytearray(), []
        self.end = None              # "fin" or "rst" once the proxy closed
        self.closed = False          # by us
        self.paused = False
        self.offset = 0              # client: behind what expectations have consumed
        self.last_sent = b""
        self.sent = bytearray()      # upstream: what the origin said

    @property
    def pending(self):
        """Whether something is written that the socket has not taken."""
        return bool(self.queue)

    def write(self, data):
        self.last_sent = data
        if data:
            self.queue.append(memoryview(data))

    @property
    def left(self):
        """How much of what is written the socket has not taken."""
        return sum(len(part) for part in self.queue)

    def flush(self):
        moved = False
        while self.queue and not self.closed:
            try:
                count = self.sock.send(self.queue[0][:262144])
            except BlockingIOError:
                break
            except OSError:
                self.queue.clear()
                break
            self.queue[0] = self.queue[0][count:]
            if not self.queue[0]:
                self.queue.pop(0)
            moved = True
        return moved

    def read(self):
        moved = False
        while self.end is None and not self.closed and not self.paused:
            try:
                data = self.sock.recv(262144)
            except BlockingIOError:
                break
            except OSError:
                self.end = "rst"
                return True
            if not data:
                self.end = "fin"
                return True
            self.received += data
            moved = True
        return moved

    def pump(self):
        wrote = self.flush()
        return self.read() or wrote

    def shut(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self, reset=False):
        if not self.closed:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
            self.closed = True


class Upstream(Conn):
    """The origin's end of a connection that the proxy opened."""

    def __init__(self, sock):
        super().__init__(sock)
        self.requests, self.parsed = [], 0
        self.answered = 0
        self.malformed = ""

    def say(self, data):
        """Remembers what the origin says; it is still to be written."""
        self.sent += data
        if data.startswith(b"HTTP/") and data[9:10] != b"1":
            self.answered += 1

    @property
    def switched(self):
        """Whether this is a WebSocket now: asked for by the proxy, agreed to by the origin."""
        return b" 101 " in self.sent[:13] and bool(self.requests) and self.requests[-1].upgrades

    @property
    def deflates(self):
        """Whether messages may be compressed."""
        return self.switched and b"permessage-deflate" in self.sent[:self.sent.find(b"\r\n\r\n")]

    @property
    def head_end(self):
        end = self.received.find(b"\r\n\r\n")
        return end + 4 if end >= 0 else None

    def parse(self):
        """Reads on in what came as strict HTTP/1.1, up to the upgrade that the origin agreed to."""
        if self.malformed or self.switched:
            return
        try:
            found, self.parsed = strict_http1.requests_in(self.received, self.parsed, stop_at_upgrade=b" 101 " in self.sent[:13])
            self.requests += found
        except strict_http1.Malformed as error:
            self.malformed = str(error)

    def frames(self):
        return ws.frames_in(self.received, self.head_end) if self.head_end else []


class World:
    """One vector's surroundings. Subclasses give connect(), poll() and the passing of time."""

    def __init__(self, names, mode, prologue=None, split=None):
        self.names, self.mode = names, mode
        self.split = split           # bytes a write, or None: whole
        self.prologue = prologue     # the CONNECT that every client begins with, or None
        self.clients, self.upstream, self.all_clients = {}, [], []
        self.serving = None
        self.foreign = []            # dials to anything but the origin
        self.original = names["O"]   # transparent: what the next client dials, as the kernel would say it
        self.last = None             # the answer that was read last
        self.data = {}               # of each step, by its identity
        self.rss_before = 0          # KiB

    # Given by the backends.

    def connect(self):
        raise NotImplementedError

    def poll(self, ms):
        """Waits at most `ms` for anything to happen and moves it; True if something moved."""
        raise NotImplementedError

    def wait(self, condition, ms):
        raise NotImplementedError

    def sleep(self, ms):
        raise NotImplementedError

    def records(self):
        """Access records of this vector's clients so far."""
        raise NotImplementedError

    def rss_kib(self):
        """Resident memory of the program under test; 0 where that says nothing."""
        return 0

    # What both share.

    def open(self, name):
        conn = Conn(self.connect())
        self.clients[name] = conn
        self.all_clients.append(conn)
        if self.prologue:
            conn.write(self.prologue)
            self.wait(lambda: http1.response_at(conn.received, 0, b"CONNECT") or conn.end, 3000)
            answer = http1.response_at(conn.received, 0, b"CONNECT")
            conn.offset = answer.end if answer else 0
            conn.refused = not answer or answer.status != 200
        return conn

    def client(self, name="c1"):
        return self.clients.get(name) or self.open(name)

    def pump(self):
        moved = [conn.pump() for conn in self.all_clients + self.upstream if not conn.closed]
        self.serve()
        return any(moved)

    def serve(self):
        for conn in self.upstream:
            conn.parse()
            while self.serving is not None and conn.answered < len(conn.requests) and not conn.closed:
                conn.say(self.serving)
                conn.write(self.serving)
                conn.flush()

    def requests(self):
        return [request for conn in self.upstream for request in conn.requests]

    def origin_bytes(self):
        """What came as it came, and bodies without their chunks."""
        return b"\0".join([bytes(conn.received) for conn in self.upstream] + [request.body for request in self.requests()])

    def client_bytes(self, conn):
        """The same for a client."""
        bodies, at = [], 0
        while (answer := http1.response_at(conn.received, at, b"GET", bool(conn.end))) and not answer.error and answer.end > at:
            bodies.append(answer.body)
            at = answer.end
        return b"\0".join([bytes(conn.received)] + bodies)

    def live_upstream(self):
        """Origin connections that carried data or are still open."""
        return [conn for conn in self.upstream if conn.received or conn.end is None]

    def client_frames(self, conn):
        return ws.frames_in(conn.received, conn.offset)

    def close_clients(self):
        for conn in self.all_clients:
            conn.close()

    def close_all(self):
        for conn in self.all_clients + self.upstream:
            conn.close()
