/* SPDX-License-Identifier: ISC */
/*
 * The sites of a listener: one for each name that its certificates bear; names with the same certificates share a context. A
 * certificate for an ECDSA key and one for an RSA key that name the same host serve together, also if one of them does so by a
 * wildcard. A name is looked up exactly first, then as the wildcard that covers its first label.
 */
#include "session/secure_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tls_pair pair_of(const struct secure_work *w, const struct conf_tls_pair *pair)
{
    return (struct tls_pair){ secure_file_at(w, pair->certificate), secure_file_at(w, pair->key), secure_file_at(w, pair->ocsp) };
}

/* What sessions are resumed by: all that is said about certificates and suites, which OpenSSL does not look at again. The same
 * bytes in all workers. */
static char *identity_of(const struct secure_work *w, const struct conf_listener *l, const struct choice *choice, size_t *len)
{
    const struct conf_listener_tls *tls = &l->tls;
    const int files[] = { choice->ecdsa >= 0 ? tls->pairs[choice->ecdsa].certificate : -1,
                          choice->rsa >= 0 ? tls->pairs[choice->rsa].certificate : -1, tls->ca, tls->crl };
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    bool good = out != NULL && fprintf(out, "%s %d %d", l->name, (int)tls->verify, (int)tls->profile) > 0;

    for (size_t i = 0; good && i < sizeof(files) / sizeof(files[0]); i++) {
        struct span bytes = secure_file_at(w, files[i]);

        good = fprintf(out, " %zu ", bytes.len) > 0 && (bytes.len == 0 || fwrite(bytes.at, 1, bytes.len, out) == bytes.len);
    }
    if (out != NULL && fclose(out) == 0 && good)
        return text;
    free(text);
    return NULL;
}

static struct digest digest_of_site(const struct secure_work *w, const struct conf_listener *l, const struct choice *choice)
{
    const struct conf_listener_tls *tls = &l->tls;
    struct {
        struct digest files[8];
        char listener[CONF_NAME];
        const struct tls_tickets *tickets;
        int64_t profile, version, verify, keylog;
    } all;
    const int which[2] = { choice->ecdsa, choice->rsa };

    memset(&all, 0, sizeof(all));
    for (size_t i = 0; i < 2; i++) {
        if (which[i] < 0)
            continue;
        all.files[i * 3] = secure_file_digest(w, tls->pairs[which[i]].certificate);
        all.files[i * 3 + 1] = secure_file_digest(w, tls->pairs[which[i]].key);
        all.files[i * 3 + 2] = secure_file_digest(w, tls->pairs[which[i]].ocsp);
    }
    all.files[6] = secure_file_digest(w, tls->ca);
    all.files[7] = secure_file_digest(w, tls->crl);
    memcpy(all.listener, l->name, sizeof(all.listener));
    all.tickets = tls->tickets ? w->in->tickets : NULL;
    all.profile = tls->profile;
    all.version = tls->min_version;
    all.verify = tls->verify;
    all.keylog = w->in->keylog;
    return secure_digest_of(span_of((const char *)&all, sizeof(all)));
}

static enum tls_verify verify_of(const struct conf_listener_tls *tls)
{
    static const enum tls_verify all[] = {
        [VERIFY_NONE] = TLS_VERIFY_NONE, [VERIFY_OPTIONAL] = TLS_VERIFY_OPTIONAL, [VERIFY_REQUIRED] = TLS_VERIFY_REQUIRED
    };

    return all[tls->verify];
}

static bool is_good(struct secure_work *w, const struct tls_server_settings *settings)
{
    struct tls_context *context = tls_server_new(settings, w->error);

    tls_context_unref(context);
    return context != NULL;
}

/* The file of a pair that is not good by itself; NONE: it is good. */
static int culprit_of_pair(struct secure_work *w, const struct conf_tls_pair *conf, struct tls_server_settings alone)
{
    struct tls_pair pair = pair_of(w, conf);

    alone.pairs = &pair;
    alone.pair_count = 1;
    alone.verify = TLS_VERIFY_NONE;
    alone.ca = alone.crl = span_of(NULL, 0);
    if (is_good(w, &alone))
        return SECURE_NONE;
    pair.ocsp = span_of(NULL, 0);
    return conf->ocsp >= 0 && is_good(w, &alone) ? conf->ocsp : conf->key;
}

