/* Who may call what, and when: the contract's authorization and maintenance matrix, method by method.
 * Source: spec/volume-rpc.md 0.3, as 4.48 has it. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/server_fixture.h"
#include "volume/volume_server_internal.h"

#include <stdlib.h>
#include <string.h>

struct row {
    const char *method;
    const ProtobufCMessageDescriptor *request, *response;
    bool is_for_admitted, is_refused_in_maintenance;
};
#define ROW(name, message, admitted, maintenance)                                                  \
    {#name, &volume_server_pb__##message##_request__descriptor,                                    \
     &volume_server_pb__##message##_response__descriptor, admitted, maintenance}

static const struct row rows[] = {
    ROW(BatchDelete, batch_delete, true, true),
    ROW(VacuumVolumeCheck, vacuum_volume_check, false, false),
    ROW(VacuumVolumeCompact, vacuum_volume_compact, true, true),
    ROW(VacuumVolumeCommit, vacuum_volume_commit, true, true),
    ROW(VacuumVolumeCleanup, vacuum_volume_cleanup, true, true),
    ROW(DeleteCollection, delete_collection, true, false),
    ROW(AllocateVolume, allocate_volume, true, true),
    ROW(VolumeSyncStatus, volume_sync_status, false, false),
    ROW(VolumeMount, volume_mount, true, false),
    ROW(VolumeUnmount, volume_unmount, true, false),
    ROW(VolumeDelete, volume_delete, true, false),
    ROW(VolumeMarkReadonly, volume_mark_readonly, true, false),
    ROW(VolumeMarkWritable, volume_mark_writable, true, false), /* late: after the volume was found */
    ROW(VolumeConfigure, volume_configure, true, true),
    ROW(VolumeStatus, volume_status, false, false),
    ROW(GetState, get_state, false, false),
    ROW(ReadNeedleBlob, read_needle_blob, false, false),
    ROW(ReadNeedleMeta, read_needle_meta, false, false),
    ROW(WriteNeedleBlob, write_needle_blob, true, true),
    ROW(ReadAllNeedles, read_all_needles, true, false),
    ROW(VolumeNeedleStatus, volume_needle_status, true, false),
    ROW(ScrubVolume, scrub_volume, true, false),
    ROW(VolumeServerStatus, volume_server_status, false, false),
    ROW(SetState, set_state, true, false),
    ROW(Ping, ping, false, false),
    ROW(VolumeServerLeave, volume_server_leave, true, false), /* last: it cannot be undone */
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static int setup(void **state)
{
    struct server_fixture *f = calloc(1, sizeof(*f));
    server_fixture_init(f);
    *state = f;
    return 0;
}

/* With an empty request. The status; the text in *ret. A stream without a message is RPC_OK too. */
static enum rpc_status call(struct server_fixture *f, const struct row *row, struct error *ret)
{
    ProtobufCMessage *request = calloc(1, row->request->sizeof_message), *answer = NULL;
    enum rpc_status status = RPC_OK;
    assert_non_null(request);
    protobuf_c_message_init(row->request, request);
    *ret = (struct error){0};
    if (server_fixture_call(f, row->method, request, row->response, &answer, &status, ret) == 0)
        protobuf_c_message_free_unpacked(answer, NULL);
    free(request);
    if (status == RPC_UNIMPLEMENTED)
        fail_msg("%s is not there", row->method);
    return status;
}

static void strangers_are_refused_where_the_contract_says_so(void **state)
{
    struct server_fixture *f = *state;
    f->config.white_list = "192.0.2.0/24";
    server_fixture_start(f);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct error err;
        enum rpc_status status = call(f, &rows[i], &err);
        bool is_refused = status == RPC_PERMISSION_DENIED;
        if (is_refused != rows[i].is_for_admitted)
            fail_msg("%s: status %d %s", rows[i].method, (int)status, err.message);
        if (is_refused)
            assert_string_equal(err.message, "not authorized: 127.0.0.1");
    }
}

static void maintenance_refuses_where_the_contract_says_so(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_start(f);
    assert_int_equal(server_state_set(f->server->state, true, 0, NULL), 0);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct error err;
        enum rpc_status status = call(f, &rows[i], &err);
        bool is_refused = strstr(err.message, "is in maintenance mode") != NULL;
        if (is_refused != rows[i].is_refused_in_maintenance)
            fail_msg("%s: status %d %s", rows[i].method, (int)status, err.message);
        if (is_refused)
            assert_int_equal(status, RPC_UNKNOWN);
    }
}

/* Both at once: the caller is looked at first. */
static void a_stranger_does_not_learn_of_maintenance(void **state)
{
    struct server_fixture *f = *state;
    f->config.white_list = "192.0.2.0/24";
    server_fixture_start(f);
    assert_int_equal(server_state_set(f->server->state, true, 0, NULL), 0);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct error err;
        if (rows[i].is_for_admitted)
            assert_int_equal(call(f, &rows[i], &err), RPC_PERMISSION_DENIED);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strangers_are_refused_where_the_contract_says_so),
        TEST(maintenance_refuses_where_the_contract_says_so),
        TEST(a_stranger_does_not_learn_of_maintenance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
