# SPDX-License-Identifier: ISC
"""posternctl doctor: everything is well where it is; each fault is found, and what it says mends it does."""
import os
import signal

import pytest

from lib.netns import FAMILIES, SERVER
from lib.netns_stage import DENY, KERNEL, PING, WEB, ZONES, NetStage
from lib.postern import BUILD, wait_until

SSH = {"name": "ssh", "from": "inside", "to": "self", "protocols": ["tcp"], "ports": [22], "action": "allow"}
POLICIES = [DENY, SSH, WEB, KERNEL, PING]


@pytest.fixture(scope="module")
def stage():
    with NetStage(policies=POLICIES, packet_filter={"helpers": ["ftp"]}) as made:
        yield made


def checks(stage):
    return stage.ask("doctor")["checks"]


def faults(stage):
    return [check for check in checks(stage) if not check["ok"]]


def only(stage, *names):
    """Whether these are all the faults. A listener that did not answer the canary in its time may have been busy, so ask until it is so."""
    return sorted(check["name"] for check in faults(stage)) == sorted(names)


def all_is_well(stage):
    return wait_until(lambda: only(stage), what=f"the end of {faults(stage)}")


def test_all_is_well(intercept):
    with NetStage(intercept, policies=POLICIES, packet_filter={"helpers": ["ftp"], "masquerade": ["outside"]}) as stage:
        for _ in range(2):
            assert all_is_well(stage)
        names = {check["name"] for check in checks(stage)}
        wanted = {"rules", "listener web4", "listener web6", "loops", "self", "interfaces", "forwarding IPv4", "forwarding IPv6", "reverse path lan0",
                  "helper ftp"}
        assert wanted <= names and ({"policy routing IPv4", "policy routing IPv6"} <= names) == (intercept == "tproxy")
        proved = {check["name"] for check in checks(stage) if check.get("canary")}
        assert {"rules", "listener web4", "listener web6", "forwarding IPv4", "forwarding IPv6", "reverse path lan0"} <= proved
        done = wait_until(lambda: (said := stage.postern.ctl_run("doctor")).returncode == 0 and said, what="a doctor who finds nothing")
        assert "NOT OK" not in done.stdout
        assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)


def sysctl(name, value):
    return lambda stage: stage.net.gateway.sysctl(name, value)


def ip(*lines):
    return lambda stage: stage.net.gateway.ip(*lines)


def mended_by(stage, mend):
    """Runs what the doctor says: a command, maybe with an explanation behind it in brackets or after a comma."""
    command = mend.partition(" (")[0].partition(", or ")[0]
    shell = f"PATH={BUILD}:$PATH; posternctl() {{ {BUILD}/posternctl -s {stage.postern.control_socket} \"$@\"; }}; {command}"
    stage.net.gateway.run("bash", "-ec", shell)


# name of the check, what breaks it, what it says mends it
FAULTS = [
    ("forwarding IPv4", sysctl("net.ipv4.ip_forward", 0), "sysctl -w net.ipv4.ip_forward=1"),
    ("forwarding IPv6", sysctl("net.ipv6.conf.all.forwarding", 0), "sysctl -w net.ipv6.conf.all.forwarding=1"),
    ("policy routing IPv4", ip("rule del pref 20560"), "posternctl reload"),
    ("policy routing IPv4", ip("route flush table 20560"), "posternctl reload"),
    ("policy routing IPv6", lambda stage: stage.net.gateway.run("ip", "-6", "rule", "del", "pref", "20560"), "posternctl reload"),
    ("policy routing IPv6", lambda stage: stage.net.gateway.run("ip", "-6", "route", "flush", "table", "20560"), "posternctl reload"),
    ("accounting", sysctl("net.netfilter.nf_conntrack_acct", 0), "sysctl -w net.netfilter.nf_conntrack_acct=1"),
    ("conntrack events", sysctl("net.netfilter.nf_conntrack_events", 0), "sysctl -w net.netfilter.nf_conntrack_events=2"),
]


@pytest.mark.parametrize("name, breaks, mend", FAULTS, ids=[f"{number}-{fault[0]}" for number, fault in enumerate(FAULTS)])
def test_a_fault_is_found_and_what_it_says_mends_it(stage, name, breaks, mend):
    assert all_is_well(stage)

    def broken(look):
        """Some of these the filter process mends by itself, in its own time; that may be before we looked."""
        try:
            breaks(stage)
        except AssertionError:
            pass                      # it still is
        return look()
    wait_until(lambda: broken(lambda: only(stage, name)), what="a fault that is found")
    found = wait_until(lambda: broken(lambda: next((one for one in faults(stage) if one["name"] == name), None)), what="its mend")
    assert mend in found["mend"]
    done = wait_until(lambda: broken(lambda: (said := stage.postern.ctl_run("doctor")).returncode == 1 and said), what="a fault that is told")
    assert f"NOT OK  {name}" in done.stdout and mend in done.stdout
    mended_by(stage, found["mend"])
    assert all_is_well(stage)
    assert all(stage.get(SERVER[family]).status == 200 for family in FAMILIES)


