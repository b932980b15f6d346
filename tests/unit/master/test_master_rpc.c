/* A master as its clients see it: started on free ports, with fake volume servers, over gRPC and
 * HTTP. */
#include "common/check.h"
#include "common/http_client.h"
#include "common/os.h"
#include "master/master.h"
#include "proto/volume_server.pb-c.h"
#include "tests/unit/master/fake_volume_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct fixture {
    char directory[64];
    struct master_config config;
    struct master *master;
    char grpc[64];
    struct rpc_client *client;
    struct http_client *http;
    struct fake_server a, b;
};

static void start_master(struct fixture *f)
{
    struct error err = {.message = ""};
    if (master_start(&f->master, &f->config, &err))
        fail_msg("%s", err.message);
    snprintf(f->grpc, sizeof(f->grpc), "127.0.0.1:%u", master_grpc_port(f->master));
}

static int setup(void **state)
{
    struct fixture *f = must(calloc(1, sizeof(*f)));
    strcpy(f->directory, "/tmp/kelp-master-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    master_config_init(&f->config);
    f->config.port = 0;
    f->config.http_threads = 1;
    f->config.metadata_dir = f->directory;
    f->config.volume_size_limit_mb = 100;
    start_master(f);
    assert_int_equal(rpc_client_create(&f->client, NULL), 0);
    assert_int_equal(http_client_create(&f->http, NULL, NULL), 0);
    fake_server_start(&f->a, master_grpc_port(f->master), 7001);
    fake_server_start(&f->b, master_grpc_port(f->master), 7002);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_client_destroy(f->http);
    rpc_client_destroy(f->client);
    master_stop(f->master, 1000);
    fake_server_stop(&f->a);
    fake_server_stop(&f->b);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static int call(struct fixture *f, const char *method, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *descriptor, void *ret_response,
                enum rpc_status *ret_status, struct error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/master_pb.Seaweed/%s", method);
    return rpc_client_call(f->client, f->grpc, path, request, descriptor, WAIT_MS, ret_response,
                           ret_status, err);
}

static void expect_http(struct fixture *f, const char *path, int status, const char *text)
{
    char url[512];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", master_port(f->master), path);
    struct http_client_request request = {.method = "GET", .url = url};
    struct http_client_response response;
    struct error err = {.message = ""};
    if (http_client_fetch(f->http, &request, &response, &err))
        fail_msg("%s: %s", path, err.message);
    if (response.status != status || (text && !strstr(response.body, text)))
        fail_msg("%s: %d %s", path, response.status, response.body);
    http_client_response_fini(&response);
}

/* Asks again until the answer holds `text`: for what follows an rpc's answer a moment later. */
static void await_http(struct fixture *f, const char *path, const char *text)
{
    char url[512];
    bool is_there = false;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", master_port(f->master), path);
    struct http_client_request request = {.method = "GET", .url = url};
    int64_t deadline_ns = os_monotonic_ns(os_real()) + WAIT_MS * INT64_C(1000000);
    while (!is_there) {
        struct http_client_response response;
        assert_true(os_monotonic_ns(os_real()) < deadline_ns);
        assert_int_equal(http_client_fetch(f->http, &request, &response, NULL), 0);
        is_there = strstr(response.body, text) != NULL;
        http_client_response_fini(&response);
    }
}

/* ---- Assign ---------------------------------------------------------------------------------- */

static void first_assign_grows_volumes_and_needs_no_wait(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    assert_int_equal(f->a.volume_size_limit, UINT64_C(100) << 20);
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    MasterPb__AssignResponse *response;
    request.count = 5;
    struct error err = {.message = ""};
    if (call(f, "Assign", &request.base, &master_pb__assign_response__descriptor, &response, NULL,
             &err))
        fail_msg("%s", err.message);
    assert_int_equal(response->count, 5);
    assert_non_null(response->location);
    assert_string_equal(response->location->url, "127.0.0.1:7001");
    assert_int_equal(response->location->grpc_port, rpc_server_port(f->a.server));
    assert_non_null(strchr(response->fid, ','));
    protobuf_c_message_free_unpacked(&response->base, NULL);
    fake_server_await(&f->a, &f->a.allocations, 7); /* copy_1 */
    await_http(f, "/dir/status", "\"VolumeIds\":\" 1-7\"");
    expect_http(f, "/dir/assign", 200, "\"url\":\"127.0.0.1:7001\"");
    expect_http(f, "/dir/lookup?volumeId=1", 200, "\"grpcPort\":");
    expect_http(f, "/1,00", 308, "Permanent Redirect");
    expect_http(f, "/dir/status", 200, "\"VolumeIds\":\" 1-7\"");
    expect_http(f, "/vol/status", 200, "\"Id\":1,");
    expect_http(f, "/cluster/status", 200, "\"MaxVolumeId\":7");
}

static void expect_assign_error(struct fixture *f, MasterPb__AssignRequest *request,
                                enum rpc_status expected, const char *text)
{
    enum rpc_status status;
    struct error err;
    assert_int_not_equal(call(f, "Assign", &request->base, &master_pb__assign_response__descriptor,
                              NULL, &status, &err),
                         0);
    assert_int_equal(status, expected);
    assert_string_equal(err.message, text);
}

static void assign_says_why_it_cannot(void **state)
{
    struct fixture *f = *state;
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    expect_assign_error(f, &request, RPC_RESOURCE_EXHAUSTED,
                        "no volume server capacity registered yet for "
                        "{\"replication\":{},\"ttl\":{\"Count\":0,\"Unit\":0},\"version\":3}");
    request.data_center = (char *)"nowhere";
    expect_assign_error(f, &request, RPC_UNKNOWN, "data center nowhere not found in topology");
    request.data_center = (char *)"";
    request.replication = (char *)"0.";
    expect_assign_error(f, &request, RPC_UNKNOWN, "unknown replication type: 00.");
    expect_http(f, "/dir/assign?dataCenter=nowhere", 400, "data center nowhere not found");
    expect_http(f, "/dir/assign", 406, "No writable volumes and no free volumes left for {");
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    request.replication = (char *)"";
    request.disk_type = (char *)"ssd";
    enum rpc_status status;
    struct error err;
    assert_int_not_equal(call(f, "Assign", &request.base, &master_pb__assign_response__descriptor,
                              NULL, &status, &err),
                         0);
    assert_int_equal(status, RPC_UNKNOWN);
    assert_non_null(strstr(err.message, "no volume server carries the \"ssd\" disk layout for {"));
}

static void failed_growth_is_rolled_back(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    fake_server_register(&f->b, "dc", "r", 10, NULL, 0);
    f->b.refuses_allocation = true;
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    request.replication = (char *)"001";
    enum rpc_status status;
    struct error err;
    assert_int_not_equal(call(f, "Assign", &request.base, &master_pb__assign_response__descriptor,
                              NULL, &status, &err),
                         0);
    assert_int_equal(status, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.message, "volume growth in progress"));
    assert_int_equal(f->a.allocations, f->a.deletions);
    expect_http(f, "/vol/grow?count=1&replication=001", 406, "failed to assign volume");
    assert_int_equal(f->a.allocations, f->a.deletions);
}

struct answers {
    atomic_uint good, bad;
};

static void on_one_assigned(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                            const struct error *err)
{
    (void)status;
    (void)err;
    struct answers *answers = ctx;
    atomic_fetch_add(response ? &answers->good : &answers->bad, 1);
}

static void all_who_come_during_the_first_growth_are_served(void **state)
{
    struct fixture *f = *state;
    struct answers answers = {0};
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    for (int i = 0; i < 64; i++)
        rpc_client_send(f->client, f->grpc, "/master_pb.Seaweed/Assign", &request.base,
                        &master_pb__assign_response__descriptor, WAIT_MS, on_one_assigned,
                        &answers);
    int64_t deadline_ns = os_monotonic_ns(os_real()) + WAIT_MS * INT64_C(1000000);
    while (answers.good + answers.bad < 64) {
        assert_true(os_monotonic_ns(os_real()) < deadline_ns);
        expect_http(f, "/cluster/status", 200, NULL);
    }
    assert_int_equal(answers.good, 64);
    assert_true(f->a.allocations <= 7);
}

static void absurd_counts_leave_the_volumes_writable(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    expect_http(f, "/dir/assign", 200, NULL);
    fake_server_await(&f->a, &f->a.allocations, 7);
    for (int i = 0; i < 20; i++)
        expect_http(f, "/dir/assign?count=9000000000000000000", 406, "a request may ask for");
    await_http(f, "/dir/status", "\"VolumeIds\":\" 1-7\"");
    expect_http(f, "/dir/status", 200, "\"writables\":[");
    for (int i = 0; i < 20; i++)
        expect_http(f, "/dir/assign", 200, NULL);
    assert_int_equal(f->a.allocations, 7);
}

static void ids_that_servers_report_outlive_a_kill(void **state)
{
    struct fixture *f = *state;
    const uint32_t id = 500;
    fake_server_register(&f->a, "dc", "r", 10, &id, 1);
    char path[128], text[512] = "";
    snprintf(path, sizeof(path), "%s/m0/master.json", f->directory);
    int64_t deadline_ns = os_monotonic_ns(os_real()) + WAIT_MS * INT64_C(1000000);
    while (!strstr(text, "\"maxVolumeId\":500")) {
        assert_true(os_monotonic_ns(os_real()) < deadline_ns);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
    }
}

static void on_grown(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                     const struct error *err)
{
    (void)response;
    (void)status;
    (void)err;
    atomic_store((atomic_bool *)ctx, true);
}

static void stop_does_not_wait_for_a_hung_server(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    f->a.hangs_in_allocation = true;
    atomic_bool is_answered = false;
    MasterPb__VolumeGrowRequest request = MASTER_PB__VOLUME_GROW_REQUEST__INIT;
    request.writable_volume_count = 3;
    rpc_client_send(f->client, f->grpc, "/master_pb.Seaweed/VolumeGrow", &request.base,
                    &master_pb__volume_grow_response__descriptor, 0, on_grown, &is_answered);
    fake_server_await(&f->a, &f->a.allocations, 1);
    int64_t start_ns = os_monotonic_ns(os_real());
    master_stop(f->master, 100);
    f->master = NULL;
    assert_true(os_monotonic_ns(os_real()) - start_ns < INT64_C(5000000000));
    assert_int_equal(f->a.allocations, 1); /* it did not go on with the second */
    rpc_client_destroy(f->client);
    assert_int_equal(rpc_client_create(&f->client, NULL), 0);
    assert_true(is_answered);
}

static void keys_and_volume_ids_are_never_handed_out_twice(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 20, NULL, 0);
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    MasterPb__AssignResponse *response;
    request.count = 1000;
    assert_int_equal(call(f, "Assign", &request.base, &master_pb__assign_response__descriptor,
                          &response, NULL, NULL),
                     0);
    uint64_t first = strtoull(strchr(response->fid, ',') + 1, NULL, 16) >> 32;
    protobuf_c_message_free_unpacked(&response->base, NULL);
    fake_server_await(&f->a, &f->a.allocations, 7);
    expect_http(f, "/cluster/status", 200, "\"MaxVolumeId\":7");
    fake_server_hang_up(&f->a);
    master_stop(f->master, 0);
    start_master(f);
    snprintf(f->a.master, sizeof(f->a.master), "%s", f->grpc);
    expect_http(f, "/cluster/status", 200, "\"MaxVolumeId\":7");
    expect_http(f, "/dir/assign", 503, "master is warming up");
    char path[96];
    snprintf(path, sizeof(path), "%s/m0/master.json", f->directory);
    FILE *file = fopen(path, "r");
    unsigned long long max_volume_id = 0, ceiling = 0;
    assert_int_equal(fscanf(file, "{\"maxVolumeId\":%llu,\"fileKeyCeiling\":%llu", &max_volume_id,
                            &ceiling),
                     2);
    fclose(file);
    assert_int_equal(max_volume_id, 7);
    assert_true(ceiling >= first + 1000);
}

