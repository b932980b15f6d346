/* The needle index of kind "leveldb": its marks, its walks, its counters while it is filled; and thousands of
 * them beside each other. */
#include "tests/unit/storage/index_place.h"

#include "volume/storage/index/needle_index_leveldb.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the parts ---- */

static struct needle_index *make_index(struct place *p, uint16_t revision)
{
    struct needle_index *index;
    const struct needle_index_config config = {.store = p->store, .collection = "c", .volume_id = 1,
                                               .compact_revision = revision, .version = 3, .seed = 3};
    OK(needle_index_leveldb_create(&index, &config, &p->err));
    return index;
}

static void put_entries(struct needle_index *index, uint64_t from, uint64_t to, uint64_t offset)
{
    for (uint64_t key = from; key < to; key++) {
        const struct needle_entry entry = {key, offset + key * 8, 5};
        OK(needle_index_reserve(index, key, NULL));
        OK(needle_index_put(index, &entry, NEEDLE_INDEX_RUNTIME, NULL));
    }
}

static int recall(struct needle_index *index)
{
    struct index_mark mark;
    return needle_index_recall(index, &mark, NULL);
}

static int keep(struct needle_index *index, struct error *err)
{
    struct index_mark mark = {.volume_id = 1, .version = 3, .offset_bytes = 5};
    needle_index_stat(index, &mark.counters);
    return needle_index_keep(index, &mark, err);
}

static void rows_without_a_mark_take_the_mark_away(void **state)
{
    struct place p;
    place_begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 100, 0);
    OK(keep(index, &p.err));
    put_entries(index, 100, 70000, 0); /* too many to wait */
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    assert_int_equal(stat.live_count, 69999);
    needle_index_destroy(index);
    index_store_close(p.store);
    place_open_store(&p);
    index = make_index(&p, 0);
    assert_int_equal(recall(index), KELP_E_NOT_FOUND);
    needle_index_destroy(index);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 0);
    place_end(&p);
}

static void what_is_taken_up_is_taken_up_once(void **state)
{
    struct place p;
    struct needle_entry entry;
    place_begin(&p);
    struct needle_index *first = make_index(&p, 0), *second;
    put_entries(first, 1, 100, 0);
    OK(keep(first, &p.err));
    second = make_index(&p, 0);
    assert_int_equal(recall(second), KELP_E_NOT_FOUND); /* it is in use */
    OK(needle_index_clear(second, &p.err));
    OK(needle_index_get(first, 5, &entry, NULL));
    put_entries(second, 1, 10, 8000);
    OK(keep(second, &p.err)); /* takes its place */
    needle_index_destroy(first);
    needle_index_destroy(second);
    first = make_index(&p, 0);
    OK(recall(first));
    OK(needle_index_get(first, 5, &entry, NULL));
    assert_int_equal(entry.offset, 8000 + 40);
    needle_index_destroy(first);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 9);
    place_end(&p);
}

static void other_revisions_go_when_one_is_taken_up(void **state)
{
    struct place p;
    place_begin(&p);
    for (uint16_t revision = 0; revision < 3; revision++) {
        struct needle_index *index = make_index(&p, revision);
        put_entries(index, 1, 100, 0);
        OK(keep(index, &p.err));
        needle_index_destroy(index);
    }
    assert_int_equal(index_store_count_rows(p.store), 3 * 99);
    struct needle_index *index = make_index(&p, 1);
    OK(recall(index));
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 99);
    needle_index_destroy(index);
    place_end(&p);
}

static void walk_takes_each_key_once(void **state)
{
    struct place p;
    place_begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 1000, 0);
    OK(keep(index, &p.err));
    put_entries(index, 500, 600, 80000); /* again, and waiting */
    put_entries(index, 2000, 2100, 80000);
    for (uint64_t key = 100; key < 200; key++)
        OK(needle_index_delete(index, key, NEEDLE_INDEX_RUNTIME, NULL));
    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count, seen = 0;
        uint64_t last = 0;
        OK(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET, UINT64_MAX,
                              &cursor, NULL));
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++, seen++) {
                uint64_t key = entries[i].key, value = order ? key : entries[i].offset;
                assert_true(value > last && (key < 100 || key >= 200));
                assert_int_equal(entries[i].offset,
                                 key * 8 + ((key >= 500 && key < 600) || key >= 2000 ? 80000 : 0));
                last = value;
            }
        needle_cursor_close(cursor);
        assert_int_equal(seen, 999 - 100 + 100);
    }
    needle_index_destroy(index);
    place_end(&p);
}

