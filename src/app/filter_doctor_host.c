/* SPDX-License-Identifier: ISC */
/*
 * What the machine says of itself: numbers of the kernel, interfaces that zones name, and zones that nobody can be in. A zone of
 * interfaces alone holds no special-purpose address, which is what surprises most: the neighbours on such an interface are then in
 * no zone at all. And chains of other tables, which every packet has to pass, too.
 */
#include "app/filter_doctor.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHER_CHAINS 64

long doctor_sysctl(const char *path)
{
    char name[128], text[32] = "";
    ssize_t len;
    int fd;

    snprintf(name, sizeof(name), "/proc/sys/%s", path);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    return len > 0 ? strtol(text, NULL, 10) : -1;
}

void doctor_interfaces(struct doctor *d)
{
    char missing[DOCTOR_TEXT] = "", mend[DOCTOR_TEXT];
    size_t len = 0, named = 0;

    for (size_t i = 0; i < d->conf->zone_count; i++)
        for (size_t k = 0; k < d->conf->zones[i].interfaces.count; k++) {
            const char *name = d->conf->zones[i].interfaces.items[k];

            named++;
            if (if_nametoindex(name) == 0 && len < sizeof(missing))
                len += (size_t)snprintf(missing + len, sizeof(missing) - len, "%s%s of zone %s", len > 0 ? ", " : "", name,
                                        d->conf->zones[i].name);
        }
    snprintf(mend, sizeof(mend), "name interfaces that are there (ip -br link), or bring up: %.400s", missing);
    if (len > 0)
        doctor_check(d, "interfaces", false, missing, mend, NULL);
    else
        doctor_check(d, "interfaces", true, named > 0 ? "every interface that a zone names is there" : "no zone names interfaces",
                     NULL, NULL);
}

/* An address of this network, for the zone look-up alone. A network of everything is asked about by a public address. */
static struct addr member_of(const struct network *network)
{
    static const struct addr public4 = { .family = AF_INET, .ip = { 1, 1, 1, 1 } };
    static const struct addr public6 = { .family = AF_INET6, .ip = { 0x26, 0x06, 0x47, 0x00, [15] = 1 } };

    if (network_has(network, &public4))
        return public4;
    return network_has(network, &public6) ? public6 : network->base;
}

/* Is this zone the first that some member of `network` fits, on any of its interfaces? */
static bool is_first(const struct doctor *d, size_t zone, const struct network *network)
{
    const struct zones *zones = rules_zones(d->generation->rules);
    const struct conf_strings *interfaces = &d->conf->zones[zone].interfaces;
    struct addr member = member_of(network);

    if (interfaces->count == 0)
        return zones_find(zones, &member, "") == (int)zone;
    for (size_t i = 0; i < interfaces->count; i++)
        if (zones_find(zones, &member, interfaces->items[i]) == (int)zone)
            return true;
    return false;
}

static bool can_be_in(const struct doctor *d, size_t zone)
{
    static const struct network all[] = { { .base.family = AF_INET }, { .base.family = AF_INET6 } };
    const struct conf_networks *networks = &d->conf->zones[zone].networks;
    const struct network *items = networks->count > 0 ? networks->items : all;
    size_t count = networks->count > 0 ? networks->count : 2;

    for (size_t i = 0; i < count; i++)
        if (is_first(d, zone, &items[i]))
            return true;
    return false;
}

/* The first zone that names this interface; NULL: none does. */
static const struct conf_zone *zone_of(const struct conf *conf, const char *interface)
{
    for (size_t i = 0; i < conf->zone_count; i++)
        for (size_t k = 0; k < conf->zones[i].interfaces.count; k++)
            if (strcmp(conf->zones[i].interfaces.items[k], interface) == 0)
                return &conf->zones[i];
    return NULL;
}

/* The network that this address of ours is in. */
static struct network network_of(const struct doctor_own *own)
{
    struct network n = { .base = own->address, .bits = (uint8_t)own->bits };

