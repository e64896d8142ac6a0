# SPDX-License-Identifier: ISC
"""WebSockets in time: pings of Postern's own and dead peers, idle and age, a drain, a reload that forbids some of many, and two clients
that people use against a strict policy."""
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from lib import chromium, layers, ws
from lib.origin import echo_websocket
from lib.postern import POSTERNCTL, PROMPT, die_with_parent, wait_until
from lib.stage import Stage
from lib.ws_ends import NODE_MODULES
from lib.ws_pair import End, Pair, PairWorld

TEXT, BINARY, PING, PONG = ws.TEXT, ws.BINARY, ws.PING, ws.PONG
PING_INTERVAL, IDLE, AGE = 0.6, 1.0, 1.2
# A timer that fires this late is late; one that fires before its time is wrong. Timers go in steps of 50 ms.
EARLY, LATE = 0.1, PROMPT


@pytest.fixture(scope="module", params=layers.ALL)
def world(request):
    groups = {"ping": {"ping_interval": PING_INTERVAL}, "idle": {"idle": IDLE}, "age": {"age": AGE},
              "all": {"ping_interval": PING_INTERVAL, "control_frames": 3, "idle": 60.0}}
    with PairWorld(groups, request.param) as made:
        yield made


def hello(pair):
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        sender.say(TEXT, b"hello")
        assert receiver.message() == (TEXT, b"hello")


# Pings.

CLIENT = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ping_interval=None, compression=None) as client:
        await client.send("hello")
        await asyncio.Future()
asyncio.run(main())
"""


@pytest.mark.parametrize("world", [layers.CLEAR], indirect=True)
def test_dead_client(world):
    """A client that the kernel keeps connected and that runs no more: found within two intervals, and the server is told."""
    process = subprocess.Popen(["/usr/bin/python3", "-c", CLIENT, f"ws://{world.stage.site}/ping"], preexec_fn=die_with_parent)
    world.listener.settimeout(15)
    sock, _ = world.listener.accept()
    try:
        head, _ = Pair.head(sock)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]
        sock.sendall(ws.switching(key))
        server = End(sock, False, lively=True)
        assert server.message() == (TEXT, b"hello")
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert server.closed() == (1001, "timeout-ping")
        assert PING_INTERVAL - EARLY < time.monotonic() - began < 2 * PING_INTERVAL + LATE
        ended = world.postern.wait_access(lambda line: line.get("path") == "/ping" and line["event"] == "end")
        assert ended["reason"] == "timeout-ping"
    finally:
        process.kill()
        process.wait()


def test_dead_server(world):
    """It reads, and answers nothing; the client is lively, and told."""
    pair = world.pair("/ping")
    pair.client.lively = True
    hello(pair)
    began = time.monotonic()
    assert pair.client.closed() == (1001, "timeout-ping")
    assert PING_INTERVAL - EARLY < time.monotonic() - began < 2 * PING_INTERVAL + LATE
    assert pair.wait_record(event="end")["reason"] == "timeout-ping"
    pair.drop()


def test_living_ends(world):
    """Both answer pings. Neither sees a pong that it has not asked for; the pings are Postern's; nothing else happens."""
    pair = world.pair("/all", lively=True)
    hello(pair)
    for end in (pair.client, pair.server):
        end.seen = []

    def watch(end):
        while (found := end.message()) is not None:
            end.seen.append(found)
            if found[0] == ws.CLOSE:
                break
    threads = [threading.Thread(target=watch, args=[end], daemon=True) for end in (pair.client, pair.server)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pair.client.pinged) >= 4 and len(pair.server.pinged) >= 4, 15, "four pings each")
    pair.client.say(PONG, b"unasked")
    pair.server.say(PING, b"their own")
    wait_until(lambda: pair.server.seen and b"their own" in pair.client.pinged, what="frames of their own")
    assert pair.server.seen[0] == (PONG, b"unasked")
    wait_until(lambda: (PONG, b"their own") in pair.server.seen, what="the answer to a ping that passed")
    pair.client.send(ws.CLOSE, b"\x03\xe8")
    wait_until(lambda: pair.server.seen[-1][0] == ws.CLOSE, what="the close")
    ours = [payload for payload in pair.client.pinged + pair.server.pinged if payload != b"their own"]
    assert all(re.fullmatch(rb"postern:[0-9a-f]{8}", payload) for payload in ours), ours
    assert len(set(ours)) == len(ours)
    assert [one for one in pair.client.seen if one[0] != ws.CLOSE] == []
    pair.drop()


