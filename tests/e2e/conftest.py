# SPDX-License-Identifier: ISC
"""What end-to-end tests share: the usual stage, and programs that may not be on this machine."""
import os
import shutil
import subprocess

import pytest

from lib.stage import Stage


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
