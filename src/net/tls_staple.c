/* SPDX-License-Identifier: ISC */
/*
 * OCSP responses from files (RFC 6066 8): given to clients that ask, together with the certificate that they are about. One that is
 * no good answer, or is about another certificate, is an error of the configuration; one that ran out is no longer given.
 */
#include "net/tls_context.h"

#include <openssl/ocsp.h>
#include <string.h>

/* The response's word on this certificate: the one with its serial number. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, X509 *certificate)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;

        OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
        if (serial != NULL && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate)) == 0)
            return single;
    }
    return NULL;
}

/* What is wrong with it; NULL: nothing. */
static const char *check(OCSP_RESPONSE *response, X509 *certificate, int64_t *until)
{
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    OCSP_SINGLERESP *single = basic ? find_single(basic, certificate) : NULL;
    ASN1_GENERALIZEDTIME *next = NULL;
    const char *wrong = NULL;

    if (basic == NULL || OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        wrong = "no successful OCSP response (DER)";
    else if (single == NULL)
        wrong = "the OCSP response is about another certificate";
    else if (OCSP_single_get0_status(single, NULL, NULL, NULL, &next) != V_OCSP_CERTSTATUS_GOOD)
        wrong = "the OCSP response does not say that the certificate is good";
    else if (next != NULL && !tls_seconds(next, until))
        wrong = "the OCSP response has no good time";
    OCSP_BASICRESP_free(basic);
    return wrong;
}

bool tls_staple_add(struct tls_context *context, struct span der, X509 *certificate, char *error)
{
    struct tls_staple *staple = &context->staples[context->staple_count];
    const unsigned char *at = (const unsigned char *)der.at;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    const char *wrong = check(response, certificate, &staple->until);

    OCSP_RESPONSE_free(response);
    if (wrong == NULL) {
        staple->der = OPENSSL_memdup(der.at, der.len);
        wrong = staple->der == NULL ? "no memory" : NULL;
    }
    if (wrong != NULL) {
        tls_complain(error, wrong);
        return false;
    }
    staple->certificate = certificate;
    staple->len = der.len;
    context->staple_count++;
    return true;
}

void tls_staples_free(struct tls_context *context)
{
    for (size_t i = 0; i < context->staple_count; i++)
        OPENSSL_free(context->staples[i].der);
}