def test_no_ping_inside_a_frame(world):
    """A client in the middle of a long frame: what it is sent waits for nothing, what the server gets stays whole."""
    pair = world.pair("/ping", lively=True)
    frame = ws.frame(BINARY, b"x" * 1000, mask=True)
    watcher = threading.Thread(target=pair.client.message, daemon=True)      # answers pings
    watcher.start()
    for at in range(0, len(frame), 100):
        pair.client.socket.sendall(frame[at:at + 100])
        time.sleep(2 * PING_INTERVAL / 10)
    assert pair.server.message() == (BINARY, b"x" * 1000)
    pair.drop()


# Idle, age.

def test_idle(world):
    """Only data messages count: a client that sends nothing but pings is idle."""
    pair = world.pair("/idle")
    hello(pair)
    began = time.monotonic()
    for _ in range(3):
        time.sleep(IDLE / 4)
        pair.client.send(PING, b"here")
        assert pair.server.message() == (PING, b"here")
    assert pair.client.closed()[0] == 1001
    assert IDLE - EARLY < time.monotonic() - began < IDLE + LATE
    assert pair.server.closed()[0] == 1001
    ended = pair.wait_record(event="end")
    assert ended["reason"].startswith("timeout-") and ended["closed_by"] == "postern"


def test_age(world):
    """However much is said."""
    pair = world.pair("/age")
    began = time.monotonic()
    while time.monotonic() - began < AGE / 2:
        hello(pair)
        time.sleep(0.05)
    assert pair.client.closed() == (1001, "timeout-age")
    assert AGE - EARLY < time.monotonic() - began < AGE + LATE
    assert pair.server.closed() == (1001, "timeout-age")
    assert pair.wait_record(event="end")["reason"] == "timeout-age"


@pytest.mark.parametrize("layer", layers.ALL)
def test_drain(layer):
    with PairWorld({"chat": None}, layer, timeouts={"drain": 0.5}) as world:
        pairs = [world.pair("/chat", way=way) for way in ("absolute", "tunnel", "reverse")]
        for pair in pairs:
            hello(pair)
        world.postern.signal(signal.SIGTERM)
        for pair in pairs:
            assert pair.client.closed()[0] == 1012
            assert pair.server.closed()[0] == 1001
        world.postern.process.wait(15)


# A reload that forbids some.

STREAMS, FORBIDDEN = 200, 73


