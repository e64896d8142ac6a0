# SPDX-License-Identifier: ISC
"""A browser that trusts the test CAs: a page over HTTPS with a WebSocket in it, on each way that TLS can take; and without that trust, inspected,
it refuses and is listed."""
import threading

import pytest

from lib import tls
from lib.chromium import needed_with_trust, profile, routes, visit
from lib.postern import wait_until
from lib.tls_stage import ALL, ORIGIN, PROXY, SITE, TlsStage, inspector

pytestmark = needed_with_trust


def passthrough(settings):
    settings["policies"] = [{"name": "all", "from": "client", "protocols": ALL, "action": "allow"}]


WAYS = {
    "inspected": (None, "proxy", "http://{proxy}", ORIGIN),
    "passthrough": (passthrough, "proxy", "http://{proxy}", ORIGIN),
    "HTTPS to the proxy": (passthrough, "secure-proxy", f"https://{PROXY}:3129", ORIGIN),
    "reverse": (None, None, None, SITE),
    "reverse, TLS to the server": (None, None, None, SITE),
}


@pytest.mark.parametrize("way", WAYS)
def test_page_with_websocket(way):
    tune, listener, proxy, name = WAYS[way]
    shown = threading.Event()
    with TlsStage(routes=routes(shown), tune=tune) as stage, profile(tls.root().file, inspector().file) as home:
        own = stage.prefix + ".2"
        arguments = [f"--host-resolver-rules=MAP {PROXY} {own},MAP {SITE} {own}"]
        if listener:
            arguments.append("--proxy-server=" + proxy.format(proxy=stage.at(listener)))
            url = f"https://{stage.target}/page"
        else:
            url = f"https://{SITE}:{stage.at('both' if 'server' in way else 'site').rpartition(':')[2]}/page"
            arguments.append("--no-proxy-server")
        done = visit(home, url, *arguments)
        assert "<title>from the page</title>" in done.stdout, done.stdout + done.stderr[-2000:] + stage.postern.stderr()[-1000:]
        assert "echoed: from the page" in done.stdout
        if "passthrough" in way or "proxy" in way:
            line = stage.postern.wait_access(lambda line: line.get("protocol") == "tls" and line.get("host") == ORIGIN)
            assert line["tls_client"]["way"] == "peeked"
        else:
            line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] == "start")
            assert line["path"] == "/ws" and line["tls_client"]["way"] == ("inspected" if way == "inspected" else "ended")


def test_without_our_ca_it_refuses():
    with TlsStage() as stage, profile(tls.root().file) as home:
        done = visit(home, f"https://{stage.target}/page", f"--proxy-server=http://{stage.at('proxy')}")
        assert "from the page" not in done.stdout
        assert stage.postern.wait_access(lambda line: line.get("reason") == "inspection-refused")["host"] == ORIGIN
        assert wait_until(lambda: ORIGIN in stage.postern.ctl_run("inspected", check=True).stdout, what="the name in the list")
        assert not stage.secure.paths()


def test_a_failing_server_is_shown():
    """The page that says so, under the browser's own warning: it is not hidden."""
    with TlsStage(server=tls.bad_server("expired", ORIGIN, "127.0.0.1")) as stage, profile(tls.root().file, inspector().file) as home:
        done = visit(home, f"https://{stage.target}/page", f"--proxy-server=http://{stage.at('proxy')}")
        assert "upstream-certificate" in done.stdout, done.stdout[-3000:]