struct assign_stream {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t counts[8];
    unsigned count;
    bool is_over;
    enum rpc_status status;
    char text[ERROR_MESSAGE_MAX];
};

static void on_assigned(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    (void)stream;
    struct assign_stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    if (s->count < 8)
        s->counts[s->count] = ((const MasterPb__AssignResponse *)message)->count;
    s->count++;
    pthread_mutex_unlock(&s->lock);
}

static void on_assigns_over(struct rpc_stream *stream, enum rpc_status status,
                            const struct error *err, void *ctx)
{
    (void)stream;
    struct assign_stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->is_over = true;
    s->status = status;
    snprintf(s->text, sizeof(s->text), "%s", err ? err->message : "");
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void stream_assign_answers_in_order_and_ends_with_eof(void **state)
{
    struct fixture *f = *state;
    static const struct rpc_stream_ops ops = {.on_message = on_assigned,
                                              .on_closed = on_assigns_over};
    struct assign_stream s = {.count = 0};
    struct rpc_stream *stream;
    struct timespec until;
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.changed, NULL);
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    assert_int_equal(rpc_stream_open(f->client, f->grpc, "/master_pb.Seaweed/StreamAssign",
                                     &master_pb__assign_response__descriptor, WAIT_MS, &ops, &s,
                                     &stream, NULL),
                     0);
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    for (unsigned i = 1; i <= 5; i++) { /* the first one waits for growth */
        request.count = i;
        assert_int_equal(rpc_stream_send(stream, &request.base), 0);
    }
    rpc_stream_half_close(stream);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&s.lock);
    while (!s.is_over)
        assert_int_equal(pthread_cond_timedwait(&s.changed, &s.lock, &until), 0);
    pthread_mutex_unlock(&s.lock);
    assert_int_equal(s.count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(s.counts[i], i + 1);
    assert_int_equal(s.status, RPC_UNKNOWN);
    assert_string_equal(s.text, "EOF");
}

