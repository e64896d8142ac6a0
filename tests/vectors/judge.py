# SPDX-License-Identifier: ISC
"""One vector against one target in one mode: its steps, and the invariants that hold after every vector whatever its verdict.

I1 the same processes, no sanitizer output. I2 a canary on a fresh connection is answered within a second. I3 an origin's bytes are
strict HTTP/1.1, or the protocol that was approved. I4 no origin connection outlives its clients, none is used again after an error.
I5 exactly one line in the access log for each request or denial, with a reason.
"""
import traceback

from lib import http1
from vectors import secure, steps
from vectors.reasons import TOKENS

CANARY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary"


def origin_bytes_strict(world):
    """I3."""
    if world.mode == "explicit":
        return []
    failures = [f"I3: {conn.malformed}" for conn in world.upstream if conn.malformed]
    for conn in world.upstream:
        if conn.switched:
            compressed = {1: {0, 4}, 2: {0, 4}} if conn.deflates else {}
            bad = [one for one in conn.frames() if not one.masked or one.rsv not in compressed.get(one.op, {0}) or one.op not in (0, 1, 2, 8, 9, 10)]
            failures += [f"I3: frame {one.op} masked={one.masked} rsv={one.rsv}" for one in bad[:1]]
    return failures


def origin_released(vector, world):
    """I4."""
    failures = []
    for conn in world.upstream:
        conn.paused = False
    if not world.wait(lambda: all(conn.end or conn.closed for conn in world.upstream), world.settle_ms):
        failures.append("I4: an origin connection outlives its client")
    if vector["side"] == "server" and vector["expect"]["verdict"] == "reject":
        used = [len(conn.requests) for conn in world.upstream if len(conn.requests) > 1]
        failures += [f"I4: {count} requests on a connection that misbehaved" for count in used]
    return failures


def requests_of(records):
    groups = {}
    for line in records:
        groups.setdefault(line.get("request") or line.get("session"), []).append(line)
    return groups


def said_once(lines):
    last = [line for line in lines if line.get("event") in ("end", "denied")]
    return len(last) == 1 and (last[0]["event"] == "end" or last[0].get("reason"))


def logged(vector, world):
    """I5. None where the target keeps no log of ours."""
    if world.records() is None or not any(conn.received for conn in world.all_clients + world.upstream):
        return []
    token = vector["expect"].get("log") if vector["expect"]["verdict"] != "safe" else None

    def once():
        groups = requests_of(world.records())
        return groups and all(said_once(lines) for lines in groups.values())

    def named():
        return not token or any(line.get("reason") in TOKENS[token] for line in world.records())
    world.wait(lambda: once() and named(), world.settle_ms)
    shown = [{key: line.get(key) for key in ("event", "session", "request", "status", "reason")} for line in world.records()]
    failures = [] if once() else [f"I5: not exactly one line a request: {shown}"]
    return failures if named() else failures + [f"I5: no reason for {token!r}: {shown}"]


def canary(target, mode):
    """I2. The machine may have other things to do in that second: who was not served is tried once more."""
    return serve_canary(target, mode) and serve_canary(target, mode)


def serve_canary(target, mode):
    world = target.world(mode)
    world.serving = CANARY
    try:
        conn = world.client()
        conn.write(f"GET {world.names['T']}/canary HTTP/1.1\r\nHost: {world.names['O']}\r\n\r\n".encode())
        world.wait(lambda: (http1.response_at(conn.received, conn.offset) or http1.Response(0)).complete or conn.end, 1000)
        answer = http1.response_at(conn.received, conn.offset)
        wanted = 200 if target.policy == "baseline" else None
        if answer is None or not answer.complete or (wanted and answer.status != wanted):
            return [f"I2: canary: {answer.status if answer else 'no answer in 1 s'}"]
        return []
    finally:
        world.close_clients()
        world.wait(lambda: all(conn.end for conn in world.upstream), world.settle_ms)
        world.close_all()


def judge(vector, target, mode, split=None):
    """What did not hold, as sentences; none: passed."""
    world = target.world(mode, split)
    try:
        failures, still_forbidden = steps.run(vector, world)
        if any(getattr(conn, "refused", False) for conn in world.all_clients):
            failures.insert(0, "the tunnel to the origin was refused")
        world.close_clients()
        failures += origin_released(vector, world)
        failures += still_forbidden()
        failures += origin_bytes_strict(world)
        failures += logged(vector, world)
    finally:
        world.close_all()
    trouble = target.trouble()
    return failures + ([trouble] if trouble else []) + canary(target, "forward" if mode in ("explicit", "tunnel") else mode)


def judge_safely(vector, target, mode, split=None):
    """A fault of the harness is a failure that says so."""
    try:
        if vector["run"] == "tls":
            return secure.judge(vector, target, mode)
        return judge(vector, target, mode, split)
    except Exception:
        return ["HARNESS " + traceback.format_exc()]
