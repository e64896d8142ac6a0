# SPDX-License-Identifier: ISC
"""A TLS client on libssl itself, for what Python's ssl does not do: renegotiation, KeyUpdate, early data, and sessions kept across names."""
import ctypes

from . import dial

SSL = ctypes.CDLL("libssl.so.3")
CRYPTO = ctypes.CDLL("libcrypto.so.3")
TLS1_2, TLS1_3 = 0x0303, 0x0304
CTRL_SET_MIN_PROTO, CTRL_SET_MAX_PROTO, CTRL_SET_SERVER_NAME, CTRL_MODE = 123, 124, 55, 33
KEY_UPDATE_NOT_REQUESTED, KEY_UPDATE_REQUESTED = 0, 1
READ_BYTES = 65536

for pointer in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "SSL_get1_session"):
    getattr(SSL, pointer).restype = ctypes.c_void_p
SSL.SSL_get_version.restype = ctypes.c_char_p
CRYPTO.ERR_get_error.restype = ctypes.c_ulong
P, I, L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
for name, arguments in {"SSL_CTX_new": [P], "SSL_CTX_ctrl": [P, I, L, P], "SSL_CTX_free": [P], "SSL_new": [P], "SSL_free": [P], "SSL_set_fd": [P, I],
                        "SSL_ctrl": [P, I, L, P], "SSL_connect": [P], "SSL_write": [P, P, I], "SSL_read": [P, P, I], "SSL_key_update": [P, I],
                        "SSL_do_handshake": [P], "SSL_renegotiate": [P], "SSL_get1_session": [P], "SSL_set_session": [P, P],
                        "SSL_SESSION_free": [P], "SSL_session_reused": [P], "SSL_SESSION_set_max_early_data": [P, ctypes.c_uint32],
                        "SSL_get_early_data_status": [P], "SSL_SESSION_get0_ticket": [P, P, P], "SSL_get_version": [P], "SSL_shutdown": [P], "SSL_SESSION_set1_hostname": [P, P],
                        "SSL_write_early_data": [P, P, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]}.items():
    getattr(SSL, name).argtypes = arguments


def why():
    """What libssl last complained of, and its queue is empty."""
    text, said = ctypes.create_string_buffer(256), []
    while code := CRYPTO.ERR_get_error():
        CRYPTO.ERR_error_string_n(ctypes.c_ulong(code), text, ctypes.c_size_t(256))
        said.append(text.value.decode())
    return "; ".join(said) or "the connection ended"


class Failed(Exception):
    pass


class Session:
    """What a server gave to come back with."""

    def __init__(self, ssl):
        self.pointer = SSL.SSL_get1_session(ssl)

    def allow_early_data(self):
        """Whatever the server said of it."""
        SSL.SSL_SESSION_set_max_early_data(self.pointer, 16384)

    def ticket_key(self):
        """The name of the key that its ticket is encrypted with (RFC 5077, 4)."""
        ticket, length = P(), ctypes.c_size_t()
        SSL.SSL_SESSION_get0_ticket(self.pointer, ctypes.byref(ticket), ctypes.byref(length))
        return ctypes.string_at(ticket, length.value)[:16]

    def rename(self, name):
        SSL.SSL_SESSION_set1_hostname(self.pointer, name.encode())


class Stream:
    """Verifies nothing. `session`: to be resumed; `early`: bytes to send before the handshake."""

    def __init__(self, authority, name=None, version=None, session=None, early=None, sock=None):
        self.socket = sock or dial.connect(authority, 15)
        self.socket.settimeout(None)
        self.context = SSL.SSL_CTX_new(SSL.TLS_client_method())
        if version:
            SSL.SSL_CTX_ctrl(self.context, CTRL_SET_MIN_PROTO, version, None)
            SSL.SSL_CTX_ctrl(self.context, CTRL_SET_MAX_PROTO, version, None)
        self.ssl = SSL.SSL_new(self.context)
        SSL.SSL_set_fd(self.ssl, self.socket.fileno())
        if name:
            SSL.SSL_ctrl(self.ssl, CTRL_SET_SERVER_NAME, 0, ctypes.c_char_p(name.encode()))
        if session:
            SSL.SSL_set_session(self.ssl, session.pointer)
        if early:
            self._good(SSL.SSL_write_early_data(self.ssl, early, len(early), ctypes.byref(ctypes.c_size_t())))
        self._good(SSL.SSL_connect(self.ssl))

    def _good(self, result):
        if result <= 0:
            raise Failed(why())
        return result

    @property
    def resumed(self):
        return bool(SSL.SSL_session_reused(self.ssl))

    @property
    def early_data_accepted(self):
        return SSL.SSL_get_early_data_status(self.ssl) == 2

    @property
    def version(self):
        return SSL.SSL_get_version(self.ssl).decode()

    def session(self):
        return Session(self.ssl)

    def write(self, data):
        self._good(SSL.SSL_write(self.ssl, data, len(data)))

    def read(self):
        """What comes next; b"" at the end."""
        buffer = ctypes.create_string_buffer(READ_BYTES)
        count = SSL.SSL_read(self.ssl, buffer, READ_BYTES)
        why()
        return buffer.raw[:max(count, 0)]

    def read_until(self, end):
        data = b""
        while end not in data:
            part = self.read()
            if not part:
                raise Failed(f"the end behind {data!r}")
            data += part
        return data

    def update_keys(self, asking=False):
        self._good(SSL.SSL_key_update(self.ssl, KEY_UPDATE_REQUESTED if asking else KEY_UPDATE_NOT_REQUESTED))
        self._good(SSL.SSL_do_handshake(self.ssl))

    def renegotiate(self):
        """TLS 1.2."""
        self._good(SSL.SSL_renegotiate(self.ssl))
        self._good(SSL.SSL_do_handshake(self.ssl))

    def close(self):
        """With close_notify: a session that is not ended so is not resumed."""
        SSL.SSL_shutdown(self.ssl)
        SSL.SSL_free(self.ssl)
        SSL.SSL_CTX_free(self.context)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
