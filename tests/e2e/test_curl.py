# SPDX-License-Identifier: ISC
"""HTTP as curl speaks it: explicit, in tunnels, by SOCKS, in reverse."""
import contextlib
import hashlib
import random
import re
import subprocess
import threading

import pytest

from lib import layers, tls
from lib.origin import digest
from lib.postern import SMALL_QUARANTINE, rss_kib
from lib.stage import ORIGIN_PORT, Stage

GIB = 1 << 30
# The bound of design: 128 KiB a direction; the rest is a sanitizer's.
RSS_GROWTH_KIB = 64 * 1024


@pytest.fixture(scope="module")
def stages():
    """Layer -> a stage with it, made when it is first needed."""
    made = {}

    def get(layer):
        if layer not in made:
            made[layer] = stack.enter_context(Stage(routes={"/digest": digest}, layer=layer, environment=SMALL_QUARANTINE))
        return made[layer]
    with contextlib.ExitStack() as stack:
        yield get


@pytest.fixture
def stage(stages):
    return stages(layers.CLEAR)


OUR_CA = ["--proxy-cacert", tls.root().file]
# Name -> (layer, function: stage -> arguments and the origin's URL). curl speaks no SOCKS inside TLS.
WAYS = {
    "absolute form": (layers.CLEAR, lambda stage: (["-x", f"http://{stage.proxy}"], stage.url)),
    "CONNECT": (layers.CLEAR, lambda stage: (["-x", f"http://{stage.proxy}", "--proxytunnel"], stage.url)),
    "SOCKS5 name": (layers.CLEAR, lambda stage: (["--socks5-hostname", stage.proxy], stage.url)),
    "SOCKS5 address": (layers.CLEAR, lambda stage: (["--socks5", stage.proxy], stage.url)),
    "reverse": (layers.CLEAR, lambda stage: ([], f"http://{stage.site}")),
    "HTTPS to the proxy": (layers.ENDED, lambda stage: (["-x", f"https://{stage.proxy}", *OUR_CA], stage.url)),
    "HTTPS to the proxy, CONNECT": (layers.ENDED, lambda stage: (["-x", f"https://{stage.proxy}", *OUR_CA, "--proxytunnel"], stage.url)),
    "reverse with TLS": (layers.ENDED, lambda stage: (["--cacert", tls.root().file], f"https://{stage.site}")),
    "inspected": (layers.INSPECTED, lambda stage: (["-x", f"http://{stage.proxy}", "--cacert", layers.inspector().file],
                                                   f"https://{stage.origin_authority}")),
    "inspected, SOCKS5": (layers.INSPECTED, lambda stage: (["--socks5", stage.proxy, "--cacert", layers.inspector().file],
                                                           f"https://{stage.origin_authority}")),
}


@pytest.fixture(params=list(WAYS))
def way(request, stages):
    layer, made = WAYS[request.param]
    return made(stages(layer))


def test_get(curl, way):
    arguments, url = way
    assert curl(*arguments, f"{url}/hello").stdout == b"ok"


def test_head(curl, way):
    arguments, url = way
    assert curl(*arguments, "-I", f"{url}/").stdout.startswith(b"HTTP/1.1 200")


def test_http10(curl, way):
    arguments, url = way
    assert curl(*arguments, "-0", "--no-alpn", f"{url}/old").stdout == b"ok"      # or it would ask for the protocol http/1.0


def test_chunked_upload(curl, way):
    arguments, url = way
    body = random.Random(1).randbytes(3_000_001)
    done = curl(*arguments, "-T", "-", f"{url}/digest", input=body)
    assert done.stdout.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}", done.stderr


def test_upload_with_length(curl, way, tmp_path):
    arguments, url = way
    body = random.Random(2).randbytes(1_000_003)
    (tmp_path / "body").write_bytes(body)
    done = curl(*arguments, "--data-binary", f"@{tmp_path / 'body'}", f"{url}/digest")
    assert done.stdout.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}", done.stderr


