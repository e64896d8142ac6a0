/* SPDX-License-Identifier: ISC */
/*
 * The configuration as a ruleset. One transaction: the table is made (so that it is there to be removed), removed, and made anew,
 * so nothing of an old one stays and nothing else is touched. What the rules do is in ruleset_chains.c, ruleset_policies.c and
 * ruleset_zones.c, and packet_judge() is the same as a function; whoever changes one of them changes both.
 *
 * Names of zones, listeners and policies are letters, digits and dashes only. Every name of ours in the text has a dash or a digit,
 * or stands where nftables has no keyword: "forward" may be a chain, "masquerade" not.
 */
#include "filter/ruleset_parts.h"

#include <stdlib.h>

/* Networks of one family as they are sorted: those before which they lie in, or which they equal, come first. */
static int compare_blocks(const void *a, const void *b)
{
    const struct ruleset_block *x = a, *y = b;
    address_number first = ranges_number(&x->network.base), second = ranges_number(&y->network.base);

    if (first != second)
        return first < second ? -1 : 1;
    return (int)x->network.bits - (int)y->network.bits;
}

/* A set takes no overlapping elements: of those that do, the widest stays, for the longest time. Returns how many are left. */
static size_t merge_blocks(struct ruleset_block *blocks, size_t count)
{
    size_t n = 0;

    if (count > 0)
        qsort(blocks, count, sizeof(*blocks), compare_blocks);
    for (size_t i = 0; i < count; i++) {
        struct ruleset_block *last = n > 0 ? &blocks[n - 1] : NULL;

        if (last == NULL || !network_inside(&blocks[i].network, &last->network))
            blocks[n++] = blocks[i];
        else if (blocks[i].seconds > last->seconds)
            last->seconds = blocks[i].seconds;
    }
    return n;
}

static void print_block_set(struct ruleset *r, const char *name, int family)
{
    struct ruleset_block *blocks = calloc(r->in->block_count + 1, sizeof(*blocks));
    char text[ADDR_TEXT];
    size_t count = 0;

    r->failed = r->failed || blocks == NULL;
    for (size_t i = 0; blocks != NULL && i < r->in->block_count; i++)
        if (r->in->blocks[i].network.base.family == family && r->in->blocks[i].seconds > 0)
            blocks[count++] = r->in->blocks[i];
    count = blocks != NULL ? merge_blocks(blocks, count) : 0;
    fprintf(r->out, "\tset %s {\n\t\ttype %s\n\t\tflags interval,timeout\n", name, family == AF_INET6 ? "ipv6_addr" : "ipv4_addr");
    if (count > 0)
        fputs("\t\telements = {\n", r->out);
    for (size_t i = 0; i < count; i++)
        fprintf(r->out, "\t\t\t%s/%u timeout %us,\n", addr_text(&blocks[i].network.base, text), blocks[i].network.bits,
                blocks[i].seconds);
    fputs(count > 0 ? "\t\t}\n\t}\n" : "\t}\n", r->out);
    free(blocks);
}

static void print_table(struct ruleset *r)
{
    const char *name = r->conf->packet_filter.table;

    fprintf(r->out, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", name, name, name);
    print_block_set(r, RULESET_BLOCK4, AF_INET);
    print_block_set(r, RULESET_BLOCK6, AF_INET6);
    ruleset_zone_sets(r);
    ruleset_policy_sets(r);
    ruleset_helpers(r);
    ruleset_zone_marks(r);
    ruleset_policy_chains(r);
    ruleset_hooks(r);
    fputs("}\n", r->out);
}

static bool prepare(struct ruleset *r)
{
    const struct conf *conf = r->conf;

    for (int i = 0; i < 2; i++)
        r->has[i] = calloc(conf->zone_count + 1, sizeof(**r->has));
    r->words = conf->policy_count / 64 + 1;
    r->names = calloc(conf->zone_count + 1, sizeof(*r->names));
    r->group = calloc(conf->zone_count + 1, sizeof(*r->group));
    r->protocols = calloc(conf->policy_count + 1, sizeof(*r->protocols));
    r->about = calloc(conf->zone_count + 1, r->words * sizeof(*r->about));
    if (r->has[0] == NULL || r->has[1] == NULL || r->names == NULL || r->group == NULL || r->protocols == NULL || r->about == NULL)
        return false;
    ruleset_zones_init(r);
    ruleset_policies_init(r);
    for (size_t i = 0; i < conf->listener_count; i++)
        r->twins = r->twins || conf->listeners[i].mode == MODE_TRANSPARENT;
    return true;
}

char *ruleset_text(const struct ruleset_input *in)
{
    struct ruleset r = { .in = in, .conf = in->conf };
    char *text = NULL;
    size_t size;

    r.failed = !prepare(&r);
    r.out = r.failed ? NULL : open_memstream(&text, &size);
    if (r.out != NULL) {
        print_table(&r);
        r.failed = ferror(r.out) || r.failed;
        r.failed = fclose(r.out) != 0 || r.failed;
    }
    free(r.has[0]);
    free(r.has[1]);
    free(r.names);
    free(r.group);
    free(r.protocols);
    free(r.about);
    if (!r.failed)
        return text;
    free(text);
    return NULL;
}

char *ruleset_removal(const char *name)
{
    char *text;

    return asprintf(&text, "add table inet %s\ndelete table inet %s\n", name, name) < 0 ? NULL : text;
}
