/* The writer's batches, records as they are, and the end of what a row can address. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/record_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct volume_generation_owner owner = {.volume_id = 1};

#define FOUR_BYTE_LIMIT (32ull << 30)

static struct disk_os *disk;
static struct os *os;
static struct record_writer *writer;
static struct volume_generation *generation;

static int setup_version(uint8_t version)
{
    const struct super_block super = {.version = version};
    disk_os_create(&disk, 200 << 20);
    os = disk_os_get(disk);
    os_mkdir(os, "/d", 0755);
    assert_int_equal(volume_generation_create(&generation, os, &owner, "/d/1.dat", "/d/1.idx", &super, 4, 0, NULL), 0);
    assert_int_equal(record_writer_create(&writer, NULL), 0);
    record_writer_begin(writer, generation);
    return 0;
}

static int setup(void **state) { return setup_version(3); }

static int teardown(void **state)
{
    record_writer_destroy(writer);
    volume_generation_unref(generation);
    disk_os_destroy(disk);
    return 0;
}

static void flush(void)
{
    bool is_lost = true;
    assert_int_equal(record_writer_flush(writer, false, NEEDLE_INDEX_RUNTIME, &is_lost, NULL), 0);
    assert_false(is_lost);
}

static void assert_reads(uint64_t key, const void *data, size_t size)
{
    struct needle_entry entry;
    struct needle needle;
    assert_int_equal(needle_index_get(generation->index, key, &entry, NULL), 0);
    void *buf = malloc(needle_record_size(generation->version, entry.size));
    assert_int_equal(volume_generation_read(generation, &entry, buf, false, &needle, NULL), 0);
    assert_true(slice_equals(needle.data, slice_of(data, size)));
    free(buf);
}

static void nothing_is_visible_before_the_flush_or_after_a_discard(void **state)
{
    struct needle needle = fixture_needle(1, 2, "abc", 3);
    struct needle_entry entry;
    assert_int_equal(record_writer_put(writer, &needle, &entry, NULL), 0);
    assert_int_equal(entry.offset, 8);
    assert_int_equal(needle_index_get(generation->index, 1, &entry, NULL), KELP_E_NOT_FOUND);
    assert_int_equal(volume_generation_end(generation), 8);
    record_writer_discard(writer);
    flush();
    assert_int_equal(needle_index_get(generation->index, 1, &entry, NULL), KELP_E_NOT_FOUND);
    assert_int_equal(volume_generation_end(generation), 8);
    assert_int_equal(index_file_end(&generation->idx), 0);
}

static void sizes_round_the_copy_threshold_in_all_versions(void **state)
{
    static char data[1200];
    fixture_fill(data, sizeof(data), 1);
    for (uint8_t version = 1; version <= 3; version++) {
        teardown(NULL);
        setup_version(version);
        uint64_t key = 1;
        for (size_t size = 0; size < sizeof(data); size += size < 40 || (size > 500 && size < 530) ? 1 : 97, key++) {
            struct needle needle = fixture_needle(key, 2, data, size);
            if (!record_writer_has_room(writer, key, needle_tail_size(&needle, version)))
                flush();
            assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
        }
        flush();
        key = 1;
        for (size_t size = 0; size < sizeof(data); size += size < 40 || (size > 500 && size < 530) ? 1 : 97, key++)
            if (size > 0)
                assert_reads(key, data, size);
        struct os_stat st;
        assert_int_equal(os_stat(os, "/d/1.dat", &st), 0);
        assert_int_equal(st.size, volume_generation_end(generation));
    }
}

static void a_key_or_a_full_batch_has_no_room(void **state)
{
    struct needle needle = fixture_needle(7, 2, "abc", 3);
    assert_true(record_writer_has_room(writer, 7, 100));
    assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
    assert_false(record_writer_has_room(writer, 7, 100));
    assert_true(record_writer_has_room(writer, 8, 100));
    flush();
    assert_true(record_writer_has_room(writer, 7, 100));
    for (uint64_t key = 0; key < RECORD_WRITER_RECORDS; key++) {
        assert_true(record_writer_has_room(writer, key * 2048, 100)); /* keys that collide */
        needle.key = key * 2048;
        assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
    }
    assert_int_equal(record_writer_count(writer), RECORD_WRITER_RECORDS);
    assert_false(record_writer_has_room(writer, 1, 100));
    flush();
}

static void records_as_they_are_keep_every_byte(void **state)
{
    uint8_t records[3][64];
    for (size_t i = 0; i < 3; i++) {
        fixture_fill(records[i], 64, i); /* no good record: damaged ones are carried over, too */
        assert_int_equal(needle_record_size(3, 30), 64);
        assert_int_equal(record_writer_raw(writer, i + 1, 30, records[i], NULL, NULL), 0);
    }
    flush();
    size_t size;
    char *dat = fixture_read_file(os, "/d/1.dat", &size);
    assert_int_equal(size, 8 + 3 * 64);
    assert_memory_equal(dat + 8, records, sizeof(records));
    free(dat);
    struct needle_entry entry;
    assert_int_equal(needle_index_get(generation->index, 3, &entry, NULL), 0);
    assert_true(entry.offset == 8 + 2 * 64 && entry.size == 30);
}

