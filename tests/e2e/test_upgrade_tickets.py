# SPDX-License-Identifier: ISC
"""Session tickets outlive the program that gave them: the keys go to the new one, with the time that they have left."""
import time

import pytest

from lib.libssl import TLS1_2, TLS1_3, Stream
from lib.postern import wait_until
from lib.tls_stage import SITE, TlsStage
from lib.upgrade import Replaceable, has_ended

REQUEST = f"GET / HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()
ROTATION = 8                           # seconds that a key lives


def visit(stage, version=TLS1_3, session=None):
    """Was the session resumed? And the one to come back with."""
    with Stream(stage.at("site"), SITE, version, session) as stream:
        stream.write(REQUEST)
        stream.read_until(b"ok")
        return stream.resumed, stream.session()


def upgrade(stage):
    """Behind it only the new program serves."""
    assert has_ended(stage.postern.upgrade()) == 0


@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_a_session_is_resumed_by_the_next_program(version):
    """... by each of its workers, and by the one after it."""
    def tune(settings):
        settings["workers"] = 2
    with TlsStage(tune=tune, program=Replaceable) as stage:
        resumed, session = visit(stage, version)
        assert not resumed
        for _ in range(2):
            upgrade(stage)
            for _ in range(8):
                assert visit(stage, version, session)[0]
        assert "session tickets" not in stage.postern.stderr()


def rotating(attempt):
    """Runs attempts until one was fast enough to say something: what it says."""
    def tune(settings):
        settings["tls"] = {**settings["tls"], "ticket_seconds": ROTATION}
    for _ in range(8):
        with TlsStage(tune=tune, program=Replaceable) as stage:
            result = attempt(stage)
        if result is not None:
            return result
    raise AssertionError("every attempt took longer than a key lives")


def test_a_ticket_of_the_key_before():
    """Between a ticket and the look at it the key was replaced once: twice takes longer than a key lives."""
    def attempt(stage):
        first = visit(stage)[1].ticket_key()
        taken, session = time.monotonic(), visit(stage)[1]
        while (latest := visit(stage)[1]).ticket_key() == first:
            taken, session = time.monotonic(), latest
            time.sleep(0.1)
        upgrade(stage)
        resumed = visit(stage, session=session)[0]
        return resumed if session.ticket_key() == first and time.monotonic() - taken < ROTATION else None
    assert rotating(attempt)


def test_keys_are_replaced_when_it_was_time():
    """By a program that would keep its own for an hour; what they were used for is resumed once they are replaced."""
    def attempt(stage):
        session = visit(stage)[1]
        stage.postern.write({**stage.settings, "tls": {**stage.settings["tls"], "ticket_seconds": 3600}})
        upgrade(stage)
        if visit(stage)[1].ticket_key() != session.ticket_key():
            return None                # it was replaced by the old one
        wait_until(lambda: visit(stage)[1].ticket_key() != session.ticket_key(), what="another key")
        return visit(stage, session=session)[0]
    assert rotating(attempt)
