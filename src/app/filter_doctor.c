/* SPDX-License-Identifier: ISC */
/*
 * The doctor: is everything as packets need it? Each check says what it found, how that was proved where something can be tried
 * (the canary), and what mends it. Nothing is changed, and nothing waits for long: connections to our own listeners are opened all
 * at once and have CANARY_MS together.
 *
 * The same process answers how the kernel would route a client's packet, for `explain`.
 */
#include "app/filter_doctor.h"

#include "app/sandbox.h"

#include "app/json_put.h"
#include "base/clock.h"
#include "filter/spoof.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANARY_MS 1500 /* a worker that is only busy answers in this */
#define CANARIES 64

void doctor_check(struct doctor *d, const char *name, bool ok, const char *finding, const char *mend, const char *canary)
{
    json_t *check = json_object();

    put_text(check, "name", name);
    put_bool(check, "ok", ok);
    put_text(check, "finding", finding);
    if (!ok)
        put_text(check, "mend", mend);
    put_text(check, "canary", canary);
    (void)json_array_append_new(d->checks, check);
}

bool doctor_is_own(const struct doctor *d, const struct addr *a)
{
    for (size_t i = 0; i < d->own_count; i++)
        if (addr_same_ip(&d->own[i].address, a))
            return true;
    return false;
}

bool doctor_names(const struct conf_strings *list, const char *zone)
{
    for (size_t i = 0; i < list->count; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): every zone has a name */
        if (strcmp(list->items[i], zone) == 0)
            return true;
    return list->count == 0;
}

bool doctor_has_family(const struct doctor *d, int family)
{
    for (size_t i = 0; i < d->own_count; i++) {
        const struct addr *a = &d->own[i].address;

        if (a->family == family && !addr_is_loopback(a) && !(family == AF_INET6 && a->ip[0] == 0xfe))
            return true;
    }
    return false;
}

static unsigned bits_of(const struct sockaddr *mask)
{
    struct addr a;
    unsigned bits = 0;

    if (mask == NULL || !addr_from_sockaddr(&a, mask, sizeof(struct sockaddr_in6)))
        return 0;
    for (size_t i = 0; i < sizeof(a.ip); i++)
        bits += (unsigned)__builtin_popcount(a.ip[i]);
    return bits;
}

void doctor_init(struct doctor *d, struct filter *f, const struct generation *g)
{
    struct ifaddrs *list, *i;

    memset(d, 0, sizeof(*d));
    d->filter = f;
    d->generation = g;
    d->conf = g->conf;
    d->checks = json_array();
    if (getifaddrs(&list) != 0)
        return;
    for (i = list; i != NULL && d->own_count < DOCTOR_OWN; i = i->ifa_next) {
        struct doctor_own *own = &d->own[d->own_count];

        if (i->ifa_addr == NULL || !addr_from_sockaddr(&own->address, i->ifa_addr, sizeof(struct sockaddr_in6)))
            continue;
        own->bits = bits_of(i->ifa_netmask);
        snprintf(own->interface, sizeof(own->interface), "%s", i->ifa_name);
        d->own_count++;
    }
    freeifaddrs(list);
}

/* One connection of our own to a listener. */
struct canary {
    const struct conf_listener *listener;
    int fd;
    enum { CANARY_CONNECTING, CANARY_ACCEPTED, CANARY_CLOSED, CANARY_FAILED } state;
    int error;
};

