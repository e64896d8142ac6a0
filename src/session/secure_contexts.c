/* SPDX-License-Identifier: ISC */
/*
 * From files to contexts (session/secure.h). A listener has a site for each name that its certificates bear; names with the same
 * certificates share a context. A certificate for an ECDSA key and one for an RSA key that name the same host serve together, also
 * if one of them does so by a wildcard. A name is looked up exactly first, then as the wildcard that covers its first label.
 *
 * Every context is known by a digest of all that it was made from. Within one generation the same is made once; from one generation
 * to the next what has not changed is taken over, with the sessions that servers may resume: a reload that replaces one certificate
 * costs one context, and a bundle of CAs is not read again each time.
 *
 * Digests are SipHash under random keys of this process, twice: the bytes are the operator's, so nobody looks for collisions.
 */
#include "session/secure.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARN_LEFT (14 * 86400) /* seconds before a certificate expires from which on there is a warning */
#define SECOND_US 1000000
#define DAY 86400
#define NONE (-1)

struct digest {
    uint64_t a, b;
};

/* Certificates that serve together: indices of pairs, or NONE. */
struct choice {
    int ecdsa, rsa;
};

struct site {
    char *name; /* "x.example" or "*.example" */
    struct choice choice;
    struct tls_context *context;
};

struct sites {
    struct site *items; /* sorted by name, once all are known */
    size_t count, room;
    struct tls_context *first; /* for unknown names; NULL: refused */
};

struct made {
    struct digest digest;
    struct tls_context *context;
};

struct secure {
    size_t listener_count, policy_count;
    struct sites *listeners;
    struct tls_context **upstreams; /* by policy; NULL: it needs none */
    struct tls_context *inspect;    /* one of made */
    char *chain;
    size_t chain_len;
    struct made *made;
    size_t made_count, made_room;
};

/* While it is made. */
struct work {
    const struct secure_inputs *in;
    struct secure *s;
    struct digest *files; /* one for each of conf->tls_files */
    bool failed, no_memory;
    char error[TLS_ERROR];
};

static struct hash_key keys[2];

static struct digest digest_of(struct span bytes)
{
    return (struct digest){ hash_bytes(&keys[0], bytes.at, bytes.len), hash_bytes(&keys[1], bytes.at, bytes.len) };
}

static bool same_digest(const struct digest *a, const struct digest *b)
{
    return a->a == b->a && a->b == b->b;
}

static void complain(struct work *w, unsigned line, const char *key, const char *text)
{
    w->failed = true;
    w->in->complain(w->in->arg, line, key, text);
}

static void complain_of_file(struct work *w, int file, const char *text)
{
    const struct conf_tls_file *f = &w->in->conf->tls_files[file];

    complain(w, f->line, f->key, text);
}

static void no_memory(struct work *w)
{
    if (!w->no_memory)
        complain(w, 1, "tls", "no memory for TLS");
    w->no_memory = true;
}

static struct span file_at(const struct work *w, int index)
{
    return index < 0 ? span_of(NULL, 0) : w->in->files[index];
}

static struct digest file_digest(const struct work *w, int index)
{
    return index < 0 ? (struct digest){ 0, 0 } : w->files[index];
}

/* Grows an array by one item; NULL: no memory, and it is as it was. */
static void *grow(void *items, size_t count, size_t *room, size_t size)
{
    size_t more = *room == 0 ? 8 : *room * 2;
    void *grown;

    if (count < *room)
        return items;
    grown = realloc(items, more * size);
    if (grown != NULL)
        *room = more;
    return grown;
}

static struct tls_context *find_made(const struct secure *s, const struct digest *digest)
{
    for (size_t i = 0; s != NULL && i < s->made_count; i++)
        if (same_digest(&s->made[i].digest, digest))
            return s->made[i].context;
    return NULL;
}

/* Takes the reference. */
static struct tls_context *remember(struct work *w, const struct digest *digest, struct tls_context *context)
{
    struct secure *s = w->s;
    struct made *made = grow(s->made, s->made_count, &s->made_room, sizeof(*made));