class Flow:
    """Numbered messages both ways on many streams, by one thread; what each end got, and when and how it was closed."""

    def __init__(self, pairs, every=0.1):
        self.pairs, self.every, self.halt = pairs, every, threading.Event()
        self.sent = {pair: [0, 0] for pair in pairs}
        self.got = {pair: [0, 0] for pair in pairs}
        self.faults, self.closed = [], {}
        for pair in pairs:
            for end in (pair.client, pair.server):
                end.socket.setblocking(False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _take(self, pair, which, end):
        try:
            data = end.socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        end.buffer += data
        while (frame := ws.frame_at(end.buffer, 0)) and frame.complete:
            del end.buffer[:frame.end]
            if frame.op == ws.CLOSE:
                self.closed.setdefault(pair, {})[which] = (time.monotonic(), frame.close_code, frame.payload[2:].decode())
                continue
            wanted = self.got[pair][which]
            if frame.payload != b"%d" % wanted:
                self.faults.append(f"stream {pair.port}: {frame.payload!r} came, {wanted} was next")
            self.got[pair][which] += 1
        if not data and pair not in self.closed:
            self.faults.append(f"stream {pair.port}: the connection ended")
            self.closed[pair] = {}

    def _say(self, pair):
        if pair in self.closed:
            return
        for which, end in enumerate((pair.server, pair.client)):
            try:
                end.send(TEXT, b"%d" % self.sent[pair][which])
                self.sent[pair][which] += 1
            except OSError:
                pass

    def _run(self):
        due = 0
        while not self.halt.is_set() or any(self.got[pair] != self.sent[pair] for pair in self.pairs if pair not in self.closed):
            if not self.halt.is_set() and time.monotonic() > due:
                due = time.monotonic() + self.every
                for pair in self.pairs:
                    self._say(pair)
            for pair in self.pairs:
                if len(self.closed.get(pair, "")) == 2:
                    continue
                self._take(pair, 0, pair.client)
                self._take(pair, 1, pair.server)
            time.sleep(0.002)

    def stop(self):
        self.halt.set()
        self.thread.join(15)
        assert not self.thread.is_alive(), "frames were lost"


@pytest.mark.parametrize("workers", [1, 2])
def test_reload_forbids_some(workers):
    """Exactly those are closed, within a second, with the name of what denies them now; the others lose no frame."""
    with PairWorld({"chat": None}, workers=workers, limits={"sessions_per_client": STREAMS + 10}) as world:
        forbidden = [number % 11 < 4 or number >= STREAMS - 1 for number in range(STREAMS)]
        forbidden = [mark and sum(forbidden[:number]) < FORBIDDEN for number, mark in enumerate(forbidden)]
        pairs = [world.pair(f"/chat/{'no' if mark else 'yes'}-{number}", way=["absolute", "tunnel", "reverse"][number % 3])
                 for number, mark in enumerate(forbidden)]
        assert sum(forbidden) == FORBIDDEN
        flow = Flow(pairs)
        wait_until(lambda: all(min(got) >= 3 for got in flow.got.values()), what="three messages each way on each stream")
        settings = dict(world.settings)
        deny = {"name": "no-more", "paths": ["/chat/no-*"], "action": "deny"}
        settings["policies"] = [deny, *settings["policies"]]
        done = world.postern.reload(settings)
        at = time.monotonic()
        assert done.returncode == 0, done.stderr
        before = {pair: list(got) for pair, got in flow.got.items()}
        wait_until(lambda: all(min(flow.got[pair]) >= before[pair][0] + 5 for pair, mark in zip(pairs, forbidden) if not mark),
                   what="five more messages on those that stay")
        flow.stop()
        assert not flow.faults, flow.faults[:5]
        closed = [pair in flow.closed for pair in pairs]
        assert closed == forbidden
        served = set()
        for pair, ends in flow.closed.items():
            when, code, reason = ends[0]
            assert when < at + 1.0 and (code, reason) == (1008, "revoked: no-more")
            ended = pair.wait_record(event="end")
            assert (ended["reason"], ended["rule"]) == ("revoked", "no-more")
            served.add(ended["request"].partition("-")[0])
        assert len(served) == workers
        assert all(flow.got[pair] == flow.sent[pair] for pair, mark in zip(pairs, forbidden) if not mark)
        for pair in pairs:
            pair.drop()


# Clients that people use, and a strict policy.

STRICT = {"subprotocols": ["chat"], "deflate": "inspect", "opcodes": ["text"], "message_bytes": 4096,
          "client": {"messages_per_second": 20}, "server": {"first": False, "messages_per_client_message": 2}, "ping_interval": 5.0,
          "match": [{"name": "no-secrets", "pattern": "(?i)secret"}]}
PAGE = b"""<!doctype html><title>waiting</title><script>
const socket = new WebSocket("ws://" + location.host + "/ws", ["chat"]), seen = [];
socket.onopen = () => { socket.send("hello"); };
socket.onmessage = (event) => { seen.push(event.data); socket.send("the SECRET"); };
socket.onclose = (event) => { document.title = seen.join() + " " + event.code + " " + event.reason;
                              new Image().src = "/shown"; };
</script><img src="/end.png">"""


def strict_stage(routes):
    policies = [{"name": "strict", "from": "client", "to": "origin", "paths": ["/ws"], "protocols": ["websocket"], "action": "allow",
                 "websocket": STRICT},
                {"name": "web", "from": "client", "to": "origin", "protocols": ["http"], "action": "allow"}]
    return Stage(routes=routes, policies=policies)


@chromium.needed
def test_chromium_sees_why():
    shown = threading.Event()

    def note(connection, request):
        shown.set()
        connection.answer(b"")

    def end(connection, request):
        shown.wait(30)
        connection.answer(b"", "404 Not Found")

    routes = {"/page": lambda connection, request: connection.answer(PAGE, fields=["Content-Type: text/html"]), "/shown": note,
              "/end.png": end, "/ws": echo_websocket}
    with strict_stage(routes) as stage, tempfile.TemporaryDirectory(prefix="postern-chromium-", ignore_cleanup_errors=True) as profile:
        done = chromium.visit(profile, f"{stage.url}/page", f"--proxy-server=http://{stage.proxy}")
        assert "<title>hello 1008 match-denied: no-secrets</title>" in done.stdout, done.stdout + done.stderr[-2000:]
        ended = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] == "end")
        assert (ended["reason"], ended["close_code"]) == ("match-denied", 1008)


