# SPDX-License-Identifier: ISC
"""The configuration that vectors assume (docs/vectors.md, "Policies"), for one loopback network.

.1 is the origin, .2 the proxy, .3 the name server, .7 the clients, .9 an address in no zone.
"""
import socket

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ORIGIN_PORT, PROXY_PORT, SITE_PORT, WAY_PORT, DNS_PORT = 8000, 3128, 8080, 3129, 5353
NAME = "origin.test"
# The header timer is also the longest a silent or half-finished request may last, so it bounds most "close" verdicts.
TIMEOUTS = {"handshake": 2.0, "header": 2.0, "body": 2.0, "connect": 2.0, "response": 5.0, "keepalive": 2.0, "tunnel_idle": 5.0,
            "drain": 1.0}


# What the policies for WebSockets say besides.
SOCKETS = {"ws-deflate": {"deflate": "inspect"}, "ws-idle2": {"idle": 2.0}, "minrate": {"idle": 2.0}}


def policies(policy, origin):
    target = {"from": "client", "to": "origin", "hosts": [origin], "ports": [ORIGIN_PORT], "action": "allow"}
    denied = {"name": "denied-paths", "paths": ["/deny*", "/SMUGGLED*"], "protocols": ["http", "websocket"], "action": "deny"}
    socket_ = {"name": "socket", **target, "paths": ["/ws"], "protocols": ["websocket"],
               "websocket": {"origins": ["https://app.test"], "subprotocols": ["chat"], **SOCKETS.get(policy, {})}}
    web = {"name": "web", **target, "methods": METHODS, "protocols": ["http"]}
    tls = {"name": "tls", **target, "protocols": ["tls"]}
    if policy == "denyhost-origin":
        return [{"name": "denied-host", "hosts": [origin], "action": "deny"}, {"name": "rest", "from": "client", "action": "allow"}]
    if policy == "connect-tls":
        return [{**tls, "hosts": [NAME]}]
    if policy == "connect-any":
        return [{"name": "any", **target, "protocols": ["http", "tls", "tunnel"]}]
    if policy == "fake-dns":
        return [{"name": "names", **target, "hosts": ["*.test"], "ports": [443, ORIGIN_PORT], "protocols": ["http", "tls", "tunnel"]}]
    return [denied, socket_, web, tls]


def settings(policy, prefix, hosts_file, client=None):
    """`client`: where clients come from. Not 127.0.0.1, which a vector claims to be in X-Forwarded-For. Given on the wire ring, where
    nobody needs a kernel: there is a transparent listener, too."""
    origin, proxy = f"{prefix}.1", f"{prefix}.2"
    both = {"via": "proxy-under-test", "forwarded": "none" if client else "replace"}
    way = {"name": "way", "mode": "transparent", "address": f"{proxy}:{WAY_PORT}", "intercept": "tproxy", "ports": [80, 443, ORIGIN_PORT],
           **both}
    return {
        "workers": 1,
        "resolver": {"servers": [f"{prefix}.3:{DNS_PORT}"], "hosts": hosts_file, "timeout": 1.0},
        "timeouts": TIMEOUTS,
        "zones": [{"name": "client", "networks": [f"{client or prefix + '.7'}/32"]}, {"name": "origin", "networks": [f"{origin}/32"]}],
        "listeners": [{"name": "proxy", "mode": "explicit", "address": f"{proxy}:{PROXY_PORT}", **both},
                      {"name": "site", "mode": "reverse", "address": f"{proxy}:{SITE_PORT}",
                       "upstreams": [f"{origin}:{ORIGIN_PORT}"], **both}] + ([way] if client else []),
        "policies": policies(policy, origin),
    }


def fake_names(prefix):
    """What the name server says: a name with one forbidden address, a chain without an end, one that changes with each question."""
    flips = iter([[f"{prefix}.1"]])
    chain = {f"c{n}.test": f"c{n + 1}.test" for n in range(32)}
    return {**chain, "cname.test": "c0.test", "c32.test": "cname.test", "mixed.test": [f"{prefix}.1", f"{prefix}.9"],
            "flip.test": lambda: next(flips, [f"{prefix}.9"])}


def names(policy, prefix, mode, origin=None, proxy=None):
    """The placeholders."""
    origin = origin or (f"{prefix}.1", ORIGIN_PORT)
    proxy = proxy or f"{prefix}.2:{ {'reverse': SITE_PORT, 'transparent': WAY_PORT}.get(mode, PROXY_PORT)}"
    authority = f"{origin[0]}:{origin[1]}"
    return {"O": authority, "O_TLS": authority, "OH": origin[0], "OP": str(origin[1]), "T": f"http://{authority}" if mode == "forward" else "",
            "CO": f"{NAME}:{origin[1]}" if policy == "connect-tls" else authority, "PROXY": proxy,
            "PUBLIC_IP_OF_PROXY": proxy.rpartition(":")[0], "OIPHEX": socket.inet_aton(origin[0]).hex(),
            "OPHEX": f"{origin[1]:04x}", "DENIED_IP": f"{prefix}.9"}