    if (made == NULL) {
        no_memory(w);
        tls_context_unref(context);
        return NULL;
    }
    s->made = made;
    made[s->made_count++] = (struct made){ *digest, context };
    return context;
}

/* One that was made already, now or the last time; the references are those of `made`. */
static struct tls_context *find(struct work *w, const struct digest *digest)
{
    struct tls_context *context = find_made(w->s, digest);

    if (context != NULL)
        return context;
    context = find_made(w->in->before, digest);
    return context != NULL ? remember(w, digest, tls_context_ref(context)) : NULL;
}

/* Certificates of listeners. */

static struct tls_pair pair_of(const struct work *w, const struct conf_tls_pair *pair)
{
    return (struct tls_pair){ file_at(w, pair->certificate), file_at(w, pair->key), file_at(w, pair->ocsp) };
}

/* What sessions are resumed by: all that is said about certificates. The same bytes in all workers. */
static char *identity_of(const struct work *w, const struct conf_listener *l, const struct choice *choice, size_t *len)
{
    const struct conf_listener_tls *tls = &l->tls;
    const int files[] = { choice->ecdsa >= 0 ? tls->pairs[choice->ecdsa].certificate : -1,
                          choice->rsa >= 0 ? tls->pairs[choice->rsa].certificate : -1, tls->ca, tls->crl };
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    bool good = out != NULL && fprintf(out, "%s %d", l->name, (int)tls->verify) > 0;

    for (size_t i = 0; good && i < sizeof(files) / sizeof(files[0]); i++) {
        struct span bytes = file_at(w, files[i]);

        good = fprintf(out, " %zu ", bytes.len) > 0 && fwrite(bytes.at, 1, bytes.len, out) == bytes.len;
    }
    if (out != NULL && fclose(out) == 0 && good)
        return text;
    free(text);
    return NULL;
}

static struct digest digest_of_site(const struct work *w, const struct conf_listener *l, const struct choice *choice)
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
        all.files[i * 3] = file_digest(w, tls->pairs[which[i]].certificate);
        all.files[i * 3 + 1] = file_digest(w, tls->pairs[which[i]].key);
        all.files[i * 3 + 2] = file_digest(w, tls->pairs[which[i]].ocsp);
    }
    all.files[6] = file_digest(w, tls->ca);
    all.files[7] = file_digest(w, tls->crl);
    memcpy(all.listener, l->name, sizeof(all.listener));
    all.tickets = tls->tickets ? w->in->tickets : NULL;
    all.profile = tls->profile;
    all.version = tls->min_version;
    all.verify = tls->verify;
    all.keylog = w->in->keylog;
    return digest_of(span_of((const char *)&all, sizeof(all)));
}

static struct tls_context *make_server(struct work *w, const struct conf_listener *l, const struct tls_pair *pairs, size_t count,
                                       struct span identity, bool with_clients)
{
    const struct conf_listener_tls *tls = &l->tls;
    struct tls_server_settings settings = { .pairs = pairs,
                                            .pair_count = count,
                                            .profile = tls->profile == PROFILE_COMPATIBLE ? TLS_COMPATIBLE : TLS_MODERN,
                                            .min_version = tls->min_version,
                                            .tickets = tls->tickets ? w->in->tickets : NULL,
                                            .identity = identity,
                                            .keylog = w->in->keylog };

    if (with_clients) {
        settings.verify = tls->verify == VERIFY_REQUIRED   ? TLS_VERIFY_REQUIRED
                          : tls->verify == VERIFY_OPTIONAL ? TLS_VERIFY_OPTIONAL
                                                           : TLS_VERIFY_NONE;
        settings.ca = file_at(w, tls->ca);
        settings.crl = file_at(w, tls->crl);
    }
    return tls_server_new(&settings, w->error);
}

