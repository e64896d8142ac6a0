/* SPDX-License-Identifier: ISC */
/*
 * What a configuration is compiled to, and the reference count of generations. Who makes one: the monitor (app/generation_make.c)
 * and, from the same text and tables, every process that decides or shows (app/generation_load.c).
 */
#include "policy/generation.h"

#include <stdlib.h>
#include <sys/mman.h>

static bool compile_matches(struct generation *g)
{
    g->matches = calloc(g->conf->policy_count + 1, sizeof(*g->matches));
    for (size_t i = 0; g->matches != NULL && i < g->conf->policy_count; i++) {
        const struct conf_websocket *websocket = &g->conf->policies[i].websocket;

        if (websocket->match_count == 0)
            continue;
        g->matches[i] = ws_match_new(websocket);
        if (g->matches[i] == NULL)
            return false;
    }
    return g->matches != NULL;
}

bool generation_compile(struct generation *g)
{
    g->rules = rules_new(g->conf, g->files);
    return g->rules != NULL && compile_matches(g);
}

void generation_forget_tls_files(struct generation *g)
{
    for (size_t i = 0; g->tls_files != NULL && i < g->conf->tls_file_count; i++)
        if (g->tls_files[i].len > 0)
            munmap((void *)g->tls_files[i].at, g->tls_files[i].len);
    free(g->tls_files);
    g->tls_files = NULL;
}

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

void generation_unref(struct generation *g)
{
    if (g == NULL || --g->refs > 0)
        return;
    if (g->secure_free != NULL)
        g->secure_free(g->secure);
    generation_forget_tls_files(g);
    rules_free(g->rules);
    for (size_t i = 0; g->matches != NULL && i < g->conf->policy_count; i++)
        if (g->matches[i] != NULL)
            ws_match_free(g->matches[i]);
    free(g->matches);
    for (size_t i = 0; g->files != NULL && i < g->conf->policy_count; i++)
        if (g->files[i].memory != NULL)
            munmap((void *)g->files[i].memory, g->files[i].size);
    free(g->files);
    if (g->hosts_memory.len > 0)
        munmap((void *)g->hosts_memory.at, g->hosts_memory.len);
    else
        conf_hosts_free((struct conf_hosts *)g->hosts);
    free(g->tls_ends);
    conf_free(g->conf);
    free(g);
}
