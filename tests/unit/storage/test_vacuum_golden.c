/* Volumes that SeaweedFS wrote are vacuumed, finished and rolled back; every record stays what it
 * was. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "common/file_id.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_vacuum.h"

#include <json-c/json.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A needle with a TTL on a volume without one: SeaweedFS drops it, ours does not. */
#define TTL_OF_ITS_OWN 0x47u

struct record {
    uint64_t key;
    uint8_t *bytes;
    uint64_t size;
};

struct scene {
    struct disk_os *disk;
    struct os *os;
    struct volume *volume;
    struct json_object *manifest;
    struct record *records; /* of all live needles, as first read */
    size_t count;
};

static struct scene scene;
static struct scene *const s = &scene;

static int setup(void **state)
{
    memset(s, 0, sizeof(*s));
    disk_os_create(&s->disk, 64 << 20);
    s->os = disk_os_get(s->disk);
    assert_int_equal(os_mkdir(s->os, "/d", 0755), 0);
    return 0;
}

static void forget_records(void)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->records[i].bytes);
    free(s->records);
    s->records = NULL;
    s->count = 0;
}

static int teardown(void **state)
{
    forget_records();
    json_object_put(s->manifest);
    volume_close(s->volume);
    disk_os_destroy(s->disk);
    return 0;
}

static void load_manifest(const char *folder)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s/manifest.json", GOLDEN_FOLDER, folder);
    json_object_put(s->manifest);
    s->manifest = json_object_from_file(path);
    assert_non_null(s->manifest);
}

static void copy_folder(const char *folder)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", GOLDEN_FOLDER, folder);
    fixture_copy_directory(os_real(), path, s->os, "/d");
    load_manifest(folder);
}

static void open_volume(const char *collection, uint32_t id)
{
    struct error err;
    struct volume_place place = {s->os, "/d", NULL, collection, id};
    volume_close(s->volume);
    s->volume = NULL;
    if (vacuum_recover_directory(s->os, "/d", NULL, &err) != 0 ||
        volume_open(&s->volume, &place, NULL, &err) != 0)
        fail_msg("%s", err.message);
    struct volume_stat st;
    volume_stat(s->volume, &st);
    assert_int_equal(st.read_only, 0);
}

static uint64_t key_of(const char *file_id)
{
    struct file_id id;
    struct error err;
    if (file_id_parse(slice_cstr(file_id), &id, &err) != 0)
        fail_msg("%s: %s", file_id, err.message);
    return id.key;
}

static void assert_sha(const char *file_id, struct json_object *blob, const struct needle *needle)
{
    struct json_object *value;
    if (needle->flags & NEEDLE_IS_GZIP)
        return; /* the manifest speaks of what it unpacks to; the bytes are compared anyway */
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char text[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const uint8_t *)needle->data.ptr, needle->data.len, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_true(json_object_object_get_ex(blob, "sha256", &value));
    if (strcmp(text, json_object_get_string(value)) != 0)
        fail_msg("%s has another content", file_id);
}

static void read_record(const char *file_id, struct json_object *blob, struct record *ret)
{
    struct volume_read read;
    struct needle needle = {0};
    struct error err;
    ret->key = key_of(file_id);
    if (volume_read_begin(s->volume, ret->key, false, &read, &err) != 0)
        fail_msg("%s: %s", file_id, err.message);
    ret->size = read.record_size;
    ret->bytes = malloc(read.record_size + 1);
    if (read.record_size > 0 && volume_read_record(&read, ret->bytes, false, &needle, &err) != 0)
        fail_msg("%s: %s", file_id, err.message);
    volume_read_end(&read);
    assert_sha(file_id, blob, &needle);
}

