/* SPDX-License-Identifier: ISC */
/* One table of nftables, in a network namespace of each test's own. "Somebody else" is a child with its own libnftables. */
#include "filter/nft.h"

#include "filter_descriptors.h"
#include "filter_namespace.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define TABLE                                                                                                                      \
    "table inet t {\n"                                                                                                             \
    " set blocked4 { type ipv4_addr; flags interval,timeout; comment \"by hand\"; }\n"                                             \
    " set blocked6 { type ipv6_addr; flags interval,timeout; }\n"                                                                  \
    " set inside { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/8, 192.168.0.0/16 }\n }\n"                    \
    " chain in {\n  type filter hook input priority 0; policy accept;\n"                                                           \
    "  ip saddr @blocked4 counter drop comment \"blocked\"\n  ip6 saddr @blocked6 counter drop comment \"blocked\"\n"              \
    "  udp dport 9 counter drop comment \"nine\"\n  udp dport 10 counter drop comment \"nine\"\n"                                  \
    "  udp dport 11 counter drop comment \"eleven\"\n }\n}\n"

static char error[NFT_ERROR];
static bool is_root;

static bool loopback_up(void)
{
    struct ifreq request = { .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up;

    strcpy(request.ifr_name, "lo");
    up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return up;
}

/* A new namespace, with the table in it. */
static struct nft *open_in_namespace(void)
{
    struct nft *n;

    assert_true(enter_namespace() && loopback_up());
    n = nft_open("t", error);
    assert_non_null(n);
    if (!nft_commit(n, TABLE, error))
        fail_msg("%s", error);
    return n;
}

static char *list(struct nft *n, bool bare)
{
    char *text = nft_list(n, bare);

    assert_non_null(text);
    return text;
}

static struct network network(const char *text)
{
    struct network n;

    assert_true(network_parse(&n, span_str(text)));
    return n;
}

static bool block(struct nft *n, const char *text, uint32_t seconds)
{
    struct network net = network(text);

    return nft_block(n, &net, seconds, error);
}

static bool unblock(struct nft *n, const char *text)
{
    struct network net = network(text);

    return nft_unblock(n, &net, error);
}

/* Seconds that `text` is still blocked; 0: it is not. */
static uint32_t left(struct nft *n, const char *text)
{
    struct ruleset_block blocks[16];
    struct network net = network(text);
    size_t count = nft_blocks(n, blocks, 16);

    for (size_t i = 0; i < count; i++)
        if (addr_same_ip(&blocks[i].network.base, &net.base) && blocks[i].network.bits == net.bits)
            return blocks[i].seconds;
    return 0;
}

/* Another process commits `text`. */
static bool other_commits(const char *text)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct nft *n = nft_open("t", error);

        _exit(n != NULL && nft_commit(n, text, error) ? 0 : 1);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_readable(const struct nft *n)
{
    struct pollfd p = { .fd = nft_watch_fd(n), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void test_names(void **state)
{
    static const char *const bad[] = { "",
                                       "1t",
                                       "-t",
                                       "a b",
                                       "a;b",
                                       "a\n",
                                       "t {",
                                       "\"t\"",
                                       "a/b",
                                       "t\xc3\xa4",
                                       "a123456789012345678901234567890123456789012345678901234567890123" };
    struct nft *n;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(nft_open(bad[i], error));
        assert_string_equal(error, "not the name of a table");
    }
    n = nft_open("Post_ern-1", error);
    assert_non_null(n);
    nft_close(n);
    nft_close(NULL);
}

static void cannot_open(void)
{
    assert_null(nft_open("t", error));
    assert_string_equal(error, "Too many open files");
}

/* libnftables would end the process. */
static void test_no_descriptor(void **state)
{
    (void)state;
    with_few_descriptors(cannot_open);
}

/* Descriptors are not left to programs that are started. */
static void test_close_on_exec(void **state)
{
    struct nft *n = open_in_namespace();

    (void)state;
    for (int fd = 3; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD), kind = 0;
        socklen_t size = sizeof(kind);

        if (flags >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &kind, &size) == 0 && kind == AF_NETLINK)
            assert_int_equal(flags, FD_CLOEXEC);
    }
    nft_close(n);
}

