# SPDX-License-Identifier: ISC
"""The causes that vectors name, in the words of this program's one table of reasons (include/base/reason.h).

A vector says why something is refused, not which rule notices it first: an encoded CRLF in a path that is also denied may be either.
"""
NO_REQUEST = {"head-malformed", "target-malformed", "host-malformed", "framing-ambiguous", "body-malformed", "version-unsupported",
              "method-unknown", "expectation-unknown", "head-too-large", "uri-too-long", "body-too-large", "handshake-malformed",
              "upgrade-refused", "client-gone"}
DENIED = {"policy-denied", "no-policy", "zone-unknown", "address-private", "host-mismatch", "name-unresolved", "name-timeout",
          "subprotocol-denied", "loop"}
FRAMES = {"frame-malformed", "frame-unmasked", "frame-masked", "close-malformed", "message-too-big", "utf8-invalid", "control-flood",
          "deflate-malformed", "deflate-ratio", "opcode-denied", "fragment-limit"}
HANDSHAKE = {"handshake-malformed", "ws-version", "accept-mismatch", "upgrade-unasked", "subprotocol-unoffered", "extension-unoffered",
             "framing-ambiguous", "response-malformed", "head-malformed", "method-unknown", "upgrade-refused", "surplus-answer"}
TLS = {"hello-malformed", "alpn-mismatch", "sni-missing", "sni-mismatch", "sni-unknown", "tls-handshake", "tls-flood", "host-mismatch",
       "client-certificate", "upstream-certificate", "upstream-tls", "upstream-wants-certificate"}
TOKENS = {
    "malformed": NO_REQUEST | DENIED,
    "policy": DENIED | NO_REQUEST,
    "limit": {"head-too-large", "uri-too-long", "body-too-large", "pipeline-limit", "message-too-big", "rate-exceeded", "overload"},
    "timeout": {"timeout-handshake", "timeout-header", "timeout-body", "timeout-connect", "timeout-response", "timeout-keepalive",
                "timeout-tunnel", "timeout-close", "timeout-age", "timeout-ping",
                "timeout-message"},
    "upstream-malformed": {"response-malformed", "response-truncated", "unsolicited-bytes", "surplus-answer", "answer-before-request",
                           "interim-limit", "upgrade-unasked", "upstream-closed", "body-malformed", "peer-reset"},
    "ws-handshake": HANDSHAKE,
    "ws-origin": {"origin-denied"},
    "ws-frame": FRAMES,
    "upgrade-denied": {"upgrade-refused", "policy-denied", "no-policy", "head-malformed"},
    "tunnel-protocol": {"tunnel-protocol", "no-policy", "policy-denied"},
    "sni-mismatch": {"sni-mismatch"},
    "sni-missing": {"sni-missing"},
    "socks": {"socks-malformed", "socks-command", "socks-method"} | DENIED,
    "tls": TLS,
    "loop": {"loop", "no-original-destination"},    # the second: who dialled the listener itself was not intercepted
    "no-orig-dst": {"no-original-destination"},
    "protocol": {"tunnel-protocol", "head-malformed"},
}