def test_strict_reverse_path():
    """The route back to the clients is by another interface, and the kernel drops what comes from where it would not answer."""
    with NetStage(policies=POLICIES) as stage:
        stage.net.gateway.sysctl("net.ipv4.conf.all.rp_filter", 1)
        assert all_is_well(stage)
        stage.net.gateway.ip("route add 10.77.1.0/25 via 10.77.2.10")
        with pytest.raises(TimeoutError):
            stage.dial(SERVER[4], timeout=0.3)
        found = next(check for check in faults(stage) if check["name"] == "reverse path lan0")
        assert "rp_filter=2" in found["mend"] and "10.77.1." in found["canary"]
        stage.net.gateway.ip("route del 10.77.1.0/25")
        assert all_is_well(stage) and stage.get(SERVER[4]).status == 200


def test_a_listener_that_nobody_serves(stage):
    (worker,) = stage.postern.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        assert {"listener web4", "listener web6"} <= {check["name"] for check in faults(stage)}
    finally:
        os.kill(worker, signal.SIGCONT)
    assert all_is_well(stage)


def test_no_policy_to_self():
    with NetStage(policies=[WEB]) as stage:
        wait_until(lambda: only(stage, "self"), what="the fault that is found")
        assert "self" in check(stage, "self")["mend"]
        stage.said("self", 1)                                        # and the log warned
        stage.reload(policies=[SSH, WEB])
        assert all_is_well(stage)


def check(stage, name):
    return next(check for check in checks(stage) if check["name"] == name)


@pytest.mark.parametrize("table, hook", [("ip", "forward"), ("inet", "input"), ("ip6", "prerouting"), ("inet", "postrouting"), ("ip", "output")])
def test_another_firewall_that_drops(stage, table, hook):
    chain = f"{{ type filter hook {hook} priority 10; policy %s; }}"

    def nft(*lines):
        stage.net.gateway.run("nft", "-f", "-", input="".join(f"{line}\n" for line in lines))
    try:
        nft(f"add table {table} ufw", f"add chain {table} ufw FORWARD {chain % 'accept'}", f"add chain {table} ufw helpers")
        found = check(stage, "other tables")
        assert found["ok"] and f"{table} ufw FORWARD" in found["finding"] and "helpers" not in found["finding"]
        nft(f"add chain {table} ufw FORWARD {chain % 'drop'}")
        found = check(stage, "other tables")
        assert not found["ok"] and f"{table} ufw FORWARD (hook {hook}): policy drop" in found["finding"]
        assert found["mend"].startswith(f"nft list chain {table} ufw FORWARD")
        mended_by(stage, found["mend"])                              # it only looks
    finally:
        nft(f"delete table {table} ufw")
    assert "no other table" in check(stage, "other tables")["finding"] and all_is_well(stage)


@pytest.mark.parametrize("networks", [["0.0.0.0/0", "::/0"], None])
def test_all_networks_that_are_missing_are_named(stage, networks):
    inside, outside = ZONES
    bare = {"name": "outside", "interfaces": ["wan0"], **({"networks": networks} if networks else {})}
    stage.reload(zones=[inside, bare])
    found = check(stage, "zones")
    kept = "" if networks else '"0.0.0.0/0", "::/0", '
    assert found["mend"] == f'add to networks of zone outside: {kept}"10.77.2.0/24", "fd77:2::/64"'
    stage.reload(zones=[inside, dict(outside, networks=["0.0.0.0/0", "::/0", "10.77.2.0/24", "fd77:2::/64"])])
    assert all_is_well(stage)
    stage.reload(zones=ZONES)


def test_an_interface_that_is_not_there(stage):
    stage.reload(zones=[*ZONES, {"name": "dmz", "interfaces": ["dmz0"], "networks": ["10.77.9.0/24"]}])
    found = next(check for check in faults(stage) if check["name"] == "interfaces")
    assert "dmz0" in found["finding"] + found["mend"]
    stage.reload(zones=ZONES)
    assert all_is_well(stage)


def test_it_asks_and_changes_nothing(stage):
    before = stage.net.gateway.ruleset(), stage.net.gateway.run("ip", "rule").stdout
    checks(stage)
    assert (stage.net.gateway.ruleset(), stage.net.gateway.run("ip", "rule").stdout) == before
    assert stage.get(SERVER[4]).status == 200