static void test_list(void **state)
{
    struct nft *n = open_in_namespace();
    char *all, *bare;
    struct nft *other;

    (void)state;
    all = list(n, false);
    bare = list(n, true);
    assert_non_null(strstr(all, "counter packets 0 bytes 0"));
    assert_null(strstr(bare, "packets"));
    assert_non_null(strstr(bare, "elements = { 10.0.0.0/8, 192.168.0.0/16 }"));
    free(all);
    free(bare);
    other = nft_open("absent", error);
    assert_non_null(other);
    all = list(other, true);
    assert_string_equal(all, "");
    free(all);
    nft_close(other);
    nft_close(n);
}

/* A transaction that fails changes nothing, wherever the mistake is, and says one line with the reason first. */
static void test_failing(void **state)
{
    struct nft *n = open_in_namespace();
    static const struct {
        const char *text, *reason;
    } bad[] = {
        { "flush table inet t\nadd rule inet t in foo\n", "syntax error" },
        { "add table inet other\nadd rule inet t in jump nowhere\n", "No such file or directory: add rule inet t in jump nowhere" },
        { "delete table inet t\ntable inet t { chain x { type filter hook input priority 0; policy drop; }\n}\nadd rule inet u c "
          "drop\n",
          "No such file or directory" },
        { "flush ruleset\nadd table inet t\nadd chain inet t c { type nat hook forward priority 0; }\n",
          "Operation not supported" },
        { "add table inet other\nadd rule inet t in ip saddr 192.0.2.1 drop\nadd chain inet none c\n",
          "No such file or directory: add chain inet none c" },
        { "delete element inet t blocked4 { 1.2.3.4 }\n", "element does not exist" },
        { "include \"/nowhere\"\n", "File not found" },
    };
    char *before, *after;

    (void)state;
    before = list(n, false);
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        memset(error, 0, sizeof(error));
        assert_false(i % 2 == 0 ? nft_commit(n, bad[i / 2].text, error) : nft_try(n, bad[i / 2].text, error));
        if (strncmp(error, bad[i / 2].reason, strlen(bad[i / 2].reason)) != 0)
            fail_msg("%s", error);
        assert_null(strchr(error, '\n'));
        after = list(n, false);
        assert_string_equal(before, after);
        free(after);
    }
    free(before);
    nft_close(n);
}

static void test_try(void **state)
{
    struct nft *n = open_in_namespace();
    char *before, *after;

    (void)state;
    before = list(n, true);
    assert_true(nft_try(n, "delete table inet t\nadd table inet t\n", error));
    assert_true(nft_try(n, "add element inet t blocked4 { 1.2.3.4 timeout 9s }", error));
    after = list(n, true);
    assert_string_equal(before, after);
    assert_int_equal(left(n, "1.2.3.4"), 0);
    assert_true(nft_commit(n, "delete table inet t\nadd table inet t\n", error));
    free(after);
    after = list(n, true);
    assert_string_equal(after, "table inet t {\n}\n");
    free(before);
    free(after);
    nft_close(n);
}

static void test_blocks(void **state)
{
    struct nft *n = open_in_namespace();
    static const char *const good[] = { "192.0.2.1",       "198.51.100.0/24", "2001:db8::1",
                                        "2001:db8:1::/48", "0.0.0.1",         "255.255.255.255" };
    char *before, *after;

    (void)state;
    before = list(n, true);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!block(n, good[i], 100))
            fail_msg("%s: %s", good[i], error);
        assert_in_range(left(n, good[i]), 95, 100);
        assert_true(block(n, good[i], 1000)); /* longer */
        assert_in_range(left(n, good[i]), 995, 1000);
        assert_true(block(n, good[i], 10)); /* and shorter */
        assert_in_range(left(n, good[i]), 5, 10);
    }
    after = list(n, true);
    assert_string_equal(before, after);
    free(after);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(unblock(n, good[i]));
        assert_int_equal(left(n, good[i]), 0);
        assert_true(unblock(n, good[i]));
    }
    assert_int_equal(nft_blocks(n, NULL, 0), 0);
    after = list(n, true);
    assert_string_equal(before, after);
    free(before);
    free(after);
    nft_close(n);
}

/* One that others put there without an end; and no more than there is room for. */
static void test_blocks_of_others(void **state)
{
    struct nft *n = open_in_namespace();
    struct ruleset_block blocks[2];

    (void)state;
    assert_true(nft_commit(n, "add element inet t blocked4 { 1.2.3.4, 1.2.4.0/24, 9.9.9.9 timeout 1h }\n", error));
    assert_int_equal(left(n, "1.2.3.4"), UINT32_MAX);
    assert_int_equal(left(n, "1.2.4.0/24"), UINT32_MAX);
    assert_int_equal(nft_blocks(n, blocks, 2), 2);
    assert_true(block(n, "1.2.3.4", 60));
    assert_in_range(left(n, "1.2.3.4"), 50, 60);
    nft_close(n);
}

