/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_READ_H
#define POSTERN_CONF_CONF_READ_H

#include "conf/conf_file.h"
#include "conf/conf_keys.h"
#include "conf/conf_names.h"

#define CONF_PATH 160
#define CONF_FILE_PATH 4095  /* bytes of the path of a file */
#define CONF_SUGGESTIONS 100 /* how many misspelt names are worth a search for the right one */

/* What the readers of values share while the tree becomes a snapshot. */
struct conf_reader {
    struct conf *conf;
    struct conf_report *report;
    char path[CONF_PATH]; /* of the key that is read, for messages: "policies.web.ports", or "policies[2].ports" if the
                             policy has no valid name */
    struct conf_names names[CONF_KINDS]; /* for references; empty until the items are read */
    unsigned suggestions;
};

/*
 * Fills `conf`, which is zeroed, from the tree: defaults, values, references by name. All errors are reported. An item (zone,
 * listener, policy) with an error has line 0 afterwards, so that checks across items pass over it.
 */
void conf_read(struct conf *conf, const struct conf_node *root, struct conf_report *report);

/* An error at the key that is being read. */
#define conf_reader_error(r, line, ...) conf_report_error((r)->report, line, (r)->path, __VA_ARGS__)

/*
 * Readers of one value each: check `node` against `key` and store it at `target`. Errors are reported; then the target keeps
 * its default or what could be read.
 */
typedef void conf_value_read(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node, void *target);

/* conf_values.c */
conf_value_read conf_value_u16, conf_value_u32, conf_value_u64, conf_value_seconds, conf_value_bool, conf_value_word,
    conf_value_flag, conf_value_bit, conf_value_text, conf_value_path, conf_value_access, conf_value_regex, conf_value_name,
    conf_value_via, conf_value_address;
/* conf_lists.c */
conf_value_read conf_list_servers, conf_list_upstreams, conf_list_networks, conf_list_ports, conf_list_headers, conf_list_protocols,
    conf_list_bits, conf_list_senders;
/* conf_tls.c */
conf_value_read conf_value_version, conf_value_file, conf_value_host, conf_list_pins;
/* What follows from all that was read: the certificates of listeners in one list, protocols of policies that inspect, the system's
 * trust if anybody needs it. */
void conf_tls_settle(struct conf *conf, struct conf_report *report);
/* conf_strings.c */
conf_value_read conf_strings_names, conf_strings_interfaces, conf_strings_hosts, conf_strings_methods, conf_strings_patterns,
    conf_strings_origins, conf_strings_tokens, conf_strings_members, conf_strings_fingerprints, conf_strings_certificates,
    conf_strings_words;

/* The text of a string node, not empty and without control characters; else NULL, and the error is reported at `line`. */
const char *conf_node_clean_text(struct conf_reader *r, const struct conf_node *node, unsigned line);
/* The index of `text` in the words of the key, or -1, and the error is reported. */
int conf_word_find(struct conf_reader *r, const struct conf_key *key, const char *text, unsigned line);
/* strdup and strndup; NULL notes that there is no memory. */
char *conf_keep(struct conf_reader *r, const char *text);
char *conf_keep_part(struct conf_reader *r, struct span text);
/* calloc; NULL notes that there is no memory. Never NULL for want of items. */
void *conf_keep_room(struct conf_reader *r, size_t count, size_t size);

/* A list, or a single value that stands for a list of one. */
struct conf_list {
    const struct conf_node *node;
    size_t count;
    unsigned line; /* of the key: libconfig gives the last string of a list the line of the bracket behind it */
};

/* false: too few or too many items, and the error is reported. */
MUST_CHECK bool conf_list_open(struct conf_reader *r, const struct conf_key *key, const struct conf_node *node,
                               struct conf_list *list);
const struct conf_node *conf_list_at(const struct conf_list *list, size_t index);

#endif
