# SPDX-License-Identifier: ISC
"""What a policy lets each side of a WebSocket say: each contract at its limit, and broken by a scripted client or server.

What is at the limit passes. One past it: `close` closes both sides with the right codes and the messages before it were delivered,
`drop_message` lets that message vanish and nothing else, `log` only says so.
"""
import json
import os
import re
import signal
import socket
import threading
import time
import zlib
from dataclasses import dataclass, field

import pytest

from lib import layers, ws
from lib.hello import client_hello
from lib.postern import wait_until
from lib.ws_pair import Pair, PairWorld, Refused

TEXT, BINARY, PING, PONG = ws.TEXT, ws.BINARY, ws.PING, ws.PONG


@dataclass
class Case:
    """`good` messages are delivered, `bad` one is not: (side, opcode, payload or fragments). `after`: passes once the bad one vanished."""
    name: str
    group: dict
    good: list
    bad: tuple
    reason: str
    code: int
    after: list = field(default_factory=list)
    choices: tuple = ("close", "drop", "log")

    @property
    def rule(self):
        """The rule about content that denies the bad message."""
        return {"match-denied": "rule1" if self.name == "excepted" else "rule0"}.get(self.reason)

    @property
    def told(self):
        """What the offender reads in the close frame."""
        return f"{self.reason}: {self.rule}" if self.rule else self.reason


def both(case):
    """The same with the sides exchanged; for limits that both have."""
    def turn(message):
        return ("server" if message[0] == "client" else "client", *message[1:])
    yield case
    yield Case(case.name + "-s", case.group, [turn(one) for one in case.good], turn(case.bad), case.reason, case.code,
               [turn(one) for one in case.after], case.choices)


def rules(*matches, **more):
    return {"message_bytes": 65536, "match": [{"name": f"rule{number}", **match} for number, match in enumerate(matches)], **more}


JSON = rules({"json": {"bytes": 100, "depth": 3, "required": ["type", "body.id"], "forbidden": ["admin"]}})
FINE = json.dumps({"type": "chat", "body": {"id": 1}}).encode()
CLOSING = ("close",)
DEEP = b'{"type":1,"body":{"id":[[1]]}}'
LONG = FINE[:-1] + b',"x":"' + b"x" * (100 - len(FINE) - 7) + b'"}'
assert len(LONG) == 100

