/* SPDX-License-Identifier: ISC */
/*
 * A generation into the kernel: policy routing first (packets that nothing marks yet do not mind), then the table in one
 * transaction. When the table is refused the routing is as it was.
 *
 * What was committed and what the kernel lists of it are kept as digests, in shared memory too. So the same text is not committed
 * twice, not even by the replacement of a filter process that died; and a table that another program has changed or removed is
 * seen and put back, with the blocks that have time left. The kernel tells of changes; ticks look again, in case it did not, less
 * often where the table is so large that listing it takes time.
 */
#include "app/filter.h"

#include "base/clock.h"
#include "base/hash.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMIT_TRIES 3
#define CHECK_SHARE 20 /* looks that nobody asked for take at most one part in this many of the time */

/* Policy routing delivers what TPROXY takes, and what comes back to a socket that has a client's address. */
static bool needs_routing(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->mode == MODE_TRANSPARENT && (l->intercept == INTERCEPT_TPROXY || l->preserve_client_address))
            return true;
    }
    return false;
}

static uint64_t digest(const char *text)
{
    static const struct hash_key key = { 0x706f737465726e31, 0x6e667461626c6573 };
    uint64_t hash = hash_bytes(&key, text, strlen(text));

    return hash != 0 ? hash : 1;
}

/* malloc'd; NULL: no memory. `blocked`: with what is blocked now. */
static char *compile(const struct filter *f, const struct generation *g, bool blocked)
{
    struct ruleset_input in = { .conf = g->conf, .rules = g->rules, .workers = f->args->worker_user, .filter = getuid() };
    struct ruleset_block *blocks = NULL;
    char *text;

    if (blocked) {
        blocks = blocks_list(f->blocks, clock_ms(), &in.block_count);
        if (blocks == NULL)
            return NULL;
        in.blocks = blocks;
    }
    text = ruleset_text(&in);
    free(blocks);
    return text;
}

/* A listing that may be of what others made of the table must not become what has to stay: it is 0 then, if it is so again and
 * again, and the next check commits once more. */
static bool commit_listed(struct nft *nft, const char *text, uint64_t *listing, char *error)
{
    char *said;

    for (int i = 0; i < COMMIT_TRIES; i++) {
        if (!nft_commit_listed(nft, text, &said, error))
            return false;
        *listing = said != NULL && said[0] != '\0' ? digest(said) : 0;
        free(said);
        if (*listing != 0)
            return true;
    }
    return true;
}

/* Both in one transaction; `second` may be NULL. */
static bool commit_texts(struct nft *nft, const char *first, const char *second, uint64_t *listing, char *error)
{
    size_t size = strlen(first) + (second != NULL ? strlen(second) : 0) + 2;
    char *text = malloc(size);
    bool good;

    if (text == NULL) {
        snprintf(error, NFT_ERROR, "no memory for the ruleset");
        return false;
    }
    snprintf(text, size, "%s\n%s", first, second != NULL ? second : "");
    good = commit_listed(nft, text, listing, error);
    free(text);
    return good;
}

/* 0: it is not there, or cannot be listed. */
static uint64_t listing_digest(struct nft *nft)
{
    char *listing = nft_list(nft, true);
    uint64_t hash = listing != NULL && listing[0] != '\0' ? digest(listing) : 0;

    free(listing);
    return hash;
}

bool filter_holds(struct filter *f)
{
    return f->listing != 0 && listing_digest(f->nft) == f->listing;
}

static void remember(struct filter *f, uint64_t text, uint64_t listing)
{
    f->text = text;
    f->listing = listing;
    memcpy(f->stats->table, f->table, sizeof(f->table));
    atomic_store_explicit(&f->stats->text, f->text, memory_order_relaxed);
    atomic_store_explicit(&f->stats->listing, f->listing, memory_order_relaxed);
    atomic_store_explicit(&f->stats->committed_us, clock_wall_us(), memory_order_relaxed);
    atomic_fetch_add_explicit(&f->stats->commits, 1, memory_order_relaxed);
}

/* The table of `g` in place of the one called `old` (NULL: of the same name). Nothing is done if all is as it should be. */
static bool commit_table(struct filter *f, struct nft *nft, const struct generation *g, const char *old, char *error)
{
    char *bare = compile(f, g, false), *text = compile(f, g, true), *removal = old != NULL ? ruleset_removal(old) : NULL;
    bool good = bare != NULL && text != NULL && (old == NULL || removal != NULL);
    uint64_t listing;

    if (!good)
        snprintf(error, NFT_ERROR, "no memory for the ruleset");
    else if (old != NULL || digest(bare) != f->text || f->listing == 0 || listing_digest(nft) != f->listing) {
        good = commit_texts(nft, text, removal, &listing, error);
        if (good) {
            snprintf(f->table, sizeof(f->table), "%s", g->conf->packet_filter.table);
            remember(f, digest(bare), listing);
        }
    } else
        log_debug("the table is as it should be: nothing to commit");
    free(bare);
    free(text);
    free(removal);
    return good;
}

/* What there is after it was installed is what has to stay: a machine without IPv6 has half of it. */
static void remember_routing(struct filter *f, bool wanted)
{
    f->routed = wanted;
    f->routed4 = wanted && policy_route_present(AF_INET);
    f->routed6 = wanted && policy_route_present(AF_INET6);
}

static void remove_routing(struct filter *f)
{
    char error[NFT_ERROR];

    remember_routing(f, false);
    if (!policy_route_remove(error, sizeof(error)))
        log_error("policy routing cannot be removed: %s", error);
}

