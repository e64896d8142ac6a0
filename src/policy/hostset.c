/* SPDX-License-Identifier: ISC */
/*
 * Hosts files. The text is read twice by the same loop: once to know how much room its names may take, once to enter them. A name
 * whose parent is in the set too is entered all the same; it is never asked for more than the walk up from a longer name asks
 * anyway.
 */
#include "policy/hostset.h"

#include "policy/names.h"

#include <string.h>

#define AHEAD 16 /* names */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes the next line, without its comment and the white space around it. */
static bool next_line(struct span *text, struct span *line)
{
    const char *end, *hash;

    if (text->len == 0)
        return false;
    end = memchr(text->at, '\n', text->len);
    *line = span_of(text->at, end ? (size_t)(end - text->at) : text->len);
    *text = span_skip(*text, line->len + 1);
    hash = line->len > 0 ? memchr(line->at, '#', line->len) : NULL;
    if (hash != NULL)
        line->len = (size_t)(hash - line->at);
    while (line->len > 0 && is_space(line->at[line->len - 1]))
        line->len--;
    while (line->len > 0 && is_space(line->at[0]))
        *line = span_skip(*line, 1);
    return true;
}

/* Names with other bytes than ASCII can become longer. */
static size_t most_bytes(struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.at[i] >= 0x80)
            return HOST_TEXT;
    return line.len < HOST_TEXT ? line.len : HOST_TEXT;
}

static size_t count_names(struct span text, size_t *bytes)
{
    size_t count = 0;
    struct span line;

    *bytes = 0;
    while (next_line(&text, &line)) {
        if (line.len == 0)
            continue;
        count++;
        *bytes += most_bytes(line);
    }
    return count;
}

size_t hostset_size(struct span text)
{
    size_t bytes, count = count_names(text, &bytes);

    return names_size(count, bytes);
}

/* Names on their way into the table, whose memory is much slower than reading lines is: it is sent for some names ahead. */
struct entry {
    uint64_t hash;
    size_t len; /* 0: none */
    char name[HOST_TEXT];
};

static void add(void *memory, struct entry *e)
{
    if (e->len > 0)
        (void)names_add_hashed(memory, span_of(e->name, e->len), e->hash);
    e->len = 0;
}

static bool enter(void *memory, struct entry *e, struct span line)
{
    struct addr ip;

    add(memory, e);
    if (!idna_to_ascii(line, e->name) || addr_parse_loose(&ip, span_str(e->name), 0))
        return false;
    e->len = strlen(e->name);
    e->hash = names_hash(memory, span_of(e->name, e->len));
    return true;
}

size_t hostset_compile(struct span text, void *memory, size_t size, size_t *bad_lines, size_t *first_bad)
{
    struct entry entries[AHEAD];
    size_t bytes, number = 0, next = 0;
    struct span line;

    for (size_t i = 0; i < AHEAD; i++)
        entries[i].len = 0;
    *bad_lines = 0;
    names_init(memory, size, count_names(text, &bytes));
    while (next_line(&text, &line)) {
        number++;
        if (line.len == 0 || enter(memory, &entries[next++ % AHEAD], line))
            continue;
        if ((*bad_lines)++ == 0)
            *first_bad = number;
    }
    for (size_t i = 0; i < AHEAD; i++)
        add(memory, &entries[i]);
    return names_count(memory);
}

bool hostset_open(struct hostset *set, const void *memory, size_t size)
{
    *set = (struct hostset){ memory, size };
    return names_check(memory, size);
}

bool hostset_parent(struct span *name)
{
    const char *dot = name->len > 0 ? memchr(name->at, '.', name->len) : NULL;

    if (dot == NULL)
        return false;
    *name = span_skip(*name, (size_t)(dot - name->at) + 1);
    return true;
}

bool hostset_has(const struct hostset *set, struct span name)
{
    do {
        if (names_find(set->memory, set->size, name) != NAMES_NONE)
            return true;
    } while (hostset_parent(&name));
    return false;
}

size_t hostset_count(const struct hostset *set)
{
    return names_count(set->memory);
}
