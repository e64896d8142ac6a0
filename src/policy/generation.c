/* SPDX-License-Identifier: ISC */
/*
 * The reference count of generations. Who makes one: the monitor (app/generation_make.c) and, from the same text and tables, every
 * process that decides or shows (app/generation_load.c).
 */
#include "policy/generation.h"

#include <stdlib.h>
#include <sys/mman.h>

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

void generation_unref(struct generation *g)
{
    if (g == NULL || --g->refs > 0)
        return;
    rules_free(g->rules);
    for (size_t i = 0; g->files != NULL && i < g->conf->policy_count; i++)
        if (g->files[i].memory != NULL)
            munmap((void *)g->files[i].memory, g->files[i].size);
    free(g->files);
    conf_hosts_free(g->hosts);
    conf_free(g->conf);
    free(g);
}
