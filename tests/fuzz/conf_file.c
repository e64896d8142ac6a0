/* SPDX-License-Identifier: ISC */
/*
 * Any text as a configuration, and as a hosts file and resolv.conf. Either there is a snapshot or there is an error; what is
 * printed of a snapshot is accepted again and prints the same.
 */
#include "conf/conf.h"
#include "conf/conf_hosts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses a string when the token behind it is a syntax error. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* malloc'd, or NULL if the text was refused. */
static char *print_of(struct span text)
{
    struct conf_messages messages;
    struct conf *conf = conf_parse("f", text, &messages);
    char *out = NULL;

    require((conf == NULL) == (messages.error_count > 0));
    if (conf != NULL)
        require((out = conf_print(conf)) != NULL);
    conf_free(conf);
    conf_messages_fini(&messages);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    struct conf_hosts *hosts = conf_hosts_parse(text);
    struct addr servers[4];
    char *once = print_of(text), *twice;

    require(conf_hosts_find(hosts, SPAN("localhost"), servers, 4) <= 4);
    conf_hosts_free(hosts);
    require(conf_resolv_servers(text, servers, 4) <= 4);
    if (once == NULL)
        return 0;
    twice = print_of(span_str(once));
    require(twice != NULL && strcmp(once, twice) == 0);
    free(once);
    free(twice);
    return 0;
}