/* Everything that the manifest lists, `skipped` apart. */
static void read_all(uint64_t skipped)
{
    struct json_object *live;
    forget_records();
    assert_true(json_object_object_get_ex(s->manifest, "live", &live));
    s->records = calloc((size_t)json_object_object_length(live), sizeof(*s->records));
    json_object_object_foreach(live, file_id, blob)
    {
        if (key_of(file_id) != skipped)
            read_record(file_id, blob, &s->records[s->count++]);
    }
    assert_true(s->count > 20);
}

static void assert_deleted(void)
{
    struct json_object *deleted;
    assert_true(json_object_object_get_ex(s->manifest, "deleted", &deleted));
    for (size_t i = 0; i < json_object_array_length(deleted); i++) {
        struct volume_read read;
        uint64_t key = key_of(json_object_get_string(json_object_array_get_idx(deleted, i)));
        int code = volume_read_begin(s->volume, key, false, &read, NULL);
        assert_true(code == KELP_E_NOT_FOUND || code == KELP_E_DELETED);
    }
}

/* Byte by byte what was read before. */
static void assert_unchanged_but(uint64_t skipped)
{
    struct record *before = s->records;
    size_t count = s->count;
    s->records = NULL;
    s->count = 0;
    read_all(skipped);
    assert_int_equal(s->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(s->records[i].key, before[i].key);
        assert_int_equal(s->records[i].size, before[i].size);
        assert_memory_equal(s->records[i].bytes, before[i].bytes, before[i].size);
        free(before[i].bytes);
    }
    free(before);
    assert_deleted();
}

static void assert_unchanged(void) { assert_unchanged_but(0); }

