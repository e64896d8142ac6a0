# SPDX-License-Identifier: ISC
"""The ruleset changes as a whole or not at all, only when it has to, and nobody else's with it."""
import signal
import subprocess
import threading
import time

import pytest

from lib.netns import CLIENT, FAMILIES, SERVER, RawSender, UdpEcho
from lib.netns_stage import DENY, KERNEL, L4_PORT, PING, WEB, NetStage
from lib.postern import wait_until
from test_states import udp_client

FOREIGN = """table ip foreign {
	set names {
		type ipv4_addr
		elements = { 192.0.2.1, 192.0.2.2 }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @names counter drop comment "not ours"
	}
}
"""
OTHER_POLICY = {"name": "more", "from": "inside", "to": "outside", "protocols": ["udp"], "ports": [6100], "action": "allow"}


class Owner:
    """A process that owns a table (`flags owner`): the kernel lets nobody else touch it."""

    def __init__(self, namespace, table):
        self.process = namespace.popen("nft", "-i", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(f"add table inet {table} {{ flags owner; }}\nadd chain inet {table} theirs\n")
        self.process.stdin.flush()
        wait_until(lambda: "theirs" in namespace.run("nft", "list", "table", "inet", table, check=False).stdout, what="the owned table")

    def close(self):
        self.process.stdin.close()
        self.process.wait(15)


class Monitor:
    """`nft monitor` on the gateway: every change of the ruleset, by whomever."""

    def __init__(self, namespace):
        self.namespace, self.lines, self.marks = namespace, [], 0
        self.process = namespace.popen("nft", "monitor", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(self._hears, what="nft monitor")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def _hears(self):
        self.marks += 1
        name = f"mark{self.marks}"
        self.namespace.nft(f"add table ip {name}\ndelete table ip {name}\n")
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            if any(name in line for line in list(self.lines)):
                return True
            time.sleep(0.01)
        return False

    def changes(self):
        """What was changed since the last call, our own marks aside."""
        wait_until(self._hears, what="the mark")
        found = [line for line in self.lines if "mark" not in line and "generation" not in line and not line.startswith("#")]
        self.lines.clear()
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_applying_it_twice_changes_nothing(intercept):
    with NetStage(intercept) as stage:
        monitor, table = Monitor(stage.net.gateway), stage.table()
        monitor.changes()
        stage.reload()
        stage.reload()
        assert monitor.changes() == []
        stage.reload(policies=[DENY, WEB, KERNEL, PING, OTHER_POLICY])
        assert any("postern" in line for line in monitor.changes()) and stage.table() != table
        stage.reload(policies=[DENY, WEB, KERNEL, PING])
        assert stage.table() == table
        monitor.changes()
        # A policy that only a proxy can see changes nothing in the kernel.
        stage.reload(policies=[DENY, {"name": "paths", "paths": ["/x"], "protocols": ["http"], "action": "deny"}, WEB, KERNEL, PING])
        after = monitor.changes()
        assert after == [] or any("postern" in line for line in after)
        monitor.close()


def test_the_same_rules_after_a_restart(intercept):
    with NetStage(intercept) as stage:
        table = stage.table()
        stage.postern.stop()
        stage.postern.start()
        assert stage.table() == table
        assert stage.get(SERVER[4]).status == 200


def test_foreign_tables_are_untouched(intercept):
    with NetStage(intercept, start=False) as stage:
        stage.net.gateway.nft(FOREIGN)
        before = stage.net.gateway.ruleset()
        stage.postern.start()

        def foreign():
            return stage.net.gateway.run("nft", "-s", "list", "table", "ip", "foreign").stdout
        assert foreign() == before
        stage.reload(policies=[WEB])
        assert foreign() == before
        stage.postern.stop()
        stage.teardown()
        assert stage.net.gateway.ruleset() == before


def test_a_ruleset_that_fails_at_the_start(intercept):
    """The table belongs to a process of somebody else: the kernel refuses, nothing changes, and it is said why."""
    with NetStage(intercept, start=False) as stage:
        owner = Owner(stage.net.gateway, "postern")
        before = stage.net.gateway.ruleset()
        with pytest.raises(AssertionError) as failed:
            stage.postern.start()
        assert stage.net.gateway.ruleset() == before
        assert "postern" in str(failed.value) and any(word in str(failed.value) for word in ("permitted", "busy", "denied"))
        owner.close()
        stage.postern.start()
        assert stage.get(SERVER[4]).status == 200


def test_a_reload_that_fails_changes_nothing(intercept):
    """The new table belongs to a process of somebody else: the kernel refuses the transaction, and so does the reload end."""
    with NetStage(intercept, policies=[WEB, KERNEL]) as stage:
        with stage.dial(SERVER[4]) as client:
            assert client.request("GET", "/", "web.test").status == 200
            generation = stage.postern.ctl("status")["generation"]
            owner = Owner(stage.net.gateway, "elsewhere")
            before = stage.net.gateway.ruleset()
            changed = {**stage.settings, "packet_filter": {"backend": "nftables", "table": "elsewhere"}, "policies": [OTHER_POLICY]}
            done = stage.postern.reload(changed)
            assert done.returncode != 0 and (done.stdout + done.stderr).strip()
            assert stage.net.gateway.ruleset() == before
            assert stage.postern.ctl("status")["generation"] == generation
            assert client.request("GET", "/", "web.test").status == 200      # and the old policies hold
            owner.close()
        stage.reload(packet_filter={"backend": "nftables", "table": "elsewhere"})
        assert stage.table() == "" and "chain forward" in stage.net.gateway.ruleset()        # one table at a time
        assert stage.get(SERVER[4]).status == 200


def test_a_configuration_that_is_wrong_changes_nothing(intercept):
    with NetStage(intercept) as stage:
        monitor = Monitor(stage.net.gateway)
        before = stage.net.gateway.ruleset()
        monitor.changes()
        done = stage.postern.reload({**stage.settings, "policies": [{"name": "wrong", "to": "nowhere", "action": "allow"}]})
        assert done.returncode != 0 and "nowhere" in done.stdout + done.stderr
        assert monitor.changes() == [] and stage.net.gateway.ruleset() == before
        monitor.close()


@pytest.mark.parametrize("what", ["flush ruleset", "delete table inet postern", "flush chain inet postern forward",
                                  "add rule inet postern forward accept"])
def test_what_others_do_is_reported_and_mended(what, family):
    with NetStage() as stage:
        table = stage.table()
        stage.net.gateway.nft(what + "\n")
        wait_until(lambda: stage.table() == table, what="the mended table")
        stage.said(r"(?i)postern.*(changed|removed|flush|mend|commit)")
        assert stage.get(SERVER[family]).status == 200
        # And again: mending is not a thing that is done once.
        stage.net.gateway.nft(what + "\n")
        wait_until(lambda: stage.table() == table, what="the table, mended again")


def test_a_flush_keeps_what_is_blocked():
    with NetStage() as stage:
        stage.postern.ctl_run("block", "10.77.1.11", "100", check=True)
        stage.net.gateway.nft("flush ruleset\n")
        wait_until(lambda: "10.77.1.11" in stage.table(), 5, "the block in the mended table")


class Flows:
    """UDP flows of the kernel and HTTP of the proxy that go on during a reload."""

    def __init__(self, stage):
        self.stage, self.stopped, self.failed, self.done = stage, threading.Event(), [], 0
        self.servers = [UdpEcho(stage.net.server, family, L4_PORT) for family in FAMILIES]
        self.clients = {family: udp_client(stage.net.client, family) for family in FAMILIES}
        self.threads = [threading.Thread(target=work, args=[family], daemon=True) for family in FAMILIES for work in (self._kernel, self._proxy)]
        for thread in self.threads:
            thread.start()

    def _kernel(self, family):
        client, number = self.clients[family], 0
        client.settimeout(3)
        while not self.stopped.wait(0.002):
            number += 1
            try:
                client.sendto(b"%d" % number, (SERVER[family], L4_PORT))
                assert client.recv(100).endswith(b" %d" % number)
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failed.append(("udp", family, number, repr(error)))
                return

    def _proxy(self, family):
        try:
            with self.stage.dial(SERVER[family]) as client:
                while not self.stopped.wait(0.005):
                    assert client.request("GET", "/", "web.test").status == 200
                    self.done += 1
        except (OSError, AssertionError) as error:
            self.failed.append(("tcp", family, repr(error)))

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)
        for one in (*self.servers, *self.clients.values()):
            one.close()


def test_a_reload_is_atomic_under_load(intercept):
    """The server side knocks all the time: nothing gets in between the old rules and the new ones, and nothing that is allowed is cut."""
    with NetStage(intercept) as stage, stage.net.client.capture() as inside:
        flows, knocking, sent = Flows(stage), threading.Event(), [0]

        def knock():
            with RawSender(stage.net.server) as raw:
                while not knocking.is_set():
                    for family in FAMILIES:
                        raw.syn(SERVER[family], 30000 + sent[0] % 20000, CLIENT[family], L4_PORT)
                        raw.udp(SERVER[family], 30000 + sent[0] % 20000, CLIENT[family], 999)
                    sent[0] += 4
                    time.sleep(0.0005)
        thread = threading.Thread(target=knock, daemon=True)
        thread.start()
        wait_until(lambda: flows.done > 20 or flows.failed, what="flows")
        before = flows.done
        for number in range(10):
            stage.reload(policies=[DENY, WEB, KERNEL, PING] + ([OTHER_POLICY] if number % 2 else []))
        knocking.set()
        thread.join()
        assert not flows.failed and flows.done > before
        flows.stop()
        assert not flows.failed, flows.failed
        assert sent[0] > 500 and inside.lost() == 0
        assert not inside.of(lambda packet: packet.source in SERVER.values() and packet.sport >= 30000 and packet.dport in (L4_PORT, 999))


def test_hangup_is_a_reload():
    with NetStage() as stage:
        stage.settings["policies"] = [WEB, OTHER_POLICY]
        stage.postern.write(stage.settings)
        stage.postern.signal(signal.SIGHUP)
        wait_until(lambda: "6100" in stage.table(), what="the new policy in the kernel")
