# SPDX-License-Identifier: ISC
"""The usual stage of a test in network namespaces: the topology of lib/netns.py, a posternd on the gateway that intercepts the clients'
HTTP and TLS, and a server with HTTP (80), TLS (443) and whatever a test adds."""
import contextlib
import copy
import functools
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile

from .control import Control
from .http1 import Client
from .netns import DENIED, FAMILIES, OTHER, PLAIN, SERVER, Topology
from .origin import Origin
from .postern import POSTERND, Postern, wait_until

HTTP_PORT, TLS_PORT, LISTENER_PORT = 80, 443, 3129
TABLE = "postern"
INTERCEPTS = ("tproxy", "redirect")
NAMES = {"www.example": PLAIN, "web.test": SERVER, "tls.test": SERVER, "other.test": OTHER, "denied.test": DENIED}
ZONES = [{"name": "inside", "interfaces": ["lan0"], "networks": ["10.77.1.0/24", "fd77:1::/64"]},
         {"name": "outside", "interfaces": ["wan0"], "networks": ["10.77.2.0/24", "fd77:2::/64", "0.0.0.0/0", "::/0"]}]
# What the kernel forwards by itself: ports of their own, so that tests say by the port what they mean.
L4_PORT, L4_LAST = 5000, 5999
DENY = {"name": "denied", "from": "inside", "networks": [f"{DENIED[4]}/32", f"{DENIED[6]}/128"],
        "protocols": ["http", "websocket", "tls", "tcp", "udp", "icmp"], "action": "deny"}
WEB = {"name": "web", "from": "inside", "to": "outside", "protocols": ["http", "websocket", "tls"], "action": "allow"}
KERNEL = {"name": "kernel", "from": "inside", "to": "outside", "protocols": ["tcp", "udp"], "ports": [f"{L4_PORT}-{L4_LAST}"],
          "action": "allow"}
PING = {"name": "ping", "from": "inside", "to": "outside", "protocols": ["icmp"], "action": "allow"}


def listeners(intercept="tproxy", **more):
    """One a family."""
    common = {"mode": "transparent", "intercept": intercept, "ports": [HTTP_PORT, TLS_PORT], "from": ["inside"], **more}
    return [{"name": "web4", "address": f"0.0.0.0:{LISTENER_PORT}", **common},
            {"name": "web6", "address": f"[::]:{LISTENER_PORT}", **common}]


def settings(intercept="tproxy", listener=None, packet_filter=None, **overrides):
    """`listener`: more keys of the listeners; `packet_filter`: more keys of that group; `overrides` replace whole keys."""
    whole = {
        "workers": 1,
        "timeouts": {"drain": 1.0},
        "zones": ZONES,
        "listeners": listeners(intercept, **(listener or {})),
        "policies": [DENY, WEB, KERNEL, PING],
        "packet_filter": {"backend": "nftables", **(packet_filter or {})},
    }
    whole.update(overrides)
    return copy.deepcopy(whole)


@functools.lru_cache
def certificate():
    """A folder with a self-signed certificate for the names above, made once a process."""
    folder = tempfile.mkdtemp(prefix="postern-netns-")
    names = ",".join(f"DNS:{name}" for name in NAMES) + "," + ",".join(f"IP:{address}" for address in (*SERVER.values(), *OTHER.values()))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=tls.test", "-addext", f"subjectAltName={names}", "-keyout", "key.pem", "-out", "certificate.pem"],
                   cwd=folder, check=True, capture_output=True)
    import atexit
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")


def server_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())
    return context


def client_tls():
    return ssl.create_default_context(cafile=certificate()[0])


CONNTRACK = re.compile(r"^(?P<protocol>\w+)\s+(?P<number>\d+)(?:\s+(?P<timeout>\d+))?(?:\s+(?P<state>[A-Z_]+))?\s+(?P<rest>.*)$")


def conntrack_of(line):
    """One line of `conntrack -L -o id` as a dict: protocol, state, original and reply (source, sport, target, dport), flags, mark, id."""
    match = CONNTRACK.match(line)
    if not match:
        return None
    words = match["rest"].split()
    pairs = [word.split("=", 1) for word in words if "=" in word]
    flags = {word.strip("[]") for word in words if word.startswith("[")}
    tuples, last = [], {}
    for key, value in pairs:
        if key == "src":
            last = {}
            tuples.append(last)
        last[key] = value
    original, reply = ((one["src"], int(one.get("sport", one.get("id", 0))), one["dst"], int(one.get("dport", 0))) for one in tuples[:2])
    rest = dict(pairs)
    return {"protocol": match["protocol"], "state": match["state"], "original": original, "reply": reply, "flags": flags,
            "mark": int(rest.get("mark", 0)), "id": int(rest["id"]) if "id" in rest else 0, "line": line}


