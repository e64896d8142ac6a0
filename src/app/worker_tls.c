/* SPDX-License-Identifier: ISC */
/*
 * TLS as the monitor gives it to a worker: keys for session tickets, a key log, and with each generation the files that contexts
 * are made of. Ticket keys come between generations, too, and are the same in all workers.
 *
 * Contexts remember the descriptor of the key log by its number and live as long as connections do, so the number never changes:
 * another log, or none, takes its place.
 */
#include "app/worker_tls.h"

#include "base/log.h"
#include "session/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void worker_tls_start(struct worker_tls *t)
{
    *t = (struct worker_tls){ .keylog = -1, .tickets = tls_tickets_new() };
    if (t->tickets == NULL)
        fatal("no memory for session tickets");
}

void worker_tls_end(struct worker_tls *t)
{
    tls_tickets_free(t->tickets);
    if (t->keylog >= 0)
        close(t->keylog);
}

void worker_tls_tickets(struct worker_tls *t, struct ipc_message *m)
{
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    size_t count = m->len / sizeof(keys[0]);

    if (count <= TLS_TICKET_KEYS && ipc_read(m, keys, count * sizeof(keys[0])))
        tls_tickets_set(t->tickets, keys, count);
    explicit_bzero(keys, sizeof(keys));
    explicit_bzero(m->data, m->len);
}

/* Standard input is /dev/null. */
void worker_tls_keylog(struct worker_tls *t, struct ipc_message *m)
{
    int fd = ipc_take_fd(m, 0);

    t->logs_keys = fd >= 0;
    if (t->keylog < 0) {
        t->keylog = fd;
        return;
    }
    if (dup3(fd >= 0 ? fd : STDIN_FILENO, t->keylog, O_CLOEXEC) < 0)
        log_error("the key log cannot be replaced: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* The first thing that is wrong; the monitor has looked before, so there is nothing. */
static void note(void *arg, unsigned line, const char *key, const char *text)
{
    char *error = arg;

    if (error[0] == '\0')
        snprintf(error, WORKER_TLS_ERROR, "line %u: %s: %s", line, key, text);
}

/* Said by the monitor. */
static void ignore(void *arg, unsigned line, const char *key, const char *text)
{
    (void)arg;
    (void)line;
    (void)key;
    (void)text;
}

bool worker_tls_make(struct worker_tls *t, struct generation *g, const struct generation *before, char *error)
{
    struct secure_inputs in = { .conf = g->conf,
                                .files = g->tls_files,
                                .tickets = t->tickets,
                                .keylog = t->logs_keys ? t->keylog : -1,
                                .before = before != NULL ? before->secure : NULL,
                                .complain = note,
                                .warn = ignore,
                                .arg = error };

    error[0] = '\0';
    g->secure = secure_new(&in);
    g->secure_free = secure_free;
    generation_forget_tls_files(g);
    return g->secure != NULL;
}
