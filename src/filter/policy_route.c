/* SPDX-License-Identifier: ISC */
/*
 * Policy routing for TPROXY over rtnetlink: one rule and one route for each family, marked as ours with a routing protocol number
 * of our own, so that removing takes nothing that somebody else has put there.
 *
 * Installing puts the route first and the rule second, removing goes the other way: a rule that finds an empty table would let the
 * packets go on to the other tables, and out. The route is replaced if there is one; the kernel knows it as the default route of
 * the table. The rule is looked for in a dump, because the kernel would take it twice with another number.
 *
 * The kernel answers inside sendto(2), and goes on with a dump inside recvfrom(2): the socket does not block, and an answer that is
 * missing is an error. These calls are rare, so each opens its socket anew.
 */
#include "filter/policy_route.h"

#include "filter/ruleset.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define OUR_PROTOCOL 80    /* in nobody's list (/etc/iproute2/rt_protos) */
#define MOST_DUPLICATES 64 /* of our rule that are removed, one by one */
#define REQUEST_MAX 256    /* bytes of what is sent */

struct talk {
    struct mnl_socket *socket;
    _Alignas(struct nlmsghdr) char buffer[32768];
};

static bool talk_open(struct talk *t)
{
    t->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (t->socket == NULL)
        return false;
    if (mnl_socket_bind(t->socket, 0, MNL_SOCKET_AUTOPID) == 0)
        return true;
    mnl_socket_close(t->socket);
    return false;
}

/* Sends what lies in the buffer, and reads until the last answer. 0, or what is wrong. */
static int run(struct talk *t, mnl_cb_t each, void *arg)
{
    struct nlmsghdr *request = (void *)t->buffer;
    unsigned port = mnl_socket_get_portid(t->socket);
    uint32_t sequence = request->nlmsg_seq = 1;
    int more = MNL_CB_OK;

    if (mnl_socket_sendto(t->socket, request, request->nlmsg_len) < 0)
        return errno;
    while (more > MNL_CB_STOP) {
        ssize_t len = mnl_socket_recvfrom(t->socket, t->buffer, sizeof(t->buffer));

        if (len < 0)
            return errno;
        more = mnl_cb_run(t->buffer, (size_t)len, sequence, port, each, arg);
    }
    return more < 0 ? errno : 0;
}

static void *begin(struct talk *t, uint16_t type, uint16_t flags, size_t fixed)
{
    struct nlmsghdr *request;

    memset(t->buffer, 0, REQUEST_MAX); /* libmnl pads attributes with what lies there */
    request = mnl_nlmsg_put_header(t->buffer);
    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | flags;
    return mnl_nlmsg_put_extra_header(request, fixed);
}

static struct nlmsghdr *request_of(struct talk *t)
{
    return (void *)t->buffer;
}

static int change_rule(struct talk *t, int family, uint16_t type, uint16_t flags)
{
    struct fib_rule_hdr *rule = begin(t, type, NLM_F_ACK | flags, sizeof(*rule));

    rule->family = (uint8_t)family;
    rule->action = FR_ACT_TO_TBL;
    mnl_attr_put_u32(request_of(t), FRA_PRIORITY, ROUTE_PRIORITY);
    mnl_attr_put_u32(request_of(t), FRA_FWMARK, ROUTE_MARK);
    mnl_attr_put_u32(request_of(t), FRA_FWMASK, ROUTE_MARK_MASK);
    mnl_attr_put_u32(request_of(t), FRA_TABLE, ROUTE_TABLE);
    mnl_attr_put_u8(request_of(t), FRA_PROTOCOL, OUR_PROTOCOL);
    return run(t, NULL, NULL);
}

static int change_route(struct talk *t, int family, uint16_t type, uint16_t flags)
{
    struct rtmsg *route = begin(t, type, NLM_F_ACK | flags, sizeof(*route));

    route->rtm_family = (unsigned char)family;
    route->rtm_table = RT_TABLE_UNSPEC;
    route->rtm_protocol = OUR_PROTOCOL;
    route->rtm_scope = RT_SCOPE_HOST;
    route->rtm_type = RTN_LOCAL;
    mnl_attr_put_u32(request_of(t), RTA_TABLE, ROUTE_TABLE);
    mnl_attr_put_u32(request_of(t), RTA_OIF, if_nametoindex("lo"));
    return run(t, NULL, NULL);
}

static uint32_t number(const struct nlattr *attr)
{
    return attr != NULL && mnl_attr_get_payload_len(attr) >= sizeof(uint32_t) ? mnl_attr_get_u32(attr) : 0;
}

