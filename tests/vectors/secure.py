# SPDX-License-Identifier: ISC
"""Vectors about TLS: their ends are OpenSSL's, or records written by hand. One instance, a listener for each way (lib/tls_stage.py); the
vector's own words say who misbehaves: a client of a listener with TLS ("tls"), a server ("reverse", "mitm"), a client that is looked into.

What a vector asserts in prose is a function here, by its words. The invariants are those of judge.py, as far as they are about TLS.
"""
import contextlib
import socket
import ssl
import time

from lib import hello, tls
from lib.http1 import Client
from lib.libssl import TLS1_2, TLS1_3, Failed, Stream
from lib.postern import SMALL_QUARANTINE, rss_kib
from lib.tls_stage import NAMES, SITE, TLS_PORT, TlsStage, trusted
from vectors.reasons import TOKENS

SITE_NAME, OTHER_SITE = "a.test", "b.test"
TIMEOUTS = {"handshake": 2.0, "header": 2.0, "drain": 1.0}
VERSIONS = {"TLSv1.2": TLS1_2, "TLSv1.3": TLS1_3, "SSLv3": 0x0300, "TLSv1.0": 0x0301}
FLOOD_SECONDS = 3
FLOODER = "127.0.0.9"       # what it may have minted in the next seconds is used up
FLOOD_NAMES = 1500          # of the 100,000 that TM-05 says: all are the same after the first few hundred
GROWTH_KIB = 32 * 1024
MODES = {"tls-in": ["tls"], "tls-up": ["reverse", "mitm"], "tls-mitm": ["mitm"]}


def tune(settings):
    """Sites a.test and b.test; an upstream by its name and one by its address."""
    origin = settings["zones"][1]["networks"][0].partition("/")[0]
    pairs = [tls.root().certify(SITE_NAME, SITE), tls.root().certify(OTHER_SITE)]
    up = next(one for one in settings["listeners"] if one["name"] == "up")
    up["upstreams"] = [f"https://{SITE_NAME}:{TLS_PORT}"]
    settings["listeners"].append({**up, "name": "up-address", "address": up["address"].rpartition(":")[0] + ":8082",
                                  "upstreams": [f"https://{origin}:{TLS_PORT}"]})
    next(one for one in settings["listeners"] if one["name"] == "site")["tls"] = {"certificates": [pair.files for pair in pairs]}
    settings["policies"][-1]["sni"] = "optional"
    settings["tls"] = {**settings["tls"], "crl": tls.crls(), "mint_rate": 1000}
    settings["timeouts"] = TIMEOUTS


class SecureTarget:
    def __init__(self):
        self.stage = TlsStage(tune=tune, server=tls.root().certify(*NAMES), environment=SMALL_QUARANTINE)
        self.pids = self.stage.postern.processes()

    def trouble(self):
        """I1."""
        said = self.stage.postern.sanitizer_output()
        if said:
            return f"I1: sanitizer: {said[:1500]}"
        now = self.stage.postern.processes()
        if now != self.pids:
            before, self.pids = self.pids, now
            return f"I1: processes were {before}, are {now}"
        return ""

    def canary(self, again=True):
        """I2. A handshake is a part of that second, and the machine may have other things to do: a slow one is tried once more."""
        began = time.monotonic()
        with self.stage.client("site", SITE_NAME) as client:
            answer = client.request("GET", "/canary", SITE_NAME)
        took = time.monotonic() - began
        if took >= 1 and again:
            return self.canary(again=False)
        return [] if answer.status == 200 and took < 1 else [f"I2: canary: {answer.status} in {took:.1f} s"]

    def close(self):
        self.stage.__exit__(None, None, None)


