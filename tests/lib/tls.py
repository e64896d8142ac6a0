# SPDX-License-Identifier: ISC
"""A CA of the test's own, and certificates as they should be and as they should not. Everything is made when it is needed, in one folder
that goes with the process; nothing of it is worth keeping."""
import atexit
import base64
import datetime
import functools
import hashlib
import ipaddress
import os
import shutil
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@functools.lru_cache
def home():
    folder = tempfile.mkdtemp(prefix="postern-tls-")
    os.chmod(folder, 0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def new_key(kind):
    """ "ec", or "rsa" with its bits: "rsa1024"."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


@functools.lru_cache
def shared_key(kind):
    """Leaves may share their key: making one of RSA takes a while."""
    return new_key(kind)


def named(common_name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Postern tests"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def write(path, data, mode=0o644):
    """As a whole or not at all: somebody may be reading it."""
    with open(path + ".new", "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    os.rename(path + ".new", path)
    return path


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Pair:
    """A certificate, its key, and the files that hold them: `certificate` with the chain behind it, `key`."""

    def __init__(self, path, certificate, key, chain=b""):
        self.x509, self.private, self.chain = certificate, key, chain
        self.certificate, self.key = path + ".crt", path + ".key"
        self.write()

    def write(self):
        write(self.key, key_pem(self.private), 0o600)
        write(self.certificate, pem(self.x509) + self.chain)

    @property
    def files(self):
        """As a configuration names them."""
        return {"certificate": self.certificate, "key": self.key}

    @property
    def pin(self):
        spki = self.x509.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def sans(names):
    """Names as in subjectAltName: addresses, "email:x", "uri:x", else a dNSName as it is written."""
    found = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        except ValueError:
            pass
        kind, _, rest = name.partition(":")
        found.append({"email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}[kind](rest) if rest else x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


class Authority:
    """A CA: `file` is its certificate. `parent`: who signed it; `permitted`: the only domain that its certificates may name."""
    count = 0

    def __init__(self, name="Postern test CA", parent=None, permitted=None, key="ec", days=400):
        Authority.count += 1
        self.path = os.path.join(home(), f"ca{Authority.count}")
        self.name, self.parent, self.key = named(f"{name} {Authority.count}"), parent, new_key(key)
        builder = self._builder(self.name, self.key, parent or self, (-DAY, days * DAY))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
        if permitted:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(permitted)], None), True)
        self.certificate = builder.sign((parent or self).key, hashes.SHA256())
        self.file = write(self.path + ".crt", pem(self.certificate))
        self.key_file = write(self.path + ".key", key_pem(self.key), 0o600)
        self.revoked, self.made = [], 0

    @property
    def chain(self):
        """What a server sends behind its own certificate: intermediate CAs."""
        return pem(self.certificate) + self.parent.chain if self.parent else b""

    @staticmethod
    def _builder(subject, key, issuer, life):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now() + life[0]).not_valid_after(now() + life[1])
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False))

    def certify(self, *names, key="ec", life=(-DAY, 20 * DAY), sha1=False, subject=None, client=False, fresh=False, path=None, crl=None):
        """A Pair for these names (see sans()), under this CA. `fresh`: with a key of its own; `path`: of the files, without suffix; `crl`:
        the URI where revocations are said to be."""
        self.made += 1
        private = new_key(key) if fresh else shared_key(key)
        builder = self._builder(named(subject or "leaf"), private, self, life)
        if names:
            builder = builder.add_extension(sans(names), False)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        if crl:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), False)
        certificate = builder.sign(self.key, hashes.SHA1() if sha1 else hashes.SHA256())
        return Pair(path or f"{self.path}-{self.made}", certificate, private, self.chain)

    def revoke(self, pair):
        self.revoked.append(pair.x509.serial_number)
        return pair

    def crl(self):
        """A file with what is revoked now."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now() - DAY).next_update(now() + 20 * DAY)
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        return write(self.path + ".crl", pem(builder.sign(self.key, hashes.SHA256())))

    def staple(self, pair, good=True):
        """A file with an OCSP response (DER) that says what becomes of a certificate of this CA."""
        status = ocsp.OCSPCertStatus.GOOD if good else ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=pair.x509, issuer=self.certificate, algorithm=hashes.SHA1(), cert_status=status, this_update=now() - DAY,
            next_update=now() + 10 * DAY, revocation_time=None if good else now() - DAY, revocation_reason=None)
        answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate).sign(self.key, hashes.SHA256())
        return write(pair.certificate + ".ocsp", answer.public_bytes(serialization.Encoding.DER))


def self_signed(*names):
    key = shared_key("ec")
    subject = named("self-signed")
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now() - DAY).not_valid_after(now() + 20 * DAY)
                   .add_extension(sans(names), False).sign(key, hashes.SHA256()))
    return Pair(os.path.join(home(), f"self-{certificate.serial_number}"), certificate, key)


@functools.lru_cache
def root():
    """The CA that tests trust, one a process."""
    return Authority()


@functools.lru_cache
def stranger():
    """A CA that nobody trusts."""
    return Authority("Nobody's CA")


@functools.lru_cache
def constrained():
    """An intermediate CA that may only name hosts of a domain that no test dials."""
    return Authority("Constrained CA", root(), permitted="elsewhere.test")


def crls():
    """One file with what root() and constrained() have revoked now."""
    return write(os.path.join(home(), "all.crl"), b"".join(open(one.crl(), "rb").read() for one in (root(), constrained())))


def bad_server(kind, name, address):
    """A certificate of this kind for a server that is dialled as `name`, at `address`. All but "good" must be refused."""
    ca = root()
    if kind == "selfsigned":
        return self_signed(name, address)
    if kind == "untrusted":
        return stranger().certify(name, address)
    if kind == "nameconstraint":
        return constrained().certify(name, address)
    if kind == "revoked":
        return ca.revoke(ca.certify(name, address))
    names, options = {
        "good": ((name, address), {}),
        "expired": ((name, address), {"life": (-20 * DAY, -DAY)}),
        "notyet": ((name, address), {"life": (DAY, 20 * DAY)}),
        "wronghost": (("other.test", "127.9.9.9"), {}),
        "wildcard-tld": (("*." + name.rpartition(".")[2],), {}),
        "nul-san": ((name + "\0.evil.test",), {}),
        "nul-san-prefix": ((name + "\0.evil.test",), {}),
        "weak-sig": ((name, address), {"sha1": True}),
        "rsa1024": ((name, address), {"key": "rsa1024"}),
        "ip-mismatch": (("127.9.9.9",), {}),
        "email-san": (("email:postmaster@" + name, "uri:https://" + name), {}),
        "common-name": ((), {"subject": name}),
    }[kind]
    return ca.certify(*names, **options)


BAD_SERVERS = ["expired", "notyet", "selfsigned", "wronghost", "untrusted", "revoked", "wildcard-tld", "nul-san", "weak-sig", "rsa1024",
               "nameconstraint", "ip-mismatch", "email-san", "common-name"]


# Contexts.

def server_context(pair, clients=None, alpn=("http/1.1",)):
    """A server that is as careless as tests need: weak keys, old signatures. `clients`: file of the CA whose certificates it wants."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(pair.certificate, pair.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(trust=None, pair=None, alpn=None, least=None, most=None):
    """`trust`: file of a CA; None: nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust:
        context.load_verify_locations(trust)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if least or most:
        context.set_ciphers("ALL@SECLEVEL=0")
        context.minimum_version = least or ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = most or ssl.TLSVersion.MAXIMUM_SUPPORTED
    return context
