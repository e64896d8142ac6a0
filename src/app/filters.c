/* SPDX-License-Identifier: ISC */
/*
 * Filters over rows. A field of a row is turned into the text that the row is shown with and that is compared, so that what is seen
 * in a list can be filtered for; only addresses are compared as addresses.
 */
#include "app/filters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const field_names[FIELD_COUNT] = {
    "id",          "worker",   "state",       "phase",   "mode",       "listener",     "protocol",        "client",
    "destination", "upstream", "server",      "zone_in", "zone_out",   "interface_in", "interface_out",   "host",
    "method",      "path",     "policy",      "status",  "generation", "conntrack",    "conntrack_state", "translated",
    "mark",        "tls",      "tls_version", "sni",     "ja4",        "tls_subject"
};

static bool is_address(enum filter_field field)
{
    return field == FIELD_CLIENT || field == FIELD_DESTINATION || field == FIELD_UPSTREAM || field == FIELD_SERVER ||
           field == FIELD_TRANSLATED;
}

static bool find_field(struct span name, enum filter_field *out)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (!span_ieq(span_str(field_names[i]), name))
            continue;
        *out = (enum filter_field)i;
        return true;
    }
    return false;
}

/* Splits at the first operator: where the value begins, 0 if there is none. */
static size_t find_test(struct span text, size_t *name_len, enum filter_test *test)
{
    for (size_t i = 0; i < text.len; i++) {
        *name_len = i;
        *test = text.at[i] == '~' ? FILTER_CONTAINS : text.at[i] == '!' ? FILTER_IS_NOT : FILTER_IS;
        if (text.at[i] == '=' || text.at[i] == '~')
            return i + 1;
        if (text.at[i] == '!')
            return i + 1 < text.len && text.at[i + 1] == '=' ? i + 2 : 0;
    }
    return 0;
}

/* nft and ip show marks in hexadecimal, conntrack and our rows in decimal: both name the same mark. */
static void to_decimal(struct filter *f)
{
    char *end;
    unsigned long number = strtoul(f->value, &end, 16);

    if (f->test != FILTER_CONTAINS && strncasecmp(f->value, "0x", 2) == 0 && *end == '\0')
        snprintf(f->value, sizeof(f->value), "%lu", number);
}

const char *filters_add(struct filters *set, struct span text)
{
    struct filter *f = &set->items[set->count];
    size_t name_len = 0, value;

    if (set->count == FILTERS_MAX)
        return "too many filters (16)";
    value = find_test(text, &name_len, &f->test);
    if (value == 0)
        return "a filter is field=value, field!=value or field~part";
    if (!find_field(span_of(text.at, name_len), &f->field))
        return "no such field to filter by: posternctl -h lists them";
    if (!span_cstr(span_skip(text, value), f->value, sizeof(f->value)) || f->value[0] == '\0')
        return "the value of a filter is empty or too long";
    if (f->field == FIELD_MARK)
        to_decimal(f);
    f->has_network = is_address(f->field) && f->test != FILTER_CONTAINS && network_parse(&f->network, span_str(f->value));
    set->count++;
    return NULL;
}

static const struct addr *address_of(const struct row *row, enum filter_field field)
{
    if (field == FIELD_CLIENT)
        return &row->client;
    if (field == FIELD_DESTINATION)
        return &row->destination;
    if (field == FIELD_TRANSLATED)
        return &row->translated;
    return field == FIELD_UPSTREAM ? &row->upstream : &row->server;
}

static const char *number_text(uint64_t number, char out[FILTER_VALUE])
{
    snprintf(out, FILTER_VALUE, "%llu", (unsigned long long)number);
    return out;
}

static const char *id_text(const struct row *row, char out[FILTER_VALUE])
{
    snprintf(out, FILTER_VALUE, "%u-%llu", row->worker, (unsigned long long)row->number);
    return out;
}

