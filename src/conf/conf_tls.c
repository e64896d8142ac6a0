/* SPDX-License-Identifier: ISC */
/*
 * Readers of what TLS needs: versions, names of servers, pins, and files. Files are not opened here; each is entered once in the
 * snapshot's list, with the line and the key that name it first, so that whoever reads them can say where a bad one comes from.
 *
 * conf_tls_settle() draws the conclusions: a listener's one certificate and its list of certificates become the same thing, a
 * policy that inspects is not about TLS that passes unread, and the system's bundle of CAs is asked for if servers are to be
 * verified and nobody said by what.
 */
#include "conf/conf_read.h"

#include "base/idna.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYSTEM_TRUST "/etc/ssl/certs/ca-certificates.crt"
#define PIN_PREFIX "sha256/"
#define PIN_BASE64 44 /* characters of 32 bytes */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void conf_value_version(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));
    int index = text ? conf_word_find(r, key, text, conf_node_line(node)) : -1;

    if (index >= 0)
        *(uint16_t *)target = (uint16_t)(key->min + (unsigned)index);
}

/* Grows the list by one; NULL: no memory, which is noted. */
static struct conf_tls_file *add_file(struct conf *conf, struct conf_report *report)
{
    size_t size = (conf->tls_file_count + 1) * sizeof(*conf->tls_files);
    struct conf_tls_file *files = realloc(conf->tls_files, size);

    if (files == NULL) {
        report->no_memory = true;
        return NULL;
    }
    conf->tls_files = files;
    files[conf->tls_file_count] = (struct conf_tls_file){ 0 };
    return &files[conf->tls_file_count++];
}

/* The index of a file in the list, entered if it is not there yet; -1: no memory. */
static int enter_file(struct conf *conf, struct conf_report *report, const struct conf_tls_file *wanted)
{
    struct conf_tls_file *file;

    for (size_t i = 0; i < conf->tls_file_count; i++) {
        if (conf->tls_files[i].kind != wanted->kind || strcmp(conf->tls_files[i].path, wanted->path) != 0)
            continue;
        conf->tls_files[i].of_minter |= wanted->of_minter;
        return (int)i;
    }
    file = add_file(conf, report);
    if (file == NULL)
        return -1;
    *file = *wanted;
    file->path = strdup(wanted->path);
    file->key = strdup(wanted->key);
    report->no_memory |= file->path == NULL || file->key == NULL;
    return report->no_memory ? -1 : (int)conf->tls_file_count - 1;
}

void conf_value_file(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    size_t errors = r->report->errors;
    char *path = NULL;
    struct conf_key as_path = *key;

    as_path.max = CONF_FILE_PATH;
    conf_value_path(r, &as_path, node, &path);
    if (r->report->errors == errors && path != NULL)
        *(int *)target = enter_file(r->conf, r->report,
                                    &(struct conf_tls_file){ .path = path,
                                                             .kind = (enum conf_tls_kind)key->min,
                                                             .of_minter = key->max == 1,
                                                             .line = conf_node_line(node),
                                                             .key = r->path });
    free(path);
}

void conf_value_host(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    const char *text = conf_node_clean_text(r, node, conf_node_line(node));
    char host[HOST_TEXT], **place = target;
    struct addr address;

    (void)key;
    if (text == NULL)
        return;
    if (addr_parse_loose(&address, span_str(text), 0) || !idna_to_ascii(span_str(text), host)) {
        conf_reader_error(r, conf_node_line(node), "\"%.80s\" is no name of a host; expected \"x.example\"", text);
        return;
    }
    free(*place);
    *place = conf_keep(r, host);
}

/* 32 bytes from their one spelling in Base64 (RFC 4648 4): the unused bits of the last character are zero. */
static bool read_base64(const char *text, uint8_t out[32])
{
    uint32_t bits = 0;
    size_t len = 0;

    if (strlen(text) != PIN_BASE64 || text[PIN_BASE64 - 1] != '=')
        return false;
    for (size_t i = 0; i < PIN_BASE64 - 1; i++) {
        const char *at = strchr(base64, text[i]);

        if (at == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(at - base64);
        if (i % 4 == 0)
            continue;
        if (len < 32)
            out[len++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return (bits & 3) == 0;
}

const char *conf_pin_text(const uint8_t pin[32], char *out)
{
    char *at = out + sizeof(PIN_PREFIX) - 1;

    memcpy(out, PIN_PREFIX, sizeof(PIN_PREFIX) - 1);
    for (size_t i = 0; i < 33; i += 3) {
        uint32_t bits = (uint32_t)pin[i] << 16 | (uint32_t)pin[i + 1] << 8 | (i + 2 < 32 ? pin[i + 2] : 0);

        for (unsigned shift = 24; shift > 0; shift -= 6)
            *at++ = base64[bits >> (shift - 6) & 63];
    }
    at[-1] = '=';
    *at = '\0';
    return out;
}

void conf_list_pins(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target)
{
    struct conf_upstream_tls *tls = target;
    struct conf_list list;

    if (!conf_list_open(r, key, node, &list))
        return;
    tls->pins = conf_keep_room(r, list.count, sizeof(*tls->pins));
    for (size_t i = 0; tls->pins != NULL && i < list.count; i++) {
        const char *text = conf_node_clean_text(r, conf_list_at(&list, i), list.line);

        if (text == NULL)
            continue;
        if (strncmp(text, PIN_PREFIX, strlen(PIN_PREFIX)) == 0 && read_base64(text + strlen(PIN_PREFIX), tls->pins[tls->pin_count]))
            tls->pin_count++;
        else
            conf_reader_error(r, list.line, "\"%.80s\" is no pin; expected \"sha256/\" and the Base64 of 32 bytes", text);
    }
}

static void settle_listener(struct conf_listener *l, struct conf_report *report)
{
    struct conf_listener_tls *tls = &l->tls;

    if (tls->line == 0 || tls->own.certificate < 0 || tls->own.key < 0 || tls->pair_count > 0)
        return;
    free(tls->pairs);
    tls->pairs = calloc(1, sizeof(*tls->pairs));
    if (tls->pairs == NULL) {
        report->no_memory = true;
        return;
    }
    tls->own.line = tls->line;
    tls->pairs[0] = tls->own;
    tls->pair_count = 1;
}

bool conf_has_upstream_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t k = 0; k < conf->listeners[i].upstream_count; k++)
            if (conf->listeners[i].upstreams[k].tls)
                return true;
    return false;
}

/* Is there a policy that verifies servers and does not say by what? */
static bool needs_trust(const struct conf *conf)
{
    bool reverse = conf_has_upstream_tls(conf);

    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_policy *p = &conf->policies[i];

        if (p->action == ACTION_ALLOW && (reverse || p->inspect) && p->upstream_tls.verify && p->upstream_tls.trust < 0)
            return true;
    }
    return false;
}

void conf_tls_settle(struct conf *conf, struct conf_report *report)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        settle_listener(&conf->listeners[i], report);
    for (size_t i = 0; i < conf->policy_count; i++)
        if (conf->policies[i].inspect && !conf->policies[i].protocols_given)
            conf->policies[i].protocols &= ~(unsigned)CONF_TLS;
    if (conf->tls.trust < 0 && !report->no_memory && needs_trust(conf))
        conf->tls.trust =
            enter_file(conf, report,
                       &(struct conf_tls_file){
                           .path = (char *)SYSTEM_TRUST, .kind = TLS_FILE_TRUST, .optional = true, .key = (char *)"tls.trust" });
}
