# SPDX-License-Identifier: ISC
"""What `explain` says about a first packet is what the kernel does with it: 10,000 random packets under random policies, asked over the
control socket, and then sent. What became of a packet is seen where it arrives, or by what comes back to its sender:

    forward     it arrives at the far side               reject      a reset, or "unreachable", comes back
    translate   it arrives there with another target     drop        nothing
    intercept, input, listener    SYN and ACK, an echo: the gateway answers, and nobody else saw it

The conntrack mark says by which policy, listener or forward.
"""
import collections
import random
import subprocess
import threading
from dataclasses import dataclass

from lib.control import Control
from lib.netns import (ACK, CLIENT, DENIED, FAMILIES, ICMP, ICMPV6, LAN, NOWHERE, OTHER, PLAIN, RST, SECOND, SERVER, SYN, TCP, UDP, WAN,
                       Echo, RawSender, UdpEcho, ip_of)
from lib.netns_stage import NetStage, conntrack_of, listeners
from lib.postern import wait_until

ROUNDS, COUNT, BATCH, FIRST_PORT = 4, 2_500, 250, 10_000          # other policies each round: 10,000 packets in all
EXPLICIT, FORWARDED, BEHIND, MARKER = 3128, 2222, 2200, 9
PORTS = [22, 53, 80, 443, 2222, 3128, 5000, 5001, 5500, 8080, 65535]
# Inside by network, by a host that is there; inside the network of the zone but not of the link; in no zone.
LAN_SOURCES = {4: ["10.77.1.10", "10.77.1.200", "10.88.0.1", "44.88.0.1"], 6: ["fd77:1::10", "fd77:1::200", "fd88::1", "2a88::1"]}
WAN_SOURCES = {4: [SERVER[4], OTHER[4], NOWHERE[4], PLAIN[4], "10.77.1.77"], 6: [SERVER[6], OTHER[6], NOWHERE[6], PLAIN[6], "fd77:1::77"]}
WAN_TARGETS = {4: [SERVER[4], OTHER[4], DENIED[4], NOWHERE[4], PLAIN[4], LAN[4], WAN[4], "44.77.0.99", "192.0.2.1", "100.64.0.1", "169.254.169.254",
                   "198.18.0.1"],
               6: [SERVER[6], OTHER[6], DENIED[6], NOWHERE[6], PLAIN[6], LAN[6], WAN[6], "2a77::99", "2001:db8::1", "64:ff9b::a4d:20a",
                   "2002:a4d:20a::1", "fc00::1"]}
LAN_TARGETS = {family: [CLIENT[family], SECOND[family], LAN[family], WAN[family]] for family in FAMILIES}
MARKS = {0x50: "intercept", 0x52: "translate", 0x53: "forward", 0x54: "input"}
PROTOCOLS = {"tcp": (TCP, TCP), "udp": (UDP, UDP), "icmp": (ICMP, ICMPV6)}


@dataclass
class Tuple:
    number: int
    protocol: str
    interface: str
    source: str
    target: str
    port: int
    dry: dict = None

    @property
    def family(self):
        return 6 if ":" in self.source else 4

    @property
    def id(self):
        return FIRST_PORT + self.number

    @property
    def url(self):
        host = f"[{self.target}]" if self.family == 6 else self.target
        return f"icmp://{host}" if self.protocol == "icmp" else f"{self.protocol}://{host}:{self.port}"