class Vector:
    """One run: what the client holds, and what it saw."""

    def __init__(self, target, mode):
        self.stage, self.mode = target.stage, mode
        self.client = self.stream = None
        self.name, self.failure, self.ports = SITE_NAME, "", set()
        self.origins = len(self.stage.origin.connections), len(self.stage.secure.connections)
        self.rss = self.memory()

    def memory(self):
        return sum(rss_kib(pid) for pid in self.stage.postern.workers())

    # What reached an origin, in clear or inside TLS.

    def reached(self):
        return self.stage.origin.connections[self.origins[0]:] + self.stage.secure.connections[self.origins[1]:]

    def requests(self):
        return [request for one in self.reached() for request in list(one.requests)]

    # The client's end.

    def dial(self, listener, port=None, **options):
        self.client = Client(self.stage.at(listener), timeout=20, **options)
        self.ports.add(self.client.port)
        return self.client

    def said(self):
        """What came in clear: the alerts among it."""
        with contextlib.suppress(OSError):
            while not self.client.ended:
                self.client.more(time.monotonic() + 5)
        return hello.alerts_in(bytes(self.client.received))

    def open_stream(self, **options):
        self.stream = Stream(self.stage.at("site"), self.name, **options)
        self.ports.add(self.stream.socket.getsockname()[1])

    def inspect(self, name, sni=None, alpn=None):
        """CONNECT, then a handshake; `failure` is what it failed with."""
        self.dial("proxy")
        answer = self.client.tunnel(f"{name}:{TLS_PORT}")
        if answer.status != 200:
            self.failure = f"CONNECT: {answer.status}"
            return
        context = tls.client_context(trusted(), alpn=alpn)
        context.check_hostname = sni is not False
        try:
            self.client.secure(context, sni or (name if sni is None else None))
        except (ssl.SSLError, ConnectionError) as error:
            self.failure = str(error) or type(error).__name__

    def close(self):
        for one in (self.client, self.stream):
            if one:
                one.close()


# Steps. What does not hold is returned as a sentence.

def do_clienthello(step, run):
    split = step.get("record_split", 16384)
    data = hello.client_hello(step["sni"], record=split, padding=step.get("padding", 0), twice=step.get("duplicate_sni", False))
    run.dial("site").socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    piece = split + 5 if "record_split" in step else len(data)
    with contextlib.suppress(OSError):
        for at in range(0, len(data), piece):
            run.client.send(data[at:at + piece])
            time.sleep(step.get("gap_ms", 0) / 1000)


def do_raw(step, run):
    run.dial("site").send(bytes.fromhex(step["hex"]))


def do_handshake(step, run):
    if "max_version" in step:       # nothing that is installed here speaks it
        run.dial("site").send(hello.client_hello(run.name, versions=(), legacy=VERSIONS[step["max_version"]]))
        return
    run.open_stream(version=VERSIONS[step.get("version", "TLSv1.3")])
    run.stream.write(f"GET / HTTP/1.1\r\nHost: {run.name}\r\n\r\n".encode())
    run.stream.read_until(b"ok")
    if "early_data" in step:
        session = run.stream.session()
        session.allow_early_data()
        run.stream.close()
        run.stream = None
        try:
            run.open_stream(version=TLS1_3, session=session, early=step["early_data"].encode())
        except Failed as error:
            run.failure = str(error)


def do_renegotiate(step, run):
    try:
        run.stream.renegotiate()
    except Failed as error:
        run.failure = str(error)


def do_keyupdate(step, run):
    end = time.monotonic() + FLOOD_SECONDS
    try:
        for _ in range(step["times"]):
            run.stream.update_keys()
            if time.monotonic() > end:
                break
    except Failed as error:
        run.failure = str(error)


def do_origin_cert(step, run):
    kind = step["kind"]
    if kind == "ip-mismatch":
        run.name = f"{run.stage.prefix}.1"
    run.stage.secure.tls = tls.server_context(tls.bad_server(kind, SITE_NAME, f"{run.stage.prefix}.1"))
    if kind == "revoked":
        tls.crls()
        assert run.stage.postern.reload().returncode == 0


def do_connect_and_handshake(step, run):
    run.name = step["host"]
    if step.get("client_cert_required_upstream"):
        run.stage.secure.tls = tls.server_context(run.stage.server, clients=tls.root().file)
    run.minted = run.stage.postern.stderr().count("signed")
    run.inspect(run.name, step.get("sni"), step.get("alpn"))
    if not run.failure and "sni" not in step:
        host = step.get("inner_host", run.name)
        run.client.send(f"GET / HTTP/1.1\r\nHost: {host}:{TLS_PORT}\r\n\r\n".encode())


