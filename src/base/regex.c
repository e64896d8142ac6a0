/* SPDX-License-Identifier: ISC */
/*
 * Regular expressions over bytes that strangers send, with patterns that the operator wrote: PCRE2 in UTF mode. A pattern may take
 * time that is exponential in the text, so every search is bounded in several ways, and one that runs into a bound is no answer:
 *
 * - PCRE2's own limits: how often it tries again at one position, how deep it goes, how much memory it takes for that.
 * - The processor time of all positions, and of all patterns that are looked for in one text. PCRE2 begins its count anew at each
 *   position, so a search that is quadratic in the text would never be stopped. A callout at the front of each pattern lets us look
 *   at the clock now and then. It is called only where a match may begin: PCRE2 skips all else as it does without one.
 *
 * The clock of real time costs no system call. As long as it says that little time has passed, the processor's need not be read.
 *
 * Machine code (JIT) is made when the pattern is compiled, where the system lets us write what we execute: not in a process whose
 * system calls are limited. Else, or if the code runs out of its stack, the interpreter does the same work, slower. Callouts in the
 * pattern itself do nothing else than ours does. PCRE2 checks the text's UTF-8 itself, once for each text: its machine code must
 * not see bytes that are none.
 *
 * Because of the callout, settings that PCRE2 takes at the front of a pattern, like (*CRLF), are not known here.
 */
#include "base/regex.h"

#include "base/clock.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MATCH_LIMIT 1000000
#define DEPTH_LIMIT 100000
#define HEAP_KIB 16384
#define JIT_STACK_MIN 32768
#define JIT_STACK_MAX (1024 * 1024)
#define CALLS_A_LOOK 32 /* positions between two looks at the clock */

static const char heartbeat[] = "(?C)";

struct regex {
    pcre2_code *code;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;        /* NULL: no JIT */
    unsigned calls;                /* since the last look at the clock */
    const struct regex_text *text; /* that is searched */
};

struct regex_text regex_text(struct span bytes, uint64_t ns)
{
    uint64_t cpu = clock_cpu_ns();

    return (struct regex_text){ .bytes = bytes, .began = cpu, .real = clock_real_ns(), .ns = ns };
}

bool regex_late(const struct regex_text *text)
{
    return clock_real_ns() - text->real > text->ns && clock_cpu_ns() - text->began > text->ns;
}

/* Called by PCRE2 at each position where it tries the pattern. Anything negative ends the search with that error. */
static int look_at_clock(pcre2_callout_block *block, void *arg)
{
    struct regex *r = arg;

    (void)block;
    if (++r->calls < CALLS_A_LOOK)
        return 0;
    r->calls = 0;
    return regex_late(r->text) ? PCRE2_ERROR_MATCHLIMIT : 0;
}

static pcre2_code *compile(const char *pattern, char *error, size_t size)
{
    size_t len = strlen(pattern), front = sizeof(heartbeat) - 1, at = 0;
    char *text = malloc(front + len + 1);
    pcre2_code *code = NULL;
    int number = PCRE2_ERROR_NOMEMORY;
    unsigned char why[128];

    if (text != NULL) {
        memcpy(text, heartbeat, front);
        memcpy(text + front, pattern, len + 1);
        code = pcre2_compile((PCRE2_SPTR)text, front + len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &number, &at, NULL);
        free(text);
    }
    if (code == NULL) {
        pcre2_get_error_message(number, why, sizeof(why));
        snprintf(error, size, "%s at offset %zu", (const char *)why, at > front ? at - front : 0);
    }
    return code;
}

static bool make_context(struct regex *r)
{
    r->context = pcre2_match_context_create(NULL);
    if (r->context == NULL)
        return false;
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(r->context, HEAP_KIB);
    pcre2_set_callout(r->context, look_at_clock, r);
    return true;
}

static bool interpret_only;

void regex_interpret_only(void)
{
    interpret_only = true;
}

/* Without JIT, or without a stack for it, everything works as well. */
static void try_jit(struct regex *r)
{
    if (interpret_only || pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) != 0)
        return;
    r->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (r->stack != NULL)
        pcre2_jit_stack_assign(r->context, NULL, r->stack);
}

struct regex *regex_new(const char *pattern, char *error, size_t size)
{
    struct regex *r = calloc(1, sizeof(*r));

    if (size > 0)
        error[0] = '\0';
    if (r == NULL || !make_context(r)) {
        snprintf(error, size, "no memory");
        regex_free(r);
        return NULL;
    }
    r->code = compile(pattern, error, size);
    if (r->code == NULL) {
        regex_free(r);
        return NULL;
    }
    try_jit(r);
    return r;
}

void regex_free(struct regex *r)
{
    if (r == NULL)
        return;
    pcre2_jit_stack_free(r->stack);
    pcre2_match_context_free(r->context);
    pcre2_code_free(r->code);
    free(r);
}

static int search(struct regex *r, pcre2_match_data *data, const struct regex_text *text, uint32_t options)
{
    struct span bytes = text->bytes;

    if (text->is_utf8)
        options |= PCRE2_NO_UTF_CHECK;
    return pcre2_match(r->code, (PCRE2_SPTR)(bytes.len > 0 ? bytes.at : ""), bytes.len, 0, options, data, r->context);
}

/* Match data keeps the memory that a search took: it is not kept. */
enum regex_result regex_find(struct regex *r, struct regex_text *text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int result;

    if (data == NULL)
        return REGEX_LIMIT;
    r->calls = 0;
    r->text = text;
    result = search(r, data, text, 0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = search(r, data, text, PCRE2_NO_JIT);
    pcre2_match_data_free(data);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH)
        return REGEX_LIMIT;
    text->is_utf8 = true; /* it is looked at as a whole before a search begins */
    return result >= 0 ? REGEX_FOUND : REGEX_NONE;
}
