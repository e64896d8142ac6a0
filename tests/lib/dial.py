# SPDX-License-Identifier: ISC
"""Connections whose ports say which they are.

Tests find what Postern said of a connection by its client's port. The kernel gives a port to the next one soon after it was freed, and the
log of a stage is older than that: so whoever is looked up by a port is dialled here, from one that this process has not had before. Sockets
are bound before they are connected; the kernel prefers odd ports for those and even ones for the others, so curl, browsers and all else
that dials by itself stay out of the way.
"""
import errno
import socket
import threading

# More than a process dials while one stage lives, and few enough of 14,000 odd ports that another is soon found.
REMEMBERED = 8000

_used, _lock = {}, threading.Lock()


def is_new(port):
    """Whether it is none of the last REMEMBERED; from now on it is one of them."""
    with _lock:
        if port in _used:
            return False
        _used[port] = True
        if len(_used) > REMEMBERED:
            del _used[next(iter(_used))]
        return True


def bound(make, source=""):
    """A socket of `make()` at a port that is new, with the address `source`. Where no port is free to be bound, one that is not bound."""
    refused = []        # kept until the end, so that the kernel offers others
    try:
        while True:
            sock = make()
            try:
                sock.bind((source, 0))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or source:
                    sock.close()
                    raise
                return sock
            if is_new(sock.getsockname()[1]):
                return sock
            refused.append(sock)
    finally:
        for sock in refused:
            sock.close()


def connect(authority, timeout, source=None):
    """A connection to "HOST:PORT" or (host, port); TimeoutError and the like as socket.create_connection()."""
    if isinstance(authority, str):
        host, _, port = authority.rpartition(":")
        authority = host.strip("[]"), int(port)
    family, kind, protocol, _, address = socket.getaddrinfo(*authority, type=socket.SOCK_STREAM)[0]
    sock = bound(lambda: socket.socket(family, kind, protocol), source or "")
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
