/* SPDX-License-Identifier: ISC */
/*
 * permessage-deflate. Offers and answers are tables, with RFC 7692's examples among them. Inflating is asked with the RFC's
 * examples, with messages that zlib compressed (every window, with context takeover and without, every way to flush) cut anywhere,
 * and with bombs, whose cost is measured.
 */
#include "proto/ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#define D "permessage-deflate"
#define SN "; server_no_context_takeover"
#define CN "; client_no_context_takeover"
#define SB "; server_max_window_bits"
#define CB "; client_max_window_bits"

static struct h1_head head;

/* Of one field, or of two if there is a '|' in it. */
static void set_fields(const char *value)
{
    const char *bar = strchr(value, '|');
    struct span first = bar != NULL ? span_of(value, (size_t)(bar - value)) : span_str(value);

    head.field_count = 0;
    h1_add(&head, (struct h1_field){ .id = H1_WS_EXTENSIONS, .value = first });
    if (bar != NULL)
        h1_add(&head, (struct h1_field){ .id = H1_WS_EXTENSIONS, .value = span_str(bar + 1) });
}

static struct ws_deflate offer_of(const char *value)
{
    struct ws_deflate offer;

    set_fields(value);
    ws_deflate_offer(&head, &offer);
    return offer;
}

static void test_offers(void **state)
{
    static const struct {
        const char *offer, *passed_on; /* "": no good one; NULL: not even a bad one */
    } table[] = {
        { D, D },
        { D CB, D CB },
        { D CB "=15", D CB "=15" },
        { D CB "=8", D CB "=8" },
        { D SB "=10", D SB "=10" },
        { D "; server_max_window_bits=\"10\"", D SB "=10" },
        { D "; server_max_window_bits=\"\\1\\0\"", D SB "=10" },
        { D SN, D SN },
        { D CN, D CN },
        { D ";client_max_window_bits ;\tserver_no_context_takeover", D SN CB },
        { D CB "=9" SB "=12" CN SN, D SN CN SB "=12" CB "=9" },
        { D SB "=10, " D CB, D SB "=10" }, /* the first one */
        { D "; unknown, " D CB, D CB },    /* the first good one */
        { D SB ", " D SB "=16," D SN "=1 ," D ";mode=x," D SB "=9", D SB "=9" },
        { "permessage-foo; a=1, " D, D },
        { "x; y=\""
          "a\", " D CB,
          D CB },
        { "x|" D CN, D CN },
        { D "; x|" D CN "," D, D CN },
        { D "; x", "" },
        { D SB, "" },
        { D SB "=7", "" },
        { D SB "=16", "" },
        { D SB "=08", "" },
        { D SB "=010", "" },
        { D SB "=+9", "" },
        { D SB "=1", "" },
        { D SB "=9x", "" },
        { D SB "=100000000000000000009", "" },
        { D SB "=15000000", "" },
        { D CB "=7", "" },
        { D CB "=16", "" },
        { D CB "=x", "" },
        { D CB "=\"15000000\"", "" },
        { D SN "=true", "" },
        { D CN "=1", "" },
        { D SN SN, "" },
        { D CN CN, "" },
        { D SB "=9" SB "=9", "" },
        { D CB CB, "" },
        { D CB "=9" CB, "" },
        { D "; Server_No_Context_Takeover", "" },
        { "Permessage-deflate", NULL },
        { "x-webkit-deflate-frame", NULL },
        { "permessage-deflate2; client_max_window_bits", NULL },
        { "x; permessage-deflate", NULL },
    };
    char text[WS_DEFLATE_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ws_deflate offer = offer_of(table[i].offer);
        const char *wanted = table[i].passed_on != NULL ? table[i].passed_on : "";

        if (strcmp(ws_deflate_text(&offer, true, text), wanted) != 0)
            fail_msg("%s: %s", table[i].offer, text);
        assert_int_equal(offer.named, table[i].passed_on != NULL);
        assert_int_equal(offer.on, wanted[0] != '\0');
    }
}

static void test_other_fields(void **state)
{
    struct ws_deflate offer = { .on = true, .named = true };

    (void)state;
    set_fields(D "|" D);
    head.fields[0].id = H1_OTHER;
    head.fields[1].id = H1_WS_PROTOCOL;
    ws_deflate_offer(&head, &offer);
    assert_false(offer.on || offer.named);
}

