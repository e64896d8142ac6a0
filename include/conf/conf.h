/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_H
#define POSTERN_CONF_CONF_H

#include "base/addr.h"
#include "base/log.h"
#include "base/row.h"
#include "base/tls_facts.h"

/*
 * The configuration as an immutable snapshot. The same code reads it in the monitor, in workers and in control, from the same text,
 * so that all mean the same. Nothing here opens a file: the text is given, and files that it names (hosts_file, resolver.hosts) are
 * opened by the monitor (app/generation.c).
 */
#define CONF_NAME 32 /* of zones, listeners, policies, with the NUL */

/* A list of strings that the snapshot owns. */
struct conf_strings {
    size_t count;
    char **items;
};

struct conf_networks {
    size_t count;
    struct network *items;
};

/* Ports: single numbers or "8000-8100"; inclusive. */
struct conf_ports {
    size_t count;
    struct conf_port_range {
        uint16_t first, last;
    } * items;
};

#define CONF_SELF "self" /* the reserved zone: this machine. Policies may name it in from and to, nothing else may */

struct conf_zone {
    char name[CONF_NAME];
    unsigned line;
    struct conf_strings interfaces;
    struct conf_networks networks;
};

struct conf_upstream {
    char host[256]; /* a name, or an address without brackets */
    struct addr ip; /* the address, with the port; family 0: it is a name */
    uint16_t port;
    bool tls; /* "https://host:port" */
};

/* How the kernel hands flows of others over to a transparent listener. */
enum conf_intercept { INTERCEPT_TPROXY, INTERCEPT_REDIRECT };
/* Must Host and SNI resolve to what the client dialled (STRICT), are they resolved and dialled instead (RESOLVE), or is what the
 * client dialled dialled, whatever they say (OFF)? */
enum conf_host_check { HOST_CHECK_STRICT, HOST_CHECK_RESOLVE, HOST_CHECK_OFF };

/* A file with something of TLS in it. Others name it by its index in conf->tls_files; -1: none. Each path is there once a kind. */
enum conf_tls_kind { TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_TRUST, TLS_FILE_CRL, TLS_FILE_OCSP };
struct conf_tls_file {
    char *path;
    enum conf_tls_kind kind;
    bool of_minter; /* the key that leaves are signed with: no worker ever gets it */
    bool optional;  /* the system's bundle, which nobody named: without it there is a warning, and no server can be verified */
    unsigned line;  /* of who names it first; 0: nobody */
    char *key;      /* for messages: "listeners.site.tls.key" */
};

struct conf_tls_pair {
    unsigned line;
    int certificate, key, ocsp;
};

/* What becomes of a client that names no server, or one that no certificate fits: refused, or served with the first certificate. */
enum conf_unknown_name { UNKNOWN_NAME_REFUSE, UNKNOWN_NAME_FIRST };
enum conf_tls_profile { PROFILE_MODERN, PROFILE_COMPATIBLE };
enum conf_tls_verify { VERIFY_NONE, VERIFY_OPTIONAL, VERIFY_REQUIRED };

/* TLS is ended here (explicit and reverse listeners). */
struct conf_listener_tls {
    unsigned line;               /* 0: no group given: in clear */
    struct conf_tls_pair own;    /* "certificate", "key" and "ocsp" of the group itself; also the only one of pairs, then */
    struct conf_tls_pair *pairs; /* at least one: "certificate" and "key" of the group itself, or its list "certificates" */
    size_t pair_count;
    enum conf_unknown_name unknown_name;
    enum conf_tls_profile profile;
    uint16_t min_version;        /* 0x0303 (default), 0x0304 */
    enum conf_tls_verify verify; /* certificates of clients */
    int ca, crl;
    bool tickets; /* default true */
};

/* TLS to servers: reverse upstreams "https://...", and inspection. */
struct conf_upstream_tls {
    unsigned line;  /* 0: no group given: the defaults */
    int trust, crl; /* -1: those of the top level's group */
    bool verify;    /* default true */
    int certificate, key;
    uint16_t min_version;
    char *server_name;   /* NULL: the target's */
    uint8_t (*pins)[32]; /* "sha256/BASE64" of SubjectPublicKeyInfo */
    size_t pin_count;
};

