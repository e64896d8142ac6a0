# SPDX-License-Identifier: ISC
"""What the tests of faults share: long forms, root, namespaces, and programs that may not be on this machine."""
import os
import shutil
import sys

import pytest

from lib import netns

# Faults on the wire ring are played with its own stage.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "wire"))


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
