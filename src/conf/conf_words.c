/* SPDX-License-Identifier: ISC */
/*
 * The words of nft's grammar that look like names. nft knows no way to quote the name of a table, so a table that is called like
 * one of them could be configured and never be committed. The list was made by asking nft 1.0.6, which of all words in its scanner
 * and its manual it refuses as the name of a table, and has the words that later versions added.
 */
#include "conf/conf_names.h"

#include <stdlib.h>
#include <string.h>

static const char *const words[] = {
    /* sorted */
    "accept",   "add",       "ah",         "all",      "and",      "arp",        "auto-merge",  "bridge",   "cgroup",
    "chain",    "chains",    "comment",    "comp",     "constant", "continue",   "counter",     "counters", "cpu",
    "create",   "ct",        "day",        "dccp",     "define",   "delete",     "describe",    "destroy",  "device",
    "devices",  "dnat",      "drop",       "dst",      "dup",      "dynamic",    "ecn",         "element",  "elements",
    "eq",       "esp",       "ether",      "exists",   "expires",  "export",     "exthdr",      "fib",      "flags",
    "flow",     "flowtable", "flowtables", "flush",    "frag",     "fwd",        "gc-interval", "ge",       "geneve",
    "get",      "goto",      "gre",        "gretap",   "gt",       "handle",     "hbh",         "hook",     "hooks",
    "hour",     "ibriport",  "ibrname",    "icmp",     "icmpv6",   "igmp",       "iif",         "iifgroup", "iifname",
    "iiftype",  "import",    "include",    "index",    "inet",     "insert",     "interval",    "ip",       "ip6",
    "ipsec",    "jhash",     "jump",       "last",     "le",       "limit",      "limits",      "list",     "log",
    "lshift",   "lt",        "map",        "maps",     "mark",     "masquerade", "meta",        "meter",    "meters",
    "mh",       "missing",   "monitor",    "ne",       "netdev",   "nftrace",    "not",         "notrack",  "numgen",
    "obriport", "obrname",   "offload",    "oif",      "oifgroup", "oifname",    "oiftype",     "or",       "osf",
    "pkttype",  "policy",    "position",   "priority", "queue",    "quota",      "quotas",      "random",   "redefine",
    "redirect", "reject",    "rename",     "replace",  "reset",    "return",     "rshift",      "rt",       "rt0",
    "rt2",      "rtclassid", "rule",       "ruleset",  "sctp",     "secmark",    "secmarks",    "set",      "sets",
    "size",     "skgid",     "skuid",      "snat",     "socket",   "srh",        "symhash",     "synproxy", "synproxys",
    "table",    "tables",    "tcp",        "th",       "time",     "timeout",    "tproxy",      "tunnel",   "tunnels",
    "type",     "typeof",    "udp",        "udplite",  "undefine", "update",     "vlan",        "vmap",     "vxlan",
    "xor",      "xt",
};

static int by_text(const void *text, const void *word)
{
    return strcmp(text, *(const char *const *)word);
}

bool conf_name_is_word_of_nft(const char *name)
{
    return bsearch(name, words, sizeof(words) / sizeof(words[0]), sizeof(words[0]), by_text) != NULL;
}
