/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_TEARDOWN_H
#define POSTERN_APP_TEARDOWN_H

/*
 * posternd --teardown: removes the table that the configuration names (NULL: the embedded default), and policy routing, and says
 * what it removed. Needs root; refused while a posternd runs in the runtime folder of this configuration. Returns the exit status.
 */
int teardown_main(const char *path);

#endif
