/* SPDX-License-Identifier: ISC */
/*
 * Readers of lists whose items are more than strings: addresses, networks, ports, upstreams, header fields, sets of words. A
 * single value stands for a list of one. An empty list is refused where an absent one means "any": whoever empties a list of
 * hosts rarely wants to allow all of them.
 */
#include "conf/conf_read.h"

#include "base/idna.h"

#include <stdlib.h>
#include <string.h>

#define HTTPS "https://"

bool conf_list_open(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, struct conf_list *list)
{
    bool is_list = conf_node_type(node) == NODE_LIST;

    *list = (struct conf_list){ node, is_list ? conf_node_count(node) : 1, conf_node_line(node) };
    if (list->count >= key->min && list->count <= key->max)
        return true;
    if (list->count == 0)
        conf_reader_error(r, list->line, "the list is empty; leave the key out if any will do");
    else
        conf_reader_error(r, list->line, "the list has more than %llu items", (unsigned long long)key->max);
    return false;
}

const struct conf_node *conf_list_at(const struct conf_list *list, size_t index)
{
    return conf_node_type(list->node) == NODE_LIST ? conf_node_at(list->node, index) : list->node;
}

void conf_list_servers(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf *conf = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list) || list.count == 0)
        return;
    conf->resolver_servers = conf_keep_room(r, list.count, sizeof(*conf->resolver_servers));
    for (size_t i = 0; conf->resolver_servers != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);
        struct addr *server = &conf->resolver_servers[conf->resolver_server_count];

        if (text == NULL)
            continue;
        if (addr_parse(server, span_str(text), 53) || addr_parse_port(server, span_str(text)))
            conf->resolver_server_count++;
        else
            conf_reader_error(r, list.line, "\"%.80s\" is no address; expected \"192.0.2.1\" or \"[2001:db8::1]:53\"", text);
    }
}

/* What was meant if the host bits of "10.77.1.5/24" are not zero. */
static bool clear_host_bits(const char *text, struct network *meant)
{
    size_t ip_len = strcspn(text, "/");
    uint64_t bits, width;

    if (text[ip_len] != '/' || !addr_parse(&meant->base, span_of(text, ip_len), 0))
        return false;
    width = meant->base.family == AF_INET6 ? 128 : 32;
    if (!span_u64(span_str(text + ip_len + 1), width, &bits))
        return false;
    meant->bits = (uint8_t)bits;
    for (size_t bit = bits; bit < width; bit++)
        meant->base.ip[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
    return true;
}

static bool read_network(struct conf_reader *r, const char *text, unsigned line, struct network *out)
{
    struct network meant;
    char base[ADDR_TEXT];

    if (network_parse(out, span_str(text)))
        return true;
    if (clear_host_bits(text, &meant))
        conf_reader_error(r, line, "\"%.80s\" has host bits set; did you mean \"%s/%u\"?", text, addr_text(&meant.base, base),
                          meant.bits);
    else
        conf_reader_error(r, line, "\"%.80s\" is no network; expected \"10.0.0.0/8\", \"fd00::/8\" or an address", text);
    return false;
}

void conf_list_networks(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_networks *networks = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    networks->items = conf_keep_room(r, list.count, sizeof(*networks->items));
    for (size_t i = 0; networks->items != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);

        if (text != NULL && read_network(r, text, list.line, &networks->items[networks->count]))
            networks->count++;
    }
}

/* 80, "80" or "8000-8100". */
static bool read_ports(const struct conf_node *node, struct conf_port_range *out)
{
    enum conf_node_type type = conf_node_type(node);
    uint64_t first = 0, last = 0;

    if (type == NODE_INTEGER && conf_node_integer(node) > 0) {
        first = last = (uint64_t)conf_node_integer(node);
    } else if (type == NODE_TEXT && conf_node_text(node) != NULL) {
        const char *text = conf_node_text(node);
        size_t dash = strcspn(text, "-");

        if (!span_u64(span_of(text, dash), 65535, &first))
            return false;
        last = first;
        if (text[dash] == '-' && !span_u64(span_str(text + dash + 1), 65535, &last))
            return false;
    }
    if (first == 0 || first > last || last > 65535)
        return false;
    *out = (struct conf_port_range){ (uint16_t)first, (uint16_t)last };
    return true;
}