SAID = [("client", TEXT, b"0123456789")]
CASES = [
    *both(Case("bytes", {"message_bytes": 1000}, [("client", TEXT, b"x" * 1000), ("client", BINARY, [b"x" * 400, b"x" * 600])],
               ("client", BINARY, b"x" * 1001), "message-too-big", 1009, choices=CLOSING)),
    *both(Case("frame", {"frame_bytes": 200}, [("client", TEXT, b"x" * 200), ("client", TEXT, [b"x" * 200, b"x" * 200])],
               ("client", TEXT, b"x" * 201), "message-too-big", 1009, choices=CLOSING)),
    *both(Case("pieces", {"fragments": 3}, [("client", TEXT, [b"a", b"b", b"c"])], ("client", TEXT, [b"a", b"b", b"c", b"d"]),
               "fragment-limit", 1008, choices=CLOSING)),
    *both(Case("pings", {"control_frames": 4}, [("client", PING, b"1"), ("client", PONG, b"2")] * 2, ("client", PING, b"5"),
               "control-flood", 1008, [("client", TEXT, b"a")])),
    *both(Case("text-only", {"opcodes": ["text"]}, [("client", TEXT, b"a")], ("client", BINARY, b"b"), "opcode-denied", 1003,
               [("client", TEXT, b"c")])),
    *both(Case("binary-only", {"opcodes": ["binary"]}, [("client", BINARY, b"a")], ("client", TEXT, [b"b", b"c"]), "opcode-denied", 1003,
               [("client", BINARY, b"c")])),
    Case("mute-client", {"client": {"send": False}}, [("server", TEXT, b"a"), ("client", PING, b"p")], ("client", TEXT, b"b"), "send-denied",
         1008, [("server", TEXT, b"c")]),
    Case("mute-server", {"server": {"send": False}}, [("client", TEXT, b"a"), ("server", PONG, b"p")], ("server", TEXT, b"b"), "send-denied",
         1008, [("client", TEXT, b"c")]),
    # Rates that refill too slowly for a message more while the test runs.
    Case("client-rate", {"client": {"messages_per_second": 1, "burst": 3.0}}, [("client", TEXT, b"a")] * 3, ("client", TEXT, b"b"),
         "rate-exceeded", 1008, [("server", TEXT, b"c")] * 9),
    Case("server-rate", {"server": {"messages_per_second": 1, "burst": 3.0}}, [("server", TEXT, b"a")] * 3, ("server", TEXT, b"b"),
         "rate-exceeded", 1008, [("client", TEXT, b"c")] * 9),
    Case("client-bytes", {"client": {"bytes_per_second": 10, "burst": 100.0}}, [("client", TEXT, b"a" * 900)], ("client", TEXT, b"b" * 400),
         "rate-exceeded", 1008, [("client", TEXT, b"c" * 10)]),
    Case("server-bytes", {"server": {"bytes_per_second": 10, "burst": 100.0}}, [("server", TEXT, b"a" * 900)], ("server", TEXT, b"b" * 400),
         "rate-exceeded", 1008, [("server", TEXT, b"c" * 10)]),
    Case("not-first", {"server": {"first": False}}, [("server", PING, b"p")], ("server", TEXT, b"b"), "push-contract", 1008,
         [("client", TEXT, b"c"), ("server", TEXT, b"d")]),
    Case("answers", {"server": {"messages_per_client_message": 2}}, [*SAID, ("server", TEXT, b"1"), ("server", TEXT, b"2")],
         ("server", TEXT, b"3"), "push-contract", 1008, [*SAID, ("server", TEXT, b"4")]),
    Case("answer-bytes", {"server": {"bytes_per_client_byte": 10}}, [*SAID, ("server", TEXT, b"1" * 60), ("server", TEXT, b"2" * 40)],
         ("server", TEXT, b"3"), "push-contract", 1008, [*SAID, ("server", TEXT, b"4" * 100)]),
    *both(Case("word", rules({"pattern": "secret"}), [("client", TEXT, b"a secre"), ("client", BINARY, b"secret")],
               ("client", TEXT, [b"the sec", b"ret is out"]), "match-denied", 1008, [("client", TEXT, b"t")])),
    Case("client-word", rules({"pattern": "secret", "from": "client"}), [("server", TEXT, b"secret")], ("client", TEXT, b"secret"),
         "match-denied", 1008, [("client", TEXT, b"t")]),
    Case("excepted", rules({"pattern": "^public:", "action": "allow"}, {"pattern": "secret"}), [("client", TEXT, b"public: secret")],
         ("client", TEXT, b"private: secret"), "match-denied", 1008, [("client", TEXT, b"t")]),
    Case("json", JSON, [("client", TEXT, FINE), ("server", TEXT, LONG)], ("client", TEXT, b"{"), "match-denied", 1008, [("client", TEXT, FINE)]),
    Case("json-size", JSON, [("client", TEXT, LONG)], ("client", TEXT, LONG + b" "), "match-denied", 1008, [("client", TEXT, FINE)]),
    Case("json-depth", JSON, [("client", TEXT, DEEP.replace(b"[[1]]", b"[1]"))], ("client", TEXT, DEEP), "match-denied", 1008,
         [("client", TEXT, FINE)]),
    Case("json-field", JSON, [], ("server", TEXT, b'{"type":"chat","body":{}}'), "match-denied", 1008, [("client", TEXT, FINE)]),
    Case("json-admin", JSON, [], ("client", TEXT, FINE[:-1] + b',"admin":0}'), "match-denied", 1008, [("client", TEXT, FINE)]),
    Case("json-binary", JSON, [], ("client", BINARY, FINE), "match-denied", 1008, [("client", TEXT, FINE)]),
]
TUNNELS = {"tls": client_hello("inside.example"), "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "chisel": b"SSH-chisel-v3-client\r\n",
           "http": b"GET / HTTP/1.1\r\nHost: inside\r\n\r\n", "answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
           "socks": b"\5\1\0", "socks4": b"\4\1\0\x50\x7f\0\0\1user\0"}
