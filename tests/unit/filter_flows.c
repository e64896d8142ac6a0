/* SPDX-License-Identifier: ISC */
/* Rows of kernel flows and the join, with entries made up here; and the new policy's judgement over flows that the kernel has. */
#include "filter/flows.h"

#include "base/clock.h"
#include "filter_namespace.h"
#include "policy/packet.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define ROWS 4u
#define WORKER 3u
#define LOG_SLOTS 8u
#define ZONES "zones = ( { name = \"a\"; networks = [ \"10.1.0.0/16\" ]; }, { name = \"b\"; networks = [ \"10.2.0.0/16\" ]; } );\n"
#define POLICY(name, port)                                                                                                         \
    "{ name = \"" name "\"; from = \"a\"; to = \"b\"; protocols = [ \"udp\", \"tcp\" ]; ports = [ " port " ]; action = "           \
    "\"allow\"; }"
#define FILTER(forward) "packet_filter = { backend = \"nftables\"; forwards = ( " forward " ); };\n"
#define FORWARD(port) "{ from = \"a\"; protocol = \"udp\"; port = " port "; to = \"10.2.0.1:7001\"; }"

static const char first_text[] =
    ZONES "policies = ( " POLICY("dns", "53, 21") ",\n" POLICY("ntp", "123") ");\n" FILTER(FORWARD("7000"));
/* Without dns, and ntp has another place. */
static const char second_text[] = ZONES "policies = ( " POLICY("ntp", "123") ");\n" FILTER(FORWARD("7009") ", " FORWARD("7000"));
static const char third_text[] = ZONES "policies = ( " POLICY("dns", "53") ");\n" FILTER(FORWARD("7009"));

static struct generation *generation(const char *text)
{
    static uint16_t number;
    struct generation *g = calloc(1, sizeof(*g));
    struct conf_messages messages;

    conf_messages_init(&messages);
    g->refs = 1;
    g->number = ++number;
    g->conf = conf_parse("test.conf", span_str(text), &messages);
    for (size_t i = 0; i < messages.error_count; i++)
        fprintf(stderr, "%s\n", messages.errors[i]);
    conf_messages_fini(&messages);
    g->rules = g->conf != NULL ? rules_new(g->conf, NULL) : NULL;
    if (g->rules == NULL)
        abort();
    return g;
}

/* What `joined` was told last, and how often. */
static struct {
    unsigned count, worker;
    uint64_t number;
    struct conntrack_entry entry;
} told;

static void on_joined(void *arg, unsigned worker, uint64_t number, const struct conntrack_entry *entry)
{
    (void)arg;
    told.count++;
    told.worker = worker;
    told.number = number;
    told.entry = *entry;
}

static struct shard *shard;
static struct ring ring;
static void *ring_memory;
static struct flows *flows;
static int wake;

static void use(const char *text)
{
    struct generation *g = generation(text);

    flows_set_generation(flows, g);
    generation_unref(g);
}

static void open_flows(struct route *route)
{
    int fd = memfd_create("shard", MFD_CLOEXEC);

    clock_tick();
    if (ftruncate(fd, (off_t)shard_bytes(ROWS)) != 0 || (shard = shard_map(fd, ROWS, true)) == NULL)
        abort();
    close(fd);
    ring_memory = calloc(1, ring_bytes(LOG_SLOTS, sizeof(struct record)));
    ring_attach(&ring, ring_memory, LOG_SLOTS, sizeof(struct record));
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memset(&told, 0, sizeof(told));
    flows = flows_new(&(struct flows_args){ .shard = shard,
                                            .worker = WORKER,
                                            .log = &ring,
                                            .log_wake = wake,
                                            .route = route,
                                            .first_number = 100,
                                            .joined = on_joined });
    if (flows == NULL)
        abort();
    use(first_text);
}

static void close_flows(void)
{
    flows_free(flows);
    free(ring_memory);
    shard_unmap(shard);
    close(wake);
}

