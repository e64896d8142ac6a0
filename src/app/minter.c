/* SPDX-License-Identifier: ISC */
/*
 * The minter process: it alone holds the key of the CA that inspected clients trust. It gets two descriptors from the monitor,
 * reads them once, and from then on signs leaves for workers, each no faster than tls.mint_rate. It has no network, no capability,
 * no other descriptor, cannot be traced and leaves no core; the key lies in memory that is locked where that is possible.
 *
 * A new key is checked before anything else of a reload happens, and waits: it is used from the monitor's IPC_COMMIT on, which the
 * monitor sends before the workers get theirs. What the monitor said is read before each question is answered, so a worker of the
 * new generation gets no leaf of the old key.
 *
 * A worker may have been taken over. It can have leaves signed, at its rate, for names that are logged; it cannot have the key.
 */
#include "app/process.h"

#include "app/privileges.h"

#include "base/clock.h"
#include "base/hash.h"
#include "net/tls.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_BYTES (256u << 10) /* of a file */
#define TURN_QUESTIONS 16      /* of one worker, before the next one has its turn */
#define SAVED_S 2              /* of a worker's rate */
#define SAID_SLOTS 4096        /* names that were logged */
#define SAID_AGAIN_MS 3600000

struct customer {
    int fd;                  /* -1: none */
    uint64_t next_us;        /* when its saved-up leaves would all be there again */
    bool is_slow;            /* its socket is full: `unsent` waits for room, and its next question for that */
    struct wire_leaf unsent; /* the last answer */
};

struct minter {
    int ipc;
    struct ca *ca, *next; /* in use; and checked, but not committed */
    uint16_t number;      /* the generation of `next` */
    uint32_t rate, next_rate;
    struct customer customers[WORKERS_MAX];
    struct hash_key key;
    struct {
        uint64_t name, until_ms;
    } said[SAID_SLOTS];
    struct ipc_message order, question;
    bool over;
};

/* A whole file in memory of its own: locked where possible, and in no core. */
struct secret {
    char *memory; /* NULL: it cannot be read */
    size_t size, len;
};

static void read_secret(struct secret *s, int fd)
{
    struct stat st;
    ssize_t n = 1;

    *s = (struct secret){ NULL, 0, 0 };
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > PEM_BYTES)
        return;
    s->size = (size_t)st.st_size;
    s->memory = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->memory == MAP_FAILED) {
        s->memory = NULL;
        return;
    }
    if (mlock(s->memory, s->size) < 0 || madvise(s->memory, s->size, MADV_DONTDUMP) < 0)
        log_warn("the memory that the key is read into is not locked: %s", strerror(errno));
    while (n > 0 && s->len < s->size) {
        n = pread(fd, s->memory + s->len, s->size - s->len, (off_t)s->len);
        s->len += n > 0 ? (size_t)n : 0;
    }
}

static void forget_secret(struct secret *s)
{
    if (s->memory == NULL)
        return;
    explicit_bzero(s->memory, s->size);
    munmap(s->memory, s->size);
}

static int64_t wall_seconds(void)
{
    return (int64_t)(clock_wall_us() / 1000000);
}

static struct ca *read_ca(int certificate_fd, int key_fd, char *error)
{
    struct secret certificate, key;
    struct ca *ca = NULL;

    read_secret(&certificate, certificate_fd);
    read_secret(&key, key_fd);
    if (certificate.len == 0 || key.len == 0)
        snprintf(error, TLS_ERROR, "the %s cannot be read: it is empty, or larger than %u bytes",
                 certificate.len == 0 ? "certificate" : "key", PEM_BYTES);
    else
        ca = ca_open(span_of(certificate.memory, certificate.len), span_of(key.memory, key.len), wall_seconds(), error);
    forget_secret(&certificate);
    forget_secret(&key);
    return ca;
}

static void tell_monitor(struct minter *t, enum ipc_type type, const void *data, size_t len)
{
    if (!ipc_send(t->ipc, type, data, len))
        log_error("the monitor cannot be told: %s", strerror(errno));
}

