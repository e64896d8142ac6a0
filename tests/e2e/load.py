# SPDX-License-Identifier: ISC
"""Clients that keep asking while a test does something to the program, and remember what became of each connection."""
import threading

from lib.http1 import Client


class Load:
    """`threads` keep-alive clients; each connection makes `per_connection` requests, or as many as it is told that it may, then another is opened. Stops after `total`
    requests, or when told."""

    def __init__(self, stage, threads=8, total=None, per_connection=50, proxies=None):
        self.stage, self.total, self.per_connection = stage, total, per_connection
        self.proxies = proxies or [stage.proxy]
        self.answered, self.refused, self.cut, self.wrong = 0, [], [], []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[number], daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _next(self):
        with self._lock:
            if self._stop.is_set() or (self.total is not None and self.answered + len(self.cut) >= self.total):
                return False
            return True

    def _run(self, number):
        while self._next():
            try:
                client = Client(self.proxies[number % len(self.proxies)])
            except OSError as error:
                self.refused.append(error)
                continue
            port, done = client.port, 0
            try:
                goes_on = True
                while goes_on and done < self.per_connection and self._next():
                    goes_on = self._ask(client)
                    done += 1
            except (OSError, ConnectionError) as error:
                with self._lock:
                    self.cut.append((port, done, str(error)))
            client.close()

    def _ask(self, client):
        answer = client.request("GET", f"{self.stage.url}/load", self.stage.origin_authority)
        with self._lock:
            self.answered += 1
            if answer.status != 200 or answer.body != b"ok":
                self.wrong.append((answer.status, answer.body[:100]))
        return answer.value("connection") != "close"

    def stop(self):
        self._stop.set()
        return self.join()

    def join(self, seconds=120):
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive(), "a client hangs"
        return self
