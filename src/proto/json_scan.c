/* SPDX-License-Identifier: ISC */
/*
 * JSON as it stands in a message (RFC 8259), looked at once from front to back. What is open is a stack of bits, one a level, that
 * says whether it is an object or an array: so the depth is bounded, and nothing calls itself. Everything that different readers
 * might take for different things is refused: a rule that reads "role" must not read another one than the server does.
 *
 * Only members of the outermost object and of its members can be asked for. So it is enough to remember of each whether its
 * outermost member is the one that is being read. Names are what costs most: many that are asked for, each held against many that
 * are not. Between them the caller is asked whether there is time for more.
 */
#include "proto/json_scan.h"

#include "proto/utf8.h"

#include <string.h>

#define NAMES_A_LOOK 256

struct scan {
    const char *at, *end;
    struct json_wanted *wanted;
    size_t count;
    uint32_t depth, limit;
    uint8_t objects[JSON_DEPTH_MAX / 8]; /* a bit a level: it is an object */
    bool (*late)(void *arg);             /* or NULL */
    void *arg;
    unsigned names; /* since it was asked last */
};

static bool in_object(const struct scan *s, uint32_t depth)
{
    return (s->objects[(depth - 1) / 8] >> ((depth - 1) % 8) & 1) != 0;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool skip(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool skip_word(struct scan *s, struct span word)
{
    if (!span_starts(span_of(s->at, (size_t)(s->end - s->at)), word))
        return false;
    s->at += word.len;
    return true;
}

static bool skip_digits(struct scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > start;
}

/* number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ ( "e" / "E" ) [ "+" / "-" ] 1*digit ] */
static bool skip_number(struct scan *s)
{
    skip(s, '-');
    if (!skip(s, '0') && !skip_digits(s))
        return false;
    if (skip(s, '.') && !skip_digits(s))
        return false;
    if (!skip(s, 'e') && !skip(s, 'E'))
        return true;
    if (!skip(s, '+'))
        skip(s, '-');
    return skip_digits(s);
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = byte_hex(at[i]);

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* "uXXXX" at `at`, or a pair of surrogates: the character and how many bytes it took; 0 bytes if it is none. */
static size_t read_unicode(const char *at, const char *end, uint32_t *c)
{
    int32_t high = hex4(at + 1, end), low;

    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
        return 0;
    *c = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return 5;
    if (end - at < 11 || at[5] != '\\' || at[6] != 'u')
        return 0;
    low = hex4(at + 7, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *c = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return 11;
}

/* What stands behind a backslash at `at`. */
static size_t read_escape(const char *at, const char *end, uint32_t *c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (at == end || *at == '\0')
        return 0;
    if (*at == 'u')
        return read_unicode(at, end, c);
    found = strchr(from, *at);
    if (found == NULL)
        return 0;
    *c = (uint32_t)to[found - from];
    return 1;
}

/* A string, behind its opening quote, with its closing one. *text: what stands between them. */
static bool read_string(struct scan *s, struct span *text)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at != '"') {
        uint32_t c;
        size_t n = 1;

        if ((unsigned char)*s->at < 0x20)
            return false;
        if (*s->at == '\\')
            n = read_escape(s->at + 1, s->end, &c);
        if (n == 0)
            return false;
        s->at += n + (*s->at == '\\');
    }
    *text = span_of(start, (size_t)(s->at - start));
    return skip(s, '"');
}

/* Takes the bytes of `c` in UTF-8 from the front of `plain`; false if they do not stand there. */
static bool take_character(struct span *plain, uint32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(leads[n] | c);
    if (!span_starts(*plain, span_of(bytes, n)))
        return false;
    *plain = span_skip(*plain, n);
    return true;
}

/* Is this name, escapes and all, the plain one? Its escapes were found good before. */
static bool name_is(struct span name, struct span plain)
{
    const char *at = name.at, *end = name.at + name.len;

    if (name.len < plain.len) /* escapes only make it longer */
        return false;
    while (at < end) {
        uint32_t c = 0;

        if (plain.len == 0)
            return false;
        if (*at != '\\') {
            if (*at++ != plain.at[0])
                return false;
            plain = span_skip(plain, 1);
            continue;
        }
        at += 1 + read_escape(at + 1, end, &c);
        if (!take_character(&plain, c))
            return false;
    }
    return plain.len == 0;
}

/* The path's part before its first dot, and what is behind it. */
static void begin_wanted(struct json_wanted *w)
{
    const char *dot = strchr(w->path, '.');

    w->found = w->begun = w->here = false;
    w->deep = dot != NULL;
    w->outer = w->deep ? span_of(w->path, (size_t)(dot - w->path)) : span_str(w->path);
    w->inner = w->deep ? span_str(dot + 1) : span_of(NULL, 0);
}

static bool mark(bool *seen)
{
    bool was = *seen;

    *seen = true;
    return !was;
}

static bool is_late(struct scan *s)
{
    if (s->late == NULL || ++s->names < NAMES_A_LOOK)
        return false;
    s->names = 0;
    return s->late(s->arg);
}

/* Is the name that was just read one that is asked for? false: for the second time. */
static bool check_name(struct scan *s, struct span name)
{
    if (s->depth > 2 || !in_object(s, 1))
        return true;
    for (size_t i = 0; i < s->count; i++) {
        struct json_wanted *w = &s->wanted[i];

        if (s->depth == 1) {
            w->here = name_is(name, w->outer);
            if (w->here && !mark(w->deep ? &w->begun : &w->found))
                return false;
        } else if (w->here && w->deep && name_is(name, w->inner) && !mark(&w->found)) {
            return false;
        }
    }
    return !is_late(s);
}

/* name, colon: a value must follow. */
static bool read_name(struct scan *s)
{
    struct span name;

    skip_space(s);
    if (!skip(s, '"') || !read_string(s, &name) || !check_name(s, name))
        return false;
    skip_space(s);
    return skip(s, ':');
}

static bool open_level(struct scan *s, bool object)
{
    uint8_t bit;

    if (s->depth >= s->limit)
        return false;
    bit = (uint8_t)(1 << (s->depth % 8));
    s->objects[s->depth / 8] = (uint8_t)((s->objects[s->depth / 8] & ~bit) | (object ? bit : 0));
    s->depth++;
    return true;
}

static bool skip_scalar(struct scan *s)
{
    struct span text;

    if (s->at == s->end)
        return false;
    switch (*s->at) {
    case '"':
        s->at++;
        return read_string(s, &text);
    case 't':
        return skip_word(s, SPAN("true"));
    case 'f':
        return skip_word(s, SPAN("false"));
    case 'n':
        return skip_word(s, SPAN("null"));
    default:
        return skip_number(s);
    }
}

enum step { STEP_BAD, STEP_VALUE /* a value must follow */, STEP_DONE /* one is complete */ };

/* A scalar, or the front of an array or object, which is complete if it is empty. */
static enum step read_value(struct scan *s)
{
    bool object;

    skip_space(s);
    object = s->at < s->end && *s->at == '{';
    if (!object && (s->at == s->end || *s->at != '['))
        return skip_scalar(s) ? STEP_DONE : STEP_BAD;
    s->at++;
    if (!open_level(s, object))
        return STEP_BAD;
    skip_space(s);
    if (skip(s, object ? '}' : ']')) {
        s->depth--;
        return STEP_DONE;
    }
    return !object || read_name(s) ? STEP_VALUE : STEP_BAD;
}

/* Behind a value that is in something: the next one, or the end of what it is in. */
static enum step read_next(struct scan *s)
{
    bool object = in_object(s, s->depth);

    skip_space(s);
    if (skip(s, object ? '}' : ']')) {
        s->depth--;
        return STEP_DONE;
    }
    if (!skip(s, ','))
        return STEP_BAD;
    return !object || read_name(s) ? STEP_VALUE : STEP_BAD;
}

bool json_scan_until(struct span text, uint32_t depth, struct json_wanted *wanted, size_t count, bool (*late)(void *arg), void *arg)
{
    struct scan s = { .at = text.at, .wanted = wanted, .count = count, .late = late, .arg = arg };
    enum step step = STEP_VALUE;

    for (size_t i = 0; i < count; i++)
        begin_wanted(&wanted[i]);
    if (text.len == 0 || utf8_feed(0, text) != 0)
        return false;
    s.end = text.at + text.len;
    s.limit = depth < JSON_DEPTH_MAX ? depth : JSON_DEPTH_MAX;
    while (step == STEP_VALUE || (step == STEP_DONE && s.depth > 0))
        step = step == STEP_VALUE ? read_value(&s) : read_next(&s);
    skip_space(&s);
    return step == STEP_DONE && s.at == s.end;
}

bool json_scan(struct span text, uint32_t depth, struct json_wanted *wanted, size_t count)
{
    return json_scan_until(text, depth, wanted, count, NULL, NULL);
}
