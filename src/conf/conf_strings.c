/* SPDX-License-Identifier: ISC */
/*
 * Readers of lists of strings. They differ only in what one item may be and how it is normalised: a function that returns the
 * text to keep, or NULL after it has reported what is wrong. Names of zones and listeners are looked up here, so that the
 * message has the line of the key that refers to them.
 */
#include "conf/conf_read.h"

#include "base/idna.h"

#include <stdlib.h>
#include <string.h>

#define JA4_TEXT 36       /* bytes of a whole fingerprint */
#define INTERFACE_NAME 15 /* IFNAMSIZ without the NUL */

typedef char *read_item(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line);

static void read_strings(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target,
                         read_item *item)
{
    struct conf_strings *strings = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    strings->items = conf_keep_room(r, list.count, sizeof(*strings->items));
    for (size_t i = 0; strings->items != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);
        char *kept = text ? item(r, key, text, list.line) : NULL;

        if (kept != NULL)
            strings->items[strings->count++] = kept;
    }
}

/* "zone", "listener": what is referred to. */
static const char *kind_name(enum conf_kind kind)
{
    return kind == CONF_ZONE ? "zone" : "listener";
}

static char *item_name(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    struct conf_suggestion suggestion;
    char hint[CONF_SUGGESTION];

    if (conf_names_has(&r->names[key->kind], text))
        return conf_keep(r, text);
    if (key->kind == CONF_ZONE && strcmp(text, CONF_SELF) == 0) {
        if (key->in == IN_POLICY)
            return conf_keep(r, text);
        conf_reader_error(r, line, "\"self\" is this machine: only policies may name it, in from and to");
        return NULL;
    }
    conf_suggestion_init(&suggestion, text);
    if (r->suggestions++ < CONF_SUGGESTIONS)
        conf_names_suggest(&r->names[key->kind], &suggestion);
    if (key->kind == CONF_ZONE && key->in == IN_POLICY)
        conf_suggestion_offer(&suggestion, CONF_SELF);
    conf_reader_error(r, line, "no %s has the name \"%.40s\"%s", kind_name(key->kind), text,
                      conf_suggestion_text(&suggestion, hint));
    return NULL;
}

/* As the kernel has it, without what rules of the packet filter cannot say: '*' stands for any ending there, and quotes end it. */
static bool is_interface(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return false;
    return len > 0 && len <= INTERFACE_NAME && strpbrk(text, "/:\"\\*") == NULL;
}

static char *item_interface(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    (void)key;
    if (is_interface(text))
        return conf_keep(r, text);
    conf_reader_error(r, line, "\"%.40s\" is no name of an interface", text);
    return NULL;
}

/* An address in its one spelling; with brackets or without. */
static bool literal_host(const char *text, char *out)
{
    size_t len = strlen(text);
    bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    struct addr address;

    if (!addr_parse(&address, brackets ? span_of(text + 1, len - 2) : span_of(text, len), 0))
        return false;
    if (brackets && address.family != AF_INET6)
        return false;
    addr_text(&address, out);
    return true;
}

static char *item_host(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    char host[2 + HOST_TEXT] = "*.", literal[ADDR_TEXT];
    bool under = strncmp(text, "*.", 2) == 0;
    struct span name = span_str(under ? text + 2 : text);
    struct addr loose;

    (void)key;
    if (literal_host(text, literal))
        return conf_keep(r, literal);
    if (addr_parse_loose(&loose, name, 0)) {
        conf_reader_error(r, line, "\"%.80s\" looks like an address but is none in full; expected \"192.0.2.1\"", text);
        return NULL;
    }
    if (idna_to_ascii(name, host + 2))
        return conf_keep(r, under ? host : host + 2);
    conf_reader_error(r, line, "\"%.80s\" is no name of a host; expected \"x.example\", \"*.x.example\" or an address", text);
    return NULL;
}

static char *item_token(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    (void)key;
    if (span_is_token(span_str(text)))
        return conf_keep(r, text);
    conf_reader_error(r, line, "\"%.40s\" is no token", text);
    return NULL;
}

