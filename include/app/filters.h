/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_FILTERS_H
#define POSTERN_APP_FILTERS_H

#include "base/table.h"

/*
 * What `posternctl sessions` and `kill` select by: field=value, field!=value, field~part. All filters have to fit. Words are
 * compared without case. `client`, `server`, `upstream`, `destination` and `translated` take an address or a network; `mark` takes
 * hexadecimal numbers too; `~` looks for a part of the text.
 */
#define FILTERS_MAX 16
#define FILTER_VALUE 256

enum filter_field {
    FIELD_ID,
    FIELD_WORKER,
    FIELD_STATE,
    FIELD_PHASE,
    FIELD_MODE,
    FIELD_LISTENER,
    FIELD_PROTOCOL,
    FIELD_CLIENT,
    FIELD_DESTINATION,
    FIELD_UPSTREAM,
    FIELD_SERVER,
    FIELD_ZONE_IN,
    FIELD_ZONE_OUT,
    FIELD_INTERFACE_IN,
    FIELD_INTERFACE_OUT,
    FIELD_HOST,
    FIELD_METHOD,
    FIELD_PATH,
    FIELD_POLICY,
    FIELD_STATUS,
    FIELD_GENERATION,
    FIELD_CONNTRACK,
    FIELD_CONNTRACK_STATE,
    FIELD_TRANSLATED,
    FIELD_MARK,
    FIELD_TLS, /* this one and those behind it: of either side that speaks TLS */
    FIELD_TLS_VERSION,
    FIELD_SNI,
    FIELD_JA4,
    FIELD_TLS_SUBJECT,
    FIELD_COUNT
};
enum filter_test { FILTER_IS, FILTER_IS_NOT, FILTER_CONTAINS };

struct filter {
    enum filter_field field;
    enum filter_test test;
    char value[FILTER_VALUE];
    bool has_network; /* the value is an address or a network: compared as such */
    struct network network;
};

struct filters {
    size_t count;
    struct filter items[FILTERS_MAX];
};

/* Adds one; NULL, or what is wrong with it. */
MUST_CHECK const char *filters_add(struct filters *set, struct span text);
/* Names come from the row's own shard; `tls` is as row_read() fills it. */
bool filters_fit(const struct filters *set, const struct row *row, const struct tls_facts *tls, const struct shard *shard);

#endif