/* Which file is it that a context failed for? Each pair is tried alone; if all are good it is what clients are verified by. */
static void blame(struct work *w, const struct conf_listener *l, struct span identity)
{
    char why[TLS_ERROR];

    memcpy(why, w->error, sizeof(why));
    for (size_t i = 0; i < l->tls.pair_count; i++) {
        struct tls_pair pair = pair_of(w, &l->tls.pairs[i]);
        struct tls_context *context = make_server(w, l, &pair, 1, identity, false);

        if (context == NULL) {
            complain_of_file(w, l->tls.pairs[i].key, w->error);
            return;
        }
        tls_context_unref(context);
    }
    if (l->tls.ca >= 0)
        complain_of_file(w, l->tls.ca, why);
    else
        complain_of_file(w, l->tls.pairs[0].certificate, why);
}

/* The context for these certificates; NULL: complained of. */
static struct tls_context *site_context(struct work *w, const struct conf_listener *l, const struct choice *choice)
{
    struct digest digest = digest_of_site(w, l, choice);
    struct tls_context *context = find(w, &digest);
    const int which[2] = { choice->ecdsa, choice->rsa };
    struct tls_pair pairs[2];
    size_t count = 0, len = 0;
    char *identity;

    if (context != NULL || w->failed)
        return context;
    for (size_t i = 0; i < 2; i++)
        if (which[i] >= 0)
            pairs[count++] = pair_of(w, &l->tls.pairs[which[i]]);
    identity = identity_of(w, l, choice, &len);
    if (identity == NULL) {
        no_memory(w);
        return NULL;
    }
    context = make_server(w, l, pairs, count, span_of(identity, len), true);
    if (context == NULL)
        blame(w, l, span_of(identity, len));
    free(identity);
    return context != NULL ? remember(w, &digest, context) : NULL;
}

/* Names of one certificate on their way into the list of sites. */
struct naming {
    struct work *w;
    struct sites *sites;
    int pair;
    bool is_ecdsa;
    struct conf_strings names;
};

static void note_name(void *arg, struct span name)
{
    struct naming *n = arg;
    char **items = realloc(n->names.items, (n->names.count + 1) * sizeof(*items));

    if (items != NULL)
        n->names.items = items;
    if (items == NULL || (items[n->names.count] = strndup(name.at, name.len)) == NULL)
        no_memory(n->w);
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
    struct site *items = grow(n->sites->items, n->sites->count, &n->sites->room, sizeof(*items));

    if (items == NULL) {
        free(name);
        no_memory(n->w);
        return NULL;
    }
    n->sites->items = items;
    items[n->sites->count] = (struct site){ .name = name, .choice = { NONE, NONE } };
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
        if (*place == NONE)
            *place = n->pair;
    }
    free(n->names.items);
}

/* Warns of one that is about to expire; one that has expired is an error of nobody: clients say so. */
static void check_life(struct work *w, int file)
{
    int64_t left = tls_certificate_left(file_at(w, file), (int64_t)(clock_wall_us() / SECOND_US));
    const struct conf_tls_file *f = &w->in->conf->tls_files[file];
    char text[96];

    if (left > WARN_LEFT)
        return;
    if (left < 0)
        snprintf(text, sizeof(text), "the certificate is not valid now");
    else
        snprintf(text, sizeof(text), "the certificate expires in %lld days", (long long)(left / DAY));
    w->in->warn(w->in->arg, f->line, f->key, text);
}

/* false: complained of. */
static bool name_pair(struct work *w, const struct conf_listener *l, size_t pair, struct sites *sites, struct choice *kind)
{
    struct naming n = { .w = w, .sites = sites, .pair = (int)pair };
    int file = l->tls.pairs[pair].certificate;
    bool good = tls_certificate_names(file_at(w, file), note_name, &n, &n.is_ecdsa, w->error);

    if (good)
        check_life(w, file);
    else
        complain_of_file(w, file, w->error);
    enter_names(&n);
    *kind = n.is_ecdsa ? (struct choice){ (int)pair, NONE } : (struct choice){ NONE, (int)pair };
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
        if (choice->ecdsa == NONE)
            choice->ecdsa = above->choice.ecdsa;
        if (choice->rsa == NONE)
            choice->rsa = above->choice.rsa;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct site *)a)->name, ((const struct site *)b)->name);
}

