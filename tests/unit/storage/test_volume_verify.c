/* Verifying volumes: each kind of damage is found, named, and nothing else is. */
#include "common/check.h"
#include "tests/unit/storage/sample_volume.h"
#include "volume/storage/dat_window.h"
#include "volume/storage/volume_verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sample sample;

enum { MAX = 64 };
static struct volume_problem found[MAX];
static size_t found_count;
static size_t stop_after; /* problems, 0: never */
static bool stops_progress;
static struct volume_verify_result result;

static int setup(void **state)
{
    sample_create(&sample, 5);
    stop_after = 0;
    stops_progress = false;
    return 0;
}

static int teardown(void **state)
{
    sample_destroy(&sample);
    return 0;
}

static int on_problem(void *ctx, const struct volume_problem *problem)
{
    if (found_count < MAX)
        found[found_count++] = *problem;
    return stop_after > 0 && found_count >= stop_after;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    return stops_progress;
}

static int verify_as(bool is_index_only, bool is_in_use, bool has_index)
{
    struct volume_generation *generation = sample_open(&sample, has_index);
    const struct volume_verify_options options = {.is_index_only = is_index_only,
                                                  .is_in_use = is_in_use,
                                                  .on_problem = on_problem,
                                                  .on_progress = on_progress};
    found_count = 0;
    int code = volume_verify(generation, &options, &result, NULL);
    volume_generation_unref(generation);
    return code;
}

static void verify(void) { assert_int_equal(verify_as(false, false, true), 0); }

/* Exactly one problem, of this kind, on this key. */
static void assert_only(enum volume_problem_kind kind, uint64_t key, uint64_t offset, bool is_live)
{
    if (found_count != 1)
        for (size_t i = 0; i < found_count; i++)
            print_error("%s at %llu: %s\n", volume_problem_name(found[i].kind),
                        (unsigned long long)found[i].offset, found[i].detail);
    assert_int_equal(found_count, 1);
    assert_string_equal(volume_problem_name(found[0].kind), volume_problem_name(kind));
    assert_int_equal(found[0].key, key);
    assert_int_equal(found[0].offset, offset);
    assert_int_equal(found[0].is_live, is_live);
    assert_int_equal(result.problems[kind], 1);
    assert_int_equal(result.damage_count, volume_problem_is_damage(kind));
    assert_int_equal(result.damaged_live_count, is_live);
    assert_true(strlen(found[0].detail) > 0 && strlen(volume_problem_advice(kind)) > 0);
}

static void flip(uint64_t offset)
{
    sample.dat[offset] = (char)(sample.dat[offset] ^ 1);
    sample_save(&sample);
}

static void a_sound_volume_has_no_problem(void **state)
{
    verify();
    assert_int_equal(found_count, 0);
    assert_int_equal(result.rows, SAMPLE_ROWS);
    assert_int_equal(result.puts, SAMPLE_ROWS - 1);
    assert_int_equal(result.deletes, 1);
    assert_int_equal(result.records, SAMPLE_ROWS);
    assert_int_equal(result.record_bytes, sample.dat_size - SUPER_BLOCK_SIZE);
    assert_int_equal(result.dat_bytes, sample.dat_size);
    assert_int_equal(result.idx_bytes, sample.idx_size);
}

static void rows_in_any_order_are_fine(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS];
    for (size_t i = 0; i < SAMPLE_ROWS; i++) /* the delete and the overwrite stay last */
        rows[i] = sample.rows[i < SAMPLE_KEYS ? SAMPLE_KEYS - 1 - i : i];
    sample_save_rows(&sample, rows, SAMPLE_ROWS);
    verify();
    assert_int_equal(found_count, 0);
}

static void changed_data_are_found_by_their_crc(void **state)
{
    flip(sample.rows[9].offset + 25);
    verify();
    assert_only(VOLUME_PROBLEM_CRC, 10, sample.rows[9].offset, true);
    assert_int_not_equal(found[0].crc_stored, found[0].crc_computed);
    assert_int_equal(verify_as(true, false, true), 0);
    assert_int_equal(found_count, 0); /* the index by itself is fine */
}

