# SPDX-License-Identifier: ISC
"""The steps of a vector (docs/vectors.md, "Steps"): one function a step, named by the key that decides.

A step returns nothing when it holds and a sentence when it does not. Prohibitions are remembered and judged again at the end, when
everything that was going to happen has happened.
"""
from lib import http1, ws
from vectors.data import Repeated, data_of, fill

WITHIN = 3000
OPTIONAL = 700
FINELY = 1024      # bytes at either end of long data that are cut into pieces


def latin(text, world):
    return fill(text, world.names).encode("latin-1")


# Doing.

def pieces_of(data, size):
    """All of it in pieces; of long data only the begin and the end, where heads and frames begin and end."""
    if len(data) <= 2 * FINELY:
        return [data[at:at + size] for at in range(0, len(data), size)]
    return pieces_of(data[:FINELY], size) + [data[FINELY:-FINELY]] + pieces_of(data[-FINELY:], size)


STALLED = 500


def write_all(conn, data, world, ms):
    """A long repetition, until it is written or nobody takes any more of it."""
    for _ in range(data.times):
        conn.write(data)
    before = None
    while ms > 0 and conn.pending and before != conn.left and not conn.end:
        before = conn.left
        world.wait(lambda: not conn.pending or conn.end, min(ms, STALLED))
        ms -= STALLED


def write(conn, data, world, ms):
    """Whole, or in the pieces that the backend wants."""
    if isinstance(data, Repeated):
        write_all(conn, data, world, ms)
        return
    for piece in pieces_of(data, world.split) if world.split else [data]:
        conn.write(piece)
        world.wait(lambda: not conn.pending or conn.end == "rst", ms)
    conn.last_sent = data


def dial(step, world):
    """What a transparent vector's client dials."""
    if "orig_dst" in step:
        world.original = fill(step["orig_dst"], world.names)


def do_to(step, world):
    dial(step, world)
    conn = world.client(step.get("conn", "c1"))
    data = world.data[id(step)]
    if "split" in step:
        write_slowly(conn, data, step, world)
    else:
        write(conn, data, world, step.get("max_ms", WITHIN * 2))


def write_slowly(conn, data, step, world):
    spent, gap = 0, step["gap_ms"]
    for piece in pieces_of(data, step["split"]):
        conn.write(piece)
        world.sleep(gap)
        spent += gap
        if conn.end or spent >= step.get("stop_after_ms", spent + 1):
            return


def do_open(step, world):
    dial(step, world)
    world.open(step["open"])


def do_shut(step, world):
    world.client().shut()


def do_rst(step, world):
    world.client(step["rst"]).close(reset=True)


def do_client(step, world):
    world.client().paused = step["client"] == "stop_reading"


def do_sleep_ms(step, world):
    world.sleep(step["sleep_ms"])


def first_upstream(world, ms=WITHIN):
    world.wait(lambda: world.upstream, ms)
    return world.upstream[0] if world.upstream else None


def do_from(step, world):
    conn = first_upstream(world, OPTIONAL if step.get("optional") else WITHIN)
    if conn is None:
        return None if step.get("optional") else "the origin was never dialled"
    if world.mode != "explicit" and not world.wait(lambda: conn.head_end or conn.end, WITHIN):
        return "no request head reached the origin"
    conn.say(world.data[id(step)])
    write(conn, world.data[id(step)], world, step.get("max_ms", WITHIN * 2))
    return None


def do_upstream(step, world):
    what = step["upstream"]
    if what == "serve":
        world.serving = world.data[id(step)]
        world.pump()
        return None
    conn = first_upstream(world, OPTIONAL if step.get("optional") else WITHIN)
    if conn is None:
        return None if step.get("optional") else "the origin was never dialled"
    if what == "read_head":
        return None if world.wait(lambda: conn.head_end, WITHIN) else "no request head reached the origin"
    if what in ("close", "rst"):
        conn.close(reset=what == "rst")
    elif what == "stop_reading":
        conn.paused = True
    elif what == "expect_ws":
        return expect_frames({"op": 8, "code": step["code"]}, conn, conn.frames, False, world)
    return None


def do_do(step, world):
    """The only one that runs here (TP-05): the client dials the transparent listener itself."""
    assert step["do"] == "direct_connect_to_transparent_port", step
    world.original = "direct"
    world.client()


def do_note(step, world):
    pass


# Expecting.

def skip_interim(conn, statuses):
    """The next answer that is final or asked for; None if it has not come."""
    while True:
        answer = http1.head_at(conn.received, conn.offset) if len(conn.received) > conn.offset else None
        if answer is None or answer.error or answer.status >= 200 or answer.status == 101 or answer.status in statuses:
            return answer
        conn.offset = answer.end


