/* .vif documents: what is written byte for byte, what is read with tolerance. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/volume_info_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct fault_os *fault;
static struct os *os;

static int setup(void **state)
{
    disk_os_create(&disk, 1 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    return os_mkdir(os, "/d", 0755);
}

static int teardown(void **state)
{
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

static int load(const char *text, struct volume_info *ret)
{
    fixture_write_file(os, "/d/1.vif", text, strlen(text));
    return volume_info_file_load(os, "/d/1.vif", ret, NULL);
}

static void plain_document_is_the_peers(void **state)
{
    struct volume_info info = {.version = 3, .bytes_offset = 4};
    assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), 0);
    char *text = fixture_read_file(os, "/d/1.vif", NULL);
    assert_string_equal(text, "{\n"
                              "  \"files\": [],\n"
                              "  \"version\": 3,\n"
                              "  \"replication\": \"\",\n"
                              "  \"bytesOffset\": 4,\n"
                              "  \"datFileSize\": \"0\",\n"
                              "  \"expireAtSec\": \"0\",\n"
                              "  \"readOnly\": false,\n"
                              "  \"ecShardConfig\": null,\n"
                              "  \"readOnlyCanDelete\": false\n"
                              "}");
    free(text);
}

static void everything_reads_back(void **state)
{
    struct volume_info_remote remotes[2] = {
        {"s3", "default", "a/\"b\"", ".dat", 5, UINT64_MAX, 1700000000},
        {"rclone", "x", "", "", 0, 0, 0},
    };
    struct volume_info info = {.files = remotes, .file_count = 2, .version = 2, .replication = "010",
                               .bytes_offset = 5, .dat_file_size = 1ull << 60, .expire_at_second = 77,
                               .is_read_only = true, .can_delete = true, .has_ec = true,
                               .ec_data_shards = 10, .ec_parity_shards = 4, .ec_encoded_at_ns = -5};
    struct volume_info read;
    assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), 0);
    assert_int_equal(volume_info_file_load(os, "/d/1.vif", &read, NULL), 0);
    assert_int_equal(read.file_count, 2);
    assert_string_equal(read.files[0].key, "a/\"b\"");
    assert_string_equal(read.files[0].extension, ".dat");
    assert_true(read.files[0].file_size == UINT64_MAX);
    assert_string_equal(read.files[1].backend_type, "rclone");
    assert_int_equal(read.version, 2);
    assert_string_equal(read.replication, "010");
    assert_int_equal(read.bytes_offset, 5);
    assert_true(read.dat_file_size == 1ull << 60);
    assert_int_equal(read.expire_at_second, 77);
    assert_true(read.is_read_only && read.can_delete && read.has_ec);
    assert_int_equal(read.ec_data_shards, 10);
    assert_int_equal(read.ec_encoded_at_ns, -5);
    volume_info_fini(&read);
}

static void other_spellings_and_forms_are_taken(void **state)
{
    struct volume_info info;
    assert_int_equal(load("{\"version\":  3, \"bytes_offset\": 5, \"dat_file_size\": 12, \"unknown\": [1],"
                          "\"read_only\": true, \"read_only_can_delete\": true, \"ecShardConfig\": null}\n", &info), 0);
    assert_int_equal(info.bytes_offset, 5);
    assert_int_equal(info.dat_file_size, 12);
    assert_true(info.is_read_only && info.can_delete);
    volume_info_fini(&info);
    assert_int_equal(load("{\"BytesOffset\": 4, \"DestroyTime\": 99}", &info), 0);
    assert_int_equal(info.bytes_offset, 4);
    assert_int_equal(info.expire_at_second, 99);
    volume_info_fini(&info);
    assert_int_equal(load("{}", &info), 0);
    assert_int_equal(info.version, 0);
    volume_info_fini(&info);
}

/* A later version's document: what we do not know is still there after we have changed a mark. */
static void unknown_keys_survive_a_save(void **state)
{
    struct volume_info info, again;
    assert_int_equal(load("{\"zoneId\": \"a/\\\"b\", \"version\": 3, \"deep\": {\"x\": [1, null, true]},"
                          "\"files\": [{\"key\": \"k\", \"storageClass\": \"cold\"}, {\"key\": \"l\"}]}",
                          &info), 0);
    info.is_read_only = true;
    assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), 0);
    assert_int_equal(volume_info_file_load(os, "/d/1.vif", &again, NULL), 0);
    assert_true(again.is_read_only);
    assert_string_equal(again.foreign, info.foreign);
    assert_string_equal(again.files[0].foreign, "\"storageClass\": \"cold\"");
    assert_null(again.files[1].foreign);
    char *text = fixture_read_file(os, "/d/1.vif", NULL);
    assert_non_null(strstr(text, "  \"readOnlyCanDelete\": false,\n  \"zoneId\": \"a/\\\"b\", \"deep\": {"));
    free(text);
    volume_info_fini(&info);
    volume_info_fini(&again);
}

