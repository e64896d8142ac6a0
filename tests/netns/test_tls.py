# SPDX-License-Identifier: ISC
"""Clients that know of no proxy, over TLS that is looked into: the same checks as in a tunnel, with the address that was dialled as one more link.
(TLS that passes unread: test_clients.py.)"""
import asyncio
import os
import subprocess

import pytest

from lib import tls
from lib.netns import OTHER, SERVER
from lib.netns_stage import DENY, INTERCEPTS, KERNEL, PING, TLS_PORT, NetStage, certificate, server_tls
from lib.postern import ROOT

WSCAT = os.path.join(ROOT, "tests", "e2e", "node_modules", ".bin", "wscat")
V = {4: "-4", 6: "-6"}
PATHS = {"name": "paths", "from": "inside", "paths": ["/denied*"], "protocols": ["http", "websocket"], "action": "deny"}
INSIDE = {"name": "inside-tls", "from": "inside", "to": "outside", "protocols": ["http", "websocket"], "tls": "inspect", "action": "allow"}


@pytest.fixture(scope="module")
def authority():
    return tls.Authority("Inspection CA")


@pytest.fixture(scope="module", params=INTERCEPTS)
def shared(request, authority):
    group = {"trust": certificate()[0], "inspect_certificate": authority.file, "inspect_key": authority.key_file}
    with NetStage(request.param, policies=[DENY, PATHS, INSIDE, KERNEL, PING], tls=group) as made:
        made.authority = authority
        yield made


def curl(stage, *arguments, check=True):
    """That trusts our CA alone."""
    return stage.net.client.run("curl", "-sS", "--max-time", "20", "--cacert", stage.authority.file, *arguments, hosts=stage.hosts, check=check)


def test_curl(shared, family):
    path = f"/secret{family}"
    done = curl(shared, V[family], f"https://tls.test{path}", "-w", " %{http_code} %{remote_ip}")
    assert done.stdout == f"ok 200 {SERVER[family]}"
    line = shared.postern.wait_access(lambda line: line.get("path") == path)
    assert (line["protocol"], line["mode"], line["policy"], line["host"]) == ("http", "transparent", "inside-tls", "tls.test")
    assert line["tls_client"]["way"] == "inspected" and line["tls_client"]["sni"] == line["tls_server"]["sni"] == "tls.test"


def test_in_clear_beside_it(shared, family):
    assert curl(shared, V[family], "http://web.test/clear").stdout == "ok"


def test_denied_by_path(shared, family):
    path = f"/denied{family}"
    done = curl(shared, V[family], f"https://tls.test{path}", "-w", " %{http_code}")
    assert done.stdout.endswith(" 403") and "policy-denied" in done.stdout
    assert shared.postern.wait_access(lambda line: line.get("path") == path)["reason"] == "policy-denied"
    assert path not in shared.tls[family].paths()


def test_python_websockets(shared, family):
    websockets = pytest.importorskip("websockets")

    async def talk():
        async with websockets.connect("wss://tls.test/ws", host=SERVER[family], port=TLS_PORT, ssl=tls.client_context(shared.authority.file),
                                      server_hostname="tls.test", compression=None) as client:
            for message in ("a", "ü" * 1000, b"\0\xff" * 70000):
                await client.send(message)
                assert await client.recv() == message
        return client.close_code
    with shared.net.client:
        assert asyncio.run(talk()) == 1000


def test_wscat(shared, family):
    if not os.path.exists(WSCAT):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    order = f"NODE_OPTIONS=--dns-result-order={'ipv4first' if family == 4 else 'verbatim'}"
    process = shared.net.client.popen("env", order, WSCAT, "--ca", shared.authority.file, "-x", f"hello {family}", "-w", "1", "-c", "wss://tls.test/ws",
                                      hosts=shared.hosts, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.wait(60)              # its input stays open: it ends at its end
    finally:
        process.kill()
        out, errors = process.communicate()
    assert f"hello {family}" in out, errors


@pytest.mark.parametrize("name,where,reasons", [("tls.test", OTHER, {"sni-mismatch", "host-mismatch"}), ("unknown.test", SERVER, {"name-unresolved", "name-timeout"})])
def test_a_name_of_somewhere_else(shared, family, name, where, reasons):
    """What is dialled must be what the name resolves to: no certificate is minted for it."""
    address = where[family] if family == 4 else f"[{where[family]}]"
    before = shared.postern.stderr().count("signed a certificate")
    done = curl(shared, V[family], "-k", "--connect-to", f"{name}:443:{address}:443", f"https://{name}/", check=False)
    assert done.returncode != 0
    line = shared.postern.wait_access(lambda line: line["event"] == "denied" and line.get("tls_client", {}).get("sni") == name and line.get("reason") in reasons)
    assert line["reason"] in reasons and shared.postern.stderr().count("signed a certificate") == before


def test_no_name(shared, family):
    address = SERVER[family] if family == 4 else f"[{SERVER[family]}]"
    done = curl(shared, "-k", f"https://{address}/", check=False)
    assert done.returncode != 0 and shared.denied("sni-missing")


def test_a_failing_server(shared, family):
    shared.tls[family].tls = tls.server_context(tls.self_signed("tls.test"))
    try:
        done = curl(shared, V[family], f"https://tls.test/failing{family}", "-w", " %{http_code}")
        assert done.stdout.endswith(" 502") and "upstream-certificate" in done.stdout
        assert f"/failing{family}" not in shared.tls[family].paths()
    finally:
        shared.tls[family].tls = server_tls()


def test_a_client_without_our_ca(shared, family):
    done = shared.net.client.run("curl", "-sS", "--max-time", "20", V[family], "--cacert", certificate()[0], "https://tls.test/", hosts=shared.hosts, check=False)
    assert done.returncode == 60
    assert shared.denied("inspection-refused")
    assert "tls.test" in shared.postern.ctl_run("inspected", check=True).stdout
