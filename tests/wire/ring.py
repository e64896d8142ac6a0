# SPDX-License-Identifier: ISC
"""A stage for scripted scenarios on the wire ring: clients and servers in one test's hands, and time that only the test moves.

Nothing here sleeps. settle() turns the program's loop and moves our ends until nothing changes any more; advance() moves its clock.
"""
import json
import os
import ssl
import time

from lib import libconfig, loopback, ws
from lib.postern import BUILD
from vectors.wire import Host
from vectors.world import Conn

import tls_ends

PROGRAM = os.path.join(BUILD, "tests", "wire", "wire_host")
PREFIX = "127.0.98"
ORIGIN, OTHER = f"{PREFIX}.1:8000", f"{PREFIX}.1:9000"
NAME = "origin.test"
# For transparent listeners: a second server, one in no zone, and a port where HTTP and anything else may go.
SECOND, NOWHERE, MIXED = f"{PREFIX}.4", f"{PREFIX}.9", f"{PREFIX}.1:7000"
HOSTS = f"""{PREFIX}.1 {NAME} a.test
{SECOND} second.test both.test
{PREFIX}.1 both.test
{NOWHERE} nowhere.test
{PREFIX}.1 denied.test
::1 six.test
"""
RESOLVER = (f"{PREFIX}.3", 5353)
# All different, so that a timer that takes the wrong one is seen.
TIMEOUTS = {"handshake": 3.0, "header": 4.0, "body": 5.0, "connect": 6.0, "response": 7.0, "keepalive": 8.0, "tunnel_idle": 9.0, "message": 3.5,
            "drain": 2.0}
STUCK_SECONDS = 20.0
PAIR_PORT = 20002      # wire_dial.c


# How clients and servers of the reverse listeners speak. Ended: clients speak TLS, to the explicit proxy, too. Inspected: they come by
# CONNECT and TLS in it. Upstream: their servers speak TLS.
WAYS = ("plain", "ended", "inspected", "upstream")
REVERSE = ("site", "never", "shared")


def world():
    return tls_ends.world((f"{PREFIX}.1", SECOND))


def over_tls(made, way):
    """The same settings for another way."""
    files, ended = world(), {"certificate": world().server.path, "key": world().server.key_path, "unknown_name": "first"}
    verified = {"trust": files.ca.path}
    listeners, policies = made["listeners"], made["policies"]
    for listener in listeners if way == "ended" else ():
        if listener["mode"] != "transparent":
            listener["tls"] = ended
    for listener in listeners if way == "upstream" else ():
        listener.update({"upstreams": [f"https://{one}" for one in listener["upstreams"]]} if "upstreams" in listener else {})
    for policy in policies:
        if way == "upstream" and policy["name"][3:] in REVERSE:
            policy["upstream_tls"] = verified
        if way == "inspected" and policy["name"][3:] in REVERSE:
            policy.update({"listeners": policy["listeners"] + ["in-" + policy["name"][3:]], "tls": "inspect", "upstream_tls": verified})
    if way == "inspected":
        made["tls"] = {"inspect_certificate": files.inspect.path, "inspect_key": files.inspect.key_path}
        listeners += [{"name": f"in-{name}", "mode": "explicit", "address": f"{PREFIX}.2:{3200 + n}"} for n, name in enumerate(REVERSE)]
    return made


def settings(hosts, limits, websocket=None, policies=(), over="plain"):
    """`websocket`: that group of the policies to-site and web; `policies` stand in front of the others. Reverse listeners `site`, `never` and `shared` by their reuse; `proxy` is explicit: port 8000 for all that is known, 9000 for
    anything. Transparent ones: `strict`, `resolve` and `off` by their check, and `kept`, which keeps the client's address."""
    def reverse(name, last, reuse):
        listener = {"name": name, "mode": "reverse", "address": f"{PREFIX}.2:{last}", "upstreams": [ORIGIN]}
        policy = {"name": f"to-{name}", "listeners": [name], "protocols": ["http", "websocket"], "upstream_reuse": reuse,
                  "action": "allow"}
        return listener, policy

    def allowing(policy):
        return {**policy, "websocket": websocket} if websocket else policy

    def transparent(name, last, **more):
        return {"name": name, "mode": "transparent", "address": f"{PREFIX}.2:{last}", "intercept": "tproxy", "ports": [last], **more}

    ways = [transparent(check, 8090 + n, host_check=check) for n, check in enumerate(("strict", "resolve", "off"))]
    ways.append(transparent("kept", 8094, preserve_client_address=True))
    way = {"listeners": [one["name"] for one in ways], "from": "client", "to": ["origin", "second"]}
    known = [f"{PREFIX}.1", SECOND, NAME, "second.test", "both.test", "six.test", "ghost.test"]
    kinds = [reverse("site", 8080, "session"), reverse("never", 8081, "never"), reverse("shared", 8082, "shared")]
    made = {
        "workers": 1, "limits": limits, "timeouts": TIMEOUTS, "log": {"interval": 6},
        "resolver": {"servers": [f"{RESOLVER[0]}:{RESOLVER[1]}"], "hosts": hosts, "timeout": 1.0},
        "zones": [{"name": "client", "networks": ["127.0.0.1/32"]}, {"name": "origin", "networks": [f"{PREFIX}.1/32"]},
                  {"name": "second", "networks": [f"{SECOND}/32"]}, {"name": "six", "networks": ["::1/128"]}],
        "listeners": [{"name": "proxy", "mode": "explicit", "address": f"{PREFIX}.2:3128"}] + [kind[0] for kind in kinds]
        + ways,
        "packet_filter": {"backend": "nftables"},
        "policies": [{"name": "denied", "paths": ["/deny*"], "protocols": ["http", "websocket"], "action": "deny"}]
        + list(policies) + [allowing(kind[1]) for kind in kinds]
        + [allowing({"name": "web", "listeners": ["proxy"], "from": "client", "to": "origin", "ports": [8000],
                     "protocols": ["http", "websocket", "tls"], "action": "allow"}),
           {"name": "way", **way, "hosts": known, "ports": [8000], "protocols": ["http", "websocket", "tls"], "action": "allow",
            "upstream_reuse": "shared"},
           {"name": "way-open", **way, "ports": [7000], "protocols": ["http", "tunnel"], "action": "allow"},
           {"name": "way-any", **way, "ports": [9000], "protocols": ["tunnel"], "action": "allow"},
           {"name": "any", "listeners": ["proxy"], "from": "client", "to": "origin", "ports": [9000], "protocols": ["tunnel"],
            "action": "allow"}],
    }
    return made if over == "plain" else over_tls(made, over)


