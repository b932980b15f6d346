/* Making an .idx from its .dat, and swapping it in. */
#include "common/check.h"
#include "tests/unit/storage/sample_volume.h"
#include "volume/storage/index_load.h"
#include "volume/storage/index_rebuild.h"
#include "volume/storage/index_swap.h"
#include "volume/storage/format/volume_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sample sample;
static struct index_rebuild_result result;

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

static int rebuild_as(const char *path, bool is_live_only)
{
    struct volume_generation *generation = sample_open(&sample, false);
    const struct index_rebuild_options options = {.is_live_only = is_live_only};
    int code = index_rebuild(generation, path, &options, &result, NULL);
    volume_generation_unref(generation);
    return code;
}

static void rebuild(void) { assert_int_equal(rebuild_as("/d/1.idx.tmp", false), 0); }

static void forget_rows(void) { sample_save_rows(&sample, NULL, 0); }

static void swap(void)
{
    struct volume_files files;
    assert_int_equal(volume_files_init(&files, sample.os, "/d", NULL, "", 1, NULL), 0);
    assert_int_equal(index_swap(&files, sample.os, "/d/1.idx.tmp", NULL), 0);
    volume_files_fini(&files);
}

/* The rows of the file that was made. */
static size_t read_rows(struct needle_entry rows[SAMPLE_ROWS + 1])
{
    size_t size, row_size = index_row_size(sample.offset_bytes);
    char *bytes = fixture_read_file(sample.os, "/d/1.idx.tmp", &size);
    assert_non_null(bytes);
    assert_true(size % row_size == 0 && size <= (SAMPLE_ROWS + 1) * row_size);
    for (size_t i = 0; i < size / row_size; i++)
        index_row_load((const uint8_t *)bytes + i * row_size, &rows[i], sample.offset_bytes);
    free(bytes);
    return size / row_size;
}

/* A server that opens the volume now finds nothing to repair. */
static void assert_loads_as_it_is(void)
{
    struct volume_generation *generation = sample_open(&sample, false);
    struct index_verdict verdict;
    assert_int_equal(index_load(generation, &verdict, NULL), 0);
    assert_false(verdict.needs_rebuild);
    assert_int_equal(verdict.bad_rows, 0);
    assert_int_equal(verdict.records_end, volume_generation_end(generation));
    volume_generation_unref(generation);
}

static void with_the_old_rows_it_is_the_same_file(void **state)
{
    size_t size;
    rebuild();
    assert_true(result.is_unchanged);
    assert_int_equal(result.puts, SAMPLE_ROWS - 1);
    assert_int_equal(result.deletes, 1);
    assert_int_equal(result.empty_needles, 1);
    char *made = fixture_read_file(sample.os, "/d/1.idx.tmp", &size);
    assert_int_equal(size, sample.idx_size);
    assert_memory_equal(made, sample.idx, size);
    free(made);
}

static void without_them_an_empty_record_is_a_delete(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    forget_rows();
    rebuild();
    assert_false(result.is_unchanged);
    assert_int_equal(result.deletes, 2);
    assert_int_equal(read_rows(rows), SAMPLE_ROWS);
    for (size_t i = 0; i < SAMPLE_ROWS; i++) {
        assert_int_equal(rows[i].key, sample.rows[i].key);
        assert_int_equal(rows[i].offset, sample.rows[i].offset);
        assert_int_equal(rows[i].size, rows[i].key == SAMPLE_EMPTY ? -1 : sample.rows[i].size);
    }
    swap();
    assert_loads_as_it_is();
}

static void a_dry_run_writes_nothing(void **state)
{
    forget_rows();
    uint64_t before = disk_os_fingerprint(sample.disk, (const char *const[]){NULL});
    assert_int_equal(rebuild_as(NULL, false), 0);
    assert_int_equal(result.puts + result.deletes, SAMPLE_ROWS);
    assert_int_equal(disk_os_fingerprint(sample.disk, (const char *const[]){NULL}), before);
}

static void live_rows_only_are_each_key_once(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    assert_int_equal(rebuild_as("/d/1.idx.tmp", true), 0);
    assert_int_equal(result.deletes, 0);
    assert_int_equal(read_rows(rows), SAMPLE_KEYS - 1);
    for (size_t i = 0; i < SAMPLE_KEYS - 1; i++) {
        assert_int_not_equal(rows[i].key, SAMPLE_DELETED);
        assert_true(i == 0 || rows[i].offset > rows[i - 1].offset);
    }
    assert_int_equal(rows[SAMPLE_KEYS - 2].key, SAMPLE_OVERWRITTEN);
}

