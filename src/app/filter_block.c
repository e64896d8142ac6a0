/* SPDX-License-Identifier: ISC */
/*
 * Blocking: the kernel drops what comes from a blocked network before anything else; workers end the sessions that are open, and
 * the flows that the kernel forwards are forgotten, so that their answers do not pass either. Who is blocked is also kept here
 * (app/filter_blocks.h), because a table that is committed anew has to be filled again.
 *
 * Clients that workers found hostile too often in a minute are blocked by themselves, loopback never: everything on this machine
 * would go with it.
 */
#include "app/filter.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ADOPTED "kernel" /* why: found in the kernel's set at the start */

static void count_blocks(struct filter *f)
{
    atomic_store_explicit(&f->stats->blocks, blocks_count(f->blocks), memory_order_relaxed);
}

static bool holds_loopback(const struct network *network)
{
    static const struct addr loopback4 = { .family = AF_INET, .ip = { 127, 0, 0, 1 } },
                             loopback6 = { .family = AF_INET6, .ip = { [15] = 1 } };

    return network_has(network, &loopback4) || network_has(network, &loopback6) || addr_is_loopback(&network->base);
}

bool filter_block(struct filter *f, const struct network *network, uint32_t seconds, const char *why, char *error)
{
    uint64_t until = clock_ms() + (uint64_t)seconds * 1000;

    if (holds_loopback(network)) {
        snprintf(error, NFT_ERROR, "loopback addresses are not blocked: they are this machine's own");
        return false;
    }
    if (blocks_count(f->blocks) >= BLOCKS_MAX && !blocks_has(f->blocks, &network->base, clock_ms())) {
        snprintf(error, NFT_ERROR, "%d networks are blocked: that is the most", BLOCKS_MAX);
        return false;
    }
    if (!nft_block(f->nft, network, seconds, error))
        return false;
    if (!blocks_add(f->blocks, network, until, why))
        log_error("%s: the block is lost when the table is committed again", strerror(ENOMEM));
    count_blocks(f);
    (void)flows_block(f->flows, f->conntrack, network);
    peers_tell_blocked(f, network);
    return true;
}

bool filter_unblock(struct filter *f, const struct network *network, char *error)
{
    if (!nft_unblock(f->nft, network, error))
        return false;
    (void)blocks_remove(f->blocks, network);
    hostile_forget(f->hostile, &network->base);
    count_blocks(f);
    return true;
}

void filter_on_hostile(struct filter *f, const struct addr *client, enum reason why)
{
    const struct conf_packet_filter *pf = f->current != NULL ? &f->current->conf->packet_filter : NULL;
    struct network network = block_network(client);
    char text[ADDR_TEXT], wide[ADDR_TEXT], error[NFT_ERROR];

    if (pf == NULL || pf->block_after == 0 || addr_is_loopback(client))
        return;
    if (hostile_count(f->hostile, client, clock_ms()) <= pf->block_after || blocks_has(f->blocks, client, clock_ms()))
        return;
    addr_text(client, text);
    if (!filter_block(f, &network, pf->block_seconds, reason_name(why), error)) {
        log_remote("%s cannot be blocked: %s", text, error);
        return;
    }
    hostile_forget(f->hostile, client);
    log_warn("blocked for %u s: %s (%s/%u), for more than %u hostile events in a minute, the last: %s", pf->block_seconds, text,
             addr_text(&network.base, wide), network.bits, pf->block_after, reason_name(why));
}

void filter_blocks_adopt(struct filter *f, struct nft *nft)
{
    struct ruleset_block *found = calloc(BLOCKS_MAX, sizeof(*found));
    size_t count = found != NULL ? nft_blocks(nft, found, BLOCKS_MAX) : 0;

    for (size_t i = 0; i < count; i++)
        if (!blocks_add(f->blocks, &found[i].network, clock_ms() + (uint64_t)found[i].seconds * 1000, ADOPTED))
            break;
    if (count > 0)
        log_info("%zu blocked networks were found in the kernel and stay blocked", count);
    free(found);
    count_blocks(f);
}

void filter_blocks_tick(struct filter *f)
{
    (void)blocks_expire(f->blocks, clock_ms());
    count_blocks(f);
}
