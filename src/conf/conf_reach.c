/* SPDX-License-Identifier: ISC */
/*
 * Policies that can never decide. The first policy that matches decides; so one is dead if an earlier one matches wherever it
 * does: every condition of the earlier is there in the later too, and the later's is as narrow or narrower. This is compared
 * as text, sound and not complete: what is reported is dead, but not everything dead is found.
 *
 * Ten thousand policies are fifty million pairs. Nearly all fall at the first look (a condition that the later does not have,
 * a protocol, a signature of the hosts); the others share a budget of comparisons, so that no configuration makes a reload
 * hang.
 */
#include "conf/conf_check.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 60000000 /* comparisons of items: half a second */
#define PATH 64

struct reach {
    uint64_t budget;
};

/* One condition: is it given, and is everything that `later` lets through let through by `earlier`? Both have it given. */
struct condition {
    bool (*given)(const struct conf_policy *p);
    bool (*covers)(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later);
};

/*
 * Of one policy, for the first look: the conditions and protocols that it has, the bits that its hosts hash to, and the bits of all
 * patterns that would cover the first of them.
 */
struct summary {
    unsigned given, protocols;
    uint64_t hosts, first_host;
    bool passed_by; /* it lets UDP through, but not to ports that are intercepted, because it names none: a later one may */
};

static void spend(struct reach *r)
{
    r->budget -= r->budget > 0;
}

static bool has(struct reach *r, const struct conf_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count && r->budget > 0; i++) {
        spend(r);
        if (strcmp(strings->items[i], text) == 0)
            return true;
    }
    return false;
}

static bool covers_strings(struct reach *r, const struct conf_strings *earlier, const struct conf_strings *later)
{
    for (size_t i = 0; i < later->count; i++)
        if (!has(r, earlier, later->items[i]))
            return false;
    return true;
}

/* A condition that is a list of texts, and whether one list of it covers another. */
#define LIST_CONDITION(member, covers)                                                                                             \
    static bool given_##member(const struct conf_policy *p)                                                                        \
    {                                                                                                                              \
        return p->member.count > 0;                                                                                                \
    }                                                                                                                              \
    static bool covers_##member(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)               \
    {                                                                                                                              \
        return covers(r, &earlier->member, &later->member);                                                                        \
    }

LIST_CONDITION(from, covers_strings)
LIST_CONDITION(to, covers_strings)
LIST_CONDITION(listeners, covers_strings)
LIST_CONDITION(methods, covers_strings)

static bool covers_network_list(struct reach *r, const struct conf_networks *earlier, const struct conf_networks *later)
{
    for (size_t i = 0; i < later->count; i++) {
        bool inside = false;

        for (size_t k = 0; k < earlier->count && !inside && r->budget > 0; k++) {
            spend(r);
            inside = network_inside(&later->items[i], &earlier->items[k]);
        }
        if (!inside)
            return false;
    }
    return true;
}

#define NETWORKS_CONDITION(member)                                                                                                 \
    static bool given_##member(const struct conf_policy *p)                                                                        \
    {                                                                                                                              \
        return p->member.count > 0;                                                                                                \
    }                                                                                                                              \
    static bool covers_##member(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)               \
    {                                                                                                                              \
        return covers_network_list(r, &earlier->member, &later->member);                                                           \
    }

NETWORKS_CONDITION(clients)
NETWORKS_CONDITION(networks)

static bool given_hosts(const struct conf_policy *p)
{
    return p->hosts.count > 0;
}

/* "*.x" covers every name that ends in ".x", and "*." before such a name; an address only itself. */
static bool host_covers(const char *earlier, const char *later)
{
    size_t tail = strlen(earlier + (earlier[0] == '*')), len = strlen(later);
    struct addr address;

    if (strcmp(earlier, later) == 0)
        return true;
    if (earlier[0] != '*' || len <= tail || strcmp(later + len - tail, earlier + 1) != 0)
        return false;
    return !addr_parse(&address, span_str(later), 0);
}

static bool covers_hosts(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)
{
    for (size_t i = 0; i < later->hosts.count; i++) {
        bool covered = false;

        for (size_t k = 0; k < earlier->hosts.count && !covered && r->budget > 0; k++) {
            spend(r);
            covered = host_covers(earlier->hosts.items[k], later->hosts.items[i]);
        }
        if (!covered)
            return false;
    }
    return true;
}

