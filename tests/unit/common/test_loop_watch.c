/* The watchdog of a loop, with a clock of the test's own. */
#include "tests/unit/cmocka_all.h"

#include "common/loop_watch.h"

#include <stdio.h>
#include <string.h>

static struct loop_watch watch;

static int set_up(void **state)
{
    loop_watch_init(&watch);
    return 0;
}

static int tear_down(void **state)
{
    loop_watch_fini(&watch);
    return 0;
}

static void turn(uint64_t start_ms, uint64_t end_ms, const char *what)
{
    loop_watch_begin_turn(&watch, start_ms);
    watch.doing = what;
    loop_watch_end_turn(&watch, end_ms);
}

static void the_longest_piece_is_the_cause(void **state)
{
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    loop_watch_begin_turn(&watch, 1000);
    watch.doing = "short";
    loop_watch_lap(&watch, 1004);
    watch.doing = "long";
    loop_watch_lap(&watch, 1024);
    watch.doing = "short too";
    loop_watch_lap(&watch, 1028);
    loop_watch_end_turn(&watch, 1028);
    assert_int_equal(loop_watch_causes(&watch, causes), 1);
    assert_string_equal(causes[0].what, "long");
    assert_int_equal(causes[0].longest_ms, 28);
}

static void a_piece_that_nobody_ended_is_a_cause_too(void **state)
{
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    loop_watch_begin_turn(&watch, 1000);
    watch.doing = "first";
    loop_watch_lap(&watch, 1004);
    watch.doing = "endless";
    loop_watch_end_turn(&watch, 1050);
    turn(2000, 2040, NULL);
    assert_int_equal(loop_watch_causes(&watch, causes), 2);
    assert_string_equal(causes[0].what, "endless");
    assert_string_equal(causes[1].what, "something without a name");
}

/* The clock of laps may lag behind that of turns, and a lap of the last turn says nothing of
 * this one. */
static void laps_before_the_turn_do_not_count(void **state)
{
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    turn(1000, 1001, "before");
    loop_watch_begin_turn(&watch, 5000);
    watch.doing = "early";
    loop_watch_lap(&watch, 4998);
    watch.doing = "late";
    loop_watch_end_turn(&watch, 5020);
    assert_int_equal(loop_watch_causes(&watch, causes), 1);
    assert_string_equal(causes[0].what, "late");
}

static void turns_are_counted_by_length(void **state)
{
    struct loop_turns turns;
    turn(100, 100, "a");
    turn(200, 201, "a");
    turn(300, 303, "a");
    turn(400, 400 + LOOP_SLOW_TURN_MS, "a");
    turn(500, 600000, "a");
    loop_watch_end_turn(&watch, 700000); /* no turn */
    loop_watch_turns(&watch, &turns);
    assert_int_equal(turns.counts[0], 1);
    assert_int_equal(turns.counts[1], 1);
    assert_int_equal(turns.counts[2], 1);
    assert_int_equal(turns.counts[4], 1);
    assert_int_equal(turns.counts[LOOP_TURN_BUCKETS - 1], 1);
    assert_int_equal(turns.slow, 1);
    assert_int_equal(turns.total_ms, 1 + 3 + LOOP_SLOW_TURN_MS + 599500);
}

static void causes_are_bounded(void **state)
{
    static char names[LOOP_CAUSES_MAX + 5][16];
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    for (unsigned i = 0; i < LOOP_CAUSES_MAX + 5; i++) {
        snprintf(names[i], sizeof(names[i]), "cause %u", i);
        turn(1000 * (i + 1), 1000 * (i + 1) + 20 + i, names[i]);
    }
    turn(900000, 900020, "cause 3");
    assert_int_equal(loop_watch_causes(&watch, causes), LOOP_CAUSES_MAX);
    assert_int_equal(causes[3].count, 2);
    assert_int_equal(causes[LOOP_CAUSES_MAX - 1].count, 6);
    assert_int_equal(causes[LOOP_CAUSES_MAX - 1].longest_ms, 20 + LOOP_CAUSES_MAX + 4);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_longest_piece_is_the_cause),
        CASE(a_piece_that_nobody_ended_is_a_cause_too),
        CASE(laps_before_the_turn_do_not_count),
        CASE(turns_are_counted_by_length),
        CASE(causes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
