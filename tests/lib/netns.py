# SPDX-License-Identifier: ISC
"""Network namespaces for tests of the packet filter:

    client  10.77.1.10  fd77:1::10 --+
    (eth0)                           |
                                   switch -- lan0 gateway wan0 ------------- eth0  server  10.77.2.10  fd77:2::10
    second  10.77.1.11  fd77:1::11 --+       10.77.1.1    10.77.2.1                        10.77.2.11  fd77:2::11
    (eth0)                                   fd77:1::1    fd77:2::1                        10.77.2.66  fd77:2::66   denied to everybody
                                                                                           10.99.0.10  fd99::10     in no zone
                                                                                           44.77.0.10  2a77::10     not special-purpose

The clients' default route is the gateway, the server's too; the gateway's is the server. The switch is a namespace of its own with a
bridge, so that the gateway is what a gateway is: a machine with two interfaces.

The namespaces have no names: they are descriptors of this process and go with it, however it ends. `with NAMESPACE:` moves the calling
thread into one; sockets, threads and programs that are made there stay there. Every address is that of a namespace; nothing leaves.
"""
import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass

from . import dial
from .postern import PATIENCE, die_with_parent, wait_until

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ETH_P_ALL, PACKET_OUTGOING, SO_RCVBUFFORCE = 3, 4, 33
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FAMILIES = (4, 6)

EVERYWHERE = {4: "0.0.0.0", 6: "::"}
CLIENT = {4: "10.77.1.10", 6: "fd77:1::10"}
SECOND = {4: "10.77.1.11", 6: "fd77:1::11"}
LAN = {4: "10.77.1.1", 6: "fd77:1::1"}
WAN = {4: "10.77.2.1", 6: "fd77:2::1"}
SERVER = {4: "10.77.2.10", 6: "fd77:2::10"}
OTHER = {4: "10.77.2.11", 6: "fd77:2::11"}
DENIED = {4: "10.77.2.66", 6: "fd77:2::66"}
NOWHERE = {4: "10.99.0.10", 6: "fd99::10"}
PLAIN = {4: "44.77.0.10", 6: "2a77::10"}


def why_not():
    """Why namespaces cannot be made here; "" if they can."""
    if os.getuid() != 0:
        return "network namespaces need root"
    try:
        Namespace("probe").close()
    except OSError as error:
        return f"network namespaces cannot be made here: {error}"
    return ""


class Namespace:
    def __init__(self, name):
        self.name, self.fd, self._before = name, -1, []
        failed = []

        def make():
            if LIBC.unshare(CLONE_NEWNET) != 0:
                failed.append(OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)"))
                return
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.ip("link set lo up")

    def __enter__(self):
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._before.append(before)
        if LIBC.setns(self.fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        return self

    def __exit__(self, *_):
        before = self._before.pop()
        if LIBC.setns(before, CLONE_NEWNET) != 0:
            os.abort()                # the tests that follow would run who knows where
        os.close(before)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # Programs.

    def popen(self, *command, hosts=None, **options):
        """`hosts`: a file that this program sees as /etc/hosts."""
        if hosts:
            command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *command]
        options.setdefault("stdin", subprocess.DEVNULL)
        with self:
            return subprocess.Popen(command, preexec_fn=die_with_parent, **options)

    def run(self, *command, input=None, check=True, timeout=60, hosts=None, text=True):
        process = self.popen(*command, hosts=hosts, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text)
        try:
            out, errors = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        done = subprocess.CompletedProcess(command, process.returncode, out, errors)
        if check:
            assert done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stderr or done.stdout}"
        return done

    def ip(self, *lines):
        """Each line as an argument list of ip(8), in one process."""
        return self.run("ip", "-force", "-batch", "-", input="\n".join(lines) + "\n").stdout

    def nft(self, text):
        return self.run("nft", "-f", "-", input=text).stdout

    def ruleset(self, *arguments):
        return self.run("nft", "-s", "list", "ruleset", *arguments).stdout

    def sysctl(self, name, value=None):
        path = "/proc/sys/" + name.replace(".", "/")
        with self:
            if value is None:
                with open(path) as file:
                    return file.read().strip()
            with open(path, "w") as file:
                file.write(str(value))
        return value

    # Sockets.

    def bind(self, family, port, kind=socket.SOCK_STREAM, address=None):
        """A socket that is bound, and listens if it is a stream; without a time limit."""
        made = self.socket(family, kind)
        made.settimeout(None)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address or EVERYWHERE[family], port))
        if kind == socket.SOCK_STREAM:
            made.listen(4096)
        return made

    def socket(self, family, kind=socket.SOCK_STREAM, protocol=0):
        with self:
            made = socket.socket({4: socket.AF_INET, 6: socket.AF_INET6}[family], kind, protocol)
        made.settimeout(PATIENCE)
        return made

    def connect(self, address, port, source=None, timeout=PATIENCE):
        family = 6 if ":" in address else 4
        host, sport = source or ("", 0)
        made = self.socket(family) if sport else dial.bound(lambda: self.socket(family), host)
        try:
            made.settimeout(timeout)
            if sport:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(source)
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def capture(self, device="eth0"):
        return Capture(self, device)