/* Checks of a reverse listener's upstreams. */
struct conf_health {
    unsigned line;     /* 0: no group given: they are not checked */
    char *path;        /* asked for; NULL: a connection is enough */
    uint32_t status;   /* of a good answer; 0: any from 200 to 399 */
    uint32_t interval; /* ms from the end of one to the next */
    uint32_t timeout;  /* ms */
    uint32_t rise, fall;
};

enum conf_forwarded { FORWARDED_NONE, FORWARDED_APPEND, FORWARDED_REPLACE };

struct conf_listener {
    char name[CONF_NAME];
    unsigned line;
    enum mode mode;
    struct addr address;
    struct conf_strings from;        /* zones of clients; empty: any zone */
    struct conf_upstream *upstreams; /* reverse: at least one */
    size_t upstream_count;
    struct conf_health health;
    enum conf_forwarded forwarded; /* none (default): such fields of the client are removed and none is added */
    char via[64];                  /* pseudonym of the Via field; "": the instance's own */
    bool via_off;                  /* via = "off": no Via field, no loop check by it */
    enum conf_intercept intercept; /* transparent: required; else it means nothing */
    struct conf_ports ports;       /* transparent: required */
    enum conf_host_check host_check;
    bool preserve_client_address; /* transparent, with packet_filter: servers see the client's address */
    struct conf_listener_tls tls;
};

enum conf_action { ACTION_ALLOW, ACTION_DENY, ACTION_DROP };
enum conf_reuse { REUSE_SESSION, REUSE_NEVER, REUSE_SHARED };

/* What a flow turned out to be, as policies name it: a set of these bits. */
enum conf_protocol {
    CONF_HTTP = 1 << 0,
    CONF_WEBSOCKET = 1 << 1,
    CONF_TLS = 1 << 2,
    CONF_TUNNEL = 1 << 3,
    CONF_TCP = 1 << 4,
    CONF_UDP = 1 << 5,
    CONF_ICMP = 1 << 6
};

/* permessage-deflate (RFC 7692): its offer is removed (STRIP), makes the handshake be refused (DENY), is passed on with the payload
 * unread (PASS), or is passed on and the payload inflated and read (INSPECT). */
enum conf_deflate { DEFLATE_STRIP, DEFLATE_DENY, DEFLATE_PASS, DEFLATE_INSPECT };
/* What a broken contract or a denied message leads to; breaking RFC 6455 always closes. */
enum conf_violation { VIOLATION_CLOSE, VIOLATION_DROP_MESSAGE, VIOLATION_LOG };
enum conf_opcode { CONF_TEXT = 1 << 0, CONF_BINARY = 1 << 1 };

/* What one side of a WebSocket may say. Zero: no limit. */
struct conf_ws_side {
    bool send;                           /* may it send data messages at all; default true */
    unsigned opcodes;                    /* bits of enum conf_opcode */
    uint64_t message_bytes, frame_bytes; /* payload; of compressed messages as inflated where they are read */
    uint32_t fragments;                  /* frames of a message */
    uint32_t control_frames;             /* pings and pongs in 10 s */
    uint32_t messages_per_second;
    uint64_t bytes_per_second;
    uint32_t burst; /* ms of a rate that may be saved up */
};

/* A rule about the content of messages. In order; the first that fits decides; none: allowed. */
struct conf_ws_match {
    char name[CONF_NAME];
    unsigned line;
    bool of_client, of_server; /* whose messages */
    char *pattern;             /* a regular expression (PCRE2, UTF) over text messages that fits if it is found; or NULL */
    bool json;                 /* fits if the message is not JSON like this: */
    uint64_t json_bytes;       /* 0: no limit */
    uint32_t json_depth;
    struct conf_strings required, forbidden; /* members of the outermost object, "a" or "a.b" */
    bool allow;                              /* pattern: action = "allow"; otherwise the message is denied */
};