static void vacuum(void)
{
    struct error err;
    struct volume_stat before, after;
    volume_stat(s->volume, &before);
    if (volume_vacuum_compact(s->volume, &(struct vacuum_options){0}, &err) != 0 ||
        volume_vacuum_commit(s->volume, NULL, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(volume_vacuum_damaged(s->volume, NULL, 0), 0);
    volume_stat(s->volume, &after);
    assert_int_equal(after.live_count, before.live_count);
    assert_int_equal(after.dat_bytes, 8 + before.live_record_bytes);
    assert_int_equal(after.compact_revision, before.compact_revision + 1);
}

static void vacuum_folder(const char *folder, const char *collection, uint32_t id)
{
    copy_folder(folder);
    open_volume(collection, id);
    read_all(0);
    vacuum();
    assert_unchanged();
    open_volume(collection, id);
    assert_unchanged();
}

static void garbage_of_5_byte_offsets(void **state) { vacuum_folder("offset5/garbage", "", 1); }
static void garbage_of_4_byte_offsets(void **state) { vacuum_folder("offset4/garbage", "", 1); }
static void vacuumed_once_more(void **state) { vacuum_folder("offset5/vacuumed", "", 1); }
static void vacuumed_once_more_4(void **state) { vacuum_folder("offset4/vacuumed", "", 1); }
static void volume_with_ttl(void **state) { vacuum_folder("offset5/ttl", "", 3); }
static void volume_with_ttl_4(void **state) { vacuum_folder("offset4/ttl", "", 3); }
static void collection(void **state) { vacuum_folder("offset5/collection", "photos_2026", 2); }
static void collection_4(void **state) { vacuum_folder("offset4/collection", "photos_2026", 2); }

static void roll_back(const char *folder)
{
    copy_folder(folder);
    assert_true(volume_file_exists(s->os, "/d/1.cpd"));
    open_volume("", 1);
    assert_false(volume_file_exists(s->os, "/d/1.cpd"));
    assert_false(volume_file_exists(s->os, "/d/1.cpx"));
    read_all(0);
    assert_deleted();
    vacuum();
    assert_unchanged();
    open_volume("", 1);
    assert_unchanged();
}

static void copy_without_marker_is_rolled_back(void **state) { roll_back("offset5/copied"); }
static void copy_without_marker_is_rolled_back_4(void **state) { roll_back("offset4/copied"); }

/* Where the peer was stopped between its marker and the last step of its swap; it derives a LevelDB from the
 * index, and may have built the new one already. */
enum forward_stage { DECIDED, DAT_RENAMED, IDX_RENAMED, BOTH_RENAMED };

/* The copy knows nothing of what was written after it: it is the state of `garbage`. */
static void roll_forward(const char *width, enum forward_stage stage)
{
    char folder[64];
    size_t size, now_size;
    snprintf(folder, sizeof(folder), "%s/copied", width);
    copy_folder(folder);
    char *copied = fixture_read_file(s->os, "/d/1.cpd", &size);
    fixture_write_file(s->os, "/d/1.cpc", "", 0);
    if (stage == DAT_RENAMED || stage == BOTH_RENAMED)
        assert_int_equal(os_rename(s->os, "/d/1.cpd", "/d/1.dat"), 0);
    if (stage == IDX_RENAMED || stage == BOTH_RENAMED)
        assert_int_equal(os_rename(s->os, "/d/1.cpx", "/d/1.idx"), 0);
    assert_int_equal(os_mkdir(s->os, "/d/1.ldb", 0755), 0);
    fixture_write_file(s->os, "/d/1.ldb/LOG", "of the old index", 16);
    assert_int_equal(os_mkdir(s->os, "/d/1.cpldb", 0755), 0);
    fixture_write_file(s->os, "/d/1.cpldb/CURRENT", "of the new one", 14);
    open_volume("", 1);
    static const char *const gone[] = {"/d/1.cpc", "/d/1.cpd", "/d/1.cpx", "/d/1.ldb", "/d/1.cpldb"};
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        assert_false(volume_file_exists(s->os, gone[i]));
    char *now = fixture_read_file(s->os, "/d/1.dat", &now_size);
    assert_int_equal(size, now_size);
    assert_memory_equal(copied, now, size);
    free(copied);
    free(now);
    snprintf(folder, sizeof(folder), "%s/garbage", width);
    load_manifest(folder);
    read_all(TTL_OF_ITS_OWN);
    assert_deleted();
    vacuum();
    open_volume("", 1);
    assert_unchanged_but(TTL_OF_ITS_OWN);
}

static void copy_with_marker_is_finished(void **state) { roll_forward("offset5", DECIDED); }
static void copy_with_marker_is_finished_4(void **state) { roll_forward("offset4", DECIDED); }
static void renamed_dat_gets_its_index(void **state) { roll_forward("offset5", DAT_RENAMED); }
static void renamed_dat_gets_its_index_4(void **state) { roll_forward("offset4", DAT_RENAMED); }
static void renamed_index_gets_its_dat(void **state) { roll_forward("offset5", IDX_RENAMED); }
static void renamed_index_gets_its_dat_4(void **state) { roll_forward("offset4", IDX_RENAMED); }
static void marker_of_a_finished_swap_goes(void **state) { roll_forward("offset5", BOTH_RENAMED); }
static void marker_of_a_finished_swap_goes_4(void **state) { roll_forward("offset4", BOTH_RENAMED); }

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(garbage_of_5_byte_offsets),
        CASE(garbage_of_4_byte_offsets),
        CASE(vacuumed_once_more),
        CASE(vacuumed_once_more_4),
        CASE(volume_with_ttl),
        CASE(volume_with_ttl_4),
        CASE(collection),
        CASE(collection_4),
        CASE(copy_without_marker_is_rolled_back),
        CASE(copy_without_marker_is_rolled_back_4),
        CASE(copy_with_marker_is_finished),
        CASE(copy_with_marker_is_finished_4),
        CASE(renamed_dat_gets_its_index),
        CASE(renamed_dat_gets_its_index_4),
        CASE(renamed_index_gets_its_dat),
        CASE(renamed_index_gets_its_dat_4),
        CASE(marker_of_a_finished_swap_goes),
        CASE(marker_of_a_finished_swap_goes_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