def test_wscat_sees_why():
    wscat = os.path.join(NODE_MODULES, ".bin", "wscat")
    if not os.path.exists(wscat):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    with strict_stage({"/ws": echo_websocket}) as stage:
        def run(text):
            command = [wscat, "-s", "chat", "-x", text, "-w", "1", "-c", f"ws://{stage.origin_authority}/ws", "--proxy", f"http://{stage.proxy}"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            process.wait(60)              # its input stays open: it ends at its end
            return process.communicate()[0]
        assert "hello" in run("hello")
        run("a secret")
        ended = stage.postern.wait_access(lambda line: line.get("reason") == "match-denied")
        assert ended["close_code"] == 1008


def first_of_watch(postern, number):
    """This session as the first lines of `watch` have it."""
    with subprocess.Popen([POSTERNCTL, "-s", postern.control_socket, "--json", "watch"], stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                found = [row for row in json.loads(line).get("sessions", []) if row["id"] == number]
                if found:
                    return found[0]
        finally:
            process.kill()
    raise AssertionError("watch ended")


def test_rates_and_pushes_while_alive(world):
    """Counters, pushes since the client spoke, and rates are in the row while the stream lives."""
    pair = world.pair("/all", lively=True)
    hello(pair)
    for _ in range(5):
        pair.server.say(TEXT, b"0123456789")
        assert pair.client.message() == (TEXT, b"0123456789")
    row = wait_until(lambda: next((row for row in world.postern.ctl("sessions", "path=/all")["sessions"] if row["pushes"] == 6), None),
                     what="the row")
    assert row["frames_down"]["text"] >= 5 and row["messages_down"] >= 5
    assert float(row["messages_per_second"]) >= 5 and row["bytes_per_second"] >= 50
    assert world.postern.ctl("show", row["id"])["session"]["messages_per_second"] == row["messages_per_second"]
    watched = first_of_watch(world.postern, row["id"])
    for key in ("frames_up", "frames_down", "messages_up", "messages_down", "pushes", "messages_per_second", "bytes_per_second"):
        assert watched[key] is not None and (key.endswith("second") or watched[key] == row[key]), key
    pair.client.close()
