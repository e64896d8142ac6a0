/* SPDX-License-Identifier: ISC */
/*
 * One shard of the session table in shared memory: header (counters, names), counts per client and of WebSockets, sequence
 * counters, rows, TLS facts of rows, names of minted certificates, ended streams, each part on pages of its own. The memory is
 * sparse: rows are taken lowest first, so what was never used costs nothing, and the TLS facts of a row without TLS are not
 * touched.
 *
 * Rows are guarded by sequence counters: odd while the writer changes one, so a reader that sees the same even number before and
 * after its copy has a consistent one. The same is done to ended streams with the sequence in the record itself. Which rows are
 * free, and where a name is found, the writer keeps for itself and makes anew from the rows and names when it maps the shard: a
 * reader never needs it.
 *
 * Readers believe nothing but the geometry that they were told. A worker that was taken over can lie in its shard, but it cannot
 * make another process read outside of it or run past the end of a string.
 */
#include "base/table.h"

#include "base/inspected.h"
#include "base/log.h"
#include "base/slots.h"
#include "base/tally.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096u
#define NAME_INDEX (2 * TABLE_NAMES) /* a power of two */
#define READ_TRIES 64
#define PHASES_ROOM 16u

_Static_assert(PHASE_COUNT <= PHASES_ROOM, "a phase fits beside the session's number");

struct header {
    struct hash_key key;
    _Atomic uint64_t counters[COUNTERS];
    _Atomic uint64_t reasons[R_COUNT];
    _Atomic uint64_t at;                      /* session * PHASES_ROOM + phase; 0: in no session */
    char names[TABLE_NAMES][TABLE_NAME_SIZE]; /* written once each; number 0 stays "" */
};

typedef _Atomic uint32_t sequence;

struct shard {
    size_t bytes;
    uint32_t rows;
    struct header *header;
    struct tally clients, streams;
    sequence *sequences;
    struct row *row;
    struct tls_facts (*tls)[DIRECTIONS];
    struct record *ended;
    struct inspected_names inspected;
    /* The writer's own. */
    struct slots *slots;
    uint32_t names;             /* first number that is not taken */
    uint16_t index[NAME_INDEX]; /* hash of a name to its number; 0: empty */
};

const char *counter_name(enum counter c)
{
    static const char *const names[COUNTERS] = {
#define X(id, name, help) name,
        TABLE_COUNTERS(X)
#undef X
    };

    return (unsigned)c < COUNTERS ? names[c] : "?";
}

const char *counter_help(enum counter c)
{
    static const char *const helps[COUNTERS] = {
#define X(id, name, help) help,
        TABLE_COUNTERS(X)
#undef X
    };

    return (unsigned)c < COUNTERS ? helps[c] : "?";
}

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Where the parts begin, in bytes from the start. */
struct layout {
    size_t clients, streams, sequences, rows, tls, ended, inspected, end;
};

/* A WebSocket counts twice: for its policy, and for its client by that policy. */
static uint32_t stream_entries(uint32_t rows)
{
    return tally_entries(rows < SLOTS_MAX / 2 ? 2 * rows : SLOTS_MAX);
}

static struct layout layout_of(uint32_t rows)
{
    struct layout at;

    at.clients = pages(sizeof(struct header));
    at.streams = at.clients + pages(tally_bytes(tally_entries(rows)));
    at.sequences = at.streams + pages(tally_bytes(stream_entries(rows)));
    at.rows = at.sequences + pages(rows * sizeof(sequence));
    at.tls = at.rows + pages(rows * sizeof(struct row));
    at.ended = at.tls + pages((size_t)rows * DIRECTIONS * sizeof(struct tls_facts));
    at.inspected = at.ended + pages(TABLE_ENDED * sizeof(struct record));
    at.end = at.inspected + pages(inspected_bytes());
    return at;
}

size_t shard_bytes(uint32_t rows)
{
    return layout_of(rows).end;
}

/* `name` fills its TABLE_NAME_SIZE bytes, with NULs behind it. Names are the operator's, or one of few methods: nobody can look for
 * names that collide, and four multiplications are enough. */
