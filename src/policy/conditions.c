/* SPDX-License-Identifier: ISC */
/*
 * Conditions: from facts to sets of policies. Each condition needs one kind of facts; as long as they are not known the condition
 * is unknown, and once nothing more will be known it is false. Names, addresses, ports and the rest are looked up in maps whose
 * cost does not depend on how many policies or entries there are.
 */
#include "policy/names.h"
#include "policy/rules_index.h"
#include "proto/target.h"

#include <string.h>

const char *condition_name(enum condition c)
{
    static const char *const names[COND_COUNT] = { "listeners",
                                                   "from",
                                                   "clients",
                                                   "hosts",
                                                   "hosts_file",
                                                   "ports",
                                                   "to",
                                                   "networks",
                                                   "protocols",
                                                   "methods",
                                                   "paths",
                                                   "headers",
                                                   "tls_fingerprints",
                                                   "client_certificates" };

    return (unsigned)c < COND_COUNT ? names[c] : "?";
}

/* The facts that a condition is about. */
static const unsigned needs[COND_COUNT] = {
    [COND_LISTENERS] = KNOWN_FLOW,
    [COND_FROM] = KNOWN_FLOW,
    [COND_CLIENTS] = KNOWN_FLOW,
    [COND_HOSTS] = KNOWN_TARGET,
    [COND_HOSTS_FILE] = KNOWN_TARGET,
    [COND_PORTS] = KNOWN_TARGET,
    [COND_TO] = KNOWN_ADDRESS,
    [COND_NETWORKS] = KNOWN_ADDRESS,
    [COND_PROTOCOLS] = KNOWN_PROTOCOL,
    [COND_METHODS] = KNOWN_REQUEST,
    [COND_PATHS] = KNOWN_REQUEST,
    [COND_HEADERS] = KNOWN_REQUEST,
    [COND_TLS_FINGERPRINTS] = KNOWN_HELLO,
    [COND_CLIENT_CERTIFICATES] = KNOWN_FLOW,
};

static uint32_t by_index(const uint32_t *sets, size_t count, int index, uint32_t none)
{
    return index >= 0 && (size_t)index < count ? sets[index] : none;
}

/* The name itself, else the nearest name that it is under: what lies above was joined in when the map was made. */
static uint32_t by_host(const struct rules *r, const struct host *host)
{
    const struct name_map *map = &r->hosts;
    struct span name;
    uint32_t at;

    if (host == NULL)
        return r->absent[COND_HOSTS];
    if (host->ip.family != 0)
        return netmap_find(&r->literals, &host->ip);
    name = host_span(host);
    at = names_find(map->memory, map->size, name);
    if (at != NAMES_NONE)
        return map->self[at];
    while (hostset_parent(&name)) {
        at = names_find(map->memory, map->size, name);
        if (at != NAMES_NONE)
            return map->under[at];
    }
    return r->absent[COND_HOSTS];
}

static uint32_t by_method(const struct rules *r, struct span method)
{
    uint32_t at = names_find(r->methods.memory, r->methods.size, method);

    return at == NAMES_NONE ? r->absent[COND_METHODS] : r->methods.self[at];
}

static uint32_t by_port(const struct port_map *map, uint16_t port)
{
    size_t low = 0, high = map->count; /* the first span begins at port 0 */

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (map->spans[middle].first > port)
            high = middle;
        else
            low = middle;
    }
    return map->spans[low].set;
}

static uint32_t by_protocol(const struct rules *r, unsigned protocol)
{
    return protocol == 0 ? r->absent[COND_PROTOCOLS] : by_index(r->protocols, PROTOCOLS, __builtin_ctz(protocol), 0);
}

/* Flows that the kernel forwards are tcp, udp or icmp, and those of a listener never are. */
static uint32_t by_flow_protocol(const struct rules *r, const struct facts *f)
{
    return by_protocol(r, f->protocol & (f->listener < 0 ? PROTOCOLS_KERNEL : PROTOCOLS_PROXIED));
}

/* The policies for which a known condition is true; for slow ones all, they are asked later. */
static uint32_t fitting(const struct rules *r, const struct facts *f, enum condition c)
{
    switch (c) {
    case COND_LISTENERS:
        return by_index(r->listeners, r->conf->listener_count, f->listener, r->absent[c]);
    case COND_FROM:
        return by_index(r->from, r->zone_count, f->zone_in, r->absent[c]);
    case COND_CLIENTS:
        return netmap_find(&r->clients, &f->client);
    case COND_HOSTS:
        return by_host(r, f->host);
    case COND_PORTS:
        return by_port(f->twin ? &r->twin_ports : &r->ports, f->port);
    case COND_TO:
        return by_index(r->to, r->zone_count, f->zone_out, r->absent[c]);
    case COND_NETWORKS:
        return netmap_find(&r->networks, &f->server);
    case COND_PROTOCOLS:
        return by_flow_protocol(r, f);
    case COND_METHODS:
        return by_method(r, f->method);
    case COND_HOSTS_FILE:
    case COND_PATHS:
    case COND_HEADERS:
    case COND_TLS_FINGERPRINTS:
    case COND_CLIENT_CERTIFICATES:
    case COND_COUNT:
        break;
    }
    return r->all;
}

