/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_TABLE_H
#define POSTERN_BASE_TABLE_H

#include "base/hash.h"
#include "base/inspected.h"
#include "base/record.h"

/*
 * The session table: one shard a worker, in a sparse memfd that the monitor makes and all processes map. The worker is the only
 * writer; everybody else maps it read-only. A shard holds rows, TLS facts beside those that have some, interned names, counts per
 * client, the names of minted certificates, the ring of ended and denied streams, and counters.
 */
#define TABLE_NAMES 2048 /* interned names a shard, 32 bytes each */
#define TABLE_NAME_SIZE 32
#define TABLE_ENDED 4096 /* ended and denied streams that are remembered */

/* Counters beyond those by reason. Prometheus names are made of them in app/metrics.c. Those of TLS are counted by the session:
 * FULL, RESUMED or FAILED once for each handshake of ours that ended, on the side it was with; inspected_add() counts INSPECTED
 * and REFUSED. */
#define TABLE_COUNTERS(X)                                                                                                          \
    X(SESSIONS_OPENED, "sessions_opened_total", "Client connections accepted.")                                                    \
    X(SESSIONS_OPEN, "sessions_open", "Client connections open now.")                                                              \
    X(SESSIONS_TOLD, "sessions_refused", "Client connections open now that are only told that they are refused.")                  \
    X(REQUESTS, "requests_total", "HTTP requests read.")                                                                           \
    X(ALLOWED, "allowed_total", "Exchanges and tunnels that a policy allowed.")                                                    \
    X(DENIED, "denied_total", "Denials, whatever the reason.")                                                                     \
    X(WEBSOCKETS, "websockets_opened_total", "WebSockets opened.")                                                                 \
    X(WEBSOCKETS_OPEN, "websockets_open", "WebSockets open now.")                                                                  \
    X(TUNNELS, "tunnels_opened_total", "Tunnels opened.")                                                                          \
    X(BYTES_UP, "bytes_up_total", "Payload bytes from clients to servers.")                                                        \
    X(BYTES_DOWN, "bytes_down_total", "Payload bytes from servers to clients.")                                                    \
    X(DIALS, "dials_total", "Connections opened to servers.")                                                                      \
    X(REUSES, "reuses_total", "Requests sent on a kept connection.")                                                               \
    X(RETRIES, "retries_total", "Requests sent again because a kept connection had died.")                                         \
    X(FAILOVERS, "failovers_total", "Requests taken to another upstream because one could not be reached or died.")                \
    X(LOOKUPS, "lookups_total", "Names asked of a resolver.")                                                                      \
    X(UNTOLD, "refused_untold_total",                                                                                              \
      "Connections over a limit that were closed without an answer, because many were being told.")                                \
    X(IDLE_CLOSED, "idle_closed_total", "Idle connections closed early, of clients with more than their share.")                   \
    X(ACCEPT_PAUSES, "accept_pauses_total", "Times that accepting was paused for want of descriptors or room.")                    \
    X(TLS_CLIENT_FULL, "tls_client_full_total", "TLS handshakes with clients, without those that resumed a session.")              \
    X(TLS_CLIENT_RESUMED, "tls_client_resumed_total", "TLS handshakes with clients that resumed a session.")                       \
    X(TLS_CLIENT_FAILED, "tls_client_failed_total", "TLS handshakes with clients that failed.")                                    \
    X(TLS_SERVER_FULL, "tls_server_full_total", "TLS handshakes with servers, without those that resumed a session.")              \
    X(TLS_SERVER_RESUMED, "tls_server_resumed_total", "TLS handshakes with servers that resumed a session.")                       \
    X(TLS_SERVER_FAILED, "tls_server_failed_total", "TLS handshakes with servers that failed.")                                    \
    X(TLS_INSPECTED, "tls_inspected_total", "Streams whose TLS was opened to look inside.")                                        \
    X(TLS_REFUSED, "tls_refused_total", "Minted certificates that clients refused.")                                               \
    X(LOG_DROPPED, "log_dropped_total", "Access-log lines lost because the log could not be written fast enough.")                 \
    X(ENDED, "ended_total", "Records written to the ring of ended streams.")                                                       \
    X(ROWS_HIGH, "rows_high", "Highest row that the worker ever used, plus one: where readers may stop.")

enum counter {
#define X(id, name, help) COUNT_##id,
    TABLE_COUNTERS(X)
#undef X
        COUNTERS
};

