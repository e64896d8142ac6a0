# SPDX-License-Identifier: ISC
"""The control socket without posternctl: one JSON object a line, both ways."""
import json
import socket

from .postern import PATIENCE


class Control:
    def __init__(self, path, timeout=PATIENCE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next answer; None when the other side has closed."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, command, **arguments):
        self.send(json.dumps({"command": command, **arguments}).encode() + b"\n")
        return self.line()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
