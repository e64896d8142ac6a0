# SPDX-License-Identifier: ISC
import os

import pytest

from ring import PROGRAM, Ring


@pytest.fixture
def ring(request, tmp_path):
    """One engine; @pytest.mark.limits(...) sets limits, @pytest.mark.websocket(...) the keys of that group. What a sanitizer says, and sessions that never end, fail the test."""
    if not os.path.exists(PROGRAM):
        pytest.skip("wire_host is not built")
    mark = request.node.get_closest_marker("limits")
    group = request.node.get_closest_marker("websocket")
    made = Ring(str(tmp_path), group.kwargs if group else None, **(mark.kwargs if mark else {}))
    yield made
    made.close()


def pytest_configure(config):
    config.addinivalue_line("markers", "limits(**limits): limits of the configuration")
    config.addinivalue_line("markers", "websocket(**keys): the group websocket of the policies that allow it")