void view_init(struct view *v, const struct rules *rules, const struct facts *facts, bool last)
{
    unsigned known = facts->known;

    *v = (struct view){ .rules = rules, .facts = facts };
    v->tls = (known & KNOWN_PROTOCOL) && facts->protocol == CONF_TLS;
    if (v->tls)
        known &= ~(unsigned)KNOWN_REQUEST; /* TLS is no request, whatever asked for the tunnel */
    for (unsigned c = 0; c < COND_COUNT; c++) {
        uint32_t set = rules->all;
        bool exempt = c == COND_TO && facts->operators_word;
        bool to_self = c == COND_TO && (facts->known & KNOWN_ADDRESS) && facts->zone_out == zones_self(rules->conf);
        bool forced = (c == COND_PORTS && facts->twin) || to_self; /* these ask more of policies without the condition */

        if ((!(rules->used & COND_BIT(c)) && !forced) || exempt)
            ; /* true for all */
        else if (known & needs[c])
            set = fitting(rules, facts, (enum condition)c);
        else if (last && v->tls && (COND_BIT(c) & CONDITIONS_REQUEST))
            set = rules->absent_or_inspects[c];
        else if (last)
            set = rules->absent[c];
        else
            v->unknown |= COND_BIT(c);
        if (known & needs[c])
            v->slow |= COND_BIT(c) & CONDITIONS_SLOW;
        v->mask[c] = sets_at(rules->sets, set);
    }
}

typedef bool path_test(struct span path, struct span pattern);

static bool any_fits(const struct conf_strings *paths, struct span path, path_test *test)
{
    for (size_t i = 0; i < paths->count; i++)
        if (test(path, span_str(paths->items[i])))
            return true;
    return false;
}

/* Empty segments ("//") are left as they are, and some servers skip them. A denial fits if either reading does, an allowance if
 * both do. */
static bool path_fits(const struct conf_policy *policy, struct span path)
{
    bool plain = any_fits(&policy->paths, path, target_path_fits), merged;

    if (path.len < 2 || memmem(path.at, path.len, "//", 2) == NULL)
        return plain;
    merged = any_fits(&policy->paths, path, target_path_fits_merged);
    return policy->action == ACTION_ALLOW ? plain && merged : plain || merged;
}

static bool header_fits(const struct conf_header *wanted, const struct h1_head *head)
{
    struct span name = span_str(wanted->name);

    for (size_t i = 0; i < head->field_count; i++) {
        const struct h1_field *field = &head->fields[i];

        if (span_ieq(field->name, name) && (wanted->pattern == NULL || target_path_fits(field->value, span_str(wanted->pattern))))
            return true;
    }
    return false;
}

static bool headers_fit(const struct conf_policy *policy, const struct h1_head *head)
{
    for (size_t i = 0; i < policy->header_count; i++)
        if (head == NULL || !header_fits(&policy->headers[i], head))
            return false;
    return true;
}

static bool file_fits(const struct hostset *file, const struct host *host)
{
    return file != NULL && file->memory != NULL && host != NULL && host->ip.family == 0 && hostset_has(file, host_span(host));
}

static bool any_pattern_fits(const struct conf_strings *patterns, struct span text)
{
    return text.len > 0 && any_fits(patterns, text, target_path_fits);
}

/* Names of hosts have no case; those of the configuration are in lower case. */
static bool name_fits(const struct conf_strings *patterns, struct span name)
{
    char lower[CERTIFICATE_NAME];

    if (!span_starts(name, SPAN("DNS:")) || name.len > sizeof(lower))
        return any_pattern_fits(patterns, name);
    memcpy(lower, name.at, name.len);
    for (size_t i = sizeof("DNS:") - 1; i < name.len; i++)
        lower[i] = byte_lower(lower[i]);
    return any_pattern_fits(patterns, span_of(lower, name.len));
}

/* One of the names in the certificate, or its subject. */
static bool certificate_fits(const struct conf_strings *patterns, const struct client_certificate *certificate)
{
    if (certificate == NULL)
        return false;
    for (size_t i = 0; i < certificate->name_count; i++)
        if (name_fits(patterns, certificate->names[i]))
            return true;
    return any_pattern_fits(patterns, certificate->subject);
}

bool condition_fits(const struct rules *rules, size_t index, enum condition c, const struct facts *facts)
{
    const struct conf_policy *policy = &rules->conf->policies[index];

    if (c == COND_HOSTS_FILE)
        return file_fits(rules->files == NULL ? NULL : &rules->files[index], facts->host);
    if (c == COND_PATHS)
        return path_fits(policy, facts->path);
    if (c == COND_TLS_FINGERPRINTS)
        return any_pattern_fits(&policy->tls_fingerprints, facts->ja4);
    if (c == COND_CLIENT_CERTIFICATES)
        return certificate_fits(&policy->client_certificates, facts->certificate);
    return headers_fit(policy, facts->head);
}
