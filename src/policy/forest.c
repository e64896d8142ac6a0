/* SPDX-License-Identifier: ISC */
/* Forests of nested things: the order of the work and the sets are the same for all kinds; what lies in what, their maps know. */
#include "policy/forest.h"

#include <stdlib.h>
#include <string.h>

static const void *item(const struct forest_items *items, size_t i)
{
    return (const char *)items->at + i * items->size;
}

static void add_member(const struct forest_items *items, size_t i, uint64_t *bits)
{
    uint32_t member;

    memcpy(&member, (const char *)item(items, i) + items->member, sizeof(member));
    bits_add(bits, member);
}

/* Appends what the item `first` names, with the policies of all that name it. Returns the next item. */
static size_t append_equal(const struct forest_items *items, size_t first, struct sets *sets, uint64_t *scratch,
                           forest_append *append, void *map)
{
    uint32_t *set = append(map, item(items, first));
    size_t i = first;

    memcpy(scratch, sets_at(sets, *set), sets_words(sets) * sizeof(uint64_t));
    do
        add_member(items, i++, scratch);
    while (i < items->count && items->compare(item(items, first), item(items, i)) == 0);
    *set = sets_intern(sets, scratch);
    return i;
}

bool forest_build(const struct forest_items *items, struct sets *sets, forest_append *append, void *map)
{
    uint64_t *scratch = calloc(sets_words(sets), sizeof(uint64_t));

    if (scratch == NULL)
        return false;
    if (items->count > 0)
        qsort(items->at, items->count, items->size, items->compare);
    for (size_t i = 0; i < items->count;)
        i = append_equal(items, i, sets, scratch, append, map);
    free(scratch);
    return !sets_failed(sets);
}
