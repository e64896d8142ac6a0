/* SPDX-License-Identifier: ISC */
/* Streams over real sockets and a real loop: what the kernel says once must not be forgotten. */
#include "net/stream.h"
#include "net_pair.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LARGE 3000000u

struct fixture {
    struct loop *loop;
    struct stream stream;
    int far;         /* the other end, blocking */
    unsigned events; /* on_ready calls */
};

static void on_ready(void *owner)
{
    struct fixture *f = owner;

    f->events++;
}

static void begin(struct fixture *f)
{
    int fds[2];

    tcp_pair(fds);
    *f = (struct fixture){ .loop = loop_new(), .far = fds[1] };
    assert_non_null(f->loop);
    assert_true(stream_open(&f->stream, f->loop, fds[0], on_ready, f));
    turn_idly(f->loop);
    f->events = 0;
}

/* With a kernel that takes little. */
static void begin_tight(struct fixture *f)
{
    int bytes = 65536;

    begin(f);
    assert_int_equal(setsockopt(f->stream.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
    assert_int_equal(setsockopt(f->far, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

static void end(struct fixture *f)
{
    stream_close(&f->stream, false);
    stream_close(&f->stream, false); /* closed streams may be closed */
    assert_false(stream_is_open(&f->stream));
    if (f->far >= 0)
        close(f->far);
    loop_free(f->loop);
}

static void far_says(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->far, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void far_ends(struct fixture *f, bool reset)
{
    struct linger now = { 1, 0 };

    if (reset)
        assert_int_equal(setsockopt(f->far, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(f->far);
    f->far = -1;
}

static void wait_event(struct fixture *f)
{
    unsigned before = f->events;

    assert_true(turn_until(f->loop, &f->events, before + 1));
}

static void expect_input(struct fixture *f, bool more, const char *text, size_t take)
{
    struct span input = stream_input(&f->stream, more);

    if (!span_eq(input, span_str(text)))
        fail_msg("'%.*s' instead of '%s'", (int)input.len, input.at, text);
    assert_true(stream_taken(&f->stream, input, take));
    assert_int_equal(stream_kept(&f->stream), strlen(text) - take);
}

/* A read filled its buffer, and nobody knows if there is more: what comes is no news then, so the new owner looks once. */
static void test_moved_with_more(void **state)
{
    struct stream moved;
    struct fixture f;

    (void)state;
    begin(&f);
    f.stream.can_read = true;
    stream_move(&moved, &f.stream, on_ready, &f);
    wait_event(&f);
    assert_int_equal(stream_input(&moved, true).len, 0);
    assert_false(stream_has_input(&moved));
    far_says(&f, "late");
    wait_event(&f);
    assert_true(stream_has_input(&moved));
    stream_close(&moved, false);
    end(&f);
}

static void test_kept_input(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_false(stream_has_input(&f.stream));
    expect_input(&f, true, "", 0);
    far_says(&f, "abcdef");
    wait_event(&f);
    assert_true(stream_has_input(&f.stream));
    expect_input(&f, true, "abcdef", 2);
    assert_true(stream_has_input(&f.stream));
    expect_input(&f, true, "cdef", 0);
    far_says(&f, "gh");
    wait_event(&f);
    expect_input(&f, false, "cdef", 0); /* without `more` what is kept comes as it is */
    expect_input(&f, true, "cdefgh", 5);
    expect_input(&f, false, "h", 1);
    assert_false(stream_has_input(&f.stream));
    assert_null(f.stream.kept); /* an idle stream holds no memory */
    assert_int_equal(f.stream.received, 8);
    end(&f);
}

static void test_input_without_kept_reads(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_says(&f, "abc");
    wait_event(&f);
    expect_input(&f, false, "abc", 3);
    end(&f);
}

/* More than one read: the kernel says it once, the stream queues itself until all was read. */
static void test_long_input(void **state)
{
    static char data[5 * LOOP_READ_BYTES];
    struct fixture f;
    size_t sent = 0, got = 0;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 31 / 7);
    fcntl(f.far, F_SETFL, O_NONBLOCK);
    for (uint64_t stop = wait_now_ms() + WAIT_MS; got < sizeof(data) && wait_now_ms() < stop;) {
        ssize_t n = sent < sizeof(data) ? send(f.far, data + sent, sizeof(data) - sent, MSG_NOSIGNAL) : 0;
        unsigned before = f.events;

        sent += n > 0 ? (size_t)n : 0;
        while (loop_turn(f.loop) && f.events == before)
            ;
        if (f.events == before)
            continue;
        struct span input = stream_input(&f.stream, true);

        assert_true(input.len <= LOOP_READ_BYTES);
        assert_memory_equal(input.at, data + got, input.len);
        got += input.len;
        assert_true(stream_taken(&f.stream, input, input.len));
    }
    assert_int_equal(got, sizeof(data));
    end(&f);
}

/* What is never taken is not read without end: no more is kept than one read brings. */
static void test_untaken_input_is_bounded(void **state)
{
    static char data[1000000];
    struct fixture f;

    (void)state;
    begin(&f);
    fcntl(f.far, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 200; i++) {
        if (send(f.far, data, sizeof(data), MSG_NOSIGNAL) < 0)
            assert_int_equal(errno, EAGAIN);
        loop_turn(f.loop);
        struct span input = stream_input(&f.stream, true);

        assert_true(input.len <= LOOP_READ_BYTES);
        assert_true(stream_taken(&f.stream, input, 0));
    }
    assert_int_equal(stream_kept(&f.stream), LOOP_READ_BYTES);
    end(&f);
}

/* What was taken stands in front again, of what was kept and of what comes. */
static void test_input_that_is_put_back(void **state)
{
    static char large[LOOP_READ_BYTES];
    struct fixture f;
    struct span input;

    (void)state;
    begin(&f);
    assert_true(stream_untake(&f.stream, SPAN("ab")));
    assert_true(stream_has_input(&f.stream));
    assert_true(stream_untake(&f.stream, SPAN("-")));
    assert_int_equal(send(f.far, "c", 1, 0), 1);
    for (uint64_t stop = wait_now_ms() + WAIT_MS; !f.stream.can_read && wait_now_ms() < stop;)
        loop_turn(f.loop);
    input = stream_input(&f.stream, false);
    assert_int_equal(input.len, 3);
    assert_memory_equal(input.at, "-ab", 3);
    assert_true(stream_taken(&f.stream, input, 1));
    input = stream_input(&f.stream, true);
    assert_int_equal(input.len, 3);
    assert_memory_equal(input.at, "abc", 3);
    assert_true(stream_taken(&f.stream, input, 2));
    assert_false(stream_untake(&f.stream, span_of(large, sizeof(large))));
    assert_true(stream_untake(&f.stream, span_of(large, sizeof(large) - 1)));
    assert_int_equal(stream_input(&f.stream, false).len, sizeof(large));
    end(&f);
}

static void expect_end(struct fixture *f)
{
    for (uint64_t stop = wait_now_ms() + WAIT_MS; !f->stream.eof && !f->stream.failed && wait_now_ms() < stop;) {
        unsigned before = f->events;

        loop_turn(f->loop);
        if (f->events > before)
            expect_input(f, true, "", 0);
    }
    assert_true(stream_has_input(&f->stream));
}

/* Bytes and the end in one event: a short read must not hide the end, which nobody says twice. */
static void test_end_behind_data(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_says(&f, "last words");
    far_ends(&f, false);
    wait_event(&f);
    expect_input(&f, true, "last words", 10);
    expect_end(&f);
    assert_true(f.stream.eof);
    assert_false(f.stream.failed);
    end(&f);
}

static void test_reset_behind_data(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_says(&f, "last words");
    far_ends(&f, true);
    wait_event(&f);
    expect_input(&f, true, "last words", 10);
    expect_end(&f);
    assert_true(f.stream.failed); /* what was read is not all that was meant */
    assert_false(f.stream.eof);
    end(&f);
}

static void test_end_alone(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_ends(&f, false);
    wait_event(&f);
    expect_input(&f, true, "", 0);
    assert_true(f.stream.eof);
    end(&f);
}

static void test_reset(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_ends(&f, true);
    wait_event(&f);
    expect_input(&f, true, "", 0);
    assert_true(f.stream.failed);
    assert_true(stream_has_input(&f.stream));
    assert_true(stream_send(&f.stream, SPAN("nobody listens")));
    assert_true(stream_put(&f.stream, "x", 1));
    stream_flush(&f.stream);
    assert_int_equal(stream_waiting(&f.stream), 0); /* nothing is kept for the dead */
    end(&f);
}

/* The kept bytes are still there when the end is known. */
static void test_kept_outlives_the_end(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    far_says(&f, "abc");
    wait_event(&f);
    expect_input(&f, true, "abc", 0);
    far_ends(&f, false);
    wait_event(&f);
    expect_input(&f, true, "abc", 1);
    assert_true(f.stream.eof);
    expect_input(&f, true, "bc", 2);
    end(&f);
}

static size_t far_reads(struct fixture *f, char *data, size_t size)
{
    size_t got = 0;
    ssize_t n;

    while (got < size && poll(&(struct pollfd){ f->far, POLLIN, 0 }, 1, 50) == 1 && (n = read(f->far, data + got, size - got)) > 0)
        got += (size_t)n;
    return got;
}

static void expect_far(struct fixture *f, const char *text)
{
    char data[256];
    size_t n = far_reads(f, data, strlen(text));

    assert_int_equal(n, strlen(text));
    assert_memory_equal(data, text, n);
}

static void test_put_waits_for_flush(void **state)
{
    struct fixture f;
    char byte;

    (void)state;
    begin(&f);
    assert_true(stream_put(&f.stream, "one ", 4));
    assert_true(stream_send(&f.stream, SPAN("two "))); /* short: gathered */
    assert_int_equal(stream_waiting(&f.stream), 8);
    assert_int_equal(recv(f.far, &byte, 1, MSG_DONTWAIT), -1);
    stream_flush(&f.stream);
    assert_int_equal(stream_waiting(&f.stream), 0);
    expect_far(&f, "one two ");
    assert_int_equal(f.stream.queued, 8);
    assert_null(f.stream.out.first);
    end(&f);
}

/* Order across put, short and long sends, chunk boundaries and refusals of the kernel. */
static void test_order(void **state)
{
    static char data[LARGE], got[LARGE];
    static const size_t sizes[] = { 1, 1023, 1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 17 * CHUNK_BYTES, 3, 300000, 2 };
    struct fixture f;
    size_t given = 0, received = 0;

    (void)state;
    begin_tight(&f);
    fcntl(f.far, F_SETFL, O_NONBLOCK);
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (char)(i * 131 / 13);
    for (size_t i = 0; received < LARGE; i++) {
        size_t n = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
        ssize_t read_now;

        n = n < LARGE - given ? n : LARGE - given;
        if (i % 3 == 0)
            assert_true(stream_put(&f.stream, data + given, n));
        else
            assert_true(stream_send(&f.stream, span_of(data + given, n)));
        given += n;
        if (i % 5 == 0)
            stream_flush(&f.stream);
        if (given == LARGE) {
            loop_turn(f.loop);
            stream_flush(&f.stream);
        }
        if (i % 7 == 0 || given == LARGE) {
            read_now = read(f.far, got + received, LARGE - received);
            received += read_now > 0 ? (size_t)read_now : 0;
        }
        assert_true(i < 1000000);
    }
    assert_memory_equal(got, data, LARGE);
    assert_int_equal(stream_waiting(&f.stream), 0);
    assert_int_equal(f.stream.queued, LARGE);
    end(&f);
}

static bool is_stuck(const struct fixture *f)
{
    struct tcp_info info = { 0 };
    socklen_t size = sizeof(info);

    return getsockopt(f->stream.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_unacked == 0 && !f->stream.can_write;
}

/* Sends until the kernel takes no more, and will not: the far end's window is full, and all of that acknowledged. How much it was.
 */
static size_t send_until_stuck(struct fixture *f)
{
    static char data[STREAM_HIGH_WATER];
    size_t given = 0;

    for (uint64_t stop = wait_now_ms() + WAIT_MS; wait_now_ms() < stop;) {
        if (stream_waiting(&f->stream) < STREAM_HIGH_WATER) {
            assert_true(stream_send(&f->stream, span_of(data, sizeof(data))));
            given += sizeof(data);
        } else if (is_stuck(f))
            return given;
        turn_idly(f->loop);
        stream_flush(&f->stream);
    }
    fail_msg("the kernel takes all of it");
    return 0;
}

/* The kernel refuses, the stream keeps, and is told when there is room again. */
static void test_backpressure(void **state)
{
    static char sink[1 << 20];
    struct fixture f;
    size_t given, received;

    (void)state;
    begin_tight(&f);
    given = send_until_stuck(&f);
    assert_true(stream_waiting(&f.stream) >= STREAM_HIGH_WATER);
    assert_true(stream_waiting(&f.stream) < 2 * STREAM_HIGH_WATER);
    assert_false(f.stream.can_write);
    f.events = 0;
    turn_idly(f.loop);
    assert_int_equal(f.events, 0); /* nobody reads: nothing to say */
    received = far_reads(&f, sink, sizeof(sink));
    wait_event(&f);
    assert_true(f.stream.can_write);
    for (int i = 0; i < 1000 && received < given; i++) {
        stream_flush(&f.stream);
        received += far_reads(&f, sink, given - received < sizeof(sink) ? given - received : sizeof(sink));
        turn_idly(f.loop);
    }
    assert_int_equal(received, given);
    assert_int_equal(stream_waiting(&f.stream), 0);
    end(&f);
}

static void test_shutdown_behind_output(void **state)
{
    static char data[LARGE], sink[LARGE];
    struct fixture f;
    size_t received = 0;

    (void)state;
    begin_tight(&f);
    assert_true(stream_send(&f.stream, span_of(data, LARGE)));
    stream_shutdown(&f.stream);
    assert_true(stream_waiting(&f.stream) > 0);
    assert_false(f.stream.shut_sent);
    for (int i = 0; i < 10000 && received < LARGE; i++) {
        received += far_reads(&f, sink, LARGE - received < 100000 ? LARGE - received : 100000);
        loop_turn(f.loop);
        stream_flush(&f.stream);
    }
    assert_int_equal(received, LARGE);
    assert_true(f.stream.shut_sent);
    assert_int_equal(read(f.far, sink, 1), 0);
    far_says(&f, "still heard"); /* half closed */
    wait_event(&f);
    expect_input(&f, true, "still heard", 11);
    end(&f);
}

static void test_shutdown_at_once(void **state)
{
    struct fixture f;
    char byte;

    (void)state;
    begin(&f);
    stream_shutdown(&f.stream);
    assert_int_equal(read(f.far, &byte, 1), 0);
    stream_shutdown(&f.stream);
    end(&f);
}

static void test_close_with_and_without_reset(void **state)
{
    struct fixture f;
    char byte;

    (void)state;
    begin(&f);
    stream_close(&f.stream, false);
    assert_int_equal(read(f.far, &byte, 1), 0);
    end(&f);
    begin(&f);
    assert_true(stream_put(&f.stream, "dropped", 7));
    stream_close(&f.stream, true);
    assert_int_equal(read(f.far, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(stream_waiting(&f.stream), 0);
    stream_flush(&f.stream);
    end(&f);
}

static void test_look(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(stream_look(&f.stream), 0);
    far_says(&f, "xy");
    assert_int_equal(poll(&(struct pollfd){ f.stream.fd, POLLIN, 0 }, 1, WAIT_MS), 1);
    assert_int_equal(stream_look(&f.stream), 1); /* without a turn of the loop */
    assert_int_equal(stream_look(&f.stream), 1); /* and nothing was taken */
    wait_event(&f);
    expect_input(&f, true, "xy", 1);
    assert_int_equal(stream_look(&f.stream), 1); /* kept */
    expect_input(&f, true, "y", 1);
    assert_int_equal(stream_look(&f.stream), 0);
    far_ends(&f, false);
    assert_int_equal(poll(&(struct pollfd){ f.stream.fd, POLLIN, 0 }, 1, WAIT_MS), 1);
    assert_int_equal(stream_look(&f.stream), -1);
    end(&f);
    begin(&f);
    far_ends(&f, true);
    assert_int_equal(poll(&(struct pollfd){ f.stream.fd, POLLIN, 0 }, 1, WAIT_MS), 1);
    assert_int_equal(stream_look(&f.stream), -1);
    end(&f);
}

/* The peer's kernel acknowledges what it took, read or not; what waits here is not yet sent. */
static void test_acknowledged(void **state)
{
    static char data[LARGE];
    struct fixture f;
    uint64_t taken;

    (void)state;
    begin_tight(&f);
    assert_int_equal(stream_acknowledged(&f.stream), 0);
    assert_true(stream_put(&f.stream, "request", 7));
    assert_int_equal(stream_acknowledged(&f.stream), 0);
    stream_flush(&f.stream);
    for (int i = 0; i < 1000 && stream_acknowledged(&f.stream) < 7; i++)
        poll(NULL, 0, 1);
    assert_int_equal(stream_acknowledged(&f.stream), 7);
    assert_true(stream_send(&f.stream, span_of(data, LARGE))); /* more than the peer takes without reading */
    assert_true(stream_waiting(&f.stream) > 0);
    taken = stream_acknowledged(&f.stream);
    assert_true(taken >= 7 && taken < 7 + LARGE - stream_waiting(&f.stream) + 1);
    end(&f);
}

/* An idle connection changes hands: events of the old owner end, the bytes that come are the new one's. */
static void test_release(void **state)
{
    struct fixture f, g;
    int fd;

    (void)state;
    begin(&f);
    far_says(&f, "used");
    wait_event(&f);
    expect_input(&f, true, "used", 0); /* its memory goes with the old owner */
    fd = stream_release(&f.stream);
    assert_false(stream_is_open(&f.stream));
    g = (struct fixture){ .loop = f.loop, .far = f.far };
    assert_true(stream_open(&g.stream, g.loop, fd, on_ready, &g));
    turn_idly(g.loop);
    g.events = f.events = 0;
    far_says(&g, "for the new one");
    wait_event(&g);
    assert_int_equal(f.events, 0);
    expect_input(&g, true, "for the new one", 15);
    stream_close(&f.stream, false);
    end(&g);
}

/* A stream that is queued for another turn and closed is not called any more. */
static void test_close_while_queued(void **state)
{
    static char data[2 * LOOP_READ_BYTES];
    struct fixture f;
    struct span input;

    (void)state;
    begin(&f);
    assert_true(send(f.far, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT) >= (ssize_t)LOOP_READ_BYTES);
    wait_event(&f);
    poll(NULL, 0, 10);
    input = stream_input(&f.stream, true);
    assert_int_equal(input.len, LOOP_READ_BYTES);
    assert_true(stream_taken(&f.stream, input, input.len));
    assert_true(loop_is_queued(&f.stream.again));
    stream_close(&f.stream, false);
    f.events = 0;
    turn_idly(f.loop);
    assert_int_equal(f.events, 0);
    end(&f);
}

/* A stream that has more than a read gives waits for the others' turns. */
static void test_one_read_a_turn(void **state)
{
    static char data[2 * LOOP_READ_BYTES];
    struct fixture f;
    struct span input;

    (void)state;
    begin(&f);
    assert_true(send(f.far, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT) > (ssize_t)LOOP_READ_BYTES);
    wait_event(&f);
    poll(NULL, 0, 10);
    for (int turn = 0; turn < 2; turn++) {
        input = stream_input(&f.stream, true);
        assert_in_range(input.len, 1, LOOP_READ_BYTES);
        assert_true(stream_taken(&f.stream, input, input.len));
        if (turn == 0) {
            input = stream_input(&f.stream, true);
            assert_int_equal(input.len, 0);
            f.events = 0;
            turn_until(f.loop, &f.events, 1);
        }
    }
    end(&f);
}

/* A write that fails leaves what the peer said before it closed; what was not sent never looks acknowledged. */
static void test_write_after_reset(void **state)
{
    static char data[100];
    struct fixture f;

    (void)state;
    begin(&f);
    assert_true(stream_put(&f.stream, data, sizeof(data)));
    stream_flush(&f.stream);
    far_says(&f, "an early answer");
    poll(NULL, 0, 10);
    far_ends(&f, true);
    for (int i = 0; i < 3; i++) {
        assert_true(stream_put(&f.stream, data, sizeof(data)));
        stream_flush(&f.stream);
    }
    assert_true(f.stream.broken);
    assert_int_equal(f.stream.queued, sizeof(data));
    assert_int_equal(stream_waiting(&f.stream), 0);
    wait_event(&f);
    expect_input(&f, true, "an early answer", 15);
    turn_idly(f.loop);
    assert_int_equal(stream_input(&f.stream, true).len, 0);
    assert_true(f.stream.failed);
    end(&f);
}

static void test_never_opened(void **state)
{
    struct stream s = { 0 };

    (void)state;
    assert_false(stream_is_open(&s));
    stream_close(&s, true);
    stream_flush(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_with_more),
        cmocka_unit_test(test_kept_input),
        cmocka_unit_test(test_input_without_kept_reads),
        cmocka_unit_test(test_input_that_is_put_back),
        cmocka_unit_test(test_long_input),
        cmocka_unit_test(test_untaken_input_is_bounded),
        cmocka_unit_test(test_end_behind_data),
        cmocka_unit_test(test_reset_behind_data),
        cmocka_unit_test(test_end_alone),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_kept_outlives_the_end),
        cmocka_unit_test(test_put_waits_for_flush),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_shutdown_behind_output),
        cmocka_unit_test(test_shutdown_at_once),
        cmocka_unit_test(test_close_with_and_without_reset),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_acknowledged),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_close_while_queued),
        cmocka_unit_test(test_one_read_a_turn),
        cmocka_unit_test(test_write_after_reset),
        cmocka_unit_test(test_never_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
