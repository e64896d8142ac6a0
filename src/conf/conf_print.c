/* SPDX-License-Identifier: ISC */
/*
 * posternd -T: the snapshot as text, in the order of the table of keys. What is absent and has no default is left out, since
 * it has no value to print; everything else is printed, given or not. Reading the text back gives the same snapshot, and
 * printing that gives the same text: unit tests and a fuzz target hold it to that.
 */
#include "conf/conf_keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct page {
    char *text;
    size_t len, room;
    bool no_memory;
    const struct conf *conf;
};

/* Appends a value; appends nothing if there is none. */
typedef void print_value(struct page *page, const struct conf_key *key, const void *source);

static bool make_room(struct page *page, size_t more)
{
    size_t room = page->room ? page->room : 4096;
    char *text;

    while (room - page->len <= more)
        room *= 2;
    if (room == page->room)
        return true;
    text = realloc(page->text, room);
    if (text == NULL) {
        page->no_memory = true;
        return false;
    }
    page->text = text;
    page->room = room;
    return true;
}

static void __attribute__((format(printf, 2, 3))) put(struct page *page, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !make_room(page, (size_t)len))
        return;
    va_start(args, format);
    vsnprintf(page->text + page->len, (size_t)len + 1, format, args);
    va_end(args);
    page->len += (size_t)len;
}

/* A quoted string. The reader lets no control character in, so only two characters have to be escaped. */
static void put_text(struct page *page, const char *text)
{
    put(page, "\"");
    while (*text != '\0') {
        size_t plain = strcspn(text, "\"\\");

        put(page, "%.*s", (int)plain, text);
        text += plain;
        if (*text != '\0')
            put(page, "\\%c", *text++);
    }
    put(page, "\"");
}

static void print_u16(struct page *page, const struct conf_key *key, const void *source)
{
    (void)key;
    put(page, "%u", *(const uint16_t *)source);
}

static void print_u32(struct page *page, const struct conf_key *key, const void *source)
{
    (void)key;
    put(page, "%u", *(const uint32_t *)source);
}

static void print_u64(struct page *page, const struct conf_key *key, const void *source)
{
    uint64_t value = *(const uint64_t *)source;

    (void)key;
    put(page, "%llu%s", (unsigned long long)value, value > INT32_MAX ? "L" : "");
}

static void print_seconds(struct page *page, const struct conf_key *key, const void *source)
{
    uint32_t ms = *(const uint32_t *)source;

    (void)key;
    if (ms % 1000 == 0)
        put(page, "%u.0", ms / 1000);
    else
        put(page, "%u.%03u", ms / 1000, ms % 1000);
}

static void print_time(struct page *page, const struct conf_key *key, const void *source)
{
    if (*(const uint32_t *)source > 0)
        print_seconds(page, key, source);
}

static void print_bool(struct page *page, const struct conf_key *key, const void *source)
{
    (void)key;
    put(page, "%s", *(const bool *)source ? "true" : "false");
}

static void print_word(struct page *page, const struct conf_key *key, const void *source)
{
    unsigned index;

    memcpy(&index, source, sizeof(index));
    put_text(page, key->words[index]);
}

static void print_flag(struct page *page, const struct conf_key *key, const void *source)
{
    put_text(page, key->words[*(const bool *)source]);
}

static void print_bit(struct page *page, const struct conf_key *key, const void *source)
{
    unsigned bit = *(const unsigned *)source;

    for (unsigned i = 0; key->words[i] != NULL; i++)
        if (bit == (unsigned)key->min << i)
            put_text(page, key->words[i]);
}

static void print_text(struct page *page, const struct conf_key *key, const void *source)
{
    const char *text = *(char *const *)source;

    (void)key;
    if (text != NULL)
        put_text(page, text);
}

static void print_name(struct page *page, const struct conf_key *key, const void *source)
{
    (void)key;
    put_text(page, source);
}

static void print_via(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_listener *listener = source;

    (void)key;
    if (listener->via_off || listener->via[0] != '\0')
        put_text(page, listener->via_off ? "off" : listener->via);
}

static void print_address(struct page *page, const struct conf_key *key, const void *source)
{
    char text[ADDR_TEXT];
    const struct addr *address = source;

    (void)key;
    if (address->family != 0)
        put_text(page, addr_port_text(address, text));
}

/* Before each item of a list, and behind them all. An empty list is printed only where it is not the same as an absent one. */
static void put_before(struct page *page, size_t index)
{
    put(page, "%s", index == 0 ? "[ " : ", ");
}

