/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_SESSION_SECURE_H
#define POSTERN_SESSION_SECURE_H

#include "conf/conf.h"
#include "net/tls.h"
#include "proto/host.h"

/*
 * What a configuration means for TLS: a context for each set of certificates of a listener, by name; one towards servers for each
 * policy; one for inspection. Made by a worker for a generation, and by the monitor to find what is wrong with the files.
 */
struct secure;

struct secure_inputs {
    const struct conf *conf;
    const struct span *files;    /* one for each of conf->tls_files; that of the minter's key is empty and not looked at */
    struct tls_tickets *tickets; /* NULL: none are given */
    int keylog;                  /* -1: none */
    const struct secure *before; /* NULL, or the last one: a trust store of the same bytes is taken over */
    /* What is wrong with a file: `line` and `key` of the configuration. */
    void (*complain)(void *arg, unsigned line, const char *key, const char *text);
    void (*warn)(void *arg, unsigned line, const char *key, const char *text);
    /* NULL, or told when the certificate in a file of conf->tls_files ends, in seconds of wall time; maybe more than once. */
    void (*tell_end)(void *arg, int file, int64_t until);
    void *arg;
};
/* NULL: something was complained of (or no memory, which is complained of, too). */
MUST_CHECK struct secure *secure_new(const struct secure_inputs *inputs);
void secure_free(struct secure *secure);

/* The context for a client that asked this listener for `name` (NULL: for none); NULL: unknown_name = "refuse". */
struct tls_context *secure_site(const struct secure *secure, int listener, const struct host *name);
/* Do these listeners ask their clients for the same: the same certificates, of the same CAs, not revoked by the same lists? */
MUST_CHECK bool secure_asks_as_before(const struct secure *before, int listener_before, const struct secure *now, int listener);
/* One of the contexts of a listener with TLS: what they ask of clients is the same in all. */
const struct tls_context *secure_any_site(const struct secure *secure, int listener);
/* Towards servers, as this policy says. NULL: it speaks with none, or the system's CAs are not there to verify any by. */
struct tls_context *secure_upstream(const struct secure *secure, int policy);
/* For minted leaves; NULL: nothing is inspected. */
struct tls_context *secure_inspect(const struct secure *secure);
/* PEM of the CA that leaves are signed by. */
struct span secure_inspect_chain(const struct secure *secure);

#endif