static const struct nlattr *attribute(const struct nlmsghdr *message, size_t fixed, uint16_t type)
{
    const struct nlattr *attr;

    mnl_attr_for_each(attr, message, fixed)
    {
        if (mnl_attr_get_type(attr) == type)
            return attr;
    }
    return NULL;
}

static int see_rule(const struct nlmsghdr *message, void *found)
{
    const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(message);
    size_t fixed = sizeof(*rule);

    if (message->nlmsg_type == RTM_NEWRULE && mnl_nlmsg_get_payload_len(message) >= fixed && rule->action == FR_ACT_TO_TBL &&
        rule->src_len == 0 && rule->dst_len == 0 && (rule->flags & FIB_RULE_INVERT) == 0 &&
        number(attribute(message, fixed, FRA_PRIORITY)) == ROUTE_PRIORITY &&
        number(attribute(message, fixed, FRA_FWMARK)) == ROUTE_MARK &&
        number(attribute(message, fixed, FRA_FWMASK)) == ROUTE_MARK_MASK &&
        number(attribute(message, fixed, FRA_TABLE)) == ROUTE_TABLE && attribute(message, fixed, FRA_IIFNAME) == NULL)
        *(bool *)found = true;
    return MNL_CB_OK;
}

static int see_route(const struct nlmsghdr *message, void *found)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(message);
    size_t fixed = sizeof(*route);

    if (message->nlmsg_type == RTM_NEWROUTE && mnl_nlmsg_get_payload_len(message) >= fixed && route->rtm_type == RTN_LOCAL &&
        route->rtm_dst_len == 0 && number(attribute(message, fixed, RTA_TABLE)) == ROUTE_TABLE &&
        number(attribute(message, fixed, RTA_OIF)) == if_nametoindex("lo"))
        *(bool *)found = true;
    return MNL_CB_OK;
}

static int find_rule(struct talk *t, int family, bool *found)
{
    struct fib_rule_hdr *rule = begin(t, RTM_GETRULE, NLM_F_DUMP, sizeof(*rule));

    rule->family = (uint8_t)family;
    *found = false;
    return run(t, see_rule, found);
}

/* Asks for our table alone, where the kernel can do that; it may hold a million routes elsewhere. */
static int find_route(struct talk *t, int family, bool *found)
{
    struct rtmsg *route = begin(t, RTM_GETROUTE, NLM_F_DUMP, sizeof(*route));
    int strict = 1, error;

    (void)mnl_socket_setsockopt(t->socket, NETLINK_GET_STRICT_CHK, &strict, sizeof(strict));
    route->rtm_family = (unsigned char)family;
    mnl_attr_put_u32(request_of(t), RTA_TABLE, ROUTE_TABLE);
    *found = false;
    error = run(t, see_route, found);
    return error == ENOENT ? 0 : error; /* there is no such table */
}

/* What the kernel says where this family is not compiled in, or not loaded. */
static bool is_absent(int error)
{
    return error == EAFNOSUPPORT || error == EOPNOTSUPP || error == EPFNOSUPPORT;
}