def do_sni_flood(step, run):
    names = [f"n{number}.test" for number in range(FLOOD_NAMES)]
    tls.write(run.stage.hosts, "".join(f"{run.stage.prefix}.1 {name}\n" for name in (*NAMES, *names)).encode())
    assert run.stage.postern.reload().returncode == 0
    waits = []
    for number, name in enumerate(names):
        with contextlib.suppress(OSError), Client(run.stage.at("proxy"), source=FLOODER) as client:
            run.ports.add(client.port)
            client.tunnel(f"{name}:{TLS_PORT}")
            client.send(hello.client_hello(name))
            client.exactly(1)
        if number % 100 == 0:
            began = time.monotonic()
            with run.stage.client("site", SITE_NAME) as other:
                assert other.request("GET", "/", SITE_NAME).status == 200
            waits.append(time.monotonic() - began)
    run.slowest = sorted(waits)[-2]         # one of them the machine may have had other things to do


def do_cross_host_cache(step, run):
    def visit(name, session=None):
        client = run.dial("proxy")
        assert client.tunnel(f"{name}:{TLS_PORT}").status == 200
        with Stream("", name, TLS1_2, session, sock=client.socket) as stream:
            stream.write(f"GET / HTTP/1.1\r\nHost: {name}:{TLS_PORT}\r\n\r\n".encode())
            stream.read_until(b"ok")
            return stream.resumed, stream.session()
    _, session = visit("a.test")
    session.rename("b.test")
    run.resumed = visit("b.test", session)[0]


DO = {"clienthello": do_clienthello, "raw": do_raw, "handshake": do_handshake, "renegotiate": do_renegotiate, "keyupdate": do_keyupdate,
      "origin_cert": do_origin_cert, "connect+handshake": do_connect_and_handshake, "sni_flood": do_sni_flood,
      "cross_host_cache": do_cross_host_cache}


def step_do(step, run):
    return DO[step["do"]](step, run)


def step_to(step, run):
    """A request to the server whose certificate is bad."""
    by_address = run.name != SITE_NAME
    if run.mode == "reverse":
        run.dial("up-address" if by_address else "up")
    else:
        run.inspect(run.name, False if by_address else None)
        if run.failure:
            return f"no handshake: {run.failure}"
    run.client.send(step["data"].replace("{{T}}", "").replace("{{O}}", f"{run.name}:{TLS_PORT}").encode())
    return None


def step_expect_status(step, run):
    try:
        run.status = run.client.response().status
    except (ConnectionError, OSError) as error:
        return f"expect_status {step['expect_status']}: {run.failure or error!r}"
    return None if run.status in step["expect_status"] else f"expect_status {step['expect_status']}: {run.status}"


def step_expect_close(step, run):
    if run.failure:
        return None
    end = time.monotonic() + step["within_ms"] / 1000
    try:
        while not run.client.ended:
            run.client.more(end)
    except TimeoutError:
        return f"expect_close: open after {step['within_ms']} ms"
    return None


def step_sleep_ms(step, run):
    """Nothing happens meanwhile but that the connection may end."""
    step_expect_close({"within_ms": step["sleep_ms"]}, run)


def step_upstream_conns_max(step, run):
    reached = [one for one in run.reached() if one.received]
    return f"upstream_conns_max: {len(reached)}" if len(reached) > step["upstream_conns_max"] else None


def step_upstream_must_not_see(step, run):
    word = step["upstream_must_not_see"].encode()
    return f"upstream_must_not_see {word!r}" if any(word in one.received for one in run.reached()) else None


def step_upstream_no_request_to(step, run):
    path = step["upstream_no_request_to"].encode()
    return f"upstream_no_request_to {path!r}" if any(request.path == path for request in run.requests()) else None


# Prose.

def is_ended_by_alert(name):
    def check(run):
        said = run.said()
        return None if said in ([], [name]) and run.client.ended else f"alerts {said}"
    return check


def is_told(name):
    def check(run):
        said = run.said()
        return None if said == [name] else f"alerts {said}"
    return check