static void make_listener(struct work *w, size_t index)
{
    const struct conf_listener *l = &w->in->conf->listeners[index];
    struct sites *sites = &w->s->listeners[index];
    struct choice first = { NONE, NONE }, kind;

    for (size_t i = 0; i < l->tls.pair_count; i++) {
        if (!name_pair(w, l, i, sites, &kind))
            return;
        if (i == 0)
            first = kind;
    }
    if (l->tls.pair_count == 0)
        return;
    join_wildcards(sites);
    if (sites->count > 0)
        first = sites->items[0].choice; /* the first name of the first certificate, with its twin */
    for (size_t i = 0; i < sites->count && !w->failed; i++)
        sites->items[i].context = site_context(w, l, &sites->items[i].choice);
    if (!w->failed && l->tls.unknown_name == UNKNOWN_NAME_FIRST)
        sites->first = site_context(w, l, &first);
    if (!w->failed && sites->count == 0 && l->tls.unknown_name == UNKNOWN_NAME_REFUSE)
        complain_of_file(w, l->tls.pairs[0].certificate, "names no host (subjectAltName), so every client would be refused");
    if (sites->count > 0)
        qsort(sites->items, sites->count, sizeof(*sites->items), by_name);
}

/* Towards servers. */

static struct digest digest_of_upstream(const struct work *w, const struct conf_upstream_tls *u, int trust, int crl)
{
    struct {
        struct digest files[5];
        int64_t verify, version, keylog;
    } all;

    memset(&all, 0, sizeof(all));
    all.files[0] = file_digest(w, trust);
    all.files[1] = file_digest(w, crl);
    all.files[2] = file_digest(w, u->certificate);
    all.files[3] = file_digest(w, u->key);
    all.files[4] = digest_of(span_of((const char *)u->pins, u->pin_count * sizeof(*u->pins)));
    all.verify = u->verify;
    all.version = u->min_version;
    all.keylog = w->in->keylog;
    return digest_of(span_of((const char *)&all, sizeof(all)));
}

static void blame_upstream(struct work *w, const struct conf_policy *p, const struct tls_client_settings *settings)
{
    const struct conf_upstream_tls *u = &p->upstream_tls;
    struct tls_client_settings alone = *settings;
    struct tls_context *context;
    char why[TLS_ERROR];

    memcpy(why, w->error, sizeof(why));
    alone.pair = (struct tls_pair){ 0 };
    context = tls_client_new(&alone, w->error);
    if (context != NULL && u->key >= 0)
        complain_of_file(w, u->key, why);
    else if (u->trust >= 0 || w->in->conf->tls.trust >= 0)
        complain_of_file(w, u->trust >= 0 ? u->trust : w->in->conf->tls.trust, why);
    else
        complain(w, p->line, "upstream_tls", why);
    tls_context_unref(context);
}

static struct tls_context *make_upstream(struct work *w, const struct conf_policy *p)
{
    const struct conf_upstream_tls *u = &p->upstream_tls;
    int trust = u->trust >= 0 ? u->trust : w->in->conf->tls.trust, crl = u->crl >= 0 ? u->crl : w->in->conf->tls.crl;
    struct digest digest = digest_of_upstream(w, u, trust, crl);
    struct tls_context *context = find(w, &digest);
    struct tls_client_settings settings = { .trust = file_at(w, trust),
                                            .crl = file_at(w, crl),
                                            .verify = u->verify,
                                            .pair = { file_at(w, u->certificate), file_at(w, u->key), { NULL, 0 } },
                                            .min_version = u->min_version,
                                            .pins = (const uint8_t(*)[32])u->pins,
                                            .pin_count = u->pin_count,
                                            .keylog = w->in->keylog };

    if (context != NULL || w->failed)
        return context;
    context = tls_client_new(&settings, w->error);
    if (context != NULL)
        return remember(w, &digest, context);
    blame_upstream(w, p, &settings);
    return NULL;
}

static bool has_upstream_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t k = 0; k < conf->listeners[i].upstream_count; k++)
            if (conf->listeners[i].upstreams[k].tls)
                return true;
    return false;
}

