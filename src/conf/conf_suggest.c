/* SPDX-License-Identifier: ISC */
/*
 * "did you mean": the nearest of the words that would have been right. Near is a Levenshtein distance of at most two, and of
 * at most half the word, so that two-letter words are not mistaken for one another. Words longer than any key or name are near
 * to nothing; so the cost of one comparison is bounded. A word that another one begins with is nearer than two edits are: "cert"
 * means "certificate", not "crl".
 */
#include "conf/conf_report.h"

#include <stdio.h>
#include <string.h>

#define NEAR 2
#define LONGEST 40
#define EDIT 2 /* what one edit is worth */
#define BEGINNING (2 * EDIT - 1)
#define BEGINNING_LEN 4

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein distance, one row of the matrix at a time; NEAR + 1 if it is certainly more than NEAR. */
static unsigned distance(const char *a, const char *b)
{
    size_t a_len = strnlen(a, LONGEST + 1), b_len = strnlen(b, LONGEST + 1);
    unsigned row[LONGEST + 1];

    if (a_len > LONGEST || b_len > LONGEST || a_len > b_len + NEAR || b_len > a_len + NEAR)
        return NEAR + 1;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

void conf_suggestion_init(struct conf_suggestion *s, const char *word)
{
    size_t half = strnlen(word, LONGEST) / 2;

    *s = (struct conf_suggestion){ .word = word, .distance = EDIT * (half < NEAR ? (unsigned)half : NEAR) + 1 };
}

void conf_suggestion_offer(struct conf_suggestion *s, const char *candidate)
{
    unsigned d = EDIT * distance(s->word, candidate);
    size_t len = strnlen(s->word, LONGEST);

    if (d > BEGINNING && len >= BEGINNING_LEN && strncmp(s->word, candidate, len) == 0)
        d = BEGINNING;
    if (d < s->distance) {
        s->distance = d;
        s->best = candidate;
    }
}

const char *conf_suggestion_text(const struct conf_suggestion *s, char *out)
{
    out[0] = '\0';
    if (s->best != NULL)
        snprintf(out, CONF_SUGGESTION, "; did you mean \"%.60s\"?", s->best);
    return out;
}
