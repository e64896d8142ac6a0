/* SPDX-License-Identifier: ISC */
/*
 * Commits and lists one nftables table by libnftables: the text of a transaction goes in, and text comes out. Blocks and counters
 * are in nft_blocks.c, changes by others in nft_watch.c.
 *
 * libnftables ends the process when it has no memory or cannot open its socket. So the socket of the watch is opened first: where
 * the kernel has no nf_tables, or no descriptor is left, that one fails, and it can say so. Only the filter process runs any of
 * this; a worker never does.
 *
 * A listing is bare when it can be compared with another one, byte for byte: without counters, and without the elements of the sets
 * of blocked addresses, which come and go. Everything else of the table is in it, with the elements of all other sets.
 */
#include "filter/nft_run.h"

#include <errno.h>
#include <linux/capability.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_plain_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    size_t len = strlen(name);

    return len > 0 && len < sizeof(((struct nft *)NULL)->table) && strchr(letters, name[0]) != NULL &&
           strspn(name + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789-") == len - 1;
}

/*
 * The library does not tell its socket, but a new descriptor is always the lowest one that is free. That there is one must be seen
 * before, because the library does not survive it.
 */
static bool open_library(struct nft *n)
{
    int lowest = fcntl(nft_watch_fd(n), F_DUPFD_CLOEXEC, 0);

    if (lowest < 0)
        return false;
    close(lowest);
    n->context = nft_ctx_new(NFT_CTX_DEFAULT);
    n->watch.own_socket = lowest;
    return n->context != NULL && fcntl(lowest, F_SETFD, FD_CLOEXEC) == 0 && nft_ctx_buffer_output(n->context) == 0 &&
           nft_ctx_buffer_error(n->context) == 0;
}

/* What a kernel that refuses everything does not say. */
static void name_capability(char *error)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct held[2] = { 0 };
    size_t len = strlen(error);

    if (syscall(SYS_capget, &header, held) == 0 && (held[0].effective & CAP_TO_MASK(CAP_NET_ADMIN)) == 0)
        snprintf(error + len, NFT_ERROR - len, "; CAP_NET_ADMIN is missing");
}

struct nft *nft_open(const char *table, char *error)
{
    struct nft *n;

    if (!is_plain_name(table)) {
        snprintf(error, NFT_ERROR, "not the name of a table");
        return NULL;
    }
    n = calloc(1, sizeof(*n));
    if (n != NULL && nft_watch_open(&n->watch) && open_library(n)) {
        memcpy(n->table, table, strlen(table) + 1);
        return n;
    }
    snprintf(error, NFT_ERROR, "%s", strerror(errno));
    name_capability(error);
    nft_close(n);
    return NULL;
}

void nft_close(struct nft *n)
{
    if (n == NULL)
        return;
    if (n->context != NULL)
        nft_ctx_free(n->context);
    nft_watch_close(&n->watch);
    free(n);
}

static struct span first_line(const char *text)
{
    return span_of(text, strcspn(text, "\n"));
}

/*
 * nft says "WHERE: Error: REASON", then the line of input, then marks below it. What stays is one line: the reason, and the input
 * that it is about, if that is the right line.
 */
static void shorten(const char *said, bool has_place, char *error)
{
    static const char head[] = "Error: ", wrapping[] = "Could not process rule: ";
    const char *at = strstr(said, head);
    struct span reason, input;

    at = at == NULL ? said : at + strlen(head);
    if (strncmp(at, wrapping, strlen(wrapping)) == 0)
        at += strlen(wrapping);
    reason = first_line(at);
    input = span_trim(first_line(at + reason.len + (at[reason.len] == '\n')));
    if (reason.len == 0)
        snprintf(error, NFT_ERROR, "nft failed and said nothing");
    else if (input.len == 0 || !has_place)
        snprintf(error, NFT_ERROR, "%.*s", (int)reason.len, reason.at);
    else
        snprintf(error, NFT_ERROR, "%.*s: %.*s", (int)reason.len, reason.at, (int)input.len, input.at);
    for (; *error != '\0'; error++)
        if ((unsigned char)*error < ' ' || *error == 0x7f)
            *error = ' ';
}

static const char *said(const struct nft *n)
{
    const char *text = nft_ctx_get_error_buffer(n->context);

    return text == NULL ? "" : text;
}