@dataclass
class Packet:
    family: int
    source: str
    target: str
    protocol: int
    sport: int = 0          # of ICMP: type
    dport: int = 0          # of ICMP: code
    flags: int = 0
    sequence: int = 0
    payload: bytes = b""
    incoming: bool = True

    @property
    def flow(self):
        return self.source, self.sport, self.target, self.dport


def ip_of(data):
    """family, source, target, protocol, what the packet carries; None: not IP, or a later fragment."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        size = (data[0] & 15) * 4
        total = struct.unpack_from("!H", data, 2)[0]
        if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
            return None
        return 4, socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20]), data[9], data[size:total]
    if len(data) >= 40 and data[0] >> 4 == 6:
        total = 40 + struct.unpack_from("!H", data, 4)[0]
        source, target = (socket.inet_ntop(socket.AF_INET6, data[at:at + 16]) for at in (8, 24))
        return 6, source, target, data[6], data[40:total]
    return None


def packet_of(data, incoming=True):
    found = ip_of(data)
    if found is None:
        return None
    family, source, target, protocol, rest = found
    packet = Packet(family, source, target, protocol, incoming=incoming)
    if protocol == TCP and len(rest) >= 20:
        packet.sport, packet.dport = struct.unpack_from("!HH", rest)
        packet.flags, packet.sequence, packet.payload = rest[13], int.from_bytes(rest[4:8], "big"), rest[(rest[12] >> 4) * 4:]
    elif protocol == UDP and len(rest) >= 8:
        packet.sport, packet.dport = struct.unpack_from("!HH", rest)
        packet.payload = rest[8:]
    elif protocol in (ICMP, ICMPV6) and len(rest) >= 4:
        packet.sport, packet.dport, packet.payload = rest[0], rest[1], rest[4:]
    return packet


def is_housekeeping(packet):
    """Neighbour discovery, router messages, multicast reports: no traffic of anybody."""
    return packet.protocol == 0 or packet.protocol == 2 or (packet.protocol == ICMPV6 and (130 <= packet.sport <= 137 or packet.sport == 143))


class Capture:
    """Every packet that a device of a namespace sees from now on."""

    def __init__(self, namespace, device="eth0"):
        self.packets = []
        with namespace:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        with namespace:
            self.socket.bind((device, ETH_P_ALL))
        self.socket.setblocking(False)
        self._lock = threading.Lock()
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _drain(self):
        while True:
            try:
                data, where = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:           # the device went
                continue
            packet = packet_of(data, where[2] != PACKET_OUTGOING)
            if packet and not is_housekeeping(packet):
                self.packets.append(packet)

    def _run(self):
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        waiting.register(self._wake, select.POLLIN | select.POLLHUP)
        while True:
            ready = dict(waiting.poll())
            with self._lock:
                self._drain()
            if self._wake in ready:
                return

    def of(self, fits):
        """Those that fit of what came until now, also where the thread has not read it yet."""
        if self._stop >= 0:
            with self._lock:
                self._drain()
        return [packet for packet in list(self.packets) if fits(packet)]

    def wait(self, fits, seconds=PATIENCE, what="the packet"):
        return wait_until(lambda: next((packet for packet in list(self.packets) if fits(packet)), None), seconds, what)

    def lost(self):
        """Packets that the kernel could not keep for us; must be 0 for a claim that something did not arrive."""
        return struct.unpack("II", self.socket.getsockopt(263, 6, 8))[1]

    def close(self):
        if self._stop >= 0:
            os.close(self._stop)
            self._thread.join()
            os.close(self._wake)
            self.socket.close()
            self._stop = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pack_address(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def tcp_segment(source, target, sport, dport, flags=SYN, sequence=1000, acknowledged=0, payload=b""):
    head = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    whole = head + payload
    pseudo = pack_address(source) + pack_address(target)
    pseudo += struct.pack("!BBH", 0, TCP, len(whole)) if "." in source else struct.pack("!II", len(whole), TCP)
    return head[:16] + struct.pack("!H", checksum(pseudo + whole)) + head[18:] + payload


def ip_packet(source, target, protocol, body, sequence=1):
    if "." in source:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), sequence & 0xFFFF, 0, 64, protocol, 0) + pack_address(source) + pack_address(target)
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + pack_address(source) + pack_address(target) + body


def udp_datagram(source, target, sport, dport, payload=b""):
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    pseudo = pack_address(source) + pack_address(target)
    pseudo += struct.pack("!BBH", 0, UDP, 8 + len(payload)) if "." in source else struct.pack("!II", 8 + len(payload), UDP)
    return head[:6] + struct.pack("!H", checksum(pseudo + head + payload) or 0xFFFF) + payload


def icmp_echo(source, target, identifier, reply=False, payload=b"postern"):
    if "." in source:
        head = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, identifier, 1)
        return head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload
    head = struct.pack("!BBHHH", 129 if reply else 128, 0, 0, identifier, 1)
    pseudo = pack_address(source) + pack_address(target) + struct.pack("!II", len(head) + len(payload), ICMPV6)
    return head[:2] + struct.pack("!H", checksum(pseudo + head + payload)) + head[4:] + payload


def too_big(router, source, mtu, packet):
    """The ICMP error of a router that `packet` of `source` does not fit through."""
    if "." in source:
        head = struct.pack("!BBHHH", 3, 4, 0, 0, mtu)
        return head[:2] + struct.pack("!H", checksum(head + packet)) + head[4:] + packet
    head = struct.pack("!BBHI", 2, 0, 0, mtu)
    pseudo = pack_address(router) + pack_address(source) + struct.pack("!II", len(head) + len(packet), ICMPV6)
    return head[:2] + struct.pack("!H", checksum(pseudo + head + packet)) + head[4:] + packet


class Echo:
    """A server on TCP that says who connected (a line), then everything back."""

    def __init__(self, namespace, family, port, address=None):
        self._serve_on(namespace.bind(family, port, address=address))

    def _serve_on(self, sock):
        self.socket, self._running = sock, threading.Thread(target=self._run, daemon=True)
        self._running.start()

    def _run(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection, peer], daemon=True).start()

    @staticmethod
    def _serve(connection, peer):
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{peer[0]}\n".encode())
            while data := connection.recv(65536):
                connection.sendall(data)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._running.join(PATIENCE)        # who waits in it would keep it open
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UdpEcho(Echo):
    """The same on UDP: "ADDRESS PORT DATA"."""

    def __init__(self, namespace, family, port, address=None):
        self._serve_on(namespace.bind(family, port, socket.SOCK_DGRAM, address))

    def _run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
                if peer is None:
                    return
                self.socket.sendto(f"{peer[0]} {peer[1]} ".encode() + data, peer)
            except OSError:
                return


def ask(connection, text):
    """Says it to an Echo, and returns all that came back once it did."""
    connection.sendall(text)
    got = b""
    while not got.endswith(text):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {got!r}")
        got += data
    return got


class RawSender:
    """Sends whole IP packets from a namespace, by its routes; the kernel of the namespace has no part in the flow."""

    def __init__(self, namespace):
        with namespace:
            self._sockets = {4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
                             6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)}

    def send(self, source, target, protocol, body):
        family = 6 if ":" in target else 4
        self._sockets[family].sendto(ip_packet(source, target, protocol, body), (target, 0))

    def syn(self, source, sport, target, dport, flags=SYN, **more):
        self.send(source, target, TCP, tcp_segment(source, target, sport, dport, flags, **more))

    def udp(self, source, sport, target, dport, payload=b"postern"):
        self.send(source, target, UDP, udp_datagram(source, target, sport, dport, payload))

    def ping(self, source, target, identifier, reply=False):
        self.send(source, target, ICMP if "." in source else ICMPV6, icmp_echo(source, target, identifier, reply))

    def close(self):
        for one in self._sockets.values():
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def family_of(address):
    return 6 if ":" in address else 4


class Topology:
    """What is drawn above. All of it goes with close(), and with this process."""

    def __init__(self):
        self._made = contextlib.ExitStack()
        try:
            for name in ("switch", "gateway", "client", "second", "server"):
                made = Namespace(name)
                self._made.callback(made.close)
                setattr(self, name, made)
            self._wire()
        except BaseException:
            self.close()
            raise

    def _wire(self):
        for one in (self.gateway, self.client, self.second, self.server, self.switch):
            one.sysctl("net.ipv6.conf.all.accept_dad", 0)
            one.sysctl("net.ipv6.conf.default.accept_dad", 0)
            one.sysctl("net.ipv6.conf.default.accept_ra", 0)
        self.switch.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        for family in ("iptables", "ip6tables"):
            with contextlib.suppress(FileNotFoundError):      # no br_netfilter: nothing to switch off
                self.switch.sysctl(f"net.bridge.bridge-nf-call-{family}", 0)
        self.switch.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up",
                       *[f"link add {port} type veth peer name {device} netns {where.path}"
                         for port, device, where in (("gate", "lan0", self.gateway), ("one", "eth0", self.client), ("two", "eth0", self.second))],
                       *[f"link set {port} master br0 up" for port in ("gate", "one", "two")])
        self.gateway.sysctl("net.ipv4.ip_forward", 1)
        self.gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.gateway.ip(f"link add wan0 type veth peer name eth0 netns {self.server.path}",
                        *[f"addr add {address} dev {device}" for device, address in
                          (("lan0", "10.77.1.1/24"), ("lan0", "fd77:1::1/64 nodad"), ("wan0", "10.77.2.1/24"), ("wan0", "fd77:2::1/64 nodad"))],
                        "link set lan0 up", "link set wan0 up",
                        "route add default via 10.77.2.10", "route add ::/0 via fd77:2::10")
        for one, last in ((self.client, "10"), (self.second, "11")):
            one.ip(f"addr add 10.77.1.{last}/24 dev eth0", f"addr add fd77:1::{last}/64 dev eth0 nodad", "link set eth0 up",
                   "route add default via 10.77.1.1", "route add ::/0 via fd77:1::1")
        self.server.ip(*[f"addr add {address[4]}/24 dev eth0" for address in (SERVER, OTHER, DENIED)],
                       # preferred_lft 0: not the source of what it sends by itself
                       *[f"addr add {address[6]}/64 dev eth0 nodad{lifetime}" for address, lifetime in
                         ((SERVER, ""), (OTHER, " preferred_lft 0"), (DENIED, " preferred_lft 0"))],
                       *[f"addr add {address[4]}/32 dev lo" for address in (NOWHERE, PLAIN)],
                       *[f"addr add {address[6]}/128 dev lo nodad preferred_lft 0" for address in (NOWHERE, PLAIN)],
                       "link set eth0 up", "route add default via 10.77.2.1", "route add ::/0 via fd77:2::1")
        self.server.sysctl("net.ipv4.ip_unprivileged_port_start", 0)
        self._settle()

    def _settle(self):
        """Links come up after they were told to: the first packet must not be the one that waits for them."""
        for where in (self.gateway, self.client, self.second, self.server):
            for family, flag in (("inet", "-4"), ("inet6", "-6")):
                wait_until(lambda: "tentative" not in where.run("ip", flag, "addr", "show").stdout, what=f"{where.name}'s {family} addresses")
        for where, target in ((self.client, LAN), (self.second, LAN), (self.server, WAN)):
            for family in FAMILIES:
                where.run("ping", "-q", "-c", "1", "-W", "5", target[family])

    def close(self):
        self._made.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
