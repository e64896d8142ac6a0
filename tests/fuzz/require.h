/* SPDX-License-Identifier: ISC */
/* What must hold, whatever a fuzz target is given: says what does not, and aborts. */
#ifndef POSTERN_FUZZ_REQUIRE_H
#define POSTERN_FUZZ_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                                                         \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                                \
            abort();                                                                                                               \
        }                                                                                                                          \
    } while (0)

#endif