static int setup(void **state)
{
    (void)state;
    open_flows(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_flows();
    return 0;
}

static struct conntrack_entry entry_of(uint32_t id, uint32_t mark)
{
    struct conntrack_entry e = { .id = id,
                                 .mark = mark,
                                 .protocol = IPPROTO_TCP,
                                 .state = CONNTRACK_NEW,
                                 .client = address("10.1.0.1:4000"),
                                 .destination = address("10.2.0.1:53"),
                                 .server = address("10.2.0.1:53"),
                                 .upstream = address("10.1.0.1:4000") };

    e.client.port = e.upstream.port = (uint16_t)(4000 + id);
    return e;
}

static unsigned row_count(void)
{
    struct row row;
    unsigned count = 0;

    for (uint32_t i = 0; i < ROWS; i++)
        count += row_read(shard, i, &row, NULL);
    return count;
}

static bool row_of(uint64_t number, struct row *out)
{
    for (uint32_t i = 0; i < ROWS; i++)
        if (row_read(shard, i, out, NULL) && out->number == number)
            return true;
    return false;
}

static bool is_named(name_id id, const char *name)
{
    char text[TABLE_NAME_SIZE];

    return strcmp(table_name(shard, id, text), name) == 0;
}

static void test_row(void **state)
{
    struct conntrack_entry e = entry_of(7, packet_mark(PACKET_MARK_FORWARDED, 1)), found;
    struct row row;

    (void)state;
    e.server = address("10.2.0.9:54");
    e.upstream = address("127.9.0.1:99");
    flows_event(flows, &e);
    assert_int_equal(row_count(), 1);
    assert_true(row_of(100, &row));
    assert_int_equal(row.worker, WORKER);
    assert_int_equal(row.mode, MODE_FORWARDED);
    assert_int_equal(row.protocol, PROTO_TCP);
    assert_int_equal(row.state, ROW_NEW);
    assert_int_equal(row.conntrack, 7);
    assert_int_equal(row.mark, e.mark);
    assert_int_equal(row.conntrack_state, CONNTRACK_NEW);
    assert_true(addr_eq(&row.client, &e.client) && addr_eq(&row.destination, &e.destination) && addr_eq(&row.server, &e.server));
    assert_true(addr_eq(&row.translated, &e.server) && addr_eq(&row.upstream, &e.upstream));
    assert_true(is_named(row.zone_in, "a") && is_named(row.zone_out, "b") && is_named(row.policy, "ntp"));
    assert_int_not_equal(row.policy_line, 0);
    assert_int_not_equal(row.opened_us, 0);
    assert_int_equal(row.last_us[DOWN], 0);
    assert_int_equal(count_read(shard, COUNT_SESSIONS_OPEN), 1);
    assert_true(flows_find(flows, WORKER, 100, &found) && found.id == 7);
    assert_false(flows_find(flows, WORKER, 101, &found));
    assert_false(flows_find(flows, 0, 100, &found));
}

static void test_life(void **state)
{
    struct conntrack_entry e = entry_of(7, packet_mark(PACKET_MARK_FORWARDED, 1)), found;
    struct row row;
    struct record record;

    (void)state;
    flows_event(flows, &e);
    e.replied = true;
    e.state = CONNTRACK_ESTABLISHED;
    e.bytes[UP] = 60;
    flows_event(flows, &e);
    e.bytes[UP] = 0; /* events do not say them */
    flows_event(flows, &e);
    assert_true(row_of(100, &row) && row.state == ROW_ESTABLISHED && row.conntrack_state == CONNTRACK_ESTABLISHED);
    assert_int_equal(row.bytes[UP], 60);
    assert_int_not_equal(row.last_us[DOWN], 0);
    e.closing = true;
    flows_event(flows, &e);
    assert_true(row_of(100, &row) && row.state == ROW_CLOSING && row.conntrack_state == CONNTRACK_ESTABLISHED);
    e.closing = false;
    e.state = CONNTRACK_NONE; /* it does not say */
    flows_event(flows, &e);
    assert_true(row_of(100, &row) && row.state == ROW_CLOSING && row.conntrack_state == CONNTRACK_ESTABLISHED);
    e.state = CONNTRACK_CLOSED;
    e.destroyed = true;
    e.bytes[UP] = 80;
    e.bytes[DOWN] = 90;
    flows_event(flows, &e);
    assert_int_equal(row_count(), 0);
    assert_true(ring_take(&ring, &record));
    assert_int_equal(record.event, RECORD_END);
    assert_int_equal(record.row.number, 100);
    assert_int_equal(record.row.state, ROW_CLOSED);
    assert_int_equal(record.row.reason, R_NONE);
    assert_int_equal(record.row.closed_by, CLOSER_NONE);
    assert_true(record.bytes[UP] == 80 && record.bytes[DOWN] == 90);
    assert_false(ring_take(&ring, &record));
    assert_true(ended_read(shard, 1, &record) && record.row.number == 100);
    assert_int_equal(count_read(shard, COUNT_ENDED), 1);
    assert_int_equal(count_read(shard, COUNT_SESSIONS_OPEN), 0);
    assert_int_equal(count_read(shard, COUNT_SESSIONS_OPENED), 1);
    assert_true(count_read(shard, COUNT_BYTES_UP) == 80 && count_read(shard, COUNT_BYTES_DOWN) == 90);
    assert_false(flows_find(flows, WORKER, 100, &found));
    flows_event(flows, &e); /* its end again: nothing */
    assert_int_equal(row_count(), 0);
    assert_int_equal(count_read(shard, COUNT_ENDED), 1);
}

static void test_kinds(void **state)
{
    static const struct {
        uint32_t mark;
        bool row;
        const char *policy, *zone_out;
    } cases[] = {
        { 0x53000001, true, "dns", "b" },    { 0x53aa0002, true, "ntp", "b" }, { 0x53000000, true, "", "b" },
        { 0x53000009, true, "", "b" },       { 0x52000001, true, "", "b" },    { 0x52000009, true, "", "b" },
        { 0x54000002, true, "ntp", "self" }, { 0x50000001, false, "", "" },    { 0x51000000, false, "", "" },
        { 0x00000001, false, "", "" },       { 0x55000001, false, "", "" },    { 0, false, "", "" },
    };
    struct row row;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conntrack_entry e = entry_of((uint32_t)i + 1, cases[i].mark);

        flows_event(flows, &e);
        assert_int_equal(row_count(), cases[i].row);
        if (cases[i].row) {
            assert_true(row_read(shard, 0, &row, NULL));
            assert_true(is_named(row.policy, cases[i].policy) && is_named(row.zone_out, cases[i].zone_out));
            assert_int_equal(row.policy_line != 0, cases[i].policy[0] != '\0' || cases[i].mark == 0x52000001);
        }
        e.destroyed = true;
        flows_event(flows, &e);
        assert_int_equal(row_count(), 0);
        e.destroyed = false;
        e.state = CONNTRACK_CLOSED; /* it is over, though the entry is still there */
        flows_event(flows, &e);
        assert_int_equal(row_count(), 0);
    }
}

