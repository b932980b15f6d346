/* The event loop: posting, order, turn ends, the end of the loop. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "common/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TASKS 1000

struct probe {
    struct loop_task task;
    struct loop *loop;
    int number;
    int *log;
    _Atomic int *count;
};

static struct loop *start(void)
{
    struct loop *loop;
    assert_int_equal(loop_create(&loop, "test", NULL), 0);
    return loop;
}

static void note(struct loop_task *task)
{
    struct probe *p = (struct probe *)task;
    CHECK(loop_is_current(p->loop));
    p->log[atomic_fetch_add(p->count, 1)] = p->number;
}

static void runs_posted_tasks_in_order_before_it_ends(void **state)
{
    static struct probe probes[TASKS];
    static int log[TASKS];
    _Atomic int count = 0;
    struct loop *loop = start();
    assert_false(loop_is_current(loop));
    for (int i = 0; i < TASKS; i++) {
        probes[i] = (struct probe){{.run = note}, loop, i, log, &count};
        loop_post(loop, &probes[i].task);
    }
    loop_destroy(loop);
    assert_int_equal(count, TASKS);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(log[i], i);
}

struct poster {
    struct loop *loop;
    _Atomic int *sum;
};

struct add {
    struct loop_task task;
    _Atomic int *sum;
};

static void run_add(struct loop_task *task)
{
    struct add *add = (struct add *)task;
    atomic_fetch_add(add->sum, 1);
    free(add);
}

static void *post_many(void *ctx)
{
    struct poster *poster = ctx;
    for (int i = 0; i < TASKS; i++) {
        struct add *add = must(malloc(sizeof(*add)));
        *add = (struct add){{.run = run_add}, poster->sum};
        loop_post(poster->loop, &add->task);
    }
    return NULL;
}

static void loses_nothing_that_many_threads_post(void **state)
{
    pthread_t threads[4];
    _Atomic int sum = 0;
    struct poster poster = {start(), &sum};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, post_many, &poster);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    loop_destroy(poster.loop);
    assert_int_equal(sum, 4 * TASKS);
}

static void schedule(struct loop_task *task)
{
    struct probe *p = (struct probe *)task;
    p[1] = (struct probe){{.run = note}, p->loop, 2, p->log, p->count};
    loop_at_turn_end(p->loop, &p[1].task);
    note(task); /* before what waits for the end of the turn */
}

static void runs_turn_end_tasks_after_the_callbacks(void **state)
{
    struct probe probes[2];
    int log[2] = {0};
    _Atomic int count = 0;
    struct loop *loop = start();
    probes[0] = (struct probe){{.run = schedule}, loop, 1, log, &count};
    loop_post(loop, &probes[0].task);
    loop_destroy(loop);
    assert_int_equal(count, 2);
    assert_int_equal(log[0], 1);
    assert_int_equal(log[1], 2);
}

struct again {
    struct loop_task task;
    struct loop *loop;
    int left;
};

static void run_again(struct loop_task *task)
{
    struct again *again = (struct again *)task;
    if (--again->left > 0)
        loop_at_turn_end(again->loop, task);
}

static void begin_again(struct loop_task *task)
{
    task->run = run_again;
    loop_at_turn_end(((struct again *)task)->loop, task);
}

/* With nothing else to do, a task that asks for the next turn must not wait for an event. */
static void goes_on_turning_while_turn_end_tasks_wait(void **state)
{
    struct again again = {{.run = begin_again}, start(), 100};
    loop_post(again.loop, &again.task);
    loop_destroy(again.loop);
    assert_int_equal(again.left, 0);
}

static void block(struct loop_task *task)
{
    loop_doing("being slow on purpose");
    uint64_t until = uv_hrtime() + 3 * (uint64_t)LOOP_SLOW_TURN_MS * 1000000;
    while (uv_hrtime() < until)
        continue;
}

static void counts_slow_turns_and_names_their_cause(void **state)
{
    struct loop_task task = {.run = block};
    struct loop *loop = start();
    loop_post(loop, &task);
    uint64_t deadline = uv_hrtime() + 5000000000u;
    while (loop_slow_turns(loop) == 0)
        assert_true(uv_hrtime() < deadline);
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    struct loop_turns turns;
    while (loop_slow_causes(loop, causes) == 0)
        assert_true(uv_hrtime() < deadline);
    assert_string_equal(causes[0].what, "being slow on purpose");
    assert_int_equal(causes[0].count, 1);
    assert_true(causes[0].longest_ms >= 2 * LOOP_SLOW_TURN_MS);
    loop_turns(loop, &turns);
    assert_int_equal(turns.slow, 1);
    assert_true(turns.total_ms >= 2 * LOOP_SLOW_TURN_MS);
    loop_destroy(loop);
}

static void on_timer(uv_timer_t *timer) { uv_close((uv_handle_t *)timer, NULL); }

struct timed {
    struct loop_task task;
    struct loop *loop;
    uv_timer_t timer;
};

static void begin_timer(struct loop_task *task)
{
    struct timed *timed = (struct timed *)task;
    uv_timer_init(loop_uv(timed->loop), &timed->timer);
    uv_timer_start(&timed->timer, on_timer, 20, 0);
}

static void waits_for_handles_that_are_still_open(void **state)
{
    struct timed timed = {{.run = begin_timer}, start(), {0}};
    loop_post(timed.loop, &timed.task);
    loop_destroy(timed.loop); /* aborts when the handle is still open */
    assert_true(uv_is_closing((uv_handle_t *)&timed.timer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_posted_tasks_in_order_before_it_ends),
        cmocka_unit_test(loses_nothing_that_many_threads_post),
        cmocka_unit_test(runs_turn_end_tasks_after_the_callbacks),
        cmocka_unit_test(goes_on_turning_while_turn_end_tasks_wait),
        cmocka_unit_test(counts_slow_turns_and_names_their_cause),
        cmocka_unit_test(waits_for_handles_that_are_still_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
