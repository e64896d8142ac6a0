/* SPDX-License-Identifier: ISC */
/*
 * A look at the raw text before libconfig reads it, for what libconfig 1.5 would do silently: truncate integers, open files
 * that the text names, drop what stands behind a comment or string without end. The tokens here are those of libconfig's own
 * scanner, so that both agree on what is a string and what a comment; what is a token to neither is left to libconfig's syntax
 * error.
 *
 * The bounds on depth and on keys of one group keep libconfig's recursion and its search for duplicate keys small.
 */
#include "conf/conf_scan.h"
#include "conf/conf_file.h"

#include <string.h>

struct scan {
    const char *at, *end;
    unsigned line;
    unsigned depth;
    unsigned keys[CONF_DEPTH + 1]; /* of the group that is open at each depth */
    struct span name;              /* the last one seen, and the last that was a key */
    char key[64];
    bool hopeless; /* libconfig would not read what stands there */
    struct conf_report *report;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (byte_lower(c) >= 'a' && byte_lower(c) <= 'z') || is_digit(c) || c == '*' || c == '-' || c == '_';
}

static char peek(const struct scan *s, size_t ahead)
{
    return (size_t)(s->end - s->at) > ahead ? s->at[ahead] : '\0';
}

/* Moves by `n` bytes, at most to the end, and counts the lines. */
static void skip(struct scan *s, size_t n)
{
    for (; n > 0 && s->at < s->end; n--)
        s->line += *s->at++ == '\n';
}

static void skip_digits(struct scan *s)
{
    while (is_digit(peek(s, 0)))
        s->at++;
}

static void give_up(struct scan *s, unsigned line, const char *why)
{
    conf_report_error(s->report, line, NULL, "%s", why);
    s->hopeless = true;
}

static void scan_string(struct scan *s)
{
    unsigned begin = s->line;

    skip(s, 1);
    while (s->at < s->end && *s->at != '"') {
        if (*s->at == '\\' && byte_lower(peek(s, 1)) == 'x' && peek(s, 2) == '0' && peek(s, 3) == '0')
            give_up(s, s->line, "a string may not hold \\x00");
        skip(s, *s->at == '\\' && (peek(s, 1) == '"' || peek(s, 1) == '\\') ? 2 : 1);
    }
    if (s->at == s->end)
        give_up(s, begin, "the string that begins here has no end");
    skip(s, 1);
}

static void scan_comment(struct scan *s)
{
    unsigned begin = s->line;

    skip(s, 2);
    while (s->at < s->end && !(*s->at == '*' && peek(s, 1) == '/'))
        skip(s, 1);
    if (s->at == s->end)
        give_up(s, begin, "the comment that begins here has no end");
    skip(s, 2);
}

static void skip_line(struct scan *s)
{
    while (s->at < s->end && *s->at != '\n')
        s->at++;
}

/* Reads digits of this base; a value beyond 2^63-1 is returned as 2^63. */
static uint64_t scan_digits(struct scan *s, unsigned base)
{
    const uint64_t max = INT64_MAX;
    uint64_t value = 0;
    int digit;

    while ((digit = byte_hex(peek(s, 0))) >= 0 && (unsigned)digit < base) {
        value = value > (max - (unsigned)digit) / base ? max + 1 : value * base + (unsigned)digit;
        s->at++;
    }
    return value;
}

/* Behind digits: does the rest make it a float? If so, moves behind it. */
static bool scan_fraction(struct scan *s)
{
    bool point = peek(s, 0) == '.';
    size_t sign;

    if (point) {
        s->at++;
        skip_digits(s);
    }
    sign = peek(s, 1) == '-' || peek(s, 1) == '+';
    if (byte_lower(peek(s, 0)) != 'e' || !is_digit(peek(s, 1 + sign)))
        return point;
    s->at += 1 + sign;
    skip_digits(s);
    return true;
}

static void scan_number(struct scan *s)
{
    bool hex = peek(s, 0) == '0' && byte_lower(peek(s, 1)) == 'x' && byte_hex(peek(s, 2)) >= 0;
    uint64_t value;
    bool is_long;

    s->at += hex ? 2 : 0;
    value = scan_digits(s, hex ? 16 : 10);
    if (!hex && scan_fraction(s))
        return;
    is_long = peek(s, 0) == 'L';
    while (peek(s, 0) == 'L')
        s->at++;
    if (value > INT64_MAX)
        conf_report_error(s->report, s->line, s->key[0] ? s->key : NULL, "the number is too large: more than 9223372036854775807");
    else if (!is_long && value > INT32_MAX)
        conf_report_error(s->report, s->line, s->key[0] ? s->key : NULL, "a number above 2147483647 needs an L behind it: %lluL",
                          (unsigned long long)value);
}

static void scan_name(struct scan *s)
{
    const char *begin = s->at;

    while (s->at < s->end && is_name(*s->at))
        s->at++;
    s->name = span_of(begin, (size_t)(s->at - begin));
}

/* Brackets, and the signs that make a name before them a key. Returns false if the text is hopeless. */
static bool scan_sign(struct scan *s)
{
    char c = *s->at;

    skip(s, 1);
    if (c == '=' || c == ':')
        span_show(s->name, s->key, sizeof(s->key));
    if (c == '{' || c == '(' || c == '[') {
        if (s->depth == CONF_DEPTH) {
            give_up(s, s->line, "brackets are nested too deeply");
            return false;
        }
        s->keys[++s->depth] = 0;
    } else if ((c == '}' || c == ')' || c == ']') && s->depth > 0) {
        s->depth--;
    } else if ((c == '=' || c == ':') && ++s->keys[s->depth] > CONF_GROUP_KEYS) {
        give_up(s, s->line, "too many keys in one group");
        return false;
    } else if (c == '@') {
        give_up(s, s->line, "@include is refused: a configuration is one file");
        return false;
    }
    return true;
}

static bool scan_token(struct scan *s)
{
    char c = *s->at;

    if (c == '"')
        scan_string(s);
    else if (c == '/' && peek(s, 1) == '*')
        scan_comment(s);
    else if (c == '#' || (c == '/' && peek(s, 1) == '/'))
        skip_line(s);
    else if (is_digit(c))
        scan_number(s);
    else if (c == '.')
        scan_fraction(s);
    else if (is_name(c) && c != '-' && c != '_')
        scan_name(s);
    else
        return scan_sign(s);
    return true;
}

bool conf_scan_check(struct span text, struct conf_report *report)
{
    struct scan s = { .line = 1, .report = report };

    if (text.len > CONF_TEXT_MAX) {
        conf_report_error(report, 1, NULL, "the configuration is larger than %u bytes", CONF_TEXT_MAX);
        return false;
    }
    if (text.len == 0)
        return true;
    if (memchr(text.at, '\0', text.len) != NULL) {
        conf_report_error(report, 1, NULL, "the configuration holds a NUL byte");
        return false;
    }
    s.at = text.at;
    s.end = text.at + text.len;
    while (s.at < s.end && scan_token(&s))
        continue;
    return !s.hopeless;
}