static bool commit_all(struct filter *f, struct nft *nft, const struct generation *g, const char *old, char *error)
{
    bool wanted = needs_routing(g->conf);

    if (wanted && !policy_route_install(error, NFT_ERROR)) {
        if (!f->routed)
            remove_routing(f);
        return false;
    }
    if (!commit_table(f, nft, g, old, error)) {
        if (wanted && !f->routed)
            remove_routing(f);
        return false;
    }
    if (wanted)
        remember_routing(f, true);
    else if (f->routed || policy_route_present(AF_INET) || policy_route_present(AF_INET6))
        remove_routing(f);
    return true;
}

static void on_watch(int fd, short what, void *arg)
{
    struct filter *f = arg;
    static const struct timeval soon = { 0, 100000 };

    (void)fd;
    (void)what;
    clock_tick();
    if (nft_watch_read(f->nft) && !event_pending(f->late_event, EV_TIMEOUT, NULL))
        (void)event_add(f->late_event, &soon);
}

void filter_check_soon(struct filter *f)
{
    static const struct timeval now = { 0, 0 };

    (void)event_add(f->late_event, &now);
}

static void close_table(struct filter *f)
{
    if (f->watch_event != NULL)
        event_free(f->watch_event);
    f->watch_event = NULL;
    nft_close(f->nft);
    f->nft = NULL;
}

static void take_table(struct filter *f, struct nft *nft)
{
    close_table(f);
    f->nft = nft;
    f->watch_event = event_new(f->base, nft_watch_fd(nft), EV_READ | EV_PERSIST, on_watch, f);
    if (f->watch_event == NULL || event_add(f->watch_event, NULL) < 0)
        log_error("changes of the ruleset are only seen every other second");
}

bool filter_commit(struct filter *f, struct generation *g, char *error)
{
    const char *name = g->conf->packet_filter.table;
    bool first = f->nft == NULL, renamed = f->table[0] != '\0' && strcmp(f->table, name) != 0;
    struct nft *nft = first || renamed ? nft_open(name, error) : f->nft;

    if (nft == NULL)
        return false;
    if (first)
        filter_blocks_adopt(f, nft);
    if (!commit_all(f, nft, g, renamed ? f->table : NULL, error)) {
        if (nft != f->nft)
            nft_close(nft);
        return false;
    }
    if (nft != f->nft)
        take_table(f, nft);
    return true;
}

static void mend_table(struct filter *f)
{
    char *text = compile(f, f->current, true), error[NFT_ERROR] = "no memory for the ruleset";
    uint64_t listing;

    if (text != NULL && commit_listed(f->nft, text, &listing, error)) {
        remember(f, f->text, listing);
        atomic_fetch_add_explicit(&f->stats->mended, 1, memory_order_relaxed);
        f->in_trouble = false;
        log_info("table inet %s is committed again", f->table);
    } else if (!f->in_trouble) {
        log_error("table inet %s cannot be committed again: %s", f->table, error);
        f->in_trouble = true;
    }
    free(text);
}

static void check_table(struct filter *f)
{
    char *listing = nft_list(f->nft, true);

    if (listing == NULL && !f->in_trouble) {
        log_error("table inet %s cannot be listed", f->table);
        f->in_trouble = true;
    } else if (listing != NULL && digest(listing) != f->listing) {
        if (!f->in_trouble)
            log_warn("table inet %s was %s by another program", f->table, listing[0] == '\0' ? "removed" : "changed");
        mend_table(f);
    } else if (listing != NULL)
        f->in_trouble = false;
    free(listing);
}

static void check_routing(struct filter *f)
{
    char error[NFT_ERROR];

    if (!f->routed || ((!f->routed4 || policy_route_present(AF_INET)) && (!f->routed6 || policy_route_present(AF_INET6))))
        return;
    log_warn("policy routing was removed by another program");
    if (policy_route_install(error, sizeof(error)))
        atomic_fetch_add_explicit(&f->stats->mended, 1, memory_order_relaxed);
    else
        log_error("policy routing cannot be installed again: %s", error);
}

void filter_check(struct filter *f)
{
    uint64_t began = clock_ms();

    if (f->current == NULL || f->standby)
        return;
    check_routing(f);
    if (began < f->check_ms)
        return;
    check_table(f);
    clock_tick();
    f->check_ms = clock_ms() + (clock_ms() - began) * CHECK_SHARE;
}

bool filter_remove(struct filter *f)
{
    char *text = f->nft != NULL ? ruleset_removal(f->table) : NULL, error[NFT_ERROR] = "no memory for it";
    bool good = f->nft == NULL || (text != NULL && nft_commit(f->nft, text, error));

    if (!good)
        log_error("table inet %s cannot be removed: %s", f->table, error);
    else if (f->nft != NULL)
        log_info("table inet %s is removed", f->table);
    if (f->routed && !policy_route_remove(error, sizeof(error))) {
        log_error("policy routing cannot be removed: %s", error);
        good = false;
    }
    atomic_store_explicit(&f->stats->text, 0, memory_order_relaxed);
    atomic_store_explicit(&f->stats->listing, 0, memory_order_relaxed);
    f->stats->table[0] = '\0';
    atomic_store_explicit(&f->stats->committed_us, 0, memory_order_relaxed);
    free(text);
    return good;
}

void filter_close(struct filter *f)
{
    close_table(f);
}