def random_policies(pick):
    """Forty that overlap, of all kinds that a packet can and cannot show."""
    def some(values, most=3):
        return pick.sample(values, pick.randint(1, most))
    policies = []
    for number in range(40):
        policy = {"name": f"p{number}", "action": pick.choice(["allow"] * 5 + ["deny", "drop"]),
                  "protocols": sorted(set(some(["tcp", "udp", "icmp", "http"], 2)))}
        if pick.random() < 0.5:
            policy["from"] = some(["inside", "outside", "other", "self"], 2)
        if pick.random() < 0.5:
            policy["to"] = some(["inside", "outside", "other", "self"], 2)
        if "icmp" not in policy["protocols"] and pick.random() < 0.7:
            policy["ports"] = pick.choice([[22], [53], [5000, 5001], ["5000-5999"], [8080], [443], ["1-1024"]])
        if pick.random() < 0.4:
            policy["clients"] = some(["10.77.1.0/25", "10.77.1.10/32", "10.77.2.0/24", "fd77:1::/64", "fd77:2::10/128", "44.0.0.0/8"])
        if pick.random() < 0.4:
            policy["networks"] = some(["10.77.2.0/28", "44.77.0.0/16", "fd77:2::/64", "2a77::/16", "10.77.1.10/32", "fd77:2::66/128"])
        if pick.random() < 0.2:
            policy["hosts"] = some([SERVER[4], SERVER[6], PLAIN[4], PLAIN[6], "some.test"], 2)
        if pick.random() < 0.1:
            policy["paths"] = ["/never/seen/in/a/packet"]
            policy["protocols"] = sorted({"http", *policy["protocols"]})
        policies.append(policy if len(policy) > 4 else {**policy, "networks": ["44.77.0.0/16", "2a77::/16"]})
    # The markers of this test, which tell it that everything before them was decided.
    return [{"name": "marker", "from": "inside", "protocols": ["udp"], "ports": [MARKER], "action": "allow"}] + policies


ZONES = [{"name": "inside", "interfaces": ["lan0"], "networks": ["10.77.1.0/24", "fd77:1::/64"]},
         {"name": "other", "interfaces": ["wan0"], "networks": [f"{OTHER[4]}/32", f"{OTHER[6]}/128", "44.77.0.99/32", "2a77::99/128"]},
         {"name": "outside", "interfaces": ["wan0"], "networks": ["10.77.2.0/24", "fd77:2::/64", "0.0.0.0/0", "::/0"]}]


def settings(pick):
    web = [{**one, "ports": [80, 443]} for one in listeners()]
    explicit = [{"name": f"proxy{family}", "mode": "explicit", "address": f"{address}:{EXPLICIT}", "from": ["inside"]}
                for family, address in ((4, "0.0.0.0"), (6, "[::]"))]
    forwards = [{"from": "outside", "protocol": protocol, "port": FORWARDED, "to": f"{address}:{BEHIND}"}
                for protocol in ("tcp", "udp") for address in (CLIENT[4], f"[{CLIENT[6]}]")]
    forwards += [{"from": "outside", "protocol": "udp", "port": MARKER, "to": f"{address}:{MARKER}"} for address in (CLIENT[4], f"[{CLIENT[6]}]")]
    return {"zones": ZONES, "listeners": web + explicit, "policies": random_policies(pick), "packet_filter": {"forwards": forwards}}


def random_tuple(pick, number):
    family, protocol = pick.choice(FAMILIES), pick.choice(["tcp", "tcp", "udp", "icmp"])
    interface = pick.choice(["lan0", "lan0", "wan0"])
    sources, targets = (LAN_SOURCES, WAN_TARGETS) if interface == "lan0" else (WAN_SOURCES, LAN_TARGETS)
    source = sources[family][0] if pick.random() < 0.6 else pick.choice(sources[family])
    port = pick.choice(PORTS)
    return Tuple(number, protocol, interface, source, pick.choice(targets[family]), port)


def ask(stage, tuples):
    """All over one connection to the control socket."""
    with Control(stage.postern.control_socket) as control:
        for one in tuples:
            answer = control.ask("explain", **{"from": one.source, "interface": one.interface, "method": "-", "url": one.url, "headers": []})
            assert "packet" in answer, f"{one}: {answer}"
            one.dry = answer["packet"]


