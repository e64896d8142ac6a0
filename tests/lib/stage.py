# SPDX-License-Identifier: ISC
"""The usual stage of an end-to-end test: an origin (.1), a posternd (.2) with an explicit and a reverse listener, on a network of its own."""
import copy

from . import layers
from .lease import Lease
from .origin import Origin
from .postern import Postern

ORIGIN_PORT, PROXY_PORT, SITE_PORT = 8000, 3128, 8080


def settings(prefix, clients="127.0.0.1/32", **overrides):
    """Clients are 127.0.0.1, the origin is the only server; everything is allowed to it. `overrides` replace whole keys."""
    origin = f"{prefix}.1"
    whole = {
        "workers": 1,
        "timeouts": {"drain": 1.0},
        "resolver": {"servers": [f"{prefix}.3:5353"], "timeout": 1.0},      # nobody's: no question leaves the machine
        "zones": [{"name": "client", "networks": [clients]}, {"name": "origin", "networks": [f"{origin}/32"]}],
        "listeners": [{"name": "proxy", "mode": "explicit", "address": f"{prefix}.2:{PROXY_PORT}"},
                      {"name": "site", "mode": "reverse", "address": f"{prefix}.2:{SITE_PORT}",
                       "upstreams": [f"{origin}:{ORIGIN_PORT}"]}],
        "policies": [{"name": "all", "from": "client", "to": "origin", "protocols": ["http", "websocket", "tls"], "action": "allow"}],
    }
    whole.update(copy.deepcopy(overrides))
    return whole


class Stage:
    """`layer`: in clear, or over TLS (lib/layers.py). Where requests go through a tunnel, targets are in origin form: `url` is empty."""

    def __init__(self, routes=None, handler=None, origin=True, arguments=(), layer=layers.CLEAR, environment=None,
                 program=Postern, **overrides):
        self.lease, self.layer = Lease(), layer
        prefix = self.prefix = self.lease.prefix
        self.settings = settings(prefix, **overrides)
        layers.apply(layer, self.settings, prefix)
        self.origin_authority = f"{prefix}.1:{ORIGIN_PORT}"
        self.proxy, self.site = (layers.authority(layer, f"{prefix}.2:{port}", self.origin_authority) for port in (PROXY_PORT, SITE_PORT))
        self.url = "" if layer == layers.INSPECTED else f"http://{self.origin_authority}"
        self.tls = layers.origin_context(layer, prefix)
        self.origin = Origin(f"{prefix}.1", ORIGIN_PORT, routes, handler, tls=self.tls) if origin else None
        try:
            self.postern = program(self.settings, arguments=arguments, environment=environment)
        except BaseException:
            self._release()
            raise

    def _release(self):
        if self.origin:
            self.origin.close()
        self.lease.release()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        try:
            self.postern.__exit__(*failure)
        finally:
            self._release()
