# SPDX-License-Identifier: ISC
"""A TLS ClientHello as a client would send it, with or without a server name."""


def sized(size, data):
    return len(data).to_bytes(size, "big") + data


def extension(number, data):
    return number.to_bytes(2, "big") + sized(2, data)


def client_hello(sni):
    extensions = b""
    if sni is not None:
        extensions += extension(0, sized(2, b"\0" + sized(2, sni.encode("latin-1"))))
    extensions += extension(10, sized(2, bytes.fromhex("001d0017")))           # groups: x25519, secp256r1
    extensions += extension(13, sized(2, bytes.fromhex("040308040401")))       # signature algorithms
    extensions += extension(43, sized(1, bytes.fromhex("03040303")))           # versions 1.3 and 1.2
    extensions += extension(51, sized(2, bytes.fromhex("001d") + sized(2, bytes(range(32)))))
    body = b"\x03\x03" + bytes(range(32)) + sized(1, bytes(range(32))) + sized(2, bytes.fromhex("13011302c02bc02f")) + sized(1, b"\0")
    return b"\x16\x03\x01" + sized(2, b"\x01" + sized(3, body + sized(2, extensions)))