struct conf_websocket {
    unsigned line;                    /* 0: no group given */
    struct conf_strings origins;      /* empty: any */
    bool origin_required;             /* matters with origins only; default true */
    struct conf_strings subprotocols; /* empty: any */
    enum conf_deflate deflate;
    uint32_t inflate_ratio;       /* inspect: inflated bytes for one compressed byte, over a message; 0: no limit */
    struct conf_ws_side sides[2]; /* UP: the client, DOWN: the server; what the group itself says is in both, too */
    bool server_first;            /* may the server speak before the client did; default true */
    uint32_t messages_per_client_message;
    uint32_t bytes_per_client_byte;
    uint32_t quiet_after;                 /* ms: the server may speak only this long after the client last did */
    uint32_t ping_interval;               /* ms */
    uint32_t idle, age;                   /* ms without a data message, 0: timeouts.tunnel_idle; ms since it opened, 0: no limit */
    uint32_t streams, streams_per_client; /* open at once by this policy */
    bool tunnels;                         /* may binary streams begin like TLS, SSH, HTTP or SOCKS; default true */
    enum conf_violation on_violation;
    struct conf_ws_match *matches;
    size_t match_count;
};

struct conf_header {
    char *name;
    char *pattern; /* NULL: it must only be there */
};

struct conf_policy {
    char name[CONF_NAME];
    unsigned line;
    enum conf_action action;
    struct conf_strings from, to, listeners; /* names; "from" and "to" may be given as one string; empty: any */
    struct conf_networks clients, networks;
    struct conf_strings hosts; /* normalised: lower case, no trailing dot, A-labels; "*.x" kept */
    char *hosts_file;          /* path, or NULL */
    struct conf_ports ports;
    struct conf_strings methods, paths;
    struct conf_header *headers; /* "Name: pattern" or "Name" */
    size_t header_count;
    unsigned protocols; /* bits of enum conf_protocol; absent: http, websocket and tls */
    bool protocols_given;
    enum conf_reuse upstream_reuse;
    struct conf_websocket websocket;
    bool inspect;      /* tls = "inspect": http and websocket inside TLS are decrypted and judged; default "passthrough" */
    bool sni_optional; /* sni = "optional": TLS that names no server may pass unread; default "required" */
    bool ech_denied;   /* ech = "deny"; default "allow": the outer name is what is judged */
    struct conf_strings tls_fingerprints;    /* patterns of JA4 */
    struct conf_strings client_certificates; /* patterns of "DNS:x", "IP:x", "email:x", "URI:x", or of the subject (RFC 2253) */
    struct conf_upstream_tls upstream_tls;
};

/* A port of this machine that the kernel forwards to a server behind it. */
struct conf_forward {
    unsigned line;
    struct conf_strings from; /* zones of the clients; at least one */
    unsigned protocol;        /* CONF_TCP or CONF_UDP */
    uint16_t port;
    struct addr to; /* with port */
};

/* Of system calls and files: everything must be had, what can be had, nothing. */
enum conf_sandbox { SANDBOX_REQUIRED, SANDBOX_BEST, SANDBOX_OFF };

enum conf_backend { BACKEND_NFTABLES };

struct conf_packet_filter {
    unsigned line; /* 0: no group given: the packet filter is not touched */
    enum conf_backend backend;
    char table[CONF_NAME];
    bool open_on_exit;              /* on_exit = "open": rules are removed on a clean stop */
    struct conf_strings masquerade; /* zones */
    struct conf_strings helpers;    /* of connection tracking: "ftp", ... */
    struct conf_forward *forwards;
    size_t forward_count;
    uint32_t block_seconds; /* of automatic blocks, and of `posternctl block` without a time; whole seconds */
    uint32_t block_after;   /* hostile events a minute that block a client; 0: never */
};

