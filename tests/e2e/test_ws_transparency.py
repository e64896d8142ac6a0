# SPDX-License-Identifier: ISC
"""What is allowed arrives as it was sent: random message sequences between two independent implementations, and raw bytes.

A sequence is a few messages, text and binary, in one piece or fragmented (text inside characters, too), with control frames before,
between and inside them. Each stream carries sequences both ways at once. A few thousand by default; POSTERN_WS_SEQUENCES=100000 for
the long run. POSTERN_WS_SEED repeats one that failed.
"""
import concurrent.futures
import itertools
import os
import random
import shutil
import socket
import threading
import zlib

import pytest

from lib import layers, ws
from lib.lease import Lease
from lib.postern import Postern
from lib.ws_ends import NODE_MODULES, PATIENCE, NodeEnds, Plan, PythonEnds, digest, make_pools

SEQUENCES = int(os.environ.get("POSTERN_WS_SEQUENCES", "6000"))
SEED = int(os.environ.get("POSTERN_WS_SEED", "0")) or random.randrange(1, 1 << 32)
SIZES = [0, 1, 2, 3, 64, 124, 125, 126, 127, 128, 1000]
LARGE = [65534, 65535, 65536, 65537]
PER_STREAM = 20        # sequences each way
WAYS = ["absolute", "tunnel", "reverse"]
MODES = ["strip", "pass", "inspect", "held"]
AT_ONCE = 6
PROXY, PYTHON, NODE, PYTHON_SITE, NODE_SITE = 3128, 8000, 8001, 8080, 8081

if not os.path.isdir(os.path.join(NODE_MODULES, "ws")) or not shutil.which("node"):
    pytest.skip("no package ws here (scripts/setup installs it where there is an npm)", allow_module_level=True)


class World:
    """`layer`: in clear or over TLS (lib/layers.py). Over TLS both ends are Python's: that of the package ws would have to be told."""

    def __init__(self, folder, layer):
        self.layer = layer
        self.rng = random.Random(SEED)
        self.pools = make_pools(self.rng)
        self.lease = Lease()
        self.prefix = prefix = self.lease.prefix
        none = {"message_bytes": 0, "control_frames": 0, "fragments": 0}
        rule = {"name": "never", "pattern": "no text is like this"}
        groups = {mode: {"deflate": mode, **none} for mode in MODES}
        groups["held"] = {**none, "deflate": "inspect", "message_bytes": 1 << 20, "match": [rule]}      # whole messages wait to be judged
        policies = [{"name": mode, "from": "client", "to": "origin", "paths": [f"/{mode}/*"], "protocols": ["websocket"],
                     "action": "allow", "websocket": groups[mode]} for mode in MODES]
        tunnels = {"name": "tunnels", "from": "client", "to": "origin", "methods": ["CONNECT"], "protocols": ["http"], "action": "allow"}
        settings = {
            "workers": 1, "resolver": {"servers": [f"{prefix}.3:5353"]},
            "zones": [{"name": "client", "networks": ["127.0.0.1/32"]}, {"name": "origin", "networks": [f"{prefix}.1/32"]}],
            "listeners": [{"name": "proxy", "mode": "explicit", "address": f"{prefix}.2:{PROXY}"},
                          {"name": "python", "mode": "reverse", "address": f"{prefix}.2:{PYTHON_SITE}", "upstreams": [f"{prefix}.1:{PYTHON}"]},
                          {"name": "node", "mode": "reverse", "address": f"{prefix}.2:{NODE_SITE}", "upstreams": [f"{prefix}.1:{NODE}"]}],
            "policies": [*policies, tunnels]}
        layers.apply(layer, settings, prefix)
        self.postern = Postern(settings)
        self.tls = layers.origin_context(layer, prefix)
        self.python = PythonEnds(f"{prefix}.1", PYTHON, self.pools, self.tls)
        self.node = NodeEnds(f"{prefix}.1", NODE, str(folder), self.pools) if layer == layers.CLEAR else None

    def dial(self, way, mode, server, number):
        """How a client gets to `server`'s end."""
        origin = f"{self.prefix}.1:{PYTHON if server is self.python else NODE}"
        path, port = f"/{mode}/{number}", PROXY
        if way == "reverse":
            port = PYTHON_SITE if server is self.python else NODE_SITE
        dial = {"host": f"{self.prefix}.2", "port": port, "authority": origin, "tunnel": origin if way == "tunnel" else None,
                "target": f"http://{origin}{path}" if way == "absolute" else path}
        if self.layer == layers.CLEAR:
            return dial
        return {**dial, "enter": layers.authority(self.layer, f"{dial['host']}:{port}", origin).enter}

    @property
    def kinds(self):
        """(ends, way, mode) of streams."""
        ends = [(self.python, self.node), (self.node, self.python)] if self.node else [(self.python, self.python)]
        return itertools.product(ends, ["inspected"] if self.layer == layers.INSPECTED else WAYS, MODES)

    def close(self):
        if self.node:
            self.node.close()
        self.python.close()
        try:
            self.postern.close()
        finally:
            self.lease.release()


