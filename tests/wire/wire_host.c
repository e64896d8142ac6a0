/* SPDX-License-Identifier: ISC */
/*
 * One engine in the hands of a test: `wire_host CONFIG FD`. FD is a SEQPACKET socket; each datagram is a command, each gets one
 * answer, some with a descriptor:
 *
 *   client LISTENER [ORIGINAL]
 *                    "ok" and the client's end of a connection that the engine has accepted on that listener. ORIGINAL: what an
 *                    intercepted client dialled, ADDRESS:PORT, or "direct", or "unknown"
 *   server           "ok ADDRESS:PORT" and the server's end of the oldest dial not taken yet, or "none"
 *   hold, release    dials that begin between the two are not answered before the second
 *   fail ERRNO       dials that begin from now on fail with it; 0: no longer
 *   step             one turn of the loop
 *   turn             runs the loop until nothing happens
 *   advance MS       moves the clock, a timer's tick at a time
 *   records          access-log lines since the last call
 *   rows             a JSON object a line for each open session, as posternctl shows it
 *   sessions         how many are open
 *   waiting          how many bytes wait for clients whose kernels do not take them
 *   kill N           as posternctl does; "ok" or "none"
 *   drain MS         as TERM does
 *   reload CONFIG    as HUP does
 *   untaken ADDRESS BYTES
 *                    what the kernel says is not acknowledged on one pair of sockets (wire_untaken.h)
 *   kernel           what the filter process was told since the last call (wire_kernel.c)
 *   gone             there is no filter process to ask any more
 *   socket REQUEST [ADDRESS]
 *                    it answers a request for a socket; without an address, with an error
 *   flow N           it tells of session N's conntrack entry
 *   block NETWORK    it blocked these clients; "ok COUNT"
 *   explain OBJECT   the dry run of a question (JSON, as control asks it); its answer, or "later" if it takes a look-up
 *   mint             what the minter was asked for since the last call (wire_tls.c)
 *   mint hold, mint answer, mint refuse, mint sign, mint lost
 *                    it does not answer, or answers what waits; it refuses, or signs again; it is gone
 *   quit             frees everything, so that leaks are seen, and ends
 */
#include "wire_dial.h"
#include "wire_kernel.h"
#include "wire_tls.h"
#include "wire_untaken.h"

#include "app/access_json.h"
#include "app/worker_explain.h"
#include "app/row_json.h"
#include "base/clock.h"
#include "net/loop.h"
#include "net/tls.h"
#include "session/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROWS 256
#define LOG_SLOTS 1024
#define STEP_MS 50
#define TURNS_MAX 100000
#define ANSWER_BYTES 900000

struct wire {
    struct loop *loop;
    struct engine *engine;
    struct generation *generation;
    struct shard *shard;
    struct ring ring;
    void *ring_memory;
    uint64_t now;
    int control;
    size_t explained_len;
    char answer[ANSWER_BYTES];
};

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);

    if (file == NULL || text == NULL)
        fatal("%s cannot be read", path);
    *len = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static struct generation *make_generation(const char *path, uint16_t number)
{
    struct generation *g = calloc(1, sizeof(*g));
    struct conf_messages messages;
    size_t len;
    char *text = read_file(path, &len);

    g->conf = conf_parse(path, span_of(text, len), &messages);
    for (size_t i = 0; i < messages.error_count; i++)
        fprintf(stderr, "%s\n", messages.errors[i]);
    if (g->conf == NULL)
        exit(1);
    conf_messages_fini(&messages);
    free(text);
    text = read_file(g->conf->resolver_hosts, &len);
    g->hosts = conf_hosts_parse(span_of(text, len));
    free(text);
    g->refs = 1;
    g->number = number;
    g->files = calloc(g->conf->policy_count + 1, sizeof(*g->files));
    if (!generation_compile(g))
        fatal("the policies cannot be compiled");
    g->server_count = g->conf->resolver_server_count < RESOLVER_SERVERS ? g->conf->resolver_server_count : RESOLVER_SERVERS;
    for (size_t i = 0; i < g->server_count; i++)
        g->servers[i] = g->conf->resolver_servers[i];
    wire_tls_contexts(g);
    snprintf(g->instance, sizeof(g->instance), "postern-wire");
    return g;
}

