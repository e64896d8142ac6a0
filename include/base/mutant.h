/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_MUTANT_H
#define POSTERN_BASE_MUTANT_H

/*
 * FAULT(check, condition): something is wrong if the condition holds, and `check` is the name of the check that sees it. This is
 * the condition, and nothing else.
 *
 * Only the build of the preset `mutants` can switch a check off, to prove that a test fails without it: there POSTERN_MUTANT in the
 * environment names the checks that see nothing, with commas between them. tests/mutants/run.py does so with every name that stands
 * in src/, and no name may be missing from its table.
 */
#ifdef POSTERN_MUTANTS
#include <stdbool.h>

bool mutant_is_off(const char *check);
#define FAULT(check, condition) ((condition) && !mutant_is_off(#check))
#else
#define FAULT(check, condition) (condition)
#endif

#endif
