/* A master as its clients see it, over gRPC and HTTP: nodes, clients, vacuum and the rest. */
#include "tests/unit/master/master_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- Nodes and clients ----------------------------------------------------------------------- */

static void clients_learn_of_nodes_volumes_and_deaths(void **state)
{
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
    fake_server_register(&f->a, "dc", "r", 10, NULL, 0);
    rpc_stream_half_close(f->a.stream);
    fake_server_await_flag(&f->a, &f->a.is_stream_over);
    assert_int_equal(f->a.end_status, RPC_UNKNOWN);
    assert_string_equal(f->a.end_text, "EOF");
}

static void volume_list_shows_the_tree(void **state)
{
    struct master_fixture *f = *state;
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

static void vacuum(struct master_fixture *f)
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
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
    struct master_fixture *f = *state;
    MasterPb__RaftAddServerRequest request = MASTER_PB__RAFT_ADD_SERVER_REQUEST__INIT;
    enum rpc_status status;
    assert_int_not_equal(call(f, "RaftAddServer", &request.base,
                              &master_pb__raft_add_server_response__descriptor, NULL, &status,
                              NULL),
                         0);
    assert_int_equal(status, RPC_UNIMPLEMENTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    return cmocka_run_group_tests_name("master_rpc", tests, NULL, NULL);
}
