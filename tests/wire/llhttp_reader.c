/* SPDX-License-Identifier: ISC */
/*
 * What llhttp, strict, makes of a stream of HTTP/1: a judge for tests/wire/test_differential.py. Reads `request LEN`, `answer LEN`
 * or `head LEN` (answers to HEAD) and a newline, then so many bytes; writes what it found in lines of a letter and hexadecimal text
 * (S start, N name, V value, B body, E end of a message) and at last ". complete", ". incomplete" or ". malformed". Interim answers
 * are messages, too.
 */
#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (1 << 22)

static bool in_head, begun, to_head;

static void put(char letter, const char *at, size_t len)
{
    printf("%c ", letter);
    for (size_t i = 0; i < len; i++)
        printf("%02x", (unsigned char)at[i]);
    printf("\n");
}

static int on_begin(llhttp_t *parser)
{
    (void)parser;
    in_head = true;
    begun = false;
    return 0;
}

static int on_start(llhttp_t *parser, const char *at, size_t len)
{
    (void)parser;
    begun = true;
    put('S', at, len);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    (void)parser;
    begun = true;
    if (in_head)
        put('N', at, len);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    (void)parser;
    if (in_head)
        put('V', at, len);
    return 0;
}

static int on_head(llhttp_t *parser)
{
    unsigned status = parser->status_code;
    char text[16];

    in_head = false;
    if (parser->type == HTTP_REQUEST)
        return 0;
    snprintf(text, sizeof(text), "%u", status);
    put('S', text, strlen(text));
    return to_head || status < 200 || status == 204 || status == 304; /* 1: there is no body, whatever the head says */
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    (void)parser;
    put('B', at, len);
    return 0;
}

static int on_end(llhttp_t *parser)
{
    (void)parser;
    begun = false;
    printf("E \n");
    return 0;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_method = on_start,
    .on_url = on_start,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static void read_stream(llhttp_type_t type, const char *bytes, size_t len)
{
    llhttp_t parser;
    bool good;

    begun = false;
    llhttp_init(&parser, type, &settings);
    good = llhttp_execute(&parser, bytes, len) == HPE_OK;
    printf(". %s\n", !good ? "malformed" : llhttp_finish(&parser) == HPE_OK && !begun ? "complete" : "incomplete");
    fflush(stdout);
}

int main(void)
{
    static char bytes[BYTES_MAX];
    char kind[16];
    size_t len;

    while (scanf("%15s %zu", kind, &len) == 2 && getchar() == '\n' && len <= sizeof(bytes) && fread(bytes, 1, len, stdin) == len) {
        to_head = strcmp(kind, "head") == 0;
        read_stream(strcmp(kind, "request") == 0 ? HTTP_REQUEST : HTTP_RESPONSE, bytes, len);
    }
    return 0;
}
