/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_JSON_LINE_H
#define POSTERN_APP_JSON_LINE_H

#include "base/addr.h"

/*
 * One JSON object, written straight into memory of the caller's: for lines that are written tens of thousands of times a second.
 * A field that could pass the end of the memory, were its key the longest and each of its bytes an escape, is left out and
 * `overflow` set.
 */
struct json_line {
    char *at; /* where the next byte goes */
    const char *end;
    bool overflow;
};

/* A key as fields take it, with the comma that goes away behind a brace. JSON_KEY_MAX bytes are copied whatever its length is,
 * zeros behind it: that takes no call. */
#define JSON_KEY_MAX 24
#define JSON_KEY_ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define JSON_KEY(name) ((struct span){ ",\"" name "\":" JSON_KEY_ZEROS, sizeof(name) + 3 })

void json_line_open(struct json_line *l, char *out, size_t size);
/* "}" LF; returns the bytes since `out`, 0 if something did not fit. */
size_t json_line_close(struct json_line *l, const char *out);

/* What others wrote: up to a NUL, at most `size` bytes. '"' and '\' are escaped, other bytes that are not printable ASCII are '?',
 * as span_show() has them. Left out if empty. */
void json_line_text(struct json_line *l, struct span key, const char *text, size_t size);
/* Our own words, which need no escape. Left out if empty. */
void json_line_word(struct json_line *l, struct span key, const char *word);
void json_line_number(struct json_line *l, struct span key, uint64_t number);
/* With port; left out if it is none. */
void json_line_addr(struct json_line *l, struct span key, const struct addr *address);
/* Left out if false. */
void json_line_true(struct json_line *l, struct span key, bool value);
/* An object as value: the fields that follow are its, until it is ended. */
void json_line_begin(struct json_line *l, struct span key);
void json_line_end(struct json_line *l);

#endif
