/* Which volumes are vacuumed when: many of them, requests by hand, the timer and its switches. */
#include "vacuum_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* ---- Many volumes ---------------------------------------------------------------------------- */

static void server_works_on_one_volume_at_a_time(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 3, 0, 400000);
    add_server(f, 1, 11, 12, 0, 400000);
    request(f, 0, 0);
    assert_int_equal(f->call_count, 2); /* one a server */
    struct vacuum_runner_stats stats;
    vacuum_runner_stats(f->runner, &stats);
    assert_int_equal(stats.running, 2);
    assert_int_equal(stats.queued, 3);
    while (f->call_count > 0) {
        struct vacuum_call *call = f->calls[0];
        memmove(f->calls, f->calls + 1, --f->call_count * sizeof(f->calls[0]));
        answer(call, (struct vacuum_reply){.garbage_ratio = 0.5});
    }
    assert_int_equal(f->summary.jobs, 5);
    assert_int_equal(f->summary.done, 5);
}

static void request_by_hand_overtakes_the_timer(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900, .threshold = 0.3});
    add_server(f, 0, 1, 3, 0, 400000);
    disk_os_advance(f->disk, 901 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->call_count, 1);
    uint32_t running = f->calls[0]->volume_id;
    uint32_t wanted = running == 3 ? 2 : 3;
    request(f, wanted, 0);
    answer_check(f, 8000, running, 0);
    answer_check(f, 8000, wanted, 0.5);
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, wanted);
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, wanted);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->call_count, 1); /* the timer goes on */
    answer(take(f, VACUUM_CALL_CHECK, 8000, 6 - running - wanted), (struct vacuum_reply){0});
}

static void second_request_joins_the_job_that_runs(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 1, 0);
    request(f, 1, 0);
    assert_int_equal(f->call_count, 1);
    answer_check(f, 8000, 1, 0.5);
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    assert_int_equal(f->done, 2);
}

static void request_that_joins_a_check_brings_its_threshold(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 1, 0.9);
    request(f, 1, 0.1);
    answer_check(f, 8000, 1, 0.4);
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    assert_int_equal(f->done, 2);
    assert_int_equal(f->summary.done, 1);
}

/* A server that takes a call and never answers must not keep who asked for the vacuum for ever. */
static void every_call_but_compaction_has_a_deadline(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 1, 0.1);
    assert_int_not_equal(f->calls[0]->timeout_ms, 0);
    answer_check(f, 8000, 1, 0.4);
    assert_int_equal(f->calls[0]->timeout_ms, 0);
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, 1);
    assert_int_not_equal(f->calls[0]->timeout_ms, 0);
    answer(take(f, VACUUM_CALL_COMMIT, 8000, 1),
           (struct vacuum_reply){.status = RPC_DEADLINE_EXCEEDED, .message = "late"});
    assert_int_equal(f->done, 1);
    assert_int_equal(f->summary.failed, 1);
    assert_int_equal(f->call_count, 0);
}

static void unknown_volume_is_done_at_once(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    request(f, 99, 0);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->summary.jobs, 0);
}

/* ---- The timer and its switches -------------------------------------------------------------- */

static void disabled_timer_does_nothing_and_requests_still_work(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900, .threshold = 0.3});
    add_server(f, 0, 1, 1, 0, 400000);
    vacuum_runner_set_enabled(f->runner, false, false);
    disk_os_advance(f->disk, 901 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->call_count, 0);
    request(f, 1, 0.3);
    answer_check(f, 8000, 1, 0);
    vacuum_runner_set_enabled(f->runner, false, true);
    disk_os_advance(f->disk, 901 * SECOND);
    vacuum_runner_tick(f->runner);
    answer_check(f, 8000, 1, 0);
}

static bool nobody(void *ctx)
{
    (void)ctx;
    return false;
}

static void switch_of_an_absent_plugin_falls_back(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){
                       .interval_seconds = 900, .threshold = 0.3, .is_admin_server_here = nobody});
    add_server(f, 0, 1, 1, 0, 400000);
    vacuum_runner_set_enabled(f->runner, true, false);
    assert_false(vacuum_runner_is_enabled(f->runner));
    disk_os_advance(f->disk, 901 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_true(vacuum_runner_is_enabled(f->runner));
    answer_check(f, 8000, 1, 0);
}

static void failed_volume_waits_before_the_timer_tries_it_again(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 10, .threshold = 0.3});
    add_server(f, 0, 1, 1, 0, 400000);
    disk_os_advance(f->disk, 11 * SECOND);
    vacuum_runner_tick(f->runner);
    answer(take(f, VACUUM_CALL_CHECK, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNKNOWN, .message = "sick"});
    disk_os_advance(f->disk, 11 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->call_count, 0); /* one minute after the first failure */
    disk_os_advance(f->disk, 60 * SECOND);
    vacuum_runner_tick(f->runner);
    answer_check(f, 8000, 1, 0);
}

static void stop_cancels_what_waits_and_tells_everybody(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 2, 0, 400000);
    request(f, 0, 0);
    struct vacuum_call *check = f->calls[0];
    f->call_count = 0;
    vacuum_runner_stop(f->runner, 0);
    assert_int_equal(f->done, 1);
    answer(check, (struct vacuum_reply){.garbage_ratio = 0.9});
    assert_int_equal(f->call_count, 0);
    request(f, 0, 0);
    assert_true(f->summary.is_refused);
}

static void empty_copies_are_deleted_by_the_timer(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900,
                                                 .threshold = 0.3,
                                                 .delete_empty_after_seconds = 60});
    add_server(f, 0, 1, 1, 0, 400000);
    add_server(f, 1, 2, 2, 0, 0);
    /* Volume 2: all of its files are deleted. */
    struct volume_record record = {.id = 2,
                                   .collection = "",
                                   .disk_type = "",
                                   .remote_storage_name = "",
                                   .size = 1000,
                                   .file_count = 4,
                                   .delete_count = 4,
                                   .version = 3};
    struct heartbeat h = {.ip = "", .public_url = "", .id = "", .data_center = "", .rack = "",
                          .changed_volumes = &record, .changed_volume_count = 1};
    struct heartbeat_result result;
    struct location_update update;
    location_update_init(&update);
    assert_int_equal(
        topology_apply_heartbeat(f->cluster->topology, f->nodes[1], &h, &result, &update, NULL), 0);
    location_update_fini(&update);
    disk_os_advance(f->disk, 901 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->call_count, 2);
    struct vacuum_call *deletion = take(f, VACUUM_CALL_DELETE, 8001, 2);
    assert_true(deletion->only_garbage);
    assert_false(deletion->only_empty);
    answer(deletion, (struct vacuum_reply){0});
    bool is_ec;
    assert_int_equal(topology_lookup(f->cluster->topology, 2, NULL, NULL, 0, &is_ec), 0);
    answer_check(f, 8000, 1, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(server_works_on_one_volume_at_a_time),
        TEST(request_by_hand_overtakes_the_timer),
        TEST(second_request_joins_the_job_that_runs),
        TEST(request_that_joins_a_check_brings_its_threshold),
        TEST(every_call_but_compaction_has_a_deadline),
        TEST(unknown_volume_is_done_at_once),
        TEST(disabled_timer_does_nothing_and_requests_still_work),
        TEST(switch_of_an_absent_plugin_falls_back),
        TEST(failed_volume_waits_before_the_timer_tries_it_again),
        TEST(stop_cancels_what_waits_and_tells_everybody),
        TEST(empty_copies_are_deleted_by_the_timer),
    };
    return cmocka_run_group_tests_name("vacuum_runner", tests, NULL, NULL);
}