def test_keep_alive(curl, way):
    arguments, url = way
    done = curl(*arguments, "-w", "%{num_connects}\n", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null",
                f"{url}/1", f"{url}/2", f"{url}/3")
    assert done.stdout.split() == [b"1", b"0", b"0"]


def test_keep_alive_of_uploads(curl, way):
    arguments, url = way
    done = curl(*arguments, "-w", "%{num_connects}\n", "-o", "/dev/null", "-o", "/dev/null", "-d", "some=data", f"{url}/1", f"{url}/2")
    assert done.stdout.split() == [b"1", b"0"]


@pytest.mark.parametrize("name,size", [("absolute form", GIB), ("reverse with TLS", GIB // 8), ("inspected", GIB // 8)])
def test_one_gibibyte_in_bounded_memory(curl, stages, name, size):
    """Over TLS, where most of the time is a sanitizer's and the test's own, an eighth of it."""
    layer, made = WAYS[name]
    stage = stages(layer)
    arguments, url = made(stage)
    worker, = stage.postern.workers()
    curl(*arguments, f"{url}/warm")
    before = rss_kib(worker)
    block = random.Random(3).randbytes(1 << 20)
    sha, most = hashlib.sha256(), 0
    process = subprocess.Popen(["curl", "-sS", "--noproxy", "", *arguments, "-X", "POST", "-T", "-", f"{url}/digest"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for number in range(size // len(block)):
        part = number.to_bytes(8, "big") + block[8:]
        sha.update(part)
        process.stdin.write(part)
        if number % 16 == 0:
            most = max(most, rss_kib(worker))
    answer, _ = process.communicate(timeout=120)
    assert answer.decode() == f"{size} {sha.hexdigest()}"
    assert most - before < RSS_GROWTH_KIB


def test_event_stream_is_not_held_back(stage):
    """The second event is only sent once the first has arrived."""
    arrived = threading.Event()

    def events(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"d\r\ndata: first\n\n\r\n")
        assert arrived.wait(15)
        connection.send(b"e\r\ndata: second\n\n\r\n0\r\n\r\n")
    stage.origin.routes["/events"] = events
    process = subprocess.Popen(["curl", "-sSN", "--max-time", "30", "-x", f"http://{stage.proxy}", f"{stage.url}/events"],
                               stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout.readline() == b"data: first\n"
    arrived.set()
    rest, _ = process.communicate(timeout=30)
    assert rest == b"\ndata: second\n\n"


def test_denied_says_why_and_which(curl, stage):
    """The error page names the request as the log does, the reason, and nothing of the inside."""
    done = curl("-i", "-x", f"http://{stage.proxy}", "http://127.0.0.1:9/")
    text = done.stdout.decode()
    assert text.startswith("HTTP/1.1 403")
    request = re.search(r"\b\d+-\d+-\d+\b", text.split("\r\n\r\n", 1)[1])[0]
    line = stage.postern.wait_access(lambda line: line.get("request") == request)
    assert line["event"] == "denied" and line["reason"] in text
    assert stage.postern.folder not in text
    assert re.search(r"(?im)^proxy-status: .*error=", text)


def test_tls_passes_unread(curl, tmp_path):
    """A ClientHello that fits its CONNECT reaches the origin; what comes back is not TLS, and that is curl's to say."""
    hosts = tmp_path / "hosts"
    hosts.touch(0o644)

    def answer(connection):
        connection.more()
        connection.answer(status="400 Bad Request")
    with Stage(resolver={"hosts": str(hosts)}, handler=answer) as stage:
        hosts.write_text(f"{stage.prefix}.1 origin.test\n")
        assert stage.postern.reload().returncode == 0
        done = curl("-x", f"http://{stage.proxy}", "--max-time", "10", f"https://origin.test:{ORIGIN_PORT}/")
        assert done.returncode != 0
        assert any(connection.received.startswith(b"\x16\x03") for connection in stage.origin.connections)
        line = stage.postern.wait_access(lambda line: line.get("protocol") == "tls" and line["event"] == "end")
        assert line["host"] == "origin.test"
