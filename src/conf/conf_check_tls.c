/* SPDX-License-Identifier: ISC */
/*
 * What is wrong or odd about TLS. An error is what could not be done, or would pass what somebody meant to look at: a listener
 * without a certificate, a policy that inspects and lets TLS pass unread, inspection without a CA, the CA's key in the hands of
 * workers. A warning is what does nothing, or opens more than it seems to.
 */
#include "conf/conf_check.h"

#include <stdio.h>
#include <string.h>

#define PATH 160
#define REQUESTS (CONF_HTTP | CONF_WEBSOCKET)
#define TLS_1_3 0x0304

/* One group under the eye: "listeners.site.tls", "policies.web", "tls". */
struct eye {
    const struct conf *conf;
    const char *kind, *name, *group; /* the latter two may be "" */
    const struct conf_node *node;
    struct conf_report *report;
};

/* "listeners.site.tls.key"; `path` holds PATH bytes and is returned. */
static const char *make_path(const struct eye *e, const char *key, char *path)
{
    const char *pieces[] = { e->kind, e->name, e->group, key };
    size_t len = 0;

    path[0] = '\0';
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        if (pieces[i][0] != '\0')
            len += (size_t)snprintf(path + len, PATH - len, "%s%s", len > 0 ? "." : "", pieces[i]);
    return path;
}

static void fail(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    conf_report_error(e->report, conf_member_line(e->node, key), make_path(e, key, path), "%s", message);
}

static void warn(const struct eye *e, const char *key, const char *message)
{
    char path[PATH];

    conf_report_warning(e->report, conf_member_line(e->node, key), make_path(e, key, path), "%s", message);
}

/* A certificate is of no use without its key, and the other way round. */
static void check_halves(const struct eye *e, int certificate, int key, const char *certificate_key, const char *key_key)
{
    if (certificate >= 0 && key < 0)
        fail(e, certificate_key, "needs its key");
    if (certificate < 0 && key >= 0)
        fail(e, key_key, "needs its certificate");
}

static void check_pairs(const struct eye *e, const struct conf_listener_tls *tls)
{
    bool own = tls->own.certificate >= 0 || tls->own.key >= 0 || tls->own.ocsp >= 0;

    if (own && conf_node_member(e->node, "certificates") != NULL) {
        fail(e, "certificates", "stands beside certificate, key or ocsp; put them into the list");
        return;
    }
    check_halves(e, tls->own.certificate, tls->own.key, "certificate", "key");
    if (!own && tls->pair_count == 0)
        fail(e, "", "needs certificate and key, or certificates");
    else if (tls->own.certificate < 0 && tls->own.key < 0 && tls->own.ocsp >= 0)
        fail(e, "ocsp", "needs certificate and key");
    for (size_t i = 0; i < tls->pair_count; i++)
        for (size_t k = 0; k < i; k++)
            if (tls->pairs[i].certificate == tls->pairs[k].certificate && tls->pairs[i].certificate >= 0)
                warn(e, "certificates", "has a certificate twice");
}

static void check_clients(const struct eye *e, const struct conf_listener_tls *tls)
{
    if (tls->verify != VERIFY_NONE && tls->ca < 0)
        fail(e, "client_certificates", "needs ca: whose certificates are good");
    if (tls->verify == VERIFY_NONE && tls->ca >= 0)
        warn(e, "ca", "means nothing: client_certificates is \"none\"");
    if (tls->verify == VERIFY_NONE && tls->crl >= 0)
        warn(e, "crl", "means nothing: client_certificates is \"none\"");
}

static void check_listener(const struct eye *e, const struct conf_listener *l)
{
    const struct conf_listener_tls *tls = &l->tls;

    if (l->mode == MODE_TRANSPARENT) {
        fail(e, "", "a transparent listener ends no TLS; policies with tls = \"inspect\" look into what it intercepts");
        return;
    }
    check_pairs(e, tls);
    check_clients(e, tls);
    if (tls->profile == PROFILE_COMPATIBLE && tls->min_version >= TLS_1_3)
        warn(e, "profile", "means nothing: it is about TLS 1.2, which min_version rules out");
}

static void check_listeners(const struct conf *conf, const struct conf_node *list, struct conf_report *report)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        struct eye e = { conf, "listeners", l->name, "tls", conf_node_member(conf_node_at(list, i), "tls"), report };

        if (l->line != 0 && l->tls.line != 0)
            check_listener(&e, l);
    }
}

static bool is_for(const struct conf_policy *p, const struct conf_listener *l)
{
    for (size_t i = 0; i < p->listeners.count; i++)
        if (strcmp(p->listeners.items[i], l->name) == 0)
            return true;
    return p->listeners.count == 0;
}

/* What the listeners have that a policy is for. */
struct reach {
    size_t considered;
    bool ends_tls, asks_clients, upstream_tls, forwards_any; /* the last: not all are reverse */
};

static struct reach reach_of(const struct conf *conf, const struct conf_policy *p)
{
    struct reach r = { 0 };

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->line == 0 || !is_for(p, l))
            continue;
        r.considered++;
        r.ends_tls |= l->tls.line != 0;
        r.asks_clients |= l->tls.line != 0 && l->tls.verify != VERIFY_NONE;
        r.forwards_any |= l->mode != MODE_REVERSE;
        for (size_t k = 0; k < l->upstream_count; k++)
            r.upstream_tls |= l->upstreams[k].tls;
    }
    return r;
}