static uint16_t *index_slot(struct shard *s, const char *name)
{
    uint64_t hash = s->header->key.k0, word;

    for (size_t at = 0; at < TABLE_NAME_SIZE; at += sizeof(word)) {
        memcpy(&word, name + at, sizeof(word));
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    hash %= NAME_INDEX;
    while (s->index[hash] != 0 && memcmp(s->header->names[s->index[hash]], name, TABLE_NAME_SIZE) != 0)
        hash = (hash + 1) % NAME_INDEX;
    return &s->index[hash];
}

/* What the writer keeps for itself, made from what an earlier writer left. */
static bool adopt(struct shard *s)
{
    uint64_t high = count_read(s, COUNT_ROWS_HIGH);

    s->slots = slots_new(s->rows);
    if (s->slots == NULL)
        return false;
    if (s->header->key.k0 == 0 && s->header->key.k1 == 0)
        hash_key_random(&s->header->key);
    for (uint32_t i = 0; i < s->rows && i < high; i++)
        if (s->row[i].state != ROW_FREE)
            slots_mark(s->slots, i);
    for (s->names = 1; s->names < TABLE_NAMES && s->header->names[s->names][0] != '\0'; s->names++)
        *index_slot(s, s->header->names[s->names]) = (uint16_t)s->names;
    inspected_adopt(&s->inspected);
    return true;
}

struct shard *shard_map(int fd, uint32_t rows, bool writer)
{
    struct layout at = layout_of(rows);
    struct stat st;
    struct shard *s;
    char *memory;

    if (rows == 0 || rows > SLOTS_MAX || fstat(fd, &st) != 0 || st.st_size < (off_t)at.end) {
        errno = EINVAL;
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    memory = mmap(NULL, at.end, writer ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        goto free_shard;
    s->bytes = at.end;
    s->rows = rows;
    s->header = (void *)memory;
    s->clients = (struct tally){ (void *)(memory + at.clients), tally_entries(rows), &s->header->key };
    s->streams = (struct tally){ (void *)(memory + at.streams), stream_entries(rows), &s->header->key };
    s->sequences = (void *)(memory + at.sequences);
    s->row = (void *)(memory + at.rows);
    s->tls = (void *)(memory + at.tls);
    s->ended = (void *)(memory + at.ended);
    s->inspected.shared = (void *)(memory + at.inspected);
    if (writer && !adopt(s))
        goto unmap;
    return s;
unmap:
    munmap(memory, at.end);
free_shard:
    free(s);
    errno = ENOMEM;
    return NULL;
}

void shard_unmap(struct shard *s)
{
    if (s == NULL)
        return;
    munmap(s->header, s->bytes);
    slots_free(s->slots);
    free(s);
}

uint32_t shard_rows(const struct shard *s)
{
    return s->rows;
}

/* Shared structs are copied a word at a time, so that no number in them is ever torn. */
typedef uint64_t __attribute__((may_alias)) word;

_Static_assert(sizeof(struct row) % sizeof(word) == 0 && sizeof(struct record) % sizeof(word) == 0, "copied in words");
_Static_assert(sizeof(struct tls_facts) % sizeof(word) == 0, "copied in words");
_Static_assert(offsetof(struct record, tls) % sizeof(word) == 0, "copied in words, with or without its end");
_Static_assert(offsetof(struct record, sequence) == 0, "the sequence is the first word of a record");

static void load_words(void *out, const void *shared, size_t bytes)
{
    const word *from = shared;
    word *to = out;

    for (size_t i = 0; i < bytes / sizeof(word); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void store_words(void *shared, const void *in, size_t bytes)
{
    const word *from = in;
    word *to = shared;

    for (size_t i = 0; i < bytes / sizeof(word); i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
}

static sequence *sequence_of(struct shard *s, const struct row *row)
{
    return &s->sequences[row - s->row];
}

void row_begin(struct shard *s, struct row *row)
{
    sequence *seq = sequence_of(s, row);

    atomic_store_explicit(seq, atomic_load_explicit(seq, memory_order_relaxed) | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void row_end(struct shard *s, struct row *row)
{
    sequence *seq = sequence_of(s, row);

    atomic_store_explicit(seq, atomic_load_explicit(seq, memory_order_relaxed) + 1, memory_order_release);
}

struct row *row_take(struct shard *s)
{
    static const struct row fresh = { .state = ROW_NEW };
    struct row *row;
    uint32_t at;

    if (!slots_take(s->slots, &at))
        return NULL;
    if (count_read(s, COUNT_ROWS_HIGH) <= at)
        count_set(s, COUNT_ROWS_HIGH, at + 1);
    row = &s->row[at];
    row_begin(s, row);
    store_words(row, &fresh, sizeof(fresh));
    row_end(s, row);
    return row;
}

void row_release(struct shard *s, struct row *row)
{
    row_begin(s, row);
    row->state = ROW_FREE;
    row_end(s, row);
    slots_give(s->slots, (uint32_t)(row - s->row));
}

struct tls_facts *row_tls(struct shard *s, struct row *row)
{
    struct tls_facts *facts = s->tls[row - s->row];

    if (!row->tls)
        memset(facts, 0, DIRECTIONS * sizeof(*facts));
    row->tls = true;
    return facts;
}

void row_record(struct shard *s, const struct row *row, struct record *out)
{
    out->row = *row;
    if (row->tls)
        memcpy(out->tls, s->tls[row - s->row], sizeof(out->tls));
}

static void read_once(const struct shard *s, uint32_t index, struct row *out, struct tls_facts *tls)
{
    load_words(out, &s->row[index], sizeof(*out));
    row_mend(out);
    if (tls == NULL || !out->tls)
        return;
    load_words(tls, s->tls[index], DIRECTIONS * sizeof(*tls));
    tls_facts_mend(&tls[UP]);
    tls_facts_mend(&tls[DOWN]);
}

bool row_read(const struct shard *s, uint32_t index, struct row *out, struct tls_facts *tls)
{
    sequence *seq;

    if (index >= s->rows)
        return false;
    seq = &s->sequences[index];
    for (int tries = 0; tries < READ_TRIES; tries++) {
        uint32_t before = atomic_load_explicit(seq, memory_order_acquire);

        if (before % 2 == 1)
            continue;
        read_once(s, index, out, tls);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(seq, memory_order_relaxed) != before)
            continue;
        return out->state != ROW_FREE;
    }
    return false;
}

static void report_lost(struct shard *s, const struct row *row, void (*lost)(const struct record *last, void *arg), void *arg)
{
    struct record last = { 0 };

    row_record(s, row, &last);
    record_mend(&last);
    lost(&last, arg);
}

uint32_t shard_clear(struct shard *s, void (*lost)(const struct record *last, void *arg), void *arg)
{
    uint64_t high = count_read(s, COUNT_ROWS_HIGH);
    uint32_t open = 0;

    for (uint32_t i = 0; i < s->rows && i < high; i++) {
        if (s->row[i].state != ROW_FREE) {
            if (lost != NULL)
                report_lost(s, &s->row[i], lost, arg);
            open++;
            slots_mark(s->slots, i);
            row_release(s, &s->row[i]);
        }
    }
    tally_clear(&s->clients);
    tally_clear(&s->streams);
    count_set(s, COUNT_SESSIONS_OPEN, 0);
    count_set(s, COUNT_SESSIONS_TOLD, 0);
    count_set(s, COUNT_WEBSOCKETS_OPEN, 0);
    count_set(s, COUNT_ROWS_HIGH, 0);
    return open;
}

void shard_at(struct shard *s, uint64_t session, enum phase phase)
{
    atomic_store_explicit(&s->header->at, session * PHASES_ROOM + phase, memory_order_relaxed);
}

uint64_t shard_at_read(const struct shard *s, enum phase *phase)
{
    uint64_t at = atomic_load_explicit(&s->header->at, memory_order_relaxed);

    *phase = (enum phase)(at % PHASES_ROOM);
    return at / PHASES_ROOM;
}

name_id table_intern(struct shard *s, const char *name)
{
    char cut[TABLE_NAME_SIZE] = "";
    uint16_t *slot;

    strncpy(cut, name, sizeof(cut) - 1);
    if (cut[0] == '\0')
        return 0;
    slot = index_slot(s, cut);
    if (*slot == 0 && s->names < TABLE_NAMES) {
        memcpy(s->header->names[s->names], cut, sizeof(cut));
        atomic_thread_fence(memory_order_release);
        *slot = (uint16_t)s->names++;
    }
    return *slot;
}

char *table_name(const struct shard *s, name_id id, char *out)
{
    memset(out, 0, TABLE_NAME_SIZE);
    if (id < TABLE_NAMES)
        memcpy(out, s->header->names[id], TABLE_NAME_SIZE - 1);
    return out;
}

/* One writer: a load and a store, no locked instruction. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

void count_add(struct shard *s, enum counter c, uint64_t n)
{
    add(&s->header->counters[c], n);
}

void count_sub(struct shard *s, enum counter c, uint64_t n)
{
    add(&s->header->counters[c], -n);
}

void count_set(struct shard *s, enum counter c, uint64_t n)
{
    atomic_store_explicit(&s->header->counters[c], n, memory_order_relaxed);
}

void count_reason(struct shard *s, enum reason r)
{
    add(&s->header->reasons[r], 1);
}

uint64_t count_read(const struct shard *s, enum counter c)
{
    return atomic_load_explicit(&s->header->counters[c], memory_order_relaxed);
}

uint64_t count_reason_read(const struct shard *s, enum reason r)
{
    return atomic_load_explicit(&s->header->reasons[r], memory_order_relaxed);
}

/* The first 64 bits of an IPv6 address, or an IPv4 address behind a prefix that no client has (it is multicast). */
static uint64_t client_key(const struct addr *client)
{
    uint8_t bytes[8] = { 0xff, 0xff, 0xff, 0xff };
    uint64_t key;

    if (client->family == AF_INET6)
        memcpy(bytes, client->ip, 8);
    else
        memcpy(bytes + 4, client->ip, 4);
    memcpy(&key, bytes, sizeof(key));
    return key;
}

bool clients_add(struct shard *s, const struct addr *client, int delta)
{
    return tally_add(&s->clients, client_key(client), delta);
}

uint32_t clients_read(const struct shard *s, const struct addr *client)
{
    return tally_read(&s->clients, client_key(client));
}

/* The same in every shard: names are the operator's, so nobody else can choose what collides. */
static uint64_t stream_key(const char *policy, const struct addr *client)
{
    static const struct hash_key fixed = { 1, 2 };
    struct {
        uint64_t client, of_client;
        char policy[TABLE_NAME_SIZE];
    } of = { client != NULL ? client_key(client) : 0, client != NULL, "" };

    strncpy(of.policy, policy, sizeof(of.policy) - 1);
    return hash_bytes(&fixed, &of, sizeof(of));
}

bool streams_add(struct shard *s, const char *policy, const struct addr *client, int delta)
{
    if (!tally_add(&s->streams, stream_key(policy, NULL), delta))
        return false;
    if (tally_add(&s->streams, stream_key(policy, client), delta))
        return true;
    if (delta > 0 && !tally_add(&s->streams, stream_key(policy, NULL), -delta))
        log_debug("a policy's count was already gone");
    return false;
}

uint32_t streams_read(const struct shard *s, const char *policy, const struct addr *client)
{
    return tally_read(&s->streams, stream_key(policy, client));
}

void ended_put(struct shard *s, const struct record *record)
{
    uint64_t number = count_read(s, COUNT_ENDED) + 1;
    struct record *slot = &s->ended[(number - 1) % TABLE_ENDED];
    const char *body = (const char *)record + sizeof(word);

    __atomic_store_n(&slot->sequence, 0, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    store_words((char *)slot + sizeof(word), body, record_bytes(record) - sizeof(word));
    __atomic_store_n(&slot->sequence, number, __ATOMIC_RELEASE);
    count_set(s, COUNT_ENDED, number);
}

bool ended_read(const struct shard *s, uint64_t sequence_number, struct record *out)
{
    const struct record *slot = &s->ended[(sequence_number - 1) % TABLE_ENDED];

    if (sequence_number == 0 || __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != sequence_number)
        return false;
    load_words(out, slot, sizeof(*out));
    atomic_thread_fence(memory_order_acquire);
    if (__atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) != sequence_number)
        return false;
    record_mend(out);
    return true;
}

void inspected_add(struct shard *s, struct span name, const struct addr *client, bool refused)
{
    inspected_put(&s->inspected, name, client, refused);
    count_add(s, COUNT_TLS_INSPECTED, 1);
    if (refused)
        count_add(s, COUNT_TLS_REFUSED, 1);
}

bool inspected_read(const struct shard *s, uint32_t index, struct inspected *out)
{
    return inspected_get(&s->inspected, index, out);
}
