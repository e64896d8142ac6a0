/* SPDX-License-Identifier: ISC */
/*
 * The resolver. An entry is a name that is being asked for or was: its waiters, then its addresses until they expire. Entries live
 * in one hash table of bounded size, the oldest answers go first. Answers keep the TTL of the record that expires first, at most a
 * day; a name without addresses is remembered for negative_ttl, a timeout for no time at all.
 *
 * c-ares is told everything (servers, domains, no lookups in files, no sorting), so that it opens no file, neither now nor when the
 * servers change; descriptors of its sockets are watched by the loop, its timeouts run on the wheel. It takes new servers only
 * while it asks nothing, so open questions are called back first and then put again.
 */
#include "net/resolver.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/hash.h"
#include "base/idna.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096u
#define ENTRIES_MAX 16384u
#define TTL_MAX_MS (24u * 3600u * 1000u)
#define TRIES 2
#define TRY_MS 700 /* for one server: two of them are asked within the default bound of a look-up */
#define POLL_MS 50

struct resolver_query {
    struct resolver_query *next, **link;
    resolver_done *done;
    void *arg;
};

struct entry {
    struct entry *next, **link;  /* in the bucket */
    struct entry *newer, *older; /* by age; answered entries only */
    struct resolver *resolver;
    struct resolver_query *waiting;
    uint64_t expires;        /* ms; 0: being asked */
    struct timer later;      /* answers that came before the question was out */
    bool asking;             /* inside ares_getaddrinfo() */
    bool telling, forgotten; /* its waiters are being told; it goes when they were */
    enum resolver_result result;
    size_t count;
    struct addr addresses[RESOLVER_ADDRESSES];
    char name[HOST_TEXT];
};

struct watch {
    struct watch *next;
    struct loop_source source;
    ares_socket_t fd;
    struct resolver *resolver;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct timer poll;
    struct watch *watches;
    struct hash_key key;
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest;
    size_t entries;
    uint32_t negative_ttl;
    bool silent; /* what c-ares says now is no answer: it was told to stop */
    char servers[1024];
};

static void on_socket(void *arg, unsigned what)
{
    const struct watch *w = arg;

    ares_process_fd(w->resolver->channel, what & LOOP_READ ? w->fd : ARES_SOCKET_BAD, what & LOOP_WRITE ? w->fd : ARES_SOCKET_BAD);
}

static void on_poll(void *arg)
{
    struct resolver *r = arg;

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (r->watches != NULL)
        timer_set(loop_wheel(r->loop), &r->poll, clock_ms() + POLL_MS);
}

static void watch_free(struct watch *w)
{
    loop_remove(w->resolver->loop, &w->source);
    free(w);
}

/* c-ares says which of its sockets it wants to hear of. */
static void on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct watch **link = &r->watches, *w;

    while (*link != NULL && (*link)->fd != fd)
        link = &(*link)->next;
    w = *link;
    if (w != NULL) {
        *link = w->next;
        watch_free(w);
    }
    if (!readable && !writable)
        return;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return; /* the query will time out */
    *w = (struct watch){ .next = r->watches, .fd = fd, .resolver = r };
    w->source = (struct loop_source){ .fn = on_socket, .arg = w, .fd = -1 };
    r->watches = w;
    if (!loop_add(r->loop, &w->source, fd, (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u)))
        log_error("a resolver's socket cannot be watched: its query will time out");
    timer_set(loop_wheel(r->loop), &r->poll, clock_ms() + POLL_MS);
}

struct resolver *resolver_new(struct loop *loop)
{
    struct resolver *r = calloc(1, sizeof(*r));
    struct ares_options options = { .flags = ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH,
                                    .timeout = TRY_MS,
                                    .tries = TRIES,
                                    .ndots = 1,
                                    .lookups = (char *)"b",
                                    .sock_state_cb = on_state,
                                    .sock_state_cb_data = r };
    struct in_addr nowhere = { 0 };

