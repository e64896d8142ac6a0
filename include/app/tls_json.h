/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_TLS_JSON_H
#define POSTERN_APP_TLS_JSON_H

#include "base/record.h"

#include <jansson.h>

/* What is known of TLS on one side, as "tls_client" and "tls_server" say it; facts that are absent are left out. The caller owns
 * the object. */
MUST_CHECK json_t *tls_object(const struct tls_facts *facts);

#endif
