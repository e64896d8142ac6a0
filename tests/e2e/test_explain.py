# SPDX-License-Identifier: ISC
"""The dry run decides as the live one: 10,000 random requests under random policies, asked and then sent."""
import os
import random
import tempfile
import threading
from dataclasses import dataclass, field

from lib import ws
from lib.control import Control
from lib.http1 import Client
from lib.postern import wait_until
from lib.stage import ORIGIN_PORT, Stage

COUNT = 10_000
THREADS = 4
HOSTS = ["a.test", "b.test", "deep.a.test", "c.example", "x.c.example", "other.test", "A.TEST", "b.test."]
PATHS = ["/", "/a", "/a/b", "/a/../b", "/%61/x", "/b/c/d", "/deny/x", "/A", "/a%7eb"]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
HEADERS = ["X-Team: red", "X-Team: blue", "User-Agent: robot 1", "Accept: text/html"]
ORIGINS = ["https://app.test", "https://evil.test"]


@dataclass
class Question:
    number: int
    method: str
    host: str
    port: int
    path: str
    headers: list = field(default_factory=list)
    websocket: bool = False
    live: tuple = None
    dry: tuple = None

    @property
    def url(self):
        return f"{'ws' if self.websocket else 'http'}://{self.host}:{self.port}{self.path}"


def random_policies(pick):
    def some(values, most=3):
        return pick.sample(values, pick.randint(1, most))
    policies = []
    for number in range(24):
        policy = {"name": f"p{number}", "action": pick.choice(["allow", "allow", "deny"])}
        if pick.random() < 0.6:
            policy["hosts"] = some(["a.test", "b.test", "*.a.test", "*.test", "c.example", "*.c.example", "*.example"])
        if pick.random() < 0.4:
            policy["paths"] = some(["/", "/a*", "/b/*", "/deny*", "*/b", "/*/x", "*7"])
        if pick.random() < 0.4:
            policy["methods"] = some(METHODS)
        if pick.random() < 0.3:
            policy["headers"] = some(["X-Team", "X-Team: red", "User-Agent: *robot*", "X-Never"], 1)
        if pick.random() < 0.3:
            policy["ports"] = pick.choice([[ORIGIN_PORT], [80], ["7000-9000"]])
        if pick.random() < 0.3:
            policy["protocols"] = some(["http", "websocket", "tls"], 2)
        if pick.random() < 0.3:
            policy["from"] = pick.choice(["client", "other"])
        if pick.random() < 0.3:
            policy["to"] = pick.choice(["origin", "other"])
        if pick.random() < 0.2 and policy["action"] == "allow":
            policy["websocket"] = {"origins": [ORIGINS[0]], "origin_required": pick.random() < 0.5}
        policies.append(policy)
    return policies + [{"name": "last", "hosts": ["other.test"], "action": "allow"}]


def random_question(pick, number):
    websocket = pick.random() < 0.05
    headers = pick.sample(HEADERS[:1] + HEADERS[2:] if pick.random() < 0.5 else HEADERS[1:], pick.randint(0, 2))
    if websocket and pick.random() < 0.7:
        headers.append(f"Origin: {pick.choice(ORIGINS)}")
    return Question(number, "GET" if websocket else pick.choice(METHODS), pick.choice(HOSTS), ORIGIN_PORT,
                    f"{pick.choice(PATHS)}/{number}", headers, websocket)


def ask_dry(stage, questions):
    """All over one connection to the control socket."""
    with Control(stage.postern.control_socket) as control:
        for one in questions:
            handshake = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {ws.KEY.decode()}",
                         "Sec-WebSocket-Version: 13"] if one.websocket else []
            answer = control.ask("explain", **{"from": "127.0.0.1", "listener": "proxy", "method": one.method, "url": one.url,
                                               "headers": one.headers + handshake, "address": f"{stage.prefix}.1"})
            assert "verdict" in answer, f"{one.url}: {answer}"
            one.dry = (answer["reason"], answer.get("policy", {}).get("name"))


def send_live(stage, questions):
    client = None
    for one in questions:
        if client is None or client.ended or one.websocket:
            client = Client(stage.proxy)
        try:
            if one.websocket:
                send_handshake(client, one)
                client.close()
                client = None
            else:
                fields = one.headers + (["Content-Length: 0"] if one.method in ("POST", "PUT", "PATCH") else [])
                answer = client.request(one.method, one.url, f"{one.host}:{one.port}", fields)
                if answer.value("connection") == "close":
                    client.close()
                    client = None
        except ConnectionError:
            client = None


def send_handshake(client, one):
    head = ws.handshake(one.url.replace("ws://", "http://", 1), f"{one.host}:{one.port}")
    client.send(head[:-2] + "".join(f"{line}\r\n" for line in one.headers).encode() + b"\r\n")
    if client.response().status == 101:
        client.send(ws.close_frame(1000, mask=True))
        client.wait_close()


def number_of(line):
    last = line.get("path", "").rpartition("/")[2]
    return int(last) if last.isdigit() else None


def read_live(stage, questions):
    def last_lines():
        found = {number_of(line): line for line in stage.postern.access() if line["event"] in ("end", "denied")}
        return found if len(found.keys() - {None}) >= len(questions) else None
    lines = wait_until(last_lines, seconds=60, what=f"{len(questions)} lines")
    for one in questions:
        line = lines[one.number]
        one.live = (line["reason"], line.get("policy"))


def test_dry_run_is_the_live_run():
    pick = random.Random(20)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        hosts = os.path.join(folder, "hosts")
        policies = random_policies(pick)
        zones = [{"name": "client", "networks": ["127.0.0.1/32"]}, {"name": "origin", "networks": ["127.0.0.0/8"]},
                 {"name": "other", "networks": ["10.0.0.0/8"]}]
        open(hosts, "w").close()
        os.chmod(hosts, 0o644)
        with Stage(policies=policies, zones=zones, resolver={"hosts": hosts}) as stage:
            with open(hosts, "w") as file:
                file.writelines(f"{stage.prefix}.1 {name.lower().rstrip('.')}\n" for name in HOSTS)
            assert stage.postern.reload().returncode == 0
            questions = [random_question(pick, number) for number in range(COUNT)]
            ask_dry(stage, questions)
            threads = [threading.Thread(target=send_live, args=[stage, questions[n::THREADS]]) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            read_live(stage, questions)
        different = [(one.method, one.url, one.headers, one.dry, one.live) for one in questions if one.dry != one.live]
        assert not different, f"{len(different)} differ: {different[:5]}"
        verdicts = {one.dry for one in questions}
        assert len(verdicts) > 10 and any(reason == "ok" for reason, _ in verdicts) and any(reason != "ok" for reason, _ in verdicts)