/* ---- Nodes and clients ----------------------------------------------------------------------- */

static void clients_learn_of_nodes_volumes_and_deaths(void **state)
{
    struct fixture *f = *state;
    const uint32_t ids[] = {3, 4};
    struct fake_client early, late;
    fake_client_connect(&early, f->client, f->grpc, "client", "c:1", "");
    fake_client_await(&early, "at  dc  leader 127.0.0.1:");
    fake_server_register(&f->a, "dc1", "r", 10, ids, 2);
    fake_client_await(&early, "at 127.0.0.1:7001 dc dc1 leader : +3 +4\n");
    fake_client_connect(&late, f->client, f->grpc, "filer", "f:1", "g");
    fake_client_await(&late, "at 127.0.0.1:7001 dc dc1 leader 127.0.0.1:");
    fake_client_await(&late, "add f:1\n");
    fake_client_await(&early, "add f:1\n");
    fake_client_await(&late, "ring of 1\n");
    const uint32_t fewer[] = {3};
    fake_server_report(&f->a, fewer, 1, 0, 0);
    fake_client_await(&early, "at 127.0.0.1:7001 dc dc1 leader : -4\n");
    fake_server_hang_up(&f->a);
    fake_client_await(&early, "at 127.0.0.1:7001 dc dc1 leader : -3\n");
    fake_client_close(&late);
    fake_client_await(&early, "remove f:1\n");
    fake_client_close(&early);
    expect_http(f, "/dir/lookup?volumeId=3", 404, "volume id 3 not found");
}

