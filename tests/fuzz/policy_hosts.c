/* SPDX-License-Identifier: ISC */
/*
 * Hosts files against a naive reading of them: a list of names, searched from end to end. Every name of the file is looked up, and
 * what is made of it by putting labels before it and taking some away. Then one byte of the compiled form is changed, as another
 * process might, and the look-ups are done again for nothing but their memory accesses.
 */
#include "policy/hostset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char names[NAMES_MOST][HOST_TEXT];
static size_t name_count, bad_count;

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* One line, read in another way than hostset.c does it. false: more different names than there is room for. */
static bool read_line(const char *at, size_t len)
{
    char name[HOST_TEXT];
    size_t from = 0, to = 0;
    struct addr ip;

    while (to < len && at[to] != '#')
        to++;
    while (from < to && is_white(at[from]))
        from++;
    while (to > from && is_white(at[to - 1]))
        to--;
    if (from == to)
        return true;
    if (!idna_to_ascii(span_of(at + from, to - from), name) || addr_parse_loose(&ip, span_str(name), 0)) {
        bad_count++;
        return true;
    }
    for (size_t i = 0; i < name_count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    if (name_count == NAMES_MOST)
        return false;
    strcpy(names[name_count++], name);
    return true;
}

static bool read_all(const char *at, size_t len)
{
    size_t start = 0;

    name_count = bad_count = 0;
    for (size_t i = 0; i <= len; i++)
        if (i == len || at[i] == '\n') {
            if (!read_line(at + start, i - start))
                return false;
            start = i + 1;
        }
    return true;
}

static bool naive_has(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < name_count; i++) {
        size_t other = strlen(names[i]);

        if (len >= other && strcmp(name + len - other, names[i]) == 0 && (len == other || name[len - other - 1] == '.'))
            return true;
    }
    return false;
}

static void look_up(const struct hostset *set, const char *name, bool judge)
{
    bool has = hostset_has(set, span_str(name));

    if (judge && has != naive_has(name))
        abort();
}

static void look_up_all(const struct hostset *set, bool judge)
{
    char name[HOST_TEXT + 8];

    for (size_t i = 0; i < name_count; i++) {
        const char *dot = strchr(names[i], '.');

        look_up(set, names[i], judge);
        look_up(set, names[i] + 1, judge);
        look_up(set, dot ? dot + 1 : "", judge);
        snprintf(name, sizeof(name), "a.%s", names[i]);
        look_up(set, name, judge);
        snprintf(name, sizeof(name), "a%s", names[i]);
        look_up(set, name, judge);
        snprintf(name, sizeof(name), "%s.a", names[i]);
        look_up(set, name, judge);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    size_t bytes = hostset_size(text), bad, first = 0;
    struct hostset set;
    uint8_t *memory;

    if (!read_all(text.at, text.len))
        return 0;
    memory = calloc(1, bytes);
    if (memory == NULL || hostset_compile(text, memory, bytes, &bad, &first) != name_count || bad != bad_count)
        abort();
    if (!hostset_open(&set, memory, bytes) || hostset_count(&set) != name_count || (bad > 0) != (first > 0))
        abort();
    look_up_all(&set, true);
    if (size >= 3) {
        memory[(size_t)(data[0] << 8 | data[1]) % bytes] ^= data[2];
        if (hostset_open(&set, memory, bytes))
            look_up_all(&set, false);
    }
    free(memory);
    return 0;
}
