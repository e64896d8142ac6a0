/* SPDX-License-Identifier: ISC */
/*
 * From policies to maps. Most sets are made by asking every policy whether its condition is true for one key (a listener, a zone, a
 * span of ports); names and networks, of which there may be very many, are entered one by one. Nothing is thrown away half-way: a
 * failure is noted in the pool of sets or as a missing piece, and the whole is freed at the end.
 */
#include "policy/names.h"
#include "policy/rules_index.h"

#include <stdlib.h>
#include <string.h>

/* What a policy without `protocols` is about. */
#define PROTOCOLS_DEFAULT (CONF_HTTP | CONF_WEBSOCKET | CONF_TLS)

bool rules_inspects(const struct conf_policy *p)
{
    unsigned protocols = p->protocols_given ? p->protocols : PROTOCOLS_DEFAULT;

    return p->inspect && p->action == ACTION_ALLOW && (protocols & (CONF_HTTP | CONF_WEBSOCKET));
}

/* Of a policy that inspects, TLS is what it looks into. */
static unsigned protocols_of(const struct conf_policy *p)
{
    unsigned protocols = p->protocols_given ? p->protocols : PROTOCOLS_DEFAULT;

    if (!p->inspect)
        return protocols;
    return rules_inspects(p) ? protocols | CONF_TLS : protocols & ~(unsigned)CONF_TLS;
}

static uint16_t present_in(const struct conf_policy *p)
{
    const bool has[COND_COUNT] = {
        [COND_LISTENERS] = p->listeners.count > 0,
        [COND_FROM] = p->from.count > 0,
        [COND_CLIENTS] = p->clients.count > 0,
        [COND_HOSTS] = p->hosts.count > 0,
        [COND_HOSTS_FILE] = p->hosts_file,
        [COND_PORTS] = p->ports.count > 0,
        [COND_TO] = p->to.count > 0,
        [COND_NETWORKS] = p->networks.count > 0,
        [COND_PROTOCOLS] = true,
        [COND_METHODS] = p->methods.count > 0,
        [COND_PATHS] = p->paths.count > 0,
        [COND_HEADERS] = p->header_count > 0,
        [COND_TLS_FINGERPRINTS] = p->tls_fingerprints.count > 0,
        [COND_CLIENT_CERTIFICATES] = p->client_certificates.count > 0,
    };
    uint16_t set = 0;

    for (unsigned c = 0; c < COND_COUNT; c++)
        set |= (uint16_t)(has[c] ? COND_BIT(c) : 0);
    return set;
}

static bool is_listed(const struct conf_strings *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return false;
}

typedef bool fits_key(const struct conf_policy *p, const void *key);

static bool never(const struct conf_policy *p, const void *key)
{
    (void)p;
    (void)key;
    return false;
}

static bool inspects(const struct conf_policy *p, const void *key)
{
    (void)key;
    return rules_inspects(p);
}

static bool names_listener(const struct conf_policy *p, const void *listener)
{
    return is_listed(&p->listeners, ((const struct conf_listener *)listener)->name);
}

static bool names_from(const struct conf_policy *p, const void *zone)
{
    return is_listed(&p->from, zone);
}

static bool names_to(const struct conf_policy *p, const void *zone)
{
    return is_listed(&p->to, zone);
}

/* This machine is opened only by a policy that names it; whatever denies without `to` denies it too. */
static bool reaches_self(const struct conf_policy *p, const void *unused)
{
    (void)unused;
    return p->to.count > 0 ? is_listed(&p->to, CONF_SELF) : p->action != ACTION_ALLOW;
}

static bool names_protocol(const struct conf_policy *p, const void *bit)
{
    return protocols_of(p) & *(const unsigned *)bit;
}

static bool names_port(const struct conf_policy *p, const void *port)
{
    unsigned wanted = *(const unsigned *)port;

    for (size_t i = 0; i < p->ports.count; i++)
        if (p->ports.items[i].first <= wanted && wanted <= p->ports.items[i].last)
            return true;
    return false;
}

/* A way around a listener: who allows it must name the port. */
static bool names_port_of_twin(const struct conf_policy *p, const void *port)
{
    return p->ports.count > 0 ? names_port(p, port) : p->action != ACTION_ALLOW;
}

struct build {
    struct rules *r;
    uint64_t *scratch; /* one set */
};