static void take_key(struct minter *t, struct ipc_message *m)
{
    int certificate = ipc_take_fd(m, 0), key = ipc_take_fd(m, 1);
    char error[TLS_ERROR] = "it was not sent";
    struct wire_minter_key wire;

    ca_free(t->next);
    t->next = ipc_read(m, &wire, sizeof(wire)) ? read_ca(certificate, key, error) : NULL;
    if (certificate >= 0)
        close(certificate);
    if (key >= 0)
        close(key);
    if (t->next == NULL) {
        tell_monitor(t, IPC_REFUSED, error, strlen(error));
        return;
    }
    t->number = (uint16_t)wire.number;
    t->next_rate = wire.rate;
    tell_monitor(t, IPC_ACCEPTED, &t->number, sizeof(t->number));
}

static void commit(struct minter *t, const struct ipc_message *m)
{
    uint16_t number;

    if (t->next == NULL || !ipc_read(m, &number, sizeof(number)) || number != t->number)
        return;
    if (t->ca == NULL)
        log_debug("minter ready");
    ca_free(t->ca);
    t->ca = t->next;
    t->rate = t->next_rate;
    t->next = NULL;
}

static void drop_customer(struct customer *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->is_slow = false;
}

/* The rate is that of a place among the workers: a replacement does not begin anew. */
static void take_customer(struct minter *t, struct ipc_message *m)
{
    struct wire_peer peer;

    if (!ipc_read(m, &peer, sizeof(peer)) || peer.kind != PROCESS_WORKER || peer.worker >= WORKERS_MAX)
        return;
    drop_customer(&t->customers[peer.worker]);
    t->customers[peer.worker].fd = ipc_take_fd(m, 0);
}

static void on_order(struct minter *t, struct ipc_message *m)
{
    if (m->type == IPC_MINTER_KEY)
        take_key(t, m);
    else if (m->type == IPC_COMMIT)
        commit(t, m);
    else if (m->type == IPC_PEER)
        take_customer(t, m);
    else if (m->type == IPC_PING)
        process_answer_ping(t->ipc);
    else if (m->type == IPC_LOG_LEVEL)
        process_set_log_level(m);
    else if (m->type == IPC_STOP)
        t->over = true;
}

static void read_monitor(struct minter *t)
{
    enum ipc_result result;

    while ((result = ipc_receive(t->ipc, &t->order)) == IPC_MESSAGE) {
        on_order(t, &t->order);
        ipc_release(&t->order);
    }
    if (result == IPC_END)
        t->over = true;
}

/* Once a name and hour, so that the log says what was signed and a busy name does not fill it. */
static void say_name(struct minter *t, const struct leaf_request *r, unsigned worker)
{
    uint64_t hash = hash_bytes(&t->key, r->name.name, r->name.len) ^ r->failing;
    size_t slot = hash % SAID_SLOTS;

    if (t->said[slot].name == hash && clock_ms() < t->said[slot].until_ms)
        return;
    t->said[slot].name = hash;
    t->said[slot].until_ms = clock_ms() + SAID_AGAIN_MS;
    log_info("signed a certificate for %s, asked by worker %u%s", r->name.name, worker,
             r->failing ? " (the server's own is not good)" : "");
}

static bool may_sign(const struct minter *t, struct customer *c)
{
    uint64_t now = clock_us(), every = 1000000 / (t->rate > 0 ? t->rate : 1);
    uint64_t next = c->next_us > now ? c->next_us : now;

    if (next - now > SAVED_S * 1000000 - every)
        return false;
    c->next_us = next + every;
    return true;
}

/* What a worker says is read as if a stranger had said it. */
static bool read_request(const struct engine_leaf_request *wire, struct leaf_request *out)
{
    size_t len = strnlen(wire->name, sizeof(wire->name));
    struct span name = span_of(wire->name, len);
    struct addr ip;

    if (len == sizeof(wire->name) || wire->key_len > sizeof(wire->public_key))
        return false;
    *out = (struct leaf_request){
        .public_key = span_of(wire->public_key, wire->key_len), .from = wire->from, .until = wire->until, .failing = wire->failing
    };
    if (!addr_parse(&ip, name, 0))
        return host_parse(&out->name, name);
    host_from_addr(&out->name, &ip);
    return true;
}

