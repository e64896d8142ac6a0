/* SPDX-License-Identifier: ISC */
/*
 * The minter, as the monitor sees it: what it is given, and how it is asked whether a new key is good. It is the first to be asked
 * in a reload, since it changes nothing until it is told to; then filter, which commits at once. When the new generation comes into
 * force the minter is told before the workers are. The monitor opened the key's file and never reads it.
 */
#include "app/monitor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

bool minter_is_wanted(const struct conf *conf)
{
    return conf->tls.inspect_certificate >= 0 && conf->tls.inspect_key >= 0;
}

static bool send_key(const struct blueprint *b, int ipc)
{
    const struct conf_tls *tls = &b->conf->tls;
    struct wire_minter_key wire = { .number = b->number, .rate = tls->mint_rate };
    int fds[2] = { b->tls_fds[tls->inspect_certificate], b->tls_fds[tls->inspect_key] };

    return ipc_send_fds(ipc, IPC_MINTER_KEY, &wire, sizeof(wire), fds, 2);
}

static bool is_asked_about_next(const struct monitor *m)
{
    return m->reload.next != NULL && !m->reload.minter_agreed && minter_is_wanted(m->reload.next->conf);
}

bool minter_introduce(struct monitor *m, struct child *c)
{
    const struct blueprint *b = m->current;

    if (is_asked_about_next(m))
        return send_key(m->reload.next, c->ipc);
    return send_key(b, c->ipc) && ipc_send(c->ipc, IPC_COMMIT, &b->number, sizeof(b->number));
}

bool minter_ask(struct monitor *m)
{
    struct child *c = monitor_minter(m);

    if (c->pid == 0)
        child_start(m, c);
    else if (c->ipc < 0 || !send_key(m->reload.next, c->ipc))
        kill(c->pid, SIGKILL);
    c->awaited = c->pid != 0;
    return c->awaited;
}

void minter_settle(struct monitor *m)
{
    struct child *c = monitor_minter(m);

    c->wanted = minter_is_wanted(m->current->conf);
    c->awaited = false;
    if (!c->wanted)
        child_tell(c, IPC_STOP, NULL, 0);
    else if (c->ipc >= 0 && !minter_introduce(m, c)) {
        log_error("the minter cannot be told its key: %s", strerror(errno));
        kill(c->pid, SIGKILL);
    }
}

void minter_refused(const struct monitor *m, const char *why, char *out, size_t size)
{
    const struct conf *conf = is_asked_about_next(m) ? m->reload.next->conf : m->current->conf;
    const struct conf_tls_file *file;

    snprintf(out, size, "%s", why);
    if (!minter_is_wanted(conf))
        return;
    file = &conf->tls_files[conf->tls.inspect_key];
    snprintf(out, size, "%s:%u: tls.inspect_key: %s: %s", conf->file, file->line, file->path, why);
}