/* The set of policies that have none of these conditions, or for which `fits` is true. */
static uint32_t set_of_any(struct build *b, unsigned conditions, fits_key *fits, const void *key)
{
    const struct conf *conf = b->r->conf;

    memset(b->scratch, 0, sets_words(b->r->sets) * sizeof(uint64_t));
    for (size_t i = 0; i < conf->policy_count; i++)
        if ((conditions && !(b->r->present[i] & conditions)) || fits(&conf->policies[i], key))
            bits_add(b->scratch, i);
    return sets_intern(b->r->sets, b->scratch);
}

/* The set of policies without condition `c`, or with one that is true for `key`. */
static uint32_t set_of(struct build *b, enum condition c, fits_key *fits, const void *key)
{
    return set_of_any(b, COND_BIT(c), fits, key);
}

static void build_present(struct build *b)
{
    struct rules *r = b->r;

    for (size_t i = 0; i < r->conf->policy_count; i++) {
        r->present[i] = present_in(&r->conf->policies[i]);
        r->used |= r->present[i];
        bits_add(b->scratch, i);
    }
    r->all = sets_intern(r->sets, b->scratch);
    for (unsigned c = 0; c < COND_COUNT; c++)
        r->absent[c] = set_of(b, (enum condition)c, never, NULL);
    for (unsigned c = 0; c < COND_COUNT; c++)
        if (COND_BIT(c) & CONDITIONS_REQUEST)
            r->absent_or_inspects[c] = set_of(b, (enum condition)c, inspects, NULL);
}

static void build_flow(struct build *b)
{
    struct rules *r = b->r;
    const struct conf *conf = r->conf;

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        r->listeners[i] = set_of(b, COND_LISTENERS, names_listener, l);
        for (size_t z = 0; z < r->zone_count; z++)
            r->admits[i * r->zone_count + z] = l->from.count == 0 || is_listed(&l->from, zones_name(conf, (int)z));
    }
    for (size_t i = 0; i < r->zone_count; i++) {
        r->from[i] = set_of(b, COND_FROM, names_from, zones_name(conf, (int)i));
        r->to[i] = set_of(b, COND_TO, names_to, zones_name(conf, (int)i));
    }
    r->to[zones_self(conf)] = set_of_any(b, 0, reaches_self, NULL);
    for (unsigned i = 0; i < PROTOCOLS; i++)
        r->protocols[i] = set_of(b, COND_PROTOCOLS, names_protocol, &(unsigned){ 1u << i });
}

/* Spans begin at port 0, where a range begins, and behind where one ends. */
static bool build_ports(struct build *b, struct port_map *map, unsigned conditions, fits_key *fits)
{
    const struct conf *conf = b->r->conf;
    bool *begins = calloc(PORT_SPANS_MAX + 1, sizeof(*begins));
    size_t count = 1;

    if (begins == NULL)
        return false;
    begins[0] = true;
    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_ports *ports = &conf->policies[i].ports;

        for (size_t k = 0; k < ports->count; k++)
            begins[ports->items[k].first] = begins[ports->items[k].last + 1u] = true;
    }
    for (size_t port = 1; port < PORT_SPANS_MAX; port++)
        count += begins[port];
    map->spans = calloc(count, sizeof(*map->spans));
    for (unsigned port = 0; map->spans != NULL && port < PORT_SPANS_MAX; port++)
        if (begins[port])
            map->spans[map->count++] = (struct port_span){ (uint16_t)port, set_of_any(b, conditions, fits, &port) };
    free(begins);
    return map->spans != NULL;
}

/* Networks of one kind: of clients, of servers, or addresses among `hosts`. */
static const struct conf_networks *client_networks(const struct conf_policy *p)
{
    return &p->clients;
}

static const struct conf_networks *server_networks(const struct conf_policy *p)
{
    return &p->networks;
}