def do_expect_status(step, world):
    conn, statuses, within = world.client(), step["expect_status"], step.get("within_ms", WITHIN)
    world.wait(lambda: skip_interim(conn, statuses) or conn.end, within)
    answer = skip_interim(conn, statuses)
    if answer is None:
        if conn.end and len(conn.received) == conn.offset and step.get("or_close"):
            return None
        return f"expect_status {statuses}: " + (f"closed ({conn.end})" if conn.end else f"nothing in {within} ms") + rest_of(conn)
    if answer.error:
        return f"expect_status {statuses}: {answer.error}"
    method = conn.last_sent.split(b" ", 1)[0]
    world.wait(lambda: http1.response_at(conn.received, conn.offset, method, conn.end).complete or conn.end, within)
    world.last = http1.response_at(conn.received, conn.offset, method, bool(conn.end))
    conn.offset = world.last.end
    return None if answer.status in statuses else f"expect_status {statuses}: {answer.status}"


def rest_of(conn):
    rest = bytes(conn.received[conn.offset:])
    return f" with {rest[:60]!r}" if rest else ""


def do_expect_body(step, world):
    if world.last is None or latin(step["expect_body"], world) not in world.last.body:
        return f"expect_body {step['expect_body']!r}: {world.last.body[:60] if world.last else None!r}"
    return None


def do_expect_close(step, world):
    within = step.get("within_ms", WITHIN)
    return None if world.wait(lambda: world.client().end, within) else f"expect_close: open after {within} ms"


def do_upstream_expect_close(step, world):
    conn, within = first_upstream(world, 0), step.get("within_ms", WITHIN)
    if conn is None or world.wait(lambda: conn.end or conn.closed, within):
        return None
    return f"upstream_expect_close: open after {within} ms"


def do_proxy_rss_delta_max_kib(step, world):
    """Since the vector began."""
    grown, most = world.rss_kib() - world.rss_before, step["proxy_rss_delta_max_kib"]
    return f"proxy_rss_delta_max_kib {most}: grew by {grown} KiB" if grown > most else None


def do_expect_silence_ms(step, world):
    conn = world.client()
    before = len(conn.received)
    world.sleep(step["expect_silence_ms"])
    got = bytes(conn.received[before:])
    return f"expect_silence: {got[:60]!r}" if got else None


def do_upstream_must_see(step, world):
    wanted = latin(step["upstream_must_see"], world).lower()
    if world.wait(lambda: wanted in world.origin_bytes().lower(), WITHIN):
        return None
    return f"upstream_must_see {wanted!r}"


def do_upstream_must_see_if_forwarded(step, world):
    wanted = latin(step["upstream_must_see_if_forwarded"], world).lower()
    seen = world.origin_bytes().lower()
    return f"upstream_must_see_if_forwarded {wanted!r}" if seen.strip(b"\0") and wanted not in seen else None


def do_client_must_see(step, world):
    wanted = latin(step["client_must_see"], world)
    if world.wait(lambda: wanted in world.client_bytes(world.client()), WITHIN):
        return None
    return f"client_must_see {wanted!r}"


def do_expect_bytes_any(step, world):
    conn = world.client()
    choices = [bytes.fromhex(text) for text in step["expect_bytes_any"]]

    def found():
        got = bytes(conn.received[conn.offset:])
        return next((choice for choice in choices if choice and got.startswith(choice)), b"" if conn.end and not got and b"" in choices else None)
    world.wait(lambda: found() is not None or conn.end, WITHIN)
    match = found()
    if match is None:
        return f"expect_bytes_any {step['expect_bytes_any']}: {bytes(conn.received[conn.offset:])[:20].hex()!r}"
    conn.offset += len(match)
    return None


def do_expect_reply(step, world):
    conn = world.client()
    world.wait(lambda: len(conn.received) >= conn.offset + 2 or conn.end, WITHIN)
    got = bytes(conn.received[conn.offset:])
    if len(got) < 2:
        return None if conn.end and step.get("or_close") else "expect_reply: none"
    conn.offset += {1: 10, 4: 22}.get(got[3] if len(got) > 3 else 1, 10)
    return None if got[1] in step["expect_reply"] else f"expect_reply {step['expect_reply']}: {got[1]}"


def do_expect_responses(step, world):
    conn, wanted, count = world.client(), step["expect_responses"], 0
    while count < wanted["n"]:
        world.wait(lambda: (http1.response_at(conn.received, conn.offset) or http1.Response(0)).complete or conn.end, WITHIN)
        answer = http1.response_at(conn.received, conn.offset, b"GET", bool(conn.end))
        if answer is None or not answer.complete:
            clean = conn.end and len(conn.received) == conn.offset
            return None if clean and step.get("or_limit") else f"expect_responses: {count} of {wanted['n']}, then {rest_of(conn)!r}"
        if answer.status != wanted["status"]:
            return None if step.get("or_limit") and answer.status in (400, 408, 413, 429, 503) else f"expect_responses: {answer.status}"
        conn.offset = answer.end
        count += 1
    return None


