/* SPDX-License-Identifier: ISC */
/*
 * The one table of keys. A row is everything that there is to know about a key: where it stands, what it holds, its default
 * and its bounds, the sentence that explains it, or the later capability that it belongs to. Keys of one group stand together,
 * in the order in which they are read and printed; zones stand before listeners and both before policies, because the later
 * name the earlier.
 */
#include "conf/conf_keys.h"

#include <string.h>

#define MAX_SECONDS 86400000 /* a day, in ms */
#define MAX_ZONES 1000
#define MAX_LISTENERS 256
#define MAX_POLICIES 10000
#define MAX_FORWARDS 1000
#define MAX_LIST 1000000 /* items of one list */
#define MAX_PATH 4095
#define MAX_RUNTIME_DIR 90 /* the control socket's path must fit sockaddr_un */
#define MAX_SERVERS 8
#define MAX_MATCHES 256
#define MAX_PATTERN 4096
#define MAX_MEMBERS 64
#define MAX_CERTIFICATES 256 /* of a listener */
#define MAX_PINS 32
#define TLS_1_2 0x0303

static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const modes[] = { "explicit", "transparent", "reverse", NULL };
static const char *const forwardeds[] = { "none", "append", "replace", NULL };
static const char *const actions[] = { "allow", "deny", "drop", NULL };
static const char *const reuses[] = { "session", "never", "shared", NULL };
/* The bits of enum conf_protocol, lowest first. */
static const char *const protocols[] = { "http", "websocket", "tls", "tunnel", "tcp", "udp", "icmp", NULL };
static const char *const intercepts[] = { "tproxy", "redirect", NULL };
static const char *const host_checks[] = { "strict", "resolve", "off", NULL };
static const char *const sandboxes[] = { "required", "best", "off", NULL };
static const char *const backends[] = { "nftables", NULL };
static const char *const exits[] = { "closed", "open", NULL };
static const char *const transports[] = { "tcp", "udp", NULL }; /* from CONF_TCP on */
static const char *const helpers[] = { "ftp", "tftp", "irc", "sip", "pptp", "amanda", "sane", NULL };

static const char *const deflates[] = { "strip", "deny", "pass", "inspect", NULL };
static const char *const violations[] = { "close", "drop_message", "log", NULL };
static const char *const opcodes[] = { "text", "binary", NULL };   /* the bits of enum conf_opcode */
static const char *const senders[] = { "client", "server", NULL }; /* of UP, of DOWN */
static const char *const verdicts[] = { "deny", "allow", NULL };

static const char *const unknown_names[] = { "refuse", "first", NULL };
static const char *const profiles[] = { "modern", "compatible", NULL };
static const char *const versions[] = { "1.2", "1.3", NULL }; /* from TLS_1_2 on */
static const char *const verifies[] = { "none", "optional", "required", NULL };
static const char *const tls_ways[] = { "passthrough", "inspect", NULL };
static const char *const snis[] = { "required", "optional", NULL };
static const char *const echs[] = { "allow", "deny", NULL };

/* clang-format off */
#define GROUP(in_, name_, opens_, line_, help_)                                                                                    \
    { .in = in_, .name = name_, .type = KEY_GROUP, .opens = opens_, .line = line_, .help = help_ }
#define ITEMS(name_, opens_, kind_, member_, count_, struct_, max_, help_)                                                         \
    { .name = name_, .type = KEY_ITEMS, .opens = opens_, .kind = kind_, .offset = offsetof(struct conf, member_),                  \
      .count = offsetof(struct conf, count_), .size = sizeof(struct struct_), .line = offsetof(struct struct_, line),              \
      .max = max_, .help = help_ }
#define NUMBER(in_, name_, type_, member_, standard_, min_, max_, help_)                                                           \
    { .in = in_, .name = name_, .type = type_, .offset = offsetof(struct conf, member_), .standard = standard_, .min = min_,       \
      .max = max_, .help = help_ }
#define SECONDS(in_, name_, member_, ms_, help_) NUMBER(in_, name_, KEY_SECONDS, member_, ms_, 1, MAX_SECONDS, help_)
#define TEXT(in_, name_, type_, struct_, member_, text_, max_, help_)                                                              \
    { .in = in_, .name = name_, .type = type_, .offset = offsetof(struct struct_, member_), .text = text_, .max = max_,            \
      .help = help_ }
#define WORD(in_, name_, struct_, member_, required_, standard_, words_, help_)                                                    \
    { .in = in_, .name = name_, .type = KEY_WORD, .required = required_, .offset = offsetof(struct struct_, member_),              \
      .standard = standard_, .words = words_, .help = help_ }
#define NAME(in_, kind_, struct_, help_)                                                                                           \
    { .in = in_, .name = "name", .type = KEY_NAME, .required = true, .kind = kind_, .offset = offsetof(struct struct_, name),      \
      .help = help_ }
#define LIST(in_, name_, type_, offset_, help_)                                                                                    \
    { .in = in_, .name = name_, .type = type_, .offset = offset_, .min = 1, .max = MAX_LIST, .help = help_ }
