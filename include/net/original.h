/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_NET_ORIGINAL_H
#define POSTERN_NET_ORIGINAL_H

#include "base/addr.h"

/* What a client dialled, of an accepted connection. `out` has family 0 where nobody knows. */
enum original {
    ORIGINAL_FOUND,
    ORIGINAL_DIRECT, /* it dialled the listener itself: nothing was intercepted */
    ORIGINAL_UNKNOWN /* connection tracking has no entry (redirect), or the kernel cannot say */
};
/* By address: where the connection ends here (TPROXY keeps what was dialled). `listener` is what the listening socket is bound to.
 */
enum original original_by_address(int fd, const struct addr *listener, struct addr *out);
/* By connection tracking (REDIRECT): SO_ORIGINAL_DST. Asked once, right after accept(2). */
enum original original_by_conntrack(int fd, const struct addr *listener, struct addr *out);

#endif