static void test_overlap(void **state)
{
    struct nft *n = open_in_namespace();
    static const char *const names[][2] = { { "10.0.0.1", "10.0.0.0/8" }, { "2001:db8::/32", "2001:db8:7::/48" } };
    char text[256];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(block(n, names[i][1], 100));
        snprintf(text, sizeof(text), "%s overlaps with %s, which is blocked: unblock that first", names[i][0], names[i][1]);
        assert_false(block(n, names[i][0], 60));
        assert_string_equal(error, text);
        assert_false(unblock(n, names[i][0]));
        assert_string_equal(error, text);
        assert_in_range(left(n, names[i][1]), 95, 100);
        assert_int_equal(left(n, names[i][0]), 0);
    }
    nft_close(n);
}

static void test_expiry(void **state)
{
    struct nft *n = open_in_namespace();
    struct pollfd nothing = { .fd = -1 };

    (void)state;
    assert_true(block(n, "192.0.2.1", 0)); /* at least a second */
    assert_int_equal(left(n, "192.0.2.1"), 1);
    for (int i = 0; i < 50 && left(n, "192.0.2.1") != 0; i++)
        poll(&nothing, 1, 100);
    assert_int_equal(left(n, "192.0.2.1"), 0);
    nft_close(n);
}

static void test_no_table(void **state)
{
    struct nft *n = open_in_namespace();

    (void)state;
    assert_true(nft_commit(n, "delete table inet t", error));
    assert_false(block(n, "1.2.3.4", 5));
    assert_int_equal(strncmp(error, "No such file or directory", 25), 0);
    assert_int_equal(left(n, "1.2.3.4"), 0);
    assert_int_equal(nft_counter(n, "nine"), 0);
    nft_close(n);
}

static void send_to(uint16_t port, int times)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    while (times-- > 0)
        assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
    close(fd);
}

static void test_counters(void **state)
{
    struct nft *n = open_in_namespace();
    char *before, *after;

    (void)state;
    before = list(n, true);
    assert_int_equal(nft_counter(n, "nine"), 0);
    send_to(9, 3);
    send_to(10, 4);
    send_to(11, 1);
    assert_int_equal(nft_counter(n, "nine"), 7);
    assert_int_equal(nft_counter(n, "eleven"), 1);
    assert_int_equal(nft_counter(n, "nobody"), 0);
    assert_true(block(n, "127.0.0.1", 60));
    send_to(9, 2);
    assert_int_equal(nft_counter(n, "nine"), 7);
    assert_int_equal(nft_counter(n, "blocked"), 2);
    after = list(n, true);
    assert_string_equal(before, after);
    free(before);
    free(after);
    nft_close(n);
}

static void test_watch(void **state)
{
    struct nft *n = open_in_namespace();

    (void)state;
    assert_true(is_readable(n)); /* our own first commit */
    assert_false(nft_watch_read(n));
    assert_false(is_readable(n));
    assert_true(block(n, "1.2.3.4", 60));
    assert_true(unblock(n, "1.2.3.4"));
    assert_true(is_readable(n));
    assert_false(nft_watch_read(n));
    assert_true(nft_try(n, "delete table inet t", error));
    assert_false(nft_commit(n, "delete table inet other", error));
    assert_false(is_readable(n));
    assert_true(other_commits("add rule inet t in accept"));
    assert_true(is_readable(n));
    assert_true(nft_watch_read(n));
    assert_false(nft_watch_read(n));
    assert_true(block(n, "1.2.3.4", 60));
    assert_true(other_commits("add table inet another"));
    assert_true(block(n, "1.2.3.5", 60));
    assert_true(nft_watch_read(n));
    assert_false(nft_watch_read(n));
    nft_close(n);
}