static void test_answers(void **state)
{
    static const struct {
        const char *offer, *answer, *agreed; /* NULL: does not fit */
    } table[] = {
        { D, D, D },
        { D, D SN, D SN }, /* may stand in any answer */
        { D, D CN, D CN },
        { D, D SB "=8", D SB "=8" },
        { D, D SB "=\"15\"", D SB "=15" },
        { D, D CB "=15", NULL }, /* 7.1.2.2: was not offered */
        { D CB, D, D },
        { D CB, D CB "=15", D CB "=15" },
        { D CB, D CB "=8", D CB "=8" },
        { D CB, D CB, NULL }, /* must have a value */
        { D CB "=10", D CB "=10", D CB "=10" },
        { D CB "=10", D CB "=15", D CB "=15" }, /* a hint only */
        { D CB "=10", D CB "=9", D CB "=9" },
        { D CB, D CB "=16", NULL },
        { D CB, D CB "=7", NULL },
        { D SN, D SN, D SN },
        { D SN, D, NULL }, /* 7.1.1.1 */
        { D SN, D CN, NULL },
        { D CN, D, D }, /* a hint */
        { D CN, D CN, D CN },
        { D SB "=10", D SB "=10", D SB "=10" },
        { D SB "=10", D SB "=8", D SB "=8" },
        { D SB "=10", D SB "=11", NULL },
        { D SB "=10", D, NULL }, /* 7.1.2.1 */
        { D SB "=10" SN CB, D SN SB "=9" CN CB "=12", D SN CN SB "=9" CB "=12" },
        { D, D SB, NULL },
        { D, D SN "=1", NULL },
        { D, D SN SN, NULL },
        { D, D "; x", NULL },
        { D, D ", " D, NULL },
        { D, D ",", NULL },
        { D, D "," D "|", NULL },
        { D, D "|" D, NULL },
        { D, "", NULL },
        { D, "x", NULL },
        { D, D " x", NULL },
        { D, D ";", NULL },
        { D, "Permessage-Deflate", NULL },
        { D "; bad", D, NULL },
        { "x", D, NULL },
        { "x", "x", NULL },
    };
    char text[WS_DEFLATE_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ws_deflate offer = offer_of(table[i].offer), agreed;
        enum reason why;

        memset(&agreed, 0xff, sizeof(agreed));
        set_fields(table[i].answer);
        why = ws_deflate_answer(&head, &offer, &agreed);
        if (why != (table[i].agreed != NULL ? R_NONE : R_EXTENSION_UNOFFERED))
            fail_msg("%s, %s: %s", table[i].offer, table[i].answer, reason_name(why));
        assert_string_equal(ws_deflate_text(&agreed, false, text), table[i].agreed != NULL ? table[i].agreed : "");
    }
}

static void test_no_answer(void **state)
{
    struct ws_deflate offer = offer_of(D SN SB "=9"), agreed = { .on = true };

    (void)state;
    head.field_count = 0;
    assert_int_equal(ws_deflate_answer(&head, &offer, &agreed), R_NONE);
    assert_false(agreed.on);
}

/* The client is told more than the server said, and the server must agree to its own half. */
static void test_no_context(void **state)
{
    struct ws_deflate offer = offer_of(D CB), agreed;
    char text[WS_DEFLATE_TEXT];

    (void)state;
    ws_deflate_no_context(&offer);
    assert_string_equal(ws_deflate_text(&offer, true, text), D SN CN CB);
    set_fields(D SN CB "=11");
    assert_int_equal(ws_deflate_answer(&head, &offer, &agreed), R_NONE);
    assert_string_equal(ws_deflate_text(&agreed, false, text), D SN CN CB "=11");
    set_fields(D CN);
    assert_int_equal(ws_deflate_answer(&head, &offer, &agreed), R_EXTENSION_UNOFFERED);
}

static void test_longest_text(void **state)
{
    const struct ws_deflate most = { .on = true,
                                     .server_no_context = true,
                                     .client_no_context = true,
                                     .server_bits = 15,
                                     .client_bits = 15,
                                     .client_bits_said = true };
    char text[WS_DEFLATE_TEXT];

    (void)state;
    assert_string_equal(ws_deflate_text(&most, true, text), D SN CN SB "=15" CB "=15");
}

/* What an inflater made of a message. */
static char got[1 << 20];
static size_t got_len, largest;
static uint64_t got_total;

static enum reason take(void *arg, struct span piece)
{
    size_t n = piece.len < sizeof(got) - got_len ? piece.len : sizeof(got) - got_len;

