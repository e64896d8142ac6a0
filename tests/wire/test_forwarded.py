# SPDX-License-Identifier: ISC
"""What a server is told of the client's address: by us, or by whom we believe, and by nobody else."""
import pytest

from ring import Ring, status

CLAIMED = b"6.6.6.6"
# As servers that make variables of names (CGI, WSGI) read them, the last four are the first four.
NAMES = [b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Real-IP",
         b"X_Forwarded_For", b"x_forwarded-host", b"X-Forwarded_Proto", b"X_REAL_IP"]


@pytest.fixture(params=["none", "replace", "append"])
def forwarding(request, tmp_path):
    """(ring, what `forwarded` of the listener `site` is)."""
    def change(made):
        next(one for one in made["listeners"] if one["name"] == "site")["forwarded"] = request.param
        return made
    made = Ring(str(tmp_path), change=change)
    yield made, request.param
    made.close()


@pytest.mark.parametrize("name", [b"Forwarded", *NAMES])
def test_what_a_client_claims(forwarding, name):
    ring, forwarded = forwarding
    client = ring.client("site")
    ring.say(client, b"GET /x HTTP/1.1\r\nHost: a.test\r\n%s: %s\r\nX_Other: kept\r\n\r\n" % (name, CLAIMED))
    head = bytes(ring.server().received)
    assert (name + b": " + CLAIMED in head) == (forwarded == "append") == (CLAIMED in head)
    assert (b"X-Forwarded-For: 127.0.0.1\r\n" in head) == (forwarded != "none")
    assert b"X_Other: kept\r\n" in head and status(client) == 0