# WebSocket.

def do_expect_ws(step, world):
    if step["side"] == "client":
        conn = world.client()
        return expect_frames(step["expect_ws"], conn, lambda: world.client_frames(conn), step.get("or_close"), world)
    conn = first_upstream(world)
    if conn is None:
        return "expect_ws: the origin was never dialled"
    return expect_frames(step["expect_ws"], conn, conn.frames, step.get("or_close"), world)


def matches(wanted, frames):
    """True, False (it can not come any more), or None."""
    if wanted.get("op") == 8:
        codes = [one.close_code for one in frames if one.op == 8 and one.complete]
        return None if not codes else codes[0] in wanted["code"]
    op = wanted.get("op", ws.TEXT)
    text = wanted["text"].encode("latin-1")
    return True if (op, text) in ws.messages_in(frames) else None


def expect_frames(wanted, conn, frames, or_close, world):
    world.wait(lambda: matches(wanted, frames()) is not None or conn.end, WITHIN)
    found = matches(wanted, frames())
    if found or (found is None and conn.end and or_close):
        return None
    seen = [(one.op, one.close_code if one.op == 8 else one.payload[:20]) for one in frames()]
    return f"expect_ws {wanted}: {seen}" + (f", closed ({conn.end})" if conn.end else "")


# Prohibitions: true now and still true at the end.

def never_upstream_must_not_see(step, world):
    unwanted = latin(step["upstream_must_not_see"], world).lower()
    return f"upstream_must_not_see {unwanted!r}" if unwanted in world.origin_bytes().lower() else None


def never_client_must_not_see(step, world):
    unwanted = latin(step["client_must_not_see"], world)
    conn = world.clients.get("c1")
    if conn is None:
        return None
    return f"client_must_not_see {unwanted!r}" if unwanted in world.client_bytes(conn) else None


def never_upstream_conns_max(step, world):
    count = step["upstream_conns_max"]
    world.wait(lambda: len(world.live_upstream()) <= count, WITHIN)
    live = world.live_upstream()
    return f"upstream_conns_max {count}: {len(live)}, {bytes(live[0].received[:60])!r}" if len(live) > count else None


def never_upstream_requests_max(step, world):
    world.pump()
    bad = next((conn.malformed for conn in world.upstream if conn.malformed), "")
    count = len(world.requests())
    if bad:
        return f"upstream_requests_max: not strict: {bad}"
    return f"upstream_requests_max {step['upstream_requests_max']}: {count}" if count > step["upstream_requests_max"] else None


def never_upstream_no_request_to(step, world):
    path = latin(step["upstream_no_request_to"], world)
    return f"upstream_no_request_to {path!r}" if any(request.path == path for request in world.requests()) else None


def never_peer_ws_must_not_see(step, world):
    unwanted = step["peer_ws_must_not_see"].encode("latin-1")
    if step["side"] == "client":
        frames = world.client_frames(world.client())
    else:
        frames = [one for conn in world.upstream for one in conn.frames()]
    return f"peer_ws_must_not_see {unwanted!r}" if any(one.op != 8 and unwanted in one.payload for one in frames) else None


def never_no_egress_to(step, world):
    return f"no_egress: {world.foreign or 'the origin'} was dialled" if world.foreign or world.live_upstream() else None


def never_assert(step, world):
    """The only one of raw vectors (LG-02): secrets in what the program wrote, which the backend knows how to look for."""
    return world.find_secrets([b"S3CR3T", b"UzNDUjNU"])


DO = {name[3:]: function for name, function in globals().items() if name.startswith("do_")}
NEVER = {name[6:]: function for name, function in globals().items() if name.startswith("never_")}


def kind_of(step):
    """The key that says what a step is; the others are its parameters."""
    return next(key for key in step if key in NEVER or key in DO)


def run(vector, world):
    """Runs the steps; returns what did not hold. A failed action ends the run, a failed expectation does not."""
    # Before anything begins: making 64 MiB of masked frames takes longer than a timer.
    world.data = {id(step): data_of(step["data"], world.names) for step in vector["send"] if "data" in step}
    world.rss_before = world.rss_kib()
    failures, prohibitions = [], []
    for step in vector["send"]:
        kind = kind_of(step)
        if kind in NEVER:
            prohibitions.append((kind, step))
            failure = NEVER[kind](step, world) if kind != "assert" else None
        else:
            failure = DO[kind](step, world)
        if failure:
            failures.append(failure)
            if kind in ("from", "upstream"):
                break
    return failures, lambda: [said for kind, step in prohibitions if (said := NEVER[kind](step, world)) and said not in failures]