static void open_host(struct wire *h, const char *config, int control)
{
    int fd = memfd_create("shard", MFD_CLOEXEC);

    clock_set(1000000);
    h->now = 1000000;
    h->control = control;
    h->loop = loop_new();
    if (!tls_start())
        fatal("no TLS");
    if (fd < 0 || ftruncate(fd, (off_t)shard_bytes(ROWS)) != 0 || (h->shard = shard_map(fd, ROWS, true)) == NULL)
        fatal("no shard");
    close(fd);
    h->ring_memory = calloc(1, ring_bytes(LOG_SLOTS, sizeof(struct record)) + 64);
    ring_attach(&h->ring, (void *)(((uintptr_t)h->ring_memory + 63) & ~(uintptr_t)63), LOG_SLOTS, sizeof(struct record));
    h->generation = make_generation(config, 1);
    h->engine = engine_new(&(struct engine_args){ .loop = h->loop,
                                                  .workers = 1,
                                                  .shards = &h->shard,
                                                  .log = &h->ring,
                                                  .log_wake = -1,
                                                  .first_number = 1,
                                                  .filter = wire_kernel(),
                                                  .minter = wire_minter(h->loop) });
    if (h->engine == NULL)
        fatal("no engine");
    wire_minter_serve(h->engine);
    engine_set_generation(h->engine, h->generation);
}

static void run_turns(struct wire *h)
{
    int idle = 0;

    for (int i = 0; i < TURNS_MAX && idle < 3; i++)
        idle = loop_turn(h->loop) ? 0 : idle + 1;
}

static void advance(struct wire *h, uint64_t ms)
{
    for (uint64_t end = h->now + ms; h->now < end;) {
        h->now += end - h->now < STEP_MS ? end - h->now : STEP_MS;
        clock_set(h->now);
        run_turns(h);
    }
}

static void reply(struct wire *h, const char *text, size_t len, int fd)
{
    struct iovec iov = { (void *)text, len };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    if (sendmsg(h->control, &message, MSG_NOSIGNAL) < 0)
        fatal("the test does not listen");
    if (fd >= 0)
        close(fd);
}

/* What the kernel would say of it. */
static enum original original_of(const char *text, const struct addr *listener, struct addr *out)
{
    *out = *listener;
    if (text == NULL || strcmp(text, "direct") == 0)
        return ORIGINAL_DIRECT;
    return addr_parse_port(out, span_str(text)) ? ORIGINAL_FOUND : ORIGINAL_UNKNOWN;
}

static void open_client(struct wire *h, char *listener)
{
    const struct conf *conf = h->generation->conf;
    char *text = strchr(listener, ' ');
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr client, original;
    enum original found;
    int fds[2];

    if (text != NULL)
        *text++ = '\0';
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (strcmp(conf->listeners[i].name, listener) != 0)
            continue;
        wire_pair(fds);
        if (getpeername(fds[1], (struct sockaddr *)&sa, &len) != 0 || !addr_from_sockaddr(&client, (struct sockaddr *)&sa, len))
            fatal("a loopback pair without addresses");
        found = original_of(text, &conf->listeners[i].address, &original);
        engine_accept(h->engine, fds[1], &client, &conf->listeners[i].address, &original, found);
        reply(h, "ok", 2, fds[0]);
        return;
    }
    reply(h, "no such listener", 16, -1);
}

static void give_dial(struct wire *h)
{
    char text[ADDR_TEXT + 4] = "ok ";
    struct addr to;
    int fd = wire_take_dial(&to);

    if (fd < 0) {
        reply(h, "none", 4, -1);
        return;
    }
    addr_port_text(&to, text + 3);
    reply(h, text, strlen(text), fd);
}