/* A large transaction of ours overruns nothing; very many of others do, and that is a change. */
static void test_watch_load(void **state)
{
    struct nft *n = open_in_namespace();
    char *text, *at;
    int small = 1, elements = is_root ? 20000 : 1000; /* in a user namespace a transaction must fit into a common socket buffer */

    (void)state;
    text = at = malloc(elements * 32 + 100);
    assert_false(nft_watch_read(n));
    at += sprintf(at, "add element inet t blocked4 {");
    for (int i = 0; i < elements; i++)
        at += sprintf(at, " 10.%d.%d.1 timeout 1h,", i / 200, i % 200);
    strcpy(at, " }\n");
    if (!nft_commit(n, text, error))
        fail_msg("%s", error);
    assert_false(nft_watch_read(n));
    free(text);
    assert_int_equal(setsockopt(nft_watch_fd(n), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    for (int i = 0; i < 100; i++)
        assert_true(nft_commit(n, i % 2 == 0 ? "add table inet other" : "delete table inet other", error));
    assert_true(nft_watch_read(n)); /* some were lost; whose they were cannot be said */
    assert_false(nft_watch_read(n));
    nft_close(n);
}

/* Another process that adds a rule again and again, until it is killed. */
static pid_t start_meddling(void)
{
    pid_t child = fork();

    if (child == 0) {
        struct nft *n = nft_open("t", error);

        for (bool good = n != NULL && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0; good;)
            good = nft_commit(n, "add rule inet t in accept", error) || strstr(error, "No such file") != NULL;
        _exit(1);
    }
    return child;
}

/* What is listed behind a commit is what was committed, or nothing. */
static void test_listed_commit(void **state)
{
    static const char text[] = "add table inet t\ndelete table inet t\n" TABLE;
    struct nft *n = open_in_namespace();
    char *alone, *listing;
    pid_t child;
    int unsure = 0;

    (void)state;
    assert_true(nft_commit_listed(n, text, &alone, error));
    assert_non_null(alone);
    child = start_meddling();
    for (int i = 0; i < 5000 && unsure < 50; i++) {
        assert_true(nft_commit_listed(n, text, &listing, error));
        if (listing != NULL)
            assert_string_equal(listing, alone);
        unsure += listing == NULL;
        free(listing);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(unsure, 50);
    assert_true(nft_commit_listed(n, text, &listing, error));
    assert_non_null(listing);
    assert_string_equal(listing, alone);
    free(listing);
    free(alone);
    nft_close(n);
}

/* Is the right line named, although such a process must not be looked at by others, and /proc/self is root's? */
static bool names_line(struct nft *n)
{
    return !nft_commit(n, "add table inet other\nadd chain inet none c\n", error) &&
           strcmp(error, "No such file or directory: add chain inet none c") == 0;
}

/* As the filter process runs: another user, with this capability alone. */
static int unprivileged(bool with_capability)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    uint32_t only = with_capability ? 1u << CAP_NET_ADMIN : 0;
    struct __user_cap_data_struct data[2] = { { only, only, 0 }, { 0, 0, 0 } };
    struct nft *n;
    char *text;
    bool good;

    if (unshare(CLONE_NEWNET) != 0 || prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, NULL) != 0 ||
        setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0 || syscall(SYS_capset, &header, data) != 0)
        return 2;
    n = nft_open("t", error);
    if (n == NULL)
        return 1;
    good = nft_commit(n, TABLE, error) && block(n, "1.2.3.4", 60) && left(n, "1.2.3.4") > 50 && names_line(n) &&
           !nft_watch_read(n) && other_commits("add rule inet t in accept") && nft_watch_read(n) &&
           (text = nft_list(n, true)) != NULL && *text != '\0';
    if (good)
        free(text);
    nft_close(n);
    return good ? 0 : 1;
}

static void test_unprivileged(void **state)
{
    int status;

    (void)state;
    if (!is_root) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    for (int with_capability = 0; with_capability < 2; with_capability++) {
        pid_t child = fork();

        if (child == 0)
            _exit(unprivileged(with_capability == 1));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), with_capability == 1 ? 0 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_no_descriptor), cmocka_unit_test(test_close_on_exec),
        cmocka_unit_test(test_list),         cmocka_unit_test(test_failing),       cmocka_unit_test(test_try),
        cmocka_unit_test(test_blocks),       cmocka_unit_test(test_overlap),       cmocka_unit_test(test_blocks_of_others),
        cmocka_unit_test(test_expiry),       cmocka_unit_test(test_no_table),      cmocka_unit_test(test_counters),
        cmocka_unit_test(test_watch),        cmocka_unit_test(test_watch_load),    cmocka_unit_test(test_listed_commit),
        cmocka_unit_test(test_unprivileged),
    };

    is_root = geteuid() == 0;
    if (!enter_namespace()) {
        print_message("skipped: no network namespace of our own here\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
