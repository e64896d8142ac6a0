/* SPDX-License-Identifier: ISC */
/*
 * Session tickets (RFC 5077 and RFC 8446 4.6.1): AES-256-CBC and HMAC-SHA-256 under keys that the monitor makes for all workers, so
 * that any of them resumes what another one began. The newest key encrypts; a ticket under the one before is taken and replaced. A
 * context without keys gives no tickets, and keeps no sessions itself.
 */
#include "net/tls_context.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

struct tls_tickets {
    size_t count;
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
};

struct tls_tickets *tls_tickets_new(void)
{
    return OPENSSL_secure_zalloc(sizeof(struct tls_tickets));
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

static int encrypt(const struct tls_ticket_key *key, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac)
{
    memcpy(name, key->name, sizeof(key->name));
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
        EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1 || !set_mac(mac, key))
        return -1;
    return 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts)
{
    const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_tickets *tickets = context->tickets;

    if (encrypts)
        return tls_tickets_ready(tickets) ? encrypt(&tickets->keys[0], name, iv, cipher, mac) : -1;
    for (size_t i = 0; i < tickets->count; i++) {
        const struct tls_ticket_key *key = &tickets->keys[i];

        if (CRYPTO_memcmp(name, key->name, sizeof(key->name)) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1 || !set_mac(mac, key))
            return -1;
        return i == 0 ? 1 : 2;
    }
    return 0; /* a key of long ago: a full handshake */
}

void tls_tickets_use(SSL_CTX *ctx, bool wanted)
{
    if (wanted) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
        return;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
}