/* The text of a field, in `out` or elsewhere. */
static const char *field_text(const struct row *row, const struct shard *shard, enum filter_field field, char out[FILTER_VALUE])
{
    switch (field) {
    case FIELD_ID:
        return id_text(row, out);
    case FIELD_WORKER:
        return number_text(row->worker, out);
    case FIELD_STATE:
        return row_state_name((enum row_state)row->state);
    case FIELD_PHASE:
        return phase_name((enum phase)row->phase);
    case FIELD_MODE:
        return mode_name((enum mode)row->mode);
    case FIELD_LISTENER:
        return table_name(shard, row->listener, out);
    case FIELD_PROTOCOL:
        return row_protocol_name((enum row_protocol)row->protocol);
    case FIELD_CLIENT:
    case FIELD_DESTINATION:
    case FIELD_UPSTREAM:
    case FIELD_SERVER:
    case FIELD_TRANSLATED:
        return addr_port_text(address_of(row, field), out);
    case FIELD_ZONE_IN:
        return table_name(shard, row->zone_in, out);
    case FIELD_ZONE_OUT:
        return table_name(shard, row->zone_out, out);
    case FIELD_INTERFACE_IN:
        return table_name(shard, row->interface_in, out);
    case FIELD_INTERFACE_OUT:
        return table_name(shard, row->interface_out, out);
    case FIELD_HOST:
        return row->host;
    case FIELD_METHOD:
        return table_name(shard, row->method, out);
    case FIELD_PATH:
        return row->path;
    case FIELD_POLICY:
        return table_name(shard, row->policy, out);
    case FIELD_STATUS:
        return number_text(row->status, out);
    case FIELD_GENERATION:
        return number_text(row->generation, out);
    case FIELD_CONNTRACK:
        return number_text(row->conntrack, out);
    case FIELD_CONNTRACK_STATE:
        return conntrack_state_name((enum conntrack_state)row->conntrack_state);
    case FIELD_MARK:
        return number_text(row->mark, out);
    case FIELD_TLS:
    case FIELD_TLS_VERSION:
    case FIELD_SNI:
    case FIELD_JA4:
    case FIELD_TLS_SUBJECT:
    case FIELD_COUNT:
        break;
    }
    return "";
}

/* Of one side of a session with TLS. */
static const char *tls_text(const struct tls_facts *facts, enum filter_field field)
{
    if (field == FIELD_TLS)
        return tls_way_name((enum tls_way)facts->way);
    if (field == FIELD_TLS_VERSION)
        return tls_version_name(facts->version);
    if (field == FIELD_SNI)
        return facts->name;
    return field == FIELD_JA4 ? facts->ja4 : facts->subject;
}

static bool text_fits(const struct filter *f, const char *text)
{
    if (f->test == FILTER_CONTAINS)
        return strcasestr(text, f->value) != NULL;
    return span_ieq(span_str(text), span_str(f->value));
}

/* Either side may be meant. A session without TLS is "none". */
static bool tls_fits(const struct filter *f, const struct row *row, const struct tls_facts *tls)
{
    if (!row->tls)
        return text_fits(f, f->field == FIELD_TLS ? "none" : "");
    return text_fits(f, tls_text(&tls[UP], f->field)) || text_fits(f, tls_text(&tls[DOWN], f->field));
}

static bool filter_fits(const struct filter *f, const struct row *row, const struct tls_facts *tls, const struct shard *shard)
{
    char out[FILTER_VALUE];
    bool fits;

    if (f->has_network)
        fits = network_has(&f->network, address_of(row, f->field));
    else if (f->field >= FIELD_TLS)
        fits = tls_fits(f, row, tls);
    else
        fits = text_fits(f, field_text(row, shard, f->field, out));
    return fits == (f->test != FILTER_IS_NOT);
}

bool filters_fit(const struct filters *set, const struct row *row, const struct tls_facts *tls, const struct shard *shard)
{
    for (size_t i = 0; i < set->count; i++)
        if (!filter_fits(&set->items[i], row, tls, shard))
            return false;
    return true;
}
