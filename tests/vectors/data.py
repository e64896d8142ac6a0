# SPDX-License-Identifier: ISC
"""DATA of a vector as bytes: strings in latin-1, parts concatenated, placeholders filled in."""
import re
import zlib

from lib import hello, ws


def fill(text, names):
    return re.sub(r"\{\{([A-Z_]+)\}\}", lambda match: names[match[1]], text)


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def payload_of(spec, names):
    if "payload_rep" in spec:
        byte, count = spec["payload_rep"]
        return byte.encode("latin-1") * count
    payload = spec.get("payload", "")
    if isinstance(payload, dict) and "deflate" in payload:
        return deflated(payload["deflate"].encode("latin-1"))
    if isinstance(payload, dict) and "deflate_bomb" in payload:
        bomb = payload["deflate_bomb"]
        return deflated(bomb["byte"].encode("latin-1") * bomb["n"])
    return bytes_of(payload, names)


def frame_of(spec, names):
    return ws.frame(spec["op"], payload_of(spec, names), spec.get("fin", 1), spec.get("rsv", 0), spec.get("mask", False),
                    bytes(spec.get("mask_key", ws.MASK)), spec.get("len"), spec.get("len_enc"))


def part_of(part, names):
    if isinstance(part, str):
        return fill(part, names).encode("latin-1")
    if "rep" in part:
        return fill(part["rep"], names).encode("latin-1") * part["n"]
    if "hex" in part:
        return bytes.fromhex(fill(part["hex"], names))
    if "ws" in part:
        return frame_of(part["ws"], names)
    if "rep_ws" in part:
        return frame_of(part["rep_ws"], names) * part["n"]
    if "tls_clienthello" in part:
        return hello.client_hello(part["tls_clienthello"]["sni"])
    raise ValueError(f"unknown DATA: {part}")


LARGE = 64 << 20


class Repeated(bytes):
    """One frame that is to be written `times` times: more than should be in memory at once."""
    times = 1


def data_of(data, names):
    """As bytes_of(), without a copy of what is a repetition of one large frame."""
    part = data[0] if isinstance(data, list) and len(data) == 1 else data
    if isinstance(part, dict) and "rep_ws" in part:
        frame = Repeated(frame_of(part["rep_ws"], names))
        if len(frame) * part["n"] > LARGE:
            frame.times = part["n"]
            return frame
    return bytes_of(data, names)


def bytes_of(data, names):
    parts = data if isinstance(data, list) else [data]
    return b"".join(part_of(part, names) for part in parts)
