/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_WIRE_UNTAKEN_H
#define POSTERN_WIRE_UNTAKEN_H

#include <stdbool.h>

/* "ADDRESS BYTES": of the pair of sockets that was made at this address, so many bytes of what the program sent are said not to be
 * acknowledged, whatever the kernel knows. False: it is nothing of the kind. */
bool wire_untaken(const char *text);

#endif
