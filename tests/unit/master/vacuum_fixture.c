/* A cluster without a wire. */
#include "vacuum_fixture.h"

#include "common/check.h"
#include "master/volume_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    struct vacuum_fixture *f = ctx;
    assert_true(f->call_count < CALLS_MAX);
    f->calls[f->call_count++] = call;
}

static void cancel_call(void *ctx, struct vacuum_call *call)
{
    (void)call;
    ((struct vacuum_fixture *)ctx)->cancels++;
}

void make_runner(struct vacuum_fixture *f, struct vacuum_runner_config config)
{
    f->ops = (struct vacuum_ops){start_call, cancel_call, f};
    config.cluster = f->cluster;
    config.ops = &f->ops;
    config.volume_size_limit_mb = 1000;
    f->runner = vacuum_runner_create(&config);
}

int set_up(void **state)
{
    struct vacuum_fixture *f = must(calloc(1, sizeof(*f)));
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
    *state = f;
    return 0;
}

int tear_down(void **state)
{
    struct vacuum_fixture *f = *state;
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

void add_server(struct vacuum_fixture *f, size_t index, uint32_t first, uint32_t last,
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
    struct vacuum_fixture *f = ctx;
    f->done++;
    f->summary = *summary;
}

void request(struct vacuum_fixture *f, uint32_t volume_id, double threshold)
{
    struct vacuum_request r = {
        .threshold = threshold, .volume_id = volume_id, .done = on_done, .ctx = f};
    vacuum_runner_request(f->runner, &r);
}

struct vacuum_call *take(struct vacuum_fixture *f, enum vacuum_call_kind kind, unsigned port,
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

void answer(struct vacuum_call *call, struct vacuum_reply reply)
{
    call->done(call, &reply);
}

void answer_check(struct vacuum_fixture *f, unsigned port, uint32_t volume_id, double ratio)
{
    answer(take(f, VACUUM_CALL_CHECK, port, volume_id),
           (struct vacuum_reply){.garbage_ratio = ratio});
}

void answer_ok(struct vacuum_fixture *f, enum vacuum_call_kind kind, unsigned port,
               uint32_t volume_id)
{
    answer(take(f, kind, port, volume_id), (struct vacuum_reply){.volume_size = 600000});
}

bool is_writable(struct vacuum_fixture *f)
{
    struct volume_layout_info info;
    assert_int_equal(topology_layout_count(f->cluster->topology), 1);
    volume_layout_info(topology_layout(f->cluster->topology, 0), &info);
    return info.writable_count == 1;
}

struct vacuum_fixture *start_vacuum(void **state, size_t copies)
{
    struct vacuum_fixture *f = *state;
    make_runner(f, (struct vacuum_runner_config){.interval_seconds = 900});
    for (size_t i = 0; i < copies; i++)
        add_server(f, i, 1, 1, (uint32_t)copies - 1, 400000);
    request(f, 0, 0.3);
    return f;
}
