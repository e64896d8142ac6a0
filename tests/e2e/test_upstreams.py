# SPDX-License-Identifier: ISC
"""Several upstreams of one reverse listener: taken in turn, past those that are dead; what is dead costs nobody an answer."""
import collections
import contextlib
import os
import re
import signal
import threading

import pytest

from lib.http1 import Client
from lib.lease import Lease
from lib.origin import Origin
from lib.postern import Postern, wait_until

COUNT = 3


class Service:
    """Origins at ports 8000, 8001, ... of one address, behind the listener `site`. `how`: port -> function(connection), or None: nobody listens."""

    def __init__(self, how=None, count=COUNT, workers=1, **listener):
        self.lease = Lease()
        self.prefix, self.how, self.origins = self.lease.prefix, how or {}, {}
        self.ports = [8000 + n for n in range(count)]
        self.seen = collections.Counter()        # (method, path), over all origins
        self.lock = threading.Lock()
        for port in self.ports:
            if port not in self.how or self.how[port]:
                self.open(port)
        self.site, self.admin = f"{self.prefix}.2:8080", f"{self.prefix}.2:9128"
        self.settings = {
            "workers": workers, "admin": {"address": self.admin}, "timeouts": {"drain": 1.0, "connect": 1.0},
            "zones": [{"name": "client", "networks": ["127.0.0.1/32"]}],
            "listeners": [{"name": "site", "mode": "reverse", "address": self.site,
                           "upstreams": [f"{self.prefix}.1:{port}" for port in self.ports], **listener}],
            "policies": [{"name": "all", "protocols": ["http", "websocket"], "action": "allow"}],
        }
        self.postern = Postern(self.settings)

    def open(self, port):
        self.origins[port] = Origin(f"{self.prefix}.1", port, handler=self.how.get(port) or self.serve)

    def close(self, port):
        self.origins.pop(port).close()

    def note(self, request):
        with self.lock:
            self.seen[request.method.decode(), request.path.decode()] += 1

    def serve(self, connection):
        while True:
            request = connection.read_request()
            self.note(request)
            connection.answer(str(connection.socket.getsockname()[1]).encode())

    def ask(self, method="GET", path="/", body=b"", fields=()):
        with Client(self.site) as client:
            return client.request(method, path, self.site, fields, body)

    def who(self, count):
        """The ports that answered so many requests, each by a connection of its own."""
        answers = [self.ask() for _ in range(count)]
        assert {answer.status for answer in answers} == {200}, [answer for answer in answers if answer.status != 200][:3]
        return collections.Counter(int(answer.body) for answer in answers)

    def states(self):
        return {int(one["upstream"].rpartition(":")[2]): one["state"] for one in self.postern.ctl("status")["upstreams"]}

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        try:
            self.postern.__exit__(*failure)
        finally:
            for origin in self.origins.values():
                origin.close()
            self.lease.release()


def closes(connection):
    """Takes the connection, reads a head, and is gone."""
    connection.read_head()
    connection.close()


def closes_at_once(connection):
    connection.close(reset=True)


def test_in_turn():
    with Service() as service:
        assert service.who(9) == {8000: 3, 8001: 3, 8002: 3}


def test_a_dead_one_costs_nothing():
    """Its request goes to the next one, whatever its method; later ones are not tried on it for a while."""
    with Service({8001: None}) as service:
        for number in range(6):
            answer = service.ask("POST", f"/{number}", b"12345")
            assert answer.status == 200 and int(answer.body) != 8001
        assert all(count == 1 for count in service.seen.values()) and len(service.seen) == 6
        assert service.states() == {8000: "up", 8001: "down", 8002: "up"}
        wait_until(lambda: len(service.postern.access()) == 6, what="a line of each")
        assert sum(line.get("retries", 0) for line in service.postern.access()) == 1
        service.postern.wait_said(f"upstream {service.prefix}.1:8001 of listener site is down: upstream-refused")


def test_it_comes_back():
    with Service({8001: None}) as service:
        service.who(6)
        service.how.clear()
        service.open(8001)
        wait_until(lambda: 8001 in service.who(3), what="the one that came back")
        assert service.states()[8001] == "up"
        assert service.who(9) == {8000: 3, 8001: 3, 8002: 3}