static void test_states(void **state)
{
    static const struct {
        enum conntrack_state state;
        bool related, replied;
        enum row_state expected;
    } cases[] = { { CONNTRACK_RELATED, true, false, ROW_RELATED },  { CONNTRACK_NONE, true, true, ROW_RELATED },
                  { CONNTRACK_NONE, false, true, ROW_ESTABLISHED }, { CONNTRACK_NONE, false, false, ROW_NEW },
                  { CONNTRACK_NEW, false, false, ROW_NEW },         { CONNTRACK_ESTABLISHED, false, true, ROW_ESTABLISHED } };
    struct row row;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conntrack_entry e = entry_of(1, 0x53000001);

        e.state = cases[i].state;
        e.related = cases[i].related;
        e.replied = cases[i].replied;
        flows_event(flows, &e);
        assert_true(row_of(100 + i, &row));
        assert_int_equal(row.state, cases[i].expected);
        e.destroyed = true;
        flows_event(flows, &e);
    }
}

/* What a dump does not show has ended. */
static void test_dump(void **state)
{
    struct conntrack_entry one = entry_of(1, 0x53000001), two = entry_of(2, 0x53000001), three = entry_of(3, 0x53000001),
                           session = entry_of(4, 0x50000001);
    struct row row;

    (void)state;
    flows_event(flows, &one);
    flows_event(flows, &two);
    assert_true(flows_join(flows, 0, 55, &session));
    flows_dump_begin(flows);
    flows_event(flows, &two);
    flows_event(flows, &three);
    flows_event(flows, &session);
    flows_dump_end(flows);
    assert_int_equal(row_count(), 2);
    assert_false(row_of(100, &row));
    assert_true(row_of(101, &row) && row_of(102, &row));
    assert_int_equal(told.count, 0);
    flows_dump_begin(flows);
    flows_dump_end(flows);
    assert_int_equal(row_count(), 0);
    assert_int_equal(count_read(shard, COUNT_ENDED), 3);
    assert_int_equal(told.count, 1);
    assert_true(told.worker == 0 && told.number == 55 && told.entry.destroyed && told.entry.state == CONNTRACK_CLOSED);
}

