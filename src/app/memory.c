/* SPDX-License-Identifier: ISC */
/*
 * What the kernel says of memory. Of a process: the resident pages that are of no file, from statm, which costs microseconds (a
 * proportional share would be exacter; it costs a walk over all pages). Of shared memory: the blocks of its files, once. Of a
 * control group: its use without the cached files that the kernel gives back by itself; memory files (shmem) are no such.
 */
#include "app/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_LIMIT (1ull << 60) /* version 1 says it with a number about so large */

/* The first bytes of a file, as a string; false: it cannot be read. */
static bool read_text(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    out[n] = '\0';
    return true;
}

static bool read_number(const char *folder, const char *name, uint64_t *out)
{
    char path[640], text[64], *end;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (!read_text(path, text, sizeof(text)))
        return false;
    *out = strtoull(text, &end, 10);
    return end > text;
}

static bool read_limit(const char *folder, bool unified, uint64_t *out)
{
    return read_number(folder, unified ? "memory.max" : "memory.limit_in_bytes", out) && *out < NO_LIMIT;
}

/* The number behind a word at the start of a line; 0: it is not there. */
static uint64_t member_of(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, len) == 0 && line[len] == ' ')
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

static uint64_t droppable(const struct memory_group *g)
{
    char path[640], text[8192];
    uint64_t files, memory_files;

    snprintf(path, sizeof(path), "%s/memory.stat", g->folder);
    if (!read_text(path, text, sizeof(text)))
        return 0;
    files = member_of(text, g->unified ? "file" : "total_cache");
    memory_files = member_of(text, g->unified ? "shmem" : "total_shmem");
    return files > memory_files ? files - memory_files : 0;
}

/* The lowest limit from `path` (below `root`) up to the root; it becomes `out` if it is lower than `lowest`. */
static void climb(struct memory_group *out, const char *root, const char *path, bool unified, uint64_t *lowest)
{
    char folder[sizeof(out->folder)];
    uint64_t limit;
    size_t top = strlen(root);

    if (snprintf(folder, sizeof(folder), "%s%s", root, path) >= (int)sizeof(folder))
        return;
    for (;;) {
        char *slash;

        if (read_limit(folder, unified, &limit) && limit < *lowest) {
            *lowest = limit;
            memcpy(out->folder, folder, sizeof(folder));
            out->unified = unified;
        }
        slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + top)
            return;
        *slash = '\0';
    }
}

/* Lines are "0::/path" of version 2 and "4:memory:/path" of version 1. */
void memory_group_find(struct memory_group *out, const char *self, const char *root)
{
    char text[4096], mount[256], *rest = text;
    uint64_t lowest = NO_LIMIT;

    out->folder[0] = '\0';
    if (!read_text(self, text, sizeof(text)))
        return;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *number = strsep(&line, ":"), *controllers = strsep(&line, ":");

        if (controllers == NULL || line == NULL)
            continue;
        if (strcmp(number, "0") == 0) {
            climb(out, root, line, true, &lowest);
            continue;
        }
        if (strcmp(controllers, "memory") != 0)
            continue;
        snprintf(mount, sizeof(mount), "%s/memory", root);
        climb(out, mount, line, false, &lowest);
    }
}

bool memory_group_read(const struct memory_group *g, uint64_t *used, uint64_t *limit)
{
    uint64_t cached;

    if (g->folder[0] == '\0' || !read_limit(g->folder, g->unified, limit) ||
        !read_number(g->folder, g->unified ? "memory.current" : "memory.usage_in_bytes", used))
        return false;
    cached = *used > *limit / 2 ? droppable(g) : 0;
    *used -= cached < *used ? cached : *used;
    return true;
}

/* statm: pages of address space, resident ones, and those among them that are of files or shared memory. */
uint64_t memory_of_process(pid_t pid)
{
    unsigned long long resident, of_files;
    char path[64], text[128], *rest = text;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    if (!read_text(path, text, sizeof(text)))
        return 0;
    (void)strtoull(rest, &rest, 10);
    resident = strtoull(rest, &rest, 10);
    of_files = strtoull(rest, &rest, 10);
    return resident > of_files ? (resident - of_files) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

bool memory_is_seen(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    return access(path, R_OK) == 0;
}

uint64_t memory_of_file(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

uint64_t memory_of_machine(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}
