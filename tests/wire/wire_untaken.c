/* SPDX-License-Identifier: ISC */
/*
 * How much a far end's kernel has not acknowledged (SIOCOUTQ) as a test says it, for one pair of sockets. When a kernel takes what,
 * and when it says so, depends on its buffers and on how busy the machine is; what follows from it must not.
 */
#include "wire_untaken.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);

static struct in_addr pair; /* the address that only one pair has */
static int bytes;

static bool is_at(const struct sockaddr_in *sa)
{
    return sa->sin_family == AF_INET && sa->sin_addr.s_addr == pair.s_addr;
}

static bool is_pair(int fd)
{
    struct sockaddr_in own = { 0 }, peer = { 0 };
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

    return pair.s_addr != 0 && getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 && (is_at(&own) || is_at(&peer));
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *argument;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    if (request != SIOCOUTQ || !is_pair(fd))
        return __real_ioctl(fd, request, argument);
    *(int *)argument = bytes;
    return 0;
}

bool wire_untaken(const char *text)
{
    char address[INET_ADDRSTRLEN];
    const char *rest = strchr(text, ' ');
    size_t len = rest != NULL ? (size_t)(rest - text) : sizeof(address);

    if (len >= sizeof(address))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    bytes = atoi(rest);
    return inet_pton(AF_INET, address, &pair) == 1;
}
