/* SPDX-License-Identifier: ISC */
/* Bytes that pass unread from one socket to another, over real sockets: none lost, none counted twice, whatever the other end does.
 */
#include "net/pipes.h"
#include "net/stream.h"
#include "net_pair.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LARGE (8u << 20)
#define PIECE (256u * 1024u)
#define SOCKETS_HOLD (32u << 20) /* more than four sockets and a pipe hold when nobody reads */

/* One direction: what `source` says arrives at `from`, leaves by `to`, and is heard by `sink`. */
struct fixture {
    struct loop *loop;
    struct stream from, to;
    int source, sink; /* the far ends */
    size_t spliced, copied, said, heard;
    bool ended; /* the sink heard the end */
};

/* The byte at this place of what is said. */
static char byte_at(size_t at)
{
    return (char)(at ^ at >> 8 ^ at >> 16);
}

static bool pass_once(struct fixture *f)
{
    struct span input;
    size_t spliced = stream_splice(&f->from, &f->to, UINT64_MAX);

    f->spliced += spliced;
    if (spliced > 0)
        return true;
    input = stream_input(&f->from, true);
    f->copied += input.len;
    assert_true(input.len == 0 || stream_send(&f->to, input));
    assert_true(stream_taken(&f->from, input, input.len));
    return input.len > 0;
}

static void on_ready(void *owner)
{
    struct fixture *f = owner;

    stream_flush(&f->to);
    while (!stream_is_full(&f->to) && pass_once(f))
        ;
    if (f->from.eof && !stream_is_full(&f->to))
        stream_shutdown(&f->to);
    stream_flush(&f->to);
}

static void begin_in(struct fixture *f, struct loop *loop)
{
    int in[2], out[2];

    tcp_pair(in);
    tcp_pair(out);
    *f = (struct fixture){ .loop = loop, .source = in[1], .sink = out[1] };
    assert_true(stream_open(&f->from, loop, in[0], on_ready, f));
    assert_true(stream_open(&f->to, loop, out[0], on_ready, f));
    turn_idly(loop);
}

static void begin(struct fixture *f, unsigned pipes)
{
    struct loop *loop = loop_new();

    assert_non_null(loop);
    loop_pipes(loop)->most = pipes;
    begin_in(f, loop);
}

static void end_streams(struct fixture *f)
{
    stream_close(&f->from, false);
    stream_close(&f->to, false);
    if (f->source >= 0)
        close(f->source);
    if (f->sink >= 0)
        close(f->sink);
}

static unsigned idle_pipes(const struct fixture *f)
{
    unsigned n = 0;

    for (const struct pipe *p = loop_pipes(f->loop)->idle; p != NULL; p = p->next)
        n++;
    return n;
}

static void end(struct fixture *f)
{
    end_streams(f);
    assert_int_equal(loop_pipes(f->loop)->made, idle_pipes(f)); /* nobody holds one any more */
    loop_free(f->loop);
}

static void reset(int *fd)
{
    struct linger now = { 1, 0 };

    assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(*fd);
    *fd = -1;
}

