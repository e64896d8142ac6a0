/* SPDX-License-Identifier: ISC */
/*
 * What TLS needs in time: keys for session tickets, and a look at the certificates each day.
 *
 * Keys for session tickets. The monitor makes them, so that all workers have the same and a client may resume its session with any
 * of them, also after a reload and after a crash. They are replaced every tls.ticket_seconds; the last ones are kept for as long
 * again, to decrypt only. They lie in a page of their own that is locked, and not there in any child. At an upgrade they go to the
 * new posternd over the channel between the two, with the time that they have left; who was replaced makes no others, because the
 * new one would not know them.
 *
 * Certificates are looked at when they are loaded; who never reloads must hear of one that is about to expire, too. The look is the
 * one of a reload: a child's, at what is in force.
 */
#include "app/monitor.h"

#include "app/generation_tls.h"
#include "app/ticket_keys.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define DAY_MS (24u * 3600 * 1000)

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The current key and, in its second life, the one before it. */
static bool make_key(struct tickets *t)
{
    if (t->count > 0)
        t->keys[1] = t->keys[0];
    if (getrandom(&t->keys[0], sizeof(t->keys[0]), 0) != (ssize_t)sizeof(t->keys[0]))
        return false;
    t->count = t->count == 0 ? 1 : 2;
    return true;
}

void tickets_open(struct monitor *m)
{
    struct tickets *t = &m->tickets;
    void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        fatal("no memory for the keys of session tickets: %s", strerror(errno));
    (void)mlock(page, page_size());
    (void)madvise(page, page_size(), MADV_DONTFORK);
    (void)madvise(page, page_size(), MADV_DONTDUMP);
    t->keys = page;
    if (!make_key(t))
        fatal("no random bytes: %s", strerror(errno));
    t->renew_ms = clock_ms() + m->current->conf->tls.ticket_life;
}

void tickets_close(struct monitor *m)
{
    struct tickets *t = &m->tickets;

    if (t->keys == NULL)
        return;
    explicit_bzero(t->keys, page_size());
    munmap(t->keys, page_size());
    t->keys = NULL;
}

static bool send_keys(const struct monitor *m, const struct child *c)
{
    return ipc_send(c->ipc, IPC_TICKETS, m->tickets.keys, m->tickets.count * sizeof(m->tickets.keys[0]));
}

static void tell_workers(struct monitor *m)
{
    for (unsigned i = 0; i < m->shared.workers; i++)
        if (monitor_worker(m, i)->ipc >= 0 && !send_keys(m, monitor_worker(m, i)))
            log_warn("worker %u cannot be told the keys of session tickets: %s", i, strerror(errno));
}

void tickets_step(struct monitor *m)
{
    struct tickets *t = &m->tickets;
    uint64_t life = m->current->conf->tls.ticket_life;

    if (t->renew_ms > clock_ms() + life)
        t->renew_ms = clock_ms() + life; /* a reload made it shorter */
    if (clock_ms() < t->renew_ms)
        return;
    t->renew_ms = clock_ms() + life;
    if (m->upgrade.role == UPGRADE_LEFT)
        return;
    if (!make_key(t)) {
        log_error("the keys of session tickets stay: %s", strerror(errno));
        return;
    }
    tell_workers(m);
}

void tickets_pass_on(const struct monitor *m, int channel)
{
    const struct tickets *t = &m->tickets;
    char text[TICKET_KEYS_TEXT];

    ticket_keys_write(t->keys, t->count, t->renew_ms > clock_ms() ? t->renew_ms - clock_ms() : 0, text);
    if (!upgrade_say(channel, UPGRADE_TICKETS, text))
        log_warn("the keys of session tickets cannot be passed on: %s", strerror(errno));
    explicit_bzero(text, sizeof(text));
}

void tickets_take(struct monitor *m, const char *text)
{
    struct tickets *t = &m->tickets;
    uint64_t left;
    size_t count = ticket_keys_read(text, t->keys, &left);

    if (count == 0) {
        log_warn("the keys of session tickets that were passed on are not understood: clients make new sessions");
        return;
    }
    t->count = count;
    t->renew_ms = clock_ms() + left; /* tickets_step() brings it down to tls.ticket_seconds */
    tell_workers(m);
}

/* What a look says is only told: what is in force stays in force. */
static void look_at_certificates(const struct blueprint *b)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL || !generation_tls_check(b, out, out))
        log_warn("the certificates that are in force could not all be looked at");
    if (out != NULL && fclose(out) == 0)
        monitor_log_lines("", text, false);
    free(text);
}

void certificates_step(struct monitor *m)
{
    if (m->look_ms != 0 && clock_ms() < m->look_ms)
        return;
    if (m->look_ms != 0 && m->life == LIFE_SERVING && !m->reload.running)
        look_at_certificates(m->current);
    m->look_ms = clock_ms() + DAY_MS;
}

bool monitor_send_generation(const struct monitor *m, const struct blueprint *b, const struct child *c)
{
    if (!blueprint_send(b, c->ipc))
        return false;
    if (c->kind == PROCESS_CONTROL)
        return blueprint_send_tls_ends(b, c->ipc);
    return c->kind != PROCESS_WORKER || (blueprint_send_tls(b, c->ipc) && send_keys(m, c));
}
