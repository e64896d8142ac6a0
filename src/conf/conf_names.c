/* SPDX-License-Identifier: ISC */
/*
 * Names of zones, listeners and policies: how one looks, whether it is used twice, and whether what refers to one is right.
 * They are sorted once, so that thousands of policies that refer to hundreds of zones are checked quickly. Equal names stay in
 * the order of their items.
 */
#include "conf/conf_names.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    int order = strcmp(x, y);

    return order != 0 ? order : x < y ? -1 : x > y;
}

bool conf_names_make(struct conf_names *names, const void *items, size_t count, size_t size)
{
    *names = (struct conf_names){ .sorted = malloc((count + 1) * sizeof(char *)) };
    if (names->sorted == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *name = (const char *)items + i * size;

        if (name[0] != '\0')
            names->sorted[names->count++] = name;
    }
    qsort(names->sorted, names->count, sizeof(char *), by_name);
    return true;
}

void conf_names_drop(struct conf_names *names)
{
    free(names->sorted);
    *names = (struct conf_names){ 0 };
}

bool conf_names_has(const struct conf_names *names, const char *name)
{
    return conf_names_find(names, name) != NULL;
}

const char *conf_names_find(const struct conf_names *names, const char *name)
{
    size_t low = 0, high = names->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->sorted[middle], name);

        if (order == 0)
            return names->sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool conf_names_twin(const struct conf_names *names, size_t *at, const char **first, const char **later)
{
    for (; *at + 1 < names->count; (*at)++) {
        *first = names->sorted[*at];
        *later = names->sorted[*at + 1];
        if (strcmp(*first, *later) == 0) {
            (*at)++;
            return true;
        }
    }
    return false;
}

void conf_names_suggest(const struct conf_names *names, struct conf_suggestion *suggestion)
{
    for (size_t i = 0; i < names->count; i++)
        conf_suggestion_offer(suggestion, names->sorted[i]);
}

bool conf_name_is_valid(const char *name)
{
    size_t len = strnlen(name, CONF_NAME);

    if (len == 0 || len >= CONF_NAME || name[0] < 'a' || name[0] > 'z')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}
