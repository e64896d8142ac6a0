/* SPDX-License-Identifier: ISC */
/*
 * The hosts file and resolv.conf. Both belong to the system and not to Postern: what is not understood is passed over, as the
 * system's own resolver does. Names are kept sorted, with the place in the file, so that a look-up is a binary search even if
 * somebody keeps a million names there, and addresses come out in the order of the file. All of it lies in one piece of memory
 * without pointers, so that one process parses and all others map. What comes from elsewhere is checked where it is followed.
 */
#include "conf/conf_hosts.h"

#include "base/idna.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC 0x3173746f6874736full

struct entry {
    uint32_t name; /* where it lies behind the entries: a length byte and the bytes */
    struct addr addr;
};

struct conf_hosts {
    uint64_t magic, size;
    uint64_t count;
    struct entry entries[];
};

/* While lines are read: entries and names grow apart. */
struct parsing {
    struct entry *entries;
    char *names;
    size_t count, room, used, names_room;
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

/* `memory` with room for `more` behind `used`, as realloc() would; NULL: there is none, and `memory` is as it was. */
static void *reserve(void *memory, size_t *room, size_t used, size_t more, size_t unit)
{
    size_t wanted = *room > 0 ? 2 * *room : 1024;

    if (used + more <= *room)
        return memory;
    memory = realloc(memory, wanted * unit);
    if (memory != NULL)
        *room = wanted;
    return memory;
}

static bool add(struct parsing *p, const char *name, const struct addr *addr)
{
    size_t len = strlen(name);
    struct entry *entries = reserve(p->entries, &p->room, p->count, 1, sizeof(*entries));
    char *names = reserve(p->names, &p->names_room, p->used, len + 1, 1);

    p->entries = entries != NULL ? entries : p->entries;
    p->names = names != NULL ? names : p->names;
    if (entries == NULL || names == NULL)
        return false;
    p->entries[p->count++] = (struct entry){ (uint32_t)p->used, *addr };
    p->names[p->used] = (char)len;
    memcpy(p->names + p->used + 1, name, len);
    p->used += len + 1;
    return true;
}

static bool read_line(struct parsing *p, struct span line)
{
    char name[HOST_TEXT];
    struct span word;
    struct addr addr;

    if (!next_word(&line, "#", &word) || !addr_parse(&addr, word, 0))
        return true;
    while (next_word(&line, "#", &word))
        if (idna_to_ascii(word, name) && !add(p, name, &addr))
            return false;
    return true;
}

static struct span name_in(const char *names, size_t bytes, uint32_t at)
{
    if (at >= bytes || (unsigned char)names[at] >= bytes - at)
        return span_of(NULL, 0);
    return span_of(names + at + 1, (unsigned char)names[at]);
}

static int compare(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Names are stored in the order of the file. */
static int by_name(const void *a, const void *b, void *arg)
{
    const struct entry *x = a, *y = b;
    const struct parsing *p = arg;
    int order = compare(name_in(p->names, p->used, x->name), name_in(p->names, p->used, y->name));

    return order != 0 ? order : x->name < y->name ? -1 : 1;
}

static struct conf_hosts *join(struct parsing *p)
{
    size_t bytes = p->count * sizeof(*p->entries), size = sizeof(struct conf_hosts) + bytes + p->used;
    struct conf_hosts *hosts = calloc(1, size);

    if (hosts == NULL)
        return NULL;
    *hosts = (struct conf_hosts){ MAGIC, size, p->count };
    if (p->count == 0)
        return hosts;
    qsort_r(p->entries, p->count, sizeof(*p->entries), by_name, p);
    memcpy(hosts->entries, p->entries, bytes);
    memcpy(hosts->entries + p->count, p->names, p->used);
    return hosts;
}

struct conf_hosts *conf_hosts_parse(struct span text)
{
    struct parsing p = { 0 };
    struct conf_hosts *hosts;
    struct span line;
    bool good = true;

    while (good && next_line(&text, &line))
        good = read_line(&p, line);
    hosts = good ? join(&p) : NULL;
    free(p.entries);
    free(p.names);
    return hosts;
}

void conf_hosts_free(struct conf_hosts *hosts)
{
    free(hosts);
}

struct span conf_hosts_memory(const struct conf_hosts *hosts)
{
    return span_of((const char *)hosts, hosts->size);
}

const struct conf_hosts *conf_hosts_open(struct span memory)
{
    const struct conf_hosts *hosts = (const void *)memory.at;

    if (memory.len < sizeof(*hosts) || hosts->magic != MAGIC || hosts->size != memory.len ||
        hosts->count > (memory.len - sizeof(*hosts)) / sizeof(struct entry))
        return NULL;
    return hosts;
}

static struct span name_at(const struct conf_hosts *hosts, size_t index)
{
    const char *names = (const char *)(hosts->entries + hosts->count);

    return name_in(names, hosts->size - (size_t)(names - (const char *)hosts), hosts->entries[index].name);
}

/* The index of the first entry whose name is not less than `name`. */
static size_t lower_bound(const struct conf_hosts *hosts, struct span name)
{
    size_t low = 0, high = hosts->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(name_at(hosts, middle), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t conf_hosts_find(const struct conf_hosts *hosts, struct span name, struct addr *out, size_t max)
{
    size_t found = 0;

    if (name.len == 0)
        return 0;
    for (size_t i = lower_bound(hosts, name); i < hosts->count && found < max && span_eq(name_at(hosts, i), name); i++)
        out[found++] = hosts->entries[i].addr;
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