    assert_true(piece.len > 0 && piece.len <= 16384);
    memcpy(got + got_len, piece.at, n);
    got_len += n;
    got_total += piece.len;
    largest = piece.len > largest ? piece.len : largest;
    return arg != NULL ? *(enum reason *)arg : R_NONE;
}

static enum reason inflate_in_steps(struct ws_inflater *i, struct span in, size_t step)
{
    enum reason why;

    got_len = got_total = 0;
    do {
        struct span piece = span_of(in.at, in.len < step ? in.len : step);
        char *copy = malloc(piece.len + 1); /* so that a read beyond it is seen */

        memcpy(copy, piece.at, piece.len);
        in = span_skip(in, step);
        why = ws_inflate(i, span_of(copy, piece.len), in.len == 0, take, NULL);
        free(copy);
    } while (why == R_NONE && in.len > 0);
    return why;
}

static struct ws_inflater *inflater(bool alone, uint64_t bytes, uint32_t ratio)
{
    const struct ws_deflate agreed = { .on = true, .client_no_context = alone };
    const struct ws_inflate_limits limits = { bytes, ratio };
    struct ws_inflater *i = ws_inflater_new(&agreed, true, &limits);

    assert_non_null(i);
    return i;
}

#define HELLO "\xf2\x48\xcd\xc9\xc9\x07\x00"

static void test_examples(void **state)
{
    static const struct {
        struct span in, out;
    } table[] = {
        { SPAN(HELLO), SPAN("Hello") },                                                  /* 7.2.3.1 */
        { SPAN("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), SPAN("Hello") },         /* 7.2.3.3 */
        { SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), SPAN("Hello") },                     /* 7.2.3.4 */
        { SPAN("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), SPAN("Hello") }, /* 7.2.3.5 */
        { SPAN("\x00"), SPAN("") },                                                      /* 7.2.3.6 */
        { SPAN("\x02\x00"), SPAN("") },
        { SPAN("\x01"), SPAN("") },                              /* the empty block may be the last */
        { SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), SPAN("Hello") }, /* nothing behind the last */
        { SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), SPAN("HelloHello") },
        { SPAN("\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff\x00"), SPAN("") },
    };

    (void)state;
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        for (size_t step = 1; step <= table[k].in.len; step++) {
            struct ws_inflater *i = inflater(step % 2 == 0, 0, 0);

            for (int again = 0; again < 3; again++)
                if (inflate_in_steps(i, table[k].in, step) != R_NONE || !span_eq(span_of(got, got_len), table[k].out))
                    fail_msg("example %zu in steps of %zu: %.*s", k, step, (int)got_len, got);
            ws_inflater_free(i);
        }
    }
    ws_inflater_free(NULL);
}

static void test_context(void **state)
{
    struct ws_inflater *i = inflater(false, 0, 0);

    (void)state;
    assert_int_equal(inflate_in_steps(i, SPAN(HELLO), 99), R_NONE);
    assert_int_equal(inflate_in_steps(i, SPAN("\xf2\x00\x11\x00\x00"), 99), R_NONE); /* 7.2.3.2 */
    assert_int_equal(got_len, 5);
    assert_memory_equal(got, "Hello", 5);
    /* behind BFINAL the window stays */
    assert_int_equal(inflate_in_steps(i, SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), 99), R_NONE);
    assert_int_equal(inflate_in_steps(i, SPAN("\xf2\x00\x11\x00\x00"), 1), R_NONE);
    assert_memory_equal(got, "Hello", 5);
    ws_inflater_free(i);
    i = inflater(true, 0, 0);
    assert_int_equal(inflate_in_steps(i, SPAN(HELLO), 99), R_NONE);
    assert_int_equal(inflate_in_steps(i, SPAN("\xf2\x00\x11\x00\x00"), 99), R_DEFLATE_MALFORMED);
    ws_inflater_free(i);
}

/* Each direction has its own flag. */
static void test_directions(void **state)
{
    const struct ws_deflate agreed = { .on = true, .server_no_context = true };
    const struct ws_inflate_limits limits = { 0 };

    (void)state;
    for (int of_client = 0; of_client < 2; of_client++) {
        struct ws_inflater *i = ws_inflater_new(&agreed, of_client, &limits);

        assert_non_null(i);
        assert_int_equal(inflate_in_steps(i, SPAN(HELLO), 99), R_NONE);
        assert_int_equal(inflate_in_steps(i, SPAN("\xf2\x00\x11\x00\x00"), 99), of_client ? R_NONE : R_DEFLATE_MALFORMED);
        ws_inflater_free(i);
    }
}