@pytest.fixture(scope="module", params=layers.ALL)
def world(request, tmp_path_factory):
    made = World(tmp_path_factory.mktemp("pools"), request.param)
    yield made
    made.close()


# What is sent.

def is_boundary(text, at):
    return at >= len(text) or text[at] & 0xC0 != 0x80


def slice_of(rng, pool, kind, size):
    """Where `size` bytes of the pool begin; of text, whole characters."""
    while True:
        start = rng.randrange(len(pool) - size)
        if kind == 2 or is_boundary(pool, start) and is_boundary(pool, start + size):
            return start


def cuts_of(rng, size):
    if rng.random() < 0.5:
        return [0, size]
    return [0, *sorted(rng.randint(0, size) for _ in range(rng.choice([1, 1, 2, 3, 8]))), size]


def controls(rng, chance):
    while rng.random() < chance:
        yield [rng.choice(["ping", "pong"]), rng.randbytes(rng.choice([0, 1, 8, 124, 125])).hex()]


def sequence(rng, pools):
    for _ in range(rng.randint(1, 4)):
        kind = rng.choice([1, 2])
        size = rng.choice(LARGE) if rng.random() < 0.02 else rng.choice(SIZES)
        start = slice_of(rng, pools[kind - 1], kind, size)
        cuts = cuts_of(rng, size)
        for at, end in itertools.pairwise(cuts):
            yield from controls(rng, 0.2)
            yield ["f", kind, start + at, end - at, False]
        yield "end"
    yield from controls(rng, 0.2)


def steps_of(rng, pools, sequences):
    """The last frame of each message is marked as such."""
    steps = []
    for _ in range(sequences):
        for step in sequence(rng, pools):
            if step == "end":
                steps[-1][4] = True
            else:
                steps.append(step)
    return steps


def events_of(steps, pools):
    """What the other end must see."""
    events, message = [], b""
    for step in steps:
        if step[0] != "f":
            events.append(digest({"ping": 9, "pong": 10}[step[0]], bytes.fromhex(step[1])))
            continue
        _, kind, start, length, fin = step
        message += pools[kind - 1][start:start + length]
        if fin:
            events.append(digest(kind, message))
            message = b""
    return events


def offer_of(rng):
    """Context takeover and windows, as a client offers them. (8 bits: zlib cannot deflate with so few.)"""
    offer = {name: True for name in ("server_no_context_takeover", "client_no_context_takeover") if rng.random() < 0.5}
    for name in ("server_max_window_bits", "client_max_window_bits"):
        if rng.random() < 0.6:
            offer[name] = rng.choice([9, 10, 12, 15])
    if rng.random() < 0.3:
        offer["client_max_window_bits"] = True
    return offer


# One stream.

def first_difference(wanted, seen):
    for number, (one, other) in enumerate(itertools.zip_longest(wanted, seen)):
        if one != other:
            return f"event {number} of {len(wanted)}: {one} was sent, {other} arrived"
    return None


def stream(world, number, client, server, way, mode):
    """Faults of one stream, as sentences."""
    rng = random.Random(f"{SEED} {number}")
    up, down = (steps_of(rng, world.pools, PER_STREAM) for _ in range(2))
    wanted_up, wanted_down = (events_of(steps, world.pools) for steps in (up, down))
    close = [rng.choice([1000, 1001, 3000, 4999]), rng.choice(["", "bye", "é" * 61])]
    client_closes = rng.random() < 0.5
    offer, accept = offer_of(rng), {name: True for name in ("server_no_context_takeover",) if rng.random() < 0.3}
    of_server = server.add(Plan(str(number), down, len(wanted_up), None if client_closes else close, accept))
    of_client = client.add(Plan(str(number), up, len(wanted_down), close if client_closes else None, offer,
                                world.dial(way, mode, server, number)))
    faults = []
    for name, seen, wanted in (("server", of_server, wanted_up), ("client", of_client, wanted_down)):
        if not seen.over.wait(PATIENCE):
            faults.append(f"the {name}'s end does not end")
        faults += [f"{name}: {fault}" for fault in (seen.error, first_difference(wanted, seen.events)) if fault]
        if seen.closed != tuple(close):
            faults.append(f"{name}: closed with {seen.closed}, not {close}")
        if (mode != "strip") != ("permessage-deflate" in seen.extensions):
            faults.append(f"{name}: extensions are {seen.extensions!r}")
    where = f"seed {SEED}, stream {number}: {type(client).__name__} to {type(server).__name__}, {way}, {mode}, {offer}, {accept}"
    return [f"{where}: {fault}" for fault in faults]


