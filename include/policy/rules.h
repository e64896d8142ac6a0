/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_POLICY_RULES_H
#define POSTERN_POLICY_RULES_H

#include "policy/hostset.h"
#include "policy/zones.h"
#include "proto/h1.h"
#include "proto/ws_handshake.h"

/*
 * Decisions. A stream is judged in stages, each knowing more than the one before; a condition is true, false or unknown. Policies
 * are walked in order: all conditions true, the policy decides; one false, it is skipped; some unknown, it is remembered if it
 * allows and skipped if it denies. A stage is granted if a decided or remembered allow exists. At the last stage nothing is
 * unknown: what was never seen (a path inside TLS) is false. Pure: facts in, verdict out.
 *
 * The protocol is the one unknown that is not taken for just anything: a flow can only turn out to be http, websocket, tls or
 * tunnel. A stage before that is known is granted if it would be for one of them, so a policy that denies a host for all protocols
 * that others allow denies it before its name is resolved.
 *
 * A condition with a list is true if one of its items fits; `headers` alone is true if each of its items fits some field.
 */
enum stage { STAGE_FLOW, STAGE_TARGET, STAGE_ADDRESS, STAGE_BYTES, STAGE_EXCHANGE, STAGE_UPGRADE, STAGE_COUNT };
enum condition {
    COND_LISTENERS,
    COND_FROM,
    COND_CLIENTS,
    COND_HOSTS,
    COND_HOSTS_FILE,
    COND_PORTS,
    COND_TO,
    COND_NETWORKS,
    COND_PROTOCOLS,
    COND_METHODS,
    COND_PATHS,
    COND_HEADERS,
    COND_TLS_FINGERPRINTS,
    COND_CLIENT_CERTIFICATES,
    COND_COUNT
};
const char *stage_name(enum stage s);
const char *condition_name(enum condition c); /* the key of the configuration */

/* Which facts are known: a set of these bits. */
enum known { KNOWN_FLOW = 1, KNOWN_TARGET = 2, KNOWN_ADDRESS = 4, KNOWN_PROTOCOL = 8, KNOWN_REQUEST = 16, KNOWN_HELLO = 32 };

/* The certificate that a client showed to a TLS listener. */
#define CERTIFICATE_NAMES 16
#define CERTIFICATE_NAME 512 /* bytes of one */
struct client_certificate {
    struct span subject;                  /* RFC 2253 */
    struct span names[CERTIFICATE_NAMES]; /* "DNS:x", "IP:x", "email:x", "URI:x" */
    size_t name_count;
};

struct facts {
    unsigned known;
    /* KNOWN_FLOW */
    int listener; /* index in conf->listeners; -1: none, the kernel forwards the flow */
    int zone_in;  /* index in conf->zones, zones_self(), or ZONE_NONE */
    struct addr client;
    const struct client_certificate *certificate; /* NULL: it showed none: conditions on it are false */
    /* KNOWN_HELLO: the client's ClientHello was seen, or there is none to come */
    struct span ja4; /* empty: no TLS */
    /* KNOWN_TARGET */
    const struct host *host; /* NULL: the target has no name (then host conditions are false) */
    uint16_t port;           /* of the server; on reverse listeners the upstream's */
    bool twin;               /* goes around a listener (policy/packet.h): a policy that allows all ports does not fit */
    /* KNOWN_ADDRESS */
    struct addr server;
    int zone_out;
    bool operators_word; /* upstream of a reverse listener: `to` is true, special-purpose addresses pass, no zone is needed */
    /* KNOWN_PROTOCOL */
    unsigned protocol; /* one bit of enum conf_protocol */
    /* KNOWN_REQUEST */
    struct span method, path; /* the path normalised */
    const struct h1_head *head;
};

struct verdict {
    bool granted;
    bool remembered;    /* granted by a policy some of whose conditions are unknown yet */
    bool drop;          /* denied with action = "drop": RST, no byte */
    int policy;         /* index in conf->policies of the one that decided or is remembered first; -1: none */
    enum reason reason; /* R_NONE if granted; R_POLICY_DENIED, R_NO_POLICY, R_ZONE_UNKNOWN or R_ADDRESS_PRIVATE */
};

struct rules;

/*
 * Compiles the policies. `files` has one entry a policy: the compiled hosts file of those that name one (memory owned by the caller
 * and longer-lived than the rules). NULL: no memory.
 */
MUST_CHECK struct rules *rules_new(const struct conf *conf, const struct hostset *files);
void rules_free(struct rules *rules);

/* May clients of this zone (self too) come in by this listener, as far as its `from` goes? */
bool rules_admit(const struct rules *rules, int listener, int zone_in);
/* Is this item of `hosts` an address, with or without brackets? `out` is it with all its bits. */
bool rules_host_is_literal(struct span host, struct network *out);

/* The configuration, and its zones compiled. */
const struct conf *rules_conf(const struct rules *rules);
const struct zones *rules_zones(const struct rules *rules);

/*
 * Judges. TLS (protocol CONF_TLS) fits a policy with tls = "inspect" that allows http or websocket: what is inside is not known
 * yet, so it is remembered, even if `last`: nothing of it passes unread. Whoever is granted TLS looks whether
 * conf->policies[policy].inspect. `last`: nothing more will be known. A client in no zone is R_ZONE_UNKNOWN as soon as KNOWN_FLOW,
 * a server in no zone once KNOWN_ADDRESS (R_ADDRESS_PRIVATE if it is special-purpose), unless operators_word. A listener's own
 * `from` is part of this.
 */
struct verdict rules_judge(const struct rules *rules, const struct facts *facts, bool last);

/*
 * The allowing policies that came closest, nearest first (fewest false conditions, then order): index and the first false
 * condition. Those with no false condition are not among them: they did not miss. Returns how many were written, at most `max`. For
 * `explain`; slower than judging.
 */
struct rules_near {
    int policy;
    enum condition condition;
    unsigned false_count;
    uint32_t false_set; /* bit a condition */
};
size_t rules_near(const struct rules *rules, const struct facts *facts, bool last, struct rules_near *out, size_t max);

/*
 * What the policy that allowed a WebSocket says of its handshake: R_NONE, R_ORIGIN_DENIED, R_SUBPROTOCOL_DENIED (subprotocols were
 * offered and none is allowed) or R_EXTENSION_DENIED (deflate = "deny" and permessage-deflate was offered, acceptably or not).
 * offer->protocols is reduced to the allowed ones, in the client's order, and offer->deflate to what may be passed on.
 */
MUST_CHECK enum reason rules_websocket(const struct conf_policy *policy, const struct h1_head *head, struct ws_offer *offer);

#endif
