/* An event loop on its own thread.
 *
 * Tasks from other threads are pushed on a lock-free stack; whoever finds it empty sends the one
 * wake-up, and the loop takes the whole stack and runs it in the order of posting. The wake-up is an
 * eventfd of our own: uv_async_t makes a loop spin for as long as a sender has not come back from
 * waking it, which is long when the two share a core.
 *
 * Turn-end tasks hang on a plain list that is run right after the I/O callbacks (uv_check) and again
 * right before the loop would wait (uv_prepare, for what timers and closing handles have added). A
 * task that is added while the list runs waits for the next round; an idle handle keeps the loop from
 * sleeping meanwhile.
 *
 * Runs on: the loop's thread, but for create, destroy, post and what the watchdog has found. */
#include "common/loop.h"

#include "common/check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct loop {
    uv_loop_t uv;
    int wakeup_fd;
    uv_poll_t wakeup;
    uv_check_t after_io;
    uv_prepare_t before_wait;
    uv_idle_t no_wait;
    pthread_t thread;
    char name[16];

    _Atomic(struct loop_task *) posted; /* newest first; any thread pushes, the loop takes all */
    atomic_uint posters; /* threads within loop_post: their task may be done before they are */
    struct loop_task *turn_end_first;
    struct loop_task **turn_end_last;
    struct loop_task stop;
    bool is_stopping;
    struct loop_watch watch;
};

static _Thread_local struct loop *current;

/* The clock of uv_now, as of the last tick: a few nanoseconds to read, a few milliseconds
 * coarse. */
static uint64_t coarse_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void loop_doing(const char *what)
{
    if (current)
        current->watch.doing = what;
}

void loop_lap(void)
{
    if (current)
        loop_watch_lap(&current->watch, coarse_ms());
}

static void run_task(struct loop_task *task, const char *what)
{
    loop_doing(what);
    task->run(task);
    loop_lap();
}

static bool run_posted(struct loop *loop)
{
    struct loop_task *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct loop_task *oldest = NULL;
    while (newest) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    bool has_run = oldest != NULL;
    while (oldest) {
        struct loop_task *task = oldest;
        oldest = task->next; /* the task may free itself */
        run_task(task, "a task from another thread");
    }
    return has_run;
}

static void on_wakeup(uv_poll_t *handle, int status, int events)
{
    struct loop *loop = handle->data;
    uint64_t count;
    /* Before the tasks are taken, so that one that comes after them wakes the loop again. */
    CHECK(read(loop->wakeup_fd, &count, sizeof(count)) == (ssize_t)sizeof(count) || errno == EAGAIN);
    run_posted(loop);
}