static void wrong_digest_asks_for_the_full_list(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    MasterPb__Heartbeat beat = MASTER_PB__HEARTBEAT__INIT;
    beat.ip = (char *)"127.0.0.1";
    beat.port = 7001;
    beat._volume_digest_case = MASTER_PB__HEARTBEAT___VOLUME_DIGEST_VOLUME_DIGEST;
    beat.volume_digest = 99;
    fake_server_send(&f->a, &beat);
    fake_server_await_flag(&f->a, &f->a.is_asked_to_resend);
    assert_int_equal(f->a.volume_size_limit, UINT64_C(100) << 20);
}

static void half_closed_heartbeats_end_with_eof(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    rpc_stream_half_close(f->a.stream);
    fake_server_await_flag(&f->a, &f->a.is_stream_over);
    assert_int_equal(f->a.end_status, RPC_UNKNOWN);
    assert_string_equal(f->a.end_text, "EOF");
}

static void volume_list_shows_the_tree(void **state)
{
    struct fixture *f = *state;
    const uint32_t ids[] = {3, 4};
    fake_server_register(&f->a, "dc1", "r1", 10, ids, 2);
    expect_http(f, "/dir/lookup?volumeId=4", 200, "7001");
    MasterPb__VolumeListRequest request = MASTER_PB__VOLUME_LIST_REQUEST__INIT;
    MasterPb__VolumeListResponse *list;
    assert_int_equal(call(f, "VolumeList", &request.base,
                          &master_pb__volume_list_response__descriptor, &list, NULL, NULL),
                     0);
    assert_int_equal(list->volume_size_limit_mb, 100);
    const MasterPb__TopologyInfo *topology = list->topology_info;
    assert_string_equal(topology->id, "topo");
    assert_int_equal(topology->n_diskinfos, 1);
    assert_string_equal(topology->diskinfos[0]->key, "");
    assert_int_equal(topology->diskinfos[0]->value->free_volume_count, 8);
    const MasterPb__DataNodeInfo *node =
        topology->data_center_infos[0]->rack_infos[0]->data_node_infos[0];
    assert_string_equal(topology->data_center_infos[0]->id, "dc1");
    assert_string_equal(node->address, "127.0.0.1:7001");
    assert_int_equal(node->diskinfos[0]->value->n_volume_infos, 2);
    assert_int_equal(node->diskinfos[0]->value->volume_infos[0]->size, 1000);
    protobuf_c_message_free_unpacked(&list->base, NULL);
}

