# SPDX-License-Identifier: ISC
"""A browser: loads a page through the proxy, which opens a WebSocket and shows what comes back."""
import os
import shutil
import subprocess
import tempfile
import threading

import pytest

from lib import ws
from lib.origin import echo_websocket
from lib.stage import Stage

PAGE = b"""<!doctype html><title>waiting</title><p id=out>nothing</p><script>
const socket = new WebSocket("ws://" + location.host + "/ws");
socket.onopen = () => socket.send("from the page");
socket.onmessage = (event) => {
    if (document.title === "waiting") {
        document.title = event.data;
        document.getElementById("out").textContent = "echoed: " + event.data;
        socket.send("shown");
    }
};
</script><img src="/shown.png">"""


def browser():
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


@pytest.mark.skipif(browser() is None, reason="no chromium here")
def test_page_with_websocket():
    """The image is answered once the page has shown the echo, so the load event, and with it the dump, comes after that."""
    shown = threading.Event()

    def page(connection, request):
        connection.answer(PAGE, fields=["Content-Type: text/html"])

    def image(connection, request):
        shown.wait(30)
        connection.answer(b"", "404 Not Found")

    class Watched:
        """The echo server's connection, with an eye on what the page says."""

        def __init__(self, connection):
            self.__dict__.update(connection=connection)

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def send(self, data):
            self.connection.send(data)
            if any(frame.payload == b"shown" for frame in ws.frames_in(data)):
                shown.set()

    routes = {"/page": page, "/shown.png": image, "/ws": lambda connection, request: echo_websocket(Watched(connection), request)}
    with Stage(routes=routes) as stage, tempfile.TemporaryDirectory(prefix="postern-chromium-", ignore_cleanup_errors=True) as profile:
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                   "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
                   f"--proxy-server=http://{stage.proxy}", "--proxy-bypass-list=<-loopback>", "--dump-dom", f"{stage.url}/page"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=dict(os.environ, HOME=profile))
        assert "<title>from the page</title>" in done.stdout, done.stdout + done.stderr[-2000:]
        assert "echoed: from the page" in done.stdout
        line = stage.postern.wait_access(lambda line: line.get("protocol") == "websocket" and line["event"] == "start")
        assert line["path"] == "/ws"
