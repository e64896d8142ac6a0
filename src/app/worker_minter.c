/* SPDX-License-Identifier: ISC */
/*
 * A worker and the minter. A minter that was started again knows nothing of what its predecessor was asked: those questions are
 * refused when the old socket ends, and whoever needs a leaf then asks anew. What it says is only believed as far as it is an
 * answer to an open question.
 */
#include "app/worker_minter.h"

#include "app/process.h"
#include "net/loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool on_leaf_wanted(void *arg, const struct engine_leaf_request *request)
{
    const struct minter_link *link = arg;

    if (link->fd < 0)
        return false;
    if (ipc_send(link->fd, IPC_LEAF_WANTED, request, sizeof(*request)))
        return true;
    log_remote("the minter cannot be asked: %s", strerror(errno));
    return false;
}

struct engine_minter minter_link_calls(struct minter_link *link)
{
    return (struct engine_minter){ .leaf_wanted = on_leaf_wanted, .arg = link };
}

static void on_message(struct minter_link *link, const struct ipc_message *m)
{
    struct wire_leaf leaf;

    if (m->type == IPC_LEAF && ipc_read(m, &leaf, sizeof(leaf)) && leaf.len <= sizeof(leaf.der))
        engine_leaf(link->engine, leaf.request, span_of(leaf.der, leaf.len));
}

static void on_readable(void *arg, unsigned what)
{
    struct minter_link *link = arg;
    enum ipc_result result;

    (void)what;
    while ((result = ipc_receive(link->fd, link->message)) == IPC_MESSAGE) {
        on_message(link, link->message);
        ipc_release(link->message);
    }
    if (result == IPC_END)
        minter_link_close(link);
}

void minter_link_init(struct minter_link *link, struct loop *loop, struct ipc_message *message)
{
    *link = (struct minter_link){ .loop = loop, .message = message, .fd = -1 };
    link->source = (struct loop_source){ .fn = on_readable, .arg = link, .fd = -1 };
}

void minter_link_take(struct minter_link *link, int fd)
{
    minter_link_close(link);
    if (fd < 0)
        return;
    link->fd = fd;
    if (!loop_add(link->loop, &link->source, fd, LOOP_READ))
        minter_link_close(link);
}

void minter_link_close(struct minter_link *link)
{
    loop_remove(link->loop, &link->source);
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    if (link->engine != NULL)
        engine_leaves_lost(link->engine);
}
