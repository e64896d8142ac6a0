# SPDX-License-Identifier: ISC
"""A browser that knows of no proxy: a page over HTTPS with a WebSocket in it, through TLS that passes unread and through TLS that is looked into."""
import threading

import pytest

from lib import tls
from lib.chromium import needed_with_trust, profile, routes, visit
from lib.netns import SERVER
from lib.netns_stage import DENY, WEB, NetStage, certificate

pytestmark = needed_with_trust
INSIDE = {"name": "inside-tls", "from": "inside", "to": "outside", "protocols": ["http", "websocket"], "tls": "inspect", "action": "allow"}


def literal(address):
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("intercept", ["tproxy", "redirect"])
@pytest.mark.parametrize("way", ["unread", "inspected"])
def test_page_with_websocket(way, intercept, family):
    shown, ca = threading.Event(), tls.Authority("Inspection CA")
    inspects = {"policies": [DENY, INSIDE], "tls": {"trust": certificate()[0], "inspect_certificate": ca.file, "inspect_key": ca.key_file}}
    with NetStage(intercept, **(inspects if way == "inspected" else {"policies": [DENY, WEB]})) as stage, \
            profile(ca.file if way == "inspected" else certificate()[0]) as home:
        stage.routes.update(routes(shown))
        with stage.net.client:
            done = visit(home, "https://tls.test/page", "--no-proxy-server", f"--host-resolver-rules=MAP tls.test {literal(SERVER[family])}")
        assert "<title>from the page</title>" in done.stdout, done.stdout + done.stderr[-2000:] + stage.postern.stderr()[-1000:]
        assert "echoed: from the page" in done.stdout
        destination = f"{literal(SERVER[family])}:443"
        if way == "unread":
            line = stage.postern.wait_access(lambda line: line.get("host") == "tls.test" and line["destination"] == destination)
            assert (line["protocol"], line["tls_client"]["way"]) == ("tls", "peeked") and "path" not in line
        else:
            line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["destination"] == destination)
            assert (line["path"], line["tls_client"]["way"]) == ("/ws", "inspected")