static bool run_as_file(const struct nft *n, const char *text, int fd)
{
    char path[64];
    size_t len = strlen(text);

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return write(fd, text, len) != (ssize_t)len || access(path, R_OK) != 0 || nft_run_cmd_from_filename(n->context, path) == 0;
}

/*
 * Of a buffer with several lines nft always shows the first, whichever was wrong; of a file it shows the right one. So what has
 * failed is tried as a file, without changing anything, only to learn the line.
 */
static void locate(const struct nft *n, const char *text, char *error)
{
    bool dry = nft_ctx_get_dry_run(n->context);
    int fd = memfd_create("nft", MFD_CLOEXEC);

    if (fd < 0)
        return;
    nft_ctx_set_dry_run(n->context, true);
    if (!run_as_file(n, text, fd))
        shorten(said(n), true, error);
    nft_ctx_set_dry_run(n->context, dry);
    close(fd);
}

bool nft_run(struct nft *n, unsigned flags, const char *text, char *error)
{
    bool done, one_line = first_line(text).len + 1 >= strlen(text);

    nft_ctx_output_set_flags(n->context, flags);
    done = nft_run_cmd_from_buffer(n->context, text) == 0;
    nft_watch_find_port(&n->watch);
    if (done)
        return true;
    shorten(said(n), one_line, error);
    if (!one_line)
        locate(n, text, error);
    name_capability(error);
    return false;
}

const char *nft_output(struct nft *n)
{
    const char *text = nft_ctx_get_output_buffer(n->context);

    return text == NULL ? "" : text;
}

bool nft_commit(struct nft *n, const char *text, char *error)
{
    return nft_run(n, 0, text, error);
}

bool nft_try(struct nft *n, const char *text, char *error)
{
    bool good;

    nft_ctx_set_dry_run(n->context, true);
    good = nft_run(n, 0, text, error);
    nft_ctx_set_dry_run(n->context, false);
    return good;
}

static bool is_there(struct nft *n, bool *there)
{
    char line[128], error[NFT_ERROR];

    if (!nft_run(n, 0, "list tables inet", error))
        return false;
    snprintf(line, sizeof(line), "table inet %s\n", n->table);
    *there = strstr(nft_output(n), line) != NULL;
    return true;
}

/* Takes the lines of `text` one by one; without its newline. */
static bool next_line(struct span *text, struct span *line)
{
    const char *end = text->len == 0 ? NULL : memchr(text->at, '\n', text->len);

    if (text->len == 0)
        return false;
    *line = span_of(text->at, end == NULL ? text->len : (size_t)(end - text->at));
    *text = span_skip(*text, line->len + (end != NULL));
    return true;
}

/* Drops the elements of the sets of blocked addresses, in place. They are what such a set ends with. */
static void drop_blocks(char *text)
{
    struct span rest = span_str(text), line;
    bool in_blocks = false, in_elements = false;
    char *out = text;

    while (next_line(&rest, &line)) {
        if (span_eq(line, SPAN("\tset " RULESET_BLOCK4 " {")) || span_eq(line, SPAN("\tset " RULESET_BLOCK6 " {")))
            in_blocks = true;
        else if (span_eq(line, SPAN("\t}")))
            in_blocks = in_elements = false;
        else if (in_blocks && span_starts(line, SPAN("\t\telements = ")))
            in_elements = true;
        if (in_elements)
            continue;
        memmove(out, line.at, line.len);
        out += line.len;
        *out++ = '\n';
    }
    *out = '\0';
}

char *nft_list(struct nft *n, bool bare)
{
    char command[128], error[NFT_ERROR], *text;
    bool there = false;

    if (!is_there(n, &there))
        return NULL;
    if (!there)
        return strdup("");
    snprintf(command, sizeof(command), "list table inet %s", n->table);
    if (!nft_run(n, bare ? NFT_CTX_OUTPUT_STATELESS : 0, command, error))
        return is_there(n, &there) && !there ? strdup("") : NULL;
    text = strdup(nft_output(n));
    if (text != NULL && bare)
        drop_blocks(text);
    return text;
}

bool nft_commit_listed(struct nft *n, const char *text, char **listing, char *error)
{
    unsigned before;

    *listing = NULL;
    (void)nft_watch_read(n); /* whatever others did to the table before is replaced */
    before = n->watch.seen;
    if (!nft_commit(n, text, error))
        return false;
    *listing = nft_list(n, true);
    (void)nft_watch_read(n);
    if (n->watch.seen - before != 1) {
        free(*listing);
        *listing = NULL;
    }
    return true;
}