static void check_inspection(const struct eye *e, const struct conf_policy *p, const struct reach *r)
{
    if (!p->inspect)
        return;
    if (p->action != ACTION_ALLOW) {
        warn(e, "tls", "means nothing: only a policy that allows inspects");
        return;
    }
    if (p->protocols & CONF_TLS)
        fail(e, "protocols", "\"tls\" would pass unread what this policy inspects: leave it out");
    if (!(p->protocols & REQUESTS))
        fail(e, "tls", "\"inspect\" needs http or websocket in protocols: nothing else is read");
    if (e->conf->tls.inspect_certificate < 0)
        fail(e, "tls", "\"inspect\" needs tls.inspect_certificate and tls.inspect_key at the top level");
    if (r->considered > 0 && !r->forwards_any)
        warn(e, "tls", "means nothing: reverse listeners end TLS themselves");
}

static void check_peeking(const struct eye *e, const struct conf_policy *p)
{
    bool sees_tls = p->action == ACTION_ALLOW && (p->inspect || (p->protocols & (CONF_TLS | CONF_TUNNEL)));

    if (p->sni_optional && !sees_tls)
        warn(e, "sni", "is never looked at: this policy lets no TLS pass");
    if (p->ech_denied && !sees_tls)
        warn(e, "ech", "is never looked at: this policy lets no TLS pass");
}

static void check_conditions(const struct eye *e, const struct conf_policy *p, const struct reach *r)
{
    bool hello = p->inspect || r->ends_tls || (p->protocols & (CONF_TLS | CONF_TUNNEL));

    if (r->considered == 0 || !(p->protocols & ~CONF_KERNEL))
        return;
    if (p->tls_fingerprints.count > 0 && !hello)
        warn(e, "tls_fingerprints", "can never be true: no listener of this policy ends TLS, and it is not about TLS");
    if (p->client_certificates.count > 0 && !r->asks_clients)
        warn(e, "client_certificates", "can never be true: no listener of this policy asks clients for certificates");
}

static void check_upstream(const struct eye *policy, const struct conf_policy *p, const struct reach *r)
{
    const struct conf_upstream_tls *tls = &p->upstream_tls;
    struct eye e = *policy;

    if (tls->line == 0)
        return;
    e.group = "upstream_tls";
    e.node = conf_node_member(policy->node, "upstream_tls");
    check_halves(&e, tls->certificate, tls->key, "certificate", "key");
    if (p->action != ACTION_ALLOW || !(p->protocols & REQUESTS) || (!p->inspect && !r->upstream_tls))
        warn(&e, "", "is never looked at: this policy neither inspects nor has upstreams with \"https://\"");
    if (tls->verify)
        return;
    if (tls->pin_count == 0)
        warn(&e, "verify", "servers are NOT verified: whoever is on the way can read and change everything");
    else
        warn(&e, "verify", "certificates of servers are NOT verified, only their public keys (pin)");
    if (tls->trust >= 0)
        warn(&e, "trust", "means nothing: verify is false");
    if (tls->crl >= 0)
        warn(&e, "crl", "means nothing: verify is false");
}

static void check_policies(const struct conf *conf, const struct conf_node *list, struct conf_report *report)
{
    for (size_t i = 0; i < conf->policy_count; i++) {
        const struct conf_policy *p = &conf->policies[i];
        struct eye e = { conf, "policies", p->name, "", conf_node_at(list, i), report };
        struct reach r;

        if (p->line == 0)
            continue;
        r = reach_of(conf, p);
        check_inspection(&e, p, &r);
        check_peeking(&e, p);
        check_conditions(&e, p, &r);
        check_upstream(&e, p, &r);
    }
}

static bool anybody_inspects(const struct conf *conf)
{
    for (size_t i = 0; i < conf->policy_count; i++)
        if (conf->policies[i].inspect && conf->policies[i].action == ACTION_ALLOW)
            return true;
    return false;
}

/* Workers read every key but the minter's, so no other key may be the same file. */
static void check_minter_key(const struct eye *e)
{
    const struct conf *conf = e->conf;
    const int key = conf->tls.inspect_key;
    bool shared = false;

    for (size_t i = 0; i < conf->listener_count && key >= 0; i++)
        for (size_t k = 0; k < conf->listeners[i].tls.pair_count; k++)
            shared |= conf->listeners[i].tls.pairs[k].key == key;
    for (size_t i = 0; i < conf->policy_count && key >= 0; i++)
        shared |= conf->policies[i].upstream_tls.key == key;
    if (shared)
        fail(e, "inspect_key", "is also the key of a listener or policy: the CA's key must be its alone");
}

static void check_top(const struct conf *conf, const struct conf_node *node, struct conf_report *report)
{
    struct eye e = { conf, "tls", "", "", node, report };

    check_halves(&e, conf->tls.inspect_certificate, conf->tls.inspect_key, "inspect_certificate", "inspect_key");
    check_minter_key(&e);
    if (conf->tls.inspect_certificate >= 0 && !anybody_inspects(conf))
        warn(&e, "inspect_certificate", "means nothing: no policy has tls = \"inspect\"");
    if (conf->tls.keylog != NULL)
        warn(&e, "keylog", "the secrets of ALL TLS sessions are written to a file: whoever has it can read them");
}

void conf_check_tls(const struct conf *conf, const struct conf_node *root, struct conf_report *report)
{
    check_listeners(conf, conf_node_member(root, "listeners"), report);
    check_policies(conf, conf_node_member(root, "policies"), report);
    check_top(conf, conf_node_member(root, "tls"), report);
}
