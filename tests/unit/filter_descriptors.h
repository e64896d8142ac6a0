/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_TESTS_FILTER_DESCRIPTORS_H
#define POSTERN_TESTS_FILTER_DESCRIPTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* `check` while there is no descriptor left, and again while there is one. */
static inline void with_few_descriptors(void (*check)(void))
{
    struct rlimit before, few;
    int lowest = dup(0);

    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (rlim_t more = 0; more < 2; more++) {
        few = (struct rlimit){ (rlim_t)lowest + more, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        check();
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

#endif
