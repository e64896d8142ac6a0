# SPDX-License-Identifier: ISC
"""A million names in a hosts_file: they load, and each and every name under it is found, and nothing else."""
import os
import random
import time

from lib.http1 import Client
from lib.stage import Stage

NAMES = 1_000_000
# Generous: a sanitizer build on a busy machine. How fast it is, is bench's business.
LOAD_SECONDS = 60


def name_of(number):
    return f"n{number}.block{number % 997}.example"


def write_names(path):
    with open(path, "w") as file:
        file.write("# names that are denied\n\n")
        file.writelines(f"{name_of(number)}\n" for number in range(NAMES))
    os.chmod(path, 0o644)


def test_a_million_names(tmp_path):
    names = tmp_path / "names"
    os.chmod(tmp_path, 0o755)
    write_names(names)
    policies = [{"name": "blocked", "hosts_file": str(names), "action": "deny"},
                {"name": "rest", "from": "client", "action": "allow"}]
    began = time.monotonic()
    with Stage(policies=policies) as stage:
        assert time.monotonic() - began < LOAD_SECONDS
        pick = random.Random(5)
        with Client(stage.site) as client:
            for _ in range(300):
                name = name_of(pick.randrange(NAMES))
                for host, status in ((name, 403), (f"deeper.{name}", 403), (name.upper(), 403), (f"x{name}", 200),
                                     (name.partition(".")[2], 200)):
                    assert client.request("GET", "/", host).status == status, host
        line = stage.postern.wait_access(lambda line: line["event"] == "denied")
        assert (line["policy"], line["reason"]) == ("blocked", "policy-denied")
        names.write_text("other.example\n")
        assert stage.postern.reload().returncode == 0
        with Client(stage.site) as client:
            assert client.request("GET", "/", name_of(1)).status == 200
            assert client.request("GET", "/", "other.example").status == 403