for _kind, _bytes in TUNNELS.items():
    CASES += both(Case(f"in-{_kind}", {"tunnels": False}, [("client", TEXT, b"SSH-2.0-text")], ("client", BINARY, _bytes), "tunnel-inside", 1008,
                       choices=("close", "log")))
BY_NAME = {case.name: case for case in CASES}
WORDS = {"close": "close", "drop": "drop_message", "log": "log"}
RUNS = [pytest.param(case.name, choice, id=f"{case.name}-{choice}") for case in CASES for choice in case.choices]


@pytest.fixture(scope="module", params=layers.ALL)
def world(request):
    groups = {f"{case.name}-{choice}": {**case.group, "on_violation": WORDS[choice]} for case in CASES for choice in case.choices}
    groups |= {"two": {"streams": 2}, "each": {"streams_per_client": 1}, "plain": None, "quiet": {"server": {"quiet_after": 0.4}},
               "pair": {"deflate": "deny"}, "origins": {"origins": ["http://a.example"]},
               "later": {"tunnels": False}, "many": rules({"pattern": "stop"}),
               "packed": rules({"pattern": "secret"}, deflate="inspect"),
               "packed-drop": rules({"pattern": "secret"}, deflate="inspect", on_violation="drop_message"),
               "inflated": {"deflate": "inspect", "message_bytes": 1000}, "unread": {"deflate": "pass", "message_bytes": 1000}}
    with PairWorld(groups, request.param) as made:
        yield made


def deliver(pair, messages):
    for side, op, payload in messages:
        sender, receiver = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        sender.say(op, payload)
        whole = b"".join(payload) if isinstance(payload, list) else payload
        assert receiver.message() == (op, whole)


def check_closed(pair, case):
    offender, other = (pair.client, pair.server) if case.bad[0] == "client" else (pair.server, pair.client)
    assert offender.closed() == (case.code, case.told)
    assert other.message() == (ws.CLOSE, (1001 if case.bad[0] == "client" else 1011).to_bytes(2, "big") + case.reason.encode())
    assert other.frame() is None
    ended = pair.wait_record(event="end")
    assert (ended["reason"], ended["close_code"], ended["closed_by"]) == (case.reason, case.code, "postern")
    assert ended.get("rule") == case.rule


@pytest.mark.parametrize("name,choice", RUNS)
def test_broken(world, name, choice):
    case = BY_NAME[name]
    pair = world.pair(f"/{name}-{choice}", way=["absolute", "tunnel", "reverse"][len(name) % 3])
    deliver(pair, case.good)
    side, op, payload = case.bad
    if choice == "log":
        deliver(pair, [case.bad])
        assert pair.wait_record(reason=case.reason).get("rule") == case.rule
    else:
        (pair.client if side == "client" else pair.server).say(op, payload)
        if choice == "close":
            check_closed(pair, case)
            return
        assert pair.wait_record(reason=case.reason).get("rule") == case.rule
        deliver(pair, case.after)
    pair.client.close(1000, b"done")
    assert pair.server.message() == (ws.CLOSE, b"\x03\xe8done")
    pair.server.close(1000)
    assert pair.client.closed() == (1000, "")
    assert pair.wait_record(event="end")["closed_by"] == "client"


def test_a_rate_fills_up_again(world):
    pair = world.pair("/client-rate-close")
    deliver(pair, [("client", TEXT, b"a")] * 3)
    time.sleep(1.1)
    deliver(pair, [("client", TEXT, b"a")])
    pair.drop()


def test_quiet_window(world):
    """The server may speak for 0.4 s after the client did."""
    pair = world.pair("/quiet")
    deliver(pair, [("client", TEXT, b"hello"), ("server", TEXT, b"now")])
    time.sleep(0.6)
    deliver(pair, [("client", TEXT, b"again"), ("server", TEXT, b"now")])
    time.sleep(0.6)
    pair.server.say(TEXT, b"late")
    assert pair.server.closed() == (1008, "push-contract")
    assert pair.client.closed() == (1011, "push-contract")


