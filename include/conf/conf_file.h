/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_FILE_H
#define POSTERN_CONF_CONF_FILE_H

#include "conf/conf_report.h"

#define CONF_TEXT_MAX (16u << 20) /* bytes of a configuration */

/*
 * The text as a tree of values with line numbers. Nodes belong to the file and live until conf_file_close(). "[ ]" and "( )"
 * are both lists.
 */
struct conf_file;
struct conf_node;

enum conf_node_type { NODE_GROUP, NODE_LIST, NODE_INTEGER, NODE_REAL, NODE_BOOL, NODE_TEXT };

/* Reads the text; NULL: it was refused or is no libconfig syntax, and the report has one error or more. */
MUST_CHECK struct conf_file *conf_file_open(struct span text, struct conf_report *report);
void conf_file_close(struct conf_file *file);
const struct conf_node *conf_file_root(const struct conf_file *file);

enum conf_node_type conf_node_type(const struct conf_node *node);
unsigned conf_node_line(const struct conf_node *node);
/* The key, if it is a member of a group. */
const char *conf_node_name(const struct conf_node *node);
/* Members of a group or a list; 0 for others. */
size_t conf_node_count(const struct conf_node *node);
const struct conf_node *conf_node_at(const struct conf_node *node, size_t index);
/* The member of a group with this name; NULL if there is none or `node` is no group. */
const struct conf_node *conf_node_member(const struct conf_node *node, const char *name);
/* The value of a node of that type; an integer counts as real too. */
int64_t conf_node_integer(const struct conf_node *node);
double conf_node_real(const struct conf_node *node);
bool conf_node_bool(const struct conf_node *node);
const char *conf_node_text(const struct conf_node *node);

#endif