def test_two_implementations(world):
    kinds = itertools.cycle(world.kinds)
    streams = max(1, SEQUENCES // (2 * PER_STREAM))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(stream, world, number, *ends, way, mode) for number, (ends, way, mode) in zip(range(streams), kinds)]
        faults = [fault for job in jobs for fault in job.result()]
    assert not faults, "\n".join(faults[:20])


# Raw bytes.

class RawPair:
    """The two sockets of one stream, behind the handshakes."""

    def __init__(self, world, mode, extensions=""):
        listener = socket.create_server((f"{world.prefix}.1", 0))
        origin = f"{world.prefix}.1:{listener.getsockname()[1]}"
        address = f"{world.prefix}.2:{PROXY}"
        if world.layer == layers.INSPECTED:
            listener.settimeout(PATIENCE)
            accepting = threading.Thread(target=self._accept, args=[listener, world.tls])
            accepting.start()
        self.client = socket.create_connection((f"{world.prefix}.2", PROXY), PATIENCE)
        self.client = layers.enter(layers.authority(world.layer, address, origin), self.client)
        target = f"/{mode}/raw" if world.layer == layers.INSPECTED else f"http://{origin}/{mode}/raw"
        more = f"Sec-WebSocket-Extensions: {extensions}\r\n\r\n".encode() if extensions else b"\r\n"
        self.client.sendall(ws.handshake(target, origin)[:-2] + more)
        if world.layer == layers.INSPECTED:
            accepting.join()
        else:
            self.server, _ = listener.accept()
        listener.close()
        self.server.settimeout(PATIENCE)
        self.head = self._head(self.server)
        key = self.head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        self.server.sendall(ws.switching(key)[:-2] + more)
        self.answer = self._head(self.client)

    def _accept(self, listener, context):
        self.server = context.wrap_socket(listener.accept()[0], server_side=True)

    @staticmethod
    def _head(sock):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1) or pytest.fail(f"closed behind {head!r}")
        return head

    def close(self):
        self.client.close()
        self.server.close()


def carry(sender, receiver, data, rng):
    """Sends in random pieces; what arrived."""
    def send():
        at = 0
        while at < len(data):
            size = rng.choice([1, 2, 7, 100, 5000, 65536])
            sender.sendall(data[at:at + size])
            at += size
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    arrived = bytearray()
    while len(arrived) < len(data):
        part = receiver.recv(262144)
        if not part:
            break
        arrived += part
    thread.join(PATIENCE)
    return bytes(arrived)


def wire_bytes(steps, pools, rng, mask, compress=False):
    """Frames with keys of their own, compressed by zlib as RFC 7692 7.2.1 says (context is taken over)."""
    out, first, deflater = bytearray(), True, zlib.compressobj(wbits=-15)
    for step in steps:
        key = rng.choice([rng.randbytes(4), bytes(4)])
        if step[0] != "f":
            out += ws.frame({"ping": 9, "pong": 10}[step[0]], bytes.fromhex(step[1]), mask=mask, mask_key=key)
            continue
        _, kind, start, length, fin = step
        data = pools[kind - 1][start:start + length]
        if compress:
            data = deflater.compress(data) + (deflater.flush(zlib.Z_SYNC_FLUSH)[:-4] if fin else b"")
        out += ws.frame(kind if first else 0, data, int(fin), 4 if first and compress else 0, mask, key)
        first = fin
    return bytes(out)


@pytest.mark.parametrize("mode,compress", [("strip", False), ("pass", True), ("inspect", True), ("inspect", False)])
def test_frames_pass_byte_for_byte(world, mode, compress):
    rng = random.Random(f"{SEED} raw {mode}")
    pair = RawPair(world, mode, "permessage-deflate" if mode != "strip" else "")
    for sender, receiver, mask in ((pair.client, pair.server, True), (pair.server, pair.client, False)):
        data = wire_bytes(steps_of(rng, world.pools, 60), world.pools, rng, mask, compress)
        assert carry(sender, receiver, data, rng) == data, f"seed {SEED}"
    pair.close()
