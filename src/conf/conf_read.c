/* SPDX-License-Identifier: ISC */
/*
 * From the tree to the snapshot, by the table of keys. A group is read in the order of the table and not of the file, so that
 * zones are known when listeners name them, and both when policies do. Then what is left in the group is unknown and gets a
 * suggestion. Every value goes through the reader of its type; nothing else looks at the tree, except the cross-checks for
 * line numbers.
 */
#include "conf/conf_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static conf_value_read *const readers[KEY_TYPE_COUNT] = {
    [KEY_U16] = conf_value_u16,
    [KEY_U32] = conf_value_u32,
    [KEY_U64] = conf_value_u64,
    [KEY_SECONDS] = conf_value_seconds,
    [KEY_TIME] = conf_value_seconds,
    [KEY_BOOL] = conf_value_bool,
    [KEY_WORD] = conf_value_word,
    [KEY_FLAG] = conf_value_flag,
    [KEY_BIT] = conf_value_bit,
    [KEY_BITS] = conf_list_bits,
    [KEY_TEXT] = conf_value_text,
    [KEY_PATH] = conf_value_path,
    [KEY_ACCESS] = conf_value_access,
    [KEY_REGEX] = conf_value_regex,
    [KEY_NAME] = conf_value_name,
    [KEY_VIA] = conf_value_via,
    [KEY_ADDRESS] = conf_value_address,
    [KEY_SERVERS] = conf_list_servers,
    [KEY_UPSTREAMS] = conf_list_upstreams,
    [KEY_NETWORKS] = conf_list_networks,
    [KEY_PORTS] = conf_list_ports,
    [KEY_HEADERS] = conf_list_headers,
    [KEY_PROTOCOLS] = conf_list_protocols,
    [KEY_SENDERS] = conf_list_senders,
    [KEY_VERSION] = conf_value_version,
    [KEY_FILE] = conf_value_file,
    [KEY_HOST] = conf_value_host,
    [KEY_PINS] = conf_list_pins,
    [KEY_NAMES] = conf_strings_names,
    [KEY_INTERFACES] = conf_strings_interfaces,
    [KEY_HOSTS] = conf_strings_hosts,
    [KEY_METHODS] = conf_strings_methods,
    [KEY_PATTERNS] = conf_strings_patterns,
    [KEY_ORIGINS] = conf_strings_origins,
    [KEY_TOKENS] = conf_strings_tokens,
    [KEY_MEMBERS] = conf_strings_members,
    [KEY_FINGERPRINTS] = conf_strings_fingerprints,
    [KEY_CERTIFICATES] = conf_strings_certificates,
    [KEY_WORDS] = conf_strings_words,
};

static void read_group(struct conf_reader *r, enum conf_group in, const struct conf_node *node, char *base);

/* Appends to the path; returns its length before, to cut it back to. */
static size_t path_push(struct conf_reader *r, const char *separator, const char *name)
{
    size_t len = strlen(r->path);

    snprintf(r->path + len, sizeof(r->path) - len, "%s%s", len > 0 ? separator : "", name);
    return len;
}

static void set_default(struct conf_reader *r, const struct conf_key *key, char *base)
{
    uint32_t small = (uint32_t)key->standard;
    uint16_t version = (uint16_t)key->standard;
    bool flag = key->standard != 0;
    int none = -1;
    char *text;

    if (key->type == KEY_U32 || key->type == KEY_SECONDS || key->type == KEY_WORD || key->type == KEY_BITS)
        memcpy(base + key->offset, &small, sizeof(small));
    else if (key->type == KEY_U64)
        memcpy(base + key->offset, &key->standard, sizeof(key->standard));
    else if (key->type == KEY_BOOL || key->type == KEY_FLAG)
        memcpy(base + key->offset, &flag, sizeof(flag));
    else if (key->type == KEY_VERSION)
        memcpy(base + key->offset, &version, sizeof(version));
    else if (key->type == KEY_FILE)
        memcpy(base + key->offset, &none, sizeof(none));
    else if (key->type == KEY_PROTOCOLS)
        ((struct conf_policy *)(void *)base)->protocols = small;
    else if (key->type == KEY_SENDERS)
        ((struct conf_ws_match *)(void *)base)->of_client = ((struct conf_ws_match *)(void *)base)->of_server = true;
    else if (key->type == KEY_NAME && key->text != NULL)
        memcpy(base + key->offset, key->text, strlen(key->text) + 1);
    else if (key->text != NULL && (text = conf_keep(r, key->text)) != NULL)
        memcpy(base + key->offset, &text, sizeof(text));
}

/* Of the keys of a group and of the groups in it. */
static void set_defaults(struct conf_reader *r, enum conf_group in, char *base)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        if (key->in != in)
            continue;
        if (key->type == KEY_GROUP)
            set_defaults(r, key->opens, base);
        else
            set_default(r, key, base);
    }
}