/* An entry with the tuple of one whose end was not told yet. */
static void test_same_tuple(void **state)
{
    struct conntrack_entry old = entry_of(1, 0x53000001), new = old;
    struct row row;

    (void)state;
    new.id = 900;
    flows_event(flows, &old);
    flows_event(flows, &new);
    assert_int_equal(row_count(), 2);
    old.destroyed = true;
    flows_event(flows, &old);
    assert_int_equal(row_count(), 1);
    assert_true(row_of(101, &row) && row.conntrack == 900);
}

static void test_full(void **state)
{
    struct conntrack_entry e, first = entry_of(1, 0x53000001);
    struct row row;

    (void)state;
    for (uint32_t id = 1; id <= ROWS; id++) {
        e = entry_of(id, 0x53000001);
        flows_event(flows, &e);
    }
    assert_int_equal(count_reason_read(shard, R_OVERLOAD), 0);
    e = entry_of(ROWS + 1, 0x53000001);
    flows_event(flows, &e);
    flows_event(flows, &e);
    assert_int_equal(row_count(), ROWS);
    assert_int_equal(count_reason_read(shard, R_OVERLOAD), 1);
    first.destroyed = true;
    flows_event(flows, &first);
    assert_int_equal(row_count(), ROWS - 1);
    flows_event(flows, &e);
    assert_int_equal(row_count(), ROWS);
    assert_true(row_of(100 + ROWS, &row) && row.conntrack == ROWS + 1);
}

static void test_join(void **state)
{
    struct conntrack_entry e = entry_of(1, packet_mark(PACKET_MARK_INTERCEPTED, 0)), found;

    (void)state;
    assert_true(flows_join(flows, 2, 77, &e));
    assert_true(flows_find(flows, 2, 77, &found) && found.id == 1);
    assert_false(flows_find(flows, 1, 77, &found));
    flows_event(flows, &e);
    assert_int_equal(told.count, 0); /* nothing new */
    e.state = CONNTRACK_ESTABLISHED;
    flows_event(flows, &e);
    assert_int_equal(told.count, 1);
    assert_true(told.worker == 2 && told.number == 77 && told.entry.state == CONNTRACK_ESTABLISHED);
    e.destroyed = true;
    flows_event(flows, &e);
    assert_true(told.count == 2 && told.entry.destroyed);
    assert_false(flows_find(flows, 2, 77, &found));
    assert_false(flows_join(flows, 2, 77, &e)); /* it is gone */
    assert_int_equal(row_count(), 0);
    assert_int_equal(count_read(shard, COUNT_ENDED), 0);
}

/* A client's flow to a listener's port that a policy to self let in: a session's, never a row of ours. */
static void test_join_takes_the_row(void **state)
{
    struct conntrack_entry e = entry_of(1, packet_mark(PACKET_MARK_INPUT, 0)), found;

    (void)state;
    flows_event(flows, &e);
    assert_int_equal(row_count(), 1);
    assert_true(flows_join(flows, 0, 5, &e));
    assert_false(flows_join(flows, 1, 6, &e)); /* it is another worker's */
    assert_int_equal(row_count(), 0);
    assert_int_equal(count_read(shard, COUNT_SESSIONS_OPEN), 0);
    flows_leave(flows, 0, 5);
    assert_false(flows_find(flows, 0, 5, &found));
    e.closing = true;
    flows_event(flows, &e);
    assert_int_equal(row_count(), 0);
    e.destroyed = true;
    flows_event(flows, &e);
    assert_int_equal(told.count, 0);
    assert_int_equal(count_read(shard, COUNT_ENDED), 0);
}

