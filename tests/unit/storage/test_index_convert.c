/* Changing the width of offsets: there and back, what does not fit, and every moment at which it may be cut
 * off. */
#include "common/check.h"
#include "tests/unit/storage/sample_volume.h"
#include "volume/storage/index_convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sample sample;

static int setup(void **state)
{
    sample_create(&sample, *state ? 4 : 5);
    return 0;
}

static int teardown(void **state)
{
    sample_destroy(&sample);
    return 0;
}

static uint8_t other(uint8_t width) { return width == 4 ? 5 : 4; }

static int convert_in(struct os *os, const char *directory, uint8_t from, uint8_t to, bool is_applied,
                      struct index_convert_result *ret, struct error *err)
{
    struct volume_files files;
    struct volume_info info = {0};
    int code = volume_files_init(&files, os, directory, NULL, "", 1, err);
    if (code != 0)
        return code;
    volume_info_file_load(os, volume_files_path(&files, VOLUME_FILE_VIF), &info, NULL);
    code = index_convert(&files, os, &info, from, to, is_applied, ret, err);
    volume_info_fini(&info);
    volume_files_fini(&files);
    return code;
}

static int convert(uint8_t from, uint8_t to, bool is_applied)
{
    struct index_convert_result result;
    int code = convert_in(sample.os, "/d", from, to, is_applied, &result, NULL);
    if (code == 0)
        assert_int_equal(result.rows, SAMPLE_ROWS);
    return code;
}

static unsigned width_in_info(void)
{
    struct volume_info info = {0};
    assert_int_equal(volume_info_file_load(sample.os, "/d/1.vif", &info, NULL), 0);
    unsigned width = info.bytes_offset;
    volume_info_fini(&info);
    return width;
}

static void there_and_back_is_the_same_file(void **state)
{
    size_t size;
    uint8_t from = sample.offset_bytes, to = other(from);
    assert_int_equal(convert(from, to, true), 0);
    assert_int_equal(width_in_info(), to);
    char *idx = fixture_read_file(sample.os, "/d/1.idx", &size);
    assert_int_equal(size, SAMPLE_ROWS * index_row_size(to));
    for (size_t i = 0; i < SAMPLE_ROWS; i++) {
        struct needle_entry row;
        index_row_load((const uint8_t *)idx + i * index_row_size(to), &row, to);
        assert_true(row.key == sample.rows[i].key && row.offset == sample.rows[i].offset &&
                    row.size == sample.rows[i].size);
    }
    free(idx);
    assert_int_equal(convert(to, from, true), 0);
    idx = fixture_read_file(sample.os, "/d/1.idx", &size);
    assert_int_equal(size, sample.idx_size);
    assert_memory_equal(idx, sample.idx, size);
    free(idx);
    assert_int_equal(width_in_info(), from);
    sample_check_served(sample.os);
}

static void a_converted_volume_is_served(void **state)
{
    assert_int_equal(convert(sample.offset_bytes, other(sample.offset_bytes), true), 0);
    sample_check_served(sample.os);
    assert_int_equal(width_in_info(), other(sample.offset_bytes));
}

static void a_dry_run_writes_nothing(void **state)
{
    uint64_t before = disk_os_fingerprint(sample.disk, (const char *const[]){NULL});
    assert_int_equal(convert(sample.offset_bytes, other(sample.offset_bytes), false), 0);
    assert_int_equal(disk_os_fingerprint(sample.disk, (const char *const[]){NULL}), before);
}

static void what_cannot_be_converted_is_refused_and_left_alone(void **state)
{
    uint8_t from = sample.offset_bytes, to = other(from);
    struct needle_entry rows[SAMPLE_ROWS];
    assert_int_equal(convert(from, from, true), KELP_E_EXISTS);
    fixture_write_file(sample.os, "/d/1.cpc", "", 0);
    assert_int_equal(convert(from, to, true), KELP_E_PRECONDITION);
    os_unlink(sample.os, "/d/1.cpc");
    fixture_write_file(sample.os, "/d/1.ecx", "", 0);
    assert_int_equal(convert(from, to, true), KELP_E_PRECONDITION);
    os_unlink(sample.os, "/d/1.ecx");
    sample.idx_size -= 1;
    sample_save(&sample);
    assert_int_equal(convert(from, to, true), KELP_E_CORRUPT);
    memcpy(rows, sample.rows, sizeof(rows));
    rows[3].offset = 32ull << 30;
    sample_save_rows(&sample, rows, SAMPLE_ROWS);
    if (from == 5)
        assert_int_equal(convert(from, to, true), KELP_E_TOO_LARGE);
    assert_false(volume_file_exists(sample.os, "/d/1.idx.tmp"));
    assert_false(volume_file_exists(sample.os, "/d/1.idx.bak"));
    assert_int_equal(width_in_info(), from);
}