/* ".web" if the item has a valid name, else "[2]". */
static size_t push_item(struct conf_reader *r, const struct conf_node *node, size_t index)
{
    const struct conf_node *name = conf_node_member(node, "name");
    char number[24];

    if (name != NULL && conf_node_type(name) == NODE_TEXT && conf_name_is_valid(conf_node_text(name)))
        return path_push(r, ".", conf_node_text(name));
    snprintf(number, sizeof(number), "[%zu]", index);
    return path_push(r, "", number);
}

static void read_item(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, char *item)
{
    unsigned line = conf_node_line(node);
    size_t errors = r->report->errors;

    set_defaults(r, key->opens, item);
    if (conf_node_type(node) == NODE_GROUP)
        read_group(r, key->opens, node, item);
    else
        conf_reader_error(r, line, "expected a group: { name = ...; }");
    if (r->report->errors > errors)
        line = 0;
    memcpy(item + key->line, &line, sizeof(line));
}

/* For what will refer to these items; and no name may be used twice. */
static void take_names(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, const char *items)
{
    struct conf_names *names = &r->names[key->kind];
    const char *first, *later;
    size_t at = 0;

    if (!conf_names_make(names, items, conf_node_count(node), key->size)) {
        r->report->no_memory = true;
        return;
    }
    while (conf_names_twin(names, &at, &first, &later)) {
        const struct conf_node *one = conf_node_at(node, (size_t)(first - items) / key->size);
        const struct conf_node *two = conf_node_at(node, (size_t)(later - items) / key->size);

        conf_reader_error(r, conf_node_line(two), "the name \"%s\" is already used in line %u", later, conf_node_line(one));
    }
}

static void read_items(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, char *base)
{
    size_t count = conf_node_count(node);
    char *items;

    if (conf_node_type(node) != NODE_LIST || count > key->max) {
        conf_reader_error(r, conf_node_line(node), "expected a list of at most %llu groups: ( { ... }, { ... } )",
                          (unsigned long long)key->max);
        return;
    }
    items = conf_keep_room(r, count, key->size);
    if (items == NULL)
        return;
    memcpy(base + key->offset, &items, sizeof(items));
    memcpy(base + key->count, &count, sizeof(count));
    for (size_t i = 0; i < count; i++) {
        size_t cut = push_item(r, conf_node_at(node, i), i);

        read_item(r, key, conf_node_at(node, i), items + i * key->size);
        r->path[cut] = '\0';
    }
    if (key->kind != CONF_KINDS)
        take_names(r, key, node, items);
}

/* With a twin: what could be read at the first place is read again for the second. */
static void read_value(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, char *base)
{
    size_t errors = r->report->errors;

    readers[key->type](r, key, node, base + key->offset);
    if (key->twin != 0 && r->report->errors == errors)
        readers[key->type](r, key, node, base + key->twin);
}

static void read_subgroup(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, char *base)
{
    unsigned line = conf_node_line(node);

    if (conf_node_type(node) != NODE_GROUP)
        conf_reader_error(r, line, "expected a group: { key = value; }");
    else
        read_group(r, key->opens, node, base);
    if (key->line != 0)
        memcpy(base + key->line, &line, sizeof(line));
    if (key->given != 0)
        base[key->given] = true;
}

static void read_key(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, char *base)
{
    if (key->type == KEY_ITEMS)
        read_items(r, key, node, base);
    else if (key->type == KEY_GROUP)
        read_subgroup(r, key, node, base);
    else
        read_value(r, key, node, base);
}

static void read_unknown(struct conf_reader *r, enum conf_group in, const struct conf_node *node)
{
    char text[CONF_SUGGESTION];
    struct conf_suggestion suggestion;
    size_t cut = path_push(r, ".", conf_node_name(node));

    conf_suggestion_init(&suggestion, conf_node_name(node));
    for (size_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].in == in)
            conf_suggestion_offer(&suggestion, conf_keys[i].name);
    conf_reader_error(r, conf_node_line(node), "unknown key%s", conf_suggestion_text(&suggestion, text));
    r->path[cut] = '\0';
}

static void read_group(struct conf_reader *r, enum conf_group in, const struct conf_node *node, char *base)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        const struct conf_node *member;
        size_t cut;

        if (key->in != in)
            continue;
        member = conf_node_member(node, key->name);
        cut = path_push(r, ".", key->name);
        if (member != NULL)
            read_key(r, key, member, base);
        else if (key->required)
            conf_reader_error(r, conf_node_line(node), "is required");
        r->path[cut] = '\0';
    }
    for (size_t i = 0; i < conf_node_count(node); i++)
        if (conf_key_find(in, conf_node_name(conf_node_at(node, i))) == NULL)
            read_unknown(r, in, conf_node_at(node, i));
}

void conf_read(struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    struct conf_reader r = { .conf = conf, .report = report };

    set_defaults(&r, IN_TOP, (char *)conf);
    read_group(&r, IN_TOP, root, (char *)conf);
    conf_tls_settle(conf, report);
    for (size_t i = 0; i < CONF_KINDS; i++)
        conf_names_drop(&r.names[i]);
}
