/* The vacuum of one volume, step by step, and how it is held still. */
#include "vacuum_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* ---- One volume ------------------------------------------------------------------------------ */

static void replicas_are_compacted_and_committed_one_after_another(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.4);
    assert_int_equal(f->call_count, 1);
    answer_check(f, 8001, 1, 0.4);
    assert_false(is_writable(f)); /* no new keys while it is copied */
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    answer_ok(f, VACUUM_CALL_COMPACT, 8001, 1);
    assert_int_equal(f->done, 0);
    answer_ok(f, VACUUM_CALL_COMMIT, 8001, 1);
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->summary.done, 1);
    assert_int_equal(f->summary.reclaimed_bytes, 800000);
    assert_true(is_writable(f));
}

static void replica_below_the_threshold_is_left_alone(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.29);
    answer_check(f, 8001, 1, 0.3);
    answer_ok(f, VACUUM_CALL_COMPACT, 8001, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8001, 1);
    assert_int_equal(f->summary.done, 1);
    request(f, 0, 0.3);
    answer_check(f, 8000, 1, 0.1);
    answer_check(f, 8001, 1, 0.1);
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->summary.skipped, 1);
}

static void failed_check_of_one_replica_leaves_the_volume_alone(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.9);
    answer(take(f, VACUUM_CALL_CHECK, 8001, 1),
           (struct vacuum_reply){.status = RPC_UNKNOWN, .message = "not found volume id 1"});
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->summary.failed, 1);
}

static void sick_replica_is_cleaned_up_and_the_next_one_done(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.9);
    answer_check(f, 8001, 1, 0.9);
    answer(take(f, VACUUM_CALL_COMPACT, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNKNOWN, .message = "no space"});
    answer_ok(f, VACUUM_CALL_CLEANUP, 8000, 1);
    answer_ok(f, VACUUM_CALL_COMPACT, 8001, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8001, 1);
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->summary.failed, 1);
}

static void server_that_dies_ends_the_job_after_a_cleanup(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.9);
    answer_check(f, 8001, 1, 0.9);
    answer(take(f, VACUUM_CALL_COMPACT, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNAVAILABLE, .message = "connection reset"});
    answer(take(f, VACUUM_CALL_CLEANUP, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNAVAILABLE, .message = "connection refused"});
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->summary.failed, 1);
    assert_true(is_writable(f)); /* until the topology learns that the server is gone */
}

static void failed_commit_is_never_repeated_nor_cleaned_up(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 1);
    answer_check(f, 8000, 1, 0.9);
    answer_ok(f, VACUUM_CALL_COMPACT, 8000, 1);
    answer(take(f, VACUUM_CALL_COMMIT, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNKNOWN, .message = "commit failed"});
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->summary.failed, 1);
    assert_true(is_writable(f));
}

static void compaction_without_progress_is_cancelled(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 90000});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 0, 0.3);
    answer_check(f, 8000, 1, 0.9);
    struct vacuum_call *compact = take(f, VACUUM_CALL_COMPACT, 8000, 1);
    /* Size limit 1000 MB: (1000/1000 + 1) x 3 minutes. */
    disk_os_advance(f->disk, 350 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->cancels, 0);
    compact->progress(compact, &(struct vacuum_call_progress){.processed_bytes = 1000});
    disk_os_advance(f->disk, 350 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->cancels, 0);
    disk_os_advance(f->disk, 20 * SECOND);
    vacuum_runner_tick(f->runner);
    assert_int_equal(f->cancels, 1);
    answer(compact, (struct vacuum_reply){.status = RPC_CANCELLED, .message = "cancelled"});
    answer_ok(f, VACUUM_CALL_CLEANUP, 8000, 1);
    assert_int_equal(f->summary.failed, 1);
}

/* ---- Pausing --------------------------------------------------------------------------------- */

static void assert_shown(struct vacuum_fixture *f, const char *text)
{
    struct buffer page = {0};
    struct json_writer w;
    json_writer_init(&w, &page, false);
    vacuum_runner_print_jobs(f->runner, &w);
    if (!strstr(buffer_cstr(&page), text))
        fail_msg("%s lacks %s", buffer_cstr(&page), text);
    buffer_fini(&page);
}

