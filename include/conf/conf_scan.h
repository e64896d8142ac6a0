/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_SCAN_H
#define POSTERN_CONF_CONF_SCAN_H

#include "conf/conf_report.h"

#define CONF_DEPTH 8         /* brackets inside brackets */
#define CONF_GROUP_KEYS 1000 /* keys of one group */

/*
 * May libconfig be given this text? Refused, all at once: a NUL, "@include", an integer beyond 2^31-1 without "L" or beyond
 * 2^63-1 with it, an escape \x00 (it would vanish), a comment or string without end (the rest would vanish), brackets nested
 * deeper than CONF_DEPTH, more than CONF_GROUP_KEYS keys in one group, a text longer than CONF_TEXT_MAX. Of these only the
 * integers do not keep libconfig from reading the rest, so that the other errors are found too. false: it must not read it.
 */
MUST_CHECK bool conf_scan_check(struct span text, struct conf_report *report);

#endif
