/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_WIRE_KERNEL_H
#define POSTERN_WIRE_KERNEL_H

#include "session/engine.h"

/* The filter process, played by the test: what it is told is kept as lines of text, and what it answers the test says. */
struct engine_filter wire_kernel(void);
/* The lines since the last call, each with its newline; returns their length. They are written to `out` as far as they fit. */
size_t wire_kernel_lines(char *out, size_t size);
/* From now on nothing can be asked of it. */
void wire_kernel_gone(void);
/* Answers a request for a socket: with a new one that is bound to `address`, or with an error if that is NULL. */
void wire_kernel_socket(struct engine *e, uint64_t request, const char *address);
/* Says what it knows of the flow of session `number`. */
void wire_kernel_flow(struct engine *e, uint64_t number);

#endif