static void paused_compaction_holds_still_and_the_next_replica_waits(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 2);
    answer_check(f, 8000, 1, 0.4);
    answer_check(f, 8001, 1, 0.4);
    struct vacuum_call *compact = take(f, VACUUM_CALL_COMPACT, 8000, 1);
    assert_false(vacuum_runner_pause(f->runner, 77, true));
    assert_true(vacuum_runner_pause(f->runner, 1, true));
    answer_ok(f, VACUUM_CALL_PAUSE, 8000, 1);
    assert_true(vacuum_runner_pause(f->runner, 1, true)); /* is so already */
    assert_int_equal(f->call_count, 0);
    assert_shown(f, "\"paused\":true");
    answer(compact, (struct vacuum_reply){0}); /* it had just ended */
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    assert_int_equal(f->call_count, 0);
    assert_shown(f, "\"state\":\"paused\"");
    assert_true(vacuum_runner_pause(f->runner, 1, false));
    answer_ok(f, VACUUM_CALL_COMPACT, 8001, 1);
    answer_ok(f, VACUUM_CALL_COMMIT, 8001, 1);
    assert_int_equal(f->summary.done, 1);
}

static void pause_that_came_too_early_is_repeated(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 1);
    answer_check(f, 8000, 1, 0.4);
    struct vacuum_call *compact = take(f, VACUUM_CALL_COMPACT, 8000, 1);
    assert_true(vacuum_runner_pause(f->runner, 1, true));
    answer(take(f, VACUUM_CALL_PAUSE, 8000, 1),
           (struct vacuum_reply){.status = RPC_FAILED_PRECONDITION, .message = "not yet"});
    struct vacuum_call_progress progress = {
        .processed_bytes = 5, .is_full = true, .phase = "copying", .bytes_per_second = 123};
    compact->progress(compact, &progress);
    answer_ok(f, VACUUM_CALL_PAUSE, 8000, 1);
    assert_shown(f, "\"bytesPerSecond\":123");
    assert_true(vacuum_runner_pause(f->runner, 1, false));
    answer_ok(f, VACUUM_CALL_RESUME, 8000, 1);
    answer(compact, (struct vacuum_reply){0});
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    assert_int_equal(f->summary.done, 1);
}

static void server_that_cannot_pause_goes_on_and_the_job_says_so(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 1);
    answer_check(f, 8000, 1, 0.4);
    struct vacuum_call *compact = take(f, VACUUM_CALL_COMPACT, 8000, 1);
    assert_true(vacuum_runner_pause(f->runner, 1, true));
    answer(take(f, VACUUM_CALL_PAUSE, 8000, 1),
           (struct vacuum_reply){.status = RPC_UNIMPLEMENTED, .message = "unknown method"});
    assert_shown(f, "cannot pause");
    answer(compact, (struct vacuum_reply){0});
    answer_ok(f, VACUUM_CALL_COMMIT, 8000, 1);
    assert_int_equal(f->summary.done, 1);
}

static void paused_job_that_waits_is_not_started_and_others_are(void **state)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 3, 0, 400000);
    request(f, 0, 0.3);
    assert_int_equal(f->call_count, 1);
    uint32_t first = f->calls[0]->volume_id;
    assert_true(vacuum_runner_pause(f->runner, 2, true));
    answer_check(f, 8000, first, 0.1);
    assert_int_equal(f->call_count, 1); /* the third */
    answer_check(f, 8000, f->calls[0]->volume_id, 0.1);
    assert_int_equal(f->call_count, 0);
    assert_true(vacuum_runner_pause(f->runner, 2, false));
    answer_check(f, 8000, f->calls[0]->volume_id, 0.1);
    assert_int_equal(f->summary.skipped, 3);
}

static void paused_job_is_cancelled(void **state)
{
    struct vacuum_fixture *f = start_vacuum(state, 1);
    assert_true(vacuum_runner_pause(f->runner, 1, true));
    answer_check(f, 8000, 1, 0.4);
    assert_int_equal(f->call_count, 0);
    assert_true(vacuum_runner_cancel(f->runner, 1));
    assert_int_equal(f->summary.cancelled, 1);
    assert_true(is_writable(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(replicas_are_compacted_and_committed_one_after_another),
        TEST(replica_below_the_threshold_is_left_alone),
        TEST(failed_check_of_one_replica_leaves_the_volume_alone),
        TEST(sick_replica_is_cleaned_up_and_the_next_one_done),
        TEST(server_that_dies_ends_the_job_after_a_cleanup),
        TEST(failed_commit_is_never_repeated_nor_cleaned_up),
        TEST(compaction_without_progress_is_cancelled),
        TEST(paused_compaction_holds_still_and_the_next_replica_waits),
        TEST(pause_that_came_too_early_is_repeated),
        TEST(server_that_cannot_pause_goes_on_and_the_job_says_so),
        TEST(paused_job_that_waits_is_not_started_and_others_are),
        TEST(paused_job_is_cancelled),
    };
    return cmocka_run_group_tests_name("vacuum_task", tests, NULL, NULL);
}