    if (r == NULL)
        return NULL;
    r->loop = loop;
    hash_key_random(&r->key);
    timer_init(&r->poll, on_poll, r);
    options.servers = &nowhere;
    options.nservers = 1;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&r->channel, &options,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS |
                              ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
        free(r);
        return NULL;
    }
    return r;
}

static void forget(struct entry *e)
{
    struct resolver *r = e->resolver;

    *e->link = e->next;
    if (e->next != NULL)
        e->next->link = e->link;
    if (e->expires != 0) {
        *(e->newer ? &e->newer->older : &r->newest) = e->older;
        *(e->older ? &e->older->newer : &r->oldest) = e->newer;
    }
    r->entries--;
    timer_clear(loop_wheel(r->loop), &e->later);
    e->forgotten = true;
    if (!e->telling)
        free(e);
}

static void forget_answers(struct resolver *r)
{
    while (r->oldest != NULL)
        forget(r->oldest);
}

void resolver_free(struct resolver *r)
{
    if (r == NULL)
        return;
    r->silent = true;
    ares_destroy(r->channel); /* calls back for every open question */
    timer_clear(loop_wheel(r->loop), &r->poll);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (r->buckets[i] != NULL) {
            while (r->buckets[i]->waiting != NULL)
                /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): resolver_cancel() takes it out of the list */
                resolver_cancel(r->buckets[i]->waiting);
            forget(r->buckets[i]);
        }
    }
    while (r->watches != NULL) {
        struct watch *w = r->watches;

        r->watches = w->next;
        watch_free(w);
    }
    ares_library_cleanup();
    free(r);
}

static struct entry **bucket_of(struct resolver *r, struct span name)
{
    return &r->buckets[hash_bytes(&r->key, name.at, name.len) % BUCKETS];
}

static struct entry *find(struct resolver *r, struct span name)
{
    struct entry *e = *bucket_of(r, name);

    while (e != NULL && !span_eq(span_str(e->name), name))
        e = e->next;
    return e;
}

static void answered(struct entry *e, enum resolver_result result, uint32_t ttl)
{
    struct resolver *r = e->resolver;

    e->result = result;
    e->telling = true;
    e->expires = clock_ms() + ttl + 1;
    e->older = r->newest;
    e->newer = NULL;
    *(r->newest ? &r->newest->newer : &r->oldest) = e;
    r->newest = e;
    while (e->waiting != NULL) {
        struct resolver_query *q = e->waiting;
        resolver_done *done = q->done;
        void *arg = q->arg;

        resolver_cancel(q);
        done(arg, result, e->addresses, e->count);
    }
    e->telling = false;
    if (e->forgotten)
        free(e);
    else if (result == RESOLVER_TIMEOUT || ttl == 0)
        forget(e);
}

/* In ms, of two TTLs the shorter. */
static uint32_t shorter(uint32_t ttl, int seconds)
{
    if (seconds < 0)
        return 0;
    return (uint64_t)seconds * 1000u < ttl ? (uint32_t)seconds * 1000u : ttl;
}

static uint32_t collect(struct entry *e, const struct ares_addrinfo *info)
{
    uint32_t ttl = TTL_MAX_MS;

    for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next)
        ttl = shorter(ttl, c->ttl);
    for (const struct ares_addrinfo_node *n = info->nodes; n != NULL && e->count < RESOLVER_ADDRESSES; n = n->ai_next) {
        if (!addr_from_sockaddr(&e->addresses[e->count], n->ai_addr, n->ai_addrlen))
            continue;
        e->count++;
        ttl = shorter(ttl, n->ai_ttl);
    }
    return ttl;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct entry *e = arg;
    bool no_answer = status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED, silent = e->resolver->silent;
    uint32_t ttl = e->resolver->negative_ttl;

    (void)timeouts;
    e->result = no_answer ? RESOLVER_TIMEOUT : RESOLVER_NO_NAME;
    if (status == ARES_SUCCESS && info != NULL && !e->asking && !silent)
        ttl = collect(e, info);
    if (info != NULL)
        ares_freeaddrinfo(info);
    if (e->asking) /* c-ares refused the question at once: the asker has not even returned */
        timer_set(loop_wheel(e->resolver->loop), &e->later, clock_ms());
    else if (!silent)
        answered(e, e->count > 0 ? RESOLVER_OK : e->result, ttl);
}