/* From loopback, so that nothing can be held against an address that others see. */
static void canary_open(struct canary *c)
{
    struct addr to = c->listener->address, from = { .family = to.family, .ip = { 127, 0, 0, 1 } };
    struct sockaddr_storage sa;
    socklen_t len;

    if (to.family == AF_INET6)
        from = (struct addr){ .family = AF_INET6, .ip = { [15] = 1 } };
    if (addr_is_any(&to))
        memcpy(to.ip, from.ip, sizeof(to.ip));
    c->fd = socket(to.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = CANARY_CONNECTING;
    len = addr_to_sockaddr(&from, &sa);
    if (c->fd >= 0 && bind(c->fd, (struct sockaddr *)&sa, len) == 0) {
        len = addr_to_sockaddr(&to, &sa);
        if (connect(c->fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS)
            return;
    }
    c->state = CANARY_FAILED;
    c->error = errno;
}

/* A transparent listener has to close such a connection: nobody dialled anything through it. */
static void canary_look(struct canary *c)
{
    socklen_t len = sizeof(c->error);
    char byte;

    if (c->state == CANARY_CONNECTING) {
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &c->error, &len) != 0)
            c->error = errno;
        c->state = c->error == 0 ? CANARY_ACCEPTED : CANARY_FAILED;
        if (c->error == ECONNRESET && c->listener->mode == MODE_TRANSPARENT)
            c->state = CANARY_CLOSED; /* it was refused before we looked */
    }
    if (c->state != CANARY_ACCEPTED || c->listener->mode != MODE_TRANSPARENT)
        return;
    if (recv(c->fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN)
        c->state = CANARY_CLOSED;
}

static bool is_over(const struct canary *c)
{
    return c->state == CANARY_CLOSED || c->state == CANARY_FAILED ||
           (c->state == CANARY_ACCEPTED && c->listener->mode != MODE_TRANSPARENT);
}

static void canaries_wait(struct canary *canaries, size_t count)
{
    uint64_t end = clock_ms() + CANARY_MS;
    struct pollfd fds[CANARIES];
    size_t open = count;

    while (open > 0 && clock_ms() < end) {
        open = 0;
        for (size_t i = 0; i < count; i++) {
            bool over = is_over(&canaries[i]), connecting = canaries[i].state == CANARY_CONNECTING;

            fds[i] = (struct pollfd){ over ? -1 : canaries[i].fd, connecting ? POLLOUT : POLLIN, 0 };
            open += !over;
        }
        if (open == 0 || poll(fds, count, (int)(end - clock_ms())) <= 0)
            break;
        for (size_t i = 0; i < count; i++)
            if (fds[i].revents != 0)
                canary_look(&canaries[i]);
        clock_tick();
    }
}

static void report_canary(struct doctor *d, const struct canary *c)
{
    bool transparent = c->listener->mode == MODE_TRANSPARENT;
    char name[64], finding[DOCTOR_TEXT], address[ADDR_TEXT];
    bool accepted = c->state == CANARY_ACCEPTED || c->state == CANARY_CLOSED;

    snprintf(name, sizeof(name), "listener %s", c->listener->name);
    addr_port_text(&c->listener->address, address);
    if (c->state == CANARY_FAILED)
        snprintf(finding, sizeof(finding), "%s cannot be connected to: %s", address, strerror(c->error));
    else if (!accepted)
        snprintf(finding, sizeof(finding), "%s does not accept", address);
    else
        snprintf(finding, sizeof(finding), "%s accepts", address);
    doctor_check(d, name, transparent ? c->state == CANARY_CLOSED : accepted, finding, "posternctl status: are all workers ready?",
                 !accepted                   ? NULL
                 : c->state == CANARY_CLOSED ? "a direct connection, which nobody intercepted, was refused"
                 : transparent               ? "a direct connection, which nobody intercepted, was not refused"
                                             : "a connection from loopback was accepted");
}

/* The kernel counts our own connections, so the rules are not only there: packets go through them. */
static void check_rules(struct doctor *d, bool present, uint64_t before, size_t connections)
{
    uint64_t counted = nft_counter(d->filter->nft, "workers") - before;
    char finding[DOCTOR_TEXT], canary[DOCTOR_TEXT];

    snprintf(finding, sizeof(finding), "table inet %s is %s", d->filter->table,
             present ? "as it was committed" : "not there, or another one than was committed");
    snprintf(canary, sizeof(canary), "%zu connections of our own were opened, the rule \"workers\" counted %llu", connections,
             (unsigned long long)counted);
    doctor_check(d, "rules", present && (connections == 0 || counted > 0), finding,
                 "another program changes the ruleset: stop it (systemctl stop nftables firewalld ufw), then posternctl reload",
                 connections > 0 ? canary : NULL);
}

static void check_listeners(struct doctor *d)
{
    bool present = filter_holds(d->filter);
    uint64_t before = nft_counter(d->filter->nft, "workers");
    struct canary canaries[CANARIES];
    size_t count = 0, sent = 0;

    for (; count < d->conf->listener_count && count < CANARIES; count++) {
        canaries[count] = (struct canary){ .listener = &d->conf->listeners[count] };
        canary_open(&canaries[count]);
        sent += canaries[count].state != CANARY_FAILED;
    }
    canaries_wait(canaries, count);
    check_rules(d, present, before, sent);
    for (size_t i = 0; i < count; i++) {
        report_canary(d, &canaries[i]);
        if (canaries[i].fd >= 0)
            close(canaries[i].fd);
    }
}

/* An address that this listener is reached at; family 0: none is known. */
static struct addr reached_at(const struct doctor *d, const struct conf_listener *listener)
{
    struct addr to = listener->address;

    if (!addr_is_any(&to))
        return to;
    for (size_t i = 0; i < d->own_count; i++)
        if (d->own[i].address.family == to.family) {
            to = d->own[i].address;
            to.port = listener->address.port;
            return to;
        }
    return (struct addr){ 0 };
}

/* Workers must know a listener of ours when they are told to dial it. */
static void check_loops(struct doctor *d)
{
    struct addr own[DOCTOR_OWN];
    struct judge_context context = { .generation = d->generation, .own = own, .own_count = d->own_count };
    const char *missed = NULL;
    char finding[DOCTOR_TEXT];

    for (size_t i = 0; i < d->own_count; i++)
        own[i] = d->own[i].address;
    for (size_t i = 0; i < d->conf->listener_count; i++) {
        struct addr to = reached_at(d, &d->conf->listeners[i]);

        if (to.family != 0 && !judge_is_listener(&context, &to))
            missed = d->conf->listeners[i].name;
    }
    snprintf(finding, sizeof(finding), "a stream to listener %s would come back", missed != NULL ? missed : "");
    doctor_check(d, "loops", missed == NULL, missed != NULL ? finding : "streams to our own listeners are refused",
                 "posternctl reload", NULL);
}

/* Somebody has to get in, or the next thing that goes wrong is mended at the keyboard. */
static void check_self(struct doctor *d)
{
    const struct conf *conf = d->conf;
    char finding[DOCTOR_TEXT], mend[DOCTOR_TEXT];
    const char *zone = NULL;

    for (size_t i = 0; i < conf->zone_count && zone == NULL; i++)
        for (size_t k = 0; k < conf->policy_count && zone == NULL; k++) {
            const struct conf_policy *p = &conf->policies[k];

            if (p->action == ACTION_ALLOW && packet_policy_fits(p, CONF_TCP) && doctor_names(&p->from, conf->zones[i].name) &&
                doctor_names(&p->to, CONF_SELF))
                zone = conf->zones[i].name;
        }
    snprintf(finding, sizeof(finding), "tcp to this machine is allowed to clients of zone %s", zone != NULL ? zone : "");
    snprintf(
        mend, sizeof(mend),
        "policies: { name = \"ssh-self\"; from = \"%s\"; to = \"self\"; ports = 22; protocols = \"tcp\"; action = \"allow\"; }",
        conf->zone_count > 0 ? conf->zones[0].name : "inside");
    doctor_check(d, "self", zone != NULL,
                 zone != NULL ? finding : "no policy allows tcp to \"self\": ssh to this machine is cut off", mend, NULL);
}

/* A socket with a client's address, as a worker would get it. */
static void check_preserve(struct doctor *d)
{
    struct addr client, server = { .family = AF_INET, .port = 80, .ip = { 198, 51, 100, 77 } };
    char finding[DOCTOR_TEXT];
    bool wanted = false;
    int fd;

    for (size_t i = 0; i < d->conf->listener_count; i++)
        wanted = wanted || d->conf->listeners[i].preserve_client_address;
    if (!wanted)
        return;
    client = server;
    client.ip[3] = 78;
    client.port = 40000;
    fd = spoof_socket(d->filter->conntrack, &client, &server);
    snprintf(finding, sizeof(finding),
             fd >= 0 ? "sockets with clients' addresses can be made" : "no socket with a client's address: %s", strerror(errno));
    doctor_check(d, "client addresses", fd >= 0, finding, "the filter process needs CAP_NET_ADMIN: start posternd as root", NULL);
    if (fd >= 0)
        close(fd);
}

static void check_helpers(struct doctor *d)
{
    const struct conf_strings *helpers = &d->conf->packet_filter.helpers;
    char *table = helpers->count > 0 ? nft_list(d->filter->nft, true) : NULL;

    for (size_t i = 0; i < helpers->count; i++) {
        char name[64], object[64], finding[DOCTOR_TEXT], mend[DOCTOR_TEXT];
        bool there;

        snprintf(name, sizeof(name), "helper %s", helpers->items[i]);
        snprintf(object, sizeof(object), "type \"%s\"", helpers->items[i]);
        there = table != NULL && strstr(table, object) != NULL;
        snprintf(finding, sizeof(finding), "the table has %s object for it", there ? "an" : "no");
        snprintf(mend, sizeof(mend), "modprobe nf_conntrack_%s; posternctl reload", helpers->items[i]);
        doctor_check(d, name, there, finding, mend, NULL);
    }
    free(table);
}

/* Off by the operator's will is well, and so is a user for all: it is in the finding. */
static void check_sandbox(struct doctor *d)
{
    const struct sandbox *s = d->filter->args->sandbox;
    char text[SANDBOX_TEXT];

    doctor_check(d, "sandbox", s->wanted == SANDBOX_OFF || (s->landlock > 0 && s->calls),
                 s->wanted == SANDBOX_OFF ? "it is switched off" : sandbox_text(s, text),
                 s->landlock == 0 ? "a kernel with Landlock, or a container that lets it be used"
                                  : "a kernel with seccomp, or a container that lets it be used",
                 NULL);
}

json_t *filter_doctor(struct filter *f)
{
    static struct doctor d;

    doctor_init(&d, f, f->current);
    check_listeners(&d);
    check_loops(&d);
    check_self(&d);
    doctor_other_tables(&d);
    doctor_interfaces(&d);
    doctor_zones(&d);
    doctor_forwarding(&d);
    doctor_reverse_path(&d);
    doctor_policy_routing(&d);
    check_preserve(&d);
    check_helpers(&d);
    doctor_conntrack(&d);
    check_sandbox(&d);
    return json_pack("{s:o}", "checks", d.checks);
}

const char *doctor_route_fault(int error)
{
    switch (error) {
    case EXDEV:
        return "the kernel drops it: a client of this address cannot come in by this interface (rp_filter)";
    case EHOSTUNREACH:
        return "the kernel does not forward (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding)";
    case ENETUNREACH:
        return "the kernel has no route there";
    case ENODEV:
        return "there is no such interface";
    case EINVAL:
        return "the kernel drops it as a martian";
    default:
        return strerror(error);
    }
}

json_t *filter_route(struct filter *f, const json_t *question)
{
    bool tproxy = json_is_true(json_object_get(question, "tproxy"));
    const char *interface = json_string_value(json_object_get(question, "interface"));
    struct policy_route_answer answer;
    struct addr from, to;
    json_t *object;

    if (!addr_parse(&from, text_at(question, "from"), 0))
        return json_pack("{s:s}", "error", "\"from\" is not an IP address");
    object = json_object();
    put_bool(object, "blocked", blocks_has(f->blocks, &from, clock_ms()));
    if (interface == NULL || (!addr_parse_port(&to, text_at(question, "to")) && !addr_parse(&to, text_at(question, "to"), 0)))
        return object;
    policy_route_ask(&from, &to, interface, tproxy ? ROUTE_MARK : 0, &answer);
    put_bool(object, "local", answer.local);
    put_text(object, "interface", answer.interface);
    if (answer.error != 0)
        put_text(object, "route_error", doctor_route_fault(answer.error));
    return object;
}
