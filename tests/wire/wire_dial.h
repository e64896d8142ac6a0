/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_WIRE_DIAL_H
#define POSTERN_WIRE_DIAL_H

#include "base/addr.h"

/* Both ends of a TCP connection over loopback, non-blocking; ends the program on failure. */
void wire_pair(int fds[2]);
/* The server's end of the oldest dial that was not taken yet, and where it went to; -1: none. */
int wire_take_dial(struct addr *to);
/* Dials that begin from now on are not answered until this is called with false. */
void wire_hold(bool hold);
/* Dials that begin from now on fail with this errno; 0: no longer. */
void wire_fail(int error);

#endif