static void changed_data_of_a_large_needle_are_found(void **state)
{
    flip(sample.rows[7].offset + (1u << 20));
    verify();
    assert_only(VOLUME_PROBLEM_CRC, SAMPLE_LARGE, sample.rows[7].offset, true);
}

static void damage_of_an_overwritten_needle_is_not_live(void **state)
{
    flip(sample.rows[4].offset + 25);
    verify();
    assert_only(VOLUME_PROBLEM_CRC, SAMPLE_OVERWRITTEN, sample.rows[4].offset, false);
}

static void another_size_in_the_header_is_found(void **state)
{
    flip(sample.rows[2].offset + 15);
    verify();
    assert_only(VOLUME_PROBLEM_HEADER, 3, sample.rows[2].offset, true);
}

static void a_record_of_another_key_is_found(void **state)
{
    flip(sample.rows[2].offset + 10);
    verify();
    assert_only(VOLUME_PROBLEM_KEY, 3, sample.rows[2].offset, true);
    assert_int_equal(found[0].other_key, 3 + 256);
}

static void a_body_whose_parts_do_not_fit_is_found(void **state)
{
    sample.dat[sample.rows[2].offset + 16] = 0x7f; /* the length of the data */
    sample_save(&sample);
    verify();
    assert_only(VOLUME_PROBLEM_BODY, 3, sample.rows[2].offset, true);
}

static void a_row_past_the_end_is_found(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    memcpy(rows, sample.rows, sizeof(sample.rows));
    rows[SAMPLE_ROWS] = (struct needle_entry){99, (sample.dat_size + 7) & ~7ull, 100};
    sample_save_rows(&sample, rows, SAMPLE_ROWS + 1);
    verify();
    assert_only(VOLUME_PROBLEM_ROW, 99, rows[SAMPLE_ROWS].offset, false);
}

static void a_row_that_nobody_writes_is_found(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    memcpy(rows, sample.rows, sizeof(sample.rows));
    rows[SAMPLE_ROWS] = (struct needle_entry){99, 8, -5};
    sample_save_rows(&sample, rows, SAMPLE_ROWS + 1);
    verify();
    assert_only(VOLUME_PROBLEM_ROW, 99, 8, false);
}

static void rows_that_overlap_are_found(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS + 1];
    memcpy(rows, sample.rows, sizeof(sample.rows));
    rows[SAMPLE_ROWS] = (struct needle_entry){99, sample.rows[3].offset + 8, 0};
    sample_save_rows(&sample, rows, SAMPLE_ROWS + 1);
    assert_int_equal(verify_as(true, false, true), 0);
    assert_only(VOLUME_PROBLEM_OVERLAP, 99, rows[SAMPLE_ROWS].offset, false);
    assert_int_equal(found[0].other_key, 4);
    assert_int_equal(found[0].other_offset, sample.rows[3].offset);
    assert_int_equal(found[0].other_length, needle_record_size(3, sample.rows[3].size));
    assert_int_equal(found[0].row, 4);
}

static void save_without_row(size_t i)
{
    struct needle_entry rows[SAMPLE_ROWS];
    size_t count = 0;
    for (size_t k = 0; k < SAMPLE_ROWS; k++)
        if (k != i)
            rows[count++] = sample.rows[k];
    sample_save_rows(&sample, rows, count);
}

static void a_record_without_a_row_is_found(void **state)
{
    save_without_row(10);
    verify();
    assert_only(VOLUME_PROBLEM_NO_ROW, 11, sample.rows[10].offset, false);
}

/* The peer's tool makes rows for the last put of a key only. */
static void an_old_version_needs_no_row(void **state)
{
    save_without_row(4);
    verify();
    assert_int_equal(found_count, 0);
    assert_int_equal(result.records, SAMPLE_ROWS);
    assert_int_equal(verify_as(false, false, false), 0); /* without an index nobody can tell */
    assert_only(VOLUME_PROBLEM_NO_ROW, SAMPLE_OVERWRITTEN, sample.rows[4].offset, false);
}

