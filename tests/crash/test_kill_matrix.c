/* The process ends at every call that can change the disk: before it, in the middle of it, after it.
 * What was written stays, as the kernel has it. */
#include "tests/crash/scenario.h"
#include "tests/fixtures/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t points;

static void kill_at_every_call(const struct scenario *scenario, enum world_index index,
                               enum fault_os_stop where, const char *word)
{
    static struct world base, world;
    bool was_stopped = true;
    world_prepare(&base, scenario, index);
    for (uint64_t n = 1; was_stopped; n++) {
        char when[128];
        snprintf(when, sizeof(when), "%s: killed %s call %llu", scenario->name, word,
                 (unsigned long long)n);
        world_begin(&world, &base, scenario);
        fault_os_stop(world.fault, FAULT_CHANGE, n, where);
        int code = scenario->act(&world);
        was_stopped = world_is_stopped(&world);
        if (!was_stopped && code != 0)
            fail_msg("%s: %s", when, world.stage.err.message);
        stage_close(&world.stage);
        disk_os_lose_power(world.disk, DISK_KEEP_ALL, 0);
        check_start(world.disk, &world.stage, false, scenario->end, when);
        world_end(&world);
        points += was_stopped;
        if (!was_stopped && n < 8)
            fail_msg("%s: it was over after %llu calls", when, (unsigned long long)n);
    }
    world_end(&base);
}

static void kill_all(enum fault_os_stop where, const char *word)
{
    for (size_t i = 0; i < scenario_count; i++)
        if (scenario_is_chosen(&scenarios[i]))
            kill_at_every_call(&scenarios[i], INDEX_IN_MEMORY, where, word);
}

static void killed_before_any_call(void **state) { kill_all(FAULT_STOP_BEFORE, "before"); }
static void killed_in_the_middle_of_any_call(void **state) { kill_all(FAULT_STOP_MIDDLE, "in"); }
static void killed_after_any_call(void **state) { kill_all(FAULT_STOP_AFTER, "after"); }

static void killed_with_the_index_in_leveldb(void **state)
{
    for (size_t i = 0; i < scenario_count; i++)
        if (scenario_is_chosen(&scenarios[i]))
            kill_at_every_call(&scenarios[i], INDEX_IN_LEVELDB, FAULT_STOP_AFTER, "after");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_any_call),
        cmocka_unit_test(killed_in_the_middle_of_any_call),
        cmocka_unit_test(killed_after_any_call),
        cmocka_unit_test(killed_with_the_index_in_leveldb),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tally(points, "crash points");
    return failed;
}
