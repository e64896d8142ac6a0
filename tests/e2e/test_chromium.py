# SPDX-License-Identifier: ISC
"""A browser: loads a page through the proxy, which opens a WebSocket and shows what comes back."""
import tempfile
import threading

from lib.chromium import needed, routes, visit
from lib.stage import Stage


@needed
def test_page_with_websocket():
    with Stage(routes=routes(threading.Event())) as stage, tempfile.TemporaryDirectory(prefix="postern-chromium-",
                                                                                       ignore_cleanup_errors=True) as home:
        done = visit(home, f"{stage.url}/page", f"--proxy-server=http://{stage.proxy}")
        assert "<title>from the page</title>" in done.stdout, done.stdout + done.stderr[-2000:]
        assert "echoed: from the page" in done.stdout
        line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] == "start")
        assert line["path"] == "/ws"
