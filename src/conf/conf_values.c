/* SPDX-License-Identifier: ISC */
/*
 * Readers of single values, one for each type of key. Each says what it expected, with the bounds from the table, when it
 * finds something else; nothing is rounded, cut or guessed. Texts with control characters are refused here, so that no
 * message, log line or printed configuration can carry them.
 */
#include "conf/conf_read.h"

#include "base/regex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *conf_keep(struct conf_reader *r, const char *text)
{
    return conf_keep_part(r, span_str(text));
}

char *conf_keep_part(struct conf_reader *r, struct span text)
{
    char *copy = strndup(text.at, text.len);

    r->report->no_memory |= copy == NULL;
    return copy;
}

void *conf_keep_room(struct conf_reader *r, size_t count, size_t size)
{
    void *room = calloc(count > 0 ? count : 1, size);

    r->report->no_memory |= room == NULL;
    return room;
}

static bool read_whole(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, uint64_t *value)
{
    bool whole = conf_node_type(node) == NODE_INTEGER;
    int64_t found = whole ? conf_node_integer(node) : -1;

    *value = (uint64_t)found;
    if (whole && found >= 0 && *value >= key->min && *value <= key->max)
        return true;
    conf_reader_error(r, conf_node_line(node), "expected a whole number from %llu to %llu", (unsigned long long)key->min,
                      (unsigned long long)key->max);
    return false;
}

void conf_value_u16(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    uint64_t value;

    if (read_whole(r, key, node, &value))
        *(uint16_t *)target = (uint16_t)value;
}

void conf_value_u32(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    uint64_t value;

    if (read_whole(r, key, node, &value))
        *(uint32_t *)target = (uint32_t)value;
}

void conf_value_u64(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    uint64_t value;

    if (read_whole(r, key, node, &value))
        *(uint64_t *)target = value;
}

void conf_value_seconds(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    enum conf_node_type type = conf_node_type(node);
    double ms = type == NODE_INTEGER || type == NODE_REAL ? conf_node_real(node) * 1000 : 0;

    if (ms >= (double)key->min && ms <= (double)key->max)
        *(uint32_t *)target = (uint32_t)(ms + 0.5);
    else
        conf_reader_error(r, conf_node_line(node), "expected seconds, from %g to %llu", (double)key->min / 1000,
                          (unsigned long long)key->max / 1000);
}

void conf_value_bool(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    (void)key;
    if (conf_node_type(node) == NODE_BOOL)
        *(bool *)target = conf_node_bool(node);
    else
        conf_reader_error(r, conf_node_line(node), "expected true or false");
}

const char *conf_node_clean_text(struct conf_reader *r, const struct conf_node *node, unsigned line)
{
    const char *text;

    if (conf_node_type(node) != NODE_TEXT) {
        conf_reader_error(r, line, "expected a string");
        return NULL;
    }
    text = conf_node_text(node);
    if (text == NULL || text[0] == '\0') {
        conf_reader_error(r, line, "expected a string that is not empty");
        return NULL;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x20 && *at != 0x7f)
            continue;
        conf_reader_error(r, line, "a string may not hold control characters");
        return NULL;
    }
    return text;
}

/* "a", "b", "c" */
static void list_words(const char *const *words, char *out, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; words[i] != NULL && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s\"%s\"", len > 0 ? ", " : "", words[i]);
}

int conf_word_find(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    char all[160], hint[CONF_SUGGESTION];
    struct conf_suggestion suggestion;

    conf_suggestion_init(&suggestion, text);
    for (int i = 0; key->words[i] != NULL; i++) {
        conf_suggestion_offer(&suggestion, key->words[i]);
        if (strcmp(key->words[i], text) == 0)
            return i;
    }
    list_words(key->words, all, sizeof(all));
    conf_reader_error(r, line, "\"%.40s\" is none of %s%s", text, all, conf_suggestion_text(&suggestion, hint));
    return -1;
}

void conf_value_word(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));
    int index = text ? conf_word_find(r, key, text, conf_node_line(node)) : -1;
    unsigned value = (unsigned)index;

    if (index >= 0)
        memcpy(target, &value, sizeof(value));
}

void conf_value_flag(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    unsigned index = *(bool *)target;

    conf_value_word(r, key, node, &index);
    *(bool *)target = index == 1;
}

void conf_value_bit(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));
    int index = text ? conf_word_find(r, key, text, conf_node_line(node)) : -1;

    if (index >= 0)
        *(unsigned *)target = (unsigned)key->min << index;
}

static void store_text(struct conf_reader *r, const char *text, void *target)
{
    char **place = target;

    free(*place);
    *place = conf_keep(r, text);
}

void conf_value_text(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));

    if (text == NULL)
        return;
    if (strlen(text) > key->max)
        conf_reader_error(r, conf_node_line(node), "longer than %llu bytes", (unsigned long long)key->max);
    else
        store_text(r, text, target);
}

void conf_value_path(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    if (conf_node_type(node) == NODE_TEXT && conf_node_text(node)[0] != '/')
        conf_reader_error(r, conf_node_line(node), "expected an absolute path");
    else
        conf_value_text(r, key, node, target);
}

void conf_value_access(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    if (conf_node_type(node) == NODE_TEXT && strcmp(conf_node_text(node), "-") == 0)
        store_text(r, "-", target);
    else
        conf_value_path(r, key, node, target);
}

/* Compiled once to see if it can be; who searches with it compiles it again. */
void conf_value_regex(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    size_t errors = r->report->errors;
    struct regex *regex;
    char why[160];

    conf_value_text(r, key, node, target);
    if (r->report->errors > errors || r->report->no_memory)
        return;
    regex = regex_new(*(char **)target, why, sizeof(why));
    if (regex == NULL)
        conf_reader_error(r, conf_node_line(node), "is no regular expression: %s", why);
    regex_free(regex);
}

/* A name that looks wrong is kept all the same, so that what refers to it is not wrong as well. */
void conf_value_name(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    unsigned line = conf_node_line(node);
    const char *text = conf_node_clean_text(r, node, line);

    if (text == NULL)
        return;
    if (!conf_name_is_valid(text))
        conf_reader_error(r, line, "\"%.40s\" is no name: a letter, then at most 30 of a-z, 0-9 and \"-\"", text);
    else if (key->kind == CONF_ZONE && strcmp(text, CONF_SELF) == 0)
        conf_reader_error(r, line, "\"self\" is reserved for the gateway itself");
    if (!span_cstr(span_str(text), target, CONF_NAME))
        memset(target, 0, CONF_NAME);
}

void conf_value_via(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_listener *listener = target;
    unsigned line = conf_node_line(node);
    const char *text = conf_node_clean_text(r, node, line);

    if (text == NULL)
        return;
    listener->via_off = strcmp(text, "off") == 0;
    if (listener->via_off)
        return;
    if (strlen(text) > key->max || !span_is_token(span_str(text)) ||
        !span_cstr(span_str(text), listener->via, sizeof(listener->via)))
        conf_reader_error(r, line, "expected \"off\" or a token of at most %llu bytes", (unsigned long long)key->max);
}

void conf_value_address(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));

    (void)key;
    if (text != NULL && !addr_parse_port(target, span_str(text)))
        conf_reader_error(r, conf_node_line(node), "expected an address and a port, \"127.0.0.1:3128\" or \"[::1]:3128\"");
}
