/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CTL_RATES_H
#define POSTERN_APP_CTL_RATES_H

#include <jansson.h>
#include <stdint.h>

/*
 * For `posternctl watch`: gives each WebSocket among `sessions` that was shown before "messages_per_second" and "bytes_per_second",
 * both ways together, since it was last shown; `now` in milliseconds. Those among `ended` are forgotten.
 */
void ctl_rates_add(json_t *sessions, const json_t *ended, uint64_t now);

#endif
