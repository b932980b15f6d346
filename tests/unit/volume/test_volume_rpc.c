/* The control rpcs of a whole server, over the wire: what they do, and the exact words and codes
 * of what they refuse. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <stdio.h>
#include <string.h>

static VolumeServerPb__AllocateVolumeRequest make_allocation(uint32_t id)
{
    VolumeServerPb__AllocateVolumeRequest request = INIT(ALLOCATE_VOLUME);
    request.volume_id = id;
    request.version = 3;
    return request;
}

static void allocate(struct server_fixture *f, uint32_t id)
{
    VolumeServerPb__AllocateVolumeRequest request = make_allocation(id);
    server_fixture_expect(f, "AllocateVolume", &request.base, ANSWER(allocate_volume), RPC_OK,
                          NULL);
}

static void expect_allocation(struct server_fixture *f,
                              const VolumeServerPb__AllocateVolumeRequest *request,
                              const char *text)
{
    server_fixture_expect(f, "AllocateVolume", &request->base, ANSWER(allocate_volume), RPC_UNKNOWN,
                          text);
}

/* A volume beat that names only changes: the server has taken in the master's first answer. */
static bool stream_is_open(struct fake_master *m, void *ctx)
{
    for (size_t i = 0; i < m->beat_count; i++)
        if (m->beats[i]->n_disk_tags > 0 && m->beats[i]->n_volumes == 0 &&
            !m->beats[i]->has_no_volumes)
            return true;
    return false;
}

/* ---- administration ---- */

static void allocate_checks_in_the_order_of_the_wire(void **state)
{
    struct server_fixture *f = *state;
    allocate(f, 7);
    VolumeServerPb__AllocateVolumeRequest request = make_allocation(7);
    expect_allocation(f, &request, "Volume Id 7 already exists!");
    request.ttl = "xm";
    expect_allocation(f, &request, "strconv.Atoi: parsing \"x\": invalid syntax");
    request.replication = "/";
    expect_allocation(f, &request, "unknown replication type: 00/");
    request = make_allocation(8);
    request.disk_type = "nvme";
    expect_allocation(f, &request, "No more free space left");
    request = make_allocation(8);
    request.version = 0;
    expect_allocation(f, &request, "volume super block version 0 is not supported");
    request = make_allocation(8);
    request.collection = "a/b";
    expect_allocation(f, &request, NULL);
    allocate(f, 8);
}

static void allocate_keeps_replication_and_ttl(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__AllocateVolumeRequest request = make_allocation(7);
    request.replication = "001";
    request.ttl = "3h";
    request.collection = "pics";
    request.disk_type = "hdd";
    server_fixture_expect(f, "AllocateVolume", &request.base, ANSWER(allocate_volume), RPC_OK,
                          NULL);
    struct volume *volume = store_acquire(f->server->store, 7);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    assert_string_equal(volume_collection(volume), "pics");
    store_release(f->server->store, volume);
    assert_int_equal(replica_placement_to_byte(stat.replica_placement), 1);
    assert_int_equal(ttl_to_u32(stat.ttl), 0x302);
}

static void volume_status_tells_counts(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeStatusRequest request = INIT(VOLUME_STATUS);
    request.volume_id = 7;
    server_fixture_expect(f, "VolumeStatus", &request.base, ANSWER(volume_status), RPC_UNKNOWN,
                          "not found volume id 7");
    allocate(f, 7);
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "VolumeStatus", &request.base, ANSWER(volume_status),
                                         &message, NULL, NULL),
                     0);
    const VolumeServerPb__VolumeStatusResponse *status = (const void *)message;
    assert_int_equal(status->file_count, 1);
    assert_int_equal(status->file_deleted_count, 0);
    assert_true(status->volume_size > 8);
    assert_false(status->is_read_only);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void mount_and_unmount(void **state)
{
    struct server_fixture *f = *state;
    allocate(f, 7);
    VolumeServerPb__VolumeUnmountRequest unmount = INIT(VOLUME_UNMOUNT);
    unmount.volume_id = 7;
    VolumeServerPb__VolumeMountRequest mount = INIT(VOLUME_MOUNT);
    mount.volume_id = 7;
    for (int i = 0; i < 2; i++)
        server_fixture_expect(f, "VolumeUnmount", &unmount.base, ANSWER(volume_unmount), RPC_OK,
                              NULL);
    for (int i = 0; i < 2; i++)
        server_fixture_expect(f, "VolumeMount", &mount.base, ANSWER(volume_mount), RPC_OK, NULL);
    mount.volume_id = 8;
    server_fixture_expect(f, "VolumeMount", &mount.base, ANSWER(volume_mount), RPC_UNKNOWN,
                          "volume 8 not found on disk");
}

