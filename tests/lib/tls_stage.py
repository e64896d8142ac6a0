# SPDX-License-Identifier: ISC
"""The usual stage of a test about TLS: an origin in clear and one with TLS, and a posternd that ends TLS, passes it, looks into it and speaks
it to the server, each on a listener of its own.

| listener | clients | the server |
| --- | --- | --- |
| proxy | HTTP and SOCKS in clear | any; TLS on `inspected` ports is looked into |
| secure-proxy | HTTP and SOCKS inside TLS | any |
| site | TLS | the origin in clear |
| up | clear | the origin with TLS |
| both | TLS | the origin with TLS |
"""
import os
import ssl

from . import tls
from .http1 import Client
from .lease import Lease
from .origin import Origin
from .postern import Postern
from .stage import ORIGIN_PORT, PROXY_PORT, SITE_PORT

TLS_PORT, SECURE_PROXY_PORT, SECURE_SITE_PORT, UP_PORT, BOTH_PORT = 8443, 3129, 8444, 8081, 8445
ORIGIN, SITE, PROXY = "origin.test", "site.test", "proxy.test"
NAMES = (ORIGIN, SITE, PROXY, "a.test", "b.test", "other.test", "denied.test", "allowed.test")
ALL = ["http", "websocket", "tls"]


def policies(origin):
    """Paths under /denied are denied, in clear and inside TLS that is looked into."""
    here = {"from": "client", "to": "origin"}
    return [{"name": "denied", "paths": ["/denied", "/denied/*"], "protocols": ["http", "websocket"], "action": "deny"},
            {"name": "tunnels", **here, "methods": ["CONNECT"], "protocols": ["http"], "action": "allow"},
            {"name": "unread", **here, "listeners": ["secure-proxy"], "protocols": ALL, "action": "allow"},
            {"name": "inside", **here, "protocols": ["http", "websocket"], "tls": "inspect", "action": "allow"}]


def settings(prefix, hosts, **overrides):
    origin, own = f"{prefix}.1", f"{prefix}.2"
    site = tls.root().certify(SITE, "*.site.test", own)
    proxy = tls.root().certify(PROXY, own)
    whole = {
        "workers": 1,
        "timeouts": {"drain": 1.0},
        "resolver": {"servers": [f"{prefix}.3:5353"], "timeout": 1.0, "hosts": hosts},
        "zones": [{"name": "client", "networks": ["127.0.0.0/28"]}, {"name": "origin", "networks": [f"{origin}/32"]}],
        "listeners": [
            {"name": "proxy", "mode": "explicit", "address": f"{own}:{PROXY_PORT}"},
            {"name": "secure-proxy", "mode": "explicit", "address": f"{own}:{SECURE_PROXY_PORT}", "tls": proxy.files},
            {"name": "plain", "mode": "reverse", "address": f"{own}:{SITE_PORT}", "upstreams": [f"{origin}:{ORIGIN_PORT}"]},
            {"name": "site", "mode": "reverse", "address": f"{own}:{SECURE_SITE_PORT}", "upstreams": [f"{origin}:{ORIGIN_PORT}"],
             "tls": site.files},
            {"name": "up", "mode": "reverse", "address": f"{own}:{UP_PORT}", "upstreams": [f"https://{ORIGIN}:{TLS_PORT}"]},
            {"name": "both", "mode": "reverse", "address": f"{own}:{BOTH_PORT}", "upstreams": [f"https://{ORIGIN}:{TLS_PORT}"],
             "tls": site.files}],
        "policies": policies(origin),
        "tls": {"trust": tls.root().file, "inspect_certificate": inspector().file, "inspect_key": inspector().key_file},
    }
    whole.update(overrides)
    return whole


_inspector = []


def inspector():
    """The CA that inspection signs by; what clients trust besides root()."""
    if not _inspector:
        _inspector.append(tls.Authority("Inspection CA"))
        tls.write(trusted(), open(tls.root().file, "rb").read() + open(_inspector[0].file, "rb").read())
    return _inspector[0]


def trusted():
    """A file with both CAs."""
    return os.path.join(tls.home(), "trusted.crt")


class TlsStage:
    """`server`: the certificate of the origin with TLS, a lib.tls.Pair; `secure`: None, or the function of a whole connection there instead
    of HTTP; `tune(settings)` may change what posternd is told."""

    def __init__(self, routes=None, server=None, origin_tls=None, handler=None, tune=None, start=True, environment=None, program=Postern, **overrides):
        self.lease = Lease()
        prefix = self.prefix = self.lease.prefix
        self.hosts = os.path.join(tls.home(), f"hosts-{prefix}")
        tls.write(self.hosts, "".join(f"{prefix}.1 {name}\n" for name in NAMES).encode())
        self.settings = settings(prefix, self.hosts, **overrides)
        if tune:
            tune(self.settings)
        self.routes = {} if routes is None else routes
        self.server = server or tls.root().certify(*NAMES, f"{prefix}.1")
        self.origin = self.secure = self.postern = None
        try:
            self.origin = Origin(f"{prefix}.1", ORIGIN_PORT, self.routes)
            context = origin_tls or tls.server_context(self.server)
            self.secure = Origin(f"{prefix}.1", TLS_PORT, self.routes, handler, tls=None if origin_tls is False else context)
            self.postern = program(self.settings, start=start, environment=environment)
        except BaseException:
            self._release()
            raise

    def at(self, name):
        """The authority of a listener."""
        return next(one["address"] for one in self.settings["listeners"] if one["name"] == name)

    @property
    def target(self):
        """The origin with TLS, by its name."""
        return f"{ORIGIN}:{TLS_PORT}"

    def client(self, listener, name=None, context=None, **options):
        """A Client of a listener with TLS."""
        return Client(self.at(listener), tls=context or tls.client_context(tls.root().file), name=name, **options)

    def inspected(self, name=ORIGIN, context=None, sni=None, port=TLS_PORT, **options):
        """A Client inside CONNECT, behind a handshake that is looked into."""
        client = Client(self.at("proxy"), **options)
        answer = client.tunnel(f"{name}:{port}")
        if answer.status != 200:
            client.close()
            raise ConnectionError(f"CONNECT: {answer.status}")
        client.secure(context or tls.client_context(trusted()), sni or name)
        return client

    def curl_trust(self):
        return ["--cacert", trusted()]

    def _release(self):
        for one in (self.origin, self.secure):
            if one:
                one.close()
        self.lease.release()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        try:
            self.postern.__exit__(*failure)
        finally:
            self._release()


def handshake_error(make):
    """The sentence of a handshake that fails; fails if it does not."""
    try:
        made = make()
    except (ssl.SSLError, ConnectionError) as error:
        return str(error)
    made.close()
    raise AssertionError("the handshake was completed")