static uint32_t sign(struct minter *t, unsigned worker, const struct engine_leaf_request *wire, char *der)
{
    struct leaf_request request;
    uint32_t len;

    if (t->ca == NULL || !read_request(wire, &request)) {
        log_remote("worker %u asks for a certificate that is none", worker);
        return 0;
    }
    if (!may_sign(t, &t->customers[worker])) {
        log_remote("worker %u asks for more than %u certificates a second (tls.mint_rate): %s gets none", worker, t->rate,
                   request.name.name);
        return 0;
    }
    len = (uint32_t)leaf_sign(t->ca, &request, wall_seconds(), der);
    if (len > 0)
        say_name(t, &request, worker);
    else
        log_remote("no certificate can be signed for %s, asked by worker %u", request.name.name, worker);
    return len;
}

/* A worker that is busy gets its answer later: one that is lost would make it wait for ever. */
static void answer(struct customer *c, unsigned worker)
{
    c->is_slow = false;
    if (ipc_send(c->fd, IPC_LEAF, &c->unsent, sizeof(c->unsent)))
        return;
    if (errno == EAGAIN)
        c->is_slow = true;
    else
        log_remote("worker %u cannot be answered: %s", worker, strerror(errno));
}

static void on_question(struct minter *t, unsigned worker, const struct ipc_message *m)
{
    struct customer *c = &t->customers[worker];
    struct engine_leaf_request wire;

    if (m->type != IPC_LEAF_WANTED || !ipc_read(m, &wire, sizeof(wire)))
        return;
    memset(&c->unsent, 0, sizeof(c->unsent));
    c->unsent.request = wire.request;
    c->unsent.len = sign(t, worker, &wire, c->unsent.der);
    answer(c, worker);
}

static void serve(struct minter *t, unsigned worker)
{
    struct customer *c = &t->customers[worker];
    int fd = c->fd;

    if (c->is_slow)
        answer(c, worker);
    for (unsigned i = 0; i < TURN_QUESTIONS && !t->over && !c->is_slow; i++) {
        enum ipc_result result = ipc_receive(fd, &t->question);

        if (result == IPC_END)
            drop_customer(c);
        if (result != IPC_MESSAGE)
            return;
        read_monitor(t); /* it may have said something before this was asked */
        if (c->fd == fd)
            on_question(t, worker, &t->question);
        ipc_release(&t->question);
        if (c->fd != fd)
            return;
    }
}

static void turn(struct minter *t)
{
    struct pollfd fds[WORKERS_MAX + 1] = { { .fd = t->ipc, .events = POLLIN } };

    for (unsigned i = 0; i < WORKERS_MAX; i++)
        fds[i + 1] = (struct pollfd){ .fd = t->customers[i].fd, .events = t->customers[i].is_slow ? POLLOUT : POLLIN };
    if (poll(fds, WORKERS_MAX + 1, -1) < 0 && errno != EINTR)
        fatal("poll: %s", strerror(errno));
    clock_tick();
    if (fds[0].revents != 0)
        read_monitor(t);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (fds[i + 1].revents != 0 && t->customers[i].fd == fds[i + 1].fd)
            serve(t, i);
}

int minter_main(const struct process_args *args)
{
    static struct minter t;

    t.ipc = args->ipc;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        t.customers[i].fd = -1;
    if (!tls_start())
        fatal("no memory for keys");
    hash_key_random(&t.key);
    clock_tick();
    privileges_close_door(args->sandbox, PROCESS_MINTER);
    while (!t.over)
        turn(&t);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        drop_customer(&t.customers[i]);
    ca_free(t.ca);
    ca_free(t.next);
    return 0;
}