/*
 * A window that is larger than the agreed one is not for us to refuse: zlib with the agreed window would do so or not as the bytes
 * are cut, because it looks for the distance in its output, too. What matters is that the verdict is the same however they come.
 */
static void test_larger_window(void **state)
{
    const struct ws_deflate agreed = { .on = true, .client_bits = 9, .client_bits_said = true, .server_bits = 9 };
    const struct ws_inflate_limits limits = { 0 };
    char random[1000], said[2000], packed[4096];
    z_stream z = { 0 };
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
    memcpy(said, random, sizeof(random));
    memcpy(said + sizeof(random), random, sizeof(random));
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)said;
    z.avail_in = sizeof(said);
    z.next_out = (unsigned char *)packed;
    z.avail_out = sizeof(packed);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    assert_true(z.total_out < 1500); /* the second half is a distance of 1000 bytes, and 9 bits are 512 */
    for (size_t step = 1; step <= z.total_out; step += step < 20 ? 1 : 97)
        for (int of_client = 0; of_client < 2; of_client++) {
            struct ws_inflater *i = ws_inflater_new(&agreed, of_client, &limits);

            assert_non_null(i);
            assert_int_equal(inflate_in_steps(i, span_of(packed, z.total_out - 4), step), R_NONE);
            assert_int_equal(got_len, sizeof(said));
            assert_memory_equal(got, said, sizeof(said));
            ws_inflater_free(i);
        }
    deflateEnd(&z);
}

static void test_malformed(void **state)
{
    static const struct span bad[] = {
        { "", 0 },
        SPAN("\xff"),
        SPAN("\x06"),
        SPAN("\x07\x00"),
        SPAN("Hello"),
        SPAN("\xf2\x48\xcd\xc9\xc9\x07"), /* the empty block is missing */
        SPAN("\xf2\x48\xcd\xc9\xc9"),
        SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00"),         /* a block is begun */
        SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"), /* the tail was not removed */
        SPAN("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c"),
        SPAN("\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00"),         /* length and its complement */
        SPAN("\xf2\x00\x11\x00\x00"),                                 /* too far back */
        SPAN("\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00\x05\x8c\x01\xf5"), /* zlib's own format */
    };

    (void)state;
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        for (size_t step = 1; step <= bad[k].len + 1; step++) {
            struct ws_inflater *i = inflater(false, 0, 0);

            if (inflate_in_steps(i, bad[k], step) != R_DEFLATE_MALFORMED)
                fail_msg("message %zu in steps of %zu", k, step);
            assert_int_equal(inflate_in_steps(i, SPAN(HELLO), 99), R_DEFLATE_MALFORMED); /* for ever */
            ws_inflater_free(i);
        }
    }
    for (int before = 0; before < 2; before++) { /* an empty one is none, also behind others */
        struct ws_inflater *i = inflater(before, 0, 0);

        assert_int_equal(inflate_in_steps(i, SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), 99), R_NONE);
        assert_int_equal(inflate_in_steps(i, SPAN(""), 99), R_DEFLATE_MALFORMED);
        ws_inflater_free(i);
    }
}

static void test_sink_refuses(void **state)
{
    struct ws_inflater *i = inflater(false, 0, 0);
    enum reason why = R_UTF8_INVALID;

    (void)state;
    assert_int_equal(ws_inflate(i, SPAN(HELLO), true, take, &why), R_UTF8_INVALID);
    why = R_NONE;
    assert_int_equal(ws_inflate(i, SPAN(HELLO), true, take, &why), R_UTF8_INVALID);
    ws_inflater_free(i);
}

static uint32_t seed = 1;

static uint32_t dice(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

/* Between noise and one letter, sometimes empty. */
static size_t random_message(unsigned char *out, size_t size)
{
    static const uint32_t letters[] = { 1, 2, 26, 256 };
    size_t len = dice(6) == 0 ? dice(3) : dice(dice(3) == 0 ? (uint32_t)size : 700);
    uint32_t of = letters[dice(4)];

    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)(i > 9 && dice(3) == 0 ? out[i - 1 - dice(9)] : 'a' + dice(of));
    return len;
}

