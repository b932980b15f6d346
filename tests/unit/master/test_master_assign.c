/* Assign over gRPC and HTTP: growth, its failures, ids that are handed out once. */
#include "common/os.h"
#include "tests/unit/master/master_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void first_assign_grows_volumes_and_needs_no_wait(void **state)
{
    struct master_fixture *f = *state;
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

static void expect_assign_error(struct master_fixture *f, MasterPb__AssignRequest *request,
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
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
    };
    return cmocka_run_group_tests_name("master_assign", tests, NULL, NULL);
}
