/* The vacuum of a volume over the wire, from the check to the commit. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <stdio.h>

static double garbage_ratio(struct server_fixture *f, uint32_t id)
{
    VolumeServerPb__VacuumVolumeCheckRequest request = INIT(VACUUM_VOLUME_CHECK);
    request.volume_id = id;
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "VacuumVolumeCheck", &request.base,
                                         ANSWER(vacuum_volume_check), &message, NULL, NULL),
                     0);
    double ratio = ((const VolumeServerPb__VacuumVolumeCheckResponse *)message)->garbage_ratio;
    protobuf_c_message_free_unpacked(message, NULL);
    return ratio;
}

static int count_message(void *ctx, const ProtobufCMessage *message)
{
    ++*(size_t *)ctx;
    return 0;
}

static enum rpc_status compact(struct server_fixture *f, uint32_t id, size_t *ret_messages,
                               struct error *err)
{
    VolumeServerPb__VacuumVolumeCompactRequest request = INIT(VACUUM_VOLUME_COMPACT);
    request.volume_id = id;
    enum rpc_status status;
    *ret_messages = 0;
    rpc_client_read_stream(f->client, f->address,
                           "/volume_server_pb.VolumeServer/VacuumVolumeCompact", &request.base,
                           ANSWER(vacuum_volume_compact), 10000, count_message, ret_messages,
                           &status, err);
    return status;
}

static void delete_key(struct server_fixture *f, const char *file_id, int expected_status)
{
    char *ids[] = {(char *)(uintptr_t)file_id};
    VolumeServerPb__BatchDeleteRequest request = INIT(BATCH_DELETE);
    request.file_ids = ids;
    request.n_file_ids = 1;
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "BatchDelete", &request.base, ANSWER(batch_delete),
                                         &message, NULL, NULL),
                     0);
    const VolumeServerPb__BatchDeleteResponse *response = (const void *)message;
    assert_int_equal(response->n_results, 1);
    assert_int_equal(response->results[0]->status, expected_status);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void a_vacuum_over_the_wire_shrinks_the_volume(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    for (uint64_t key = 1; key <= 20; key++)
        store_fixture_put(f->server->store, 7, key, 5, "some text that takes room");
    assert_true(garbage_ratio(f, 7) < 0.001);
    for (unsigned key = 1; key <= 15; key++) {
        char id[32];
        snprintf(id, sizeof(id), "7,%02x00000005", key);
        delete_key(f, id, 202);
    }
    assert_true(garbage_ratio(f, 7) > 0.7);

    struct error err = {0};
    size_t messages;
    assert_int_equal(compact(f, 7, &messages, &err), RPC_OK);
    assert_int_equal(messages, 0); /* small volumes report no progress */
    store_fixture_put(f->server->store, 7, 21, 5, "written between copy and commit");

    VolumeServerPb__VacuumVolumeCommitRequest commit = INIT(VACUUM_VOLUME_COMMIT);
    commit.volume_id = 7;
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "VacuumVolumeCommit", &commit.base,
                                         ANSWER(vacuum_volume_commit), &message, NULL, &err),
                     0);
    const VolumeServerPb__VacuumVolumeCommitResponse *done = (const void *)message;
    assert_false(done->is_read_only);
    assert_true(done->volume_size > 8 && done->volume_size < 1000);
    protobuf_c_message_free_unpacked(message, NULL);
    assert_true(garbage_ratio(f, 7) < 0.001);
    assert_int_equal(store_fixture_read(f->server->store, 7, 20, "some text that takes room"), 0);
    assert_int_equal(store_fixture_read(f->server->store, 7, 21, "written between copy and commit"),
                     0);
    assert_int_not_equal(store_fixture_read(f->server->store, 7, 1, ""), 0);
}

static int keep_progress(void *ctx, const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumeCompactResponse *response = (const void *)message;
    assert_non_null(response->progress);
    *(VolumeServerPb__VacuumProgress *)ctx = *response->progress;
    ((VolumeServerPb__VacuumProgress *)ctx)->phase = NULL;
    return 0;
}