static void give_records(struct wire *h)
{
    struct record record;
    size_t len = 1;

    h->answer[0] = '\n'; /* an empty datagram would look like an end */
    while (len + ACCESS_LINE < sizeof(h->answer) && ring_take(&h->ring, &record)) {
        char line[ACCESS_LINE];
        size_t n = access_line(&record, h->shard, line);

        memcpy(h->answer + len, line, n);
        len += n;
    }
    reply(h, h->answer, len, -1);
}

static void give_rows(struct wire *h)
{
    struct tls_facts tls[DIRECTIONS];
    struct row row;
    size_t len = 1;

    h->answer[0] = '\n';
    for (uint32_t i = 0; i < ROWS; i++) {
        json_t *object = row_read(h->shard, i, &row, tls) ? row_object(&row, tls, h->shard, "") : NULL;

        if (object == NULL)
            continue;
        len += json_dumpb(object, h->answer + len, sizeof(h->answer) - len, JSON_COMPACT);
        json_decref(object);
        if (len >= sizeof(h->answer))
            fatal("too many rows for one answer");
        h->answer[len++] = '\n';
    }
    reply(h, h->answer, len, -1);
}

static void reload(struct wire *h, const char *path)
{
    struct generation *fresh = make_generation(path, (uint16_t)(h->generation->number + 1));

    engine_set_generation(h->engine, fresh);
    generation_unref(h->generation);
    h->generation = fresh;
}

static void on_empty(void *arg)
{
    (void)arg;
}

/* Commands that change the engine's surroundings; false: it is none of them. */
static bool arrange(struct wire *h, const char *command, const char *argument)
{
    bool done = true;

    if (strcmp(command, "hold") == 0 || strcmp(command, "release") == 0)
        wire_hold(strcmp(command, "hold") == 0);
    else if (strcmp(command, "fail") == 0 && argument != NULL)
        wire_fail(atoi(argument));
    else if (strcmp(command, "step") == 0)
        loop_turn(h->loop);
    else if (strcmp(command, "drain") == 0 && argument != NULL)
        engine_drain(h->engine, strtoull(argument, NULL, 10), on_empty, NULL);
    else if (strcmp(command, "reload") == 0 && argument != NULL)
        reload(h, argument);
    else if (strcmp(command, "untaken") == 0 && argument != NULL)
        done = wire_untaken(argument);
    else if (strcmp(command, "kill") == 0 && argument != NULL)
        done = engine_kill(h->engine, strtoull(argument, NULL, 10));
    else
        return false;
    reply(h, done ? "ok" : "none", done ? 2 : 4, -1);
    return true;
}

/* The part of the filter process; false: it is none of that. */
static bool play_kernel(struct wire *h, const char *command, const char *argument)
{
    struct network network;
    const char *rest = argument != NULL ? strchr(argument, ' ') : NULL;
    uint64_t number = argument != NULL ? strtoull(argument, NULL, 10) : 0;
    size_t len;

    h->answer[0] = '\n';
    len = 1;
    if (strcmp(command, "kernel") == 0)
        len += wire_kernel_lines(h->answer + 1, sizeof(h->answer) - 1);
    else if (strcmp(command, "gone") == 0)
        wire_kernel_gone();
    else if (strcmp(command, "socket") == 0 && argument != NULL)
        wire_kernel_socket(h->engine, number, rest != NULL ? rest + 1 : NULL);
    else if (strcmp(command, "flow") == 0 && argument != NULL)
        wire_kernel_flow(h->engine, number);
    else if (strcmp(command, "block") == 0 && argument != NULL && network_parse(&network, span_str(argument)))
        len = (size_t)snprintf(h->answer, sizeof(h->answer), "ok %zu", engine_block(h->engine, &network));
    else
        return false;
    reply(h, h->answer, len, -1);
    return true;
}

