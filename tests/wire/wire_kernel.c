/* SPDX-License-Identifier: ISC */
/*
 * The filter process in the hands of a test. Lines: "opened N CLIENT DESTINATION", "closed N kept|removed", "hostile CLIENT
 * REASON", "socket REQUEST CLIENT SERVER".
 */
#include "wire_kernel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINES_BYTES 65536

static char lines[LINES_BYTES];
static size_t len;
static bool gone;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(lines + len, sizeof(lines) - len, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(lines) - len)
        len += (size_t)n;
}

static void flow_opened(void *arg, uint64_t number, const struct addr *client, const struct addr *destination)
{
    char from[ADDR_TEXT], to[ADDR_TEXT];

    (void)arg;
    note("opened %llu %s %s\n", (unsigned long long)number, addr_text(client, from), addr_port_text(destination, to));
}

static void flow_closed(void *arg, uint64_t number, bool remove)
{
    (void)arg;
    note("closed %llu %s\n", (unsigned long long)number, remove ? "removed" : "kept");
}

static void hostile(void *arg, uint64_t number, const struct addr *client, enum reason why)
{
    char from[ADDR_TEXT];

    (void)arg;
    (void)number;
    note("hostile %s %s\n", addr_text(client, from), reason_name(why));
}

static bool socket_wanted(void *arg, uint64_t number, uint64_t request, const struct addr *client, const struct addr *server)
{
    char from[ADDR_TEXT], to[ADDR_TEXT];

    (void)arg;
    (void)number;
    if (!gone)
        note("socket %llu %s %s\n", (unsigned long long)request, addr_text(client, from), addr_port_text(server, to));
    return !gone;
}

struct engine_filter wire_kernel(void)
{
    return (struct engine_filter){ flow_opened, flow_closed, hostile, socket_wanted, NULL };
}

size_t wire_kernel_lines(char *out, size_t size)
{
    size_t n = len < size ? len : size;

    memcpy(out, lines, n);
    len = 0;
    return n;
}

void wire_kernel_gone(void)
{
    gone = true;
}

void wire_kernel_socket(struct engine *e, uint64_t request, const char *address)
{
    struct addr a;
    struct sockaddr_storage sa;
    socklen_t size;
    int fd;

    if (address == NULL || !addr_parse(&a, span_str(address), 0)) {
        engine_socket(e, request, -1, EADDRNOTAVAIL);
        return;
    }
    size = addr_to_sockaddr(&a, &sa);
    fd = socket(a.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, size) != 0)
        fatal("no socket for %s: %s", address, strerror(errno));
    engine_socket(e, request, fd, 0);
}

void wire_kernel_flow(struct engine *e, uint64_t number)
{
    struct engine_flow flow = { .conntrack = 4711, .mark = 0x50000001, .state = CONNTRACK_ESTABLISHED };

    engine_flow(e, number, &flow);
}
