# SPDX-License-Identifier: ISC
"""The vectors of mode transparent with a kernel below them: what `orig_dst` says is what a client in another namespace dials."""
import json
import os
import time

import pytest

from lib.hello import client_hello
from lib.netns import CLIENT, DENIED, FAMILIES, LAN, SERVER, SYN, TCP
from lib.netns_stage import DENY, LISTENER_PORT, WEB, NetStage, listeners
from lib.postern import ROOT, wait_until

# Who dials the listener's own port is dropped by the kernel; here it may reach the worker, who has to refuse it.
DIRECT = {"name": "direct", "to": "self", "protocols": ["tcp"], "ports": [LISTENER_PORT], "action": "allow"}

NAMES = {"allowed.test": SERVER, "denied.test": DENIED}
PORTS = {"{{O}}": 80, "{{O_TLS}}": 443}


def vectors():
    with open(os.path.join(ROOT, "tests", "vectors.jsonl")) as file:
        return [vector for vector in map(json.loads, file) if vector["run"] == "netns" and vector["family"] == "transparent"]


VECTORS = vectors()


@pytest.fixture(scope="module", params=["tproxy", "redirect"])
def stage(request):
    timeouts = {"handshake": 2.0, "header": 2.0, "drain": 1.0}
    hosts = {"name": "denied-name", "hosts": ["denied.test"], "action": "deny"}
    with NetStage(request.param, names=NAMES, timeouts=timeouts, policies=[DIRECT, DENY, hosts, WEB]) as made:
        yield made


def data_of(data):
    if isinstance(data, str):
        return data.encode("latin-1")
    return b"".join(client_hello(part["tls_clienthello"]["sni"]) if isinstance(part, dict) else part.encode("latin-1") for part in data)


def place_of(step, family):
    """What the client dials."""
    place = step.get("orig_dst")
    if place in PORTS:
        return SERVER[family], PORTS[place]
    assert place.startswith("{{DENIED_IP}}:"), place
    return DENIED[family], int(place.rpartition(":")[2])


class Script:
    """One vector's steps."""

    def __init__(self, stage, family, outside):
        self.stage, self.family, self.outside, self.client = stage, family, outside, None

    def dialled(self):
        return [packet for packet in self.outside.packets if packet.protocol == TCP and packet.flags & SYN and packet.incoming]

    def run(self, step):
        if "orig_dst" in step:
            self.client = self.stage.dial(*place_of(step, self.family))
        if "data" in step:
            self.client.send(data_of(step["data"]))
        if step.get("do") == "direct_connect_to_transparent_port":
            try:
                self.client = self.stage.dial(LAN[self.family], LISTENER_PORT, timeout=5)
            except OSError:
                self.client = None    # reset at once
            own = ("%s:" if self.family == 4 else "[%s]:") % CLIENT[self.family]
            self.stage.postern.wait_access(lambda line: line.get("reason") == "no-original-destination" and line["client"].startswith(own))
        elif step.get("do") == "ipv6_bypass":
            self.bypass()
        if "expect_status" in step:
            assert self.client.response().status in step["expect_status"]
        if "expect_close" in step and self.client:
            self.client.wait_close(step["within_ms"] / 1000)
        if "expect_silence_ms" in step:
            try:
                self.client.more(time.monotonic() + step["expect_silence_ms"] / 1000)
            except TimeoutError:
                pass
            assert not self.client.received
        if "upstream_conns_max" in step:
            assert len(self.dialled()) <= step["upstream_conns_max"]
        if "upstream_must_not_see" in step:
            assert not any(step["upstream_must_not_see"].encode() in packet.payload for packet in self.outside.packets)

    def bypass(self):
        """Listeners for IPv4 alone: IPv6 to the same server is no way around."""
        with NetStage(self.stage.settings["listeners"][0]["intercept"], serve=False, policies=[WEB],
                      listeners=listeners(self.stage.settings["listeners"][0]["intercept"])[:1]) as other:
            with other.net.server.capture() as outside:
                with pytest.raises(OSError):
                    other.dial(SERVER[6], timeout=0.5)
                wait_until(lambda: other.counter("no-policy") > 0, what="the drop")
                assert not outside.packets


# TP-12 is about IPv6 alone.
BOTH = [(vector, family) for vector in VECTORS for family in FAMILIES if vector["id"] != "TP-12" or family == 6]


@pytest.mark.parametrize("vector, family", BOTH, ids=[f"{vector['id']}-ipv{family}" for vector, family in BOTH])
def test_vector(stage, family, vector):
    with stage.net.server.capture() as outside:
        script = Script(stage, family, outside)
        for step in vector["send"]:
            script.run(step)
        if script.client:
            port = script.client.port
            if vector["id"] != "TP-12":
                stage.postern.record_of(port, event=("end", "denied"))
            script.client.close()
        assert not [packet for packet in outside.packets if packet.source == CLIENT[family]]
    assert stage.get(SERVER[family], host="allowed.test").status == 200      # the canary
