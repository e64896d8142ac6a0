/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CTL_H
#define POSTERN_APP_CTL_H

#include "base/span.h"

#include <jansson.h>
#include <stdio.h>

/*
 * The parts of posternctl: posternctl.c (options, exchange), ctl_request.c (arguments to JSON), ctl_print.c and ctl_table.c (JSON
 * for people).
 */

/*
 * The request for a command line: argv[0] is the command. NULL: it is not one, and what is wrong was said on standard error. The
 * caller owns the object.
 */
MUST_CHECK json_t *ctl_request(int argc, char **argv);
/* What commands there are, for the usage text. */
extern const char ctl_commands[];

/* Prints an answer without error on standard output. */
void ctl_print(const char *command, const json_t *answer);
/* Its exit status; 1: nothing was there to be done, or something is not as it should be. */
int ctl_status(const char *command, const json_t *answer);

#endif