static void delete_refuses_with_code_and_text(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeDeleteRequest request = INIT(VOLUME_DELETE);
    request.volume_id = 7;
    server_fixture_expect(f, "VolumeDelete", &request.base, ANSWER(volume_delete), RPC_NOT_FOUND,
                          "delete volume 7 not found on disk: volume not found");
    allocate(f, 7);
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    request.only_empty = true;
    server_fixture_expect(f, "VolumeDelete", &request.base, ANSWER(volume_delete),
                          RPC_FAILED_PRECONDITION, "DeleteVolume 7: volume not empty");
    request.only_empty = false;
    server_fixture_expect(f, "VolumeDelete", &request.base, ANSWER(volume_delete), RPC_OK, NULL);
    assert_null(store_acquire(f->server->store, 7));
}

static void delete_collection_is_silent_about_unknown_ones(void **state)
{
    struct server_fixture *f = *state;
    allocate(f, 7);
    VolumeServerPb__DeleteCollectionRequest request = INIT(DELETE_COLLECTION);
    request.collection = "unknown";
    server_fixture_expect(f, "DeleteCollection", &request.base, ANSWER(delete_collection), RPC_OK,
                          NULL);
    assert_int_equal(store_volume_count(f->server->store), 1);
    request.collection = "";
    server_fixture_expect(f, "DeleteCollection", &request.base, ANSWER(delete_collection), RPC_OK,
                          NULL);
    assert_int_equal(store_volume_count(f->server->store), 0);
}

/* ---- marks ---- */

static bool has_marks(struct fake_master *m, void *ctx)
{
    return m->mark_count == *(const size_t *)ctx;
}

static void marking_tells_the_master_before_and_after(void **state)
{
    struct server_fixture *f = *state;
    fake_master_wait(&f->master, stream_is_open, NULL, "the stream was open");
    VolumeServerPb__VolumeMarkReadonlyRequest request = INIT(VOLUME_MARK_READONLY);
    request.volume_id = 7;
    server_fixture_expect(f, "VolumeMarkReadonly", &request.base, ANSWER(volume_mark_readonly),
                          RPC_UNKNOWN, "volume 7 not found");
    allocate(f, 7);
    server_fixture_expect(f, "VolumeMarkReadonly", &request.base, ANSWER(volume_mark_readonly),
                          RPC_OK, NULL);
    size_t two = 2, three = 3;
    fake_master_wait(&f->master, has_marks, &two, "the master was told twice");
    assert_true(f->master.marks[0]->is_readonly && f->master.marks[1]->is_readonly);
    assert_int_equal(f->master.marks[0]->volume_id, 7);
    assert_int_equal(f->master.marks[0]->port, volume_server_port(f->server));

    VolumeServerPb__VolumeMarkWritableRequest writable = INIT(VOLUME_MARK_WRITABLE);
    writable.volume_id = 7;
    server_fixture_expect(f, "VolumeMarkWritable", &writable.base, ANSWER(volume_mark_writable),
                          RPC_OK, NULL);
    fake_master_wait(&f->master, has_marks, &three, "the master was told once more");
    assert_false(f->master.marks[2]->is_readonly);
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
}

