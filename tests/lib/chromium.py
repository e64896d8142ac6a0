# SPDX-License-Identifier: ISC
"""Chromium: where it is, how it visits a page without showing it, and a page with a WebSocket that shows what comes back."""
import contextlib
import os
import shutil
import subprocess
import tempfile

import pytest

from lib import ws
from lib.origin import echo_websocket

PAGE = b"""<!doctype html><title>waiting</title><p id=out>nothing</p><script>
const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
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


needed = pytest.mark.skipif(browser() is None, reason="no chromium here")
needed_with_trust = [needed, pytest.mark.skipif(not shutil.which("certutil"), reason="no certutil here (libnss3-tools)")]


@contextlib.contextmanager
def profile(*files):
    """A home with these certificates as trusted CAs in its store."""
    with tempfile.TemporaryDirectory(prefix="postern-chromium-", ignore_cleanup_errors=True) as home:
        store = os.path.join(home, ".pki", "nssdb")
        os.makedirs(store)
        subprocess.run(["certutil", "-N", "-d", f"sql:{store}", "--empty-password"], check=True)
        for number, file in enumerate(files):
            subprocess.run(["certutil", "-A", "-d", f"sql:{store}", "-n", f"ca{number}", "-t", "C,,", "-i", file], check=True)
        yield home


class Watched:
    """The echo server's connection, with an eye on what the page says."""

    def __init__(self, connection, shown):
        self.__dict__.update(connection=connection, shown=shown)

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def send(self, data):
        self.connection.send(data)
        if any(frame.payload == b"shown" for frame in ws.frames_in(data)):
            self.shown.set()


def routes(shown):
    """The image is answered once the page has shown the echo, so the load event, and with it the dump, comes after that."""
    def page(connection, request):
        connection.answer(PAGE, fields=["Content-Type: text/html"])

    def image(connection, request):
        shown.wait(20)
        connection.answer(b"", "404 Not Found")
    return {"/page": page, "/shown.png": image, "/ws": lambda connection, request: echo_websocket(Watched(connection, shown), request)}


def visit(home, url, *arguments):
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={home}/profile",
               "--proxy-bypass-list=<-loopback>", *arguments, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, env=dict(os.environ, HOME=home))
