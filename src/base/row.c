/* SPDX-License-Identifier: ISC */
/*
 * The words of rows. They are part of the contract with users (log, posternctl, metrics): a word that changes here changes there.
 */
#include "base/row.h"

#define NAME_FUNCTION(function, type, count, ...)                                                                                  \
    const char *function(type v)                                                                                                   \
    {                                                                                                                              \
        static const char *const names[count] = { __VA_ARGS__ };                                                                   \
                                                                                                                                   \
        return (unsigned)v < (count) ? names[v] : "?";                                                                             \
    }

NAME_FUNCTION(row_state_name, enum row_state, ROW_STATE_COUNT, "FREE", "NEW", "ESTABLISHED", "RELATED", "CLOSING", "CLOSED",
              "DRAINING")
NAME_FUNCTION(phase_name, enum phase, PHASE_COUNT, "sniff", "socks", "handshake", "http", "tunnel-wait", "peek", "tunnel",
              "upgrade-wait", "websocket", "closing", "dead")
NAME_FUNCTION(mode_name, enum mode, MODE_COUNT, "explicit", "transparent", "reverse", "forwarded")
NAME_FUNCTION(conntrack_state_name, enum conntrack_state, CONNTRACK_STATES, "", "NEW", "ESTABLISHED", "RELATED", "CLOSED",
              "UNTRACKED")
NAME_FUNCTION(row_protocol_name, enum row_protocol, PROTO_COUNT, "", "http", "websocket", "connect", "tls", "socks", "tunnel",
              "tcp", "udp", "icmp")
NAME_FUNCTION(closer_name, enum closer, CLOSER_COUNT, "", "client", "server", "postern")
NAME_FUNCTION(ws_kind_name, enum ws_kind, WS_KIND_COUNT, "continuation", "text", "binary", "close", "ping", "pong")