/* As a sender does it (7.2.1); sometimes in several blocks, sometimes with BFINAL. */
static size_t compress_message(z_stream *z, const unsigned char *in, size_t len, bool last, unsigned char *out, size_t size)
{
    size_t first = dice(3) == 0 ? dice((uint32_t)len + 1) : 0, made;

    z->next_out = out;
    z->avail_out = (unsigned)size;
    z->next_in = (unsigned char *)(uintptr_t)in;
    z->avail_in = (unsigned)first;
    assert_int_not_equal(deflate(z, dice(2) == 0 ? Z_FULL_FLUSH : Z_BLOCK), Z_STREAM_ERROR);
    z->avail_in += (unsigned)(len - first);
    assert_int_not_equal(deflate(z, last ? Z_FINISH : Z_SYNC_FLUSH), Z_STREAM_ERROR);
    assert_true(z->avail_in == 0 && z->avail_out > 0);
    made = size - z->avail_out;
    if (last)
        out[made++] = 0;
    else if (made >= 5 && memcmp(out + made - 4, "\0\0\xff\xff", 4) == 0)
        made -= 4;
    else
        out[made++] = 0; /* zlib had nothing to flush */
    return made;
}

static void check_stream(int bits, bool alone, int level, int strategy)
{
    static unsigned char message[100000], packed[140000];
    struct ws_inflater *i = inflater(alone, 0, 0);
    z_stream z = { 0 };

    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -bits, 1 + (int)dice(9), strategy), Z_OK);
    for (int k = 0; k < 12; k++) {
        bool last = dice(8) == 0;
        size_t len = random_message(message, sizeof(message)),
               packed_len = compress_message(&z, message, len, last, packed, sizeof(packed));

        if (inflate_in_steps(i, span_of((char *)packed, packed_len), 1 + dice(dice(2) == 0 ? 20 : 70000)) != R_NONE ||
            got_len != len || memcmp(got, message, len) != 0)
            fail_msg("window %d, alone %d, level %d, message %d of %zu bytes: %zu", bits, alone, level, k, len, got_len);
        if (last || alone)
            assert_int_equal(deflateReset(&z), Z_OK);
    }
    deflateEnd(&z);
    ws_inflater_free(i);
}

static void test_streams(void **state)
{
    (void)state;
    for (int bits = 9; bits <= 15; bits++)
        for (int alone = 0; alone < 2; alone++)
            for (int level = 0; level <= 9; level += 3)
                for (int strategy = Z_DEFAULT_STRATEGY; strategy <= Z_FIXED; strategy++)
                    check_stream(bits, alone, level, strategy);
}

/* Every cut of a message into two. */
static void test_all_splits(void **state)
{
    static unsigned char packed[4096];
    unsigned char message[700];
    z_stream z = { 0 };
    struct ws_inflater *i = inflater(false, 0, 0);
    size_t len, packed_len;

    (void)state;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -12, 8, 0), Z_OK);
    for (size_t k = 0; k < sizeof(message); k++)
        message[k] = (unsigned char)('a' + dice(20));
    len = sizeof(message);
    packed_len = compress_message(&z, message, len, false, packed, sizeof(packed));
    for (size_t cut = 0; cut <= packed_len; cut++) {
        got_len = 0;
        assert_int_equal(ws_inflate(i, span_of((char *)packed, cut), false, take, NULL), R_NONE);
        assert_int_equal(ws_inflate(i, span_of((char *)packed + cut, packed_len - cut), true, take, NULL), R_NONE);
        assert_int_equal(got_len, len);
        assert_memory_equal(got, message, len);
    }
    deflateEnd(&z);
    ws_inflater_free(i);
}

/* `n` zeros, compressed as well as can be. */
static struct span bomb(size_t n)
{
    static unsigned char zeros[1 << 16], packed[1 << 18];
    z_stream z = { .next_out = packed, .avail_out = sizeof(packed) };

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, 0), Z_OK);
    for (; n > 0; n -= n < sizeof(zeros) ? n : sizeof(zeros)) {
        z.next_in = zeros;
        z.avail_in = (unsigned)(n < sizeof(zeros) ? n : sizeof(zeros));
        deflate(&z, Z_NO_FLUSH);
    }
    deflate(&z, Z_SYNC_FLUSH);
    assert_true(z.avail_out > 0);
    deflateEnd(&z);
    return span_of((char *)packed, sizeof(packed) - z.avail_out - 4);
}

