/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_METRICS_H
#define POSTERN_APP_METRICS_H

#include "app/view.h"

#include <stdio.h>

/*
 * Writes all metrics in the Prometheus text format 0.0.4. Labels hold only words of ours (reasons, the version): their number is
 * fixed, and no byte of a client gets into them.
 */
void metrics_write(const struct view *view, FILE *out);

#endif
