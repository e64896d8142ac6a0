/* SPDX-License-Identifier: ISC */
/*
 * The loop. A turn is: wait for what the kernel says (or not, if somebody wants another turn, or only for a moment), read the
 * clock, tell the sources that it said something about, run those that queued for another turn, run the timers that are due, then
 * the work of the turn's end. Nothing that a callback closes is freed before that end. The loop also lends what all streams share:
 * the read buffer, the pool of chunks, and pipes.
 *
 * Sources are found by their descriptor, in one table, so that one can be moved or forgotten without a word to the kernel. What the
 * kernel says carries the number of the registration, too: an event of a descriptor that was closed in the same batch, or whose
 * registration lives on because another process has the socket as well, is not taken for one of the descriptor's next owner.
 */
#include "net/loop.h"

#include "base/clock.h"
#include "net/pipes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNKS_KEPT 1024
#define EVENTS 256 /* of one wait */

struct loop {
    int epoll;
    uint32_t next_number;
    struct loop_source **sources; /* by descriptor */
    size_t room;                  /* of sources */
    struct wheel *wheel;
    struct loop_again again; /* a ring; this is its beginning */
    void (*turn_end)(void *arg);
    void *turn_end_arg;
    struct chunk *chunks;
    unsigned chunk_count;
    struct pipes pipes;
    bool stopped, worked;
    char *buffer;
    struct epoll_event events[EVENTS];
};

static void clear_queue(struct loop_again *queue)
{
    queue->next = queue->prev = queue;
}

static bool is_empty(const struct loop_again *queue)
{
    return queue->next == queue;
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL)
        return NULL;
    clear_queue(&loop->again);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wheel = wheel_new();
    loop->buffer = malloc(LOOP_READ_BYTES);
    if (loop->epoll < 0 || loop->wheel == NULL || loop->buffer == NULL) {
        loop_free(loop);
        return NULL;
    }
    clock_tick();
    return loop;
}

void loop_trim(struct loop *loop)
{
    while (loop->chunks != NULL) {
        struct chunk *chunk = loop->chunks;

        loop->chunks = chunk->next;
        free(chunk);
    }
    loop->chunk_count = 0;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    if (loop->epoll >= 0)
        close(loop->epoll);
    loop_trim(loop);
    pipes_fini(&loop->pipes);
    wheel_free(loop->wheel);
    free(loop->sources);
    free(loop->buffer);
    free(loop);
}

struct wheel *loop_wheel(struct loop *loop)
{
    return loop->wheel;
}

char *loop_buffer(struct loop *loop)
{
    return loop->buffer;
}

static bool make_room(struct loop *loop, size_t room)
{
    struct loop_source **larger;

    if (room <= loop->room)
        return true;
    room = room < 2 * loop->room ? 2 * loop->room : room;
    larger = realloc(loop->sources, room * sizeof(struct loop_source *));
    if (larger == NULL)
        return false;
    memset(larger + loop->room, 0, (room - loop->room) * sizeof(struct loop_source *));
    loop->sources = larger;
    loop->room = room;
    return true;
}

static bool control(struct loop *loop, int what, const struct loop_source *source, unsigned wants)
{
    struct epoll_event event = { .data.u64 = (uint64_t)source->number << 32 | (uint32_t)source->fd };

    event.events = ((wants & LOOP_READ) ? EPOLLIN : 0u) | ((wants & LOOP_WRITE) ? EPOLLOUT : 0u) |
                   ((wants & LOOP_END) ? EPOLLRDHUP : 0u) | ((wants & LOOP_EDGES) ? EPOLLET : 0u) |
                   ((wants & LOOP_URGENT) ? EPOLLPRI : 0u);
    return epoll_ctl(loop->epoll, what, source->fd, &event) == 0;
}

bool loop_add(struct loop *loop, struct loop_source *source, int fd, unsigned wants)
{
    source->fd = fd;
    source->number = loop->next_number++;
    if (make_room(loop, (size_t)fd + 1) && control(loop, EPOLL_CTL_ADD, source, wants)) {
        loop->sources[fd] = source;
        return true;
    }
    source->fd = -1;
    return false;
}

void loop_want(struct loop *loop, struct loop_source *source, unsigned wants)
{
    if (source->fd >= 0)
        (void)control(loop, EPOLL_CTL_MOD, source, wants);
}