class Marks:
    """The marks of entries as connection tracking makes them."""

    def __init__(self, stage):
        self.found, self.process = {}, stage.net.gateway.popen("conntrack", "-E", "-e", "NEW", "-b", "16777216", "-o", "id", stdout=subprocess.PIPE,
                                                                stderr=subprocess.DEVNULL, text=True, bufsize=1)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            entry = conntrack_of(line.replace("[NEW]", "").strip())
            if entry:
                self.found[entry["original"][1]] = entry["mark"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join(10)
        self.process.stdout.close()


def embedded(packet):
    """The number of the tuple that an ICMP error is about."""
    inner = ip_of(packet.payload[4:] + bytes(4096))
    if inner is None:
        return None
    at = 4 if inner[3] in (ICMP, ICMPV6) else 0
    return int.from_bytes(inner[4][at:at + 2], "big")


class Observer:
    """What became of each packet, from captures at all three ends."""

    def __init__(self, captures):
        self.captures, self.taken = captures, {capture: 0 for capture in captures}
        self.arrived, self.answers = {}, {}

    def look(self):
        for capture in self.captures:
            new = capture.packets[self.taken[capture]:]      # a thread adds more meanwhile
            for packet in new:
                if packet.incoming:
                    self.see(packet)
            self.taken[capture] += len(new)

    def see(self, packet):
        if packet.protocol == TCP:
            if packet.flags & (SYN | ACK | RST) == SYN:
                self.arrived[packet.sport] = packet
            else:
                self.answers.setdefault(packet.dport, set()).add("reset" if packet.flags & RST else "here")
        elif packet.protocol == UDP:
            if not packet.payload.endswith(b" postern"):
                self.arrived[packet.sport] = packet
            else:
                self.answers.setdefault(packet.dport, set()).add("here")
        elif (packet.protocol, packet.sport) in ((ICMP, 8), (ICMPV6, 128)):
            self.arrived[int.from_bytes(packet.payload[:2], "big")] = packet
        elif (packet.protocol, packet.sport) in ((ICMP, 0), (ICMPV6, 129)):
            self.answers.setdefault(int.from_bytes(packet.payload[:2], "big"), set()).add("here")
        elif (packet.protocol, packet.sport) in ((ICMP, 3), (ICMPV6, 1)):
            self.answers.setdefault(embedded(packet), set()).add("reset")

    def fate(self, one):
        packet = self.arrived.get(one.id)
        if packet is not None:
            return "forward" if (packet.source, packet.target) == (one.source, one.target) else "translate"
        answers = self.answers.get(one.id, set())
        return "reject" if "reset" in answers else "here" if answers else "drop"


def expected(one):
    fate = one.dry["fate"]
    return "here" if fate in ("intercept", "input", "listener") else fate


def send(stage, senders, tuples, observer):
    """In batches, each followed by packets that are let through: when they arrive, the batch was decided."""
    for at in range(0, len(tuples), BATCH):
        for one in tuples[at:at + BATCH]:
            sender = senders[one.interface]
            if one.protocol == "tcp":
                sender.syn(one.source, one.id, one.target, one.port)
            elif one.protocol == "udp":
                sender.udp(one.source, one.id, one.target, one.port)
            else:
                sender.ping(one.source, one.target, one.id)
        marker = 60_000 + tuples[at].number // BATCH
        senders["lan0"].udp(CLIENT[4], marker, SERVER[4], MARKER)
        senders["wan0"].udp(SERVER[4], marker + 500, WAN[4], MARKER)

        def decided():
            observer.look()
            return {marker, marker + 500} <= observer.arrived.keys()
        wait_until(decided, what="the marker of a batch")


def open_everything(stage):
    """On the gateway every port of this test answers, so that what is let in is not taken for a reset by the filter."""
    made = []
    for family in FAMILIES:
        for port in PORTS:
            if port != EXPLICIT:
                made.append(Echo(stage.net.gateway, family, port))
            for address in (LAN[family], WAN[family]):               # an answer has to come from the address that was asked
                made.append(UdpEcho(stage.net.gateway, family, port, address))
    return made


def no_limits(namespace):
    """Errors are limited in rate; here each one counts."""
    for name, value in (("net.ipv4.icmp_ratelimit", 0), ("net.ipv6.icmp.ratelimit", 0), ("net.ipv4.icmp_ratemask", 0),
                        ("net.ipv4.icmp_msgs_per_sec", 1000000), ("net.ipv4.icmp_msgs_burst", 100000)):
        try:
            namespace.sysctl(name, value)
        except OSError:
            pass


def test_ten_thousand_packets():
    pick, seen = random.Random(3), []
    with NetStage(serve=False, **settings(pick)) as stage:
        net = stage.net
        no_limits(net.gateway)
        net.client.ip("addr add 10.77.1.200/24 dev eth0", "addr add fd77:1::200/64 dev eth0 nodad")
        made, marks = open_everything(stage), Marks(stage)
        with net.client.capture() as client, net.second.capture() as second, net.server.capture() as server, \
                RawSender(net.client) as near, RawSender(net.server) as far:
            observer = Observer([client, second, server])
            for number in range(ROUNDS):
                tuples = [random_tuple(pick, one) for one in range(number * COUNT, (number + 1) * COUNT)]
                ask(stage, tuples)
                send(stage, {"lan0": near, "wan0": far}, tuples, observer)
                agree(tuples, observer)
                by_mark(stage, tuples, marks.found)
                seen += tuples
                stage.reload(policies=random_policies(pick))
            assert client.lost() == second.lost() == server.lost() == 0
        marks.close()
        fates = collections.Counter(one.dry["fate"] for one in seen)
        assert set(fates) == {"drop", "reject", "forward", "input", "listener", "intercept", "translate"} and min(fates.values()) >= 20, fates
        assert {one.dry["protocol"] for one in seen if one.dry["fate"] == "forward"} == {"tcp", "udp", "icmp"}
        assert any(one.dry["twin"] for one in seen) and len({one.dry.get("policy") for one in seen}) > 20
        assert {one.dry["reason"] for one in seen if "reason" in one.dry} >= {"no-policy", "policy-denied", "zone-unknown", "address-private"}
        for one in made:
            one.close()


def agree(tuples, observer):
    def different():
        observer.look()
        return [(one, "kernel: " + observer.fate(one)) for one in tuples if observer.fate(one) != expected(one)]
    try:
        wait_until(lambda: not different(), 3, what="agreement")
    except AssertionError:
        wrong = different()
        raise AssertionError(f"{len(wrong)} differ: " + "\n".join(map(str, wrong[:8]))) from None


def by_mark(stage, tuples, marks):
    """Who let it through, by the mark that the kernel set; its events may come a little later."""
    policies = [policy["name"] for policy in stage.settings["policies"]]
    names = [listener["name"] for listener in stage.settings["listeners"]]

    def fits(one):
        fate, mark = one.dry["fate"], marks.get(one.id, 0)
        kind, index = MARKS.get(mark >> 24), (mark & 0xFFFF) - 1
        if fate in ("forward", "input"):
            return (kind, policies[index]) == (fate, one.dry["policy"])
        if fate == "intercept":
            return (kind, names[index]) == (fate, one.dry["listener"])
        return kind == fate if fate == "translate" else kind is None

    # Of intercepted flows connection tracking tells no beginning: they are looked at while they are there.
    intercepted = {entry["original"][1]: entry["mark"] for entry in stage.conntrack() if MARKS.get(entry["mark"] >> 24) == "intercept"}
    for number, mark in intercepted.items():
        marks.setdefault(number, mark)

    def wrong():
        return [(one, hex(marks.get(one.id, 0))) for one in tuples if not fits(one)]
    try:
        wait_until(lambda: not wrong(), 5, what="marks")
    except AssertionError:
        raise AssertionError(f"{len(wrong())} marks differ: " + "\n".join(map(str, wrong()[:8]))) from None
