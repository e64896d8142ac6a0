# SPDX-License-Identifier: ISC
"""A name server of a few lines on UDP: addresses, CNAME chains, and answers that change with each question."""
import contextlib
import socket
import threading


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def question_of(packet):
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1").lower())
        at += 1 + packet[at]
    return ".".join(labels), int.from_bytes(packet[at + 1:at + 3], "big"), at + 5


def record(name, kind, data, ttl):
    return encode_name(name) + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


class NameServer:
    """`names`: name -> list of IPv4 addresses, or a name (CNAME), or a function that is called per question and returns one of these.
    A name that is not there does not exist; None: no answer at all."""

    def __init__(self, address, names, port=53):
        self.names, self.questions = names, []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self.authority = f"{address}:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _records(self, name, kind):
        answers, hops = [], 0
        while hops < 40:
            value = self.names.get(name)
            value = value() if callable(value) else value
            if isinstance(value, str):
                answers.append(record(name, 5, encode_name(value), 0))
                name, hops = value, hops + 1
                continue
            if value and kind == 1:
                answers += [record(name, 1, socket.inet_aton(address), 0) for address in value]
            break
        return answers

    def _answer(self, packet):
        name, kind, end = question_of(packet)
        self.questions.append((name, kind))
        if name in self.names and self.names[name] is None:
            return None
        answers = self._records(name, kind)
        code = 0 if name in self.names else 3
        return packet[:2] + bytes([0x85, 0x80 | code]) + b"\0\1" + len(answers).to_bytes(2, "big") + bytes(4) + packet[12:end] + b"".join(answers)

    def _run(self):
        while True:
            try:
                packet, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            if not packet:
                return
            answer = self._answer(packet)
            if answer:
                self._socket.sendto(answer, peer)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)     # it says that it is not connected, and wakes who waits
        self._thread.join(15)
        self._socket.close()
