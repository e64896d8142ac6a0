# SPDX-License-Identifier: ISC
"""A TLS ClientHello as a client would send it, and as none should."""
GREASE_ECH = 0xFE0D


def sized(size, data):
    return len(data).to_bytes(size, "big") + data


def extension(number, data):
    return number.to_bytes(2, "big") + sized(2, data)


def server_names(names):
    """The extension server_name with these names in one list (RFC 6066 3)."""
    return extension(0, sized(2, b"".join(b"\0" + sized(2, name.encode("latin-1")) for name in names)))


def handshake_message(sni, alpn=(), twice=False, padding=0, ech=False, versions=(0x0304, 0x0303), legacy=0x0303):
    """The message without a record around it. `sni`: a name, several for one list, or None; `twice`: that extension twice; `padding`: so
    many bytes more (RFC 7685); without `versions` there is no supported_versions, and `legacy` is all that is offered."""
    names = [] if sni is None else [sni] if isinstance(sni, str) else list(sni)
    extensions = (server_names(names) if names else b"") * (2 if twice else 1)
    extensions += extension(10, sized(2, bytes.fromhex("001d0017")))           # groups: x25519, secp256r1
    extensions += extension(13, sized(2, bytes.fromhex("040308040401")))       # signature algorithms
    if alpn:
        extensions += extension(16, sized(2, b"".join(sized(1, name.encode()) for name in alpn)))
    if versions:
        extensions += extension(43, sized(1, b"".join(version.to_bytes(2, "big") for version in versions)))
        extensions += extension(51, sized(2, bytes.fromhex("001d") + sized(2, bytes(range(32)))))
    if ech:
        extensions += extension(GREASE_ECH, b"\0\0\1\0\1\7" + sized(2, bytes(32)) + sized(2, bytes(128)))
    while padding > 0:
        extensions += extension(21, bytes(min(padding, 60000)))
        padding -= 60000
    body = legacy.to_bytes(2, "big") + bytes(range(32)) + sized(1, bytes(range(32)))
    body += sized(2, bytes.fromhex("13011302c02bc02f")) + sized(1, b"\0")
    return b"\x01" + sized(3, body + extensions_of(extensions))


def extensions_of(extensions):
    """Their length wraps around where they are longer than it can say."""
    return (len(extensions) & 0xFFFF).to_bytes(2, "big") + extensions


def records(message, size=16384):
    """In handshake records of at most `size` bytes."""
    return b"".join(b"\x16\x03\x01" + sized(2, message[at:at + size]) for at in range(0, len(message), size))


def client_hello(sni, record=16384, **options):
    return records(handshake_message(sni, **options), record)


ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
          42: "bad_certificate", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
          70: "protocol_version", 80: "internal_error", 100: "no_renegotiation", 112: "unrecognized_name", 116: "certificate_required",
          120: "no_application_protocol"}


def alerts_in(data):
    """Names of the alerts among these records in clear."""
    found, at = [], 0
    while len(data) >= at + 5:
        length = int.from_bytes(data[at + 3:at + 5], "big")
        if data[at] == 21 and length == 2:
            found.append(ALERTS.get(data[at + 6], str(data[at + 6])))
        at += 5 + length
    return found