static enum rpc_status ask_pause(struct server_fixture *f, uint32_t id,
                                 VolumeServerPb__VacuumVolumePauseRequest__Action action,
                                 VolumeServerPb__VacuumProgress *ret, char phase[16])
{
    VolumeServerPb__VacuumVolumePauseRequest request = INIT(VACUUM_VOLUME_PAUSE);
    request.volume_id = id;
    request.action = action;
    ProtobufCMessage *message = NULL;
    enum rpc_status status = RPC_OK;
    struct error err;
    if (server_fixture_call(f, "VacuumVolumePause", &request.base, ANSWER(vacuum_volume_pause), &message,
                            &status, &err) == 0) {
        const VolumeServerPb__VacuumVolumePauseResponse *response = (const void *)message;
        *ret = *response->progress;
        snprintf(phase, 16, "%s", response->progress->phase);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return status;
}

/* Whoever asks for it gets more than the peer's servers tell, and a pause. */
static void progress_is_told_in_full_to_those_who_ask(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    for (uint64_t key = 1; key <= 20; key++)
        store_fixture_put(f->server->store, 7, key, 5, "some text that takes room");
    delete_key(f, "7,0100000005", 202);

    VolumeServerPb__VacuumProgress progress = {0};
    VolumeServerPb__VacuumVolumeCompactRequest request = INIT(VACUUM_VOLUME_COMPACT);
    request.volume_id = 7;
    request.progress_interval_ms = 1;
    enum rpc_status status;
    struct error err = {0};
    rpc_client_read_stream(f->client, f->address,
                           "/volume_server_pb.VolumeServer/VacuumVolumeCompact", &request.base,
                           ANSWER(vacuum_volume_compact), 10000, keep_progress, &progress, &status,
                           &err);
    assert_int_equal(status, RPC_OK);
    assert_int_equal(progress.records_done, 19);
    assert_int_equal(progress.records_total, 19);
    assert_true(progress.bytes_done > 0 && progress.bytes_done <= progress.bytes_total);
    assert_true(progress.bytes_copied > 0 && progress.bytes_reclaimed > 0);

    char phase[16];
    assert_int_equal(ask_pause(f, 7, VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__TELL,
                               &progress, phase),
                     RPC_OK);
    assert_string_equal(phase, "copied");
    assert_int_equal(ask_pause(f, 7, VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__PAUSE,
                               &progress, phase),
                     RPC_FAILED_PRECONDITION);
    assert_int_equal(ask_pause(f, 8, VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__TELL,
                               &progress, phase),
                     RPC_NOT_FOUND);
    VolumeServerPb__VacuumVolumeCommitRequest commit = INIT(VACUUM_VOLUME_COMMIT);
    commit.volume_id = 7;
    ProtobufCMessage *message;
    assert_int_equal(server_fixture_call(f, "VacuumVolumeCommit", &commit.base,
                                         ANSWER(vacuum_volume_commit), &message, NULL, &err),
                     0);
    protobuf_c_message_free_unpacked(message, NULL);
    assert_int_equal(ask_pause(f, 7, VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__TELL,
                               &progress, phase),
                     RPC_OK);
    assert_string_equal(phase, "idle");
    assert_true(progress.longest_pause_us > 0 && progress.bytes_reclaimed > 0);
}

static void vacuum_of_an_unknown_volume_is_not_found(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VacuumVolumeCheckRequest check = INIT(VACUUM_VOLUME_CHECK);
    check.volume_id = 9;
    server_fixture_expect(f, "VacuumVolumeCheck", &check.base, ANSWER(vacuum_volume_check),
                          RPC_NOT_FOUND,
                          "volume id 9 is not found during check compact: volume not found");
    struct error err = {0};
    size_t messages;
    assert_int_equal(compact(f, 9, &messages, &err), RPC_NOT_FOUND);
    assert_string_equal(err.message, "compact volume 9: volume id 9 is not found during compact: "
                                     "volume not found");
    VolumeServerPb__VacuumVolumeCommitRequest commit = INIT(VACUUM_VOLUME_COMMIT);
    commit.volume_id = 9;
    server_fixture_expect(f, "VacuumVolumeCommit", &commit.base, ANSWER(vacuum_volume_commit),
                          RPC_NOT_FOUND,
                          "commit compact volume 9: volume id 9 is not found during commit "
                          "compact: volume not found");
    VolumeServerPb__VacuumVolumeCleanupRequest cleanup = INIT(VACUUM_VOLUME_CLEANUP);
    cleanup.volume_id = 9;
    server_fixture_expect(f, "VacuumVolumeCleanup", &cleanup.base, ANSWER(vacuum_volume_cleanup),
                          RPC_NOT_FOUND,
                          "cleanup volume 9: volume id 9 is not found during cleaning up: "
                          "volume not found");
}

static void commit_without_a_copy_changes_nothing(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    VolumeServerPb__VacuumVolumeCommitRequest commit = INIT(VACUUM_VOLUME_COMMIT);
    commit.volume_id = 7;
    server_fixture_expect(f, "VacuumVolumeCommit", &commit.base, ANSWER(vacuum_volume_commit),
                          RPC_UNKNOWN,
                          "commit compact volume 7: volume 7 compact swap aborted: missing "
                          ".cpd/.cpx");
    VolumeServerPb__VacuumVolumeCleanupRequest cleanup = INIT(VACUUM_VOLUME_CLEANUP);
    cleanup.volume_id = 7;
    for (int i = 0; i < 2; i++)
        server_fixture_expect(f, "VacuumVolumeCleanup", &cleanup.base,
                              ANSWER(vacuum_volume_cleanup), RPC_OK, NULL);
    assert_int_equal(store_fixture_read(f->server->store, 7, 1, "hello"), 0);
}

static void a_stopping_server_commits_no_vacuum(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    volume_rpc_set_stopping(f->server->rpc);
    VolumeServerPb__VacuumVolumeCommitRequest commit = INIT(VACUUM_VOLUME_COMMIT);
    commit.volume_id = 7;
    server_fixture_expect(f, "VacuumVolumeCommit", &commit.base, ANSWER(vacuum_volume_commit),
                          RPC_UNKNOWN,
                          "commit compact volume 7: volume id 7 skips compact because volume is "
                          "stopping");
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, server_fixture_set_up, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vacuum_over_the_wire_shrinks_the_volume),
        TEST(progress_is_told_in_full_to_those_who_ask),
        TEST(vacuum_of_an_unknown_volume_is_not_found),
        TEST(commit_without_a_copy_changes_nothing),
        TEST(a_stopping_server_commits_no_vacuum),
    };
    return cmocka_run_group_tests_name("rpc_vacuum", tests, NULL, NULL);
}