/* ---- Vacuum ---------------------------------------------------------------------------------- */

static void vacuum(struct fixture *f)
{
    MasterPb__VacuumVolumeRequest request = MASTER_PB__VACUUM_VOLUME_REQUEST__INIT;
    request.garbage_threshold = 0.3f;
    struct error err = {.message = ""};
    if (call(f, "VacuumVolume", &request.base, &master_pb__vacuum_volume_response__descriptor, NULL,
             NULL, &err))
        fail_msg("%s", err.message);
}

static void vacuum_checks_compacts_and_commits(void **state)
{
    struct fixture *f = *state;
    const uint32_t ids[] = {3};
    fake_server_register(&f->a, "dc", "r", 10, ids, 1);
    expect_http(f, "/dir/lookup?volumeId=3", 200, "7001");
    f->a.garbage_ratio = 0.2;
    vacuum(f);
    assert_int_equal(f->a.compactions, 0);
    f->a.garbage_ratio = 0.5;
    vacuum(f);
    assert_int_equal(f->a.compactions, 1);
    assert_int_equal(f->a.commits, 1);
    assert_int_equal(f->a.cleanups, 0);
    expect_http(f, "/kelp/vacuum/jobs", 200, "\"result\":\"done\",\"reclaimedBytes\":400");
    expect_http(f, "/kelp/metrics", 200, "kelp_master_vacuum_jobs_total{result=\"done\"} 1");
    expect_http(f, "/vol/vacuum?garbageThreshold=0.9", 200, "\"Topology\"");
    assert_int_equal(f->a.compactions, 1);
}

static void death_in_the_middle_of_a_vacuum_is_cleaned_up(void **state)
{
    struct fixture *f = *state;
    const uint32_t ids[] = {3};
    fake_server_register(&f->a, "dc", "r", 10, ids, 1);
    expect_http(f, "/dir/lookup?volumeId=3", 200, "7001");
    f->a.garbage_ratio = 0.5;
    f->a.dies_in_compaction = true;
    vacuum(f);
    assert_int_equal(f->a.commits, 0);
    assert_int_equal(f->a.cleanups, 1);
    expect_http(f, "/kelp/vacuum/jobs", 200, "\"result\":\"failed\"");
    expect_http(f, "/dir/assign", 200, "\"fid\":\"3,"); /* the volume goes on serving */
}

/* ---- The rest -------------------------------------------------------------------------------- */

