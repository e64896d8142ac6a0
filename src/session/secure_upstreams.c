/* SPDX-License-Identifier: ISC */
/*
 * Contexts towards servers, one for each way that allowing policies speak with them, and the one for inspected clients. Policies
 * that say the same share a context. Leaves fit one context and stand under one chain, so if the CA changes the context does, too.
 */
#include "session/secure_work.h"

#include <stdlib.h>
#include <string.h>

static struct digest digest_of_upstream(const struct secure_work *w, const struct conf_upstream_tls *u, int trust, int crl)
{
    struct {
        struct digest files[5];
        int64_t verify, version, keylog;
    } all;

    memset(&all, 0, sizeof(all));
    all.files[0] = secure_file_digest(w, trust);
    all.files[1] = secure_file_digest(w, crl);
    all.files[2] = secure_file_digest(w, u->certificate);
    all.files[3] = secure_file_digest(w, u->key);
    all.files[4] = secure_digest_of(span_of((const char *)u->pins, u->pin_count * sizeof(*u->pins)));
    all.verify = u->verify;
    all.version = u->min_version;
    all.keylog = w->in->keylog;
    return secure_digest_of(span_of((const char *)&all, sizeof(all)));
}

static bool is_good(struct secure_work *w, const struct tls_client_settings *settings)
{
    struct tls_context *context = tls_client_new(settings, w->error);

    tls_context_unref(context);
    return context != NULL;
}

/* Which file is it that a context failed for? What is left out until one can be made. */
static void blame(struct secure_work *w, const struct conf_policy *p, struct tls_client_settings settings)
{
    const struct conf_upstream_tls *u = &p->upstream_tls;
    const struct conf_tls *common = &w->in->conf->tls;
    int file = u->trust >= 0 ? u->trust : common->trust;
    char why[TLS_ERROR];

    memcpy(why, w->error, sizeof(why));
    settings.pair = (struct tls_pair){ 0 };
    if (is_good(w, &settings))
        file = u->key;
    settings.crl = span_of(NULL, 0);
    if (file != u->key && is_good(w, &settings))
        file = u->crl >= 0 ? u->crl : common->crl;
    if (file >= 0)
        secure_complain_of_file(w, file, why);
    else
        secure_complain(w, p->line, "upstream_tls", why);
}

static struct tls_context *make_upstream(struct secure_work *w, const struct conf_policy *p)
{
    const struct conf_upstream_tls *u = &p->upstream_tls;
    int trust = u->trust >= 0 ? u->trust : w->in->conf->tls.trust, crl = u->crl >= 0 ? u->crl : w->in->conf->tls.crl;
    struct digest digest = digest_of_upstream(w, u, trust, crl);
    struct tls_context *context = secure_find(w, &digest);
    struct tls_client_settings settings = { .trust = secure_file_at(w, trust),
                                            .crl = secure_file_at(w, crl),
                                            .verify = u->verify,
                                            .pair = { secure_file_at(w, u->certificate), secure_file_at(w, u->key), { NULL, 0 } },
                                            .min_version = u->min_version,
                                            .pins = (const uint8_t(*)[32])u->pins,
                                            .pin_count = u->pin_count,
                                            .keylog = w->in->keylog };

    if (context != NULL || w->failed)
        return context;
    if (u->verify && settings.trust.len == 0)
        return NULL; /* the system's bundle is not there: whoever read the files has warned */
    context = tls_client_new(&settings, w->error);
    if (context != NULL)
        return secure_remember(w, &digest, context);
    blame(w, p, settings);
    return NULL;
}

bool secure_make_upstreams(struct secure_work *w)
{
    const struct conf *conf = w->in->conf;
    bool reverse = conf_has_upstream_tls(conf), inspects = false;

    for (size_t i = 0; i < conf->policy_count && !w->failed; i++) {
        const struct conf_policy *p = &conf->policies[i];

        if (p->action != ACTION_ALLOW || !(reverse || p->inspect))
            continue;
        inspects |= p->inspect;
        w->s->upstreams[i] = make_upstream(w, p);
        if (p->upstream_tls.certificate >= 0)
            secure_check_life(w, p->upstream_tls.certificate);
    }
    return inspects;
}

/* A leaf fits one context, and stands under one chain: if either changes, so does the context. */
void secure_make_inspect(struct secure_work *w)
{
    int ca = w->in->conf->tls.inspect_certificate;
    struct span chain = secure_file_at(w, ca);
    struct {
        struct digest chain;
        int64_t keylog;
    } all = { secure_file_digest(w, ca), w->in->keylog };
    struct digest digest = secure_digest_of(span_of((const char *)&all, sizeof(all)));
    struct tls_context *context = secure_find(w, &digest);

    if (context == NULL && !w->failed) {
        context = tls_inspect_new(w->in->keylog, w->error);
        if (context == NULL)
            secure_complain(w, 1, "tls", w->error);
        else
            context = secure_remember(w, &digest, context);
    }
    w->s->inspect = context;
    w->s->chain = strndup(chain.at != NULL ? chain.at : "", chain.len);
    w->s->chain_len = chain.len;
    if (w->s->chain == NULL)
        secure_no_memory(w);
    secure_check_life(w, ca);
}