static void a_mark_that_the_master_refuses_is_not_set(void **state)
{
    struct server_fixture *f = *state;
    fake_master_wait(&f->master, stream_is_open, NULL, "the stream was open");
    allocate(f, 7);
    pthread_mutex_lock(&f->master.lock);
    f->master.refuses_marks = true;
    pthread_mutex_unlock(&f->master.lock);
    VolumeServerPb__VolumeMarkReadonlyRequest request = INIT(VOLUME_MARK_READONLY);
    request.volume_id = 7;
    char text[256];
    snprintf(text, sizeof(text),
             "grpc VolumeMarkReadonly with master %s: set volume 7 to read only on master: rpc "
             "error: code = Unknown desc = raft.Server: Not current leader",
             f->master.address);
    server_fixture_expect(f, "VolumeMarkReadonly", &request.base, ANSWER(volume_mark_readonly),
                          RPC_UNKNOWN, text);
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
}

/* ---- who may, and when ---- */

static void set_maintenance(struct server_fixture *f, bool maintenance, uint32_t version)
{
    VolumeServerPb__VolumeServerState wanted = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    wanted.maintenance = maintenance;
    wanted.version = version;
    VolumeServerPb__SetStateRequest request = INIT(SET_STATE);
    request.state = &wanted;
    server_fixture_expect(f, "SetState", &request.base, ANSWER(set_state), RPC_OK, NULL);
}

static void maintenance_refuses_changes_and_nothing_else(void **state)
{
    struct server_fixture *f = *state;
    allocate(f, 7);
    set_maintenance(f, true, 0);
    char text[128];
    snprintf(text, sizeof(text), "volume server 127.0.0.1:%u is in maintenance mode",
             volume_server_port(f->server));
    VolumeServerPb__AllocateVolumeRequest allocation = make_allocation(7);
    expect_allocation(f, &allocation, text); /* before the duplicate is noticed */
    VolumeServerPb__BatchDeleteRequest batch = INIT(BATCH_DELETE);
    server_fixture_expect(f, "BatchDelete", &batch.base, ANSWER(batch_delete), RPC_UNKNOWN, text);
    VolumeServerPb__VacuumVolumeCompactRequest compact = INIT(VACUUM_VOLUME_COMPACT);
    compact.volume_id = 7;
    server_fixture_expect(f, "VacuumVolumeCompact", &compact.base, ANSWER(vacuum_volume_compact),
                          RPC_UNKNOWN, text);
    VolumeServerPb__VolumeMarkWritableRequest writable = INIT(VOLUME_MARK_WRITABLE);
    writable.volume_id = 9;
    server_fixture_expect(f, "VolumeMarkWritable", &writable.base, ANSWER(volume_mark_writable),
                          RPC_UNKNOWN, "volume 9 not found");
    writable.volume_id = 7;
    server_fixture_expect(f, "VolumeMarkWritable", &writable.base, ANSWER(volume_mark_writable),
                          RPC_UNKNOWN, text);
    VolumeServerPb__VacuumVolumeCheckRequest check = INIT(VACUUM_VOLUME_CHECK);
    check.volume_id = 7;
    server_fixture_free_answer(
        server_fixture_ask(f, "VacuumVolumeCheck", &check.base, ANSWER(vacuum_volume_check)));
    set_maintenance(f, false, 1);
    allocate(f, 8);
}