/* Which file is it that a context failed for? What is left out until one can be made. */
static void blame(struct secure_work *w, const struct conf_listener *l, struct tls_server_settings settings)
{
    char why[TLS_ERROR];
    int file = SECURE_NONE;

    memcpy(why, w->error, sizeof(why));
    for (size_t i = 0; i < l->tls.pair_count && file == SECURE_NONE; i++)
        file = culprit_of_pair(w, &l->tls.pairs[i], settings);
    settings.crl = span_of(NULL, 0);
    if (file == SECURE_NONE)
        file = l->tls.crl >= 0 && is_good(w, &settings) ? l->tls.crl : l->tls.ca;
    secure_complain_of_file(w, file >= 0 ? file : l->tls.pairs[0].certificate, why);
}

/* The context for these certificates; NULL: complained of. */
static struct tls_context *site_context(struct secure_work *w, const struct conf_listener *l, const struct choice *choice)
{
    struct digest digest = digest_of_site(w, l, choice);
    struct tls_context *context = secure_find(w, &digest);
    const int which[2] = { choice->ecdsa, choice->rsa };
    struct tls_pair pairs[2];
    struct tls_server_settings settings;
    size_t count = 0, len = 0;
    char *identity;

    if (context != NULL || w->failed)
        return context;
    for (size_t i = 0; i < 2; i++)
        if (which[i] >= 0)
            pairs[count++] = pair_of(w, &l->tls.pairs[which[i]]);
    identity = identity_of(w, l, choice, &len);
    if (identity == NULL) {
        secure_no_memory(w);
        return NULL;
    }
    settings = (struct tls_server_settings){ .pairs = pairs,
                                             .pair_count = count,
                                             .profile = l->tls.profile == PROFILE_COMPATIBLE ? TLS_COMPATIBLE : TLS_MODERN,
                                             .min_version = l->tls.min_version,
                                             .verify = verify_of(&l->tls),
                                             .ca = secure_file_at(w, l->tls.ca),
                                             .crl = secure_file_at(w, l->tls.crl),
                                             .tickets = l->tls.tickets ? w->in->tickets : NULL,
                                             .identity = span_of(identity, len),
                                             .keylog = w->in->keylog };
    context = tls_server_new(&settings, w->error);
    if (context == NULL)
        blame(w, l, settings);
    free(identity);
    return context != NULL ? secure_remember(w, &digest, context) : NULL;
}

/* Names of one certificate on their way into the list of sites. */
struct naming {
    struct secure_work *w;
    struct sites *sites;
    int pair;
    bool is_ecdsa;
    struct conf_strings names;
};

/* Addresses are never asked for (RFC 6066 3). */
static void note_name(void *arg, struct span name)
{
    struct naming *n = arg;
    struct addr address;
    char **items;

    if (addr_parse(&address, name, 0))
        return;
    items = realloc(n->names.items, (n->names.count + 1) * sizeof(*items));

    if (items != NULL)
        n->names.items = items;
    if (items == NULL || (items[n->names.count] = strndup(name.at, name.len)) == NULL)
        secure_no_memory(n->w);
    else
        n->names.count++;
}

static struct site *site_named(struct sites *sites, const char *name)
{
    for (size_t i = 0; i < sites->count; i++)
        if (strcmp(sites->items[i].name, name) == 0)
            return &sites->items[i];
    return NULL;
}

/* Takes the name. */
static struct site *add_site(struct naming *n, char *name)
{
    struct site *items = secure_grow(n->sites->items, n->sites->count, &n->sites->room, sizeof(*items));

    if (items == NULL) {
        free(name);
        secure_no_memory(n->w);
        return NULL;
    }
    n->sites->items = items;
    items[n->sites->count] = (struct site){ .name = name, .choice = { SECURE_NONE, SECURE_NONE } };
    return &items[n->sites->count++];
}

/* The first certificate of a kind for a name is the one. */
static void enter_names(struct naming *n)
{
    for (size_t i = 0; i < n->names.count; i++) {
        struct site *site = site_named(n->sites, n->names.items[i]);
        int *place;

        if (site != NULL)
            free(n->names.items[i]);
        else
            site = add_site(n, n->names.items[i]);
        if (site == NULL)
            continue;
        place = n->is_ecdsa ? &site->choice.ecdsa : &site->choice.rsa;
        if (*place == SECURE_NONE)
            *place = n->pair;
    }
    free(n->names.items);
}

/* false: complained of. */
static bool name_pair(struct secure_work *w, const struct conf_listener *l, size_t pair, struct sites *sites, struct choice *kind)
{
    struct naming n = { .w = w, .sites = sites, .pair = (int)pair };
    int file = l->tls.pairs[pair].certificate;
    bool good = tls_certificate_names(secure_file_at(w, file), note_name, &n, &n.is_ecdsa, w->error);

    if (good)
        secure_check_life(w, file);
    else
        secure_complain_of_file(w, file, w->error);
    enter_names(&n);
    *kind = n.is_ecdsa ? (struct choice){ (int)pair, SECURE_NONE } : (struct choice){ SECURE_NONE, (int)pair };
    return good && !w->no_memory;
}