def test_all_are_dead():
    """The first request tries them all; the next ones are told at once, and nobody is dialled."""
    with Service(dict.fromkeys((8000, 8001, 8002))) as service:
        answer = service.ask()
        assert answer.status == 502 and "upstream-refused" in answer.value("proxy-status")
        answer = service.ask()
        assert answer.status == 503 and "upstream-down" in answer.value("proxy-status")
        service.how.clear()
        service.open(8002)
        wait_until(lambda: service.ask().status == 200, what="the service")


@pytest.mark.parametrize("how", [closes, closes_at_once])
def test_one_that_takes_connections_and_dies(how):
    """What may be asked twice is asked again elsewhere, once; the rest is refused. It is avoided from then on, while there is another.

    A reset can be quicker than whoever looks if it is connected: then there was no connection."""
    found = ["doubtful", "down"] if how is closes_at_once else ["doubtful"]
    with Service({8000: how}, count=2) as service:
        statuses = [service.ask().status for _ in range(4)]
        assert statuses == [200] * 4 and service.states() in [{8000: state, 8001: "up"} for state in found]
    with Service({8000: how}, count=2) as service:
        statuses = [service.ask("POST", f"/{number}", b"12345").status for number in range(4)]
        assert sorted(statuses) in ([200, 200, 200, 502], [200] * 4)[:len(found)] and max(service.seen.values()) == 1


def test_who_kills_servers_takes_no_service_away():
    """Both die of one kind of request, and only of that: others are answered all the while."""
    def fragile(service):
        def serve(connection):
            while True:
                request = connection.read_request()
                service.note(request)
                if request.path == b"/kill":
                    return
                connection.answer(b"1")
        return serve

    with Service(count=2) as service:
        for origin in service.origins.values():
            origin.handler = fragile(service)
        for _ in range(5):
            assert service.ask(path="/kill").status == 502
            assert service.ask().status == 200
        assert max(count for (_, path), count in service.seen.items() if path == "/kill") <= 2 * 5


def test_who_kills_servers_keeps_none_down():
    """All were down for a moment. Whoever tries again first kills what it reaches: it can be reached, so others are answered at once."""
    def fragile(connection):
        while connection.read_request().path != b"/kill":
            connection.answer(b"1")

    with Service(dict.fromkeys((8000, 8001)), count=2) as service:
        assert service.ask().status == 502 and service.ask().status == 503
        for port in service.ports:
            service.how[port] = fragile
            service.open(port)
        wait_until(lambda: service.ask(path="/kill").status == 502, what="a server that can be reached")
        for _ in range(5):
            assert service.ask().status == 200
            assert service.ask(path="/kill").status == 502


def test_a_server_that_dies_with_kept_connections():
    """All requests at hand are answered by the other one, though their connections and the server are gone."""
    with Service(count=2) as service, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(service.site)) for _ in range(20)]
        for client in clients:
            assert client.request("GET", "/", service.site).status == 200
        service.close(8000)
        for client in clients:
            answer = client.request("GET", "/again", service.site)
            assert answer.status == 200 and answer.body == b"8001"


def test_one_upstream_is_asked_each_time():
    with Service({8000: None}, count=1) as service:
        assert [service.ask().status for _ in range(3)] == [502] * 3
        service.how.clear()
        service.open(8000)
        assert service.ask().status == 200


def test_all_workers_know():
    with Service({8000: None}, count=2, workers=2) as service:
        assert service.who(40) == {8001: 40}
        assert sum(line.get("retries", 0) for line in service.postern.access()) <= 4        # a try a second


def test_a_reload_forgets_nothing_of_those_that_stay():
    with Service({8001: None}) as service:
        service.who(6)
        upstreams = service.settings["listeners"][0]["upstreams"]
        upstreams.append(f"{service.prefix}.1:8009")
        service.postern.reload(service.settings)
        assert service.states() == {8000: "up", 8001: "down", 8002: "up", 8009: "up"}
        del upstreams[1]
        service.postern.reload(service.settings)
        assert set(service.states()) == {8000, 8002, 8009}


# Checks.

QUICK = {"interval": 0.05, "timeout": 1.0, "rise": 2, "fall": 2}


def is_state(service, port, state):
    return lambda: service.states()[port] == state