/* Says what is next, in one piece, up to `until`; false if the kernel takes nothing. */
static bool say(struct fixture *f, size_t until, size_t piece)
{
    static char data[PIECE];
    size_t len = until - f->said < piece ? until - f->said : piece;
    ssize_t n;

    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(f->said + i);
    n = len > 0 ? send(f->source, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    f->said += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Hears what is there, and that it is right. */
static bool hear(struct fixture *f)
{
    static char data[PIECE];
    ssize_t n = recv(f->sink, data, sizeof(data), MSG_DONTWAIT);

    f->ended |= n == 0;
    for (ssize_t i = 0; i < n; i++)
        if (data[i] != byte_at(f->heard + (size_t)i))
            fail_msg("byte %zu is not what was said", f->heard + (size_t)i);
    f->heard += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Says up to `total` in such pieces while somebody hears it, until all of it was heard. */
static void carry(struct fixture *f, size_t total, size_t piece)
{
    for (uint64_t until = wait_now_ms() + WAIT_MS; f->heard < total && wait_now_ms() < until;) {
        bool moved = say(f, total, piece);

        moved |= loop_turn(f->loop);
        moved |= hear(f);
        if (moved)
            until = wait_now_ms() + WAIT_MS;
        else
            poll(NULL, 0, 1);
    }
    assert_int_equal(f->heard, total);
    assert_int_equal(f->from.received, total);
    assert_int_equal(f->to.queued, total);
    assert_int_equal(f->spliced + f->copied, total);
    assert_int_equal(stream_waiting(&f->to), 0);
    assert_false(stream_is_full(&f->to));
}

/* Says what nobody hears until nothing moves any more. */
static void fill(struct fixture *f)
{
    for (unsigned idle = 0; idle < 20 && f->said < SOCKETS_HOLD;) {
        bool moved = say(f, SOCKETS_HOLD, PIECE);

        moved |= loop_turn(f->loop);
        idle = moved ? 0 : idle + 1;
        if (!moved)
            poll(NULL, 0, 1);
    }
    assert_true(f->said < SOCKETS_HOLD);
    assert_true(stream_is_full(&f->to));
}

/* Far ends say no more. */
static void say_end(struct fixture *f)
{
    assert_int_equal(shutdown(f->source, SHUT_WR), 0);
}

static void wait_for(struct fixture *f, const bool *what)
{
    for (uint64_t until = wait_now_ms() + WAIT_MS; !*what && wait_now_ms() < until;)
        if (!loop_turn(f->loop))
            poll(NULL, 0, 1);
    assert_true(*what);
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void test_large(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 2);
    carry(&f, LARGE, PIECE);
    assert_true(f.spliced > LARGE / 2);
    assert_true(f.copied > 0); /* it takes a full read to begin */
    assert_null(f.to.pipe);
    assert_int_equal(idle_pipes(&f), 1);
    say_end(&f);
    for (int i = 0; i < 1000 && !f.ended; i++) {
        turn_idly(f.loop);
        hear(&f);
    }
    assert_true(f.ended && f.to.shut_sent);
    assert_int_equal(f.heard, LARGE);
    end(&f);
}

/* Little ones are read and written, and after them large ones begin anew. */
static void test_small(void **state)
{
    struct fixture f;
    size_t spliced;

    (void)state;
    begin(&f, 1);
    for (size_t total = 1000; total < 100000; total += 1000)
        carry(&f, total, 1000);
    assert_int_equal(f.spliced, 0);
    assert_int_equal(loop_pipes(f.loop)->made, 0);
    carry(&f, LARGE, PIECE);
    spliced = f.spliced;
    assert_true(spliced > LARGE / 2);
    for (size_t total = LARGE + 1000; total < LARGE + 100000; total += 1000)
        carry(&f, total, 1000);
    assert_true(f.spliced <= spliced + 1000); /* the first of them was found out */
    end(&f);
}

static void test_no_more_than_asked(void **state)
{
    struct fixture f;
    struct span input;
    uint64_t until = wait_now_ms() + WAIT_MS;

    (void)state;
    begin(&f, 1);
    f.from.on_ready = f.to.on_ready = on_nothing;
    while (f.said < LOOP_READ_BYTES + 200000 && wait_now_ms() < until)
        say(&f, LOOP_READ_BYTES + 200000, PIECE);
    assert_int_equal(f.said, LOOP_READ_BYTES + 200000);
    turn_idly(f.loop);
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 0); /* nothing says that there is much */
    input = stream_input(&f.from, true);
    assert_int_equal(input.len, LOOP_READ_BYTES);
    assert_true(stream_taken(&f.from, input, input.len - 1));
    loop_turn(f.loop);
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 0); /* what was kept comes first */
    input = stream_input(&f.from, false);
    assert_true(stream_taken(&f.from, input, input.len));
    assert_true(stream_put(&f.to, "x", 1));
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 0); /* and what waits */
    stream_flush(&f.to);
    assert_int_equal(stream_splice(&f.from, &f.to, 1000), 0); /* little is not worth it */
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 100000);
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 0); /* the rest in another turn */
    loop_turn(f.loop);
    assert_int_equal(stream_splice(&f.from, &f.to, 100000), 100000);
    end(&f);
}

/* A sink that hears nothing stops the source, and nothing is lost. */
static void test_slow_sink(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    fill(&f);
    assert_non_null(f.to.pipe);
    assert_int_equal(idle_pipes(&f), 0);
    assert_int_equal(stream_waiting(&f.to), f.to.pipe->held + f.to.out.len);
    assert_true(stream_acknowledged(&f.to) <= f.to.queued - stream_waiting(&f.to));
    carry(&f, f.said + LARGE, PIECE);
    assert_int_equal(idle_pipes(&f), 1);
    end(&f);
}

