/* SPDX-License-Identifier: ISC */
/*
 * TLS facts as JSON: the same object in the access log, in `show` and in lists. Its keys are a contract with users. Subjects and
 * issuers are what a peer says of itself until `verify` says that it is believed.
 */
#include "app/tls_json.h"

#include "app/json_put.h"
#include "net/tls.h"

json_t *tls_object(const struct tls_facts *facts)
{
    json_t *object = json_object();
    char suite[TLS_SUITE_TEXT];

    put_text(object, "way", tls_way_name((enum tls_way)facts->way));
    put_text(object, "version", tls_version_name(facts->version));
    put_text(object, "suite", tls_suite_name(facts->suite, suite));
    put_text(object, "alpn", tls_alpn_name((enum tls_alpn)facts->alpn));
    put_text(object, "sni", facts->name);
    if (facts->resumed)
        put_bool(object, "resumed", true);
    put_text(object, "ja4", facts->ja4);
    if (facts->ech)
        put_bool(object, "ech", true);
    put_text(object, "subject", facts->subject);
    put_text(object, "issuer", facts->issuer);
    if (facts->verify != 0)
        put_text(object, "verify", tls_verify_text(facts->verify));
    if (facts->unverified)
        put_bool(object, "unverified", true);
    return object;
}
