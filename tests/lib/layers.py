# SPDX-License-Identifier: ISC
"""The same tests in clear and over TLS. A stage is made with a layer; what it calls its proxy and its site then knows how a client gets in,
and Client (lib/http1.py) and Pair (lib/ws_pair.py) do that by themselves.

| layer | clients | the server |
| --- | --- | --- |
| clear | as ever | in clear |
| ended | TLS to each listener | in clear |
| inspected | CONNECT to the origin through the proxy, TLS inside | TLS |
"""
import functools

from . import tls

CLEAR, ENDED, INSPECTED = "clear", "ended", "inspected"
ALL = [CLEAR, ENDED, INSPECTED]
OVER_TLS = [ENDED, INSPECTED]


class Authority(str):
    """Where to dial, and `enter(socket)`, which returns the socket to speak through."""
    enter = None


def enter(authority, sock):
    """What a client does first, if anything."""
    return authority.enter(sock) if getattr(authority, "enter", None) else sock


@functools.lru_cache
def inspector():
    return tls.Authority("Inspection CA")


def into_tls(sock, trust, name):
    try:
        return tls.client_context(trust).wrap_socket(sock, server_hostname=name)
    except BaseException:
        sock.close()
        raise


def into_tunnel(sock, target):
    """CONNECT, and TLS to the address of the target inside."""
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        part = sock.recv(1)
        if not part:
            break
        answer += part
    if b" 200 " not in answer[:13]:
        raise ConnectionError(f"CONNECT: {answer!r}")
    return into_tls(sock, inspector().file, target.rpartition(":")[0])


def authority(layer, address, target):
    """`target`: the origin's authority."""
    made = Authority(address)
    if layer == ENDED:
        made.enter = lambda sock: into_tls(sock, tls.root().file, address.rpartition(":")[0])
    elif layer == INSPECTED:
        made.enter = lambda sock: into_tunnel(sock, target)
    return made


def inspecting(policy):
    """What it allowed in clear it allows inside TLS, which it looks into."""
    left = [one for one in policy.get("protocols", ["http", "websocket"]) if one in ("http", "websocket")]
    return {**policy, "protocols": left, "tls": "inspect", "sni": "optional"} if policy["action"] == "allow" and left else policy


def apply(layer, settings, prefix):
    """Changes what a posternd is told."""
    if layer == ENDED:
        files = tls.root().certify(f"{prefix}.2").files
        for listener in settings["listeners"]:
            listener["tls"] = {**files, "unknown_name": "first"}
    elif layer == INSPECTED:
        tunnels = {"name": "layer-tunnels", "methods": ["CONNECT"], "protocols": ["http"], "action": "allow"}
        settings["policies"] = [tunnels, *map(inspecting, settings["policies"])]
        settings["tls"] = {"trust": tls.root().file, "inspect_certificate": inspector().file, "inspect_key": inspector().key_file}


def origin_context(layer, prefix):
    """The server's, or None."""
    return tls.server_context(tls.root().certify(f"{prefix}.1")) if layer == INSPECTED else None
