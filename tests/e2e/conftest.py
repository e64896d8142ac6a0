# SPDX-License-Identifier: ISC
"""What end-to-end tests share: the usual stage, and programs that may not be on this machine."""
import json
import os
import shutil
import subprocess

import pytest

from lib.postern import ROOT, die_with_parent
from lib.stage import Stage

FOLDER = os.path.join(ROOT, "tests", "e2e")
WSCAT = os.path.join(FOLDER, "node_modules", ".bin", "wscat")


@pytest.fixture
def stage():
    with Stage() as made:
        yield made


@pytest.fixture(scope="module")
def shared_stage():
    """For tests that change nothing: one program for a whole module."""
    with Stage() as made:
        yield made


@pytest.fixture
def needs_root():
    if os.getuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def curl():
    if not shutil.which("curl"):
        pytest.skip("no curl here")

    def run(*arguments, **options):
        command = ["curl", "-sS", "--noproxy", "", "--max-time", "120", *arguments]
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run(command, stderr=subprocess.PIPE, timeout=150, **options)
    return run


@pytest.fixture(scope="session")
def wscat():
    """A function that says one message, waits `wait` seconds for answers, and returns what wscat wrote on either stream. `names`: addresses of
    names that no resolver knows."""
    if not os.path.exists(WSCAT):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")

    def run(*arguments, message="hello from wscat", wait=0.5, names=None):
        environment = dict(os.environ, NODE_OPTIONS=f"--require {os.path.join(FOLDER, 'names.js')}", TEST_NAMES=json.dumps(names or {}))
        process = subprocess.Popen([WSCAT, "-x", message, "-w", str(wait), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=die_with_parent)
        try:
            process.wait(60)              # its input stays open: it ends at its end
        finally:
            process.kill()
        return process.communicate()
    return run