static void a_damaged_record_keeps_its_row(void **state)
{
    sample.dat[sample.rows[9].offset + 25] ^= 1;
    sample_save(&sample);
    rebuild();
    assert_true(result.is_unchanged);
    assert_int_equal(result.damaged_kept, 1);
    forget_rows(); /* its header leads to the next record, so it was one */
    rebuild();
    assert_int_equal(result.damaged_kept, 1);
    assert_int_equal(result.puts + result.deletes, SAMPLE_ROWS);
    swap();
    assert_loads_as_it_is();
}

static void bytes_that_are_no_record_are_marked(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    memset(sample.dat + sample.rows[9].offset, 0, sample.rows[10].offset - sample.rows[9].offset);
    sample_save(&sample);
    forget_rows();
    rebuild();
    assert_int_equal(result.gap_bytes, sample.rows[10].offset - sample.rows[9].offset);
    assert_int_equal(read_rows(rows), SAMPLE_ROWS);
    assert_true(index_row_is_gap(&rows[9]) && rows[9].offset == sample.rows[9].offset);
    swap();
    assert_loads_as_it_is();
    sample_save(&sample); /* the old .idx, which has a row for it */
    rebuild();
    assert_true(result.is_unchanged);
    assert_int_equal(result.damaged_kept, 1);
}

/* Else it would hide the version before it, which is whole. */
static void a_torn_record_at_the_end_gets_no_row(void **state)
{
    char torn[64] = {0};
    sample.dat = must(realloc(sample.dat, sample.dat_size + sizeof(torn)));
    memcpy(torn, sample.dat + sample.rows[2].offset, 24); /* the head of a longer record */
    memcpy(sample.dat + sample.dat_size, torn, sizeof(torn));
    sample.dat_size += sizeof(torn);
    sample_save(&sample);
    forget_rows();
    rebuild();
    assert_int_equal(result.torn_bytes, sizeof(torn));
    assert_int_equal(result.puts + result.deletes, SAMPLE_ROWS);
}

static void whatever_call_fails_no_file_is_left(void **state)
{
    forget_rows();
    for (uint64_t n = 1;; n++) {
        struct volume_generation *generation = sample_open(&sample, false);
        const struct index_rebuild_options options = {0};
        fault_os_clear(sample.fault);
        fault_os_fail(sample.fault, FAULT_OPEN | FAULT_READ | FAULT_WRITE | FAULT_FSYNC, n, EIO, false);
        int code = index_rebuild(generation, "/d/1.idx.tmp", &options, &result, NULL);
        bool has_struck = fault_os_strikes(sample.fault) > 0;
        fault_os_clear(sample.fault);
        volume_generation_unref(generation);
        assert_true(code == 0 || !volume_file_exists(sample.os, "/d/1.idx.tmp"));
        if (!has_struck)
            break;
        /* Nothing may pass over a failure but the look at a header in a torn rest, and there is none. */
        assert_int_equal(code, KELP_E_IO);
        assert_true(n < 1000);
    }
    assert_int_equal(result.puts + result.deletes, SAMPLE_ROWS);
}

static void a_rebuilt_volume_is_served(void **state)
{
    rebuild();
    swap();
    sample_check_served(sample.os);
}

static void the_old_index_is_kept(void **state)
{
    size_t size;
    rebuild();
    sample_save_rows(&sample, sample.rows, 3);
    fixture_write_file(sample.os, "/d/1.sdx", "stale", 5);
    swap();
    char *kept = fixture_read_file(sample.os, "/d/1.idx.bak", &size);
    assert_int_equal(size, 3 * index_row_size(sample.offset_bytes));
    assert_memory_equal(kept, sample.idx, size);
    free(kept);
    assert_false(volume_file_exists(sample.os, "/d/1.sdx"));
    assert_false(volume_file_exists(sample.os, "/d/1.idx.tmp"));
}

int main(void)
{
    static int narrow;
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, setup, teardown),                                        \
        {#name " (4-byte offsets)", name, setup, teardown, &narrow}
    const struct CMUnitTest tests[] = {
        TEST(with_the_old_rows_it_is_the_same_file),
        TEST(without_them_an_empty_record_is_a_delete),
        TEST(a_dry_run_writes_nothing),
        TEST(live_rows_only_are_each_key_once),
        TEST(a_damaged_record_keeps_its_row),
        TEST(bytes_that_are_no_record_are_marked),
        TEST(a_torn_record_at_the_end_gets_no_row),
        TEST(whatever_call_fails_no_file_is_left),
        TEST(a_rebuilt_volume_is_served),
        TEST(the_old_index_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
