# SPDX-License-Identifier: ISC
import os

import pytest

from ring import PROGRAM, WAYS, Ring

OVER_TLS = ("test_bodies", "test_ownership", "test_timeouts", "test_websocket", "test_sharing", "test_ws_alive", "test_ws_content",
            "test_ws_contracts", "test_retries")
# These, but for the long form, in clear and where both sides are TLS.
OVER_BOTH = ("test_ws_held", "test_ws_rows", "test_ws_suite", "test_pace")
LONG = os.environ.get("POSTERN_LONG") == "1"


@pytest.fixture
def ring(request, tmp_path):
    """One engine; @pytest.mark.limits(...) sets limits, @pytest.mark.websocket(...) the keys of that group. What a sanitizer says, and sessions that never end, fail the test."""
    if not os.path.exists(PROGRAM):
        pytest.skip("wire_host is not built")
    mark = request.node.get_closest_marker("limits")
    group = request.node.get_closest_marker("websocket")
    way = getattr(request, "param", "plain")
    made = Ring(str(tmp_path), group.kwargs if group else None, way, **(mark.kwargs if mark else {}))
    yield made
    made.close()


def pytest_generate_tests(metafunc):
    """HTTP and WebSocket are the same whatever they come by: the scenarios of some files run in all ways, but those that they say."""
    name = metafunc.module.__name__
    if "ring" in metafunc.fixturenames and name in OVER_TLS + OVER_BOTH:
        marks = [mark.args for mark in metafunc.definition.iter_markers("not_over")]
        ways = WAYS if LONG or name in OVER_TLS else ("plain", "inspected")
        metafunc.parametrize("ring", [way for way in ways if not any(way in args for args in marks)], indirect=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "not_over(*ways): ways in which the scenario is another one (inspected: a tunnel has one server, and ends with it)")
    config.addinivalue_line("markers", "limits(**limits): limits of the configuration")
    config.addinivalue_line("markers", "websocket(**keys): the group websocket of the policies that allow it")
