#include "volume/in_flight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct loop *loop;
static struct in_flight in_flight;

/* One wait, and the moment when it is over. */
struct waiting {
    struct loop_task task;
    struct in_flight_waiter *waiter;
    unsigned timeout_ms;
    bool may_lead;
    int start_code, code;
    uv_sem_t has_started, is_done;
};

static void on_done(void *ctx, int code)
{
    struct waiting *waiting = ctx;
    waiting->code = code;
    uv_sem_post(&waiting->is_done);
}

static void begin(struct loop_task *task)
{
    struct waiting *waiting = (struct waiting *)task;
    waiting->start_code = in_flight_wait(&in_flight, loop, waiting->timeout_ms, waiting->may_lead,
                                         on_done, waiting, &waiting->waiter);
    uv_sem_post(&waiting->has_started);
}

static void cancel(struct loop_task *task)
{
    in_flight_cancel(((struct waiting *)task)->waiter);
}

static void abandon(struct loop_task *task)
{
    struct waiting *waiting = (struct waiting *)task;
    in_flight_abandon(waiting->waiter);
    uv_sem_post(&waiting->has_started);
}

static void start_waiting(struct waiting *waiting, unsigned timeout_ms)
{
    bool may_lead = waiting->may_lead;
    *waiting = (struct waiting){
        .task = {.run = begin}, .timeout_ms = timeout_ms, .may_lead = may_lead, .code = 100};
    uv_sem_init(&waiting->has_started, 0);
    uv_sem_init(&waiting->is_done, 0);
    loop_post(loop, &waiting->task);
    uv_sem_wait(&waiting->has_started);
}

static int finish_waiting(struct waiting *waiting)
{
    uv_sem_wait(&waiting->is_done);
    uv_sem_destroy(&waiting->has_started);
    uv_sem_destroy(&waiting->is_done);
    return waiting->code;
}

static int start(void **state)
{
    in_flight_init(&in_flight, 100);
    return loop_create(&loop, "in flight", NULL);
}

static int stop(void **state)
{
    loop_destroy(loop);
    in_flight_fini(&in_flight);
    return 0;
}

static void over_means_more_than_the_limit(void **state)
{
    in_flight_enter(&in_flight, 100);
    assert_false(in_flight_is_over(&in_flight));
    in_flight_enter(&in_flight, 1);
    assert_true(in_flight_is_over(&in_flight));
    in_flight_leave(&in_flight, 101);
    assert_int_equal(in_flight_bytes(&in_flight), 0);
}

static void without_a_limit_nothing_is_over(void **state)
{
    struct in_flight open;
    in_flight_init(&open, 0);
    in_flight_enter(&open, 1u << 30);
    assert_false(in_flight_is_over(&open));
    in_flight_fini(&open);
}

static void waiting_with_room_ends_at_once(void **state)
{
    struct waiting waiting = {0};
    start_waiting(&waiting, 60000);
    assert_int_equal(waiting.start_code, 0);
    assert_int_equal(finish_waiting(&waiting), 0);
}

static void waiters_go_on_when_others_leave(void **state)
{
    struct waiting some[3] = {0};
    in_flight_enter(&in_flight, 500);
    for (int i = 0; i < 3; i++)
        start_waiting(&some[i], 60000);
    in_flight_leave(&in_flight, 100); /* still over */
    in_flight_leave(&in_flight, 300);
    for (int i = 0; i < 3; i++)
        assert_int_equal(finish_waiting(&some[i]), 0);
    in_flight_leave(&in_flight, 100);
}

static void a_wait_that_is_too_long_times_out(void **state)
{
    struct waiting waiting = {0};
    in_flight_enter(&in_flight, 500);
    start_waiting(&waiting, 5);
    assert_int_equal(finish_waiting(&waiting), KELP_E_TIMEOUT);
    in_flight_leave(&in_flight, 500);
}

static void a_cancelled_wait_ends(void **state)
{
    struct waiting waiting = {0};
    in_flight_enter(&in_flight, 500);
    start_waiting(&waiting, 60000);
    waiting.task.run = cancel;
    loop_post(loop, &waiting.task);
    assert_int_equal(finish_waiting(&waiting), KELP_E_CANCELLED);
    in_flight_leave(&in_flight, 500);
}

static void one_of_those_that_may_goes_on_over_the_limit(void **state)
{
    struct waiting first = {.may_lead = true}, second = {.may_lead = true}, third = {0};
    in_flight_enter(&in_flight, 500);
    start_waiting(&third, 60000);
    start_waiting(&first, 60000);
    assert_int_equal(finish_waiting(&first), IN_FLIGHT_LEADS);
    start_waiting(&second, 60000);
    in_flight_end_lead(&in_flight);
    assert_int_equal(finish_waiting(&second), IN_FLIGHT_LEADS);
    assert_false(in_flight_take_lead(&in_flight));
    in_flight_end_lead(&in_flight);
    in_flight_leave(&in_flight, 500);
    assert_int_equal(finish_waiting(&third), 0);
}

static void an_abandoned_wait_ends_unheard_and_leaves_no_lead(void **state)
{
    struct waiting waiting = {.may_lead = true};
    in_flight_enter(&in_flight, 500);
    assert_true(in_flight_take_lead(&in_flight));
    start_waiting(&waiting, 60000);
    waiting.task.run = abandon;
    loop_post(loop, &waiting.task);
    uv_sem_wait(&waiting.has_started);
    in_flight_end_lead(&in_flight);
    assert_true(in_flight_take_lead(&in_flight));
    in_flight_end_lead(&in_flight);
    in_flight_leave(&in_flight, 500);
    assert_int_equal(waiting.code, 100);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(over_means_more_than_the_limit),
        CASE(without_a_limit_nothing_is_over),
        CASE(waiting_with_room_ends_at_once),
        CASE(waiters_go_on_when_others_leave),
        CASE(a_wait_that_is_too_long_times_out),
        CASE(a_cancelled_wait_ends),
        CASE(one_of_those_that_may_goes_on_over_the_limit),
        CASE(an_abandoned_wait_ends_unheard_and_leaves_no_lead),
    };
    return cmocka_run_group_tests_name("in_flight", tests, NULL, NULL);
}