/* 64-bit numbers as strings or numbers, both spellings, in any order, as the peer's printers vary. */
static void every_field_is_taken_in_every_form(void **state)
{
    static const char *const forms[] = {
        "{\"version\":2,\"bytesOffset\":4,\"datFileSize\":\"18446744073709551615\",\"expireAtSec\":\"7\","
        "\"readOnly\":true,\"readOnlyCanDelete\":true,\"replication\":\"120\",\"ecShardConfig\":{\"dataShards\":10,"
        "\"parityShards\":4,\"encodeTsNs\":\"-9\"},\"files\":[{\"backendType\":\"s3\",\"backendId\":\"d\",\"key\":\"k\","
        "\"offset\":\"1\",\"fileSize\":\"2\",\"modifiedTime\":\"3\",\"extension\":\".dat\"}]}",
        " {\n\"files\" :  [ { \"extension\": \".dat\", \"modified_time\": 3, \"file_size\": 2, \"offset\": 1, "
        "\"key\": \"k\", \"backend_id\": \"d\", \"backend_type\": \"s3\" } ],\n\"ec_shard_config\": "
        "{\"encode_ts_ns\": -9, \"parity_shards\": 4, \"data_shards\": 10}, \"replication\": \"120\", "
        "\"read_only_can_delete\": true, \"read_only\": true, \"expire_at_sec\": 7, "
        "\"dat_file_size\": 18446744073709551615, \"bytes_offset\": 4, \"version\": 2 } \n",
    };
    for (size_t i = 0; i < 2; i++) {
        struct volume_info info;
        assert_int_equal(load(forms[i], &info), 0);
        assert_int_equal(info.version, 2);
        assert_int_equal(info.bytes_offset, 4);
        assert_true(info.dat_file_size == UINT64_MAX);
        assert_int_equal(info.expire_at_second, 7);
        assert_true(info.is_read_only && info.can_delete && info.has_ec);
        assert_string_equal(info.replication, "120");
        assert_int_equal(info.ec_data_shards, 10);
        assert_int_equal(info.ec_parity_shards, 4);
        assert_int_equal(info.ec_encoded_at_ns, -9);
        assert_int_equal(info.file_count, 1);
        assert_string_equal(info.files[0].backend_type, "s3");
        assert_string_equal(info.files[0].backend_id, "d");
        assert_string_equal(info.files[0].key, "k");
        assert_int_equal(info.files[0].offset, 1);
        assert_int_equal(info.files[0].file_size, 2);
        assert_int_equal(info.files[0].modified_time, 3);
        assert_string_equal(info.files[0].extension, ".dat");
        assert_null(info.foreign);
        volume_info_fini(&info);
    }
}

static void what_is_no_such_document_is_told_apart(void **state)
{
    static const char *const bad[] = {
        "{", "[]", "null", "{} trailing", "{\"files\": 3}", "{\"files\": [3]}", "{\"bytesOffset\": 6}",
        "{\"version\": \"x\"}", "{\"replication\": \"9999\"}", "{\"replication\": \"a\"}",
        "{\"files\": [{\"fileSize\": {}}]}",
    };
    struct volume_info info;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (load(bad[i], &info) != KELP_E_CORRUPT)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(load("", &info), KELP_E_NOT_FOUND);
    assert_int_equal(volume_info_file_load(os, "/d/none.vif", &info, NULL), KELP_E_NOT_FOUND);
}

static void failed_save_keeps_the_old_document(void **state)
{
    struct volume_info info = {.version = 3}, read;
    assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), 0);
    info.is_read_only = true;
    for (unsigned kind = FAULT_OPEN; kind <= FAULT_RENAME; kind <<= 1) {
        if (!(kind & (FAULT_OPEN | FAULT_WRITE | FAULT_FSYNC | FAULT_RENAME)))
            continue;
        fault_os_clear(fault);
        fault_os_fail(fault, kind, 1, ENOSPC, false);
        assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), KELP_E_NO_SPACE);
        fault_os_clear(fault);
        assert_int_equal(volume_info_file_load(os, "/d/1.vif", &read, NULL), 0);
        assert_false(read.is_read_only);
        volume_info_fini(&read);
    }
}

static void document_without_write_permission_is_not_replaced(void **state)
{
    struct volume_info info = {.version = 3};
    os_close(os, os_open(os, "/d/1.vif", O_RDWR | O_CREAT, 0444));
    assert_int_equal(volume_info_file_save(os, "/d/1.vif", &info, NULL), KELP_E_DENIED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(plain_document_is_the_peers),
        T(everything_reads_back),
        T(other_spellings_and_forms_are_taken),
        T(unknown_keys_survive_a_save),
        T(every_field_is_taken_in_every_form),
        T(what_is_no_such_document_is_told_apart),
        T(failed_save_keeps_the_old_document),
        T(document_without_write_permission_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
