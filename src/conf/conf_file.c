/* SPDX-License-Identifier: ISC */
/*
 * libconfig behind a few functions: the only file that knows it. libconfig 1.5 reads files that the text names (@include),
 * truncates integers, ends silently inside an open comment, and does not survive a failed allocation; so the text is scanned
 * first (conf_scan), and what is needed at most is allocated once on trial. A node is a setting of libconfig under another
 * name: nothing is copied.
 */
#include "conf/conf_file.h"
#include "conf/conf_scan.h"

#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

/* A setting of 80 bytes with a list of 176 can come from three bytes of text: "(1)". */
#define MEMORY_A_BYTE 128

struct conf_file {
    config_t config;
};

/* With a newline at the end: libconfig takes a comment for one only if a newline follows. */
static char *copy_text(struct span text)
{
    char *copy = malloc(text.len + 2);

    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    memcpy(copy + text.len, "\n", 2);
    return copy;
}

static bool enough_memory(size_t len)
{
    void *trial = malloc((len + 4096) * MEMORY_A_BYTE);

    free(trial);
    return trial != NULL;
}

static unsigned count_lines(struct span text)
{
    unsigned lines = 1;

    for (size_t i = 0; i + 1 < text.len; i++)
        lines += text.at[i] == '\n';
    return lines;
}

/* An error at the end is found behind our own newline: it is in the last line that was given. */
static bool read_copy(struct conf_file *file, const char *copy, struct span text, struct conf_report *report)
{
    unsigned line, last;

    if (config_read_string(&file->config, copy) == CONFIG_TRUE)
        return true;
    line = (unsigned)config_error_line(&file->config);
    last = count_lines(text);
    conf_report_error(report, line < last ? line : last, NULL, "%s", config_error_text(&file->config));
    return false;
}

struct conf_file *conf_file_open(struct span text, struct conf_report *report)
{
    struct conf_file *file;
    char *copy;
    bool good;

    if (!conf_scan_check(text, report))
        return NULL;
    file = malloc(sizeof(*file));
    copy = copy_text(text);
    if (file == NULL || copy == NULL || !enough_memory(text.len)) {
        report->no_memory = true;
        free(copy);
        free(file);
        return NULL;
    }
    config_init(&file->config);
    good = read_copy(file, copy, text, report);
    free(copy);
    if (good)
        return file;
    conf_file_close(file);
    return NULL;
}

void conf_file_close(struct conf_file *file)
{
    if (file == NULL)
        return;
    config_destroy(&file->config);
    free(file);
}

static const config_setting_t *setting(const struct conf_node *node)
{
    return (const void *)node;
}

const struct conf_node *conf_file_root(const struct conf_file *file)
{
    return (const void *)config_root_setting(&file->config);
}

enum conf_node_type conf_node_type(const struct conf_node *node)
{
    switch (config_setting_type(setting(node))) {
    case CONFIG_TYPE_GROUP:
        return NODE_GROUP;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return NODE_INTEGER;
    case CONFIG_TYPE_FLOAT:
        return NODE_REAL;
    case CONFIG_TYPE_BOOL:
        return NODE_BOOL;
    case CONFIG_TYPE_STRING:
        return NODE_TEXT;
    default: /* CONFIG_TYPE_ARRAY, CONFIG_TYPE_LIST */
        return NODE_LIST;
    }
}

unsigned conf_node_line(const struct conf_node *node)
{
    return config_setting_source_line(setting(node));
}

const char *conf_node_name(const struct conf_node *node)
{
    return config_setting_name(setting(node));
}

size_t conf_node_count(const struct conf_node *node)
{
    return (size_t)config_setting_length(setting(node));
}

const struct conf_node *conf_node_at(const struct conf_node *node, size_t index)
{
    return (const void *)config_setting_get_elem(setting(node), (unsigned)index);
}

const struct conf_node *conf_node_member(const struct conf_node *node, const char *name)
{
    if (conf_node_type(node) != NODE_GROUP)
        return NULL;
    return (const void *)config_setting_get_member(setting(node), name);
}

int64_t conf_node_integer(const struct conf_node *node)
{
    return config_setting_get_int64(setting(node));
}

double conf_node_real(const struct conf_node *node)
{
    if (conf_node_type(node) == NODE_INTEGER)
        return (double)conf_node_integer(node);
    return config_setting_get_float(setting(node));
}

bool conf_node_bool(const struct conf_node *node)
{
    return config_setting_get_bool(setting(node)) != CONFIG_FALSE;
}

const char *conf_node_text(const struct conf_node *node)
{
    return config_setting_get_string(setting(node));
}
