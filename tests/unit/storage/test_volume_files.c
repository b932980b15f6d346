/* Names, discovery, removal. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/volume_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct os *os;

static int setup(void **state)
{
    disk_os_create(&disk, 1 << 20);
    os = disk_os_get(disk);
    return os_mkdir(os, "/d", 0755) | os_mkdir(os, "/i", 0755);
}

static int teardown(void **state)
{
    disk_os_destroy(disk);
    return 0;
}

static void touch(const char *path, const char *text)
{
    fixture_write_file(os, path, text, strlen(text));
}

static void base_names_split_at_the_last_bar(void **state)
{
    struct slice collection;
    uint32_t id;
    assert_true(volume_name_parse(SLICE("7"), &collection, &id));
    assert_true(collection.len == 0 && id == 7);
    assert_true(volume_name_parse(SLICE("photos_2026_12"), &collection, &id));
    assert_true(slice_equals(collection, SLICE("photos_2026")) && id == 12);
    assert_true(volume_name_parse(SLICE("4294967295"), &collection, &id));
    static const char *const bad[] = {"", "_7", "a_", "a", "a_7x", "-7", "a_-7", "4294967296", "a_99999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(volume_name_parse(slice_cstr(bad[i]), &collection, &id));
}

static void index_directory_is_used_unless_the_idx_lies_with_the_data(void **state)
{
    struct volume_files files;
    assert_int_equal(volume_files_init(&files, os, "/d", "/i", "c", 1, NULL), 0);
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_IDX), "/i/c_1.idx");
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_CPX), "/i/c_1.cpx");
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_DAT), "/d/c_1.dat");
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_VIF), "/d/c_1.vif");
    volume_files_fini(&files);
    touch("/d/c_1.idx", "");
    assert_int_equal(volume_files_init(&files, os, "/d", "/i", "c", 1, NULL), 0);
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_IDX), "/d/c_1.idx");
    assert_string_equal(volume_files_path(&files, VOLUME_FILE_CPX), "/d/c_1.cpx");
    volume_files_fini(&files);
    assert_int_equal(volume_files_init(&files, os, "/d", NULL, "../x", 1, NULL), KELP_E_INVALID);
    volume_files_fini(&files);
}

struct found {
    char text[512];
};

static int note_found(void *ctx, const char *collection, uint32_t id, enum volume_found what)
{
    struct found *found = ctx;
    size_t length = strlen(found->text);
    snprintf(found->text + length, sizeof(found->text) - length, "%s/%u=%d ", collection, id, (int)what);
    return 0;
}

static void discovery_tells_volumes_from_what_is_none(void **state)
{
    touch("/d/1.idx", "");
    touch("/d/1.vif", "{}");
    touch("/d/1.dat", "\3");
    touch("/d/a_b_2.vif", "{}");
    touch("/d/a_b_2.dat", "x");
    touch("/d/3.dat", "x"); /* a .dat alone is not discovered */
    touch("/d/4.vif", "{}"); /* no .dat */
    touch("/d/5.vif", "{\"files\": [{\"backendType\": \"s3\"}]}");
    touch("/d/6.vif", "{\"ecShardConfig\": {\"dataShards\": 10}}");
    touch("/d/6.dat", "12345678");
    touch("/d/7.vif", "{}");
    touch("/i/7.ecx", "x");
    touch("/d/7.dat", "x");
    touch("/d/8.idx", "");
    touch("/d/8.dat", "x");
    touch("/d/8.note", "copying");
    touch("/d/009.idx", "");
    touch("/d/009.dat", "x");
    touch("/d/x.idx", "");
    touch("/d/1.idx.tmp", "");
    struct found found = {""};
    assert_int_equal(volume_files_discover(os, "/d", "/i", note_found, &found, NULL), 0);
    char expected[512];
    snprintf(expected, sizeof(expected), "/9=%d /1=%d /4=%d /5=%d /6=%d /7=%d /8=%d a_b/2=%d ",
             VOLUME_FOUND_NO_DATA, VOLUME_FOUND, VOLUME_FOUND_NO_DATA, VOLUME_FOUND, VOLUME_FOUND_STUB,
             VOLUME_FOUND_EC, VOLUME_FOUND_INCOMPLETE, VOLUME_FOUND);
    assert_string_equal(found.text, expected);
    assert_int_equal(volume_files_discover(os, "/none", NULL, note_found, &found, NULL), KELP_E_NOT_FOUND);
}

/* One that cannot be looked at is told like the others: the load of it fails, with its reason. */
static void a_volume_that_cannot_be_looked_at_hides_no_other(void **state)
{
    struct fault_os *fault;
    touch("/d/1.vif", "{}");
    touch("/d/1.dat", "\3");
    touch("/i/1.idx", "");
    touch("/d/2.vif", "{}");
    touch("/d/2.dat", "\3");
    fault_os_create(&fault, os);
    fault_os_fail(fault, FAULT_STAT, 1, EIO, true);
    fault_os_only(fault, "/1.idx");
    struct found found = {""};
    char expected[64];
    assert_int_equal(volume_files_discover(fault_os_get(fault), "/d", "/i", note_found, &found, NULL), 0);
    snprintf(expected, sizeof(expected), "/1=%d /2=%d ", VOLUME_FOUND, VOLUME_FOUND);
    assert_string_equal(found.text, expected);
    fault_os_destroy(fault);
}

static int count_name(void *ctx, const char *name)
{
    (*(int *)ctx)++;
    return 0;
}