#define NAMES(in_, name_, kind_, offset_, help_)                                                                                   \
    { .in = in_, .name = name_, .type = KEY_NAMES, .kind = kind_, .offset = offset_, .min = 1, .max = MAX_LIST, .help = help_ }
#define ZONE(member) offsetof(struct conf_zone, member)
#define LISTENER(member) offsetof(struct conf_listener, member)
#define HEALTH_NUMBER(in_, name_, type_, member_, standard_, min_, max_, help_)                                                    \
    { .in = in_, .name = name_, .type = type_, .offset = LISTENER(health.member_), .standard = standard_, .min = min_,             \
      .max = max_, .help = help_ }
#define POLICY(member) offsetof(struct conf_policy, member)
#define WEBSOCKET(member) offsetof(struct conf_policy, websocket.member)
#define MATCH(member) offsetof(struct conf_ws_match, member)
#define WS_NUMBER(in_, name_, type_, member_, standard_, min_, max_, help_)                                                        \
    { .in = in_, .name = name_, .type = type_, .offset = WEBSOCKET(member_), .standard = standard_, .min = min_, .max = max_,      \
      .help = help_ }
#define WS_TIME(in_, name_, member_, help_)                                                                                        \
    { .in = in_, .name = name_, .type = KEY_TIME, .offset = WEBSOCKET(member_), .min = 1, .max = MAX_SECONDS, .help = help_ }
/* Said of both sides at once: stored with each of them, and printed there. */
#define WS_BOTH(name_, type_, member_, standard_, min_, max_, words_, help_)                                                       \
    { .in = IN_WEBSOCKET, .name = name_, .type = type_, .offset = WEBSOCKET(sides[UP].member_),                                    \
      .twin = WEBSOCKET(sides[DOWN].member_), .standard = standard_, .min = min_, .max = max_, .words = words_, .help = help_ }
#define FILE_(in_, name_, required_, kind_, of_minter_, offset_, help_)                                                            \
    { .in = in_, .name = name_, .type = KEY_FILE, .required = required_, .min = kind_, .max = of_minter_, .offset = offset_,       \
      .help = help_ }
#define FLAG(in_, name_, offset_, words_, help_)                                                                                   \
    { .in = in_, .name = name_, .type = KEY_FLAG, .offset = offset_, .words = words_, .help = help_ }
#define OWN_FILE(name_, kind_, member_, help_)                                                                                     \
    { .in = IN_LISTENER_TLS, .name = name_, .type = KEY_FILE, .unprinted = true, .min = kind_,                                     \
      .offset = LISTENER(tls.own.member_), .help = help_ }
#define PAIR(member) offsetof(struct conf_tls_pair, member)
#define VERSION(in_, offset_, help_)                                                                                               \
    { .in = in_, .name = "min_version", .type = KEY_VERSION, .offset = offset_, .standard = TLS_1_2, .min = TLS_1_2,               \
      .words = versions, .help = help_ }
#define BOTH_OPCODES (CONF_TEXT | CONF_BINARY)
#define MESSAGE_BYTES 16777216
/* What client and server have alike. */
#define WS_SIDE(in_, side_)                                                                                                        \
    { .in = in_, .name = "send", .type = KEY_BOOL, .offset = WEBSOCKET(side_.send), .standard = 1,                                 \
      .help = "Whether this side may send messages at all." },                                                                     \
    { .in = in_, .name = "opcodes", .type = KEY_BITS, .offset = WEBSOCKET(side_.opcodes), .standard = BOTH_OPCODES, .min = 1,      \
      .max = 2, .words = opcodes, .help = "Kinds of messages of this side." },                                                     \
    WS_NUMBER(in_, "message_bytes", KEY_U64, side_.message_bytes, MESSAGE_BYTES, 0, 1ull << 62,                                    \
              "Payload of a message of this side; 0: no limit."),                                                                  \
    WS_NUMBER(in_, "frame_bytes", KEY_U64, side_.frame_bytes, 0, 0, 1ull << 62,                                                    \
              "Payload of a frame of this side; 0: no limit."),                                                                    \
    WS_NUMBER(in_, "fragments", KEY_U32, side_.fragments, 131072, 0, 1000000000,                                                     \
              "Frames of a message of this side; 0: no limit."),                                                                   \
    WS_NUMBER(in_, "control_frames", KEY_U32, side_.control_frames, 100, 0, 1000000000,                                            \
              "Pings and pongs of this side in 10 seconds; 0: no limit."),                                                         \
    WS_NUMBER(in_, "messages_per_second", KEY_U32, side_.messages_per_second, 0, 0, 1000000000,                                    \
              "Messages of this side a second; 0: no limit."),                                                                     \
    WS_NUMBER(in_, "bytes_per_second", KEY_U64, side_.bytes_per_second, 0, 0, 1ull << 62,                                          \
              "Payload of this side a second; 0: no limit."),                                                                      \
    { .in = in_, .name = "burst", .type = KEY_SECONDS, .offset = WEBSOCKET(side_.burst), .standard = 1000, .min = 1,               \
      .max = MAX_SECONDS, .help = "Seconds of a rate that may be saved up." }