    n.base.port = 0;
    for (unsigned bit = own->bits; bit < sizeof(n.base.ip) * 8; bit++)
        n.base.ip[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
    return n;
}

static bool is_link_local(const struct addr *a)
{
    return a->family == AF_INET6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* A list in a text of DOCTOR_TEXT bytes; what has no room is left out. */
__attribute__((format(printf, 2, 3))) static void append(char *text, const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + len, DOCTOR_TEXT - len, format, args);
    va_end(args);
}

/* The neighbours on this interface are in no zone, although one names it. */
static bool are_strangers(const struct doctor *d, const struct doctor_own *own)
{
    return zone_of(d->conf, own->interface) != NULL && !is_link_local(&own->address) &&
           zones_find(rules_zones(d->generation->rules), &own->address, own->interface) == ZONE_NONE;
}

static const char *own_network(const struct doctor_own *own, char out[ADDR_TEXT + 8])
{
    struct network network = network_of(own);
    char base[ADDR_TEXT];

    snprintf(out, ADDR_TEXT + 8, "\"%s/%u\"", addr_text(&network.base, base), own->bits);
    return out;
}

static void list_strangers(const struct doctor *d, char *text)
{
    char quoted[ADDR_TEXT + 8];

    for (size_t i = 0; i < d->own_count; i++) {
        if (!are_strangers(d, &d->own[i]))
            continue;
        own_network(&d->own[i], quoted);
        append(text, "%s%.*s on %s", *text != '\0' ? ", " : "", (int)strlen(quoted) - 2, quoted + 1, d->own[i].interface);
    }
}

/* A zone without networks has all that are not special: said there, so that what is added takes nothing away. */
static void mend_zone(const struct doctor *d, const struct conf_zone *zone, char *mend)
{
    char list[DOCTOR_TEXT] = "", quoted[ADDR_TEXT + 8];

    for (size_t i = 0; i < d->own_count; i++) {
        if (!are_strangers(d, &d->own[i]) || zone_of(d->conf, d->own[i].interface) != zone)
            continue;
        if (strstr(list, own_network(&d->own[i], quoted)) == NULL)
            append(list, "%s%s", *list != '\0' ? ", " : zone->networks.count == 0 ? "\"0.0.0.0/0\", \"::/0\", " : "", quoted);
    }
    if (*list != '\0')
        append(mend, "%sadd to networks of zone %s: %s", *mend != '\0' ? "; " : "", zone->name, list);
}

void doctor_zones(struct doctor *d)
{
    char empty[DOCTOR_TEXT] = "", strangers[DOCTOR_TEXT] = "", finding[DOCTOR_TEXT + 64], mend[DOCTOR_TEXT] = "";

    for (size_t i = 0; i < d->conf->zone_count; i++) {
        if (!can_be_in(d, i))
            append(empty, "%s%s", *empty != '\0' ? ", " : "", d->conf->zones[i].name);
        mend_zone(d, &d->conf->zones[i], mend);
    }
    list_strangers(d, strangers);
    if (*empty != '\0') {
        snprintf(finding, sizeof(finding), "nothing can be in %s: zones before take it all", empty);
        doctor_check(d, "zones", false, finding, "put these zones before the wider ones in zones = ( ... )", NULL);
    } else if (*strangers != '\0') {
        snprintf(finding, sizeof(finding), "neighbours are in no zone: %s", strangers);
        doctor_check(d, "zones", false, finding, mend, NULL);
    } else
        doctor_check(d, "zones", true, "something can be in each zone, and the neighbours on their interfaces are in one", NULL,
                     NULL);
}

void doctor_other_tables(struct doctor *d)
{
    char finding[DOCTOR_TEXT] = "", mend[DOCTOR_TEXT] = "", others[DOCTOR_TEXT] = "";
    struct nft_chain chains[OTHER_CHAINS];
    size_t count = 0;
    bool listed = nft_others(d->filter->nft, chains, OTHER_CHAINS, &count);

    for (size_t i = 0; i < count; i++) {
        append(chains[i].drops ? finding : others, "%s%s (hook %s)", *(chains[i].drops ? finding : others) != '\0' ? ", " : "",
               chains[i].name, chains[i].hook);
        if (chains[i].drops)
            append(mend, "%snft list chain %s", *mend != '\0' ? "; " : "", chains[i].name);
    }
    if (*mend != '\0') {
        append(finding, ": policy drop, so each has to accept what Postern lets pass, too");
        append(mend, " (add rules that accept it there, or stop that firewall)");
    }
    if (*others != '\0')
        append(finding, "%swithout policy drop, but they may have rules that drop: %s", *finding != '\0' ? "; " : "", others);
    doctor_check(d, "other tables", listed && *mend == '\0',
                 !listed            ? "chains of other tables cannot be listed"
                 : *finding == '\0' ? "no other table has a chain that packets pass"
                                    : finding,
                 listed ? mend : "nft list ruleset", NULL);
}

static void check_events(struct doctor *d)
{
    long events = doctor_sysctl("net/netfilter/nf_conntrack_events");

    doctor_check(d, "conntrack events", events != 0,
                 events != 0 ? "the kernel tells of changes" : "the kernel tells of no changes: rows of flows come late",
                 "sysctl -w net.netfilter.nf_conntrack_events=2", NULL);
}

static void ignore_entry(void *arg, const struct conntrack_entry *entry)
{
    (void)entry;
    ++*(size_t *)arg;
}

void doctor_conntrack(struct doctor *d)
{
    long count = doctor_sysctl("net/netfilter/nf_conntrack_count"), max = doctor_sysctl("net/netfilter/nf_conntrack_max");
    long accounting = doctor_sysctl("net/netfilter/nf_conntrack_acct");
    char finding[DOCTOR_TEXT], mend[DOCTOR_TEXT], canary[DOCTOR_TEXT];
    size_t listed = 0;
    bool dumped = count > 20000 || conntrack_dump(d->filter->conntrack, ignore_entry, &listed);

    doctor_check(d, "accounting", accounting == 1,
                 accounting == 1 ? "flows that the kernel forwards are counted in bytes"
                                 : "flows that the kernel forwards are shown without bytes",
                 "sysctl -w net.netfilter.nf_conntrack_acct=1", NULL);
    check_events(d);
    snprintf(finding, sizeof(finding), "%ld of %ld entries are taken", count, max);
    snprintf(mend, sizeof(mend), "sysctl -w net.netfilter.nf_conntrack_max=%ld", 4 * max);
    snprintf(canary, sizeof(canary), "%zu entries were listed", listed);
    doctor_check(d, "conntrack table",
                 dumped && count >= 0 && max > 0 && count<max - max / 10, finding, mend, count> 20000 ? NULL : canary);
}