static void index_that_cannot_be_written_takes_no_more(void **state)
{
    struct place p;
    struct rlimit old, low;
    struct needle_entry entry;
    place_begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 1000, 0);
    signal(SIGXFSZ, SIG_IGN);
    OK(getrlimit(RLIMIT_FSIZE, &old));
    low = old;
    low.rlim_cur = 10000;
    OK(setrlimit(RLIMIT_FSIZE, &low));
    assert_int_equal(keep(index, &p.err), KELP_E_IO);
    assert_int_equal(needle_index_reserve(index, 1000, &p.err), KELP_E_IO);
    assert_non_null(strstr(p.err.message, "restart"));
    OK(setrlimit(RLIMIT_FSIZE, &old));
    OK(needle_index_get(index, 500, &entry, NULL)); /* what it took, it has */
    OK(needle_index_delete(index, 500, NEEDLE_INDEX_RUNTIME, NULL));
    OK(needle_index_get(index, 500, &entry, NULL));
    assert_int_equal(entry.size, -5);
    needle_index_destroy(index);
    place_end(&p);
}

static void filling_in_any_order_counts_exactly(void **state)
{
    enum { ROWS = 300000 };
    struct place p;
    struct needle_index *index;
    struct needle_index_stat stat;
    uint64_t most_bytes = 0;
    place_begin(&p);
    const struct needle_index_config config = {
        .store = p.store, .collection = "c", .volume_id = 1, .version = 3, .expected = ROWS};
    OK(needle_index_leveldb_create(&index, &config, &p.err));
    for (uint64_t i = 0; i < ROWS; i++) { /* each key comes twice */
        uint64_t key = i * 7919 % ROWS / 2 * 0x9e3779b97f4a7c15u;
        const struct needle_entry entry = {key, 8 + i * 64, 10};
        OK(needle_index_put(index, &entry, NEEDLE_INDEX_LOAD, &p.err));
        needle_index_stat(index, &stat);
        most_bytes = stat.memory_bytes > most_bytes ? stat.memory_bytes : most_bytes;
    }
    assert_true(most_bytes < (4u << 20) + 2 * ROWS); /* what waits, and a filter of all keys, which */
    assert_true(stat.memory_bytes < most_bytes - ROWS); /* is not there any more */
    assert_int_equal(stat.file_count, ROWS);
    assert_int_equal(stat.live_count, ROWS / 2);
    assert_int_equal(stat.deletion_count, ROWS / 2);
    assert_int_equal(stat.deletion_bytes, ROWS / 2 * 10);
    needle_index_destroy(index); /* without a mark: rubbish */
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 0);
    place_end(&p);
}

/* ---- many ---- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SHADOW 4u /* the sanitizer's memory comes on top */
#else
#define SHADOW 1u
#endif

static uint64_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int count_name(void *ctx, const char *name)
{
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    OK(os_real()->ops->list(os_real(), "/proc/self/fd", count_name, &count));
    return count;
}

static void thousands_of_volumes_share_bounded_memory_and_files(void **state)
{
    enum { VOLUMES = 3000, DATABASE_FILES = 128 };
    static struct volume *volumes[VOLUMES];
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    unsigned count = limit.rlim_max < 2 * VOLUMES + 400 ? (unsigned)limit.rlim_max / 4 : VOLUMES;

    struct place p;
    place_begin(&p);
    unsigned files = open_descriptors();
    uint64_t bytes = resident_bytes();
    for (uint32_t id = 1; id <= count; id++) {
        place_create(&p, id);
        place_put(&p, id * 10ull);
        place_put(&p, id * 10ull + 1);
        volumes[id - 1] = p.volume;
    }
    files = open_descriptors() - files;
    bytes = resident_bytes() - bytes;
    print_message("%u volumes: %u descriptors beside their own, %.1f KiB each\n", count,
                  files - 2 * count, (double)bytes / 1024 / count);
    assert_true(files <= 2 * count + DATABASE_FILES);
    assert_true(bytes < SHADOW * 16u * 1024 * count);
    for (uint32_t id = 1; id <= count; id++) {
        p.volume = volumes[id - 1];
        assert_true(place_has(&p, id * 10ull + 1));
        volume_close(p.volume);
    }
    p.volume = NULL;
    index_store_close(p.store);
    place_open_store(&p);
    assert_null(p.note);
    for (uint32_t id = 1; id <= count; id += 250) {
        place_open_volume(&p, id);
        assert_true(place_has(&p, id * 10ull));
        place_close_volume(&p);
    }
    place_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_without_a_mark_take_the_mark_away),
        cmocka_unit_test(what_is_taken_up_is_taken_up_once),
        cmocka_unit_test(other_revisions_go_when_one_is_taken_up),
        cmocka_unit_test(walk_takes_each_key_once),
        cmocka_unit_test(index_that_cannot_be_written_takes_no_more),
        cmocka_unit_test(filling_in_any_order_counts_exactly),
        cmocka_unit_test(thousands_of_volumes_share_bounded_memory_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