def test_only_the_begin_of_a_stream_is_a_tunnel(world):
    pair = world.pair("/later")
    deliver(pair, [("client", BINARY, b"\0\1\2\3"), ("client", BINARY, b"SSH-2.0-x\r\n"), ("server", BINARY, [b"\0", b"\5\1\0"])])
    pair.drop()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_tunnel_in_fragments(world, cut):
    pair = world.pair("/later")
    pair.client.say(BINARY, [b"SSH-2.0-x\r\n"[:cut], b"SSH-2.0-x\r\n"[cut:]])
    assert pair.client.closed() == (1008, "tunnel-inside")
    pair.drop()


def test_message_n_is_stopped(world):
    """All in one piece: those before it were delivered, nothing behind it is."""
    pair = world.pair("/many")
    pair.client.socket.sendall(b"".join(ws.frame(TEXT, text, mask=True) for text in [b"1", b"2", b"3", b"stop", b"5"]))
    assert [pair.server.message()[1] for _ in range(3)] == [b"1", b"2", b"3"]
    assert pair.server.closed() == (1001, "match-denied")
    assert pair.client.closed() == (1008, "match-denied: rule0")


def test_what_began_cannot_vanish(world):
    """A message of which a part was passed on already is not dropped: the stream is closed, between two frames."""
    pair = world.pair("/client-bytes-drop")
    pair.client.send(TEXT, b"a" * 900, fin=0)
    assert pair.server.frame().payload == b"a" * 900
    pair.client.send(0, b"b" * 400)
    assert pair.client.closed() == (1008, "rate-exceeded")
    assert pair.server.message() == (ws.CLOSE, b"\x03\xe9rate-exceeded")
    pair.drop()


def test_kill(world):
    pair = world.pair("/plain")
    deliver(pair, [("client", TEXT, b"hello")])
    session = pair.wait_record(event="start")["session"]
    assert world.postern.ctl_run("kill", session).returncode == 0
    assert pair.client.closed() == (1008, "killed")
    assert pair.server.closed() == (1008, "killed")


# Handshakes.

def test_streams(world):
    pairs = [world.pair("/two") for _ in range(2)]
    with pytest.raises(Refused) as refused:
        world.pair("/two")
    assert refused.value.answer.status == 403 and b"stream-limit" in refused.value.answer.body
    pairs[0].client.drop()
    pairs[0].wait_record(event="end")
    pairs.append(world.pair("/two"))
    deliver(pairs[2], [("client", TEXT, b"hello")])
    for pair in pairs:
        pair.drop()


def test_explain_asks_the_caps(world):
    def explain():
        return world.postern.ctl("explain", "--from", "127.0.0.1", "GET", f"ws://{world.stage.origin_authority}/two")

    pairs = []
    for number in range(3):
        answer = explain()
        assert answer["caps"] == {"streams": 2, "open": number}
        assert (answer["verdict"], answer["reason"]) == (("allowed", "ok") if number < 2 else ("denied", "stream-limit"))
        if number < 2:
            pairs.append(world.pair("/two"))
    for pair in pairs:
        pair.drop()
        pair.wait_record(event="end")


def test_streams_per_client(world):
    pairs = [world.pair("/each", source="127.0.0.1"), world.pair("/each", source="127.0.0.2")]
    for source in ("127.0.0.1", "127.0.0.2"):
        with pytest.raises(Refused) as refused:
            world.pair("/each", source=source)
        assert refused.value.answer.status == 403 and b"stream-limit" in refused.value.answer.body
    for pair in pairs:
        pair.drop()
        pair.wait_record(event="end")
    world.pair("/each", source="127.0.0.2").drop()


CAP, ASKING = 6, 40


