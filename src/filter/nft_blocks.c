/* SPDX-License-Identifier: ISC */
/*
 * Blocked addresses and counters: single elements of the committed table, read as JSON. A block is an element with a timeout in the
 * set of its family, an address or a network; the kernel lets it expire.
 *
 * A timeout cannot be changed in place in every kernel, so a block is prolonged by adding the element (nothing happens if it is
 * there), deleting it and adding it again, all in one transaction: there is no moment without it. Elements may not overlap. An
 * address inside a blocked network is refused with the network's name, and so is its removal.
 */
#include "filter/nft_run.h"

#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

/* What the command lists; NULL if it fails. The caller owns it. */
static json_t *listing(struct nft *n, unsigned flags, const char *command)
{
    char error[NFT_ERROR];

    if (!nft_run(n, NFT_CTX_OUTPUT_JSON | flags, command, error))
        return NULL;
    return json_loads(nft_output(n), 0, NULL);
}

/* "1.2.3.4", or { "prefix": { "addr": "1.2.0.0", "len": 16 } }. */
static bool read_network(const json_t *value, struct network *out)
{
    const json_t *prefix = json_object_get(value, "prefix");
    const char *address = json_string_value(prefix == NULL ? value : json_object_get(prefix, "addr"));
    char text[ADDR_TEXT];

    if (address == NULL)
        return false;
    if (prefix == NULL)
        return network_parse(out, span_str(address));
    snprintf(text, sizeof(text), "%s/%d", address, (int)json_integer_value(json_object_get(prefix, "len")));
    return network_parse(out, span_str(text));
}

/* What is without a timeout was not put there by us; it stays as long as can be said. */
static bool read_block(const json_t *element, struct ruleset_block *out)
{
    const json_t *timed = json_object_get(element, "elem");
    const json_t *left = json_object_get(timed, "expires");
    json_int_t seconds = left == NULL ? UINT32_MAX : json_integer_value(left);

    out->seconds = seconds < 1 ? 1 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
    return read_network(timed == NULL ? element : json_object_get(timed, "val"), &out->network);
}

static size_t blocks_of(struct nft *n, const char *set, struct ruleset_block *out, size_t max)
{
    json_t *all, *item, *element;
    char command[128];
    size_t count = 0, i, k;

    snprintf(command, sizeof(command), "list set inet %s %s", n->table, set);
    all = listing(n, 0, command);
    json_array_foreach(json_object_get(all, "nftables"), i, item)
    {
        json_array_foreach(json_object_get(json_object_get(item, "set"), "elem"), k, element)
        {
            if (count < max && read_block(element, &out[count]))
                count++;
        }
    }
    json_decref(all);
    return count;
}

size_t nft_blocks(struct nft *n, struct ruleset_block *out, size_t max)
{
    size_t count = blocks_of(n, RULESET_BLOCK4, out, max);

    return count + blocks_of(n, RULESET_BLOCK6, out + count, max - count);
}

static const char *set_for(const struct network *network)
{
    return network->base.family == AF_INET6 ? RULESET_BLOCK6 : RULESET_BLOCK4;
}

static char *network_text(const struct network *network, char out[ADDR_TEXT + 4])
{
    size_t len;

    addr_text(&network->base, out);
    len = strlen(out);
    if (network->bits < (network->base.family == AF_INET6 ? 128 : 32))
        snprintf(out + len, ADDR_TEXT + 4 - len, "/%u", network->bits);
    return out;
}

/* When the kernel refused `network`: if that was because of another block, `error` names it instead. */
static void explain_overlap(struct nft *n, const struct network *network, char *error)
{
    enum { MAX = 65536 };
    struct ruleset_block *blocks = calloc(MAX, sizeof(*blocks));
    size_t count = blocks == NULL ? 0 : nft_blocks(n, blocks, MAX);
    char mine[ADDR_TEXT + 4], other[ADDR_TEXT + 4];

    for (size_t i = 0; i < count; i++) {
        if (!network_inside(network, &blocks[i].network) && !network_inside(&blocks[i].network, network))
            continue;
        snprintf(error, NFT_ERROR, "%s overlaps with %s, which is blocked: unblock that first", network_text(network, mine),
                 network_text(&blocks[i].network, other));
        break;
    }
    free(blocks);
}

/* Adds the element, if it is not there, and deletes it, and does then what `last` says: one transaction. */
static bool replace(struct nft *n, const struct network *network, const char *last, char *error)
{
    char element[192], text[ADDR_TEXT + 4], command[768];

    if (network->base.family == 0) {
        snprintf(error, NFT_ERROR, "not an address");
        return false;
    }
    snprintf(element, sizeof(element), "element inet %s %s { %s", n->table, set_for(network), network_text(network, text));
    snprintf(command, sizeof(command), "add %s timeout 1h }\ndelete %s }\n%s%s%s\n", element, element, *last == '\0' ? "" : "add ",
             *last == '\0' ? "" : element, last);
    if (nft_run(n, 0, command, error))
        return true;
    explain_overlap(n, network, error);
    return false;
}

bool nft_block(struct nft *n, const struct network *network, uint32_t seconds, char *error)
{
    char last[48];

    snprintf(last, sizeof(last), " timeout %us }", seconds < 1 ? 1 : seconds);
    return replace(n, network, last, error);
}

bool nft_unblock(struct nft *n, const struct network *network, char *error)
{
    return replace(n, network, "", error);
}

static uint64_t packets_of(const json_t *rule)
{
    const json_t *statement;
    uint64_t packets = 0;
    size_t i;

    json_array_foreach(json_object_get(rule, "expr"), i, statement)
    {
        packets += (uint64_t)json_integer_value(json_object_get(json_object_get(statement, "counter"), "packets"));
    }
    return packets;
}

uint64_t nft_counter(struct nft *n, const char *comment)
{
    json_t *all, *item;
    const char *has;
    char command[128];
    uint64_t packets = 0;
    size_t i;

    snprintf(command, sizeof(command), "list table inet %s", n->table);
    all = listing(n, NFT_CTX_OUTPUT_TERSE, command);
    json_array_foreach(json_object_get(all, "nftables"), i, item)
    {
        has = json_string_value(json_object_get(json_object_get(item, "rule"), "comment"));
        if (has != NULL && strcmp(has, comment) == 0)
            packets += packets_of(json_object_get(item, "rule"));
    }
    json_decref(all);
    return packets;
}
