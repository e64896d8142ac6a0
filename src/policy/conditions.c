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

/* By the facts that they are about; those about the request stand in rules_index.h. */
#define CONDITIONS_FLOW                                                                                                            \
    (COND_BIT(COND_LISTENERS) | COND_BIT(COND_FROM) | COND_BIT(COND_CLIENTS) | COND_BIT(COND_CLIENT_CERTIFICATES))
#define CONDITIONS_TARGET (COND_BIT(COND_HOSTS) | COND_BIT(COND_HOSTS_FILE) | COND_BIT(COND_PORTS))
#define CONDITIONS_ADDRESS (COND_BIT(COND_TO) | COND_BIT(COND_NETWORKS))
#define CONDITIONS_PROTOCOL COND_BIT(COND_PROTOCOLS)
#define CONDITIONS_HELLO COND_BIT(COND_TLS_FINGERPRINTS)

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

static bool has_empty_segments(struct span path)
{
    return path.len >= 2 && memmem(path.at, path.len, "//", 2) != NULL;
}

/* The policies that may fit. A path with empty segments has two readings, and patterns may begin with either. */
static uint32_t by_path(const struct rules *r, struct span path)
{
    return has_empty_segments(path) ? r->all : prefixmap_find(&r->paths, path);
}

/* The policies for which a known condition is true or, if it is a slow one, may be. */
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
    case COND_PATHS:
        return by_path(r, f->path);
    case COND_HOSTS_FILE:
    case COND_HEADERS:
    case COND_TLS_FINGERPRINTS:
    case COND_CLIENT_CERTIFICATES:
    case COND_COUNT:
        break;
    }
    return r->all;
}

/* Conditions that ask something even of policies that do not have them. */
static unsigned forced(const struct rules *r, const struct facts *f)
{
    bool to_self = (f->known & KNOWN_ADDRESS) && f->zone_out == zones_self(r->conf);

    return (f->twin ? COND_BIT(COND_PORTS) : 0) | (to_self ? COND_BIT(COND_TO) : 0);
}

static void narrow(struct view *v, enum condition c, uint32_t set)
{
    v->narrows |= COND_BIT(c);
    v->mask[c] = sets_at(v->rules->sets, set);
}

/* The conditions whose facts are known, a bit each. */
static unsigned answered(unsigned known)
{
    static const unsigned by_fact[] = { CONDITIONS_FLOW,     CONDITIONS_TARGET,  CONDITIONS_ADDRESS,
                                        CONDITIONS_PROTOCOL, CONDITIONS_REQUEST, CONDITIONS_HELLO };
    unsigned set = 0;

    for (; known != 0; known &= known - 1)
        set |= by_fact[__builtin_ctz(known)];
    return set;
}

void view_init(struct view *v, const struct rules *rules, const struct facts *facts, bool last)
{
    bool tls = (facts->known & KNOWN_PROTOCOL) && facts->protocol == CONF_TLS;
    /* TLS is no request, whatever asked for the tunnel. */
    unsigned known = answered(facts->known & ~(tls ? (unsigned)KNOWN_REQUEST : 0u));
    unsigned asked = (rules->used | forced(rules, facts)) & ~(facts->operators_word ? COND_BIT(COND_TO) : 0);

    v->rules = rules;
    v->facts = facts;
    v->tls = tls;
    v->slow = known & CONDITIONS_SLOW;
    v->unknown = last ? 0 : asked & ~known;
    v->narrows = 0;
    v->all = sets_at(rules->sets, rules->all);
    for (unsigned left = asked & known & CONDITIONS_MAPPED; left != 0; left &= left - 1)
        narrow(v, (enum condition)__builtin_ctz(left), fitting(rules, facts, (enum condition)__builtin_ctz(left)));
    for (unsigned left = last ? asked & ~known : 0; left != 0; left &= left - 1) {
        unsigned c = (unsigned)__builtin_ctz(left);

        narrow(v, (enum condition)c, tls && (COND_BIT(c) & CONDITIONS_REQUEST) ? rules->absent_or_inspects[c] : rules->absent[c]);
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

    if (!has_empty_segments(path))
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
