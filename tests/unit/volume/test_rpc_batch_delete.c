/* BatchDelete over the wire: a status and a text for each file id. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <stdio.h>
#include <string.h>

/* A server with volume 7. */
static int setup(void **state)
{
    server_fixture_set_up(state);
    server_fixture_allocate(*state, 7, "");
    return 0;
}

struct deletion {
    const char *file_id;
    int status;
    const char *error; /* NULL: not looked at */
    unsigned size;     /* 0: not looked at */
};

static void expect_deletions(struct server_fixture *f, const struct deletion *rows, size_t count,
                             bool skips_cookie)
{
    char *ids[32];
    CHECK(count <= 32);
    for (size_t i = 0; i < count; i++)
        ids[i] = (char *)(uintptr_t)rows[i].file_id;
    VolumeServerPb__BatchDeleteRequest request = VOLUME_SERVER_PB__BATCH_DELETE_REQUEST__INIT;
    request.file_ids = ids;
    request.n_file_ids = count;
    request.skip_cookie_check = skips_cookie;
    ProtobufCMessage *message;
    struct error err = {0};
    assert_int_equal(server_fixture_call(f, "BatchDelete", &request.base,
                                         &volume_server_pb__batch_delete_response__descriptor,
                                         &message, NULL, &err),
                     0);
    const VolumeServerPb__BatchDeleteResponse *response = (const void *)message;
    assert_int_equal(response->n_results, count);
    for (size_t i = 0; i < count; i++) {
        const VolumeServerPb__DeleteResult *got = response->results[i];
        assert_string_equal(got->file_id, rows[i].file_id);
        if (got->status != rows[i].status || (rows[i].error && strcmp(got->error, rows[i].error)))
            fail_msg("%s: %d \"%s\"", got->file_id, got->status, got->error);
        if (rows[i].size)
            assert_int_equal(got->size, rows[i].size);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

static void batch_delete_answers_each_id_in_its_words(void **state)
{
    struct server_fixture *f = *state;
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    store_fixture_put(f->server->store, 7, 2, 5, "hello");
    store_fixture_put(f->server->store, 7, 3, 5, "hello");
    const struct deletion rows[] = {
        {"nonsense", 400, "Wrong fid format.", 0},
        {",0100000005", 400, "Wrong fid format.", 0},
        {"7,00000005", 400, "Invalid fid: 00000005", 0},
        {"7,zz00000005", 400,
         "Parse needleId error: needle id zz format error: strconv.ParseUint: parsing \"zz\": "
         "invalid syntax",
         0},
        {"8,0100000005", 404, "volume 8 not found", 0},
        {"x,0100000005", 404, "volume 0 not found", 0},
        {"7,0900000005", 404, "not found", 0},
        {"7,0100000006", 400, "File Random Cookie does not match.", 0},
        {"7,0100000005", 202, "", 0},
        {"7,0100000005", 404, "already deleted", 0},
        {"7,0100000005_1", 202, "", 0},
    };
    expect_deletions(f, rows, sizeof(rows) / sizeof(rows[0]), false);
    assert_int_equal(store_fixture_read(f->server->store, 7, 3, "hello"), 0);
    assert_int_not_equal(store_fixture_read(f->server->store, 7, 2, ""), 0);
}

static void batch_delete_without_cookies(void **state)
{
    struct server_fixture *f = *state;
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    char not_here[64];
    snprintf(not_here, sizeof(not_here), "volume 8 not found on 127.0.0.1:%u",
             volume_server_port(f->server));
    const struct deletion rows[] = {
        {"7,00000005", 400, "KeyHash is too short.", 0},
        {"8,0100000005", 500, not_here, 0},
        {"7,0900000005", 304, "", 0},
        {"7,0100000006", 202, "", 0},
        {"7,0100000006", 304, "", 0},
    };
    expect_deletions(f, rows, sizeof(rows) / sizeof(rows[0]), true);
}

static void batch_delete_on_a_read_only_volume(void **state)
{
    struct server_fixture *f = *state;
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    struct volume *volume = store_acquire(f->server->store, 7);
    assert_int_equal(volume_mark_read_only(volume, false, false, NULL), 0);
    const struct deletion refused = {"7,0100000005", 500, "volume 7 is read only", 0};
    expect_deletions(f, &refused, 1, false);
    assert_int_equal(volume_mark_read_only(volume, true, false, NULL), 0);
    store_release(f->server->store, volume);
    const struct deletion allowed = {"7,0100000005", 202, "", 0};
    expect_deletions(f, &allowed, 1, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batch_delete_answers_each_id_in_its_words),
        TEST(batch_delete_without_cookies),
        TEST(batch_delete_on_a_read_only_volume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