static bool build_networks(struct build *b, struct netmap *map, enum condition c,
                           const struct conf_networks *(*networks)(const struct conf_policy *p))
{
    const struct conf *conf = b->r->conf;
    struct netmap_item *items;
    size_t count = 0, n = 0;
    bool good;

    for (size_t i = 0; i < conf->policy_count; i++)
        count += networks(&conf->policies[i])->count;
    items = calloc(count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    for (size_t i = 0; i < conf->policy_count; i++)
        for (size_t k = 0; k < networks(&conf->policies[i])->count; k++)
            items[n++] = (struct netmap_item){ networks(&conf->policies[i])->items[k], (uint32_t)i };
    good = netmap_build(map, items, n, b->r->sets, b->r->absent[c]);
    free(items);
    return good;
}

bool rules_host_is_literal(struct span host, struct network *out)
{
    if (host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
        host = span_of(host.at + 1, host.len - 2);
    return addr_parse(&out->base, host, 0) && (out->bits = out->base.family == AF_INET6 ? 128 : 32) > 0;
}

static bool build_literals(struct build *b)
{
    const struct conf *conf = b->r->conf;
    struct netmap_item *items;
    size_t count = 0, n = 0;
    bool good;

    for (size_t i = 0; i < conf->policy_count; i++)
        count += conf->policies[i].hosts.count;
    items = calloc(count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    for (size_t i = 0; i < conf->policy_count; i++)
        for (size_t k = 0; k < conf->policies[i].hosts.count; k++) {
            items[n].member = (uint32_t)i;
            n += rules_host_is_literal(span_str(conf->policies[i].hosts.items[k]), &items[n].network);
        }
    good = netmap_build(&b->r->literals, items, n, b->r->sets, b->r->absent[COND_HOSTS]);
    free(items);
    return good;
}

/* What a text that fits must begin with. */
static struct span literal_part(const char *pattern)
{
    return span_of(pattern, strcspn(pattern, "*"));
}

static bool build_paths(struct build *b)
{
    const struct conf *conf = b->r->conf;
    struct prefixmap_item *items;
    size_t count = 0, n = 0;
    bool good;

    for (size_t i = 0; i < conf->policy_count; i++)
        count += conf->policies[i].paths.count;
    items = calloc(count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    for (size_t i = 0; i < conf->policy_count; i++)
        for (size_t k = 0; k < conf->policies[i].paths.count; k++)
            items[n++] = (struct prefixmap_item){ literal_part(conf->policies[i].paths.items[k]), (uint32_t)i };
    good = prefixmap_build(&b->r->paths, items, n, b->r->sets, b->r->absent[COND_PATHS]);
    free(items);
    return good;
}

/* The strings of one list condition of a policy. */
static const struct conf_strings *strings_of(const struct conf_policy *p, enum condition c)
{
    return c == COND_HOSTS ? &p->hosts : &p->methods;
}

/* "*.x" stands as x and is about what is under it. */
static struct span plain_name(struct span item, bool *under)
{
    *under = span_starts(item, SPAN("*."));
    return span_skip(item, *under ? 2 : 0);
}

static bool name_map_make(struct name_map *map, const struct conf *conf, enum condition c)
{
    size_t count = 0, bytes = 0;

    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_strings *list = strings_of(&conf->policies[i], c);

        for (size_t k = 0; k < list->count; k++, count++)
            bytes += strlen(list->items[k]);
    }
    map->size = names_size(count, bytes);
    map->memory = map->size > 0 ? calloc(1, map->size) : NULL;
    if (map->memory == NULL)
        return false;
    names_init(map->memory, map->size, count);
    map->self = calloc(names_slots(map->memory), sizeof(*map->self));
    map->under = calloc(names_slots(map->memory), sizeof(*map->under));
    return map->self != NULL && map->under != NULL;
}

/* By number of the name, the policies that mean it, and those that mean what is under it; one set behind the other. */
struct mentions {
    uint64_t *self, *under;
    size_t words;
};

static void mention_all(struct name_map *map, const struct conf *conf, enum condition c, struct mentions *m)
{
    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_strings *list = strings_of(&conf->policies[i], c);

        for (size_t k = 0; k < list->count; k++) {
            bool under = false;
            struct span item = span_str(list->items[k]);
            uint32_t at = names_add(map->memory, c == COND_HOSTS ? plain_name(item, &under) : item);

            if (at != NAMES_NONE)
                bits_add((under ? m->under : m->self) + at * m->words, i);
        }
    }
}

/* Joins in what is said of the names above each, so that a look-up ends at the first name that it finds. */
static void join_mentions(struct build *b, struct name_map *map, enum condition c, const struct mentions *m)
{
    for (uint32_t at = 0; at < names_slots(map->memory); at++) {
        struct span name = names_at(map->memory, map->size, at);

        if (name.len == 0)
            continue;
        memcpy(b->scratch, sets_at(b->r->sets, b->r->absent[c]), m->words * sizeof(uint64_t));
        while (hostset_parent(&name)) {
            uint32_t parent = names_find(map->memory, map->size, name);

            if (parent != NAMES_NONE)
                bits_join(b->scratch, m->under + parent * m->words, m->words);
        }
        bits_join(m->self + at * m->words, b->scratch, m->words);
        map->self[at] = sets_intern(b->r->sets, m->self + at * m->words);
        bits_join(b->scratch, m->under + at * m->words, m->words);
        map->under[at] = sets_intern(b->r->sets, b->scratch);
    }
}

static bool build_names(struct build *b, struct name_map *map, enum condition c)
{
    struct mentions m = { .words = sets_words(b->r->sets) };
    bool good = name_map_make(map, b->r->conf, c);
    size_t slots = good ? names_slots(map->memory) : 0;

    m.self = calloc(slots + 1, m.words * sizeof(uint64_t));
    m.under = calloc(slots + 1, m.words * sizeof(uint64_t));
    good = good && m.self != NULL && m.under != NULL;
    if (good) {
        mention_all(map, b->r->conf, c, &m);
        join_mentions(b, map, c, &m);
    }
    free(m.self);
    free(m.under);
    return good;
}

static bool allocate(struct rules *r, const struct conf *conf)
{
    r->sets = sets_new(conf->policy_count);
    r->present = calloc(conf->policy_count + 1, sizeof(*r->present));
    r->listeners = calloc(conf->listener_count + 1, sizeof(*r->listeners));
    r->zone_count = conf->zone_count + 1;
    r->from = calloc(r->zone_count, sizeof(*r->from));
    r->to = calloc(r->zone_count, sizeof(*r->to));
    r->admits = calloc(conf->listener_count * r->zone_count + 1, sizeof(*r->admits));
    return r->sets && r->present && r->listeners && r->from && r->to && r->admits;
}

/* Only a transparent listener makes twins. */
static bool build_twin_ports(struct build *b)
{
    const struct conf *conf = b->r->conf;

    for (size_t i = 0; i < conf->listener_count; i++)
        if (conf->listeners[i].mode == MODE_TRANSPARENT)
            return build_ports(b, &b->r->twin_ports, 0, names_port_of_twin);
    return true;
}

static bool build_all(struct build *b)
{
    struct rules *r = b->r;

    build_present(b);
    build_flow(b);
    return build_ports(b, &r->ports, COND_BIT(COND_PORTS), names_port) && build_twin_ports(b) &&
           build_names(b, &r->hosts, COND_HOSTS) && build_names(b, &r->methods, COND_METHODS) && build_literals(b) &&
           build_paths(b) && build_networks(b, &r->clients, COND_CLIENTS, client_networks) &&
           build_networks(b, &r->networks, COND_NETWORKS, server_networks) && !sets_failed(r->sets);
}

struct rules *rules_new(const struct conf *conf, const struct hostset *files)
{
    struct build b = { .r = calloc(1, sizeof(*b.r)) };
    bool good;

    if (b.r == NULL)
        return NULL;
    b.r->conf = conf;
    b.r->files = files;
    b.r->zones = zones_new(conf);
    good = b.r->zones != NULL && allocate(b.r, conf) && (b.scratch = calloc(sets_words(b.r->sets), sizeof(uint64_t))) != NULL &&
           build_all(&b);
    free(b.scratch);
    if (good)
        return b.r;
    rules_free(b.r);
    return NULL;
}

static void name_map_fini(struct name_map *map)
{
    free(map->memory);
    free(map->self);
    free(map->under);
}

void rules_free(struct rules *rules)
{
    if (rules == NULL)
        return;
    name_map_fini(&rules->hosts);
    name_map_fini(&rules->methods);
    netmap_fini(&rules->literals);
    zones_free(rules->zones);
    netmap_fini(&rules->clients);
    netmap_fini(&rules->networks);
    prefixmap_fini(&rules->paths);
    free(rules->ports.spans);
    free(rules->twin_ports.spans);
    free(rules->admits);
    free(rules->from);
    free(rules->to);
    free(rules->listeners);
    free(rules->present);
    sets_free(rules->sets);
    free(rules);
}
