/* Volumes written by the peer read back: every blob of every folder by its digest, no file changed by
 * opening. The folders are tests/fixtures/golden, or where KELP_GOLDEN points. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"

#include "common/file_id.h"

#include <json-c/json.h>
#include <openssl/evp.h>
#include <zlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BODY_MAX (4u << 20)

static const char *golden_root(void)
{
    const char *root = getenv("KELP_GOLDEN");
    return root ? root : GOLDEN_ROOT;
}

static size_t gunzip(struct slice data, uint8_t *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data.ptr, .avail_in = (uInt)data.len,
                  .next_out = out, .avail_out = BODY_MAX};
    assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    return z.total_out;
}

static void assert_digest(const void *data, size_t size, const char *expected)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length;
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    assert_int_equal(EVP_Digest(data, size, digest, &length, EVP_sha256(), NULL), 1);
    for (unsigned i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void check_live(struct volume *volume, const char *id_text, struct json_object *expected)
{
    static uint8_t plain[BODY_MAX];
    struct file_id id;
    struct needle needle;
    void *buf;
    assert_int_equal(file_id_parse(slice_cstr(id_text), &id, NULL), 0);
    assert_int_equal(fixture_get(volume, id.key, &needle, &buf), 0);
    struct slice data = needle.data;
    if (data.len > 0)
        assert_int_equal(needle.cookie, id.cookie);
    if (needle.flags & NEEDLE_IS_GZIP)
        data = slice_of(plain, gunzip(needle.data, plain));
    assert_int_equal(data.len, json_object_get_int64(json_object_object_get(expected, "size")));
    assert_digest(data.ptr, data.len, json_object_get_string(json_object_object_get(expected, "sha256")));
    char etag[16];
    snprintf(etag, sizeof(etag), "\"%08x\"", needle.checksum);
    struct json_object *headers = json_object_object_get(expected, "headers");
    assert_string_equal(etag, json_object_get_string(json_object_object_get(headers, "etag")));
    free(buf);

    /* The streamed way sees the same. */
    struct volume_read read;
    struct needle around;
    static uint8_t parts[VOLUME_READ_AROUND_MAX];
    assert_int_equal(volume_read_begin(volume, id.key, false, &read, NULL), 0);
    assert_int_equal(volume_read_around(&read, parts, false, &around, NULL), 0);
    assert_int_equal(around.data.len, needle.data.len);
    assert_int_equal(around.flags, needle.flags);
    assert_int_equal(around.last_modified, needle.last_modified);
    if (around.data.len > 0 && !(needle.flags & NEEDLE_IS_GZIP)) {
        assert_int_equal(volume_read_data(&read, plain, around.data.len, 0, false, NULL), 0);
        assert_digest(plain, around.data.len,
                      json_object_get_string(json_object_object_get(expected, "sha256")));
    }
    volume_read_end(&read);
}

static void check_folder(const char *width, const char *folder, const char *collection, uint32_t id)
{
    char path[512], base[64];
    struct disk_os *disk;
    snprintf(path, sizeof(path), "%s/%s/%s", golden_root(), width, folder);
    disk_os_create(&disk, 1 << 24);
    struct os *os = disk_os_get(disk);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    fixture_copy_directory(os_real(), path, os, "/d");
    snprintf(base, sizeof(base), collection[0] ? "/d/%s_%u" : "/d/%s%u", collection, id);

    size_t sizes[3], now;
    char *before[3];
    static const char *const extensions[] = {"dat", "idx", "vif"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s.%s", base, extensions[i]);
        before[i] = fixture_read_file(os, path, &sizes[i]);
        assert_non_null(before[i]);
    }
    struct volume_place place = {os, "/d", NULL, collection, id};
    struct volume *volume;
    struct volume_stat stat;
    struct error err;
    char *note = NULL;
    if (volume_open(&volume, &place, &note, &err) != 0)
        fail_msg("%s/%s: %s", width, folder, err.message);
    bool is_undone = note && strstr(note, "before its commit was undone");
    if (is_undone != (strcmp(folder, "copied") == 0) || (note && strstr(note, ";")))
        fail_msg("%s/%s was changed: %s", width, folder, note);
    free(note);
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, 0);
    assert_int_equal(stat.offset_bytes, width[6] - '0');
    assert_int_equal(stat.version, 3);

    char *text = fixture_read_file(os, "/d/manifest.json", NULL);
    struct json_object *manifest = json_tokener_parse(text);
    assert_non_null(manifest);
    size_t live = 0;
    json_object_object_foreach(json_object_object_get(manifest, "live"), key, value) {
        check_live(volume, key, value);
        live++;
    }
    assert_true(live > 30);
    assert_int_equal(stat.live_count, live);
    struct json_object *deleted = json_object_object_get(manifest, "deleted");
    for (size_t i = 0; i < json_object_array_length(deleted); i++) {
        struct file_id file;
        struct volume_read read;
        const char *id_text = json_object_get_string(json_object_array_get_idx(deleted, i));
        assert_int_equal(file_id_parse(slice_cstr(id_text), &file, NULL), 0);
        int code = volume_read_begin(volume, file.key, false, &read, NULL);
        assert_true(code == KELP_E_NOT_FOUND || code == KELP_E_DELETED);
    }
    json_object_put(manifest);
    free(text);
    volume_close(volume);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s.%s", base, extensions[i]);
        char *after = fixture_read_file(os, path, &now);
        assert_int_equal(now, sizes[i]);
        assert_memory_equal(after, before[i], now);
        free(after);
        free(before[i]);
    }
    disk_os_destroy(disk);
}

static const char *const widths[] = {"offset4", "offset5"};

static void garbage_folders_read_back(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_folder(widths[i], "garbage", "", 1);
}

static void copied_folders_read_back_after_roll_back(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_folder(widths[i], "copied", "", 1);
}

static void vacuumed_folders_read_back(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_folder(widths[i], "vacuumed", "", 1);
}

static void collection_with_underscore_reads_back(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_folder(widths[i], "collection", "photos_2026", 2);
}

static void ttl_volumes_read_back(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_folder(widths[i], "ttl", "", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_folders_read_back),
        cmocka_unit_test(copied_folders_read_back_after_roll_back),
        cmocka_unit_test(vacuumed_folders_read_back),
        cmocka_unit_test(collection_with_underscore_reads_back),
        cmocka_unit_test(ttl_volumes_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
