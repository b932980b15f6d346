/* Volumes at and beyond the places that a row can name, in sparse files on the real file system: 4 GiB, 32 GiB
 * (4-byte offsets), 40 GiB and 8 TiB (5-byte offsets). Source: spec/storage-format.md 0, 8, 12. */
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/volume_internal.h"
#include "volume/storage/volume_vacuum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB ((uint64_t)1 << 30)

static char directory[64], dat_path[80], idx_path[80];
static struct append_queue *queue;
static struct volume *volume;
static struct volume_place place;

static int setup(void **state)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%.40s/kelp-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(directory))
        return 1;
    snprintf(dat_path, sizeof(dat_path), "%s/1.dat", directory);
    snprintf(idx_path, sizeof(idx_path), "%s/1.idx", directory);
    place = (struct volume_place){os_real(), directory, NULL, "", 1, NULL};
    return append_queue_create(&queue, "writer", NULL);
}

static int remove_file(void *ctx, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%.32s", directory, name);
    return unlink(path);
}

static int teardown(void **state)
{
    volume_close(volume);
    volume = NULL;
    append_queue_destroy(queue);
    os_list(os_real(), directory, remove_file, NULL);
    return rmdir(directory);
}

static void create(uint8_t offset_bytes)
{
    struct volume_options options = {.offset_bytes = offset_bytes};
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
}

/* The next record goes there. The hole is marked as one, so that a start does not look for records in it. */
static void jump(uint64_t offset)
{
    struct volume_generation *generation = volume->generation;
    const struct needle_entry gap = {0, volume_generation_end(generation), NEEDLE_TOMBSTONE};
    uint8_t row[INDEX_ROW_MAX];
    volume_lock_appends(volume);
    index_row_store(row, &gap, generation->offset_bytes);
    assert_int_equal(index_file_append(&generation->idx, row,
                                       index_row_size(generation->offset_bytes), NULL, NULL), 0);
    atomic_store(&generation->dat_end, offset);
    volume_unlock_appends(volume);
}

static int put(uint64_t key, size_t size)
{
    static char data[8192];
    fixture_fill(data, size, key);
    struct needle needle = fixture_needle(key, 7, data, size);
    return fixture_put(queue, volume, &needle, false).code;
}

static bool has(uint64_t key, size_t size)
{
    static char data[8192];
    fixture_fill(data, size, key);
    return fixture_has(volume, key, data, size);
}

static bool is_gone(uint64_t key)
{
    struct volume_read read;
    int code = volume_read_begin(volume, key, false, &read, NULL);
    if (code == 0)
        volume_read_end(&read);
    return code == KELP_E_DELETED || code == KELP_E_NOT_FOUND;
}

static uint64_t size_of(const char *path)
{
    struct os_stat st;
    assert_int_equal(os_stat(os_real(), path, &st), 0);
    return st.size;
}

static void reopen(bool is_repaired)
{
    char *note = NULL;
    struct error err = {0};
    struct volume_stat stat;
    volume_close(volume);
    volume = NULL;
    if (volume_open(&volume, &place, &note, &err) != 0)
        fail_msg("%s", err.message);
    if ((note != NULL) != is_repaired)
        fail_msg("repaired: %s", note ? note : "nothing");
    free(note);
    volume_stat(volume, &stat);
    bool is_full = stat.dat_bytes >= index_row_limit(stat.offset_bytes);
    assert_int_equal(stat.read_only, is_full ? VOLUME_RO_FULL : 0);
}

/* One byte less, exactly, and far beyond each of the lines. */
static void blobs_live_on_both_sides_of_every_line(void **state)
{
    static const struct {
        uint8_t offset_bytes;
        uint64_t line;
    } table[] = {{4, 4 * GIB}, {4, 16 * GIB}, {5, 4 * GIB}, {5, 32 * GIB}, {5, 40 * GIB}, {5, 4096 * GIB}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        create(table[i].offset_bytes);
        assert_int_equal(put(1, 100), 0);
        jump(table[i].line - 4096);
        assert_int_equal(put(2, 5000), 0); /* across it */
        assert_int_equal(put(3, 300), 0);
        assert_int_equal(put(4, 0), 0);
        assert_int_equal(put(1, 400), 0);
        assert_int_equal(fixture_delete(queue, volume, 3, 7).code, 0);
        for (int opened = 0; opened < 3; opened++) {
            assert_true(has(1, 400) && has(2, 5000) && is_gone(3) && has(4, 0));
            if (opened < 2)
                reopen(false);
        }
        /* A lost row and a torn record there are repaired as anywhere. */
        assert_int_equal(put(5, 500), 0);
        uint64_t rows = size_of(idx_path), end = size_of(dat_path);
        assert_true(end > table[i].line);
        assert_int_equal(truncate(idx_path, (off_t)(rows - index_row_size(table[i].offset_bytes))), 0);
        reopen(true);
        assert_true(has(5, 500) && has(1, 400));
        assert_int_equal(size_of(idx_path), rows);
        assert_int_equal(truncate(dat_path, (off_t)(end - 100)), 0);
        reopen(true);
        assert_true(is_gone(5) && has(1, 400) && has(2, 5000));
        assert_int_equal(put(5, 500), 0);
        reopen(false);
        assert_int_equal(volume_delete_files(volume, NULL), 0);
        volume = NULL;
    }
}