static void state_versions_must_match(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeServerState wanted = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    wanted.version = 3;
    VolumeServerPb__SetStateRequest request = INIT(SET_STATE);
    server_fixture_expect(f, "SetState", &request.base, ANSWER(set_state), RPC_OK, NULL);
    request.state = &wanted;
    server_fixture_expect(f, "SetState", &request.base, ANSWER(set_state), RPC_UNKNOWN,
                          "version mismatch for VolumeServerState (got 0, want 3)");
    VolumeServerPb__GetStateRequest get = INIT(GET_STATE);
    ProtobufCMessage *message;
    assert_int_equal(
        server_fixture_call(f, "GetState", &get.base, ANSWER(get_state), &message, NULL, NULL), 0);
    const VolumeServerPb__GetStateResponse *got = (const void *)message;
    assert_non_null(got->state);
    assert_true(!got->state->maintenance && got->state->version == 0);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void strangers_are_refused_what_changes_things(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_stop(f);
    f->config.white_list = "192.0.2.0/24";
    server_fixture_start(f);
    VolumeServerPb__AllocateVolumeRequest allocation = make_allocation(7);
    server_fixture_expect(f, "AllocateVolume", &allocation.base, ANSWER(allocate_volume),
                          RPC_PERMISSION_DENIED, "not authorized: 127.0.0.1");
    VolumeServerPb__VolumeServerLeaveRequest leave = INIT(VOLUME_SERVER_LEAVE);
    server_fixture_expect(f, "VolumeServerLeave", &leave.base, ANSWER(volume_server_leave),
                          RPC_PERMISSION_DENIED, "not authorized: 127.0.0.1");
    VolumeServerPb__PingRequest ping = INIT(PING);
    server_fixture_expect(f, "Ping", &ping.base, ANSWER(ping), RPC_OK, NULL);
}

/* ---- the server ---- */

static void ping_reaches_known_masters_only(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__PingRequest ping = INIT(PING);
    ping.target = "127.0.0.1:9999";
    ping.target_type = "master";
    server_fixture_expect(f, "Ping", &ping.base, ANSWER(ping), RPC_INVALID_ARGUMENT,
                          "unknown ping target 127.0.0.1:9999 of type master");
    ping.target = "127.0.0.1:1";
    ping.target_type = "filer";
    server_fixture_expect(f, "Ping", &ping.base, ANSWER(ping), RPC_INVALID_ARGUMENT,
                          "unknown ping target 127.0.0.1:1 of type filer");
    ping.target_type = "master";
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "Ping", &ping.base, ANSWER(ping), &message, NULL, NULL),
                     0);
    const VolumeServerPb__PingResponse *pong = (const void *)message;
    assert_int_equal(pong->remote_time_ns, 4711);
    assert_true(pong->start_time_ns > 0 && pong->stop_time_ns >= pong->start_time_ns);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void server_status_describes_disks_and_process(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeServerStatusRequest request = INIT(VOLUME_SERVER_STATUS);
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "VolumeServerStatus", &request.base,
                                         ANSWER(volume_server_status), &message, NULL, NULL),
                     0);
    const VolumeServerPb__VolumeServerStatusResponse *status = (const void *)message;
    assert_int_equal(status->n_disk_statuses, 1);
    assert_string_equal(status->disk_statuses[0]->dir, f->directory);
    assert_true(status->disk_statuses[0]->all > 0);
    assert_true(status->memory_status->goroutines > 1 && status->memory_status->self > 0);
    assert_string_equal(status->data_center, "dc1");
    assert_string_equal(status->version, f->config.version);
    assert_non_null(status->state);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void what_is_not_there_yet_is_unimplemented(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__FetchAndWriteNeedleRequest request = INIT(FETCH_AND_WRITE_NEEDLE);
    server_fixture_expect(f, "FetchAndWriteNeedle", &request.base, ANSWER(fetch_and_write_needle),
                          RPC_UNIMPLEMENTED, NULL);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, server_fixture_set_up, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(allocate_checks_in_the_order_of_the_wire),
        TEST(allocate_keeps_replication_and_ttl),
        TEST(volume_status_tells_counts),
        TEST(mount_and_unmount),
        TEST(delete_refuses_with_code_and_text),
        TEST(delete_collection_is_silent_about_unknown_ones),
        TEST(marking_tells_the_master_before_and_after),
        TEST(a_mark_that_the_master_refuses_is_not_set),
        TEST(maintenance_refuses_changes_and_nothing_else),
        TEST(state_versions_must_match),
        TEST(strangers_are_refused_what_changes_things),
        TEST(ping_reaches_known_masters_only),
        TEST(server_status_describes_disks_and_process),
        TEST(what_is_not_there_yet_is_unimplemented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