static void a_lost_delete_is_found(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS];
    memcpy(rows, sample.rows, sizeof(rows));
    rows[SAMPLE_ROWS - 1] = rows[SAMPLE_ROWS - 2]; /* the overwrite, last in the file, is known twice ... */
    rows[SAMPLE_ROWS - 2] = rows[SAMPLE_ROWS - 1];
    sample_save_rows(&sample, rows, SAMPLE_ROWS - 1);
    verify();
    assert_only(VOLUME_PROBLEM_TAIL_RECORDS, 0, sample.rows[SAMPLE_ROWS - 1].offset, false);
    assert_int_equal(found[0].row, 1); /* ... and the delete at the end is for the next start */
}

static void bytes_that_are_no_record_are_found(void **state)
{
    uint64_t length = sample.rows[11].offset - sample.rows[10].offset;
    memset(sample.dat + sample.rows[10].offset, 0, length);
    sample_save(&sample);
    save_without_row(10);
    verify();
    assert_only(VOLUME_PROBLEM_GAP, 0, sample.rows[10].offset, false);
    assert_int_equal(found[0].length, length);
}

static void a_gap_that_is_marked_is_fine(void **state)
{
    struct needle_entry rows[SAMPLE_ROWS];
    uint64_t offset = sample.rows[10].offset;
    memset(sample.dat + offset, 0, sample.rows[11].offset - offset);
    sample_save(&sample);
    memcpy(rows, sample.rows, sizeof(rows));
    rows[10] = (struct needle_entry){0, offset, NEEDLE_TOMBSTONE};
    sample_save_rows(&sample, rows, SAMPLE_ROWS);
    verify();
    assert_int_equal(found_count, 0);
}

static void a_part_of_a_row_is_found(void **state)
{
    sample.idx_size -= 3;
    sample_save(&sample);
    verify();
    assert_int_equal(found_count, 2); /* and the record whose row it was */
    assert_int_equal(found[0].kind, VOLUME_PROBLEM_PARTIAL_ROW);
    assert_int_equal(found[0].other_length, sample.idx_size);
    assert_int_equal(found[1].kind, VOLUME_PROBLEM_TAIL_RECORDS);
    assert_int_equal(result.damage_count, 1);
}

static void an_empty_index_is_found_once(void **state)
{
    sample_save_rows(&sample, NULL, 0);
    verify();
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].kind, VOLUME_PROBLEM_NO_INDEX);
}

static void what_a_crash_leaves_at_the_end_is_no_damage(void **state)
{
    sample.dat = must(realloc(sample.dat, sample.dat_size + 24));
    memset(sample.dat + sample.dat_size, 0, 24);
    sample.dat_size += 24;
    sample_save(&sample);
    save_without_row(SAMPLE_ROWS - 1);
    verify();
    assert_int_equal(found_count, 2);
    assert_int_equal(found[0].kind, VOLUME_PROBLEM_TAIL_RECORDS);
    assert_int_equal(found[1].kind, VOLUME_PROBLEM_TAIL_TORN);
    assert_int_equal(found[1].length, 24);
    assert_int_equal(result.damage_count, 0);
    assert_int_equal(verify_as(false, true, true), 0); /* in a volume in use it is being written */
    assert_int_equal(found_count, 0);
}

static void a_record_that_cannot_be_read_is_named_and_the_rest_checked(void **state)
{
    struct volume_generation *generation = sample_open(&sample, true);
    const struct volume_verify_options options = {.on_problem = on_problem};
    found_count = 0;
    fault_os_fail(sample.fault, FAULT_READ, 1, EIO, true);
    fault_os_only(sample.fault, ".dat");
    assert_int_equal(volume_verify(generation, &options, &result, NULL), 0);
    assert_int_equal(result.problems[VOLUME_PROBLEM_UNREADABLE], SAMPLE_ROWS);
    fault_os_clear(sample.fault);
    fault_os_fail(sample.fault, FAULT_READ, 1, EIO, true);
    fault_os_only(sample.fault, ".idx");
    assert_int_equal(volume_verify(generation, &options, &result, NULL), KELP_E_IO);
    fault_os_clear(sample.fault);
    volume_generation_unref(generation);
}

