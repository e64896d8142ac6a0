/* SPDX-License-Identifier: ISC */
/*
 * The machine's own addresses: zone self is made of them, and a listener that is bound to all of them is met on each. They are read
 * with each generation and whenever the kernel says that addresses or routes changed. A list that cannot be read leaves the one of
 * the last time in force: an address that went away and is still taken for ours is denied more, not less.
 */
#include "session/state.h"

#include <ifaddrs.h>
#include <stdlib.h>

void own_read(struct engine *e)
{
    struct ifaddrs *list;
    struct addr *own;
    size_t count = 0;

    if (getifaddrs(&list) != 0) {
        log_error("this machine's addresses could not be read");
        return;
    }
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
        count++;
    own = calloc(count + 1, sizeof(*own));
    count = 0;
    for (struct ifaddrs *i = list; own != NULL && i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && addr_from_sockaddr(&own[count], i->ifa_addr, sizeof(struct sockaddr_in6)))
            count++;
    freeifaddrs(list);
    if (own == NULL) {
        log_error("no memory for this machine's addresses");
        return;
    }
    free(e->own);
    e->own = own;
    e->own_count = count;
}
