# SPDX-License-Identifier: ISC
"""Certificates that are replaced each second under load: every handshake succeeds, with the old or the new one, and no stream is lost.
10 seconds; POSTERN_LONG=1: 60."""
import contextlib
import os
import threading
import time

import pytest

from lib import tls, ws
from lib.libssl import Stream
from lib.tls_stage import ORIGIN, SITE, TLS_PORT, TlsStage

SECONDS = 60 if os.environ.get("POSTERN_LONG") else 10
STREAMS = 10


class Load:
    """Threads that go on until the end, and what went wrong in them."""

    def __init__(self, stage):
        self.stage, self.over, self.wrong, self.handshakes, self.echoes, self.serials = stage, threading.Event(), [], 0, 0, set()
        self.threads = []

    def start(self, function, *arguments):
        thread = threading.Thread(target=self._run, args=[function, *arguments])
        self.threads.append(thread)
        thread.start()

    def _run(self, function, *arguments):
        try:
            while not self.over.is_set():
                function(*arguments)
        except Exception as error:
            self.wrong.append(f"{function.__name__}: {error!r}")

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def visit(self, listener, host):
        with self.stage.client(listener, SITE) as client:
            self.serials.add(client.socket.getpeercert()["serialNumber"])
            assert client.request("GET", "/", host).status == 200
            self.handshakes += 1

    def inspect(self):
        with self.stage.inspected() as client:
            assert client.request("GET", "/", f"{ORIGIN}:{TLS_PORT}").status == 200
            self.handshakes += 1

    def resume(self, kept=[None]):
        with Stream(self.stage.at("site"), SITE, session=kept[0]) as stream:
            stream.write(f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode())
            stream.read_until(b"ok")
            kept[0] = stream.session()
            self.handshakes += 1

    def echo(self, client):
        client.send(ws.frame(ws.TEXT, b"still here", mask=True))
        assert ws.messages_in(ws.frames_in(client.exactly(12))) == [(ws.TEXT, b"still here")]
        self.echoes += 1
        time.sleep(0.05)


def open_websocket(client, host):
    client.send(ws.handshake("/ws", host))
    assert client.response().status == 101
    return client


@pytest.mark.parametrize("workers", [2])
def test_rotation(workers):
    def tune(settings):
        settings["workers"] = workers
        settings["tls"] = {**settings["tls"], "ticket_seconds": 2}
    with TlsStage(tune=tune) as stage, contextlib.ExitStack() as stack:
        path = next(one["tls"] for one in stage.settings["listeners"] if one["name"] == "site")["certificate"].removesuffix(".crt")
        load = Load(stage)
        streams = [open_websocket(stack.enter_context(stage.client(listener, SITE)), SITE) for listener in ["site", "both"] * (STREAMS // 2)]
        streams += [open_websocket(stack.enter_context(stage.inspected()), stage.target) for _ in range(STREAMS // 2)]
        for client in streams:
            load.start(load.echo, client)
        load.start(load.visit, "site", SITE)
        load.start(load.visit, "both", SITE)
        load.start(load.inspect)
        load.start(load.resume)
        try:
            for number in range(SECONDS):
                began = time.monotonic()
                tls.root().certify(SITE, path=path, fresh=True, key="ec" if number % 4 else "rsa2048")
                done = stage.postern.reload()
                assert done.returncode == 0, done.stdout + done.stderr
                time.sleep(max(0, began + 1 - time.monotonic()))
                assert not load.wrong, load.wrong
        finally:
            load.end()
        assert not load.wrong and load.handshakes > SECONDS * 10 and load.echoes > SECONDS * STREAMS, (load.wrong, load.handshakes, load.echoes)
        assert SECONDS <= len(load.serials) <= SECONDS + 1
        status = stage.postern.ctl("status")
        assert status["generation"] >= SECONDS