/* A source whose sink is full is not told of, and is again when there is room. */
static void test_mute(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    fill(&f);
    assert_true(f.from.muted && f.from.can_read);
    carry(&f, f.said, PIECE);
    turn_idly(f.loop);
    assert_false(f.from.muted);
    carry(&f, f.said + 100, 100);
    end(&f);
}

/* From now on splice(2) from this descriptor is refused with `error`. It cannot be taken back. */
static void refuse(int from, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_splice, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)from, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(7);
}

/* Carries more after some was spliced, with a kernel that refuses it from then on: into the pipe, or out of it. */
static void carry_refused(bool out, unsigned error)
{
    struct fixture f;

    begin(&f, 1);
    carry(&f, LARGE, PIECE);
    if (f.spliced == 0 || loop_pipes(f.loop)->idle == NULL)
        _exit(8);
    refuse(out ? loop_pipes(f.loop)->idle->read_end : f.from.fd, error);
    carry(&f, 2 * LARGE, PIECE);
    carry(&f, 2 * LARGE + 1000, 1000);
    if (f.from.failed || f.to.broken || loop_pipes(f.loop)->most != 0 || f.from.muted)
        _exit(9);
    _exit(0);
}

/* Then all is read and written, nothing is lost, and nobody asks again. */
static void test_refused(void **state)
{
    static const unsigned errors[] = { EINVAL, ENOSYS, EPERM };

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            carry_refused(i % 2 != 0, errors[i / 2]);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (status != 0)
            fail_msg("case %u: %d", i, status);
    }
}

/* What is put behind bytes that wait in a pipe leaves behind them, and the end behind that. */
static void test_end_behind_pipe(void **state)
{
    struct fixture f;
    char last = byte_at(0);

    (void)state;
    begin(&f, 1);
    fill(&f);
    assert_non_null(f.to.pipe);
    f.from.on_ready = f.to.on_ready = on_nothing;
    last = byte_at(f.to.queued);
    assert_true(stream_put(&f.to, &last, 1));
    last = byte_at(f.to.queued);
    assert_true(stream_send(&f.to, span_of(&last, 1)));
    stream_shutdown(&f.to);
    assert_false(f.to.shut_sent);
    for (uint64_t until = wait_now_ms() + WAIT_MS; !f.ended && wait_now_ms() < until; hear(&f)) {
        loop_turn(f.loop);
        stream_flush(&f.to);
    }
    assert_true(f.ended && f.to.shut_sent);
    assert_int_equal(f.heard, f.to.queued);
    end(&f);
}

/* The end of the source passes through, and the other direction stays open. */
static void test_half_close(void **state)
{
    struct fixture f;
    struct span input;

    (void)state;
    begin(&f, 1);
    fill(&f);
    say_end(&f);
    for (uint64_t until = wait_now_ms() + WAIT_MS; !f.ended && wait_now_ms() < until; hear(&f))
        loop_turn(f.loop);
    assert_true(f.ended && f.from.eof && !f.from.failed);
    assert_int_equal(f.heard, f.said);
    assert_int_equal(send(f.sink, "still heard", 11, MSG_NOSIGNAL), 11);
    wait_for(&f, &f.to.can_read);
    input = stream_input(&f.to, true);
    assert_true(span_eq(input, SPAN("still heard")));
    assert_true(stream_taken(&f.to, input, input.len));
    end(&f);
}

/* A reset is none of these: it is no end, and what came before it can still leave. */
static void test_reset_of_source(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    carry(&f, LARGE, PIECE);
    assert_true(f.from.bulk);
    reset(&f.source);
    wait_for(&f, &f.from.failed);
    assert_false(f.from.eof);
    assert_false(f.to.shut);
    assert_false(f.to.broken);
    end(&f);
}

/* Carries on until all that was said was heard, or nothing moves any more. */
static void carry_on(struct fixture *f)
{
    for (unsigned idle = 0; idle < 200;) {
        bool moved = loop_turn(f->loop);

        moved |= hear(f);
        idle = moved ? 0 : idle + 1;
        if (!moved)
            poll(NULL, 0, 1);
    }
    assert_int_equal(f->heard, f->said);
}

/* A byte of urgent data (RFC 9293 3.8.5) is no byte of the stream. It stops splice(2), which takes it for "nothing" or an end, but
 * not what is behind it. */
