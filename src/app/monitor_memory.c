/* SPDX-License-Identifier: ISC */
/*
 * The memory of all processes together, held against limits.memory and against the limit of the control group: several times a
 * second, because what is refused too late is killed by the kernel. The tighter of the two says how short memory is; workers are
 * told when that changes, and once a second while it is short, so that a new one knows it soon and all go on giving back.
 *
 * Of the kernel's own memory (sockets, pipes) only the control group knows; limits.memory is about what the processes take.
 */
#include "app/monitor.h"

#include "base/clock.h"

#include <unistd.h>

#define LOOK_MS 250       /* between two looks, */
#define LOOK_CLOSER_MS 50 /* from half of the limit on */
#define TELL_MS 1000
#define CALM_MS 1000 /* a level ends when it was no more for so long: buffers that grow come and go */

struct use {
    uint64_t used, limit;
};

static uint64_t sum_files(const struct monitor *m)
{
    const struct shared *s = &m->shared;
    uint64_t sum = 0;

    for (unsigned i = 0; i < s->writers; i++)
        sum += memory_of_file(s->shard_rw[i]) + memory_of_file(s->ring_rw[i]);
    for (size_t i = 0; i < m->current->conf->policy_count; i++)
        sum += memory_of_file(m->current->sets[i].fd);
    return sum;
}

static struct use use_of_ours(const struct monitor *m)
{
    uint64_t wanted = m->current->conf->limits.memory;
    struct use use = { sum_files(m) + memory_of_process(getpid()), wanted != 0 ? wanted : memory_of_machine() / 4 * 3 };

    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].pid > 0)
            use.used += memory_of_process(m->children[i].pid);
    return use;
}

static bool is_tighter(const struct use *a, const struct use *b)
{
    return (double)a->used / (double)a->limit > (double)b->used / (double)b->limit;
}

static struct use find_use(const struct monitor *m)
{
    struct use ours = use_of_ours(m), group;

    if (memory_group_read(&m->memory.group, &group.used, &group.limit) && group.limit > 0 && is_tighter(&group, &ours))
        return group;
    return ours;
}

static void log_change(const struct memory_watch *w)
{
    static const char *const means[PRESSURE_LEVELS] = {
        "nothing is refused for it",
        "what is only kept for later is given back, and clients are held to their shares",
        "new requests and connections are refused, what runs goes on",
    };

    (w->pressure.level == PRESSURE_NONE ? log_info : log_warn)("memory is %s: %llu of %llu MiB are taken; %s",
                                                               pressure_name(w->pressure.level), (unsigned long long)w->used >> 20,
                                                               (unsigned long long)w->limit >> 20, means[w->pressure.level]);
}

/* One that does not read now is told the next time, and all others once more. */
static void tell_workers(struct monitor *m)
{
    m->memory.untold = false;
    for (unsigned i = 0; i < m->shared.workers; i++)
        if (monitor_worker(m, i)->ipc >= 0 &&
            !ipc_send(monitor_worker(m, i)->ipc, IPC_PRESSURE, &m->memory.pressure, sizeof(m->memory.pressure)))
            m->memory.untold = true;
}

static void tell(struct monitor *m, const struct pressure *before)
{
    struct memory_watch *w = &m->memory;
    bool changed = w->pressure.level != before->level, due = clock_ms() >= w->tell_ms;

    if (changed)
        log_change(w);
    if (changed || w->pressure.left != before->left || (due && w->pressure.level != PRESSURE_NONE) || w->untold)
        tell_workers(m);
    if (changed || (due && w->told != w->used >> 20))
        monitor_tell_status(m);
    if (!changed && !due)
        return;
    w->tell_ms = clock_ms() + TELL_MS;
    w->told = w->used >> 20;
}

/* A /proc that is mounted with hidepid hides who is not dumpable, even from the one who started it. */
static void check_sight(const struct monitor *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (m->children[i].pid > 0 && !memory_is_seen(m->children[i].pid)) {
            log_warn("/proc does not show what processes of posternd take (hidepid): limits.memory does not count it");
            return;
        }
}

void memory_open(struct monitor *m)
{
    check_sight(m);
    memory_group_find(&m->memory.group, "/proc/self/cgroup", "/sys/fs/cgroup");
    memory_step(m);
}

void memory_step(struct monitor *m)
{
    struct memory_watch *w = &m->memory;
    struct pressure before = w->pressure;
    struct use use;

    if (clock_ms() < w->look_ms)
        return;
    use = find_use(m);
    w->used = use.used;
    w->limit = use.limit;
    w->pressure = pressure_of(before.level, use.used, use.limit);
    if (w->pressure.level >= before.level)
        w->calm_ms = clock_ms() + CALM_MS;
    else if (clock_ms() < w->calm_ms)
        w->pressure.level = before.level;
    w->look_ms = clock_ms() + (use.used > use.limit / 2 ? LOOK_CLOSER_MS : LOOK_MS);
    tell(m, &before);
}
