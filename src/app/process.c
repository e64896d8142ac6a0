/* SPDX-License-Identifier: ISC */
/*
 * What every child does alike when the monitor says so.
 */
#include "app/process.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

void process_set_log_level(const struct ipc_message *m)
{
    uint32_t level;

    if (ipc_read(m, &level, sizeof(level)) && level <= LOG_LEVEL_DEBUG)
        log_set_level((enum log_level)level);
}

void process_answer_ping(int ipc)
{
    if (!ipc_send(ipc, IPC_PING, NULL, 0))
        log_error("the monitor cannot be answered: %s", strerror(errno));
}
