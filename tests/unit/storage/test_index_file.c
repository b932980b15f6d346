/* Rows byte for byte, and the log under short and failing writes. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/format/index_width.h"

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

static void rows_are_the_test_vectors(void **state)
{
    uint8_t row[INDEX_ROW_MAX];
    const struct needle_entry put = {1, 8, 22}, delete = {1, 64, -1};
    index_row_store(row, &put, 4);
    assert_memory_equal(row, "\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\x16", 16);
    index_row_store(row, &put, 5);
    assert_memory_equal(row, "\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\x16", 17);
    index_row_store(row, &delete, 4);
    assert_memory_equal(row, "\0\0\0\0\0\0\0\1\0\0\0\x08\xff\xff\xff\xff", 16);
    index_row_store(row, &delete, 5);
    assert_memory_equal(row, "\0\0\0\0\0\0\0\1\0\0\0\x08\0\xff\xff\xff\xff", 17);
}

static void high_offsets_use_the_fifth_byte_or_wrap(void **state)
{
    uint8_t row[INDEX_ROW_MAX];
    const struct needle_entry far = {7, (0x12ull << 35) + 64, 5};
    struct needle_entry read;
    index_row_store(row, &far, 5);
    assert_int_equal(row[12], 0x12);
    index_row_load(row, &read, 5);
    assert_true(read.offset == far.offset && read.key == 7 && read.size == 5);
    index_row_store(row, &far, 4);
    index_row_load(row, &read, 4);
    assert_int_equal(read.offset, 64);
}

struct seen {
    size_t count;
    uint64_t key_sum, last_position;
};

static int count_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct seen *seen = ctx;
    seen->count++;
    seen->key_sum += entry->key;
    seen->last_position = position;
    return 0;
}

static void append_rows(struct index_file *file, uint64_t first_key, size_t count)
{
    uint8_t *rows = malloc(count * INDEX_ROW_MAX);
    for (size_t i = 0; i < count; i++)
        index_row_store(rows + i * index_row_size(file->offset_bytes),
                        &(struct needle_entry){first_key + i, 8 + 8 * i, 3}, file->offset_bytes);
    assert_int_equal(index_file_append(file, rows, count * index_row_size(file->offset_bytes), NULL, NULL), 0);
    free(rows);
}

static void walk_sees_all_rows_across_pieces_and_reopening(void **state)
{
    struct index_file file;
    assert_int_equal(index_file_open(&file, os, "/d/1.idx", O_RDWR | O_CREAT, 5, NULL), 0);
    append_rows(&file, 1, 10000);
    index_file_close(&file);
    assert_int_equal(index_file_open(&file, os, "/d/1.idx", O_RDWR, 5, NULL), 0);
    append_rows(&file, 10001, 1);
    struct seen seen = {0};
    assert_int_equal(index_file_walk(&file, 0, UINT64_MAX, count_row, &seen, NULL), 0);
    assert_int_equal(seen.count, 10001);
    assert_int_equal(seen.key_sum, 10001ull * 10002 / 2);
    assert_int_equal(seen.last_position, 10000 * 17);
    seen = (struct seen){0};
    assert_int_equal(index_file_walk(&file, 17, 34, count_row, &seen, NULL), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.key_sum, 2);
    index_file_close(&file);
}

static void partial_row_is_not_counted_and_overwritten(void **state)
{
    struct index_file file;
    fixture_write_file(os, "/d/1.idx", "0123456789012345678901234", 25);
    assert_int_equal(index_file_open(&file, os, "/d/1.idx", O_RDWR, 4, NULL), 0);
    assert_int_equal(index_file_end(&file), 16);
    append_rows(&file, 9, 1);
    index_file_close(&file);
    size_t size;
    char *data = fixture_read_file(os, "/d/1.idx", &size);
    assert_int_equal(size, 32);
    assert_memory_equal(data + 16, "\0\0\0\0\0\0\0\x09", 8);
    free(data);
}

static void failed_append_leaves_the_file_as_it_was(void **state)
{
    struct index_file file;
    uint8_t rows[2 * 17] = {0};
    bool is_cut = false;
    assert_int_equal(index_file_open(&file, os, "/d/1.idx", O_RDWR | O_CREAT, 5, NULL), 0);
    append_rows(&file, 1, 3);
    fault_os_clear(fault);
    fault_os_short(fault, FAULT_WRITE, 1, 20, false);
    fault_os_fail(fault, FAULT_WRITE, 2, ENOSPC, false);
    assert_int_equal(index_file_append(&file, rows, sizeof(rows), &is_cut, NULL), KELP_E_NO_SPACE);
    assert_true(is_cut);
    assert_int_equal(index_file_end(&file), 51);
    struct os_stat st;
    assert_int_equal(os_fstat(os, file.fd, &st), 0);
    assert_int_equal(st.size, 51);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_WRITE, 1, EIO, false);
    fault_os_fail(fault, FAULT_FTRUNCATE, 1, EIO, false);
    assert_int_equal(index_file_append(&file, rows, sizeof(rows), &is_cut, NULL), KELP_E_IO);
    assert_false(is_cut);
    index_file_close(&file);
}

static void width_is_told_by_the_rows(void **state)
{
    for (uint8_t width = 4; width <= 5; width++) {
        /* 272 rows of 16 bytes are 256 of 17: the length alone does not tell. */
        for (size_t rows = 1; rows <= 272; rows += rows == 1 ? 15 : 128) {
            struct index_file file;
            assert_int_equal(index_file_open(&file, os, "/d/1.idx", O_RDWR | O_CREAT | O_TRUNC, width, NULL), 0);
            append_rows(&file, 1, rows);
            index_file_close(&file);
            assert_int_equal(index_width_guess(os, "/d/1.idx", 8 + 8 * rows + 32), width);
        }
    }
    assert_int_equal(index_width_guess(os, "/d/none.idx", 100), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_test_vectors),
        cmocka_unit_test(high_offsets_use_the_fifth_byte_or_wrap),
        cmocka_unit_test_setup_teardown(walk_sees_all_rows_across_pieces_and_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(partial_row_is_not_counted_and_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_append_leaves_the_file_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(width_is_told_by_the_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
