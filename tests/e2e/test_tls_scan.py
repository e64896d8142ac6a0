# SPDX-License-Identifier: ISC
"""What scanners say of a listener with TLS as it comes: nothing worse than low. POSTERN_LONG=1 lets testssl.sh try everything it knows."""
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as xml

import pytest

from lib import tls
from lib.tls_stage import SITE, TlsStage

# Protocols, what the server shows, and all attacks by name. What is left out: suites one by one (sslscan does that), forward
# secrecy suite by suite, simulated clients.
SHORT = ["-p", "-S", "-h", "-U", "--fast"]
# What the server behind says in its answers is judged, too.
FIELDS = ["Strict-Transport-Security: max-age=31536000", "X-Frame-Options: DENY", "X-Content-Type-Options: nosniff",
          "Content-Security-Policy: default-src 'none'", "Referrer-Policy: no-referrer"]
# What the scanner could not do with this machine's openssl, or in its own time: renegotiation is tested in test_tls_hostile.py,
# resumption in test_tls_termination.py.
OWN_TROUBLE = {"engine_problem", "secure_renego", "RC4", "sessionresumption_ticket"}


@pytest.fixture(scope="module")
def stage():
    pair = tls.root().certify(SITE, life=(-tls.DAY, 80 * tls.DAY), crl="http://crl.test/ca.crl")

    def tune(settings):
        next(one for one in settings["listeners"] if one["name"] == "site")["tls"] = pair.files
    routes = {"/": lambda connection, request: connection.answer(b"" if request.method == b"HEAD" else b"ok", fields=FIELDS)}
    with TlsStage(routes=routes, tune=tune) as made:
        yield made


@pytest.mark.skipif(not shutil.which("testssl"), reason="no testssl.sh here")
def test_testssl(stage, tmp_path):
    host, port = stage.at("site").split(":")
    done = subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", host, "--add-ca", tls.root().file,
                           "--jsonfile", str(tmp_path / "found"), *([] if os.environ.get("POSTERN_LONG") else SHORT), f"{SITE}:{port}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400)
    found = json.loads((tmp_path / "found").read_text())
    assert len(found) > 40, done.stdout[-2000:]
    bad = [f"{one['severity']} {one['id']}: {one['finding']}" for one in found
           if one["severity"] not in ("OK", "INFO", "LOW") and one["id"] not in OWN_TROUBLE]
    assert not bad, bad


@pytest.mark.skipif(not shutil.which("sslscan"), reason="no sslscan here")
@pytest.mark.parametrize("listener,name", [("site", SITE)])
def test_sslscan(stage, tmp_path, listener, name):
    subprocess.run(["sslscan", f"--sni-name={name}", f"--xml={tmp_path / 'found'}", stage.at(listener)], capture_output=True, timeout=100, check=True)
    test = xml.parse(tmp_path / "found").getroot().find("ssltest")
    enabled = {(one.get("type") + one.get("version")) for one in test.findall("protocol") if one.get("enabled") == "1"}
    assert enabled == {"tls1.2", "tls1.3"}
    assert test.find("renegotiation").get("supported") == "0"
    assert all(one.get("vulnerable") == "0" for one in test.findall("heartbleed"))
    suites = {one.get("cipher") for one in test.findall("cipher")}
    assert suites and all(one.startswith("TLS_") or one.startswith("ECDHE-") and ("GCM" in one or "POLY1305" in one) for one in suites)
    assert all(int(one.get("bits")) >= 128 for one in test.findall("cipher"))