def ask_at_once(world, path):
    """As many clients as that ask at the same moment: ([those that are let in], statuses of the others)."""
    def answer_all():
        while not answered.is_set():
            try:
                server, _ = world.listener.accept()
            except TimeoutError:
                continue
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", Pair.head(server)[0])[1]
            server.sendall(ws.switching(key))
            servers.append(server)

    host, port = world.stage.site.split(":")
    world.listener.settimeout(0.05)
    servers, answered = [], threading.Event()
    answering = threading.Thread(target=answer_all, daemon=True)
    answering.start()
    clients = [socket.create_connection((host, int(port)), 15) for _ in range(ASKING)]
    for client in clients:
        client.sendall(ws.handshake(path, world.stage.origin_authority))
    answers = [Pair.head(client)[0].split()[1] for client in clients]
    answered.set()
    answering.join()
    let_in = [client for client, status in zip(clients, answers) if status == b"101"]
    assert len(let_in) == len(servers)
    return let_in, servers, [status for status in answers if status != b"101"]


def opens(world, path):
    """Pairs, one after the other, until no more is let in; each worker is asked for sure."""
    pairs, refused = [], 0
    while refused < 12:
        try:
            pairs.append(world.pair(path, way="reverse"))
        except Refused as answer:
            assert answer.answer.status == 403 and b"stream-limit" in answer.answer.body
            refused += 1
    return pairs


@pytest.mark.parametrize("cap", ["streams", "streams_per_client"])
def test_caps_over_two_workers(cap):
    """Workers count in shards of their own: at most one too many is let in, and what a worker counted is gone when it dies."""
    with PairWorld({"few": {cap: CAP}}, workers=2) as world:
        before = world.postern.workers()
        clients, servers, refused = ask_at_once(world, "/few")
        assert CAP <= len(clients) <= CAP + 1 and set(refused) == {b"403"}
        assert opens(world, "/few") == []
        records = wait_until(lambda: len(found := [line for line in world.postern.access() if line["event"] == "start"]) == len(clients)
                             and found, what="a record for each")
        per_worker = [sum(line["session"].startswith(f"{number}-") for line in records) for number in range(2)]
        assert sum(per_worker) == len(clients)
        victim = next(pid for pid in before if open(f"/proc/{pid}/comm").read().strip() == f"postern-w{per_worker[1] > per_worker[0]:d}")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: (now := world.postern.workers()) and len(now) == 2 and victim not in now, what="a new worker")
        left = min(per_worker)
        wait_until(lambda: sum(is_open(client) for client in clients) == left, what="the end of those that it had")
        pairs = opens(world, "/few")
        assert len(pairs) == CAP - left
        for end in clients + servers:
            end.close()
        for pair in pairs:
            pair.drop()


def is_open(sock):
    try:
        sock.setblocking(False)
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_deflate_is_denied(world):
    with pytest.raises(Refused) as refused:
        world.pair("/pair", extensions="permessage-deflate")
    assert refused.value.answer.status == 403 and b"extension-denied" in refused.value.answer.body
    world.pair("/pair").drop()


# Compression: what is inside counts.

