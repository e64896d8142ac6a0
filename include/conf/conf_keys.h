/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_KEYS_H
#define POSTERN_CONF_CONF_KEYS_H

#include "conf/conf.h"

/*
 * The one table of keys: reader, printer, "did you mean" and documentation go by it. What a type accepts is in conf_values.c
 * and conf_lists.c, how it is printed in conf_print.c.
 */
enum conf_key_type {
    KEY_GROUP,     /* { } */
    KEY_ITEMS,     /* ( { }, { } ) */
    KEY_U16,       /* uint16_t */
    KEY_U32,       /* uint32_t */
    KEY_U64,       /* uint64_t */
    KEY_SECONDS,   /* uint32_t, in milliseconds */
    KEY_TIME,      /* the same, without a default: 0 if absent */
    KEY_BOOL,      /* bool */
    KEY_WORD,      /* an enum whose values are the indices of the words */
    KEY_FLAG,      /* bool: one of two words, and the second is true */
    KEY_BIT,       /* unsigned, the bit of a word; min: that of the first word, and the others follow */
    KEY_BITS,      /* unsigned, the bits of a list of words, lowest first */
    KEY_TEXT,      /* char *; max: its length */
    KEY_PATH,      /* char *, an absolute path */
    KEY_ACCESS,    /* char *, an absolute path or "-" */
    KEY_REGEX,     /* char *, a regular expression; max: its length */
    KEY_NAME,      /* char[CONF_NAME] */
    KEY_VIA,       /* struct conf_listener */
    KEY_ADDRESS,   /* struct addr, with port */
    KEY_SERVERS,   /* struct conf: addresses of resolvers */
    KEY_UPSTREAMS, /* struct conf_listener */
    KEY_NETWORKS,  /* struct conf_networks */
    KEY_PORTS,     /* struct conf_ports */
    KEY_HEADERS,   /* struct conf_policy */
    KEY_PROTOCOLS, /* struct conf_policy */
    KEY_SENDERS,   /* struct conf_ws_match */
    KEY_VERSION,   /* uint16_t, a version of TLS; standard and min: that of the first word, and the others follow */
    KEY_FILE,      /* int, index in conf->tls_files, or -1; min: enum conf_tls_kind, max: 1 if it is the minter's */
    KEY_HOST,      /* char *, a DNS name; NULL if absent */
    KEY_PINS,      /* struct conf_upstream_tls */
    KEY_NAMES,     /* of items of a kind: struct conf_strings, as all that follow */
    KEY_INTERFACES,
    KEY_HOSTS,
    KEY_METHODS,
    KEY_PATTERNS,
    KEY_ORIGINS,
    KEY_TOKENS,
    KEY_MEMBERS,
    KEY_FINGERPRINTS,
    KEY_CERTIFICATES,
    KEY_WORDS, /* each once */
    KEY_TYPE_COUNT
};

/* Where a key may stand. */
enum conf_group {
    IN_TOP,
    IN_LOG,
    IN_ADMIN,
    IN_RESOLVER,
    IN_LIMITS,
    IN_TIMEOUTS,
    IN_ZONE,
    IN_LISTENER,
    IN_POLICY,
    IN_WEBSOCKET,
    IN_WS_CLIENT,
    IN_WS_SERVER,
    IN_WS_MATCH,
    IN_WS_JSON,
    IN_FILTER,
    IN_FORWARD,
    IN_LISTENER_TLS,
    IN_HEALTH,
    IN_CERTIFICATE,
    IN_UPSTREAM_TLS,
    IN_TLS
};

/* What has names that others refer to. CONF_KINDS: nothing refers to it. */
enum conf_kind { CONF_ZONE, CONF_LISTENER, CONF_POLICY, CONF_KINDS };

struct conf_key {
    enum conf_group in; /* where it stands */
    const char *name;
    enum conf_key_type type;
    bool required;
    bool transparent; /* listeners: only transparent ones have it; others neither may give it nor print it */
    bool unprinted;   /* other keys show its value */
    size_t offset;    /* of the value in its struct: conf_zone, conf_listener, conf_policy and conf_ws_match for items, else conf.
                         The types above that name a struct take that struct itself: 0 */
    size_t twin;      /* of a second place that the value is stored at, if not 0. Such a key is not printed: other keys show both */
    size_t given;     /* groups: of a bool that says whether it is there, if not 0 */
    uint64_t standard; /* default of numbers, seconds (ms), words (index), flags (index), protocols, bits and senders (bits) */
    const char *text;  /* default of texts and names; NULL: none */
    uint64_t min, max; /* of numbers and seconds (ms); of the length of texts; of the number of list items */
    const char *const *words; /* that stand for values, NULL behind the last */
    enum conf_group opens;    /* groups and items: where their keys stand */
    enum conf_kind kind;      /* items; lists of names that refer to items */
    size_t count, size, line; /* items: offset of their number, size of one, offset of its line; groups: offset of the line or 0 */
    const char *help;
};

extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;

/* The key of this name in this group; NULL if there is none. */
const struct conf_key *conf_key_find(enum conf_group in, const char *name);

/* A pin as it is written, "sha256/BASE64"; `out` holds CONF_PIN bytes and is returned. */
#define CONF_PIN 52
const char *conf_pin_text(const uint8_t pin[32], char *out);

#endif
