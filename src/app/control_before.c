/* SPDX-License-Identifier: ISC */
/*
 * What is asked of the posternd before this one, while it drains. Its rows are seen here, its workers are not: the order goes to
 * the monitor, and over the channel of the two monitors (app/monitor_orders.c). Nobody answers it, so what is counted is who was
 * named. Flows that the kernel forwards are not among them: the new filter process has taken those over.
 */
#include "app/control_client.h"

#include "app/command.h"

#include <errno.h>
#include <string.h>

/* Numbers of sessions behind the number of their worker: an order, whose text fits into one word of an upgrade. */
struct order {
    uint64_t words[1 + KILL_BEFORE_MAX];
    size_t count;
};

static size_t give(const struct control *c, struct order *o)
{
    size_t count = o->count;

    o->count = 0;
    if (count == 0)
        return 0;
    if (c->monitor >= 0 && ipc_send(c->monitor, IPC_KILL, o->words, (1 + count) * sizeof(o->words[0])))
        return count;
    log_error("the monitor cannot be told which sessions the posternd before this one shall end: %s", strerror(errno));
    return 0;
}

static bool is_meant(const struct command *command, unsigned worker, const struct row *row, const struct tls_facts *tls,
                     const struct shard *shard)
{
    if (command->by_id)
        return command->id.worker == worker && command->id.number == row->number;
    return filters_fit(&command->filters, row, tls, shard);
}

size_t before_kill(const struct control *c, const struct command *command)
{
    const struct view *v = &c->view;
    struct tls_facts tls[DIRECTIONS];
    struct order order = { .count = 0 };
    struct row row;
    size_t told = 0;

    for (unsigned worker = 0; worker < v->old.writers; worker++) {
        order.words[0] = worker;
        for (uint32_t i = 0; i < view_rows_high(v, v->writers + worker); i++) {
            if (!view_row_read(v, v->writers + worker, i, &row, tls) ||
                !is_meant(command, worker, &row, tls, v->old.shards[worker]))
                continue;
            order.words[1 + order.count++] = row.number;
            if (order.count == KILL_BEFORE_MAX)
                told += give(c, &order);
        }
        told += give(c, &order);
    }
    return told;
}