static void wake_up(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(loop->wakeup_fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
    CHECK(written == (ssize_t)sizeof(one));
}

static void run_turn_end(struct loop *loop)
{
    struct loop_task *first = loop->turn_end_first;
    loop->turn_end_first = NULL;
    loop->turn_end_last = &loop->turn_end_first;
    while (first) {
        struct loop_task *task = first;
        first = task->next;
        run_task(task, "the end of a turn");
    }
}

static void on_after_io(uv_check_t *handle)
{
    struct loop *loop = handle->data;
    /* libuv took this time when the wait ended. */
    loop_watch_begin_turn(&loop->watch, uv_now(&loop->uv));
    run_turn_end(loop);
}

static void on_no_wait(uv_idle_t *handle) {}

static void on_before_wait(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    run_turn_end(loop);
    if (loop->turn_end_first)
        uv_idle_start(&loop->no_wait, on_no_wait);
    else
        uv_idle_stop(&loop->no_wait);
    loop_watch_end_turn(&loop->watch, uv_hrtime() / 1000000);
}

static void on_stop(struct loop_task *task)
{
    struct loop *loop = (struct loop *)((char *)task - offsetof(struct loop, stop));
    loop->is_stopping = true;
    /* From here on only the handles of others keep it going. */
    uv_unref((uv_handle_t *)&loop->wakeup);
}

static void close_handles(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->wakeup, NULL);
    uv_close((uv_handle_t *)&loop->after_io, NULL);
    uv_close((uv_handle_t *)&loop->before_wait, NULL);
    uv_close((uv_handle_t *)&loop->no_wait, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void *loop_main(void *ctx)
{
    struct loop *loop = ctx;
    current = loop;
    pthread_setname_np(pthread_self(), loop->name);
    /* uv_run returns when nothing but the loop's own unreferenced handles is left. What is posted
     * even then is still run. */
    do {
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        run_turn_end(loop);
    } while (run_posted(loop) || !loop->is_stopping || loop->turn_end_first);

    close_handles(loop);
    CHECK(uv_loop_close(&loop->uv) == 0); /* else somebody has left a handle open */
    return NULL;
}

static void init_handles(struct loop *loop)
{
    loop->wakeup.data = loop->after_io.data = loop->before_wait.data = loop->no_wait.data = loop;
    uv_check_init(&loop->uv, &loop->after_io);
    uv_check_start(&loop->after_io, on_after_io);
    uv_unref((uv_handle_t *)&loop->after_io);
    uv_prepare_init(&loop->uv, &loop->before_wait);
    uv_prepare_start(&loop->before_wait, on_before_wait);
    uv_unref((uv_handle_t *)&loop->before_wait);
    uv_idle_init(&loop->uv, &loop->no_wait);
}

static void free_loop(struct loop *loop)
{
    if (loop->wakeup_fd >= 0)
        close(loop->wakeup_fd);
    loop_watch_fini(&loop->watch);
    free(loop);
}

static int start(struct loop *loop)
{
    loop->wakeup_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wakeup_fd < 0)
        return -errno;
    int code = uv_loop_init(&loop->uv);
    if (code < 0)
        return code;
    code = uv_poll_init(&loop->uv, &loop->wakeup, loop->wakeup_fd);
    if (code < 0) {
        uv_loop_close(&loop->uv);
        return code;
    }
    init_handles(loop);
    uv_poll_start(&loop->wakeup, UV_READABLE, on_wakeup);
    code = -pthread_create(&loop->thread, NULL, loop_main, loop);
    if (code < 0) {
        close_handles(loop);
        uv_loop_close(&loop->uv);
    }
    return code;
}

int loop_create(struct loop **ret, const char *name, struct error *err)
{
    struct loop *loop = must(calloc(1, sizeof(*loop)));
    strncpy(loop->name, name, sizeof(loop->name) - 1);
    loop->turn_end_last = &loop->turn_end_first;
    loop->stop.run = on_stop;
    loop_watch_init(&loop->watch);
    int code = start(loop);
    if (code < 0) {
        free_loop(loop);
        return error_set_errno(err, -code, "start the event loop %s", name);
    }
    *ret = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    CHECK(!loop_is_current(loop));
    loop_post(loop, &loop->stop);
    pthread_join(loop->thread, NULL);
    while (atomic_load_explicit(&loop->posters, memory_order_acquire) > 0)
        sched_yield();
    free_loop(loop);
}

uv_loop_t *loop_uv(struct loop *loop) { return &loop->uv; }
bool loop_is_current(const struct loop *loop) { return current == loop; }
uint64_t loop_now_ms(const struct loop *loop) { return uv_now(&loop->uv); }

void loop_post(struct loop *loop, struct loop_task *task)
{
    atomic_fetch_add_explicit(&loop->posters, 1, memory_order_relaxed);
    struct loop_task *newest = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do
        task->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&loop->posted, &newest, task,
                                                  memory_order_release, memory_order_relaxed));
    if (!newest)
        wake_up(loop);
    atomic_fetch_sub_explicit(&loop->posters, 1, memory_order_release);
}

void loop_at_turn_end(struct loop *loop, struct loop_task *task)
{
    task->next = NULL;
    *loop->turn_end_last = task;
    loop->turn_end_last = &task->next;
}

const char *loop_name(const struct loop *loop) { return loop->name; }

uint64_t loop_slow_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->watch.slow_turns, memory_order_relaxed);
}

void loop_turns(const struct loop *loop, struct loop_turns *ret)
{
    loop_watch_turns(&loop->watch, ret);
}

size_t loop_slow_causes(struct loop *loop, struct loop_slow_cause ret[LOOP_CAUSES_MAX])
{
    return loop_watch_causes(&loop->watch, ret);
}
