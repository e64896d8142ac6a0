/* SPDX-License-Identifier: ISC */
/*
 * The words for what is known of TLS. Cipher suites have the names that IANA's registry gives them, those that can be agreed with
 * us; others, which only a peer that lies could make appear, are shown by number.
 */
#include "base/tls_facts.h"

#include <stdio.h>

const char *tls_way_name(enum tls_way v)
{
    static const char *const names[TLS_WAY_COUNT] = { "", "ended", "peeked", "inspected" };

    return (unsigned)v < TLS_WAY_COUNT ? names[v] : "?";
}

const char *tls_alpn_name(enum tls_alpn v)
{
    static const char *const names[TLS_ALPN_COUNT] = { "", "http/1.1" };

    return (unsigned)v < TLS_ALPN_COUNT ? names[v] : "?";
}

const char *tls_version_name(uint16_t v)
{
    static const char *const names[] = { "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3" };

    if (v == 0)
        return "";
    return v >= 0x0300 && v <= 0x0304 ? names[v - 0x0300] : "?";
}

static const struct {
    uint16_t number;
    const char *name;
} suites[] = {
    { 0x1301, "TLS_AES_128_GCM_SHA256" },
    { 0x1302, "TLS_AES_256_GCM_SHA384" },
    { 0x1303, "TLS_CHACHA20_POLY1305_SHA256" },
    { 0x1304, "TLS_AES_128_CCM_SHA256" },
    { 0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256" },
    { 0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384" },
    { 0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256" },
    { 0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384" },
    { 0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA" },
    { 0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA" },
    { 0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA" },
    { 0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" },
    { 0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256" },
    { 0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384" },
    { 0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256" },
    { 0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384" },
    { 0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" },
    { 0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" },
    { 0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" },
    { 0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" },
    { 0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" },
    { 0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" },
    { 0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256" },
};

const char *tls_suite_name(uint16_t v, char out[TLS_SUITE_TEXT])
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
        if (suites[i].number == v)
            return suites[i].name;
    snprintf(out, TLS_SUITE_TEXT, "0x%04x", v);
    return v != 0 ? out : "";
}