static void explained(const struct explain_answer *answer, void *arg)
{
    struct wire *h = arg;
    json_t *object = explain_write(answer);

    h->explained_len = json_dumpb(object, h->answer, sizeof(h->answer), 0);
    json_decref(object);
}

static void explain(struct wire *h, const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    static struct explain_question question;
    const char *fault = object != NULL ? explain_read(&question, object) : "no JSON";

    h->explained_len = 0;
    if (fault != NULL)
        fatal("explain: %s", fault);
    engine_explain(h->engine, &question.query, explained, h);
    json_decref(object);
    if (h->explained_len > 0)
        reply(h, h->answer, h->explained_len, -1);
    else
        reply(h, "later", 5, -1);
}

/* The part of the minter; false: it is none of that. */
static bool play_minter(struct wire *h, const char *command, const char *argument)
{
    size_t len = 1;

    if (strcmp(command, "mint") != 0)
        return false;
    h->answer[0] = '\n';
    if (argument == NULL)
        len += wire_minter_lines(h->answer + 1, sizeof(h->answer) - 1);
    else if (strcmp(argument, "hold") == 0 || strcmp(argument, "answer") == 0)
        wire_minter_hold(strcmp(argument, "hold") == 0);
    else if (strcmp(argument, "refuse") == 0 || strcmp(argument, "sign") == 0)
        wire_minter_refuse(strcmp(argument, "refuse") == 0);
    else
        engine_leaves_lost(h->engine);
    reply(h, h->answer, len, -1);
    return true;
}

static unsigned sum_waiting(const struct wire *h)
{
    unsigned sum = 0;

    for (const struct session *s = h->engine->sessions; s != NULL; s = s->next)
        sum += stream_waiting(&s->client);
    return sum;
}

static bool obey(struct wire *h, char *command)
{
    char *argument = strchr(command, ' ');
    char text[32];

    if (argument != NULL)
        *argument++ = '\0';
    if (strcmp(command, "quit") == 0)
        return false;
    if (arrange(h, command, argument) || play_kernel(h, command, argument) || play_minter(h, command, argument)) {
        return true;
    } else if (strcmp(command, "client") == 0 && argument != NULL) {
        open_client(h, argument);
    } else if (strcmp(command, "explain") == 0 && argument != NULL) {
        explain(h, argument);
    } else if (strcmp(command, "server") == 0) {
        give_dial(h);
    } else if (strcmp(command, "records") == 0) {
        give_records(h);
    } else if (strcmp(command, "rows") == 0) {
        give_rows(h);
    } else if (strcmp(command, "sessions") == 0) {
        reply(h, text, (size_t)snprintf(text, sizeof(text), "%u", engine_open_sessions(h->engine)), -1);
    } else if (strcmp(command, "waiting") == 0) {
        reply(h, text, (size_t)snprintf(text, sizeof(text), "%u", sum_waiting(h)), -1);
    } else if (strcmp(command, "turn") == 0 || (strcmp(command, "advance") == 0 && argument != NULL)) {
        if (argument != NULL)
            advance(h, strtoull(argument, NULL, 10));
        else
            run_turns(h);
        reply(h, "ok", 2, -1);
    } else {
        reply(h, "what?", 5, -1);
    }
    return true;
}

static void close_host(struct wire *h)
{
    struct addr to;
    int fd;

    engine_free(h->engine);
    generation_unref(h->generation);
    wire_minter_free();
    loop_free(h->loop);
    shard_unmap(h->shard);
    free(h->ring_memory);
    while ((fd = wire_take_dial(&to)) >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    static struct wire host;
    char command[4096];
    ssize_t n;

    if (argc != 3)
        fatal("usage: wire_host CONFIG FD");
    log_open("wire", LOG_LEVEL_WARN);
    open_host(&host, argv[1], atoi(argv[2]));
    while ((n = recv(host.control, command, sizeof(command) - 1, 0)) > 0) {
        command[n] = '\0';
        if (!obey(&host, command))
            break;
    }
    close_host(&host);
    return 0;
}