DEFLATE = "permessage-deflate"
ALONE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def packed(data):
    deflater = zlib.compressobj(9, wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_secret_inside_compression(world):
    pair = world.pair("/packed", extensions=DEFLATE, accepted=DEFLATE)
    pair.client.send(TEXT, packed(b"fine"), rsv=4)
    assert pair.server.message() == (TEXT, packed(b"fine"))
    data = packed(b"the secret is out")
    pair.client.send(TEXT, data[:5], fin=0, rsv=4)
    pair.client.send(0, data[5:])
    assert pair.client.closed() == (1008, "match-denied: rule0")
    assert pair.server.closed() == (1001, "match-denied")


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_compressed_message_vanishes(world, side):
    """And the next is not broken by it: each was made to stand alone by the handshake."""
    pair = world.pair("/packed-drop", extensions="permessage-deflate; client_max_window_bits, x-other", accepted=ALONE)
    for head in (pair.request, pair.answer):
        assert b"server_no_context_takeover" in head and b"client_no_context_takeover" in head and b"x-other" not in head
    sender, receiver = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
    for text in (b"one", b"a secret", b"three"):
        sender.send(TEXT, packed(text), rsv=4)
    assert [receiver.message() for _ in range(2)] == [(TEXT, packed(b"one")), (TEXT, packed(b"three"))]
    assert pair.wait_record(reason="match-denied")["rule"] == "rule0"
    pair.drop()


def test_a_server_that_keeps_its_context_is_not_accepted(world):
    """What was asked for was not agreed to."""
    with pytest.raises((AssertionError, Refused)):
        pair = world.pair("/packed-drop", extensions=DEFLATE, accepted=DEFLATE)
        assert b" 101 " in pair.answer


@pytest.mark.parametrize("payload,code,reason", [
    (packed(b"x" * 1000), None, ""), (packed(b"x" * 1001), 1009, "message-too-big"), (packed(b"\xc3\xa9"), None, ""),
    (packed(b"\xc3"), 1007, "utf8-invalid"), (packed(b"\xff"), 1007, "utf8-invalid"), (b"\xff\xff\xff\xff", 1007, "deflate-malformed")])
def test_inspect(world, payload, code, reason):
    pair = world.pair("/inflated", extensions=DEFLATE, accepted=DEFLATE)
    pair.client.send(TEXT, payload, rsv=4)
    if code:
        assert pair.client.closed() == (code, reason)
        assert pair.server.closed() == (1001, reason)
    else:
        assert pair.server.message() == (TEXT, payload)
    pair.drop()


def test_pass(world):
    """Nothing inside is read; the bound counts what is on the wire."""
    pair = world.pair("/unread", extensions=DEFLATE, accepted=DEFLATE)
    for payload in (packed(b"x" * 100000), packed(b"\xff"), os.urandom(1000)):
        pair.client.send(TEXT, payload, rsv=4)
        assert pair.server.message() == (TEXT, payload)
    pair.client.send(TEXT, b"\xff")
    assert pair.client.closed() == (1007, "utf8-invalid")
    pair = world.pair("/unread", extensions=DEFLATE, accepted=DEFLATE)
    pair.client.send(BINARY, os.urandom(1001), rsv=4)
    assert pair.client.closed() == (1009, "message-too-big")


@pytest.mark.parametrize("path", ["/plain", "/inflated"])
def test_compressed_without_agreement(world, path):
    pair = world.pair(path, extensions=DEFLATE)
    assert b"permessage-deflate" not in pair.answer
    pair.client.send(TEXT, packed(b"x"), rsv=4)
    assert pair.client.closed() == (1002, "frame-malformed")
    pair.drop()


def test_origins(world):
    world.pair("/origins", origin="http://a.example").drop()
    for origin in (None, "http://b.example", "null"):
        with pytest.raises(Refused) as refused:
            world.pair("/origins", origin=origin)
        assert refused.value.answer.status == 403 and b"origin-denied" in refused.value.answer.body


def test_without_a_group_nothing_changes(world):
    pair = world.pair("/plain")
    deliver(pair, [("server", TEXT, b"first"), ("client", BINARY, os.urandom(100000)), ("client", BINARY, b"SSH-2.0-x\r\n")])
    pair.drop()


# Truth in closing: who said it, and 1006 has a name.

@pytest.mark.parametrize("side", ["client", "server"])
def test_who_vanished(world, side):
    pair = world.pair("/plain")
    deliver(pair, [("client", TEXT, b"hello")])
    gone, other = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
    gone.drop()
    assert other.closed()[0] == 1001
    ended = pair.wait_record(event="end")
    assert (ended["close_code"], ended["closed_by"]) == (1006, side)


@pytest.mark.parametrize("side", ["client", "server"])
def test_who_closed(world, side):
    pair = world.pair("/plain")
    closer, other = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
    closer.close(4321, b"why not")
    assert other.message() == (ws.CLOSE, (4321).to_bytes(2, "big") + b"why not")
    other.close(4321)
    assert closer.closed() == (4321, "")
    ended = pair.wait_record(event="end")
    assert (ended["close_code"], ended["closed_by"]) == (4321, side)
