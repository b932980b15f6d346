/* What the watchdog of a loop finds, on a page of metrics. */
#include "tests/unit/cmocka_all.h"

#include "common/loop_metrics.h"

#include <string.h>

static void be_slow(struct loop_task *task)
{
    loop_doing("being slow on purpose");
    uint64_t until = uv_hrtime() + 3 * (uint64_t)LOOP_SLOW_TURN_MS * 1000000;
    while (uv_hrtime() < until)
        continue;
}

static bool page_has(struct metrics *registry, const char *text)
{
    struct buffer page = BUFFER_INIT;
    metrics_print(registry, &page);
    bool has = strstr(buffer_cstr(&page), text) != NULL;
    buffer_fini(&page);
    return has;
}

static void slow_turns_and_lag_are_on_the_page(void **state)
{
    struct loop *loop;
    struct loop_task task = {.run = be_slow};
    assert_int_equal(loop_create(&loop, "slow", NULL), 0);
    struct metrics *registry = metrics_create();
    struct loop_metrics *metrics = loop_metrics_create(registry, &loop, 1);
    assert_true(page_has(registry, "kelp_loop_lag_seconds_bucket{loop=\"slow\",le=\"0.001\"}"));
    assert_false(page_has(registry, "kelp_loop_slow_turns_total{"));
    loop_post(loop, &task);
    uint64_t deadline = uv_hrtime() + 5000000000u;
    while (!page_has(registry, "kelp_loop_slow_turns_total{loop=\"slow\","
                               "cause=\"being slow on purpose\"} 1\n"))
        assert_true(uv_hrtime() < deadline);
    assert_false(page_has(registry, "kelp_loop_lag_seconds_sum{loop=\"slow\"} 0\n"));
    loop_metrics_destroy(metrics);
    loop_destroy(loop);
    /* What is known stays. */
    assert_true(page_has(registry, "cause=\"being slow on purpose\"} 1\n"));
    metrics_destroy(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_turns_and_lag_are_on_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
