# SPDX-License-Identifier: ISC
"""WebSocket frames (RFC 6455 5.2): built as a test wants them, right or wrong, and read back."""
import base64
import hashlib
from dataclasses import dataclass

MASK = bytes([17, 34, 51, 68])
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def masked(payload, key):
    if not any(key):
        return bytes(payload)
    repeated = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def frame(op, payload=b"", fin=1, rsv=0, mask=False, mask_key=MASK, length=None, length_size=None):
    """One frame. `length` lies about the payload's length, `length_size` ("7", "16", "64") forces its encoding."""
    length = len(payload) if length is None else length
    size = length_size or ("7" if length < 126 else "16" if length < 65536 else "64")
    head = bytearray([fin << 7 | rsv << 4 | op])
    bit = 0x80 if mask else 0
    if size == "7":
        head.append(bit | length)
    else:
        head.append(bit | (126 if size == "16" else 127))
        head += length.to_bytes(2 if size == "16" else 8, "big")
    if mask:
        head += bytes(mask_key)
        payload = masked(payload, bytes(mask_key))
    return bytes(head) + payload


def close_frame(code, reason=b"", mask=False):
    return frame(CLOSE, code.to_bytes(2, "big") + reason, mask=mask)


@dataclass
class Frame:
    op: int
    fin: bool
    rsv: int
    masked: bool
    payload: bytes      # what has come of it, unmasked
    complete: bool
    end: int

    @property
    def close_code(self):
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else None


def frame_at(data, at):
    """The frame at `at`, complete or not; None if not even its header has come."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    at += 2
    length = second & 0x7F
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(data) < at + size:
            return None
        length = int.from_bytes(data[at:at + size], "big")
        at += size
    key = bytes(4)
    if second & 0x80:
        if len(data) < at + 4:
            return None
        key = bytes(data[at:at + 4])
        at += 4
    payload = masked(bytes(data[at:at + length]), key)
    return Frame(first & 15, bool(first & 0x80), first >> 4 & 7, bool(second & 0x80), payload, len(payload) == length, at + length)


def frames_in(data, at=0):
    frames = []
    while True:
        found = frame_at(data, at)
        if found is None:
            return frames
        frames.append(found)
        if not found.complete:
            return frames
        at = found.end


def messages_in(frames):
    """Assembled messages as (opcode, payload); control frames stand alone."""
    messages, parts, op = [], [], None
    for one in frames:
        if not one.complete:
            break
        if one.op >= 8:
            messages.append((one.op, one.payload))
            continue
        op = one.op if one.op else op
        parts.append(one.payload)
        if one.fin:
            messages.append((op, b"".join(parts)))
            parts = []
    return messages


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def handshake(target, host, origin=None, protocols=None, key=KEY):
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13"]
    if origin:
        lines.append(f"Origin: {origin}")
    if protocols:
        lines.append(f"Sec-WebSocket-Protocol: {protocols}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def switching(key=KEY, protocol=None):
    chosen = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return (f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key).decode()}\r\n{chosen}\r\n").encode()