class NetStage:
    def __init__(self, intercept="tproxy", start=True, serve=True, names=None, program=Postern, **more):
        self._stack = contextlib.ExitStack()
        try:
            self.net = self._stack.enter_context(Topology())
            self.folder = tempfile.mkdtemp(prefix="postern-netns-")
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            os.chmod(self.folder, 0o755)
            self.hosts = os.path.join(self.folder, "hosts")
            self.write_hosts(names or NAMES)
            self.routes, self.http, self.tls = {}, {}, {}
            if serve:
                self._serve()
            more.setdefault("resolver", {"servers": [f"{SERVER[4]}:53"], "hosts": self.hosts, "timeout": 1.0})
            self.settings = settings(intercept, **more)
            self.postern = program(self.settings, start=False, namespace=self.net.gateway)
            if start:
                self.postern.start()
        except BaseException:
            self._stack.close()
            raise

    def write_hosts(self, names):
        with open(self.hosts, "w") as file:
            file.write("127.0.0.1 localhost\n")
            file.writelines(f"{addresses[family]} {name}\n" for name, addresses in names.items() for family in FAMILIES)
        os.chmod(self.hosts, 0o644)

    def _serve(self):
        """On all addresses of the server; what a connection was dialled at is its own address."""
        for family, everywhere in ((4, "0.0.0.0"), (6, "::")):
            with self.net.server:
                self.http[family] = Origin(everywhere, HTTP_PORT, self.routes)
                self.tls[family] = Origin(everywhere, TLS_PORT, self.routes, tls=server_tls())
            self._stack.callback(self.http[family].close)
            self._stack.callback(self.tls[family].close)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        try:
            if self.postern.process:
                self.postern.__exit__(*failure)
            else:
                self.postern.remove()
        finally:
            self._stack.close()

    # Clients.

    def dial(self, address, port=HTTP_PORT, where=None, source=None, timeout=15.0):
        """A Client (lib/http1.py) from `where` (the client)."""
        client = Client.__new__(Client)
        client.socket = (where or self.net.client).connect(address, port, source, timeout)
        client.timeout, client.received, client.offset, client.ended = timeout, bytearray(), 0, False
        return client

    def get(self, address, path="/", host=None, port=HTTP_PORT, where=None):
        """The answer to one request on a connection of its own."""
        with self.dial(address, port, where) as client:
            literal = f"[{address}]" if ":" in address else address
            return client.request("GET", path, host or (literal if port == HTTP_PORT else f"{literal}:{port}"))

    def curl(self, *arguments, where=None, check=True):
        """An unconfigured curl with the names of this stage."""
        return (where or self.net.client).run("curl", "-sS", "--max-time", "20", "--cacert", certificate()[0], *arguments, hosts=self.hosts,
                                              check=check)

    # What the gateway says.

    def ask(self, command, **arguments):
        with Control(self.postern.control_socket) as control:
            return control.ask(command, **arguments)

    def sessions(self, *filters):
        return self.ask("sessions", filters=list(filters))["sessions"]

    def conntrack(self, *arguments):
        """The entries of connection tracking on the gateway."""
        entries = []
        for family in ("ipv4", "ipv6"):
            text = self.net.gateway.run("conntrack", "-L", "-o", "id", "-f", family, *arguments).stdout
            entries += [found for found in map(conntrack_of, text.splitlines()) if found]
        return entries

    def rules(self):
        """(chain, comment, packets) of each rule of the table."""
        done = self.net.gateway.run("nft", "-j", "list", "table", "inet", TABLE, check=False)
        found = []
        for item in json.loads(done.stdout)["nftables"] if done.returncode == 0 else []:
            rule = item.get("rule")
            if rule:
                packets = next((part["counter"]["packets"] for part in rule["expr"] if "counter" in part and part["counter"]), None)
                found.append((rule["chain"], rule.get("comment", ""), packets))
        return found

    def counter(self, comment):
        """Packets that the rules with this comment counted; "no-policy" is that of forward and that of input."""
        return sum(packets or 0 for _, found, packets in self.rules() if found in (comment, f"{comment}-input"))

    def table(self):
        """The committed table without counters; "" if there is none."""
        return self.net.gateway.run("nft", "-s", "list", "table", "inet", TABLE, check=False).stdout

    def said(self, pattern, seconds=15.0):
        """Waits until posternd's standard error has it."""
        return wait_until(lambda: re.search(pattern, self.postern.stderr()), seconds, f"{pattern!r} on standard error:\n{self.postern.stderr()}")

    def reload(self, **changes):
        """With these keys changed; what posternctl said."""
        self.settings.update(copy.deepcopy(changes))
        done = self.postern.reload(self.settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def denied(self, reason, seconds=15.0):
        """The line of the access log with this reason, once it is there."""
        return self.postern.wait_access(lambda line: line.get("reason") == reason, seconds)

    def teardown(self):
        return self.net.gateway.run(POSTERND, "-c", self.postern.config, "--teardown", check=False)