static void test_message_bytes(void **state)
{
    static const uint64_t limits[] = { 1, 100, 16383, 16384, 16385, 100000 };

    (void)state;
    for (size_t k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
        for (size_t step = 1; step < 100000; step *= 7) {
            struct ws_inflater *i = inflater(false, limits[k], 0);

            for (int again = 0; again < 2; again++) { /* it is counted for each message */
                assert_int_equal(inflate_in_steps(i, bomb(limits[k]), step), R_NONE);
                assert_int_equal(got_total, limits[k]);
            }
            assert_int_equal(inflate_in_steps(i, bomb(limits[k] + 1), step), R_MESSAGE_TOO_BIG);
            assert_true(got_total <= limits[k]);
            ws_inflater_free(i);
        }
    }
}

static enum reason inflate_bomb(size_t n, uint32_t ratio, size_t step)
{
    struct ws_inflater *i = inflater(false, 0, ratio);
    enum reason why = inflate_in_steps(i, bomb(n), step);

    ws_inflater_free(i);
    return why;
}

static void test_ratio(void **state)
{
    static const size_t steps[] = { 1, 7, 100, 100000 };

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(inflate_bomb(65536, 1, steps[k]), R_NONE); /* the first 64 KiB are free */
        assert_int_equal(inflate_bomb(65536 + 16384, 1, steps[k]), R_DEFLATE_RATIO);
        assert_true(got_total < 65536 + 16384);
        assert_int_equal(inflate_bomb(4 << 20, 0, steps[k]), R_NONE);
        assert_int_equal(inflate_bomb(4 << 20, 1100, steps[k]), R_NONE); /* zlib makes 1032 at most */
        assert_int_equal(inflate_bomb(4 << 20, 900, steps[k]), R_DEFLATE_RATIO);
        assert_int_equal(inflate_bomb(4 << 20, 100, steps[k]), R_DEFLATE_RATIO);
        assert_true(got_total <= 65536 + 16384);
        assert_int_equal(inflate_bomb(4 << 20, UINT32_MAX, steps[k]), R_NONE);
    }
}

/* Exactly at the ratio, and one past it: 80 KiB of stored zeros and a bomb, so that what is beyond 64 KiB is a multiple. */
static void test_ratio_exactly(void **state)
{
    struct span packed = bomb(65536 + 16384);

    (void)state;
    for (uint32_t bytes = 1; bytes <= packed.len; bytes++) {
        uint32_t ratio = 16384 / bytes; /* passes if at least 16384 / ratio bytes were read by then */

        if (16384 % bytes != 0)
            continue;
        assert_int_equal(inflate_bomb(65536 + 16384, ratio, 1), packed.len - 1 >= bytes ? R_NONE : R_DEFLATE_RATIO);
    }
}

/* In pages, as the kernel sees it. */
static long resident(void)
{
    long all, mine = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &all, &mine), 2);
    fclose(f);
    return mine;
}

static void test_bomb_costs_nothing(void **state)
{
    struct span packed = bomb(64u << 20);
    struct ws_inflater *i = inflater(false, 0, 0), *bounded = inflater(false, 0, 100);
    long before, after;

    (void)state;
    assert_true((64u << 20) / packed.len > 1000);
    assert_int_equal(inflate_in_steps(i, SPAN(HELLO), 99), R_NONE);
    memset(got, 1, sizeof(got));
    before = resident();
    assert_int_equal(inflate_in_steps(i, packed, SIZE_MAX), R_NONE);
    assert_int_equal(got_total, 64u << 20);
    assert_int_equal(inflate_in_steps(bounded, packed, SIZE_MAX), R_DEFLATE_RATIO);
    assert_true(got_total < 100000);
    after = resident();
    assert_true((after - before) * sysconf(_SC_PAGESIZE) < 1 << 20);
    assert_int_equal(largest, 16384);
    ws_inflater_free(i);
    ws_inflater_free(bounded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),    cmocka_unit_test(test_other_fields),  cmocka_unit_test(test_answers),
        cmocka_unit_test(test_no_answer), cmocka_unit_test(test_no_context),    cmocka_unit_test(test_longest_text),
        cmocka_unit_test(test_examples),  cmocka_unit_test(test_context),       cmocka_unit_test(test_directions),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_larger_window), cmocka_unit_test(test_sink_refuses),
        cmocka_unit_test(test_streams),   cmocka_unit_test(test_all_splits),    cmocka_unit_test(test_message_bytes),
        cmocka_unit_test(test_ratio),     cmocka_unit_test(test_ratio_exactly), cmocka_unit_test(test_bomb_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
