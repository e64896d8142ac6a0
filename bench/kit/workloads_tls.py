# SPDX-License-Identifier: ISC
"""TLS ended at the proxy, clear behind it."""
from .running import Place
from .columns import REQUEST_COLUMNS, STREAM_COLUMNS
from .workload import Workload, stream_figures

KEYS = {"ECDSA P-256": "ecdsa", "RSA 2048": "rsa"}
SUITES = {"AES-128-GCM": "TLS_AES_128_GCM_SHA256", "AES-256-GCM": "TLS_AES_256_GCM_SHA384"}


class Tls(Workload):
    """Handshakes, each with one small request on a connection of its own; requests on kept connections; one stream."""
    name, kind, unit = "tls", "tls", "handshake"
    floor = None

    def variants(self):
        handshakes = [f"{key}, TLS 1.{version}, {how}" for key in KEYS for version in (3, 2) for how in ("full", "resumed")]
        return handshakes + ["kept requests, AES-128-GCM", *(f"bulk, {suite}" for suite in SUITES)]

    def place(self, variant):
        return Place("tls", pair=self.material.pair(KEYS.get(variant.split(",")[0], "ecdsa")))

    def columns_for(self, variant):
        return STREAM_COLUMNS if variant.startswith("bulk") else REQUEST_COLUMNS

    def unit_for(self, variant):
        return "req" if variant.startswith("kept") else self.unit

    def load_arguments(self, running, variant):
        tls = ["-T", *running.target("tls")]
        suite = SUITES.get(variant.rpartition(", ")[2])
        if variant.startswith("bulk"):
            return ["-m", "bulk", "-c", 1, "-p", "/stream/1000000000000", "-K", suite, *tls]
        if variant.startswith("kept"):
            return ["-m", "http", "-c", 64, "-p", "/r/100", "-K", suite, *tls]
        version = "12" if "TLS 1.2" in variant else "13"
        return ["-m", "new", "-c", 32, "-S", 16, "-p", "/r/100", "-V", version, *(["-R"] if "resumed" in variant else []), *tls]

    def figures(self, running, variant, found):
        if variant.startswith("bulk"):
            return stream_figures(found)
        if "resumed" in variant and found["resumed"] < 0.9 * found["opened"]:
            found["failed"] = f"{found['resumed']} of {found['opened']} handshakes were resumed"
        if "full" in variant and found["resumed"]:
            found["failed"] = f"{found['resumed']} handshakes were resumed"
        return super().figures(running, variant, found)
