/* SPDX-License-Identifier: ISC */
/*
 * From files to contexts (session/secure.h). Every context is known by a digest of all that it was made from. Within one generation
 * the same is made once; from one generation to the next what has not changed is taken over, with the sessions that servers may
 * resume: a reload that replaces one certificate costs one context, and a bundle of CAs is not read again each time.
 *
 * Digests are SipHash under random keys of this process, twice: the bytes are the operator's, so nobody looks for collisions.
 */
#include "session/secure_work.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARN_LEFT (14 * 86400) /* seconds before a certificate expires from which on there is a warning */
#define SECOND_US 1000000
#define DAY 86400

static struct hash_key keys[2];

struct digest secure_digest_of(struct span bytes)
{
    return (struct digest){ hash_bytes(&keys[0], bytes.at, bytes.len), hash_bytes(&keys[1], bytes.at, bytes.len) };
}

static bool same_digest(const struct digest *a, const struct digest *b)
{
    return a->a == b->a && a->b == b->b;
}

void secure_complain(struct secure_work *w, unsigned line, const char *key, const char *text)
{
    w->failed = true;
    w->in->complain(w->in->arg, line, key, text);
}

void secure_complain_of_file(struct secure_work *w, int file, const char *text)
{
    const struct conf_tls_file *f = &w->in->conf->tls_files[file];

    secure_complain(w, f->line, f->key, text);
}

void secure_no_memory(struct secure_work *w)
{
    if (!w->no_memory)
        secure_complain(w, 1, "tls", "no memory for TLS");
    w->no_memory = true;
}

struct span secure_file_at(const struct secure_work *w, int index)
{
    return index < 0 ? span_of(NULL, 0) : w->in->files[index];
}

struct digest secure_file_digest(const struct secure_work *w, int index)
{
    return index < 0 ? (struct digest){ 0, 0 } : w->files[index];
}

/* Grows an array by one item; NULL: no memory, and it is as it was. */
void *secure_grow(void *items, size_t count, size_t *room, size_t size)
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
struct tls_context *secure_remember(struct secure_work *w, const struct digest *digest, struct tls_context *context)
{
    struct secure *s = w->s;
    struct made *made = secure_grow(s->made, s->made_count, &s->made_room, sizeof(*made));

    if (made == NULL) {
        secure_no_memory(w);
        tls_context_unref(context);
        return NULL;
    }
    s->made = made;
    made[s->made_count++] = (struct made){ *digest, context };
    return context;
}

/* One that was made already, now or the last time; the references are those of `made`. */
struct tls_context *secure_find(struct secure_work *w, const struct digest *digest)
{
    struct tls_context *context = find_made(w->s, digest);

    if (context != NULL)
        return context;
    context = find_made(w->in->before, digest);
    return context != NULL ? secure_remember(w, digest, tls_context_ref(context)) : NULL;
}

/* What is worth a warning about a life that has `left` seconds; false: nothing. */
static bool say_life(int64_t left, char *out, size_t size)
{
    if (left > WARN_LEFT)
        return false;
    if (left == INT64_MIN)
        snprintf(out, size, "the certificate is not valid yet: look at the clock of this machine");
    else if (left < 0)
        snprintf(out, size, "the certificate has expired: put a new one in its place and reload");
    else if (left < DAY)
        snprintf(out, size, "the certificate expires within a day");
    else
        snprintf(out, size, "the certificate expires in %lld day%s", (long long)(left / DAY), left / DAY == 1 ? "" : "s");
    return true;
}

/* One that has expired is an error of nobody: clients say so. */
void secure_check_life(struct secure_work *w, int file)
{
    int64_t now = (int64_t)(clock_wall_us() / SECOND_US), from, until;
    const struct conf_tls_file *f = &w->in->conf->tls_files[file];
    char text[96];

    if (!tls_certificate_life(secure_file_at(w, file), &from, &until))
        return;
    if (w->in->tell_end != NULL)
        w->in->tell_end(w->in->arg, file, until);
    if (w->warned[file] || !say_life(now < from ? INT64_MIN : until - now, text, sizeof(text)))
        return;
    w->warned[file] = true;
    w->in->warn(w->in->arg, f->line, f->key, text);
}

static bool digest_files(struct secure_work *w)
{
    const struct conf *conf = w->in->conf;

    if (keys[0].k0 == 0 && keys[0].k1 == 0) {
        hash_key_random(&keys[0]);
        hash_key_random(&keys[1]);
    }
    w->files = calloc(conf->tls_file_count + 1, sizeof(*w->files));
    w->warned = calloc(conf->tls_file_count + 1, sizeof(*w->warned));
    for (size_t i = 0; w->files != NULL && i < conf->tls_file_count; i++)
        w->files[i] = secure_digest_of(w->in->files[i]);
    return w->files != NULL && w->warned != NULL;
}

static bool allocate(struct secure_work *w)
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
    struct secure_work w = { .in = inputs, .s = calloc(1, sizeof(*w.s)) };

    if (w.s == NULL || !allocate(&w))
        secure_no_memory(&w);
    for (size_t i = 0; i < inputs->conf->listener_count && !w.no_memory; i++)
        secure_make_sites(&w, i);
    if (!w.failed && secure_make_upstreams(&w) && !w.failed)
        secure_make_inspect(&w);
    free(w.files);
    free(w.warned);
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
