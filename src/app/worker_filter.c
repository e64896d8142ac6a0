/* SPDX-License-Identifier: ISC */
/*
 * A worker and the filter process. Flows are told when they open and close, so that connection tracking's facts come back to their
 * rows. A filter process that was started again knows nothing of what is open: it is told row by row of the shard, as fast as it
 * reads. One that did not read for a while (it commits, many sessions come at once) missed some: it is told of those rows without
 * an entry again. What it says is only ever about sessions of this worker.
 */
#include "app/worker_filter.h"

#include "app/process.h"
#include "net/loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool tell(struct filter_link *link, enum ipc_type type, const void *data, size_t len)
{
    if (link->fd < 0)
        return false;
    if (ipc_send(link->fd, type, data, len))
        return true;
    log_remote("filter cannot be told: %s", strerror(errno));
    return false;
}

/* It could not be told of a session: of all whose flow it does not know, as soon as it reads. */
static void tell_rows_again(struct filter_link *link)
{
    if (link->fd < 0)
        return;
    link->again = true;
    loop_want(link->loop, &link->source, LOOP_READ | LOOP_WRITE);
}

static void on_flow_opened(void *arg, uint64_t number, const struct addr *client, const struct addr *destination)
{
    struct wire_flow flow = { number, *client, *destination, false };

    if (!tell(arg, IPC_FLOW_OPENED, &flow, sizeof(flow)))
        tell_rows_again(arg);
}

static void on_flow_closed(void *arg, uint64_t number, bool remove)
{
    struct wire_flow flow = { .number = number, .remove = remove };

    (void)tell(arg, IPC_FLOW_CLOSED, &flow, sizeof(flow));
}

static void on_hostile(void *arg, uint64_t number, const struct addr *client, enum reason why)
{
    struct wire_hostile hostile = { number, *client, why };

    (void)tell(arg, IPC_HOSTILE, &hostile, sizeof(hostile));
}

static bool on_socket_wanted(void *arg, uint64_t number, uint64_t request, const struct addr *client, const struct addr *server)
{
    struct wire_socket wanted = { number, request, *client, *server };

    return tell(arg, IPC_SOCKET, &wanted, sizeof(wanted));
}

struct engine_filter filter_link_calls(struct filter_link *link)
{
    return (struct engine_filter){ .flow_opened = on_flow_opened,
                                   .flow_closed = on_flow_closed,
                                   .hostile = on_hostile,
                                   .socket_wanted = on_socket_wanted,
                                   .arg = link };
}

static void on_message(struct filter_link *link, struct ipc_message *m)
{
    struct wire_conntrack flow;
    struct wire_socket_made made;
    struct network network;

    if (m->type == IPC_FLOW && ipc_read(m, &flow, sizeof(flow)))
        engine_flow(link->engine, flow.number, &flow.flow);
    else if (m->type == IPC_SOCKET_MADE && ipc_read(m, &made, sizeof(made)))
        engine_socket(link->engine, made.request, ipc_take_fd(m, 0), made.error);
    else if (m->type == IPC_BLOCKED && ipc_read(m, &network, sizeof(network)))
        (void)engine_block(link->engine, &network);
}

static void read_messages(struct filter_link *link)
{
    enum ipc_result result;

    while ((result = ipc_receive(link->fd, link->message)) == IPC_MESSAGE) {
        on_message(link, link->message);
        ipc_release(link->message);
    }
    if (result == IPC_END)
        filter_link_close(link);
}

/* true: told, or there is nothing to tell of this row. */
static bool tell_row(struct filter_link *link, uint32_t index)
{
    struct wire_flow flow = { 0 };
    struct row row;

    if (!row_read(link->shard, index, &row, NULL) || row.state == ROW_CLOSED || (link->unknown_only && row.conntrack != 0))
        return true;
    flow.number = row.number;
    flow.client = row.client;
    flow.destination = row.destination;
    return ipc_send(link->fd, IPC_FLOW_OPENED, &flow, sizeof(flow)) || errno != EAGAIN;
}

/* true: all that there was to tell is told. */
static bool tell_rows(struct filter_link *link)
{
    uint64_t high = count_read(link->shard, COUNT_ROWS_HIGH);

    while (link->next_row < high && tell_row(link, link->next_row))
        link->next_row++;
    return link->next_row >= high;
}

static void write_rows(struct filter_link *link)
{
    bool done = tell_rows(link);

    if (done && link->again) {
        link->again = false;
        link->unknown_only = true;
        link->next_row = 0;
        done = tell_rows(link);
    }
    if (done)
        loop_want(link->loop, &link->source, LOOP_READ);
}

static void on_ready(void *arg, unsigned what)
{
    struct filter_link *link = arg;

    if (what & LOOP_READ)
        read_messages(link);
    if ((what & LOOP_WRITE) && link->fd >= 0)
        write_rows(link);
}

void filter_link_init(struct filter_link *link, struct loop *loop, const struct shard *shard, struct ipc_message *message)
{
    *link = (struct filter_link){ .loop = loop, .shard = shard, .message = message, .fd = -1 };
    link->source = (struct loop_source){ .fn = on_ready, .arg = link, .fd = -1 };
}

void filter_link_take(struct filter_link *link, int fd)
{
    filter_link_close(link);
    if (fd < 0)
        return;
    link->fd = fd;
    link->next_row = 0;
    link->again = link->unknown_only = false;
    if (!loop_add(link->loop, &link->source, fd, LOOP_READ | LOOP_WRITE))
        filter_link_close(link);
}

void filter_link_close(struct filter_link *link)
{
    loop_remove(link->loop, &link->source);
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    if (link->engine != NULL)
        engine_sockets_lost(link->engine);
}
