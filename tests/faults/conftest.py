# SPDX-License-Identifier: ISC
"""What the tests of faults share: long forms, root, namespaces, and programs that may not be on this machine."""
import os
import shutil

import pytest

from lib import netns


@pytest.fixture
def needs_root():
    if os.getuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def needs_netns():
    reason = netns.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def strace():
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    return "strace"