static void test_leave(void **state)
{
    struct conntrack_entry e, found;

    (void)state;
    for (uint32_t id = 1; id <= 6; id++) {
        e = entry_of(id, 0x50000001);
        assert_true(flows_join(flows, id % 2, id, &e));
    }
    flows_leave(flows, 1, 1);
    flows_leave(flows, 1, 1);
    flows_leave(flows, 0, 1);
    assert_false(flows_find(flows, 1, 1, &found));
    flows_leave_all(flows, 1);
    for (uint32_t id = 1; id <= 6; id++)
        assert_int_equal(flows_find(flows, id % 2, id, &found), id % 2 == 0);
    e = entry_of(20, 0x50000001); /* a session that joins again has its new entry */
    assert_true(flows_join(flows, 0, 2, &e));
    assert_true(flows_find(flows, 0, 2, &found) && found.id == 20);
    flows_leave(flows, 0, 2);
    assert_false(flows_find(flows, 0, 2, &found));
}

static void test_because(void **state)
{
    struct conntrack_entry e = entry_of(1, 0x53000001);
    struct record record;

    (void)state;
    flows_event(flows, &e);
    flows_because(flows, WORKER, 100, R_KILLED);
    flows_because(flows, WORKER, 999, R_BLOCKED);
    flows_because(flows, WORKER - 1, 100, R_BLOCKED);
    e.destroyed = true;
    flows_event(flows, &e);
    assert_true(ring_take(&ring, &record));
    assert_int_equal(record.row.reason, R_KILLED);
    assert_int_equal(record.row.closed_by, CLOSER_POSTERN);
    assert_int_equal(count_reason_read(shard, R_KILLED), 1);
}

static const char ruleset[] =
    "for a in 10.1.0.1 10.2.0.1 10.2.0.5; do ip addr add $a/32 dev lo; done; nft 'table inet marks {"
    " ct helper ftp-std { type \"ftp\" protocol tcp; };"
    " chain out { type filter hook output priority -150;"
    "  udp dport 53 ct state new ct mark set 0x53000001; udp dport 123 ct state new ct mark set 0x53aa0002;"
    "  udp dport 7000 ct state new ct mark set 0x52000001; udp dport 9000 ct state new ct mark set 0x54000002;"
    "  tcp dport 21 ct state new ct mark set 0x53000001; };"
    " chain help { type filter hook output priority 0; tcp dport 21 ct helper set \"ftp-std\"; };"
    " chain nat { type nat hook output priority -100; udp dport 7000 ip daddr 10.2.0.5 dnat ip to 10.2.0.1:7001; }; }'";

static void on_event(void *arg, const struct conntrack_entry *entry)
{
    (void)arg;
    flows_event(flows, entry);
}

/* A datagram from zone a; the client's socket. */
static int open_udp(const char *to_text)
{
    struct addr to = address(to_text);
    struct sockaddr_storage sa;
    int fd = bound(SOCK_DGRAM, "10.1.0.1");

    if (sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) != 1)
        abort();
    return fd;
}

static bool read_events(struct conntrack *c)
{
    bool lost;

    conntrack_read(c, on_event, NULL, &lost);
    return !lost;
}

/* The row of the flow of this socket. */
static bool row_of_socket(int fd, struct row *out)
{
    struct addr client = local_of(fd);

    for (uint32_t i = 0; i < ROWS; i++)
        if (row_read(shard, i, out, NULL) && out->client.port == client.port)
            return true;
    return false;
}