static void end_list(struct page *page, size_t count)
{
    put(page, "%s", count > 0 ? " ]" : "");
}

static void print_servers(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf *conf = source;
    char text[ADDR_TEXT];

    (void)key;
    if (conf->resolver_server_count == 0)
        put(page, "[ ]");
    for (size_t i = 0; i < conf->resolver_server_count; i++) {
        put_before(page, i);
        put_text(page, addr_port_text(&conf->resolver_servers[i], text));
    }
    end_list(page, conf->resolver_server_count);
}

static void print_upstreams(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_listener *listener = source;

    (void)key;
    for (size_t i = 0; i < listener->upstream_count; i++) {
        char text[UPSTREAM_TEXT];

        put_before(page, i);
        put(page, "\"%s\"", conf_upstream_text(&listener->upstreams[i], text));
    }
    end_list(page, listener->upstream_count);
}

static void print_networks(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_networks *networks = source;
    char text[ADDR_TEXT];

    (void)key;
    for (size_t i = 0; i < networks->count; i++) {
        put_before(page, i);
        put(page, "\"%s/%u\"", addr_text(&networks->items[i].base, text), networks->items[i].bits);
    }
    end_list(page, networks->count);
}

/* Numbers and strings do not go together in "[ ]", so all are strings if one has to be. */
static void print_ports(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_ports *ports = source;
    const char *quote = "";

    (void)key;
    for (size_t i = 0; i < ports->count; i++)
        if (ports->items[i].first != ports->items[i].last)
            quote = "\"";
    for (size_t i = 0; i < ports->count; i++) {
        const struct conf_port_range *range = &ports->items[i];

        put_before(page, i);
        if (range->first == range->last)
            put(page, "%s%u%s", quote, range->first, quote);
        else
            put(page, "\"%u-%u\"", range->first, range->last);
    }
    end_list(page, ports->count);
}

static void print_headers(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_policy *policy = source;
    char *whole;

    (void)key;
    for (size_t i = 0; i < policy->header_count; i++) {
        const struct conf_header *header = &policy->headers[i];

        put_before(page, i);
        if (asprintf(&whole, "%s%s%s", header->name, header->pattern ? ": " : "", header->pattern ? header->pattern : "") < 0) {
            page->no_memory = true;
            return;
        }
        put_text(page, whole);
        free(whole);
    }
    end_list(page, policy->header_count);
}

static void put_bits(struct page *page, const struct conf_key *key, unsigned bits)
{
    size_t printed = 0;

    for (size_t bit = 0; key->words[bit] != NULL; bit++) {
        if (!(bits & (1u << bit)))
            continue;
        put_before(page, printed++);
        put_text(page, key->words[bit]);
    }
    end_list(page, printed);
}

static void print_protocols(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_policy *policy = source;

    if (policy->protocols_given)
        put_bits(page, key, policy->protocols);
}

static void print_bits(struct page *page, const struct conf_key *key, const void *source)
{
    put_bits(page, key, *(const unsigned *)source);
}

static void print_senders(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_ws_match *match = source;

    put_bits(page, key, (unsigned)match->of_client << UP | (unsigned)match->of_server << DOWN);
}

static void print_version(struct page *page, const struct conf_key *key, const void *source)
{
    put_text(page, key->words[*(const uint16_t *)source - key->min]);
}

/* The system's bundle is no choice of anybody. */
static void print_file(struct page *page, const struct conf_key *key, const void *source)
{
    int index = *(const int *)source;

    (void)key;
    if (index >= 0 && !page->conf->tls_files[index].optional)
        put_text(page, page->conf->tls_files[index].path);
}

static void print_pins(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_upstream_tls *tls = source;
    char text[CONF_PIN];

    (void)key;
    for (size_t i = 0; i < tls->pin_count; i++) {
        put_before(page, i);
        put_text(page, conf_pin_text(tls->pins[i], text));
    }
    end_list(page, tls->pin_count);
}

static void print_strings(struct page *page, const struct conf_key *key, const void *source)
{
    const struct conf_strings *strings = source;

    (void)key;
    for (size_t i = 0; i < strings->count; i++) {
        put_before(page, i);
        put_text(page, strings->items[i]);
    }
    end_list(page, strings->count);
}

