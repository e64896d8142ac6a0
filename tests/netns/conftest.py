# SPDX-License-Identifier: ISC
"""Tests of the packet filter in network namespaces: all are skipped, with the reason, where namespaces cannot be made."""
import os

import pytest

from lib import netns
from lib.netns_stage import INTERCEPTS, NetStage

HERE = os.path.dirname(os.path.abspath(__file__))


def pytest_collection_modifyitems(items):
    mine = [item for item in items if str(item.fspath).startswith(HERE)]
    reason = netns.why_not() if mine else ""
    if reason:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=netns.FAMILIES, ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture(scope="module", params=INTERCEPTS)
def shared(request):
    """For tests that change nothing: one stage a module and way of interception."""
    with NetStage(request.param) as made:
        yield made


@pytest.fixture(params=INTERCEPTS)
def intercept(request):
    return request.param
