# SPDX-License-Identifier: ISC
"""The secrets of TLS sessions in a file, which another one takes the place of by a reload, while the workers go on."""
import re

from lib.postern import wait_until
from lib.tls_stage import ORIGIN, SITE, TLS_PORT, TlsStage

SECRET = re.compile(r"^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$", re.MULTILINE)


OPENSSL = """openssl_conf = all
[all]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
"""


def test_the_environment_says_nothing(tmp_path):
    """Neither where secrets go, nor what there is to encrypt with (by this file: nothing): libraries that would listen to it are kept from it."""
    log, conf = tmp_path / "secrets", tmp_path / "openssl.cnf"
    conf.write_text(OPENSSL)
    with TlsStage(environment={"SSLKEYLOGFILE": str(log), "OPENSSL_CONF": str(conf)}) as stage:
        with stage.client("site", SITE) as client:
            assert client.request("GET", "/", SITE).status == 200
        with stage.inspected() as client:
            assert client.request("GET", "/", f"{ORIGIN}:{TLS_PORT}").status == 200
        assert not log.exists()


def test_another_key_log_takes_the_place_of_one(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"

    with TlsStage() as stage:
        def log_to(path):
            done = stage.postern.reload({**stage.settings, "tls": {**stage.settings["tls"], **({"keylog": str(path)} if path else {})}})
            assert done.returncode == 0, done.stderr

        def visit():
            with stage.client("site", SITE) as client:
                assert client.request("GET", "/", SITE).status == 200
            with stage.inspected() as client:
                assert client.request("GET", "/", f"{ORIGIN}:{TLS_PORT}").status == 200

        workers = stage.postern.workers()
        log_to(first)
        visit()
        wait_until(lambda: SECRET.search(first.read_text()), what="secrets in the first file")
        log_to(second)
        before = first.read_text()
        visit()
        wait_until(lambda: SECRET.search(second.read_text()), what="secrets in the second file")
        log_to(None)
        after = second.read_text()
        visit()
        assert (first.read_text(), second.read_text()) == (before, after)
        assert stage.postern.workers() == workers             # nobody died of it