static void put_past_the_last_offset_is_refused(void **state)
{
    struct needle needle = fixture_needle(1, 2, "abc", 3);
    struct error err;
    record_writer_discard(writer);
    atomic_store(&generation->dat_end, FOUR_BYTE_LIMIT - 8);
    record_writer_begin(writer, generation);
    assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
    needle.key = 2;
    assert_int_equal(record_writer_put(writer, &needle, NULL, &err), KELP_E_TOO_LARGE);
    assert_int_equal(record_writer_count(writer), 1);
    record_writer_discard(writer);
    atomic_store(&generation->dat_end, 8);
}

static void wrapped_offset_is_found_32_gib_further(void **state)
{
    /* A sparse file on a real disk. */
    char directory[] = "/tmp/kelp-writer-XXXXXX", dat[64], idx[64];
    const struct super_block super = {.version = 3};
    struct volume_generation *far;
    assert_non_null(mkdtemp(directory));
    snprintf(dat, sizeof(dat), "%s/1.dat", directory);
    snprintf(idx, sizeof(idx), "%s/1.idx", directory);
    assert_int_equal(volume_generation_create(&far, os_real(), &owner, dat, idx, &super, 5, 0, NULL), 0);
    atomic_store(&far->dat_end, FOUR_BYTE_LIMIT + 64);
    struct needle needle = fixture_needle(1, 2, "far away", 8), read;
    struct needle_entry entry;
    record_writer_begin(writer, far);
    assert_int_equal(record_writer_put(writer, &needle, &entry, NULL), 0);
    assert_true(entry.offset == FOUR_BYTE_LIMIT + 64);
    flush();
    uint8_t buf[256];
    assert_int_equal(volume_generation_read(far, &entry, buf, false, &read, NULL), 0);
    far->offset_bytes = 4; /* as if its rows were narrow */
    entry.offset = 64;
    assert_int_equal(volume_generation_read(far, &entry, buf, false, &read, NULL), 0);
    assert_true(slice_equals(read.data, SLICE("far away")));
    record_writer_begin(writer, generation);
    volume_generation_unref(far);
    unlink(dat);
    unlink(idx);
    rmdir(directory);
}

static void paths_in_messages_follow_a_rename(void **state)
{
    struct needle_entry nowhere = {1, 4096, 10};
    struct needle needle;
    struct error err;
    char buf[64];
    assert_int_equal(volume_generation_read(generation, &nowhere, buf, false, &needle, &err), KELP_E_CORRUPT);
    assert_non_null(strstr(err.message, "/d/1.dat"));
    volume_generation_set_paths(generation, "/d/2.dat", "/d/2.idx");
    volume_generation_read(generation, &nowhere, buf, false, &needle, &err);
    assert_non_null(strstr(err.message, "/d/2.dat"));
}

/* ---- no memory ---- */

static int refuse_reservation(struct needle_index *index, uint64_t key, struct error *err)
{
    return error_set(err, KELP_E_NO_MEMORY, "no memory");
}

/* A delete is in the files before it is in the index, so it must not fail there. */
static void delete_without_memory_is_refused_before_it_is_written(void **state)
{
    struct needle needle = fixture_needle(1, 7, "kept", 4);
    struct needle_index *index = generation->index;
    const struct needle_index_ops *ops = index->ops;
    struct needle_index_ops without_memory = *ops;
    without_memory.reserve_delete = refuse_reservation;
    assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
    flush();
    uint64_t end = volume_generation_end(generation), idx_end = index_file_end(&generation->idx);
    index->ops = &without_memory;
    assert_int_equal(record_writer_delete(writer, &needle, false, NULL), KELP_E_NO_MEMORY);
    assert_int_equal(record_writer_delete(writer, &needle, true, NULL), KELP_E_NO_MEMORY);
    index->ops = ops;
    assert_int_equal(record_writer_count(writer), 0);
    flush();
    assert_int_equal(volume_generation_end(generation), end);
    assert_int_equal(index_file_end(&generation->idx), idx_end);
    assert_reads(1, "kept", 4);
}

static unsigned reservations;

static int count_reservation(struct needle_index *index, uint64_t key, struct error *err)
{
    reservations++;
    return 0;
}

static void count_return(struct needle_index *index, uint64_t key) { reservations--; }

static void every_reservation_of_a_dropped_batch_is_given_back(void **state)
{
    struct needle needle = fixture_needle(1, 7, "never", 5);
    struct needle_index *index = generation->index;
    const struct needle_index_ops *ops = index->ops;
    struct needle_index_ops counting = *ops;
    counting.reserve = counting.reserve_delete = count_reservation;
    counting.unreserve = count_return;
    index->ops = &counting;
    assert_int_equal(record_writer_put(writer, &needle, NULL, NULL), 0);
    needle.key = 2;
    assert_int_equal(record_writer_delete(writer, &needle, false, NULL), 0);
    assert_int_equal(reservations, 2);
    record_writer_discard(writer);
    assert_int_equal(reservations, 0);
    index->ops = ops;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_visible_before_the_flush_or_after_a_discard),
        T(sizes_round_the_copy_threshold_in_all_versions),
        T(a_key_or_a_full_batch_has_no_room),
        T(records_as_they_are_keep_every_byte),
        T(put_past_the_last_offset_is_refused),
        T(wrapped_offset_is_found_32_gib_further),
        T(delete_without_memory_is_refused_before_it_is_written),
        T(every_reservation_of_a_dropped_batch_is_given_back),
        T(paths_in_messages_follow_a_rename),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
