# SPDX-License-Identifier: ISC
"""TLS on the ends that a test holds: certificates that are made for one run, and sockets that speak TLS inside as others do not."""
import datetime
import functools
import ipaddress
import os
import socket
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
RECORD = 16384
RAW = 262144


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Pair:
    """A certificate and its key, also as files."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, folder, name):
        self.path, self.key_path = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
        with open(self.path, "wb") as file:
            file.write(self.pem)
        with open(os.open(self.key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()))
        return self


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make(subject, issuer=None, names=(), begins=-1, ends=30, usage=ExtendedKeyUsageOID.SERVER_AUTH):
    """A CA without an issuer, else a leaf."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).public_key(key.public_key())
               .issuer_name(issuer.certificate.subject if issuer else _name(subject)).serial_number(x509.random_serial_number())
               .not_valid_before(now + begins * DAY).not_valid_after(now + ends * DAY)
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))
    if issuer is None:
        builder = builder.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    return Pair(builder.sign((issuer or Pair(None, key)).key, hashes.SHA256()), key)


class World:
    """One folder with everything: `ca` signs servers and sites, `inspect` is the minter's, `stranger` is trusted by nobody."""

    def __init__(self, addresses):
        self.folder = tempfile.TemporaryDirectory(prefix="postern-wire-tls-")
        path = self.folder.name
        self.ca = make("Wire CA").write(path, "ca")
        self.inspect = make("Wire inspection").write(path, "inspect")
        self.stranger = make("Stranger").write(path, "stranger")
        names = ["a.test", "b.test", "origin.test", "second.test", "both.test"] + list(addresses)
        self.server = make("server", self.ca, names).write(path, "server")
        self.site = make("site", self.ca, ["a.test", "*.wild.test"]).write(path, "site")
        self.client = make("client", self.ca, ["client.test"], usage=ExtendedKeyUsageOID.CLIENT_AUTH).write(path, "client")

    def other(self, kind):
        """A server's certificate that is not good."""
        found = getattr(self, "_" + kind, None)
        if found is None:
            names = ["wrong.test"] if kind == "wrong" else ["a.test", "origin.test"]
            begins, ends = {"expired": (-9, -2), "notyet": (2, 9)}.get(kind, (-1, 30))
            found = make(kind, self.stranger if kind == "unknown" else self.ca, names, begins, ends)
            setattr(self, "_" + kind, found.write(self.folder.name, kind))
        return found


@functools.lru_cache(maxsize=None)
def world(addresses):
    return World(addresses)


def server_context(pair, versions=None, wants=None):
    """`wants`: CA of clients' certificates, which are then required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.path, pair.key_path)
    context.set_alpn_protocols(["http/1.1"])
    if versions:
        context.minimum_version = context.maximum_version = versions
    if wants:
        context.load_verify_locations(wants.path)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(trust, versions=None, pair=None, alpn=("http/1.1",)):
    """`trust`: whose signature the client believes; None: anybody's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(trust.path)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if versions:
        context.minimum_version = context.maximum_version = versions
    if pair:
        context.load_cert_chain(pair.path, pair.key_path)
    return context


class TlsSocket:
    """A socket that speaks TLS, for those who want a socket: send() and recv() are of what is inside and never block. What is sent
    before the handshake is over waits for its end."""

    def __init__(self, sock, context, server=False, name=None, session=None, before=b""):
        """`before`: what was read of the socket already."""
        sock.setblocking(False)
        self.raw, self.family = sock, sock.family
        self.inside, self.outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.inside.write(before)
        self.tls = context.wrap_bio(self.inside, self.outside, server_side=server, server_hostname=name, session=session)
        self.waiting = bytearray()   # plaintext, until the handshake is over
        self.out = bytearray()       # that the socket has not taken
        self.done, self.ending, self.shut = False, False, False
        self.error = None            # what went wrong, in OpenSSL's words
        self.truncated = False       # the end came without close_notify
        self.taken = 0               # bytes that were read of the socket
        self.moved = False           # bytes went or came since this was last cleared
        self.resetting = False
        self.ended = False
        self.broken = None           # nothing can be sent any more
        self.push()

    def __getattr__(self, name):
        return getattr(self.raw, name)

    def setblocking(self, blocking):
        assert not blocking

    def setsockopt(self, level, option, value):
        self.resetting |= (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.raw.setsockopt(level, option, value)

    def _flush(self):
        self.out += self.outside.read()
        while self.out:
            try:
                count = self.raw.send(self.out)
            except BlockingIOError:
                return False
            except OSError as error:
                self.out.clear()
                self.broken = error
                break
            del self.out[:count]
            self.moved = True
        return not self.out

    def _take(self, most=RAW):
        """Reads from the socket, no more than who reads from us wants; False: nothing there."""
        try:
            data = self.raw.recv(most)
        except BlockingIOError:
            return False
        self.taken += len(data)
        if data:
            self.moved = True
            self.inside.write(data)
        else:
            self.inside.write_eof()
        return bool(data)

    def _handshake(self):
        while not self.done:
            try:
                self.tls.do_handshake()
                self.done = True
            except ssl.SSLWantReadError:
                self._flush()
                if not self._take():
                    return
            except ssl.SSLError as error:
                self.error = str(error)
                self._flush()
                raise ConnectionResetError(self.error)
        if self.waiting:
            self.tls.write(self.waiting)
            self.waiting.clear()

    def push(self):
        """Whatever can go on goes on."""
        if self.error:
            return
        if not self.done:
            try:
                self._handshake()
            except OSError:
                return
        if self.done and self.ending:
            self._goodbye()
        if self._flush() and self.shut:
            self.shut = False
            try:
                self.raw.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def send(self, data):
        if self.error:
            raise ConnectionResetError(self.error)
        self.push()
        if not self.done:
            self.waiting += data
            return len(data)
        if self.broken:
            raise self.broken
        if self.out:
            raise BlockingIOError
        count = self.tls.write(bytes(data[:RECORD * 4]))
        self._flush()
        return count

    def recv(self, count):
        self.push()
        if self.error:
            raise ConnectionResetError(self.error)
        if not self.done:
            raise BlockingIOError
        found = bytearray()
        while len(found) < count:
            try:
                data = self.tls.read(count - len(found))
            except ssl.SSLWantReadError:
                if self._take(min(count, RAW)) or self.inside.eof:
                    continue
                break
            except ssl.SSLZeroReturnError:
                self.ended = True
                break
            except ssl.SSLEOFError:
                self.ended = self.truncated = True
                break
            except ssl.SSLError as error:
                self.error = str(error)
                break
            if not data:
                self.ended = True
                break
            found += data
        self._flush()
        if found or self.ended:
            return bytes(found)
        if self.error:
            raise ConnectionResetError(self.error)
        raise BlockingIOError

    def _goodbye(self):
        self.ending = False
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        except OSError:
            pass

    def shutdown(self, _):
        """close_notify, then the end of the socket."""
        self.ending = self.shut = True
        self.push()

    def close(self):
        if not self.resetting and self.done and not self.error:
            self._goodbye()
            self._flush()
        self.raw.close()

    def cut(self):
        """The end without close_notify."""
        self._flush()
        self.raw.close()
