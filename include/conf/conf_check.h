/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_CONF_CONF_CHECK_H
#define POSTERN_CONF_CONF_CHECK_H

#include "conf/conf_file.h"

/*
 * What cannot be seen in one key alone. Items with line 0 had an error already and are passed over. `root` is the tree that
 * `conf` was read from; it is asked for line numbers.
 */
void conf_check(const struct conf *conf, const struct conf_node *root, struct conf_report *report);

/* Warnings of policies with conditions that can never be true, with groups that are never looked at, or without any condition. */
void conf_check_policies(const struct conf *conf, const struct conf_node *list, struct conf_report *report);
/* Of the websocket group of one policy that has one: errors where it cannot do what it says, warnings where it does nothing. */
void conf_check_websocket(const struct conf *conf, const struct conf_policy *policy, const struct conf_node *node,
                          struct conf_report *report);
/* Of its match rules. */
void conf_check_matches(const struct conf *conf, const struct conf_policy *policy, const struct conf_node *node,
                        struct conf_report *report);
/* What the packet filter needs: forwards, ports that are intercepted twice, a way in for ssh, not too many rules. */
void conf_check_filter(const struct conf *conf, const struct conf_node *root, struct conf_report *report);
/* What TLS needs: listeners, policies that inspect, settings towards servers. */
void conf_check_tls(const struct conf *conf, const struct conf_node *root, struct conf_report *report);
/* Has the policy a condition that a packet never shows? Addresses among hosts aside. */
bool conf_policy_asks_more(const struct conf_policy *p);
/* Does the policy name a protocol of the packet filter, and nothing that a packet does not show? */
bool conf_policy_fits_packets(const struct conf_policy *p);
/* Protocols that the kernel forwards and no worker ever sees. */
#define CONF_KERNEL ((unsigned)(CONF_TCP | CONF_UDP | CONF_ICMP))
/* Warnings of policies that can never decide because an earlier one always decides first. */
void conf_check_reach(const struct conf *conf, struct conf_report *report);

/* The line of a member of a group, or of the group if the member is absent, or 1 if there is no group. */
unsigned conf_member_line(const struct conf_node *group, const char *name);

#endif