static bool given_hosts_file(const struct conf_policy *p)
{
    return p->hosts_file != NULL;
}

static bool covers_hosts_file(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)
{
    spend(r);
    return strcmp(earlier->hosts_file, later->hosts_file) == 0;
}

static bool given_ports(const struct conf_policy *p)
{
    return p->ports.count > 0;
}

static bool covers_ports(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)
{
    for (size_t i = 0; i < later->ports.count; i++) {
        const struct conf_port_range *want = &later->ports.items[i];
        bool inside = false;

        for (size_t k = 0; k < earlier->ports.count && !inside && r->budget > 0; k++) {
            spend(r);
            inside = earlier->ports.items[k].first <= want->first && want->last <= earlier->ports.items[k].last;
        }
        if (!inside)
            return false;
    }
    return true;
}

/*
 * Does the pattern match the text, a '*' in which only a '*' can match? Then it matches all that the text matches as a
 * pattern. One star is remembered, as is enough for patterns of stars and letters.
 */
static bool pattern_covers(struct reach *r, const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;

    while (*text != '\0' && r->budget > 0) {
        spend(r);
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0' && *text == '\0';
}

static bool covers_patterns(struct reach *r, const struct conf_strings *earlier, const struct conf_strings *later)
{
    for (size_t i = 0; i < later->count; i++) {
        bool covered = false;

        for (size_t k = 0; k < earlier->count && !covered && r->budget > 0; k++)
            covered = pattern_covers(r, earlier->items[k], later->items[i]);
        if (!covered)
            return false;
    }
    return true;
}

LIST_CONDITION(paths, covers_patterns)
LIST_CONDITION(tls_fingerprints, covers_patterns)
LIST_CONDITION(client_certificates, covers_patterns)

static bool given_headers(const struct conf_policy *p)
{
    return p->header_count > 0;
}

static bool same_header(const struct conf_header *a, const struct conf_header *b)
{
    if (strcasecmp(a->name, b->name) != 0 || (a->pattern == NULL) != (b->pattern == NULL))
        return false;
    return a->pattern == NULL || strcmp(a->pattern, b->pattern) == 0;
}

/* All fields of a policy must fit, so the earlier may ask for no field that the later does not ask for too. */
static bool covers_headers(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later)
{
    for (size_t i = 0; i < earlier->header_count; i++) {
        bool same = false;

        for (size_t k = 0; k < later->header_count && !same && r->budget > 0; k++) {
            spend(r);
            same = same_header(&earlier->headers[i], &later->headers[k]);
        }
        if (!same)
            return false;
    }
    return true;
}

static const struct condition conditions[] = {
    { given_hosts, covers_hosts },
    { given_hosts_file, covers_hosts_file },
    { given_clients, covers_clients },
    { given_networks, covers_networks },
    { given_ports, covers_ports },
    { given_from, covers_from },
    { given_to, covers_to },
    { given_listeners, covers_listeners },
    { given_methods, covers_methods },
    { given_paths, covers_paths },
    { given_headers, covers_headers },
    { given_tls_fingerprints, covers_tls_fingerprints },
    { given_client_certificates, covers_client_certificates },
};
#define CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

static uint64_t bit_of(const char *text)
{
    static const struct hash_key key;

    return 1ull << (hash_bytes(&key, text, strlen(text)) % 64);
}

/* "*.x" stands for its tail ".x", which is also a tail of every name that it covers. */
static const char *tail_of(const char *host)
{
    return host[0] == '*' ? host + 1 : host;
}

static uint64_t covering_bits(const char *host)
{
    uint64_t bits = bit_of(tail_of(host));

    for (const char *dot = strchr(host, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
        bits |= bit_of(dot);
    return bits;
}

/* TLS decides at the first policy that passes or inspects it. */
static unsigned protocols_of(const struct conf_policy *p)
{
    return p->protocols | (p->inspect && p->action == ACTION_ALLOW ? CONF_TLS : 0);
}

static struct summary summarise(const struct conf_policy *p, bool intercepted)
{
    struct summary s = { .protocols = protocols_of(p) };

    for (size_t i = 0; i < CONDITIONS; i++)
        s.given |= (unsigned)conditions[i].given(p) << i;
    for (size_t i = 0; i < p->hosts.count; i++)
        s.hosts |= bit_of(tail_of(p->hosts.items[i]));
    if (p->hosts.count > 0)
        s.first_host = covering_bits(p->hosts.items[0]);
    s.passed_by = intercepted && p->action == ACTION_ALLOW && p->ports.count == 0 && (p->protocols & CONF_UDP);
    return s;
}

static bool may_hide(const struct summary *earlier, const struct summary *later)
{
    if (earlier->passed_by && (later->protocols & CONF_UDP))
        return false;
    return (earlier->given & ~later->given) == 0 && (later->protocols & ~earlier->protocols) == 0 &&
           (earlier->hosts == 0 || (later->first_host & earlier->hosts) != 0);
}

static bool hides(struct reach *r, const struct conf_policy *earlier, const struct conf_policy *later, unsigned given)
{
    for (size_t i = 0; i < CONDITIONS; i++)
        if ((given & (1u << i)) && !conditions[i].covers(r, earlier, later))
            return false;
    return true;
}

/* An allowing policy without `to` does not decide about this machine, which the later one names. */
static bool leaves_self(const struct conf_policy *earlier, const struct conf_policy *later)
{
    struct reach unbounded = { .budget = UINT64_MAX };

    return earlier->to.count == 0 && earlier->action == ACTION_ALLOW && has(&unbounded, &later->to, CONF_SELF);
}

/* The first policy that hides this one, of which `wanted` is the summary, or NULL. */
static const struct conf_policy *hidden_by(struct reach *r, const struct conf *conf, const struct summary *summaries, size_t index,
                                           const struct summary *wanted)
{
    for (size_t i = 0; i < index && r->budget > 0; i++) {
        const struct conf_policy *earlier = &conf->policies[i];

        if (earlier->line != 0 && !leaves_self(earlier, &conf->policies[index]) && may_hide(&summaries[i], wanted) &&
            hides(r, earlier, &conf->policies[index], summaries[i].given))
            return earlier;
    }
    return NULL;
}

/* Who decides about TLS before this policy can inspect it, and does not inspect; NULL: nobody. */
static const struct conf_policy *kept_from_inspecting(struct reach *r, const struct conf *conf, const struct summary *summaries,
                                                      size_t index)
{
    const struct conf_policy *p = &conf->policies[index], *earlier;
    struct summary tls = summaries[index];

    if (p->line == 0 || !p->inspect || p->action != ACTION_ALLOW)
        return NULL;
    tls.protocols = CONF_TLS;
    earlier = hidden_by(r, conf, summaries, index, &tls);
    return earlier != NULL && !earlier->inspect ? earlier : NULL;
}

static void check_reach(struct reach *r, const struct conf *conf, const struct summary *summaries, struct conf_report *report)
{
    char path[PATH];

    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_policy *p = &conf->policies[i];
        const struct conf_policy *earlier = p->line != 0 ? hidden_by(r, conf, summaries, i, &summaries[i]) : NULL;
        const struct conf_policy *passes = earlier == NULL ? kept_from_inspecting(r, conf, summaries, i) : NULL;

        snprintf(path, sizeof(path), "policies.%s", p->name);
        if (r->budget == 0) {
            conf_report_warning(report, p->line, path, "from here on it was not checked whether earlier policies hide later ones");
            return;
        }
        if (earlier != NULL)
            conf_report_warning(report, p->line, path, "can never decide: all that it matches is decided by \"%s\" in line %u",
                                earlier->name, earlier->line);
        if (passes != NULL)
            conf_report_warning(report, p->line, path, "inspects nothing: TLS that it matches is decided by \"%s\" in line %u",
                                passes->name, passes->line);
    }
}

void conf_check_reach(const struct conf *conf, struct conf_report *report)
{
    struct reach r = { .budget = BUDGET };
    struct summary *summaries = malloc((conf->policy_count + 1) * sizeof(*summaries));
    bool intercepted = false;

    if (summaries == NULL) {
        report->no_memory = true;
        return;
    }
    for (size_t i = 0; i < conf->listener_count; i++)
        intercepted |= conf->listeners[i].mode == MODE_TRANSPARENT;
    for (size_t i = 0; i < conf->policy_count; i++)
        summaries[i] = summarise(&conf->policies[i], intercepted);
    check_reach(&r, conf, summaries, report);
    free(summaries);
}