static int install_family(struct talk *t, int family)
{
    bool found = false;
    int error = change_route(t, family, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);

    if (family == AF_INET6 && (is_absent(error) || error == EACCES))
        return 0; /* EACCES: disabled by sysctl; no packet of it can come */
    if (error == 0)
        error = find_rule(t, family, &found);
    if (error == 0 && !found)
        error = change_rule(t, family, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
    return error == EEXIST ? 0 : error;
}

static int remove_family(struct talk *t, int family)
{
    int error = 0;

    for (int i = 0; i < MOST_DUPLICATES && error == 0; i++)
        error = change_rule(t, family, RTM_DELRULE, 0);
    if (family == AF_INET6 && is_absent(error))
        return 0;
    if (error != 0 && error != ENOENT)
        return error;
    error = change_route(t, family, RTM_DELROUTE, 0);
    return error == ESRCH || error == ENOENT ? 0 : error;
}

static bool for_both(int (*work)(struct talk *t, int family), char *text, size_t size)
{
    struct talk t;
    int error4, error6 = 0;

    *text = '\0';
    if (!talk_open(&t)) {
        snprintf(text, size, "%s", strerror(errno));
        return false;
    }
    error4 = work(&t, AF_INET);
    if (error4 == 0)
        error6 = work(&t, AF_INET6);
    if (error4 != 0 || error6 != 0)
        snprintf(text, size, "policy routing of %s: %s", error4 != 0 ? "IPv4" : "IPv6", strerror(error4 != 0 ? error4 : error6));
    mnl_socket_close(t.socket);
    return error4 == 0 && error6 == 0;
}

bool policy_route_install(char *error, size_t size)
{
    return for_both(install_family, error, size);
}

bool policy_route_remove(char *error, size_t size)
{
    return for_both(remove_family, error, size);
}

bool policy_route_present(int family)
{
    bool rule = false, route = false;
    struct talk t;

    if (!talk_open(&t))
        return false;
    if (find_rule(&t, family, &rule) == 0 && rule && find_route(&t, family, &route) != 0)
        route = false;
    mnl_socket_close(t.socket);
    return rule && route;
}

static int read_answer(const struct nlmsghdr *message, void *arg)
{
    struct policy_route_answer *out = arg;
    const struct rtmsg *route = mnl_nlmsg_get_payload(message);
    unsigned index;

    if (message->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(message) < sizeof(*route))
        return MNL_CB_OK;
    out->error = 0;
    out->local = route->rtm_type == RTN_LOCAL;
    index = number(attribute(message, sizeof(*route), RTA_OIF));
    if (index != 0 && if_indextoname(index, out->interface) == NULL)
        out->interface[0] = '\0';
    return MNL_CB_STOP;
}

static int read_forwarding(const struct nlmsghdr *message, void *on)
{
    if (message->nlmsg_type == RTM_NEWNETCONF && mnl_nlmsg_get_payload_len(message) >= sizeof(struct netconfmsg))
        *(bool *)on = number(attribute(message, sizeof(struct netconfmsg), NETCONFA_FORWARDING)) != 0;
    return MNL_CB_STOP;
}

/* The IPv6 look-up leaves this question to the moment a packet is forwarded; the IPv4 one has answered it. */
static bool forwards6(struct talk *t)
{
    struct netconfmsg *message = begin(t, RTM_GETNETCONF, 0, sizeof(*message));
    bool on = false;

    message->ncm_family = AF_INET6;
    mnl_attr_put_u32(request_of(t), NETCONFA_IFINDEX, (uint32_t)NETCONFA_IFINDEX_ALL);
    return run(t, read_forwarding, &on) == 0 && on;
}

static void put_address(struct talk *t, uint16_t type, const struct addr *a)
{
    mnl_attr_put(request_of(t), type, a->family == AF_INET6 ? 16 : 4, a->ip);
}

static void put_question(struct talk *t, const struct addr *from, const struct addr *to, unsigned index, uint32_t mark)
{
    struct rtmsg *message = begin(t, RTM_GETROUTE, 0, sizeof(*message));

    message->rtm_family = (unsigned char)to->family;
    message->rtm_dst_len = to->family == AF_INET6 ? 128 : 32;
    put_address(t, RTA_DST, to);
    if (from->family != 0) {
        message->rtm_src_len = message->rtm_dst_len;
        put_address(t, RTA_SRC, from);
    }
    if (index != 0)
        mnl_attr_put_u32(request_of(t), RTA_IIF, index);
    if (mark != 0)
        mnl_attr_put_u32(request_of(t), RTA_MARK, mark);
}

/* A source that cannot come in by this interface is EXDEV in older kernels, and EINVAL since Linux 6.13. */
static int ask(struct talk *t, bool comes_in, struct policy_route_answer *out)
{
    int error = run(t, read_answer, out);

    if (error == 0)
        return out->error;
    return comes_in && error == EINVAL ? EXDEV : error;
}

void policy_route_ask(const struct addr *from, const struct addr *to, const char *interface, uint32_t mark,
                      struct policy_route_answer *out)
{
    unsigned index = interface[0] == '\0' ? 0 : if_nametoindex(interface);
    struct talk t;

    *out = (struct policy_route_answer){ .error = EPROTO };
    if (interface[0] != '\0' && index == 0) {
        out->error = ENODEV;
    } else if (to->family == 0 || (from->family != 0 && from->family != to->family)) {
        out->error = EAFNOSUPPORT;
    } else if (!talk_open(&t)) {
        out->error = errno;
    } else {
        put_question(&t, from, to, index, mark);
        out->error = ask(&t, index != 0, out);
        if (out->error == 0 && !out->local && index != 0 && to->family == AF_INET6 && !forwards6(&t))
            out->error = EHOSTUNREACH;
        mnl_socket_close(t.socket);
    }
}
