/* SPDX-License-Identifier: ISC */
/*
 * What is said between two posternds when the one has taken over from the other: orders to the one that drains, which come from
 * whoever speaks with the one that serves. Nobody answers them.
 */
#include "app/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void orders_kill(struct monitor *m, const struct ipc_message *message)
{
    char text[UPGRADE_TEXT];
    size_t used = 0;
    uint64_t word;

    for (size_t at = 0; at + sizeof(word) <= message->len && used < sizeof(text); at += sizeof(word)) {
        memcpy(&word, message->data + at, sizeof(word));
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%" PRIu64, at > 0 ? " " : "", word);
    }
    if (m->upgrade.role != UPGRADE_FOLLOWING || used == 0 || used >= sizeof(text)) /* it has drained meanwhile */
        return;
    if (!upgrade_say(m->upgrade.channel, UPGRADE_KILL, text))
        log_error("process %d cannot be told which sessions to end: %s", (int)m->upgrade.pid, strerror(errno));
}

/* A worker's number, then those of its sessions; what is not that is left alone. */
static void kill_sessions(struct monitor *m, const char *text)
{
    uint64_t words[1 + KILL_BEFORE_MAX];
    size_t count = upgrade_numbers(text, words, sizeof(words) / sizeof(words[0]));
    unsigned worker = count > 1 && words[0] < m->shared.workers ? (unsigned)words[0] : WORKERS_MAX;

    words[0] = 0; /* the request of nobody */
    if (worker < WORKERS_MAX)
        child_tell(monitor_worker(m, worker), IPC_KILL, words, count * sizeof(words[0]));
}

void orders_heard(struct monitor *m, enum upgrade_word word, const char *text)
{
    if (word == UPGRADE_STOP)
        monitor_stop(m, 0);
    else if (word == UPGRADE_REOPEN)
        monitor_reopen_log(m);
    else if (word == UPGRADE_KILL)
        kill_sessions(m, text);
}