static void collection_is_deleted_on_its_holders(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    expect_http(f, "/vol/grow?count=2&collection=pics", 200, "{\"count\":2}");
    expect_http(f, "/collection/info?collection=pics", 200, "\"VolumeCount\":1");
    expect_http(f, "/col/delete?collection=none", 400, "collection none does not exist");
    expect_http(f, "/col/delete?collection=pics", 204, NULL);
    assert_int_equal(f->a.collection_deletions, 1);
    expect_http(f, "/col/delete?collection=pics", 400, "collection pics does not exist");
}

static void ping_reaches_known_servers_only(void **state)
{
    struct fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    MasterPb__PingRequest request = MASTER_PB__PING_REQUEST__INIT;
    MasterPb__PingResponse *response;
    char target[64];
    snprintf(target, sizeof(target), "127.0.0.1:7001.%u", rpc_server_port(f->a.server));
    request.target = target;
    request.target_type = (char *)"volumeServer";
    assert_int_equal(call(f, "Ping", &request.base, &master_pb__ping_response__descriptor,
                          &response, NULL, NULL),
                     0);
    assert_int_equal(response->remote_time_ns, 12345);
    assert_true(response->stop_time_ns >= response->start_time_ns);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    request.target = (char *)"127.0.0.1:7009";
    enum rpc_status status;
    struct error err;
    assert_int_not_equal(call(f, "Ping", &request.base, &master_pb__ping_response__descriptor,
                              NULL, &status, &err),
                         0);
    assert_int_equal(status, RPC_INVALID_ARGUMENT);
    assert_string_equal(err.message, "unknown ping target 127.0.0.1:7009 of type volumeServer");
}

static void folder_and_ports_in_use_are_errors(void **state)
{
    struct fixture *f = *state;
    struct master *second;
    struct error err;
    struct master_config config = f->config;
    assert_int_equal(master_start(&second, &config, &err), KELP_E_BUSY);
    assert_non_null(strstr(err.message, "in use by another master"));
    config.port = master_port(f->master);
    config.grpc_port = master_grpc_port(f->master);
    assert_int_equal(master_start(&second, &config, &err), KELP_E_UNAVAILABLE);
    config.port = 0;
    config.metadata_dir = "/nowhere/at/all";
    assert_int_equal(master_start(&second, &config, &err), KELP_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "-mdir"));
    config.metadata_dir = f->directory;
    config.default_replication = "12x";
    assert_int_equal(master_start(&second, &config, &err), KELP_E_INVALID);
}

static void unknown_method_is_unimplemented(void **state)
{
    struct fixture *f = *state;
    MasterPb__RaftAddServerRequest request = MASTER_PB__RAFT_ADD_SERVER_REQUEST__INIT;
    enum rpc_status status;
    assert_int_not_equal(call(f, "RaftAddServer", &request.base,
                              &master_pb__raft_add_server_response__descriptor, NULL, &status,
                              NULL),
                         0);
    assert_int_equal(status, RPC_UNIMPLEMENTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_assign_grows_volumes_and_needs_no_wait),
        TEST(assign_says_why_it_cannot),
        TEST(failed_growth_is_rolled_back),
        TEST(all_who_come_during_the_first_growth_are_served),
        TEST(absurd_counts_leave_the_volumes_writable),
        TEST(ids_that_servers_report_outlive_a_kill),
        TEST(stop_does_not_wait_for_a_hung_server),
        TEST(keys_and_volume_ids_are_never_handed_out_twice),
        TEST(stream_assign_answers_in_order_and_ends_with_eof),
        TEST(clients_learn_of_nodes_volumes_and_deaths),
        TEST(wrong_digest_asks_for_the_full_list),
        TEST(half_closed_heartbeats_end_with_eof),
        TEST(volume_list_shows_the_tree),
        TEST(vacuum_checks_compacts_and_commits),
        TEST(death_in_the_middle_of_a_vacuum_is_cleaned_up),
        TEST(collection_is_deleted_on_its_holders),
        TEST(ping_reaches_known_servers_only),
        TEST(folder_and_ports_in_use_are_errors),
        TEST(unknown_method_is_unimplemented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
