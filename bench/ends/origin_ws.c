/* SPDX-License-Identifier: ISC */
/* WebSockets of the origin: what it echoes, what it sends without end, what it takes and looks at. */
#include "origin.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define HEAD_MAX 10
#define SCRATCH 65536
#define BLOCK 16384 /* small messages are written in blocks of about so many bytes */
#define MADE_MAX 16
enum { OPCODE = 0x0f, FIN = 0x80, CLOSE = 8, PING = 9, PONG = 10 };

/* A payload, and a block of whole messages of it. */
struct made {
    size_t size;
    char kind[8];
    char *payload, *block;
    size_t block_len;
};

static void make(struct made *m, size_t size, const char *kind)
{
    unsigned char head[HEAD_MAX];
    size_t head_len = frame_head_write(head, payload_first(kind), size), one = head_len + size,
           count = one < BLOCK ? BLOCK / one : 1;

    *m = (struct made){
        .size = size, .payload = grown(NULL, size + 1), .block = grown(NULL, count * one), .block_len = count * one
    };
    snprintf(m->kind, sizeof(m->kind), "%s", kind);
    payload_fill(m->payload, size, kind);
    for (size_t i = 0; i < count; i++) {
        memcpy(m->block + i * one, head, head_len);
        memcpy(m->block + i * one + head_len, m->payload, size);
    }
}

static const struct made *made_for(size_t size, const char *kind)
{
    static struct made made[MADE_MAX];
    static unsigned count;
    unsigned i = 0;

    while (i < count && (made[i].size != size || strcmp(made[i].kind, kind) != 0))
        i++;
    if (i == MADE_MAX)
        return NULL;
    if (i == count)
        make(&made[count++], size, kind);
    return &made[i];
}

static void agree(const char *key, size_t key_len)
{
    static const char agreed[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[256];
    unsigned len;
    int n = snprintf(text, sizeof(text), "%.*s" GUID, (int)(key_len < 64 ? key_len : 64), key);

    EVP_Digest(text, (size_t)n, digest, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)text, digest, (int)len);
    answer_add(agreed, sizeof(agreed) - 1);
    answer_add(text, strlen(text));
    answer_add("\r\n\r\n", 4);
}

void websocket_open(struct conn *c, const char *path, const char *key, size_t key_len)
{
    char word[8] = "", kind[8] = "";
    size_t size = 0;
    const struct made *made;

    agree(key, key_len);
    c->role = ECHOES;
    if (sscanf(path, "%7[a-z]/%zu/%7[a-z0-9]", word, &size, kind) != 3)
        return;
    made = made_for(size, kind);
    c->is_ending = made == NULL;
    if (made != NULL && strcmp(word, "push") == 0) {
        c->role = PUSHES;
        c->endless = made->block;
        c->endless_len = made->block_len;
        c->endless_left = UINT64_MAX;
    } else if (made != NULL) {
        c->role = TAKES;
        c->expected = made->payload;
        c->expected_len = made->size;
    }
}

static void answer_head(const struct conn *c)
{
    unsigned char head[HEAD_MAX], first = c->frame.head[0];

    if ((first & OPCODE) == PING)
        first = FIN | PONG;
    answer_add(head, frame_head_write(head, first, c->frame.left));
}

static bool is_echoed(const struct conn *c)
{
    unsigned opcode = c->frame.head[0] & OPCODE;

    return c->role == ECHOES ? opcode != PONG : opcode == PING || opcode == CLOSE;
}

static void on_head(struct conn *c)
{
    unsigned opcode = c->frame.head[0] & OPCODE;

    if (!frame_is_masked(&c->frame) || (c->role == TAKES && opcode < CLOSE && c->frame.left != c->expected_len)) {
        c->is_ending = true;
        return;
    }
    if (is_echoed(c))
        answer_head(c);
}

/* At most `n` bytes of payload; returns how many. */
static size_t on_payload(struct conn *c, const unsigned char *at, size_t n)
{
    static unsigned char scratch[SCRATCH];
    size_t take = n < c->frame.left ? n : (size_t)c->frame.left;

    take = take < SCRATCH ? take : SCRATCH;
    frame_unmask(&c->frame, at, scratch, take);
    if (is_echoed(c))
        answer_add(scratch, take);
    else if (c->role == TAKES && (c->frame.head[0] & OPCODE) < CLOSE && memcmp(scratch, c->expected + c->frame.at, take) != 0)
        c->is_ending = true;
    return take;
}

static void on_message(struct conn *c)
{
    unsigned char head[HEAD_MAX];
    unsigned opcode = c->frame.head[0] & OPCODE;

    c->is_ending = c->is_ending || opcode == CLOSE;
    if (c->role != TAKES || opcode >= CLOSE || ++c->taken % TAKEN_EVERY != 0)
        return;
    answer_add(head, frame_head_write(head, payload_first("ascii"), strlen(TAKEN)));
    answer_add(TAKEN, strlen(TAKEN));
}

void websocket_feed(struct conn *c, const unsigned char *at, size_t n)
{
    size_t used = 0, taken;

    while (used < n && !c->is_ending) {
        taken = 0;
        if (!frame_has_head(&c->frame)) {
            used += frame_head_feed(&c->frame, at + used, n - used);
            if (!frame_has_head(&c->frame))
                break;
            on_head(c);
        } else {
            taken = on_payload(c, at + used, n - used);
            used += taken;
        }
        if (taken == c->frame.left)
            on_message(c);
        if (taken > 0 || c->frame.left == 0)
            frame_pass(&c->frame, taken);
    }
}