/* As the peer does it, past what a row can name: a record without a body, and a row whose offset wraps. */
static void append_empty_by_hand(uint64_t key)
{
    struct volume_generation *generation = volume->generation;
    uint64_t end = volume_generation_end(generation);
    const struct needle_entry entry = {key, end, 0};
    uint8_t row[INDEX_ROW_MAX], record[32] = {0};
    needle_header_store(record, &(struct needle_header){7, key, 0});
    struct iovec iov = {record, sizeof(record)};
    index_row_store(row, &entry, generation->offset_bytes);
    assert_int_equal(os_write_full(os_real(), generation->dat_fd, dat_path, &iov, 1, end, NULL), 0);
    assert_int_equal(index_file_append(&generation->idx, row,
                                       index_row_size(generation->offset_bytes), NULL, NULL), 0);
    atomic_store(&generation->dat_end, end + sizeof(record));
}

static void vacuum(void)
{
    const struct vacuum_options options = {0};
    struct error err = {0};
    if (volume_vacuum_compact(volume, &options, &err) != 0 ||
        volume_vacuum_commit(volume, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

/* The last record begins below the limit. One that would begin there is refused, and no byte of it is
 * written, not even an empty one, which the peer takes. Deletes go on, and a vacuum makes room. */
static void what_does_not_fit_is_refused_before_a_byte_is_written(void **state)
{
    for (uint8_t offset_bytes = 4; offset_bytes <= 5; offset_bytes++) {
        uint64_t limit = index_row_limit(offset_bytes);
        assert_true(limit == (offset_bytes == 4 ? 32 * GIB : 8192 * GIB));
        create(offset_bytes);
        assert_int_equal(put(1, 100), 0);
        assert_int_equal(put(2, 200), 0);
        jump(limit - 8);
        assert_int_equal(put(3, 300), 0);
        assert_true(has(3, 300));
        uint64_t end = size_of(dat_path), rows = size_of(idx_path);
        for (size_t size = 0; size < 2; size++)
            for (int durable = 0; durable < 2; durable++) {
                struct needle needle = fixture_needle(4, 7, "x", size);
                struct append_request refused = fixture_put(queue, volume, &needle, durable);
                assert_int_equal(refused.code, KELP_E_TOO_LARGE);
                assert_int_equal(size_of(dat_path), end);
                assert_int_equal(size_of(idx_path), rows);
            }
        assert_true(is_gone(4));
        assert_int_equal(fixture_delete(queue, volume, 1, 7).code, 0);
        bool has_wrapped = offset_bytes == 4;
        if (has_wrapped)
            append_empty_by_hand(5);
        assert_int_equal(fixture_delete(queue, volume, 3, 7).code, 0);
        assert_int_equal(size_of(dat_path), end + (has_wrapped ? 96u : 64u));
        for (int opened = 0; opened < 2; opened++) {
            reopen(false);
            assert_true(is_gone(1) && has(2, 200) && is_gone(3) && is_gone(4));
            assert_int_equal(has(5, 0), has_wrapped);
        }
        vacuum();
        for (int opened = 0; opened < 2; opened++) {
            assert_true(is_gone(1) && has(2, 200) && is_gone(3) && is_gone(4));
            assert_int_equal(has(5, 0), has_wrapped);
            reopen(false);
        }
        assert_true(size_of(dat_path) < 4096);
        assert_int_equal(put(4, 400), 0);
        assert_int_equal(volume_delete_files(volume, NULL), 0);
        volume = NULL;
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(blobs_live_on_both_sides_of_every_line),
        T(what_does_not_fit_is_refused_before_a_byte_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
