/* SPDX-License-Identifier: ISC */
/*
 * Base chains of other tables: whatever they drop, Postern's table cannot let pass. Their policies can be listed and said; what
 * their rules do to which packet cannot, so a chain is told with its policy and its place, and a person looks at the rest.
 */
#include "filter/nft_run.h"

#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *chain, const char *key)
{
    const char *text = json_string_value(json_object_get(chain, key));

    return text != NULL ? text : "";
}

static bool is_on_the_way(const struct nft *n, const json_t *chain)
{
    static const char *const hooks[] = { "ingress", "prerouting", "input", "forward", "output", "postrouting" };
    bool ours = strcmp(text_of(chain, "family"), "inet") == 0 && strcmp(text_of(chain, "table"), n->table) == 0;

    for (size_t i = 0; !ours && i < sizeof(hooks) / sizeof(hooks[0]); i++)
        if (strcmp(text_of(chain, "hook"), hooks[i]) == 0)
            return true;
    return false;
}

bool nft_others(struct nft *n, struct nft_chain *out, size_t max, size_t *count)
{
    char error[NFT_ERROR];
    json_t *all, *item;
    size_t i;

    *count = 0;
    if (!nft_run(n, NFT_CTX_OUTPUT_JSON, "list chains", error) || (all = json_loads(nft_output(n), 0, NULL)) == NULL)
        return false;
    json_array_foreach(json_object_get(all, "nftables"), i, item)
    {
        const json_t *chain = json_object_get(item, "chain");

        if (*count >= max || !is_on_the_way(n, chain))
            continue;
        snprintf(out[*count].name, sizeof(out[*count].name), "%s %s %s", text_of(chain, "family"), text_of(chain, "table"),
                 text_of(chain, "name"));
        snprintf(out[*count].hook, sizeof(out[*count].hook), "%s", text_of(chain, "hook"));
        out[(*count)++].drops = strcmp(text_of(chain, "policy"), "drop") == 0;
    }
    json_decref(all);
    return true;
}