static void on_later(void *arg)
{
    struct entry *e = arg;

    answered(e, e->result, e->resolver->negative_ttl);
}

static void put_question(struct entry *e)
{
    static const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT,
                                                      .ai_family = AF_UNSPEC,
                                                      .ai_socktype = SOCK_STREAM };

    e->asking = true;
    ares_getaddrinfo(e->resolver->channel, e->name, NULL, &hints, on_answer, e);
    e->asking = false;
}

void resolver_configure(struct resolver *r, const struct addr *servers, size_t count, uint32_t negative_ttl)
{
    char list[sizeof(r->servers)] = "", one[ADDR_TEXT];
    size_t used = 0;

    for (size_t i = 0; i < count && used + ADDR_TEXT + 1 < sizeof(list); i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? "," : "", addr_port_text(&servers[i], one));
    r->negative_ttl = negative_ttl;
    if (strcmp(list, r->servers) == 0)
        return;
    memcpy(r->servers, list, sizeof(list));
    forget_answers(r);
    r->silent = true;
    ares_cancel(r->channel);
    r->silent = false;
    ares_set_servers_ports_csv(r->channel, list);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *e = r->buckets[i]; e != NULL; e = e->next)
            if (e->expires == 0 && e->later.link == NULL)
                put_question(e);
}

static struct entry *make_entry(struct resolver *r, struct span name)
{
    struct entry *e = calloc(1, sizeof(*e)), **bucket = bucket_of(r, name);

    if (e == NULL || !span_cstr(name, e->name, sizeof(e->name))) {
        free(e);
        return NULL;
    }
    e->resolver = r;
    timer_init(&e->later, on_later, e);
    e->link = bucket;
    e->next = *bucket;
    if (e->next != NULL)
        e->next->link = &e->next;
    *bucket = e;
    r->entries++;
    return e;
}

static struct resolver_query *wait_for(struct entry *e, resolver_done *done, void *arg)
{
    struct resolver_query *q = calloc(1, sizeof(*q));

    if (q == NULL)
        return NULL;
    *q = (struct resolver_query){ e->waiting, &e->waiting, done, arg };
    if (q->next != NULL)
        q->next->link = &q->next;
    e->waiting = q;
    return q;
}

bool resolver_cached(struct resolver *r, struct span name, enum resolver_result *result, const struct addr **addresses,
                     size_t *count)
{
    struct entry *e = find(r, name);

    if (e == NULL || e->expires == 0)
        return false;
    if (e->expires <= clock_ms()) {
        forget(e);
        return false;
    }
    *result = e->result;
    *addresses = e->addresses;
    *count = e->count;
    return true;
}

struct resolver_query *resolver_ask(struct resolver *r, struct span name, resolver_done *done, void *arg)
{
    struct entry *e = find(r, name);
    struct resolver_query *q;

    if (e != NULL && e->expires == 0)
        return wait_for(e, done, arg);
    if (e != NULL)
        forget(e);
    while (r->entries >= ENTRIES_MAX && r->oldest != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget() takes the oldest out of its lists */
        forget(r->oldest);
    if (r->entries >= ENTRIES_MAX || (e = make_entry(r, name)) == NULL)
        return NULL;
    q = wait_for(e, done, arg);
    if (q == NULL) {
        forget(e);
        return NULL;
    }
    put_question(e);
    return q;
}

void resolver_cancel(struct resolver_query *q)
{
    *q->link = q->next;
    if (q->next != NULL)
        q->next->link = q->link;
    free(q);
}
