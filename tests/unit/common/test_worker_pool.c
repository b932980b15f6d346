/* The worker pool: bounds, and the end. */
#include "tests/unit/cmocka_all.h"

#include "common/worker_pool.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_barrier_t gate;
static _Atomic int ran;

static void run(struct worker_task *task) { atomic_fetch_add(&ran, 1); }

static void wait_at_gate(struct worker_task *task)
{
    pthread_barrier_wait(&gate); /* all are in */
    pthread_barrier_wait(&gate); /* and may go */
    atomic_fetch_add(&ran, 1);
}

static void runs_as_many_at_once_as_it_has_threads(void **state)
{
    struct worker_pool *pool;
    struct worker_task tasks[3] = {
        {.run = wait_at_gate}, {.run = wait_at_gate}, {.run = wait_at_gate}};
    ran = 0;
    pthread_barrier_init(&gate, NULL, 4);
    assert_int_equal(worker_pool_create(&pool, "a long name for a pool", 3, 10, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(worker_pool_submit(pool, &tasks[i]), 0);
    pthread_barrier_wait(&gate); /* would hang if fewer than three ran */
    pthread_barrier_wait(&gate);
    worker_pool_destroy(pool);
    pthread_barrier_destroy(&gate);
    assert_int_equal(ran, 3);
}

static void refuses_what_the_queue_cannot_hold(void **state)
{
    struct worker_pool *pool;
    struct worker_task busy = {.run = wait_at_gate},
                       tasks[3] = {{.run = run}, {.run = run}, {.run = run}};
    ran = 0;
    pthread_barrier_init(&gate, NULL, 2);
    assert_int_equal(worker_pool_create(&pool, "test", 1, 2, NULL), 0);
    assert_int_equal(worker_pool_submit(pool, &busy), 0);
    pthread_barrier_wait(&gate); /* the only thread is taken */
    assert_int_equal(worker_pool_submit(pool, &tasks[0]), 0);
    assert_int_equal(worker_pool_submit(pool, &tasks[1]), 0);
    assert_int_equal(worker_pool_submit(pool, &tasks[2]), KELP_E_LIMIT);
    pthread_barrier_wait(&gate);
    worker_pool_destroy(pool); /* runs what waits */
    pthread_barrier_destroy(&gate);
    assert_int_equal(ran, 3);
}

static void ends_without_having_worked(void **state)
{
    struct worker_pool *pool;
    assert_int_equal(worker_pool_create(&pool, "test", 2, 1, NULL), 0);
    worker_pool_destroy(pool);
    worker_pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_as_many_at_once_as_it_has_threads),
        cmocka_unit_test(refuses_what_the_queue_cannot_hold),
        cmocka_unit_test(ends_without_having_worked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