/* "*.b.c" for "a.b.c"; NULL: nothing can cover it. */
static const char *wildcard_of(const char *name, char out[HOST_TEXT + 2])
{
    const char *dot = strchr(name, '.');

    if (dot == NULL || name[0] == '*' || strlen(dot) + 2 > HOST_TEXT)
        return NULL;
    out[0] = '*';
    memcpy(out + 1, dot, strlen(dot) + 1);
    return out;
}

/* A kind of key that only a wildcard has for this name. */
static void join_wildcards(struct sites *sites)
{
    char text[HOST_TEXT + 2];

    for (size_t i = 0; i < sites->count; i++) {
        const char *wildcard = wildcard_of(sites->items[i].name, text);
        const struct site *above = wildcard != NULL ? site_named(sites, wildcard) : NULL;
        struct choice *choice = &sites->items[i].choice;

        if (above == NULL)
            continue;
        if (choice->ecdsa == SECURE_NONE)
            choice->ecdsa = above->choice.ecdsa;
        if (choice->rsa == SECURE_NONE)
            choice->rsa = above->choice.rsa;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct site *)a)->name, ((const struct site *)b)->name);
}

/* All that a client's certificate is judged by. */
static void note_asked(const struct secure_work *w, const struct conf_listener_tls *tls, struct sites *sites)
{
    struct {
        struct digest ca, crl;
        int64_t verify;
    } all = { secure_file_digest(w, tls->ca), secure_file_digest(w, tls->crl), tls->verify };

    sites->asked = secure_digest_of(span_of((const char *)&all, sizeof(all)));
}

void secure_make_sites(struct secure_work *w, size_t index)
{
    const struct conf_listener *l = &w->in->conf->listeners[index];
    struct sites *sites = &w->s->listeners[index];
    struct choice first = { SECURE_NONE, SECURE_NONE }, kind;

    for (size_t i = 0; i < l->tls.pair_count; i++) {
        if (!name_pair(w, l, i, sites, &kind))
            return;
        if (i == 0)
            first = kind;
    }
    if (l->tls.pair_count == 0)
        return;
    note_asked(w, &l->tls, sites);
    join_wildcards(sites);
    if (sites->count > 0)
        first = sites->items[0].choice; /* the first name of the first certificate, with its twin */
    for (size_t i = 0; i < sites->count && !w->failed; i++)
        sites->items[i].context = site_context(w, l, &sites->items[i].choice);
    if (!w->failed && l->tls.unknown_name == UNKNOWN_NAME_FIRST)
        sites->first = site_context(w, l, &first);
    if (!w->failed && sites->count == 0 && l->tls.unknown_name == UNKNOWN_NAME_REFUSE)
        secure_complain_of_file(w, l->tls.pairs[0].certificate, "names no host (subjectAltName), so every client would be refused");
    if (sites->count > 0)
        qsort(sites->items, sites->count, sizeof(*sites->items), by_name);
}

static struct tls_context *look_up(const struct sites *sites, const char *name)
{
    struct site wanted = { .name = (char *)name };
    const struct site *found =
        sites->count > 0 ? bsearch(&wanted, sites->items, sites->count, sizeof(*sites->items), by_name) : NULL;

    return found != NULL ? found->context : NULL;
}

struct tls_context *secure_site(const struct secure *secure, int listener, const struct host *name)
{
    const struct sites *sites;
    char text[HOST_TEXT + 2];
    struct tls_context *context = NULL;

    if (listener < 0 || (size_t)listener >= secure->listener_count)
        return NULL;
    sites = &secure->listeners[listener];
    if (name != NULL)
        context = look_up(sites, name->name);
    if (context == NULL && name != NULL && wildcard_of(name->name, text) != NULL)
        context = look_up(sites, text);
    return context != NULL ? context : sites->first;
}

bool secure_asks_as_before(const struct secure *before, int listener_before, const struct secure *now, int listener)
{
    const struct sites *old = &before->listeners[listener_before], *new = &now->listeners[listener];

    return old->asked.a == new->asked.a && old->asked.b == new->asked.b;
}

const struct tls_context *secure_any_site(const struct secure *secure, int listener)
{
    const struct sites *sites = &secure->listeners[listener];

    return sites->count > 0 ? sites->items[0].context : sites->first;
}