def goes_on_as_tls(run):
    with contextlib.suppress(OSError):
        run.client.more(time.monotonic() + 10)
    got = bytes(run.client.received[:1])
    return None if got in (b"\x16", b"\x15", b"") else f"answered by {bytes(run.client.received[:40])!r}"


def is_refused(run):
    return None if run.failure else "it was done"


def early_data_rejected(run):
    return "early data was accepted" if run.stream and run.stream.early_data_accepted else None


def flood_ended(run):
    return None if run.failure else "the connection is still open"


def flood_bounded(run):
    grown = run.memory() - run.rss
    return None if grown <= GROWTH_KIB and run.slowest < 1 else f"grown by {grown} KiB, others waited for {run.slowest:.1f} s"


def client_certificate_wanted(run):
    failure = step_expect_status({"expect_status": [502]}, run) or is_logged(run, {"upstream-wants-certificate"})
    return failure or ("a request was sent" if run.requests() else None)


def http1_on_both_legs(run):
    if run.failure:
        return run.failure
    chosen = run.client.socket.selected_alpn_protocol(), run.stage.secure.connections[-1].socket.selected_alpn_protocol()
    return None if chosen == ("http/1.1", "http/1.1") and run.client.response().status == 200 else f"chosen: {chosen}"


def not_resumed(run):
    return "resumed under another name" if run.resumed else None


ASSERT = {
    "alert unrecognized_name(112) or close": is_ended_by_alert("unrecognized_name"),
    "handshake completes or is closed by the handshake timer; never treated as non-TLS": goes_on_as_tls,
    "same site as a.test or refused; never another site": goes_on_as_tls,
    "protocol_version alert": is_told("protocol_version"),
    "no_renegotiation alert or close": is_refused,
    "early data rejected (max_early_data 0)": early_data_rejected,
    "connection closed or CPU share bounded; other clients served < 1 s": flood_ended,
    "leaf cache bounded (LRU), RSS growth <= 32 MiB, CPU budget for signing limited per client, other clients < 1 s": flood_bounded,
    "502 with reason client-cert; no silent downgrade": client_certificate_wanted,
    "http/1.1 selected on both legs": http1_on_both_legs,
    "ticket/session not accepted across names": not_resumed,
}


def step_assert(step, run):
    failure = ASSERT[step["assert"]](run)
    return f"{step['assert']}: {failure}" if failure else None


STEPS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("step_")}


def records(run):
    return [line for line in run.stage.postern.access() if str(line.get("client", "")).rpartition(":")[2] in {str(port) for port in run.ports}]


def is_logged(run, reasons):
    end = time.monotonic() + 4
    while True:
        found = [line.get("reason") for line in records(run)]
        if reasons.intersection(found):
            return None
        if time.monotonic() > end:
            return f"logged are {found}"
        time.sleep(0.02)


def logged(vector, run):
    """I5, of what is refused: a reason of the cause that the vector names."""
    if vector["expect"]["verdict"] not in ("reject", "close") or vector["id"] in GOES_ON:
        return []
    failure = is_logged(run, TOKENS[vector["expect"]["log"]])
    return [f"I5: no reason for {vector['expect']['log']!r}: {failure}"] if failure else []


# Where what is refused is not the client: early data is ignored and a ticket is not taken, but the handshake goes on; in TLS 1.2 the
# alert no_renegotiation is a warning.
GOES_ON = {"TI-17", "TI-21", "TM-11"}


def judge(vector, target, mode):
    run = Vector(target, mode)
    failures = []
    try:
        for step in vector["send"]:
            kind = next(key for key in step if key in STEPS)
            failure = STEPS[kind](step, run)
            if failure:
                failures.append(failure)
        failures += logged(vector, run)
        # What a prohibition says must hold to the end.
        failures += [said for step in vector["send"] for kind in step if kind.startswith("upstream_") and (said := STEPS[kind](step, run))
                     and said not in failures]
    finally:
        run.close()
        run.stage.secure.tls = tls.server_context(run.stage.server)
    trouble = target.trouble()
    return failures + ([trouble] if trouble else []) + target.canary()
