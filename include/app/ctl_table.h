/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_APP_CTL_TABLE_H
#define POSTERN_APP_CTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* JSON for people, on standard output: tables as wide as their cells, objects as lists of facts. */
#define CELL 128

/* What a fact looks like: numbers and texts as they are, "yes" and "no", of an object its "name"; "-" if it is not there. Returns
 * `out`. */
const char *ctl_table_cell(const json_t *object, const char *key, char out[CELL]);

struct column {
    const char *title, *key;
    int width;     /* negative: to the left */
    bool optional; /* left out if no row has it */
    /* Instead of the fact itself; "-" if there is nothing to say. Returns `out`. */
    const char *(*text)(const json_t *object, const char *key, char out[CELL]);
};
void ctl_table_print(struct column *columns, size_t count, const json_t *rows);

/* Every fact of an object on a line of its own; inner objects on one line. Lists, and the inner object `besides`, are left out. */
void ctl_table_facts(const json_t *object, const char *besides);
/* A list of texts, a line each. */
void ctl_table_lines(const json_t *lines, const char *before);

/* "0x53000001", as nft says it; and what NAT made of a flow: "to 10.77.1.5:22", "from 203.0.113.1:40000", or both. */
const char *ctl_table_mark(const json_t *object, const char *key, char out[CELL]);
const char *ctl_table_nat(const json_t *row, const char *key, char out[CELL]);
/* What is done with TLS on either side; the client's server name, if it is not the host. For columns. */
const char *ctl_table_tls(const json_t *row, const char *key, char out[CELL]);
const char *ctl_table_sni(const json_t *row, const char *key, char out[CELL]);

#endif