void loop_forget(struct loop *loop, struct loop_source *source)
{
    if (source->fd >= 0)
        loop->sources[source->fd] = NULL;
    source->fd = -1;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    if (source->fd >= 0)
        (void)control(loop, EPOLL_CTL_DEL, source, 0);
    loop_forget(loop, source);
}

void loop_move(struct loop *loop, struct loop_source *to, struct loop_source *from)
{
    to->fd = from->fd;
    to->number = from->number;
    loop->sources[to->fd] = to;
    from->fd = -1;
}

void loop_on_turn_end(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    loop->turn_end = fn;
    loop->turn_end_arg = arg;
}

static void enqueue(struct loop_again *queue, struct loop_again *again)
{
    if (loop_is_queued(again))
        return;
    again->next = queue;
    again->prev = queue->prev;
    queue->prev->next = again;
    queue->prev = again;
}

void loop_again(struct loop *loop, struct loop_again *again)
{
    enqueue(&loop->again, again);
}

void loop_again_clear(struct loop_again *again)
{
    if (!loop_is_queued(again))
        return;
    again->next->prev = again->prev;
    again->prev->next = again->next;
    again->next = again->prev = NULL;
}

bool loop_is_queued(const struct loop_again *again)
{
    return again->next != NULL;
}

/* Those that are queued now; what they queue waits for the next turn. */
static void run_queue(struct loop_again *queue)
{
    struct loop_again mine;

    if (is_empty(queue))
        return;
    mine = *queue;
    mine.next->prev = mine.prev->next = &mine;
    clear_queue(queue);
    while (!is_empty(&mine)) {
        struct loop_again *first = mine.next;

        loop_again_clear(first);
        first->fn(first->arg);
    }
}

/* An error is told as "readable and writable", too: whoever tries learns of it. */
static unsigned meaning_of(uint32_t events)
{
    if ((events & EPOLLERR) || ((events & EPOLLHUP) && !(events & EPOLLRDHUP)))
        return LOOP_READ | LOOP_WRITE | LOOP_ERROR;
    return ((events & EPOLLIN) ? LOOP_READ : 0u) | ((events & EPOLLOUT) ? LOOP_WRITE : 0u) |
           ((events & EPOLLRDHUP) ? LOOP_END : 0u) | ((events & EPOLLPRI) ? LOOP_URGENT : 0u);
}

static void tell(struct loop *loop, const struct epoll_event *event)
{
    uint32_t fd = (uint32_t)event->data.u64, number = (uint32_t)(event->data.u64 >> 32);
    struct loop_source *source = loop->sources[fd];

    if (source == NULL || source->number != number)
        return;
    loop->worked = true;
    source->fn(source->arg, meaning_of(event->events));
}

/* Who has nothing to do sleeps until a timer may be due. */
static int wait_for_events(struct loop *loop, bool may_wait)
{
    bool waits = may_wait && is_empty(&loop->again);

    return epoll_wait(loop->epoll, loop->events, EVENTS, waits ? wheel_pause(loop->wheel, clock_ms()) : 0);
}

static void turn(struct loop *loop, bool may_wait)
{
    int count = wait_for_events(loop, may_wait);

    clock_tick();
    for (int i = 0; i < count; i++)
        tell(loop, &loop->events[i]);
    run_queue(&loop->again);
    wheel_run(loop->wheel, clock_ms());
    if (loop->turn_end != NULL)
        loop->turn_end(loop->turn_end_arg);
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped)
        turn(loop, true);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

bool loop_turn(struct loop *loop)
{
    loop->worked = false;
    turn(loop, false);
    return loop->worked || !is_empty(&loop->again);
}

struct chunk *chunk_take(struct loop *loop)
{
    struct chunk *chunk = loop->chunks;

    if (chunk != NULL) {
        loop->chunks = chunk->next;
        loop->chunk_count--;
    } else {
        chunk = malloc(sizeof(*chunk) + CHUNK_BYTES);
    }
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->start = chunk->end = 0;
    }
    return chunk;
}

void chunk_give(struct loop *loop, struct chunk *chunk)
{
    if (loop->chunk_count >= CHUNKS_KEPT) {
        free(chunk);
        return;
    }
    chunk->next = loop->chunks;
    loop->chunks = chunk;
    loop->chunk_count++;
}

struct pipes *loop_pipes(struct loop *loop)
{
    return &loop->pipes;
}
