/* SPDX-License-Identifier: ISC */
/*
 * Trust: the certificates that a chain may end at, with the revocation lists. The system's list is a hundred and forty CAs, slow to
 * read and large, and many policies name it: stores are shared by all contexts that give the same bytes, across reloads, as long as
 * one of them lives.
 */
#include "net/tls_context.h"

#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

struct tls_trust {
    unsigned refs;
    struct tls_trust *next, **link;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    X509_STORE *store;
};

static struct tls_trust *shared; /* all that live; each is referenced by contexts only */

static bool add_trust(X509_STORE *store, struct span trust, char *error)
{
    STACK_OF(X509) *all = tls_pem_certificates(trust, "no certificates to trust", error);
    bool fine = all != NULL;

    for (int i = 0; fine && i < sk_X509_num(all); i++)
        if (!X509_STORE_add_cert(store, sk_X509_value(all, i))) {
            tls_complain(error, "no memory");
            fine = false;
        }
    sk_X509_pop_free(all, X509_free);
    return fine;
}

static bool add_crls(X509_STORE *store, struct span pem, char *error)
{
    BIO *in = tls_pem_reader(pem);
    unsigned count = 0;
    bool fine = in != NULL;

    for (X509_CRL *crl; fine && (crl = PEM_read_bio_X509_CRL(in, NULL, tls_pem_no_password, NULL)) != NULL; count++) {
        fine = X509_STORE_add_crl(store, crl);
        X509_CRL_free(crl);
    }
    BIO_free(in);
    fine = fine && tls_pem_is_end() && count > 0;
    if (!fine)
        tls_complain(error, "no revocation list");
    return fine;
}

static void digest_of(struct span trust, struct span crl, unsigned char out[SHA256_DIGEST_LENGTH])
{
    unsigned char parts[2 * SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)trust.at, trust.len, parts);
    SHA256((const unsigned char *)crl.at, crl.len, parts + SHA256_DIGEST_LENGTH);
    SHA256(parts, sizeof(parts), out);
}

static struct tls_trust *find(const unsigned char digest[SHA256_DIGEST_LENGTH])
{
    for (struct tls_trust *t = shared; t != NULL; t = t->next)
        if (memcmp(t->digest, digest, SHA256_DIGEST_LENGTH) == 0)
            return t;
    return NULL;
}

static void enlist(struct tls_trust *t)
{
    t->next = shared;
    t->link = &shared;
    if (shared != NULL)
        shared->link = &t->next;
    shared = t;
}

static struct tls_trust *trust_new(struct span trust, struct span crl, char *error)
{
    struct tls_trust *t = calloc(1, sizeof(*t));

    if (t != NULL)
        t->store = X509_STORE_new();
    if (t == NULL || t->store == NULL) {
        tls_complain(error, "no memory");
    } else if (add_trust(t->store, trust, error) && (crl.len == 0 || add_crls(t->store, crl, error))) {
        t->refs = 1;
        return t;
    }
    if (t != NULL)
        X509_STORE_free(t->store);
    free(t);
    return NULL;
}

static struct tls_trust *trust_of(struct span trust, struct span crl, char *error)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct tls_trust *t;

    digest_of(trust, crl, digest);
    t = find(digest);
    if (t != NULL) {
        t->refs++;
        return t;
    }
    t = trust_new(trust, crl, error);
    if (t == NULL)
        return NULL;
    memcpy(t->digest, digest, sizeof(digest));
    enlist(t);
    return t;
}

void tls_trust_unref(struct tls_trust *t)
{
    if (t == NULL || --t->refs > 0)
        return;
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    X509_STORE_free(t->store);
    free(t);
}

bool tls_use_trust(struct tls_context *context, struct span trust, struct span crl, char *error)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(context->ctx);
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN; /* what is listed is trusted, be it a root or not */

    context->trust = trust_of(trust, crl, error);
    if (context->trust == NULL)
        return false;
    if (crl.len > 0)
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    SSL_CTX_set1_cert_store(context->ctx, context->trust->store);
    X509_VERIFY_PARAM_set_flags(param, flags);
    return true;
}
