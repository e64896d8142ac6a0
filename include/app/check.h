/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CHECK_H
#define POSTERN_APP_CHECK_H

/*
 * posternd -n: reads the configuration (NULL: the embedded default) and every file that it names, writes all errors and warnings to
 * standard error, and returns the exit status: 1 if there was an error.
 */
int check_configuration(const char *path);

/* posternd -T: prints the effective configuration; returns the exit status. */
int check_print(const char *path);

#endif
