/* SPDX-License-Identifier: ISC */
/*
 * Session tickets (RFC 5077 and RFC 8446 4.6.1): AES-256-CBC and HMAC-SHA-256 under keys that the monitor makes for all workers, so
 * that any of them resumes what another one began. The newest key encrypts; a ticket under the one before is taken and replaced. In
 * TLS 1.3 every one is, because clients use each once. A context without keys gives no tickets, and keeps no sessions itself.
 *
 * A ticket holds when the full handshake was that it comes from, however often it was replaced since: a certificate of a client is
 * verified anew after an hour.
 */
#include "net/tls_context.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VERIFIED_FOR 3600 /* seconds */
#define TICKETS 1         /* after a full handshake of TLS 1.3; each that is used is replaced */

struct tls_tickets {
    EVP_CIPHER *cipher; /* or it is looked up for each ticket */
    size_t count;
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *tickets = OPENSSL_secure_zalloc(sizeof(struct tls_tickets));

    if (tickets == NULL)
        return NULL;
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (tickets->cipher != NULL)
        return tickets;
    tls_tickets_free(tickets);
    return NULL;
}

void tls_tickets_set(struct tls_tickets *tickets, const struct tls_ticket_key *keys, size_t count)
{
    OPENSSL_cleanse(tickets->keys, sizeof(tickets->keys));
    tickets->count = count < TLS_TICKET_KEYS ? count : TLS_TICKET_KEYS;
    for (size_t i = 0; i < tickets->count; i++)
        tickets->keys[i] = keys[i];
}

void tls_tickets_free(struct tls_tickets *tickets)
{
    if (tickets != NULL)
        EVP_CIPHER_free(tickets->cipher);
    OPENSSL_secure_clear_free(tickets, sizeof(*tickets));
}

bool tls_tickets_ready(const struct tls_tickets *tickets)
{
    return tickets != NULL && tickets->count > 0;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->hmac, sizeof(key->hmac)),
                            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int encrypt(const struct tls_tickets *tickets, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac)
{
    const struct tls_ticket_key *key = &tickets->keys[0];

    memcpy(name, key->name, sizeof(key->name));
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1 ||
        EVP_EncryptInit_ex(cipher, tickets->cipher, NULL, key->aes, iv) != 1 || !set_mac(mac, key))
        return -1;
    return 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_tickets *tickets = context->tickets;

    if (encrypts)
        return tls_tickets_ready(tickets) ? encrypt(tickets, name, iv, cipher, mac) : -1;
    for (size_t i = 0; i < tickets->count; i++) {
        const struct tls_ticket_key *key = &tickets->keys[i];

        if (CRYPTO_memcmp(name, key->name, sizeof(key->name)) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, tickets->cipher, NULL, key->aes, iv) != 1 || !set_mac(mac, key))
            return -1;
        return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    }
    return 0; /* a key of long ago: a full handshake */
}

/* The ticket's data is the time of the full handshake. */
static int on_give(SSL *ssl, void *arg)
{
    int64_t now = time(NULL);

    (void)arg;
    if (SSL_session_reused(ssl))
        return 1; /* it has it from the one before */
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &now, sizeof(now));
}

static bool is_fresh(SSL_SESSION *session)
{
    void *data;
    size_t len;
    int64_t from, now = time(NULL);

    if (SSL_SESSION_get0_ticket_appdata(session, &data, &len) != 1 || len != sizeof(from))
        return false;
    memcpy(&from, data, sizeof(from));
    return from <= now && now - from < VERIFIED_FOR;
}

static SSL_TICKET_RETURN on_take(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len, SSL_TICKET_STATUS status,
                                 void *arg)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    (void)name;
    (void)len;
    (void)arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (context->verify && !is_fresh(session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

void tls_tickets_use(SSL_CTX *ctx, bool wanted)
{
    if (wanted) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
        SSL_CTX_set_session_ticket_cb(ctx, on_give, on_take, NULL);
        SSL_CTX_set_num_tickets(ctx, TICKETS);
        return;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
}