static void looking_at_the_index_only_reads_no_data(void **state)
{
    struct volume_generation *generation = sample_open(&sample, true);
    const struct volume_verify_options options = {.is_index_only = true};
    fault_os_fail(sample.fault, FAULT_READ, 1, EIO, true);
    fault_os_only(sample.fault, ".dat");
    assert_int_equal(volume_verify(generation, &options, &result, NULL), 0);
    assert_int_equal(fault_os_strikes(sample.fault), 0);
    assert_int_equal(result.rows, SAMPLE_ROWS);
    volume_generation_unref(generation);
}

static void either_callback_ends_it(void **state)
{
    flip(sample.rows[2].offset + 25);
    flip(sample.rows[9].offset + 25);
    stop_after = 1;
    assert_int_equal(verify_as(false, false, true), KELP_E_CANCELLED);
    assert_int_equal(found_count, 1);
    stop_after = 0;
    stops_progress = true;
    assert_int_equal(verify_as(false, false, true), KELP_E_CANCELLED);
}

static void every_cut_and_every_flip_of_the_index_is_survived(void **state)
{
    size_t whole = sample.idx_size;
    for (size_t i = 0; i < whole; i++) {
        sample.idx[i] = (char)(sample.idx[i] ^ 0x80);
        sample_save(&sample);
        assert_int_equal(verify_as(false, false, true), 0);
        assert_true(result.damage_count > 0);
        sample.idx[i] = (char)(sample.idx[i] ^ 0x80);
        sample.idx_size = i;
        sample_save(&sample);
        assert_int_equal(verify_as(false, false, true), 0);
        sample.idx_size = whole;
    }
}

/* As the rows of a garbled volume that has outgrown their offsets may have it. */
static void nothing_is_read_from_behind_the_end(void **state)
{
    struct volume_generation *generation = sample_open(&sample, false);
    uint64_t end = volume_generation_end(generation);
    struct dat_window *window;
    const uint8_t *bytes;
    assert_int_equal(dat_window_open(&window, generation, end, true, NULL), 0);
    assert_int_equal(dat_window_bytes(window, end - 8, 8, &bytes, NULL), 0);
    assert_int_equal(dat_window_bytes(window, end - 8, 16, &bytes, NULL), KELP_E_CORRUPT);
    assert_int_equal(dat_window_bytes(window, end + 8, 8, &bytes, NULL), KELP_E_CORRUPT);
    dat_window_close(window);
    assert_int_equal(dat_window_open(&window, generation, end, true, NULL), 0);
    assert_int_equal(dat_window_bytes(window, end - 8, 16, &bytes, NULL), KELP_E_CORRUPT);
    dat_window_close(window);
    volume_generation_unref(generation);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_read_from_behind_the_end),
        TEST(a_sound_volume_has_no_problem),
        TEST(rows_in_any_order_are_fine),
        TEST(changed_data_are_found_by_their_crc),
        TEST(changed_data_of_a_large_needle_are_found),
        TEST(damage_of_an_overwritten_needle_is_not_live),
        TEST(another_size_in_the_header_is_found),
        TEST(a_record_of_another_key_is_found),
        TEST(a_body_whose_parts_do_not_fit_is_found),
        TEST(a_row_past_the_end_is_found),
        TEST(a_row_that_nobody_writes_is_found),
        TEST(rows_that_overlap_are_found),
        TEST(a_record_without_a_row_is_found),
        TEST(an_old_version_needs_no_row),
        TEST(a_lost_delete_is_found),
        TEST(bytes_that_are_no_record_are_found),
        TEST(a_gap_that_is_marked_is_fine),
        TEST(a_part_of_a_row_is_found),
        TEST(an_empty_index_is_found_once),
        TEST(what_a_crash_leaves_at_the_end_is_no_damage),
        TEST(a_record_that_cannot_be_read_is_named_and_the_rest_checked),
        TEST(looking_at_the_index_only_reads_no_data),
        TEST(either_callback_ends_it),
        TEST(every_cut_and_every_flip_of_the_index_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
