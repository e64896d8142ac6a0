# SPDX-License-Identifier: ISC
"""A user for each kind of process: the kernel knows the flows of workers and the sockets that filter makes for them by two users."""
import functools

from lib import held
from lib.netns import CLIENT, SERVER
from lib.netns_stage import NetStage
from lib.postern import Postern, proc_status


def stage_with_users(folder, **more):
    return NetStage(program=functools.partial(Postern, binary=held.with_users(folder)), user="pt", sandbox="required", **more)


def uids(stage):
    return {role: set(proc_status(pid)["Uid"].split()) for pid, role in stage.postern.processes().items()}


def test_each_has_its_own_and_everything_passes(tmp_path, family):
    with stage_with_users(tmp_path) as stage:
        assert uids(stage) == {role: {str(held.USERS[role])} for role in ("worker", "logger", "control", "filter")}
        assert stage.get(SERVER[family]).status == 200
        table = stage.postern.ctl_run("filter", check=True).stdout
        assert f"meta skuid {{ {held.USERS['worker']}, {held.USERS['filter']} }}" in table
        held_by = next(check for check in stage.ask("doctor")["checks"] if check["name"] == "sandbox")
        assert held_by["ok"] and "a user for each kind of process" in held_by["finding"]
        for pid, role in stage.postern.processes().items():
            assert proc_status(pid)["Seccomp"] == "2", role
        assert stage.postern.reload(stage.settings).returncode == 0 and stage.get(SERVER[family]).status == 200


def test_sockets_with_clients_addresses(tmp_path, family):
    """Filter makes them, with its user, and a worker of another speaks through them."""
    with stage_with_users(tmp_path, listener={"preserve_client_address": True}) as stage:
        assert stage.get(SERVER[family]).status == 200
        assert [one.peer for one in stage.http[family].connections if one.requests] == [CLIENT[family]]
