/* The vacuum runner and its tasks: volume servers that answer when the test says so, a clock that
 * the test moves, a disk in memory. */
#include "common/check.h"
#include "master/vacuum_runner.h"

#include "master/volume_layout.h"
#include "tests/fixtures/disk_os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND   INT64_C(1000000000)
#define CALLS_MAX 64

struct fixture {
    struct disk_os *disk;
    struct master_state *state;
    struct master_metrics *metrics;
    struct client_registry_ops client_ops;
    struct client_registry *clients;
    struct cluster *cluster;
    struct vacuum_ops ops;
    struct vacuum_runner *runner;
    struct vacuum_call *calls[CALLS_MAX]; /* unanswered, in the order in which they were made */
    size_t call_count;
    unsigned cancels;
    struct data_node *nodes[4];
    unsigned done;
    struct vacuum_summary summary;
};

static void on_keys(void *ctx) { (void)ctx; }
static int no_send(void *stream, const MasterPb__KeepConnectedResponse *message)
{
    (void)stream;
    (void)message;
    return 0;
}
static void no_cut_off(void *stream) { (void)stream; }
static void no_describe(void *ctx, struct location_updates *ret)
{
    (void)ctx;
    (void)ret;
}
static void no_wake(void *ctx) { (void)ctx; }
static int64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void start_call(void *ctx, struct vacuum_call *call)
{
    struct fixture *f = ctx;
    assert_true(f->call_count < CALLS_MAX);
    f->calls[f->call_count++] = call;
}

static void cancel_call(void *ctx, struct vacuum_call *call)
{
    (void)call;
    ((struct fixture *)ctx)->cancels++;
}

static void make_runner(struct fixture *f, struct vacuum_runner_config config)
{
    f->ops = (struct vacuum_ops){start_call, cancel_call, f};
    config.cluster = f->cluster;
    config.ops = &f->ops;
    config.volume_size_limit_mb = 1000;
    f->runner = vacuum_runner_create(&config);
}

static int setup(void **ret)
{
    struct fixture *f = must(calloc(1, sizeof(*f)));
    disk_os_create(&f->disk, UINT64_C(1) << 24);
    struct os *os = disk_os_get(f->disk);
    disk_os_advance(f->disk, 1700000000 * SECOND);
    os_mkdir(os, "/d", 0755);
    assert_int_equal(master_state_open(&f->state, os, "/d/m", NULL), 0);
    f->metrics = master_metrics_create("test", 0);
    f->client_ops = (struct client_registry_ops){no_send, no_cut_off, no_describe,
                                                 no_wake, no_time,    NULL};
    f->clients = client_registry_create(&f->client_ops, "m:9333");
    struct cluster_config config = {
        .os = os,
        .state = f->state,
        .metrics = f->metrics,
        .address = "m:9333",
        .on_keys = on_keys,
    };
    topology_options_default(&config.topology);
    assert_int_equal(cluster_create(&f->cluster, &config, NULL), 0);
    f->cluster->clients = f->clients;
    *ret = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vacuum_runner_destroy(f->runner);
    struct location_update update;
    location_update_init(&update);
    for (size_t i = 0; i < 4; i++)
        if (f->nodes[i])
            topology_unregister_node(f->cluster->topology, f->nodes[i], &update);
    location_update_fini(&update);
    cluster_destroy(f->cluster);
    client_registry_destroy(f->clients);
    master_metrics_destroy(f->metrics);
    master_state_close(f->state);
    disk_os_destroy(f->disk);
    free(f);
    return 0;
}

