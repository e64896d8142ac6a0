/* SPDX-License-Identifier: ISC */
/*
 * The hosts file and resolv.conf. Both belong to the system and not to Postern: what is not understood is passed over, as the
 * system's own resolver does. Names are kept sorted, with the place in the file, so that a look-up is a binary search even if
 * somebody keeps a million names there, and addresses come out in the order of the file.
 */
#include "conf/conf_hosts.h"

#include "base/idna.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    char *name;
    size_t order;
    struct addr addr;
};

struct conf_hosts {
    struct entry *entries;
    size_t count, room;
};

static bool next_line(struct span *text, struct span *line)
{
    const char *end;

    if (text->len == 0)
        return false;
    end = memchr(text->at, '\n', text->len);
    *line = span_of(text->at, end ? (size_t)(end - text->at) : text->len);
    *text = span_skip(*text, line->len + 1);
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* The next word of a line up to `comment`. */
static bool next_word(struct span *line, const char *comments, struct span *word)
{
    size_t begin = 0, end;

    while (begin < line->len && is_blank(line->at[begin]))
        begin++;
    end = begin;
    while (end < line->len && !is_blank(line->at[end]) && strchr(comments, line->at[end]) == NULL)
        end++;
    *word = span_of(line->at + begin, end - begin);
    *line = span_skip(*line, end);
    return word->len > 0;
}

static bool add(struct conf_hosts *hosts, const char *name, const struct addr *addr)
{
    if (hosts->count == hosts->room) {
        size_t room = hosts->room ? 2 * hosts->room : 64;
        struct entry *more = realloc(hosts->entries, room * sizeof(*more));

        if (more == NULL)
            return false;
        hosts->entries = more;
        hosts->room = room;
    }
    hosts->entries[hosts->count] = (struct entry){ strdup(name), hosts->count, *addr };
    return hosts->entries[hosts->count++].name != NULL;
}

static bool read_line(struct conf_hosts *hosts, struct span line)
{
    char name[HOST_TEXT];
    struct span word;
    struct addr addr;

    if (!next_word(&line, "#", &word) || !addr_parse(&addr, word, 0))
        return true;
    while (next_word(&line, "#", &word))
        if (idna_to_ascii(word, name) && !add(hosts, name, &addr))
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : x->order < y->order ? -1 : 1;
}

struct conf_hosts *conf_hosts_parse(struct span text)
{
    struct conf_hosts *hosts = calloc(1, sizeof(*hosts));
    struct span line;

    if (hosts == NULL)
        return NULL;
    while (next_line(&text, &line)) {
        if (!read_line(hosts, line)) {
            conf_hosts_free(hosts);
            return NULL;
        }
    }
    if (hosts->count > 0)
        qsort(hosts->entries, hosts->count, sizeof(*hosts->entries), by_name);
    return hosts;
}

void conf_hosts_free(struct conf_hosts *hosts)
{
    if (hosts == NULL)
        return;
    for (size_t i = 0; i < hosts->count; i++)
        free(hosts->entries[i].name);
    free(hosts->entries);
    free(hosts);
}

/* The index of the first entry whose name is not less than `name`. */
static size_t lower_bound(const struct conf_hosts *hosts, const char *name)
{
    size_t low = 0, high = hosts->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(hosts->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t conf_hosts_find(const struct conf_hosts *hosts, struct span name, struct addr *out, size_t max)
{
    char wanted[HOST_TEXT];
    size_t found = 0;

    if (!span_cstr(name, wanted, sizeof(wanted)))
        return 0;
    for (size_t i = lower_bound(hosts, wanted); i < hosts->count && found < max; i++) {
        if (strcmp(hosts->entries[i].name, wanted) != 0)
            break;
        out[found++] = hosts->entries[i].addr;
    }
    return found;
}

size_t conf_resolv_servers(struct span text, struct addr *out, size_t max)
{
    struct span line, word;
    size_t found = 0;

    while (found < max && next_line(&text, &line)) {
        if (line.len == 0 || is_blank(line.at[0]) || !next_word(&line, "#;", &word) || !span_eq(word, SPAN("nameserver")))
            continue;
        if (next_word(&line, "#;", &word) && addr_parse(&out[found], word, 53))
            found++;
    }
    return found;
}
