/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_IDNA_H
#define POSTERN_BASE_IDNA_H

#include "base/span.h"

#define HOST_TEXT 256 /* the longest host name that is handled, with the NUL */

/*
 * A name from a configuration, a hosts file or a SOCKS request, which may be in Unicode: to lower-case A-labels (IDNA 2008 with UTS
 * 46, libidn2), without trailing dot. false if it is no valid name: empty, a label of 0 or over 63 bytes, over 253 bytes, bytes
 * other than letters, digits, '-' and '_'.
 */
MUST_CHECK bool idna_to_ascii(struct span text, char out[HOST_TEXT]);

#endif