/* Server `index` reports volumes first..last, each of 1 MB with that much garbage. */
static void add_server(struct fixture *f, size_t index, uint32_t first, uint32_t last,
                       uint32_t placement, uint64_t garbage)
{
    struct volume_record records[64];
    size_t count = 0;
    for (uint32_t id = first; id <= last; id++)
        records[count++] = (struct volume_record){.id = id,
                                                  .collection = "",
                                                  .disk_type = "",
                                                  .remote_storage_name = "",
                                                  .size = 1000000,
                                                  .file_count = 100,
                                                  .deleted_byte_count = garbage,
                                                  .delete_count = 10,
                                                  .replica_placement = placement,
                                                  .version = 3};
    struct disk_type_count max = {"", 100};
    struct heartbeat h = {.ip = "127.0.0.1",
                          .public_url = "",
                          .id = "",
                          .data_center = "dc",
                          .rack = "r",
                          .port = 8000 + (uint32_t)index,
                          .max_volume_counts = &max,
                          .max_volume_count_count = 1,
                          .volumes = records,
                          .volume_count = count};
    struct location_update update;
    struct heartbeat_result result;
    struct error err;
    size_t duplicates;
    location_update_init(&update);
    assert_int_equal(topology_register_node(f->cluster->topology, &h, &f->nodes[index], NULL, 0,
                                            &duplicates, &update, &err),
                     0);
    assert_int_equal(topology_apply_heartbeat(f->cluster->topology, f->nodes[index], &h, &result,
                                              &update, &err),
                     0);
    location_update_fini(&update);
}

static void on_done(void *ctx, const struct vacuum_summary *summary)
{
    struct fixture *f = ctx;
    f->done++;
    f->summary = *summary;
}

static void request(struct fixture *f, uint32_t volume_id, double threshold)
{
    struct vacuum_request r = {
        .threshold = threshold, .volume_id = volume_id, .done = on_done, .ctx = f};
    vacuum_runner_request(f->runner, &r);
}

/* Takes the oldest unanswered call, which must be of this kind, to this port, about this volume. */
static struct vacuum_call *take(struct fixture *f, enum vacuum_call_kind kind, unsigned port,
                                uint32_t volume_id)
{
    assert_true(f->call_count > 0);
    struct vacuum_call *call = f->calls[0];
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port + 10000);
    assert_int_equal(call->kind, kind);
    assert_string_equal(call->address, address);
    assert_int_equal(call->volume_id, volume_id);
    memmove(f->calls, f->calls + 1, --f->call_count * sizeof(f->calls[0]));
    return call;
}

static void answer(struct vacuum_call *call, struct vacuum_reply reply)
{
    call->done(call, &reply);
}

static void answer_check(struct fixture *f, unsigned port, uint32_t volume_id, double ratio)
{
    answer(take(f, VACUUM_CALL_CHECK, port, volume_id),
           (struct vacuum_reply){.garbage_ratio = ratio});
}

static void answer_ok(struct fixture *f, enum vacuum_call_kind kind, unsigned port,
                      uint32_t volume_id)
{
    answer(take(f, kind, port, volume_id), (struct vacuum_reply){.volume_size = 600000});
}

static bool is_writable(struct fixture *f)
{
    struct volume_layout_info info;
    assert_int_equal(topology_layout_count(f->cluster->topology), 1);
    volume_layout_info(topology_layout(f->cluster->topology, 0), &info);
    return info.writable_count == 1;
}

/* ---- One volume ------------------------------------------------------------------------------ */

static void replicas_are_compacted_and_committed_one_after_another(void **state)
{
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
    answer_check(f, 8000, 1, 0.9);
    answer(take(f, VACUUM_CALL_CHECK, 8001, 1),
           (struct vacuum_reply){.status = RPC_UNKNOWN, .message = "not found volume id 1"});
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->summary.failed, 1);
}

static void sick_replica_is_cleaned_up_and_the_next_one_done(void **state)
{
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
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

static void assert_shown(struct fixture *f, const char *text)
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 1, 400000);
    add_server(f, 1, 1, 1, 1, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 0, 0.3);
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    add_server(f, 0, 1, 1, 0, 400000);
    request(f, 0, 0.3);
    assert_true(vacuum_runner_pause(f->runner, 1, true));
    answer_check(f, 8000, 1, 0.4);
    assert_int_equal(f->call_count, 0);
    assert_true(vacuum_runner_cancel(f->runner, 1));
    assert_int_equal(f->summary.cancelled, 1);
    assert_true(is_writable(f));
}

/* ---- Many volumes ---------------------------------------------------------------------------- */

static void server_works_on_one_volume_at_a_time(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    request(f, 99, 0);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->summary.jobs, 0);
}

/* ---- The timer and its switches -------------------------------------------------------------- */

static void disabled_timer_does_nothing_and_requests_still_work(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
    return cmocka_run_group_tests(tests, NULL, NULL);
}
