# SPDX-License-Identifier: ISC
"""A web server with TLS for the files of this folder: secure.py CERTIFICATE KEY PORT..."""
import functools
import http.server
import os
import ssl
import sys
import threading


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that does not like the certificate is no news."""


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
for address in [(host, int(port)) for port in sys.argv[3:] for host in ("127.0.0.1", "127.0.0.2")]:
    handler = functools.partial(Quiet, directory=os.path.dirname(os.path.abspath(__file__)))
    server = Server(address, handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever).start()