static void urgent(bool ends)
{
    struct fixture f;

    begin(&f, 1);
    carry(&f, LARGE, PIECE);
    assert_true(f.from.bulk && f.spliced > 0);
    for (int i = 0; i < (ends ? 1 : 3); i++) {
        assert_true(say(&f, LARGE * 2, 100000));
        assert_int_equal(send(f.source, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
        assert_true(say(&f, LARGE * 2, 1000));
        if (!ends)
            carry_on(&f);
    }
    if (ends)
        say_end(&f);
    carry_on(&f);
    assert_int_equal(f.from.eof, ends);
    assert_int_equal(f.ended, ends);
    end(&f);
}

static void test_urgent(void **state)
{
    (void)state;
    urgent(false);
}

static void test_urgent_and_end(void **state)
{
    (void)state;
    urgent(true);
}

/* What waited for who is gone does not count as sent, and its pipe is not used for others. */
static void test_reset_of_sink(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    fill(&f);
    assert_non_null(f.to.pipe);
    reset(&f.sink);
    wait_for(&f, &f.to.broken);
    assert_int_equal(stream_waiting(&f.to), 0);
    assert_int_equal(loop_pipes(f.loop)->made, idle_pipes(&f));
    assert_true(f.to.queued < f.from.received);
    end(&f);
}

static void test_close_while_bytes_wait(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    fill(&f);
    assert_non_null(f.to.pipe);
    stream_close(&f.to, true);
    assert_int_equal(loop_pipes(f.loop)->made, 0);
    end(&f);
}

/* Whoever gets no pipe reads and writes. */
static void test_none_left(void **state)
{
    struct fixture none, first, second;

    (void)state;
    begin(&none, 0);
    carry(&none, LARGE, PIECE);
    assert_int_equal(none.spliced, 0);
    end(&none);
    begin(&first, 1);
    begin_in(&second, first.loop);
    fill(&first);
    assert_non_null(first.to.pipe);
    carry(&second, LARGE, PIECE);
    assert_int_equal(second.spliced, 0);
    carry(&first, first.said, PIECE);
    carry(&second, LARGE * 2, PIECE); /* given back, it is anybody's */
    assert_true(second.spliced > LARGE / 2);
    end_streams(&second);
    end(&first);
}

/* No descriptor is left: nobody asks the kernel again for a second. */
static void test_no_descriptor(void **state)
{
    struct fixture f;
    struct rlimit limit, none;
    uint64_t now = wait_now_ms();

    (void)state;
    begin(&f, 1);
    clock_set(now);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){ 3, limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    carry(&f, LARGE, PIECE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    carry(&f, 2 * LARGE, PIECE);
    assert_int_equal(f.spliced, 0);
    clock_set(now + 1001);
    carry(&f, 3 * LARGE, PIECE);
    assert_true(f.spliced > LARGE / 2);
    end(&f);
}

/* What a user without privileges gets: large ones, then smaller ones, then none that is worth it. */
static void take_all(void)
{
    struct pipes pipes = { .most = 10000 };
    struct pipe *taken[2000];
    size_t count = 0, bytes = 0;

    if (geteuid() == 0 && setuid(100000 + (uid_t)getpid() % 100000) != 0) /* somebody who has none yet */
        _exit(2);
    clock_tick();
    while (count < 2000 && (taken[count] = pipes_take(&pipes)) != NULL) {
        if (taken[count]->size < PIPE_LEAST_BYTES || taken[count]->size > PIPE_BYTES)
            _exit(3);
        bytes += taken[count++]->size;
    }
    if (pipes.made != count || pipes_take(&pipes) != NULL)
        _exit(4);
    for (size_t i = 0; i < count; i++)
        pipes_give(&pipes, taken[i]);
    if (count > 0 && pipes_take(&pipes) != taken[count - 1]) /* the one that was used last */
        _exit(5);
    _exit(count > 0 && bytes >= PIPE_LEAST_BYTES ? 0 : 6);
}

static void test_what_the_kernel_grants(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0)
        take_all();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_no_more_than_asked),
        cmocka_unit_test(test_slow_sink),
        cmocka_unit_test(test_mute),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_end_behind_pipe),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_reset_of_source),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_urgent_and_end),
        cmocka_unit_test(test_reset_of_sink),
        cmocka_unit_test(test_close_while_bytes_wait),
        cmocka_unit_test(test_none_left),
        cmocka_unit_test(test_what_the_kernel_grants),
        cmocka_unit_test(test_no_descriptor), /* it keeps the clock */
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