/* A conversion that is cut off before its last step is completed by another one. */
static void cut_off_it_can_be_completed(void **state)
{
    struct index_convert_result result;
    uint8_t from = sample.offset_bytes, to = other(from);
    fault_os_fail(sample.fault, FAULT_RENAME, 3, EIO, false); /* .vif, .idx, .vif */
    assert_int_equal(convert(from, to, true), KELP_E_IO);
    fault_os_clear(sample.fault);
    assert_int_equal(width_in_info(), 0);
    assert_int_equal(convert_in(sample.os, "/d", to, to, true, &result, NULL), 0);
    assert_int_equal(width_in_info(), to);
    sample_check_served(sample.os);
}

/* Stopped at each call that changes the disk, in each way; then also without power. */
static void stopped_anywhere_the_volume_is_served(void **state)
{
    uint8_t from = sample.offset_bytes, to = other(from);
    size_t points = 0;
    for (unsigned where = FAULT_STOP_BEFORE; where <= FAULT_STOP_AFTER; where++)
        for (uint64_t n = 1;; n++) {
            struct disk_os *disk;
            struct fault_os *fault;
            struct index_convert_result result;
            disk_os_clone(sample.disk, &disk);
            fault_os_create(&fault, disk_os_get(disk));
            fault_os_stop(fault, FAULT_CHANGE, n, (enum fault_os_stop)where);
            convert_in(fault_os_get(fault), "/d", from, to, true, &result, NULL);
            bool is_stopped = fault_os_is_stopped(fault);
            unsigned losses = where == FAULT_STOP_BEFORE ? DISK_OS_LOSSES : 0;
            for (unsigned loss = 0; loss <= losses; loss++) {
                struct disk_os *later;
                disk_os_clone(disk, &later);
                if (loss > 0)
                    disk_os_lose_power(later, (enum disk_os_loss)(loss - 1), n * 100 + loss);
                sample_check_served(disk_os_get(later));
                disk_os_destroy(later);
                points++;
            }
            fault_os_destroy(fault);
            disk_os_destroy(disk);
            if (!is_stopped)
                break;
        }
    print_message("%zu states\n", points);
    assert_true(points > 200);
}

/* A .dat beyond 32 GiB with 4-byte rows, as the peer may leave it: the record's header tells the place. */
static void rows_that_wrapped_are_found_again(void **state)
{
    static const uint8_t super_block[8] = {3};
    const uint64_t far = (32ull << 30) + 8;
    char folder[64], path[128];
    struct os *os = os_real();
    struct index_convert_result result;
    uint8_t head[NEEDLE_HEAD_MAX], tail[256], rows[32];
    struct needle_record record;
    fixture_make_folder(folder);
    snprintf(path, sizeof(path), "%s/1.dat", folder);
    int fd = os_open(os, path, O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    struct iovec iov = {(void *)(uintptr_t)super_block, 8};
    assert_int_equal(os_write_full(os, fd, path, &iov, 1, 0, NULL), 0);
    for (uint64_t key = 1; key <= 2; key++) {
        struct needle needle = fixture_needle(key, 7, key == 1 ? "near" : "much further", key == 1 ? 4 : 12);
        assert_int_equal(needle_encode(&needle, 3, head, tail, &record, NULL), 0);
        struct iovec parts[] = {{head, record.head_size},
                                {(void *)(uintptr_t)needle.data.ptr, needle.data.len},
                                {tail, record.tail_size}};
        uint64_t offset = key == 1 ? 8 : far;
        assert_int_equal(os_write_full(os, fd, path, parts, 3, offset, NULL), 0);
        index_row_store(rows + (key - 1) * 16, &(struct needle_entry){key, offset, record.body_size}, 4);
    }
    os_close(os, fd);
    snprintf(path, sizeof(path), "%s/1.idx", folder);
    fixture_write_file(os, path, rows, 32);
    assert_int_equal(convert_in(os, folder, 4, 5, true, &result, NULL), 0);
    assert_int_equal(result.resolved, 1);
    size_t size;
    char *made = fixture_read_file(os, path, &size);
    struct needle_entry row;
    assert_int_equal(size, 34);
    index_row_load((const uint8_t *)made + 17, &row, 5);
    assert_true(row.key == 2 && row.offset == far);
    free(made);
    assert_int_equal(convert_in(os, folder, 5, 4, true, &result, NULL), KELP_E_TOO_LARGE);
    fixture_remove_folder(folder);
}

int main(void)
{
    static int narrow;
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, setup, teardown),                                        \
        {#name " (4-byte offsets)", name, setup, teardown, &narrow}
    const struct CMUnitTest tests[] = {
        TEST(there_and_back_is_the_same_file),
        TEST(a_converted_volume_is_served),
        TEST(a_dry_run_writes_nothing),
        TEST(what_cannot_be_converted_is_refused_and_left_alone),
        TEST(cut_off_it_can_be_completed),
        TEST(stopped_anywhere_the_volume_is_served),
        cmocka_unit_test(rows_that_wrapped_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
