/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_DIGITS_H
#define POSTERN_BASE_DIGITS_H

#include <stdint.h>

/*
 * Numbers as digits, for what is written with every request: a printf costs more than a whole line of the log. All write at `out`,
 * without a NUL, and return where the next byte goes.
 */
#define DIGITS_MAX 20 /* of any number in decimal */

char *digits_decimal(char *out, uint64_t n);
/* Exactly `width` digits, with zeros in front; what has more loses those in front. */
char *digits_padded(char *out, uint64_t n, unsigned width);
/* Lower case, no zeros in front. */
char *digits_hex(char *out, uint64_t n);

#endif
