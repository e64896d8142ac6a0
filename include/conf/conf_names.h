/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_NAMES_H
#define POSTERN_CONF_CONF_NAMES_H

#include "conf/conf_report.h"

/* The names of all items of one kind, sorted. They point into the items and live as long as those. */
struct conf_names {
    const char **sorted;
    size_t count;
};

/* `items` are `count` structs of `size` bytes that begin with their name. Empty names are left out. false: no memory. */
MUST_CHECK bool conf_names_make(struct conf_names *names, const void *items, size_t count, size_t size);
void conf_names_drop(struct conf_names *names);
bool conf_names_has(const struct conf_names *names, const char *name);
/* The name within its item, which begins with it; NULL: no item has it. */
const char *conf_names_find(const struct conf_names *names, const char *name);
/* The first item of an equal pair behind position *at of the sorted names, and its twin that comes later; false: no more. */
bool conf_names_twin(const struct conf_names *names, size_t *at, const char **first, const char **later);
void conf_names_suggest(const struct conf_names *names, struct conf_suggestion *suggestion);
/* [a-z][a-z0-9-]{0,30} */
bool conf_name_is_valid(const char *name);
/* Is it a word of nft's grammar, that is: no name for a table? */
bool conf_name_is_word_of_nft(const char *name);

#endif