const char *counter_name(enum counter c);
const char *counter_help(enum counter c);

struct shard; /* a mapping */

/* Bytes that a shard for `rows` rows takes. */
size_t shard_bytes(uint32_t rows);
/* Maps `fd`, which is zero-filled or used already and not shorter than shard_bytes(); NULL with errno set. Writer: the worker
 * alone, and the monitor for shard_clear() while there is no worker. */
MUST_CHECK struct shard *shard_map(int fd, uint32_t rows, bool writer);
void shard_unmap(struct shard *s);
/* Monitor: forgets all that a dead worker left (rows, counts, open gauges); totals, names and ended streams stay. Returns how many
 * rows were open; each is reported to `lost` first, as a record that is empty but for the row and its TLS facts. */
uint32_t shard_clear(struct shard *s, void (*lost)(const struct record *last, void *arg), void *arg);
uint32_t shard_rows(const struct shard *s);

/* Writer: takes the lowest free row, zeroed, state NEW; NULL if all are taken. */
MUST_CHECK struct row *row_take(struct shard *s);
void row_release(struct shard *s, struct row *row);
/* Writer: around changes of more than one number (strings, addresses). They do not nest. */
void row_begin(struct shard *s, struct row *row);
void row_end(struct shard *s, struct row *row);
/* Writer, between row_begin() and row_end(): the TLS facts of a row's two sides [DIRECTIONS]; zeroed, and row->tls set, at first.
 */
struct tls_facts *row_tls(struct shard *s, struct row *row);
/* Writer: the row, and its TLS facts if it has some, into out->row and out->tls. */
void row_record(struct shard *s, const struct row *row, struct record *out);
/* Reader: a consistent copy of row `index`; false if it is free or would not hold still. `tls` (NULL: not wanted) has DIRECTIONS
 * entries and is filled if out->tls. */
bool row_read(const struct shard *s, uint32_t index, struct row *out, struct tls_facts *tls);

/* Writer: one more handshake with a leaf for this name; `refused`: the client did not accept it. */
void inspected_add(struct shard *s, struct span name, const struct addr *client, bool refused);
/* Any: place `index` of TABLE_INSPECTED; false if it is empty or would not hold still. */
bool inspected_read(const struct shard *s, uint32_t index, struct inspected *out);

/* Writer: the session that it is working on, and its phase when that began; 0: none. For whoever asks why it does not answer. */
void shard_at(struct shard *s, uint64_t session, enum phase phase);
/* Any: the session, 0: none. */
uint64_t shard_at_read(const struct shard *s, enum phase *phase);

/* Writer: the number of `name` (its first TABLE_NAME_SIZE - 1 bytes), making it if need be. 0 for "" and when the table is full. */
name_id table_intern(struct shard *s, const char *name);
/* Any: the name; "" for 0. Copied into `out` of TABLE_NAME_SIZE bytes, which is returned. */
char *table_name(const struct shard *s, name_id id, char *out);

/* Writer. */
void count_add(struct shard *s, enum counter c, uint64_t n);
void count_sub(struct shard *s, enum counter c, uint64_t n);
void count_set(struct shard *s, enum counter c, uint64_t n);
void count_reason(struct shard *s, enum reason r);
/* Any. */
uint64_t count_read(const struct shard *s, enum counter c);
uint64_t count_reason_read(const struct shard *s, enum reason r);

/* Writer: one more (+1) or one fewer (-1) connection of this client (IPv4 /32, IPv6 /64). false: no room to count it,
 * or one fewer of a client that is not there. */
MUST_CHECK bool clients_add(struct shard *s, const struct addr *client, int delta);
/* Any: connections of this client in this shard. */
uint32_t clients_read(const struct shard *s, const struct addr *client);

/* Writer: one more (+1) or one fewer (-1) WebSocket that this policy allows this client (IPv4 /32, IPv6 /64). false: as above. */
MUST_CHECK bool streams_add(struct shard *s, const char *policy, const struct addr *client, int delta);
/* Any: those of the client in this shard; client NULL: of all clients. */
uint32_t streams_read(const struct shard *s, const char *policy, const struct addr *client);

/* Writer: appends to the ring of ended streams. */
void ended_put(struct shard *s, const struct record *record);
/* Any: the record with this sequence number (1 ...), newest count_read(COUNT_ENDED); false if it is gone. */
bool ended_read(const struct shard *s, uint64_t sequence, struct record *out);

#endif