/* "a" or "a.b": names without dots, so that each path means one member. */
static char *item_member(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    const char *dot = strchr(text, '.');

    (void)key;
    if (dot == NULL || (dot != text && dot[1] != '\0' && strchr(dot + 1, '.') == NULL))
        return conf_keep(r, text);
    conf_reader_error(r, line, "\"%.80s\" names no member; expected \"a\", or \"a.b\" for b in the object a", text);
    return NULL;
}

static char *item_word(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    return conf_word_find(r, key, text, line) >= 0 ? conf_keep(r, text) : NULL;
}

static bool has_lower(const char *text)
{
    return strpbrk(text, "abcdefghijklmnopqrstuvwxyz") != NULL;
}

static char *item_method(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    if (has_lower(text))
        conf_report_warning(r->report, line, r->path, "methods are case-sensitive: \"%.40s\" is not the method in capitals", text);
    return item_token(r, key, text, line);
}

/* Paths are compared after dot segments are removed and without the query. */
static bool never_in_path(const char *text)
{
    size_t len = strlen(text);

    if (strpbrk(text, "?#") != NULL || strstr(text, "/./") != NULL || strstr(text, "/../") != NULL)
        return true;
    return (len >= 2 && strcmp(text + len - 2, "/.") == 0) || (len >= 3 && strcmp(text + len - 3, "/..") == 0);
}

static char *item_pattern(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    (void)key;
    if (text[0] != '/' && text[0] != '*') {
        conf_reader_error(r, line, "\"%.80s\" is no path: it begins with neither \"/\" nor \"*\"", text);
        return NULL;
    }
    if (never_in_path(text))
        conf_report_warning(r->report, line, r->path,
                            "\"%.80s\" can never be seen: a path has no query, no fragment and no dot segments", text);
    return conf_keep(r, text);
}

/* "https://chat.example", "https://chat.example:8443" or "null", as browsers send it (RFC 6454 7): in lower case, without a path.
 */
static char *item_origin(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    const char *scheme_end = strstr(text, "://");
    char *origin;

    (void)key;
    if (strcmp(text, "null") != 0 &&
        (scheme_end == NULL || scheme_end == text || scheme_end[3] == '\0' || strpbrk(scheme_end + 3, "/?#@* ") != NULL)) {
        conf_reader_error(r, line, "\"%.80s\" is no origin; expected \"https://chat.example\" or \"null\"", text);
        return NULL;
    }
    origin = conf_keep(r, text);
    for (char *at = origin; at != NULL && *at != '\0'; at++)
        *at = byte_lower(*at);
    return origin;
}

/* As JA4 writes it, "t13d1516h2_8daaf6152771_e5627efa2ab1", with stars for what does not matter. */
static char *item_fingerprint(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    size_t fits = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_*"), letters = 0;

    (void)key;
    for (const char *at = text; *at != '\0'; at++)
        letters += *at != '*';
    if (text[fits] == '\0' && letters <= JA4_TEXT && (letters == JA4_TEXT || strchr(text, '*') != NULL))
        return conf_keep(r, text);
    conf_reader_error(r, line, "\"%.80s\" is no JA4 fingerprint; expected \"t13d1516h2_8daaf6152771_e5627efa2ab1\" or \"t13d*\"",
                      text);
    return NULL;
}

/* Names of hosts in certificates are compared in lower case. */
static char *item_certificate(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line)
{
    char *kept = conf_keep(r, text);

    (void)key;
    (void)line;
    for (char *at = kept; at != NULL && strncmp(text, "DNS:", 4) == 0 && *at != '\0'; at++)
        if (at >= kept + 4)
            *at = byte_lower(*at);
    return kept;
}

void conf_strings_names(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_name);
}

void conf_strings_interfaces(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_interface);
}

void conf_strings_hosts(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_host);
}

void conf_strings_methods(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_method);
}

void conf_strings_patterns(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_pattern);
}

void conf_strings_origins(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_origin);
}

void conf_strings_tokens(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_token);
}

void conf_strings_members(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_member);
}

void conf_strings_fingerprints(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_fingerprint);
}

void conf_strings_certificates(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    read_strings(r, key, node, target, item_certificate);
}

void conf_strings_words(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_strings *words = target;

    read_strings(r, key, node, target, item_word);
    for (size_t i = 0; i < words->count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(words->items[i], words->items[k]) == 0)
                conf_reader_error(r, conf_node_line(node), "\"%s\" stands here twice", words->items[i]);
}