struct conf_tls {
    int inspect_certificate, inspect_key; /* -1: no inspection */
    int trust;                            /* default: the system's bundle if there is one; -1: none */
    int crl;
    char *keylog;         /* NULL: none */
    uint32_t ticket_life; /* ms until ticket keys are replaced; default 1 h */
    uint32_t mint_rate;   /* leaves that one worker may have signed in a second; default 50 */
};

/* The limits and timeouts of design.md section 5; timeouts in milliseconds. */
struct conf_limits {
    uint32_t sessions, sessions_per_client, header_bytes, header_count, uri_bytes, pipeline, interim;
    uint64_t body_bytes;  /* 0: no limit */
    uint64_t held_bytes;  /* of messages that are held, in each worker */
    uint64_t memory;      /* of all processes; 0: by the machine */
    uint32_t client_rate; /* bytes a second; 0: no limit */
};

struct conf_timeouts {
    uint32_t handshake, header, body, connect, response, keepalive, tunnel_idle, message, drain, stall, upgrade;
};

/* Where keys stand whose values only the machine can refuse. Of a key that is not there: the line of its group, or 1. */
struct conf_lines {
    unsigned user, sandbox, runtime_dir, log_access, admin, resolver_hosts, keylog;
};

struct conf {
    char *file;       /* name for messages: "/etc/postern/postern.conf", or "default.conf" */
    unsigned workers; /* 0: one a core */
    char *user;       /* NULL: not given */
    enum conf_sandbox sandbox;
    char *runtime_dir; /* NULL: not given */
    enum log_level log_level;
    char *log_access;              /* a path, "-" for standard output, or NULL: no access log */
    uint32_t log_interval;         /* ms */
    struct addr admin;             /* family 0: none */
    struct addr *resolver_servers; /* none: the system's resolv.conf */
    size_t resolver_server_count;
    char *resolver_hosts;                             /* path; default /etc/hosts */
    uint32_t resolver_timeout, resolver_negative_ttl; /* ms */
    struct conf_limits limits;
    struct conf_timeouts timeouts;
    struct conf_zone *zones;
    size_t zone_count;
    struct conf_listener *listeners;
    size_t listener_count;
    struct conf_policy *policies;
    size_t policy_count;
    struct conf_packet_filter packet_filter;
    struct conf_tls tls;
    struct conf_tls_file *tls_files;
    size_t tls_file_count;
    struct conf_lines lines;
};

/* Errors and warnings, each a whole line: "file:line: key: message". Sorted by line. */
struct conf_messages {
    size_t error_count, warning_count;
    char **errors, **warnings;
};

/*
 * Reads `text`. Returns a snapshot that the caller frees with conf_free(), or NULL: then there is at least one error. Warnings may
 * come with either. `messages` is filled by this call; the caller frees it with conf_messages_fini().
 */
MUST_CHECK struct conf *conf_parse(const char *file, struct span text, struct conf_messages *messages);
void conf_free(struct conf *conf);
/* Puts "file:line: key: " in front of what `error`, of `size` bytes, says already: the machine refused it. Returns false. */
bool conf_blame(const struct conf *conf, unsigned line, const char *key, char *error, size_t size);
void conf_messages_init(struct conf_messages *messages);
void conf_messages_fini(struct conf_messages *messages);

/* Does any listener preserve the addresses of clients? */
bool conf_preserves_addresses(const struct conf *conf);
/* Are the upstreams of this listener watched: has it more than one, or checks? */
bool conf_watches_upstreams(const struct conf_listener *listener);
#define UPSTREAM_TEXT 280
/* "host:port", "[address]:port" or "https://host:port"; returns out. */
char *conf_upstream_text(const struct conf_upstream *upstream, char out[UPSTREAM_TEXT]);
/* Does a listener speak TLS with its upstreams? */
bool conf_has_upstream_tls(const struct conf *conf);

/* The embedded default: etc/default.conf, compiled in. */
struct span conf_default_text(void);

/* posternd -T: every key with its effective value, in libconfig syntax that conf_parse() reads back to the same snapshot. malloc'd.
 */
MUST_CHECK char *conf_print(const struct conf *conf);

#endif