void conf_list_ports(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_ports *ports = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    ports->items = conf_keep_room(r, list.count, sizeof(*ports->items));
    for (size_t i = 0; ports->items != NULL && i < list.count; i++) {
        if (read_ports(conf_list_at(&list, i), &ports->items[ports->count]))
            ports->count++;
        else
            conf_reader_error(r, list.line, "item %zu is no port; expected 1 to 65535 or \"8000-8100\"", i + 1);
    }
}

static bool read_upstream(struct conf_reader *r, const char *text, unsigned line, struct conf_upstream *out)
{
    const char *colon = strrchr(text, ':');
    const char *whole = text;
    struct span host;
    struct addr address;
    char literal[ADDR_TEXT];
    uint64_t port;

    out->tls = strncasecmp(text, HTTPS, strlen(HTTPS)) == 0;
    if (out->tls)
        text += strlen(HTTPS);
    host = span_of(text, colon != NULL && colon > text ? (size_t)(colon - text) : 0);
    if (addr_parse_port(&out->ip, span_str(text))) {
        out->port = out->ip.port;
        return span_cstr(span_str(addr_text(&out->ip, literal)), out->host, sizeof(out->host));
    }
    if (colon != NULL && span_u64(span_str(colon + 1), 65535, &port) && port > 0 && !addr_parse_loose(&address, host, 0) &&
        idna_to_ascii(host, out->host)) {
        out->port = (uint16_t)port;
        return true;
    }
    conf_reader_error(r, line, "\"%.80s\" is no upstream; expected \"host:port\" or \"https://host:port\"", whole);
    return false;
}

void conf_list_upstreams(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_listener *listener = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    listener->upstreams = conf_keep_room(r, list.count, sizeof(*listener->upstreams));
    for (size_t i = 0; listener->upstreams != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);

        if (text != NULL && read_upstream(r, text, list.line, &listener->upstreams[listener->upstream_count]))
            listener->upstream_count++;
    }
}

static bool read_header(struct conf_reader *r, const char *text, unsigned line, struct conf_header *out)
{
    size_t name_len = strcspn(text, ":");
    struct span pattern = span_trim(span_str(text[name_len] == ':' ? text + name_len + 1 : ""));

    if (!span_is_token(span_of(text, name_len)) || (text[name_len] == ':' && pattern.len == 0)) {
        conf_reader_error(r, line, "\"%.80s\" is no condition on a field; expected \"Name: pattern\" or \"Name\"", text);
        return false;
    }
    out->name = conf_keep_part(r, span_of(text, name_len));
    out->pattern = pattern.len > 0 ? conf_keep_part(r, pattern) : NULL;
    return true;
}

void conf_list_headers(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_policy *policy = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    policy->headers = conf_keep_room(r, list.count, sizeof(*policy->headers));
    for (size_t i = 0; policy->headers != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);

        if (text != NULL && read_header(r, text, list.line, &policy->headers[policy->header_count]))
            policy->header_count++;
    }
}

/* A list of words as the bits that they stand for; false: the list itself was refused. */
static bool read_bits(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, unsigned *bits)
{
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return false;
    *bits = 0;
    for (size_t i = 0; i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);
        int bit = text ? conf_word_find(r, key, text, list.line) : -1;

        if (bit >= 0)
            *bits |= 1u << bit;
    }
    return true;
}

void conf_list_protocols(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_policy *policy = target;

    if (read_bits(r, key, node, &policy->protocols))
        policy->protocols_given = true;
}

void conf_list_bits(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    unsigned bits;

    if (read_bits(r, key, node, &bits))
        memcpy(target, &bits, sizeof(bits));
}

void conf_list_senders(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_ws_match *match = target;
    unsigned bits;

    if (!read_bits(r, key, node, &bits))
        return;
    match->of_client = bits & 1u << UP;
    match->of_server = bits & 1u << DOWN;
}