def test_a_check_finds_out_before_a_client_does():
    with Service(count=2, health=QUICK) as service:
        service.who(4)
        service.close(8001)
        wait_until(is_state(service, 8001, "down"), what="a check that fails")
        service.postern.wait_said(f"upstream {service.prefix}.1:8001 of listener site is down: its check failed")
        assert service.who(6) == {8000: 6}
        assert not any("retries" in line for line in service.postern.access())
        service.how.clear()
        service.open(8001)
        wait_until(is_state(service, 8001, "up"), what="a check that is good")
        assert service.who(4) == {8000: 2, 8001: 2}


def answers(status, length=0):
    def serve(connection):
        while True:
            connection.read_head()
            connection.send(f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode())
    return serve


def says(data):
    def serve(connection):
        connection.read_head()
        connection.send(data)
        connection.wait_end()
    return serve


@pytest.mark.parametrize("how, health, good", [
    (answers("204 No"), {}, True), (answers("399 X"), {}, True), (answers("400 X"), {}, False), (answers("500 X"), {}, False),
    (answers("500 X"), {"status": 500}, True), (answers("200 X", 1000), {}, True), (answers("200 X"), {"status": 204}, False),
    (says(b"HTTP/1.1 103 Early Hints\r\n\r\n"), {}, False),
    (says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), {}, True),
    (says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), {}, False),
    (says(b"nonsense\r\n\r\n"), {}, False), (says(b"HTTP/1.1 2"), {}, False),
    (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000), {}, False), (closes, {}, False),
], ids=["204", "399", "400", "500", "500-wanted", "body", "204-wanted", "interim", "interim-200", "interim-500", "nonsense", "part", "endless", "closes"])
def test_what_a_check_takes(how, health, good):
    """Of one upstream that is never asked by anybody else; the one beside it is always good."""
    with Service({8001: how}, count=2, health={**QUICK, "timeout": 0.3, "path": "/healthz?x=1", **health}) as service:
        if health.get("status"):
            service.close(8000)
            service.how[8000] = answers(f"{health['status']} X")
            service.open(8000)
        wait_until(is_state(service, 8001, "up" if good else "down"), what="the verdict")
        checks = {one["upstream"]: one for one in service.postern.ctl("status")["upstreams"]}
        wait_until(lambda: service.postern.ctl("status")["upstreams"][1]["checks"] > checks[f"{service.prefix}.1:8001"]["checks"] + 3, what="more checks")
        assert service.states() == {8000: "up", 8001: "up" if good else "down"}
        request = service.origins[8001].requests[0]
        assert (request.method, request.target) == (b"GET", b"/healthz?x=1")
        assert request.values(b"Host") == [f"{service.prefix}.1:8001".encode()]


def test_one_that_hangs_is_found_by_its_path():
    """A connection it takes; an answer it never gives."""
    with Service({8001: says(b"")}, count=2, health={**QUICK, "timeout": 0.2, "path": "/"}) as service:
        wait_until(is_state(service, 8001, "down"), what="a check that takes too long")
        assert service.who(4) == {8000: 4}


def test_all_checks_fail():
    with Service(dict.fromkeys((8000, 8001)), count=2, health=QUICK) as service:
        wait_until(lambda: set(service.states().values()) == {"down"}, what="the checks")
        answer = service.ask()
        assert answer.status == 503 and "upstream-down" in answer.value("proxy-status")


def test_the_next_worker_goes_on_with_the_checks():
    with Service({8001: None}, count=2, workers=2, health=QUICK) as service:
        wait_until(is_state(service, 8001, "down"), what="a check that fails")
        (first,) = [worker["pid"] for worker in service.postern.ctl("status")["workers"] if worker["worker"] == 0]
        os.kill(first, signal.SIGKILL)
        assert service.states()[8001] == "down"
        service.how.clear()
        service.open(8001)
        wait_until(is_state(service, 8001, "up"), what="a check of the next worker")


def test_metrics():
    with Service({8001: None}, count=2, health=QUICK) as service:
        wait_until(is_state(service, 8001, "down"), what="a check that fails")
        assert service.who(2) == {8000: 2}
        with Client(service.admin) as client:
            text = client.request("GET", "/metrics", service.admin).body.decode()
    values = dict(re.findall(r'(?m)^postern_(upstream_\w+)\{listener="site",upstream="[\d.]+:8001"\} (\d+)$', text))
    assert values["upstream_up"] == "0" and int(values["upstream_checks_total"]) >= int(values["upstream_check_failures_total"]) >= 2
    assert f'postern_upstream_up{{listener="site",upstream="{service.prefix}.1:8000"}} 1' in text
    assert "postern_failovers_total 0" in text