static int judge_body(void)
{
    struct conntrack *c = conntrack_open();
    struct route *route = route_open();
    struct conntrack_entry e;
    struct record record;
    struct row row;
    struct addr from, to = address("10.2.0.1:123");
    int dns, ntp, forward, input;

    NEED(c != NULL && route != NULL && run(ruleset));
    open_flows(route);
    dns = open_udp("10.2.0.1:53");
    ntp = open_udp("10.2.0.1:123");
    forward = open_udp("10.2.0.5:7000");
    input = open_udp("10.2.0.1:9000");
    NEED(read_events(c) && row_count() == 4);
    NEED(row_of_socket(dns, &row) && is_named(row.policy, "dns") && is_named(row.interface_in, "lo") &&
         is_named(row.interface_out, "lo") && row.protocol == PROTO_UDP);
    NEED(row_of_socket(forward, &row) && row.destination.port == 7000 && row.translated.port == 7001);
    NEED(flows_judge_again(flows, c) == 0 && row_count() == 4); /* by the policy that opened them */

    use(second_text);
    NEED(flows_judge_again(flows, c) == 1 && row_count() == 3);
    NEED(!row_of_socket(dns, &row) && ring_take(&ring, &record) && record.row.reason == R_REVOKED);
    NEED(record.row.closed_by == CLOSER_POSTERN && count_reason_read(shard, R_REVOKED) == 1);
    from = local_of(ntp);
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &e) && e.mark == 0x53aa0001u);
    NEED(row_of_socket(ntp, &row) && is_named(row.policy, "ntp") && row.mark == e.mark && row.policy_line != 0);
    NEED(row_of_socket(forward, &row) && row.mark == 0x52000002u);
    NEED(row_of_socket(input, &row) && row.mark == 0x54000000u && row.policy == 0);
    NEED(read_events(c) && row_count() == 3 && !ring_take(&ring, &record)); /* events of what was done here change nothing */

    use(third_text);
    NEED(flows_judge_again(flows, c) == 2 && row_count() == 1 && row_of_socket(input, &row));
    NEED(!conntrack_find(c, IPPROTO_UDP, &from, &to, &e) && errno == ENOENT);
    from = local_of(input);
    to.port = 9000;
    NEED(conntrack_find(c, IPPROTO_UDP, &from, &to, &e) && conntrack_delete(c, &e));
    NEED(read_events(c) && row_count() == 0 && count_read(shard, COUNT_ENDED) == 4);
    close_flows();
    route_close(route);
    conntrack_close(c);
    return GOOD;
}

static void test_judge_again(void **state)
{
    (void)state;
    in_namespace(judge_body);
}

/* Active FTP: the server's data connection is related to the client's control connection, bears its mark and shares its fate. */
static int related_body(void)
{
    bool ready = run(ruleset);
    struct conntrack *c = conntrack_open();
    int listener = bound(SOCK_STREAM, "10.2.0.1:21"), data = bound(SOCK_STREAM, "10.1.0.1:1027"), control, server, back;
    struct sockaddr_storage sa;
    struct addr to = local_of(listener), data_at = local_of(data);
    struct conntrack_entry e;
    struct row row;
    char line[64];

    NEED(ready && c != NULL);
    open_flows(NULL);
    control = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    data_at.port = 4021;
    NEED(bind(control, (struct sockaddr *)&sa, addr_to_sockaddr(&data_at, &sa)) == 0);
    data_at.port = 1027;
    NEED(connect(control, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) == 0);
    NEED((server = accept(listener, NULL, NULL)) >= 0);
    NEED(send(server, "220 hello\r\n", 11, 0) == 11 && recv(control, line, sizeof(line), 0) == 11);
    NEED(send(control, "USER x\r\n", 8, 0) == 8 &&
         recv(server, line, sizeof(line), 0) == 8); /* the helper reads from the second line */
    NEED(send(control, "PORT 10,1,0,1,4,3\r\n", 19, 0) == 19 && recv(server, line, sizeof(line), 0) == 19);
    back = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.port = 20;
    NEED(bind(back, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) == 0);
    NEED(connect(back, (struct sockaddr *)&sa, addr_to_sockaddr(&data_at, &sa)) == 0);
    NEED(conntrack_find(c, IPPROTO_TCP, &to, &data_at, &e));
    NEED(e.related && e.state == CONNTRACK_RELATED && e.mark == 0x53000001u && e.master_destination.port == 21);
    NEED(read_events(c) && row_count() == 2);
    NEED(row_of_socket(back, &row) && row.state == ROW_RELATED && is_named(row.policy, "dns"));
    NEED(flows_judge_again(flows, c) == 0 && row_count() == 2); /* no policy goes that way: it is its master's that counts */
    use(third_text);
    NEED(flows_judge_again(flows, c) == 2 && row_count() == 0);
    NEED(!conntrack_find(c, IPPROTO_TCP, &to, &data_at, &e));
    close_flows();
    conntrack_close(c);
    return GOOD;
}

static void test_related(void **state)
{
    (void)state;
    in_namespace(related_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dump, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_tuple, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_takes_the_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_because, setup, teardown),
        cmocka_unit_test(test_judge_again),
        cmocka_unit_test(test_related),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
