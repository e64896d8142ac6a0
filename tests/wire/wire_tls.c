/* SPDX-License-Identifier: ISC */
/*
 * TLS without the monitor and the minter: a generation's files are read here, and leaves are signed by the CA's key in this
 * process, with the code of the minter. Questions wait for the next turn of the loop, or for as long as the test holds them.
 */
#include "wire_tls.h"

#include "base/log.h"
#include "net/loop.h"
#include "proto/leaf.h"
#include "session/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUESTIONS 256
#define FILE_BYTES (1u << 20)
#define LINES_BYTES 65536
#define ERROR_BYTES 256

static struct {
    struct ca *ca;
    struct engine *engine;
    struct engine_leaf_request questions[QUESTIONS];
    size_t count;
    bool held, refusing;
    char lines[LINES_BYTES];
    size_t len;
    struct loop *loop;
    struct loop_again again;
} minter;

static struct span read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(FILE_BYTES);
    size_t n;

    if (file == NULL || bytes == NULL)
        fatal("%s cannot be read", path);
    n = fread(bytes, 1, FILE_BYTES, file);
    fclose(file);
    return span_of(bytes, n);
}

static void complain(void *arg, unsigned line, const char *key, const char *text)
{
    (void)arg;
    fprintf(stderr, "%u: %s: %s\n", line, key, text);
}

static void warn(void *arg, unsigned line, const char *key, const char *text)
{
    (void)arg;
    (void)line;
    (void)key;
    (void)text;
}

static void open_ca(struct span certificate, struct span key)
{
    char error[ERROR_BYTES];

    ca_free(minter.ca);
    minter.ca = ca_open(certificate, key, (int64_t)time(NULL), error);
    if (minter.ca == NULL)
        fatal("the CA cannot be used: %s", error);
}

void wire_tls_contexts(struct generation *g)
{
    const struct conf *conf = g->conf;
    struct span files[256] = { { NULL, 0 } };
    struct secure_inputs inputs = { .conf = conf, .files = files, .keylog = -1, .complain = complain, .warn = warn };

    if (conf->tls_file_count > sizeof(files) / sizeof(files[0]))
        fatal("too many files of TLS");
    for (size_t i = 0; i < conf->tls_file_count; i++)
        files[i] = read_file(conf->tls_files[i].path);
    if (conf->tls.inspect_key >= 0) {
        open_ca(files[conf->tls.inspect_certificate], files[conf->tls.inspect_key]);
        free((char *)files[conf->tls.inspect_key].at);
        files[conf->tls.inspect_key] = span_of(NULL, 0); /* no worker ever sees it */
    }
    g->secure = secure_new(&inputs);
    g->secure_free = secure_free;
    for (size_t i = 0; i < conf->tls_file_count; i++)
        free((char *)files[i].at);
    if (g->secure == NULL)
        fatal("the contexts of TLS cannot be made");
}

static void sign(const struct engine_leaf_request *q)
{
    struct leaf_request request = {
        .public_key = span_of(q->public_key, q->key_len), .from = q->from, .until = q->until, .failing = q->failing
    };
    char der[LEAF_MAX];
    size_t len = 0;
    struct addr ip;

    if (addr_parse(&ip, span_str(q->name), 0))
        host_from_addr(&request.name, &ip);
    else if (!host_parse(&request.name, span_str(q->name)))
        fatal("the minter is asked for no name");
    if (!minter.refusing && minter.ca != NULL)
        len = leaf_sign(minter.ca, &request, (int64_t)time(NULL), der);
    engine_leaf(minter.engine, q->request, span_of(der, len));
}

static void answer(void *arg)
{
    size_t count = minter.held ? 0 : minter.count;
    struct engine_leaf_request questions[QUESTIONS];

    (void)arg;
    memcpy(questions, minter.questions, count * sizeof(questions[0]));
    minter.count -= count;
    for (size_t i = 0; i < count; i++)
        sign(&questions[i]);
}

static bool leaf_wanted(void *arg, const struct engine_leaf_request *request)
{
    (void)arg;
    if (minter.count == QUESTIONS)
        return false;
    minter.questions[minter.count++] = *request;
    minter.len += (size_t)snprintf(minter.lines + minter.len, sizeof(minter.lines) - minter.len, "%s %s\n", request->name,
                                   request->failing ? "failing" : "good");
    loop_again(minter.loop, &minter.again);
    return true;
}

struct engine_minter wire_minter(struct loop *loop)
{
    minter.loop = loop;
    minter.again.fn = answer;
    return (struct engine_minter){ leaf_wanted, NULL };
}

void wire_minter_serve(struct engine *e)
{
    minter.engine = e;
}

void wire_minter_hold(bool hold)
{
    minter.held = hold;
    if (!hold && minter.count > 0)
        loop_again(minter.loop, &minter.again);
}

void wire_minter_refuse(bool refuse)
{
    minter.refusing = refuse;
}

size_t wire_minter_lines(char *out, size_t size)
{
    size_t n = minter.len < size ? minter.len : size;

    memcpy(out, minter.lines, n);
    minter.len = 0;
    return n;
}

void wire_minter_free(void)
{
    loop_again_clear(&minter.again);
    ca_free(minter.ca);
    minter.ca = NULL;
}