static print_value *const printers[KEY_TYPE_COUNT] = {
    [KEY_U16] = print_u16,
    [KEY_U32] = print_u32,
    [KEY_U64] = print_u64,
    [KEY_SECONDS] = print_seconds,
    [KEY_BOOL] = print_bool,
    [KEY_WORD] = print_word,
    [KEY_FLAG] = print_flag,
    [KEY_BIT] = print_bit,
    [KEY_TEXT] = print_text,
    [KEY_PATH] = print_text,
    [KEY_ACCESS] = print_text,
    [KEY_NAME] = print_name,
    [KEY_VIA] = print_via,
    [KEY_ADDRESS] = print_address,
    [KEY_SERVERS] = print_servers,
    [KEY_UPSTREAMS] = print_upstreams,
    [KEY_NETWORKS] = print_networks,
    [KEY_PORTS] = print_ports,
    [KEY_HEADERS] = print_headers,
    [KEY_PROTOCOLS] = print_protocols,
    [KEY_TIME] = print_time,
    [KEY_BITS] = print_bits,
    [KEY_REGEX] = print_text,
    [KEY_SENDERS] = print_senders,
    [KEY_MEMBERS] = print_strings,
    [KEY_NAMES] = print_strings,
    [KEY_INTERFACES] = print_strings,
    [KEY_HOSTS] = print_strings,
    [KEY_METHODS] = print_strings,
    [KEY_PATTERNS] = print_strings,
    [KEY_ORIGINS] = print_strings,
    [KEY_TOKENS] = print_strings,
    [KEY_FINGERPRINTS] = print_strings,
    [KEY_CERTIFICATES] = print_strings,
    [KEY_VERSION] = print_version,
    [KEY_FILE] = print_file,
    [KEY_HOST] = print_text,
    [KEY_PINS] = print_pins,
    [KEY_WORDS] = print_strings,
};

static void print_keys(struct page *page, enum conf_group in, const char *base, unsigned depth);

static void print_items(struct page *page, const struct conf_key *key, const char *base, unsigned depth)
{
    const char *items;
    size_t count;

    memcpy(&items, base + key->offset, sizeof(items));
    memcpy(&count, base + key->count, sizeof(count));
    put(page, "(");
    for (size_t i = 0; i < count; i++) {
        put(page, "%s\n%*s{\n", i > 0 ? "," : "", (int)(depth + 1) * 2, "");
        print_keys(page, key->opens, items + i * key->size, depth + 2);
        put(page, "%*s}", (int)(depth + 1) * 2, "");
    }
    if (count > 0)
        put(page, "\n%*s)", (int)depth * 2, "");
    else
        put(page, " )");
}

/* A group of which a struct says that it is absent prints nothing; nor does one without any value. */
static void print_group(struct page *page, const struct conf_key *key, const char *base, unsigned depth)
{
    unsigned line = 1;
    size_t begin, empty;

    if (key->line != 0)
        memcpy(&line, base + key->line, sizeof(line));
    if (line == 0 || (key->given != 0 && !base[key->given]))
        return;
    begin = page->len;
    put(page, "{\n");
    empty = page->len;
    print_keys(page, key->opens, base, depth + 1);
    if (page->len > empty)
        put(page, "%*s}", (int)depth * 2, "");
    else
        page->len = begin;
}

/* Has the struct at `base` no such key, or do other keys show its value? */
static bool is_foreign(const struct conf_key *key, const char *base)
{
    const struct conf_listener *listener = (const void *)base;

    return key->twin != 0 || key->unprinted || (key->transparent && listener->mode != MODE_TRANSPARENT);
}

/* "key = value;" for every key of a group that has one. */
static void print_keys(struct page *page, enum conf_group in, const char *base, unsigned depth)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        size_t begin = page->len, value;

        if (key->in != in || is_foreign(key, base))
            continue;
        put(page, "%*s%s = ", (int)depth * 2, "", key->name);
        value = page->len;
        if (key->type == KEY_GROUP)
            print_group(page, key, base, depth);
        else if (key->type == KEY_ITEMS)
            print_items(page, key, base, depth);
        else
            printers[key->type](page, key, base + key->offset);
        if (page->len > value)
            put(page, ";\n");
        else
            page->len = begin;
    }
}

char *conf_print(const struct conf *conf)
{
    struct page page = { .conf = conf };

    print_keys(&page, IN_TOP, (const char *)conf, 0);
    put(&page, "%s", "");
    if (!page.no_memory)
        return page.text;
    free(page.text);
    return NULL;
}