const struct conf_key conf_keys[] = {
    NUMBER(IN_TOP, "workers", KEY_U32, workers, 0, 0, 64, "Worker processes; 0: one per core."),
    TEXT(IN_TOP, "user", KEY_TEXT, conf, user, NULL, 31,
         "The user that all processes but the monitor run as, unless USER-worker and so on are there; ignored without root."),
    WORD(IN_TOP, "sandbox", conf, sandbox, false, SANDBOX_BEST, sandboxes,
         "Confinement of all processes but the monitor; \"required\": posternd does not start without all of it."),
    TEXT(IN_TOP, "runtime_dir", KEY_PATH, conf, runtime_dir, NULL, MAX_RUNTIME_DIR, "Folder of the control socket, control.sock."),

    GROUP(IN_TOP, "log", IN_LOG, 0, "What is written down."),
    WORD(IN_LOG, "level", conf, log_level, false, LOG_LEVEL_INFO, log_levels,
         "Least severe messages that are written to standard error."),
    TEXT(IN_LOG, "access", KEY_ACCESS, conf, log_access, NULL, MAX_PATH,
         "File of the access log, \"-\" for standard output; absent: no access log."),
    SECONDS(IN_LOG, "interval", log_interval, 60000, "Seconds between two records of a live stream."),

    GROUP(IN_TOP, "admin", IN_ADMIN, 0, "The HTTP endpoint with /metrics and /healthz; absent: none."),
    { .in = IN_ADMIN, .name = "address", .type = KEY_ADDRESS, .required = true, .offset = offsetof(struct conf, admin),
      .help = "Address and port on which metrics are served." },

    GROUP(IN_TOP, "resolver", IN_RESOLVER, 0, "How names become addresses."),
    { .in = IN_RESOLVER, .name = "servers", .type = KEY_SERVERS, .max = MAX_SERVERS,
      .help = "Addresses of DNS servers, port 53 if none is given; empty: those of the system's resolv.conf." },
    TEXT(IN_RESOLVER, "hosts", KEY_PATH, conf, resolver_hosts, "/etc/hosts", MAX_PATH,
         "Hosts file that is asked before the servers."),
    SECONDS(IN_RESOLVER, "timeout", resolver_timeout, 2000, "Seconds that one try waits for an answer."),
    SECONDS(IN_RESOLVER, "negative_ttl", resolver_negative_ttl, 5000, "Seconds for which a failed look-up is remembered."),

    GROUP(IN_TOP, "limits", IN_LIMITS, 0, "How much is held at once."),
    NUMBER(IN_LIMITS, "sessions", KEY_U32, limits.sessions, 100000, 1, 10000000, "Client connections, over all workers."),
    NUMBER(IN_LIMITS, "sessions_per_client", KEY_U32, limits.sessions_per_client, 256, 1, 10000000,
           "Connections of one client address (IPv4) or one /64 (IPv6)."),
    NUMBER(IN_LIMITS, "header_bytes", KEY_U32, limits.header_bytes, 32768, 1024, 65536, "Bytes of the head of a message."),
    NUMBER(IN_LIMITS, "header_count", KEY_U32, limits.header_count, 100, 1, 1000, "Fields of the head of a message."),
    NUMBER(IN_LIMITS, "uri_bytes", KEY_U32, limits.uri_bytes, 8192, 64, 65536, "Bytes of a request target; at most header_bytes."),
    NUMBER(IN_LIMITS, "body_bytes", KEY_U64, limits.body_bytes, 0, 0, 1ull << 62, "Bytes of the body of a request; 0: no limit."),
    NUMBER(IN_LIMITS, "pipeline", KEY_U32, limits.pipeline, 8, 1, 64, "Requests of a client that may wait for their answers."),
    NUMBER(IN_LIMITS, "interim", KEY_U32, limits.interim, 8, 0, 64, "Interim answers (1xx) to one request."),
    NUMBER(IN_LIMITS, "held_bytes", KEY_U64, limits.held_bytes, 268435456, 65536, 1ull << 62,
           "Bytes of WebSocket messages that wait until they are judged, in each worker."),
    NUMBER(IN_LIMITS, "memory", KEY_U64, limits.memory, 0, 0, 1ull << 62,
           "Bytes that all processes together may take before new work is refused; 0: three quarters of the machine's."),
    NUMBER(IN_LIMITS, "client_rate", KEY_U32, limits.client_rate, 240, 0, 1000000000,
           "Bytes a second, over timeouts.body, of a body of a client or of an answer that waits for it; 0: no limit."),

    GROUP(IN_TOP, "timeouts", IN_TIMEOUTS, 0, "How long is waited, in seconds."),
    SECONDS(IN_TIMEOUTS, "handshake", timeouts.handshake, 10000, "From accept to the first byte of a request or handshake."),
    SECONDS(IN_TIMEOUTS, "header", timeouts.header, 10000, "From the first byte of a head to its last."),
    SECONDS(IN_TIMEOUTS, "body", timeouts.body, 60000, "Without a byte of a body that is not complete."),
    SECONDS(IN_TIMEOUTS, "connect", timeouts.connect, 10000, "For a connection to a server."),
    SECONDS(IN_TIMEOUTS, "response", timeouts.response, 60000, "From the end of a request to the head of its answer."),
    SECONDS(IN_TIMEOUTS, "keepalive", timeouts.keepalive, 75000, "For the next request on an idle connection."),
    SECONDS(IN_TIMEOUTS, "tunnel_idle", timeouts.tunnel_idle, 600000, "Without a byte in either direction of a tunnel or WebSocket."),
    SECONDS(IN_TIMEOUTS, "message", timeouts.message, 60000, "From the first byte of a WebSocket message that is held to its last."),
    SECONDS(IN_TIMEOUTS, "drain", timeouts.drain, 30000, "From the order to end to the end of streams that are still open."),
    SECONDS(IN_TIMEOUTS, "stall", timeouts.stall, 5000, "Without a sign of life of a process; then it is replaced."),
    SECONDS(IN_TIMEOUTS, "upgrade", timeouts.upgrade, 30000, "For a new posternd to get ready, in an upgrade."),

    ITEMS("zones", IN_ZONE, CONF_ZONE, zones, zone_count, conf_zone, MAX_ZONES,
          "Named sets of addresses; the first that fits; in no zone: denied."),
    NAME(IN_ZONE, CONF_ZONE, conf_zone, "Name of the zone; \"self\" is reserved."),
    LIST(IN_ZONE, "interfaces", KEY_INTERFACES, ZONE(interfaces), "Network interfaces; absent: any."),
    LIST(IN_ZONE, "networks", KEY_NETWORKS, ZONE(networks), "Networks, \"10.0.0.0/8\"; absent: any that is not special-purpose."),

    ITEMS("listeners", IN_LISTENER, CONF_LISTENER, listeners, listener_count, conf_listener, MAX_LISTENERS, "Where clients connect."),
    NAME(IN_LISTENER, CONF_LISTENER, conf_listener, "Name of the listener."),
    WORD(IN_LISTENER, "mode", conf_listener, mode, true, MODE_EXPLICIT, modes,
         "explicit: clients know that it is a proxy (HTTP, CONNECT, SOCKS5); transparent: the kernel hands their flows over; "
         "reverse: it stands for the upstreams."),
    { .in = IN_LISTENER, .name = "address", .type = KEY_ADDRESS, .required = true, .offset = LISTENER(address),
      .help = "Address and port, \"127.0.0.1:3128\" or \"[::1]:3128\"." },
    NAMES(IN_LISTENER, "from", CONF_ZONE, LISTENER(from),
         "Zones of the clients that may connect; absent: any. An explicit listener that is not on loopback needs it."),
    LIST(IN_LISTENER, "upstreams", KEY_UPSTREAMS, 0, "Servers of a reverse listener, \"host:port\"."),
    GROUP(IN_LISTENER, "health", IN_HEALTH, LISTENER(health.line), "How upstreams are checked; absent: not at all."),
    TEXT(IN_HEALTH, "path", KEY_TEXT, conf_listener, health.path, NULL, 1023, "Path that is asked for; absent: a connection is enough."),
    HEALTH_NUMBER(IN_HEALTH, "status", KEY_U32, status, 0, 0, 599, "Status of a good answer; 0: any from 200 to 399."),
    HEALTH_NUMBER(IN_HEALTH, "interval", KEY_SECONDS, interval, 2000, 1, MAX_SECONDS, "From one check to the next."),
    HEALTH_NUMBER(IN_HEALTH, "timeout", KEY_SECONDS, timeout, 2000, 1, MAX_SECONDS, "For all of a check."),
    HEALTH_NUMBER(IN_HEALTH, "rise", KEY_U32, rise, 2, 1, 1000, "Good checks in a row after which it is up."),
    HEALTH_NUMBER(IN_HEALTH, "fall", KEY_U32, fall, 3, 1, 1000, "Bad checks in a row after which it is down."),
    WORD(IN_LISTENER, "forwarded", conf_listener, forwarded, false, FORWARDED_NONE, forwardeds,
         "The Forwarded field (RFC 7239) towards servers: none, appended to the client's, or replacing it."),
    { .in = IN_LISTENER, .name = "via", .type = KEY_VIA, .min = 1, .max = 63,
      .help = "Pseudonym in the Via field (RFC 9110); \"off\": no Via field; absent: the instance's own." },
    { .in = IN_LISTENER, .name = "intercept", .type = KEY_WORD, .transparent = true, .offset = LISTENER(intercept),
      .words = intercepts, .help = "How the kernel hands flows over to a transparent listener, which must say it." },
    { .in = IN_LISTENER, .name = "ports", .type = KEY_PORTS, .transparent = true, .offset = LISTENER(ports), .min = 1,
      .max = MAX_LIST, .help = "Ports of servers that a transparent listener intercepts; it must name them." },
    { .in = IN_LISTENER, .name = "host_check", .type = KEY_WORD, .transparent = true, .offset = LISTENER(host_check),
      .words = host_checks,
      .help = "Host and SNI must resolve to what the client dialled, are dialled instead, or are only the client's word." },
    { .in = IN_LISTENER, .name = "preserve_client_address", .type = KEY_BOOL, .transparent = true,
      .offset = LISTENER(preserve_client_address), .help = "Whether servers see the client's address." },
    GROUP(IN_LISTENER, "tls", IN_LISTENER_TLS, LISTENER(tls.line), "TLS is ended here; absent: in clear."),
    OWN_FILE("certificate", TLS_FILE_CERTIFICATE, certificate, "File with the certificate and its chain (PEM)."),
    OWN_FILE("key", TLS_FILE_KEY, key, "File with the key of the certificate (PEM)."),
    OWN_FILE("ocsp", TLS_FILE_OCSP, ocsp, "File with the OCSP response to staple (DER)."),
    { .in = IN_LISTENER_TLS, .name = "certificates", .type = KEY_ITEMS, .opens = IN_CERTIFICATE, .kind = CONF_KINDS,
      .max = MAX_CERTIFICATES, .offset = LISTENER(tls.pairs), .count = LISTENER(tls.pair_count),
      .size = sizeof(struct conf_tls_pair), .line = PAIR(line),
      .help = "Several certificates, instead of certificate and key: chosen by the name that the client asks for." },
    FILE_(IN_CERTIFICATE, "certificate", true, TLS_FILE_CERTIFICATE, 0, PAIR(certificate), "File with a certificate (PEM)."),
    FILE_(IN_CERTIFICATE, "key", true, TLS_FILE_KEY, 0, PAIR(key), "File with its key (PEM)."),
    FILE_(IN_CERTIFICATE, "ocsp", false, TLS_FILE_OCSP, 0, PAIR(ocsp), "File with the OCSP response to staple (DER)."),
    WORD(IN_LISTENER_TLS, "unknown_name", conf_listener, tls.unknown_name, false, UNKNOWN_NAME_REFUSE, unknown_names,
         "A client that names no server, or one that no certificate fits, is refused or gets the first certificate."),
    WORD(IN_LISTENER_TLS, "profile", conf_listener, tls.profile, false, PROFILE_MODERN, profiles,
         "Cipher suites of TLS 1.2: those with forward secrecy and authenticated encryption alone, or older ones too."),
    VERSION(IN_LISTENER_TLS, LISTENER(tls.min_version), "The oldest version of TLS that is spoken."),
    WORD(IN_LISTENER_TLS, "client_certificates", conf_listener, tls.verify, false, VERIFY_NONE, verifies,
         "Certificates of clients: not asked for, verified if one comes, or needed."),
    FILE_(IN_LISTENER_TLS, "ca", false, TLS_FILE_TRUST, 0, LISTENER(tls.ca), "CAs that clients' certificates are verified by."),
    FILE_(IN_LISTENER_TLS, "crl", false, TLS_FILE_CRL, 0, LISTENER(tls.crl), "Revoked certificates of clients."),
    { .in = IN_LISTENER_TLS, .name = "tickets", .type = KEY_BOOL, .offset = LISTENER(tls.tickets), .standard = 1,
      .help = "Whether clients may resume sessions." },

    ITEMS("policies", IN_POLICY, CONF_POLICY, policies, policy_count, conf_policy, MAX_POLICIES,
          "The first that matches decides; no match: denied."),
    NAME(IN_POLICY, CONF_POLICY, conf_policy, "Name of the policy."),
    NAMES(IN_POLICY, "from", CONF_ZONE, POLICY(from), "Zones of the client."),
    NAMES(IN_POLICY, "to", CONF_ZONE, POLICY(to), "Zones of the server; upstreams of reverse listeners are exempt."),
    LIST(IN_POLICY, "clients", KEY_NETWORKS, POLICY(clients), "Networks of the client."),
    NAMES(IN_POLICY, "listeners", CONF_LISTENER, POLICY(listeners), "Listeners that the client came in by."),
    LIST(IN_POLICY, "hosts", KEY_HOSTS, POLICY(hosts), "Names of servers; \"*.x\": any name under x and not x; also addresses."),
    TEXT(IN_POLICY, "hosts_file", KEY_PATH, conf_policy, hosts_file, NULL, MAX_PATH,
         "File with a name a line; each means the name and all names under it."),
    LIST(IN_POLICY, "networks", KEY_NETWORKS, POLICY(networks), "Networks of the server."),
    LIST(IN_POLICY, "ports", KEY_PORTS, POLICY(ports), "Ports of the server: numbers, or \"8000-8100\"."),
    LIST(IN_POLICY, "methods", KEY_METHODS, POLICY(methods), "Request methods."),
    LIST(IN_POLICY, "paths", KEY_PATTERNS, POLICY(paths), "Normalised paths; \"*\" matches any run of characters."),
    LIST(IN_POLICY, "headers", KEY_HEADERS, 0, "Fields of the request: \"Name: pattern\", or \"Name\" alone: it is there."),
    { .in = IN_POLICY, .name = "protocols", .type = KEY_PROTOCOLS, .standard = CONF_HTTP | CONF_WEBSOCKET | CONF_TLS,
      .min = 1, .max = 7, .words = protocols, .help = "What the flow turned out to be; absent: http, websocket and tls." },
    WORD(IN_POLICY, "action", conf_policy, action, true, ACTION_DENY, actions, "allow, deny (answers), drop (RST, no byte)."),
    WORD(IN_POLICY, "upstream_reuse", conf_policy, upstream_reuse, false, REUSE_SESSION, reuses,
         "Who shares a connection to a server: requests of one session, nobody, or sessions of one policy."),
    FLAG(IN_POLICY, "tls", POLICY(inspect), tls_ways,
         "passthrough: TLS passes unread if protocols name tls; inspect: it is decrypted, and what is inside is judged."),
    FLAG(IN_POLICY, "sni", POLICY(sni_optional), snis, "Whether TLS must name the server to pass."),
    FLAG(IN_POLICY, "ech", POLICY(ech_denied), echs, "A ClientHello with an encrypted one inside: its outer name is judged, or denied."),
    LIST(IN_POLICY, "tls_fingerprints", KEY_FINGERPRINTS, POLICY(tls_fingerprints), "JA4 of the client's ClientHello; patterns."),
    LIST(IN_POLICY, "client_certificates", KEY_CERTIFICATES, POLICY(client_certificates),
         "Who the certificate of the client names: \"DNS:x\", \"IP:x\", \"email:x\", \"URI:x\", or its subject; patterns."),

    GROUP(IN_POLICY, "upstream_tls", IN_UPSTREAM_TLS, POLICY(upstream_tls.line), "TLS towards the server."),
    FILE_(IN_UPSTREAM_TLS, "trust", false, TLS_FILE_TRUST, 0, POLICY(upstream_tls.trust),
          "CAs that servers' certificates are verified by; absent: tls.trust."),
    FILE_(IN_UPSTREAM_TLS, "crl", false, TLS_FILE_CRL, 0, POLICY(upstream_tls.crl), "Revoked certificates; absent: tls.crl."),
    { .in = IN_UPSTREAM_TLS, .name = "verify", .type = KEY_BOOL, .offset = POLICY(upstream_tls.verify), .standard = 1,
      .help = "Whether certificates of servers are verified." },
    { .in = IN_UPSTREAM_TLS, .name = "pin", .type = KEY_PINS, .offset = POLICY(upstream_tls), .min = 1, .max = MAX_PINS,
      .help = "Public keys one of which must be in the chain: \"sha256/BASE64\" of SubjectPublicKeyInfo." },
    FILE_(IN_UPSTREAM_TLS, "certificate", false, TLS_FILE_CERTIFICATE, 0, POLICY(upstream_tls.certificate),
          "Our certificate for servers that want one (PEM)."),
    FILE_(IN_UPSTREAM_TLS, "key", false, TLS_FILE_KEY, 0, POLICY(upstream_tls.key), "Its key (PEM)."),
    VERSION(IN_UPSTREAM_TLS, POLICY(upstream_tls.min_version), "The oldest version of TLS that is spoken."),
    TEXT(IN_UPSTREAM_TLS, "server_name", KEY_HOST, conf_policy, upstream_tls.server_name, NULL, 253,
         "Name that is asked for and verified, instead of the target's."),

    GROUP(IN_POLICY, "websocket", IN_WEBSOCKET, POLICY(websocket.line), "What WebSockets must be like beyond RFC 6455."),
    LIST(IN_WEBSOCKET, "origins", KEY_ORIGINS, WEBSOCKET(origins), "Origins that may open one; absent: any."),
    { .in = IN_WEBSOCKET, .name = "origin_required", .type = KEY_BOOL, .offset = WEBSOCKET(origin_required), .standard = 1,
      .help = "With origins: whether a handshake without an Origin field is denied." },
    LIST(IN_WEBSOCKET, "subprotocols", KEY_TOKENS, WEBSOCKET(subprotocols), "Subprotocols that are allowed; absent: any."),
    WORD(IN_WEBSOCKET, "deflate", conf_policy, websocket.deflate, false, DEFLATE_STRIP, deflates,
         "permessage-deflate: its offer is removed, refused, passed on with the payload unread, or passed on and the payload read."),
    WS_NUMBER(IN_WEBSOCKET, "inflate_ratio", KEY_U32, inflate_ratio, 100, 0, 2000,
              "With deflate = \"inspect\": inflated bytes for each compressed byte of a message; 0: no limit."),
    WS_BOTH("opcodes", KEY_BITS, opcodes, BOTH_OPCODES, 1, 2, opcodes, "Kinds of messages."),
    WS_BOTH("message_bytes", KEY_U64, message_bytes, MESSAGE_BYTES, 0, 1ull << 62, NULL, "Payload of a message; 0: no limit."),
    WS_BOTH("frame_bytes", KEY_U64, frame_bytes, 0, 0, 1ull << 62, NULL, "Payload of a frame; 0: no limit."),
    WS_BOTH("fragments", KEY_U32, fragments, 131072, 0, 1000000000, NULL, "Frames of a message; 0: no limit."),
    WS_BOTH("control_frames", KEY_U32, control_frames, 100, 0, 1000000000, NULL, "Pings and pongs in 10 seconds; 0: no limit."),
    WS_TIME(IN_WEBSOCKET, "ping_interval", ping_interval,
            "Seconds of silence after which a side is pinged, and for which an answer is waited; absent: no pings."),
    WS_TIME(IN_WEBSOCKET, "idle", idle, "Seconds without a message in either direction; absent: timeouts.tunnel_idle."),
    WS_TIME(IN_WEBSOCKET, "age", age, "Seconds that it may be open; absent: no limit."),
    WS_NUMBER(IN_WEBSOCKET, "streams", KEY_U32, streams, 0, 0, 10000000, "WebSockets of this policy at once; 0: no limit."),
    WS_NUMBER(IN_WEBSOCKET, "streams_per_client", KEY_U32, streams_per_client, 0, 0, 10000000,
              "WebSockets of this policy and one client at once; 0: no limit."),
    { .in = IN_WEBSOCKET, .name = "tunnels", .type = KEY_BOOL, .offset = WEBSOCKET(tunnels), .standard = 1,
      .help = "Whether binary messages may begin like TLS, SSH, HTTP or SOCKS." },
    WORD(IN_WEBSOCKET, "on_violation", conf_policy, websocket.on_violation, false, VIOLATION_CLOSE, violations,
         "What a message against these rules leads to."),
    GROUP(IN_WEBSOCKET, "client", IN_WS_CLIENT, 0, "What the client may say; before what is said of both."),
    WS_SIDE(IN_WS_CLIENT, sides[UP]),
    GROUP(IN_WEBSOCKET, "server", IN_WS_SERVER, 0, "The same of the server, and its push contract."),
    WS_SIDE(IN_WS_SERVER, sides[DOWN]),
    { .in = IN_WS_SERVER, .name = "first", .type = KEY_BOOL, .offset = WEBSOCKET(server_first), .standard = 1,
      .help = "Whether the server may speak before the client did." },
    WS_NUMBER(IN_WS_SERVER, "messages_per_client_message", KEY_U32, messages_per_client_message, 0, 0, 1000000000,
              "Messages of the server after each of the client; 0: no limit."),
    WS_NUMBER(IN_WS_SERVER, "bytes_per_client_byte", KEY_U32, bytes_per_client_byte, 0, 0, 1000000000,
              "Payload of the server after each message of the client, for each byte of that; 0: no limit."),
    WS_TIME(IN_WS_SERVER, "quiet_after", quiet_after,
            "Seconds after a message of the client for which the server may speak; absent: no limit."),
    { .in = IN_WEBSOCKET, .name = "match", .type = KEY_ITEMS, .opens = IN_WS_MATCH, .kind = CONF_KINDS, .max = MAX_MATCHES,
      .offset = WEBSOCKET(matches), .count = WEBSOCKET(match_count), .size = sizeof(struct conf_ws_match), .line = MATCH(line),
      .help = "Rules about the content of messages: the first that fits decides; none fits: allowed." },
    NAME(IN_WS_MATCH, CONF_KINDS, conf_ws_match, "Name of the rule."),
    { .in = IN_WS_MATCH, .name = "from", .type = KEY_SENDERS, .standard = 3, .min = 1, .max = 2, .words = senders,
      .help = "Whose messages: client, server or both." },
    { .in = IN_WS_MATCH, .name = "pattern", .type = KEY_REGEX, .offset = MATCH(pattern), .max = MAX_PATTERN,
      .help = "Regular expression (PCRE2); the rule fits text messages in which it is found." },
    { .in = IN_WS_MATCH, .name = "action", .type = KEY_FLAG, .offset = MATCH(allow), .words = verdicts,
      .help = "deny or allow what the pattern fits." },
    { .in = IN_WS_MATCH, .name = "json", .type = KEY_GROUP, .opens = IN_WS_JSON, .given = MATCH(json),
      .help = "Messages that are not JSON like this are denied." },
    { .in = IN_WS_JSON, .name = "bytes", .type = KEY_U64, .offset = MATCH(json_bytes), .max = 1ull << 62,
      .help = "Bytes of the text; 0: no limit." },
    { .in = IN_WS_JSON, .name = "depth", .type = KEY_U32, .offset = MATCH(json_depth), .standard = 32, .min = 1, .max = 1000,
      .help = "How deep arrays and objects nest." },
    { .in = IN_WS_JSON, .name = "required", .type = KEY_MEMBERS, .offset = MATCH(required), .max = MAX_MEMBERS,
      .help = "Members of the outermost object that must be there, \"a\" or \"a.b\"." },
    { .in = IN_WS_JSON, .name = "forbidden", .type = KEY_MEMBERS, .offset = MATCH(forbidden), .max = MAX_MEMBERS,
      .help = "Members that must not be there." },

    GROUP(IN_TOP, "packet_filter", IN_FILTER, offsetof(struct conf, packet_filter.line),
          "The kernel's packet filter, made from zones and policies; absent: it is not touched."),
    WORD(IN_FILTER, "backend", conf, packet_filter.backend, true, BACKEND_NFTABLES, backends, "What programs the packet filter."),
    { .in = IN_FILTER, .name = "table", .type = KEY_NAME, .offset = offsetof(struct conf, packet_filter.table), .text = "postern",
      .kind = CONF_KINDS, .help = "Name of the table, of the family inet; others are never touched." },
    { .in = IN_FILTER, .name = "on_exit", .type = KEY_FLAG, .offset = offsetof(struct conf, packet_filter.open_on_exit),
      .words = exits, .help = "closed: the rules stay, whatever ends; open: a clean stop removes them." },
    { .in = IN_FILTER, .name = "masquerade", .type = KEY_NAMES, .kind = CONF_ZONE, .max = MAX_LIST,
      .offset = offsetof(struct conf, packet_filter.masquerade), .help = "Zones towards which flows get this machine's address." },
    { .in = IN_FILTER, .name = "helpers", .type = KEY_WORDS, .words = helpers, .max = MAX_LIST,
      .offset = offsetof(struct conf, packet_filter.helpers), .help = "Helpers of connection tracking." },
    NUMBER(IN_FILTER, "block_seconds", KEY_U32, packet_filter.block_seconds, 600, 1, 31536000,
           "Seconds for which a client is blocked if no other time is given."),
    NUMBER(IN_FILTER, "block_after", KEY_U32, packet_filter.block_after, 0, 0, 1000000,
           "Hostile events a minute that block a client; 0: none does."),
    { .in = IN_FILTER, .name = "forwards", .type = KEY_ITEMS, .opens = IN_FORWARD, .kind = CONF_KINDS, .max = MAX_FORWARDS,
      .offset = offsetof(struct conf, packet_filter.forwards), .count = offsetof(struct conf, packet_filter.forward_count),
      .size = sizeof(struct conf_forward), .line = offsetof(struct conf_forward, line),
      .help = "Ports of this machine that are forwarded to servers behind it." },
    { .in = IN_FORWARD, .name = "from", .type = KEY_NAMES, .required = true, .kind = CONF_ZONE, .min = 1, .max = MAX_LIST,
      .offset = offsetof(struct conf_forward, from), .help = "Zones of the clients." },
    { .in = IN_FORWARD, .name = "protocol", .type = KEY_BIT, .required = true, .min = CONF_TCP, .words = transports,
      .offset = offsetof(struct conf_forward, protocol), .help = "tcp or udp." },
    { .in = IN_FORWARD, .name = "port", .type = KEY_U16, .required = true, .min = 1, .max = 65535,
      .offset = offsetof(struct conf_forward, port), .help = "The port of this machine." },
    { .in = IN_FORWARD, .name = "to", .type = KEY_ADDRESS, .required = true, .offset = offsetof(struct conf_forward, to),
      .help = "Address and port of the server." },

    GROUP(IN_TOP, "tls", IN_TLS, 0, "Inspection, trust in servers, and what all listeners with TLS share."),
    FILE_(IN_TLS, "inspect_certificate", false, TLS_FILE_CERTIFICATE, 0, offsetof(struct conf, tls.inspect_certificate),
          "Certificate of the CA that signs certificates towards inspected clients (PEM)."),
    FILE_(IN_TLS, "inspect_key", false, TLS_FILE_KEY, 1, offsetof(struct conf, tls.inspect_key), "Its key (PEM)."),
    FILE_(IN_TLS, "trust", false, TLS_FILE_TRUST, 0, offsetof(struct conf, tls.trust),
          "CAs that servers' certificates are verified by; absent: the system's."),
    FILE_(IN_TLS, "crl", false, TLS_FILE_CRL, 0, offsetof(struct conf, tls.crl), "Revoked certificates of servers."),
    TEXT(IN_TLS, "keylog", KEY_PATH, conf, tls.keylog, NULL, MAX_PATH, "File that gets the secrets of all sessions; only to debug."),
    SECONDS(IN_TLS, "ticket_seconds", tls.ticket_life, 3600000, "Seconds until the keys of session tickets are replaced."),
    NUMBER(IN_TLS, "mint_rate", KEY_U32, tls.mint_rate, 50, 1, 100000,
           "Certificates that one worker may have signed in a second."),
};
/* clang-format on */

const size_t conf_key_count = sizeof(conf_keys) / sizeof(conf_keys[0]);

const struct conf_key *conf_key_find(enum conf_group in, const char *name)
{
    for (size_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].in == in && strcmp(conf_keys[i].name, name) == 0)
            return &conf_keys[i];
    return NULL;
}
