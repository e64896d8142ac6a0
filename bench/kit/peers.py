# SPDX-License-Identifier: ISC
"""Who is measured: one small class each.

`ways` says how a kind of work reaches the peer:

  http, scale, policy   "reverse" (a request as to the origin itself) or "forward" (absolute-form)
  bulk                  "tcp" (the peer relays a port) or "connect" (HTTP CONNECT first)
  ws                    "reverse" or "connect"
  wss, tls              "reverse": TLS to the peer, clear behind it

`set_up(place, programs)` writes the configuration and returns the command; the program stays in the foreground, listens on 127.0.0.1:`place.port`,
and carries all traffic in one worker or thread.
"""
from .programs import must_have


class Peer:
    name = "?"
    program = None            # what the machine must have, if it is not built here
    ways = {}
    lists = ()                # kinds of deny lists that it can load
    list_kind = None
    list_limits = {}          # kind -> how many names are worth waiting for
    start_limit = 30          # seconds
    is_direct = False         # no process at all
    is_floor = False          # what a machine can do at all: not compared with as a peer
    is_ours = False
    only_carries = False      # copies bytes: no peer for work that is about requests

    def set_up(self, place, programs):
        raise NotImplementedError

    def environment(self, place):
        return {}

    def check(self):
        """Raises programs.Missing."""
        if self.program:
            must_have(self.program)


class Direct(Peer):
    """No proxy."""
    name = "direct"
    is_direct = is_floor = True
    ways = {"http": "reverse", "bulk": "tcp", "ws": "reverse"}


class RelayReadWrite(Peer):
    """Floor: read and write, one connection to the origin for each client."""
    name = "relay-rw"
    is_floor = True
    ways = {"http": "reverse", "scale": "reverse", "bulk": "tcp", "ws": "reverse"}
    mode, size = "read-write", 65536

    def set_up(self, place, programs):
        return [programs.path("relay"), self.mode, str(place.port), str(place.target_port), str(self.size)]


class RelaySplice(RelayReadWrite):
    """Floor: splice(2) through a pipe of 1 MiB."""
    name = "relay-splice"
    ways = {"bulk": "tcp"}
    mode, size = "splice", 1 << 20


class RelayReadWrite256k(RelayReadWrite):
    name = "relay-rw-256k"
    ways = {"bulk": "tcp"}
    size = 1 << 18


class RelayFrames(RelayReadWrite):
    """Floor for whoever looks at frames: parses, unmasks and checks each."""
    name = "relay-ws"
    ways = {"ws": "reverse"}
    mode = "frames"


class Postern(Peer):
    """As users run it: policy, session table, access log; one worker."""
    name = "postern"
    is_ours = True
    ways = {"http": "reverse", "scale": "reverse", "ws": "reverse", "wss": "reverse", "tls": "reverse", "policy": "reverse"}
    lists = ("suffix",)
    start_limit = 120
    mode, reuse = "reverse", "session"
    label = ""                # of the posternd that is meant
    websocket = ""            # what the policy says of WebSockets

    def set_up(self, place, programs):
        return [programs.posternd[self.label], "-c", place.write("postern.conf", self.configuration(place))]

    def configuration(self, place):
        upstreams = f'upstreams = [ "{place.origin}" ];' if self.mode == "reverse" else ""
        tls = f'tls = {{ certificate = "{place.pair.certificate}"; key = "{place.pair.key}"; }};' if place.pair else ""
        resolver = f'resolver = {{ hosts = "{place.hosts_file}"; }};\n' if place.hosts_file else ""
        denied = f'{{ name = "denied"; hosts_file = "{place.names_file}"; action = "deny"; }},' if place.names_file else ""
        return f"""workers = 1;
runtime_dir = "{place.folder}";
log = {{ level = "info"; access = "{place.folder}/access.jsonl"; interval = 60; }};
limits = {{ sessions = 100000; sessions_per_client = 100000; }};
timeouts = {{ keepalive = 600.0; tunnel_idle = 600.0; }};
zones = ( {{ name = "here"; networks = [ "127.0.0.0/8" ]; }} );
{resolver}listeners = ( {{ name = "site"; mode = "{self.mode}"; address = "127.0.0.1:{place.port}"; {upstreams} {tls} }} );
policies = (
    {denied}
    {{ name = "all"; from = "here"; action = "allow"; protocols = [ "http", "websocket", "tunnel" ];
      upstream_reuse = "{self.reuse}"; {self.websocket} }}
);
"""


class PosternShared(Postern):
    """Connections to the origin are shared between sessions, as in haproxy and nginx."""
    name = "postern-shared"
    ways = {"http": "reverse", "scale": "reverse", "tls": "reverse"}
    reuse = "shared"


class PosternForward(Postern):
    """As an explicit proxy."""
    name = "postern-forward"
    ways = {"http": "forward", "scale": "forward", "bulk": "connect", "ws": "connect", "policy": "forward"}
    mode = "explicit"


class PosternContract(Postern):
    """Limits that the traffic does not reach: each is looked at, none refuses."""
    name = "postern-contract"
    ways = {"ws-rules": "reverse"}
    contract = """opcodes = [ "text", "binary" ]; frame_bytes = 65536; tunnels = false; ping_interval = 30.0; idle = 300.0;
        client = { messages_per_second = 100000000; bytes_per_second = 1099511627776L; };
        server = { messages_per_second = 100000000; bytes_per_second = 1099511627776L; quiet_after = 600.0; };"""
    websocket = f"websocket = {{ {contract} }};"


class PosternPattern(PosternContract):
    """Besides, each message is held and searched."""
    name = "postern-pattern"
    websocket = f"""websocket = {{ {PosternContract.contract} message_bytes = 65536;
        match = ( {{ name = "no-secrets"; pattern = "(?i)secret[0-9]+"; }} ); }};"""


OURS = (Postern, PosternShared, PosternForward, PosternContract, PosternPattern)
FLOORS = (Direct, RelayReadWrite, RelayReadWrite256k, RelaySplice, RelayFrames)