static void an_info_in_the_index_directory_counts_where_the_data_has_none(void **state)
{
    touch("/d/1.idx", "");
    touch("/d/2.vif", "{}");
    touch("/i/2.idx", "");
    touch("/i/2.vif", "{\"files\": [{\"backendType\": \"s3\"}]}"); /* not looked at */
    touch("/d/3.vif", "");
    touch("/i/3.vif", "{\"files\": [{\"backendType\": \"s3\"}]}");
    touch("/d/4.vif", "");
    touch("/i/4.vif", "{\"ecShardConfig\": {\"dataShards\": 10}}");
    touch("/d/4.dat", "12345678");
    struct found found = {""};
    char expected[128];
    assert_int_equal(volume_files_discover(os, "/d", "/i", note_found, &found, NULL), 0);
    snprintf(expected, sizeof(expected), "/1=%d /2=%d /3=%d /4=%d ", VOLUME_FOUND_NO_DATA,
             VOLUME_FOUND_NO_DATA, VOLUME_FOUND, VOLUME_FOUND_STUB);
    assert_string_equal(found.text, expected);
}

static void count_removed(void *ctx, const char *path) { ++*(int *)ctx; }

static void old_temporary_files_are_swept(void **state)
{
    static const char *const swept[] = {
        "/d/3.idx.tmp", "/d/a_b_3.dat.tmp", "/d/3.vif.tmp", "/d/3.vif.copying", "/d/a.b_3.dat.copying",
        "/d/3.mirror.tmp", "/d/3.vif.mirror.tmp", "/d/3.ecsum.tmp", "/d/3.ec03.rebuilding",
        "/d/3.ecxrecover.dat", "/d/3.repair.log.tmp", "/d/3.kix.tmp", "/d/3.sdx.tmp",
    };
    static const char *const kept[] = {
        "/d/3.dat", "/d/3.idx", "/d/3.tmp", "/d/idx.tmp", "/d/notes.idx.tmp", "/d/_7.idx.tmp",
        "/d/3.copying.txt", "/d/.copying", "/d/state.pb.tmp", "/d/x.copying", "/d/3.cpd",
    };
    for (size_t i = 0; i < sizeof(swept) / sizeof(swept[0]); i++)
        touch(swept[i], "x");
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        touch(kept[i], "x");
    os_mkdir(os, "/d/5.idx.tmp", 0755); /* a directory is nobody's temporary file */
    int removed = 0, left = 0;
    int64_t now = os_now_ns(os);
    volume_files_sweep(os, "/d", now - 3600ll * 1000000000, count_removed, &removed);
    assert_int_equal(removed, 0); /* somebody may be writing them */
    volume_files_sweep(os, "/d", now + 1000000000, count_removed, &removed);
    assert_int_equal(removed, sizeof(swept) / sizeof(swept[0]));
    for (size_t i = 0; i < sizeof(swept) / sizeof(swept[0]); i++)
        assert_false(volume_file_exists(os, swept[i]));
    os_list(os, "/d", count_name, &left);
    assert_int_equal(left, sizeof(kept) / sizeof(kept[0]) + 1);
    volume_files_sweep(os, "/none", now, count_removed, &removed);
}

static void removal_takes_everything_in_both_directories(void **state)
{
    static const char *const plain[] = {
        "/d/1.dat", "/i/1.idx", "/d/1.vif",  "/i/1.sdx", "/i/1.rdb", "/d/1.cpd",
        "/i/1.cpx", "/d/1.cpc", "/d/1.note", "/i/1.kix", "/d/1.kix", "/d/1.repair.log",
        "/d/1.sdx", "/d/1.cpx",
    };
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        touch(plain[i], "x");
    os_mkdir(os, "/i/1.ldb", 0755);
    touch("/i/1.ldb/LOG", "x");
    os_mkdir(os, "/d/1.cpldb", 0755);
    os_mkdir(os, "/i/1.cpldb", 0755);
    touch("/i/1.cpldb/CURRENT", "x");
    touch("/d/11.dat", "another volume");
    struct volume_files files;
    assert_int_equal(volume_files_init(&files, os, "/d", "/i", "", 1, NULL), 0);
    assert_int_equal(volume_files_remove(&files, os, NULL), 0);
    int left = 0;
    os_list(os, "/d", count_name, &left);
    os_list(os, "/i", count_name, &left);
    assert_int_equal(left, 1);
    assert_int_equal(volume_files_remove(&files, os, NULL), 0);
    volume_files_fini(&files);
}

static void vif_stays_when_ec_files_share_it(void **state)
{
    struct volume_files files;
    touch("/d/1.dat", "x");
    touch("/d/1.vif", "{}");
    touch("/d/1.ecx", "x");
    assert_int_equal(volume_files_init(&files, os, "/d", NULL, "", 1, NULL), 0);
    assert_int_equal(volume_files_remove(&files, os, NULL), 0);
    assert_true(volume_file_exists(os, "/d/1.vif"));
    assert_false(volume_file_exists(os, "/d/1.dat"));
    volume_files_fini(&files);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(base_names_split_at_the_last_bar),
        T(index_directory_is_used_unless_the_idx_lies_with_the_data),
        T(discovery_tells_volumes_from_what_is_none),
        T(a_volume_that_cannot_be_looked_at_hides_no_other),
        T(an_info_in_the_index_directory_counts_where_the_data_has_none),
        T(old_temporary_files_are_swept),
        T(removal_takes_everything_in_both_directories),
        T(vif_stays_when_ec_files_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