class End(Conn):
    def pump(self):
        if not isinstance(self.sock, tls_ends.TlsSocket) or self.closed:
            return super().pump()
        self.sock.moved = False
        self.sock.push()
        moved = super().pump()
        return self.sock.moved or moved

    @property
    def pending(self):
        return super().pending or bool(getattr(self.sock, "out", b""))

    def __repr__(self):
        return f"<{len(self.received)} bytes, {self.end or 'open'}: {bytes(self.received[:200])!r}>"


class Ring:
    def __init__(self, folder, websocket=None, way="plain", change=None, **limits):
        """`change` makes what it likes of the settings."""
        self.hosts, self.limits, self.way, self.change = os.path.join(folder, "hosts"), limits, way, change or (lambda made: made)
        with open(self.hosts, "w") as file:
            file.write(HOSTS)
        self.host = Host(PROGRAM, self.change(settings(self.hosts, limits, websocket, over=way)))
        self.ends, self.opened, self.listener = [], [], None

    def client(self, listener="site", original=""):
        """`original`: what an intercepted client dialled, or "direct", or "unknown"."""
        self.listener = listener
        if self.way == "inspected" and listener in REVERSE:
            return self.inspected(f"in-{listener}")
        end = self.raw_client(listener, original)
        if self.way == "ended" and not original:
            self.secure(end, tls_ends.client_context(world().ca), name="a.test")
        return end

    def raw_client(self, listener, original=""):
        answer, sock = self.host.ask(f"client {listener} {original}".strip())
        assert sock is not None, answer
        return self.keep(sock)

    def secure(self, end, context, **how):
        """The end speaks TLS from now on; returns once the handshake is over, or has failed."""
        end.sock = tls_ends.TlsSocket(end.sock, context, **how)
        self.settle()

    def inspected(self, listener, name="a.test", pair=None):
        """A client that came by CONNECT, with TLS in it that is inspected; its server waits to be taken by server()."""
        end = self.raw_client(listener)
        self.say(end, f"CONNECT {name}:8000 HTTP/1.1\r\nHost: {name}:8000\r\n\r\n".encode())
        answer, sock = self.host.ask("server")
        assert sock is not None, answer
        server = self.keep(sock)
        self.settle()
        assert end.received.startswith(b"HTTP/1.1 200"), end
        end.received.clear()
        server.sock = tls_ends.TlsSocket(server.sock, tls_ends.server_context(pair or world().server), server=True)
        self.opened.append(server)
        self.secure(end, tls_ends.client_context(world().inspect), name=name)
        assert end.sock.done, end.sock.error
        self.records()
        return end

    def reload(self, websocket=None, policies=(), change=None):
        change = change or self.change
        path = f"{self.hosts}.conf"
        with open(path, "w") as file:
            file.write(libconfig.text_of(change(settings(self.hosts, self.limits, websocket, policies, self.way))))
        assert self.host.ask(f"reload {path}")[0] == "ok"
        self.settle()

    def dial(self):
        """Our end of the next connection that the program opens, before it knows that it is open; None: it opens none."""
        if self.opened:
            return self.opened.pop(0)
        answer, sock = self.host.ask("server")
        if sock is None:
            return None
        end = self.keep(sock)
        if self.listener in REVERSE and self.way in ("upstream", "inspected"):
            # Where its last flight and what it says can come at once: TLS 1.2
            end.sock = tls_ends.TlsSocket(sock, tls_ends.server_context(world().server, ssl.TLSVersion.TLSv1_2), server=True)
        return end

    def server(self):
        """The same, once all that follows from it has happened."""
        for _ in range(20):
            end = self.dial()
            if end is not None:
                self.settle()
                return end
            self.settle()
        raise AssertionError("no connection to a server is opened")

    def unanswered(self, client, request):
        """Our end of the connection that this request opens: it stands, and the program does not know that yet."""
        self.host.ask("hold")
        self.say(client, request)
        server = self.dial()
        assert server is not None
        return server

    def keep(self, sock):
        end = End(sock)
        self.ends.append(end)
        return end

    def settle(self):
        idle, limit = 0, time.monotonic() + STUCK_SECONDS
        while idle < 2:
            assert time.monotonic() < limit, "something never comes to rest"
            moved = [end.pump() for end in self.ends if not end.closed]
            self.host.ask("turn")
            moved += [end.pump() for end in self.ends if not end.closed]
            idle = 0 if any(moved) or loopback.is_under_way() else idle + 1

    def advance(self, seconds):
        self.host.ask(f"advance {int(seconds * 1000)}")
        self.settle()

    def untaken(self, end, count):
        """So many bytes of what the program sent to this end are said not to be acknowledged, whatever the kernel knows; of one end at a time."""
        names = [end.sock.getsockname(), end.sock.getpeername()]
        (address,) = [host for host, port in names if port == PAIR_PORT]
        assert self.host.ask(f"untaken {address} {count}")[0] == "ok"

    def say(self, end, data):
        end.write(data)
        self.settle()

    def explain(self, method, url, **more):
        """What a dry run says; the client is ours."""
        return json.loads(self.host.ask("explain " + json.dumps({"from": "127.0.0.1", "method": method, "url": url, **more}))[0])

    def kernel(self):
        """What the filter process was told since the last call."""
        return [line.split() for line in self.host.ask("kernel")[0].splitlines() if line]

    def records(self):
        """Access records that no call has returned yet."""
        text, _ = self.host.ask("records")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def rows(self):
        """Of the sessions that are open, as posternctl shows them."""
        return [json.loads(line) for line in self.host.ask("rows")[0].splitlines() if line]

    def ended(self):
        """(event, reason, closed_by) of each, None for "ok" and for nobody, without those of begin and interval."""
        found = [record for record in self.records() if record["event"] not in ("start", "interval")]
        return [(r["event"], None if r.get("reason") == "ok" else r.get("reason"), r.get("closed_by")) for r in found]

    def sessions(self):
        return int(self.host.ask("sessions")[0])

    def waiting(self):
        """How many bytes wait in the program for clients whose kernels do not take them."""
        return int(self.host.ask("waiting")[0])

    def close(self):
        for end in self.ends:
            end.close()
        self.host.ask("turn")
        self.advance(20)
        left = self.sessions()
        self.host.close()
        assert left == 0, f"{left} sessions are left after all others closed"

    # What most scenarios begin with.

    def asked(self, listener="site", head=b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"):
        """(client, server) with one request under way."""
        client = self.client(listener)
        self.say(client, head)
        server = self.server()
        assert b"\r\n\r\n" in server.received
        return client, server

    def kept(self, listener="site"):
        """(client, server) after one exchange, both connections kept; nothing that was read is left."""
        client, server = self.asked(listener)
        self.say(server, OK)
        assert client.received.endswith(b"ok") and client.end is None and server.end is None
        client.received.clear()
        server.received.clear()
        self.records()
        return client, server

    def tunnel(self, to=ORIGIN):
        client = self.client("proxy")
        self.say(client, f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
        server = self.server()
        assert client.received.startswith(b"HTTP/1.1 200"), client.received
        client.received.clear()
        return client, server

    def websocket(self, path="/ws", offered="", agreed="", takes=0):
        """(client, server) of an open one, which took so many seconds; `offered` and `agreed` are Sec-WebSocket-Extensions."""
        def with_extension(head, value):
            return head[:-2] + f"Sec-WebSocket-Extensions: {value}\r\n\r\n".encode() if value else head

        client, server = self.asked(head=with_extension(ws.handshake(path, "a.test"), offered))
        self.advance(takes)
        self.say(server, with_extension(ws.switching(), agreed))
        assert client.received.startswith(b"HTTP/1.1 101"), client.received
        client.received.clear()
        server.received.clear()
        self.records()
        return client, server


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


def post(length, method=b"POST"):
    return method + b" /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % length


def status(end):
    """Of the first answer that was read; 0: none."""
    return int(end.received[9:12]) if end.received.startswith(b"HTTP/1.1 ") and b"\r\n\r\n" in end.received else 0


def body(end):
    return bytes(end.received).partition(b"\r\n\r\n")[2]


def close_codes(end):
    return [frame.close_code for frame in ws.frames_in(end.received) if frame.op == ws.CLOSE]
