/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_WIRE_TLS_H
#define POSTERN_WIRE_TLS_H

#include "session/engine.h"

struct loop;

/* Reads the files that a configuration names and makes its contexts of them, as a worker does. */
void wire_tls_contexts(struct generation *g);
/* The minter, in this process, with the CA of a configuration; it answers in a later turn of the loop, and not while it is held. */
struct engine_minter wire_minter(struct loop *loop);
void wire_minter_serve(struct engine *e);
void wire_minter_hold(bool hold);
/* From now on it refuses, or signs again. */
void wire_minter_refuse(bool refuse);
/* What it was asked for since the last call: "NAME good\n", "NAME failing\n". */
size_t wire_minter_lines(char *out, size_t size);
void wire_minter_free(void);

#endif