static bool make_upstreams(struct work *w)
{
    const struct conf *conf = w->in->conf;
    bool reverse = has_upstream_tls(conf), inspects = false;

    for (size_t i = 0; i < conf->policy_count && !w->failed; i++) {
        const struct conf_policy *p = &conf->policies[i];

        if (p->action != ACTION_ALLOW || !(reverse || p->inspect))
            continue;
        inspects |= p->inspect;
        w->s->upstreams[i] = make_upstream(w, p);
        if (p->upstream_tls.certificate >= 0)
            check_life(w, p->upstream_tls.certificate);
    }
    return inspects;
}

/* A leaf fits one context, and stands under one chain: if either changes, so does the context. */
static void make_inspect(struct work *w)
{
    int ca = w->in->conf->tls.inspect_certificate;
    struct span chain = file_at(w, ca);
    struct {
        struct digest chain;
        int64_t keylog;
    } all = { file_digest(w, ca), w->in->keylog };
    struct digest digest = digest_of(span_of((const char *)&all, sizeof(all)));
    struct tls_context *context = find(w, &digest);

    if (context == NULL && !w->failed) {
        context = tls_inspect_new(w->in->keylog, w->error);
        if (context == NULL)
            complain(w, 1, "tls", w->error);
        else
            context = remember(w, &digest, context);
    }
    w->s->inspect = context;
    w->s->chain = strndup(chain.at, chain.len);
    w->s->chain_len = chain.len;
    if (w->s->chain == NULL)
        no_memory(w);
    check_life(w, ca);
}

static bool digest_files(struct work *w)
{
    const struct conf *conf = w->in->conf;

    if (keys[0].k0 == 0 && keys[0].k1 == 0) {
        hash_key_random(&keys[0]);
        hash_key_random(&keys[1]);
    }
    w->files = calloc(conf->tls_file_count + 1, sizeof(*w->files));
    for (size_t i = 0; w->files != NULL && i < conf->tls_file_count; i++)
        w->files[i] = digest_of(w->in->files[i]);
    return w->files != NULL;
}

static bool allocate(struct work *w)
{
    const struct conf *conf = w->in->conf;

    w->s->listener_count = conf->listener_count;
    w->s->policy_count = conf->policy_count;
    w->s->listeners = calloc(conf->listener_count + 1, sizeof(*w->s->listeners));
    w->s->upstreams = calloc(conf->policy_count + 1, sizeof(struct tls_context *));
    return w->s->listeners != NULL && w->s->upstreams != NULL && digest_files(w);
}

struct secure *secure_new(const struct secure_inputs *inputs)
{
    struct work w = { .in = inputs, .s = calloc(1, sizeof(*w.s)) };

    if (w.s == NULL || !allocate(&w))
        no_memory(&w);
    for (size_t i = 0; i < inputs->conf->listener_count && !w.no_memory; i++)
        make_listener(&w, i);
    if (!w.failed && make_upstreams(&w) && !w.failed)
        make_inspect(&w);
    free(w.files);
    if (!w.failed)
        return w.s;
    secure_free(w.s);
    return NULL;
}

void secure_free(struct secure *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->listeners != NULL && i < s->listener_count; i++) {
        for (size_t k = 0; k < s->listeners[i].count; k++)
            free(s->listeners[i].items[k].name);
        free(s->listeners[i].items);
    }
    for (size_t i = 0; i < s->made_count; i++)
        tls_context_unref(s->made[i].context);
    free(s->made);
    free(s->listeners);
    free(s->upstreams);
    free(s->chain);
    free(s);
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

struct tls_context *secure_upstream(const struct secure *secure, int policy)
{
    return policy >= 0 && (size_t)policy < secure->policy_count ? secure->upstreams[policy] : NULL;
}

struct tls_context *secure_inspect(const struct secure *secure)
{
    return secure->inspect;
}

struct span secure_inspect_chain(const struct secure *secure)
{
    return span_of(secure->chain, secure->chain_len);
}
