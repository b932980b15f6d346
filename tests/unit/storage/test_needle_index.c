/* The needle index, each kind of it: counters, order, exactness, threads. */
#include "volume/storage/index/needle_index.h"

#include "volume/storage/index/index_store.h"
#include "volume/storage/index/needle_index_leveldb.h"
#include "volume/storage/format/volume_files.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct index_store *store; /* NULL: in memory */
static char store_path[] = "/tmp/kelp-index-XXXXXX";

static struct needle_index *make(uint64_t expected)
{
    static uint32_t volume_id;
    struct needle_index *index;
    const struct needle_index_config config = {
        .store = store, .volume_id = ++volume_id, .version = 3, .seed = 42, .expected = expected};
    assert_int_equal((store ? needle_index_leveldb_create : needle_index_memory_create)(
                         &index, &config, NULL), 0);
    assert_string_equal(index->ops->kind, store ? "leveldb" : "memory");
    return index;
}

static int open_store(void **state)
{
    return mkdtemp(store_path) &&
                   index_store_open(&store, os_real(), store_path, INDEX_STORE_SMALL, NULL, NULL) == 0
               ? 0
               : -1;
}

static int close_store(void **state)
{
    index_store_close(store);
    store = NULL;
    return volume_file_remove(os_real(), store_path, NULL);
}

static void put(struct needle_index *index, uint64_t key, uint64_t offset, int32_t size,
                enum needle_index_event event)
{
    assert_int_equal(needle_index_put(index, &(struct needle_entry){key, offset, size}, event, NULL), 0);
}

static void assert_counts(struct needle_index *index, uint64_t files, uint64_t bytes,
                          uint64_t deletions, uint64_t deleted_bytes, uint64_t live)
{
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    assert_int_equal(stat.file_count, files);
    assert_int_equal(stat.file_bytes, bytes);
    assert_int_equal(stat.deletion_count, deletions);
    assert_int_equal(stat.deletion_bytes, deleted_bytes);
    assert_int_equal(stat.live_count, live);
}

static void deleted_entries_keep_offset_and_size(void **state)
{
    struct needle_index *index = make(0);
    struct needle_entry entry;
    assert_int_equal(needle_index_get(index, 5, &entry, NULL), KELP_E_NOT_FOUND);
    put(index, 5, 8, 100, NEEDLE_INDEX_RUNTIME);
    put(index, 6, 160, 0, NEEDLE_INDEX_RUNTIME);
    needle_index_delete(index, 5, NEEDLE_INDEX_RUNTIME, NULL);
    needle_index_delete(index, 6, NEEDLE_INDEX_RUNTIME, NULL);
    needle_index_delete(index, 7, NEEDLE_INDEX_RUNTIME, NULL);
    assert_int_equal(needle_index_get(index, 5, &entry, NULL), 0);
    assert_true(entry.offset == 8 && entry.size == -100);
    assert_int_equal(needle_index_get(index, 6, &entry, NULL), 0);
    assert_true(entry.offset == 160 && entry.size == -1);
    assert_int_equal(needle_index_get(index, 7, &entry, NULL), KELP_E_NOT_FOUND);
    needle_index_destroy(index);
}

static void counters_at_run_time(void **state)
{
    struct needle_index *index = make(0);
    put(index, 1, 8, 10, NEEDLE_INDEX_RUNTIME);
    assert_counts(index, 1, 10, 0, 0, 1);
    put(index, 1, 64, 20, NEEDLE_INDEX_RUNTIME);
    assert_counts(index, 2, 30, 1, 10, 1);
    put(index, 2, 128, 0, NEEDLE_INDEX_RUNTIME);
    put(index, 2, 160, 5, NEEDLE_INDEX_RUNTIME); /* over an empty one */
    assert_counts(index, 4, 35, 1, 10, 2);
    needle_index_delete(index, 1, NEEDLE_INDEX_RUNTIME, NULL);
    assert_counts(index, 4, 35, 2, 30, 1);
    needle_index_delete(index, 1, NEEDLE_INDEX_RUNTIME, NULL);
    assert_counts(index, 4, 35, 2, 30, 1);
    put(index, 1, 200, 7, NEEDLE_INDEX_RUNTIME);
    assert_counts(index, 5, 42, 2, 30, 2);
    needle_index_destroy(index);
}

static void counters_while_loading(void **state)
{
    struct needle_index *index = make(0);
    put(index, 1, 8, 10, NEEDLE_INDEX_LOAD);
    put(index, 1, 64, 0, NEEDLE_INDEX_LOAD);
    put(index, 1, 96, 5, NEEDLE_INDEX_LOAD); /* the empty one counts, too */
    assert_counts(index, 3, 15, 2, 10, 1);
    needle_index_delete(index, 9, NEEDLE_INDEX_LOAD, NULL);
    assert_counts(index, 3, 15, 3, 10, 1);
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    assert_int_equal(stat.max_key, 9);
    needle_index_delete(index, 1, NEEDLE_INDEX_LOAD_COMPACTED, NULL);
    assert_counts(index, 4, 15, 4, 15, 0);
    needle_index_destroy(index);
}

/* Random events against plain arrays. */
enum { KEYS = 3000, EVENTS = 60000 };

static void random_events_match_a_plain_table(void **state)
{
    static struct needle_entry model[KEYS];
    struct needle_index *index = make(100);
    uint64_t x = 7, live = 0, live_bytes = 0;
    memset(model, 0, sizeof(model));
    for (uint64_t i = 0; i < EVENTS; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(x >> 33) % KEYS;
        uint64_t key = (uint64_t)k * 0x100000001u;
        if ((x >> 20) % 4 == 0) {
            needle_index_delete(index, key, NEEDLE_INDEX_RUNTIME, NULL);
            if (model[k].offset != 0 && model[k].size >= 0)
                model[k].size = model[k].size > 0 ? -model[k].size : -1;
        } else {
            model[k] = (struct needle_entry){key, 8 + 8 * i, (int32_t)((x >> 22) % 1000)};
            assert_int_equal(needle_index_reserve(index, key, NULL), 0);
            put(index, key, model[k].offset, model[k].size, NEEDLE_INDEX_RUNTIME);
        }
    }
    for (size_t k = 0; k < KEYS; k++) {
        struct needle_entry entry;
        bool is_there = needle_index_get(index, (uint64_t)k * 0x100000001u, &entry, NULL) == 0;
        assert_int_equal(is_there, model[k].offset != 0);
        if (is_there)
            assert_true(entry.offset == model[k].offset && entry.size == model[k].size);
        if (model[k].offset != 0 && model[k].size >= 0) {
            live++;
            live_bytes += needle_record_size(3, model[k].size);
        }
    }
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    assert_int_equal(stat.live_count, live);
    assert_int_equal(stat.live_record_bytes, live_bytes);

    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        uint64_t seen = 0, last = 0, limit = order ? UINT64_MAX : 8 + 4 * EVENTS, expected = 0;
        size_t count;
        for (size_t k = 0; k < KEYS; k++)
            expected += model[k].offset != 0 && model[k].size >= 0 && model[k].offset < limit;
        assert_int_equal(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET,
                                            limit, &cursor, NULL), 0);
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++) {
                uint64_t value = order ? entries[i].key : entries[i].offset;
                assert_true(seen == 0 || value > last);
                assert_true(entries[i].offset < limit);
                last = value;
                seen++;
            }
        needle_cursor_close(cursor);
        assert_int_equal(seen, expected);
    }
    needle_index_destroy(index);
}

static void memory_stays_below_6_bytes_a_needle(void **state)
{
    struct needle_index *index = make(0);
    struct needle_index_stat stat;
    for (uint64_t key = 1; key <= 200000; key++) {
        put(index, key, key * 64, 3, NEEDLE_INDEX_LOAD);
        needle_index_stat(index, &stat);
        assert_true(key < 10000 || stat.memory_bytes <= 6 * key);
    }
    needle_index_destroy(index);
}

static void reservation_is_taken_back(void **state)
{
    struct needle_index *index = make(0);
    for (uint64_t key = 1; key <= 1000; key++)
        assert_int_equal(needle_index_reserve(index, key, NULL), 0);
    for (uint64_t key = 1; key <= 1000; key++)
        needle_index_unreserve(index, key);
    struct needle_entry entry;
    assert_int_equal(needle_index_get(index, 1, &entry, NULL), KELP_E_NOT_FOUND);
    assert_counts(index, 0, 0, 0, 0, 0);
    needle_index_destroy(index);
}

static void empty_index_has_nothing_to_walk(void **state)
{
    struct needle_index *index = make(0);
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    size_t count = 1;
    put(index, 1, 8, 1, NEEDLE_INDEX_RUNTIME);
    needle_index_delete(index, 1, NEEDLE_INDEX_RUNTIME, NULL);
    assert_int_equal(needle_cursor_open(index, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, &cursor, NULL), 0);
    assert_int_equal(needle_cursor_next(cursor, &entries, &count, NULL), 0);
    assert_int_equal(count, 0);
    needle_cursor_close(cursor);
    needle_index_destroy(index);
}

/* ---- threads: keys 1..STILL never move, the rest comes and goes; so many that a shard is walked in
 * several pieces and grows in between ---- */

enum { STILL = 70000, WALKED = 10000, MOVING = 120000 };
static atomic_bool is_over;
static atomic_uint failures;

static void *look_up(void *arg)
{
    struct needle_index *index = arg;
    while (!atomic_load(&is_over))
        for (uint64_t key = 1; key <= STILL; key += 7) {
            struct needle_entry entry;
            if (needle_index_get(index, key, &entry, NULL) != 0 || entry.offset != key * 8 || entry.size != 5)
                atomic_fetch_add(&failures, 1);
            if (needle_index_get(index, STILL + key, &entry, NULL) == 0 && entry.offset % 16 != 0)
                atomic_fetch_add(&failures, 1);
        }
    return NULL;
}

static void *walk(void *arg)
{
    struct needle_index *index = arg;
    do {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count;
        uint64_t still = 0;
        if (needle_cursor_open(index, NEEDLE_INDEX_BY_OFFSET, (WALKED + 1) * 8, &cursor, NULL) != 0)
            return NULL;
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++)
                still += entries[i].key <= WALKED;
        needle_cursor_close(cursor);
        if (still != WALKED)
            atomic_fetch_add(&failures, 1);
    } while (!atomic_load(&is_over));
    return NULL;
}

static void readers_and_walkers_beside_a_writer(void **state)
{
    struct needle_index *index = make(0);
    pthread_t threads[2];
    atomic_store(&is_over, false);
    atomic_store(&failures, 0);
    for (uint64_t key = 1; key <= STILL; key++)
        put(index, key, key * 8, 5, NEEDLE_INDEX_RUNTIME);
    pthread_create(&threads[0], NULL, look_up, index);
    pthread_create(&threads[1], NULL, walk, index);
    for (uint64_t i = 0; i < MOVING; i++) {
        put(index, STILL + 1 + i, (STILL + i) * 16, 9, NEEDLE_INDEX_RUNTIME);
        if (i % 3 == 0)
            needle_index_delete(index, STILL + 1 + i / 2, NEEDLE_INDEX_RUNTIME, NULL);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    needle_index_destroy(index);
}

#define OF_EVERY_KIND                                                                              \
    cmocka_unit_test(deleted_entries_keep_offset_and_size),                                        \
        cmocka_unit_test(counters_at_run_time), cmocka_unit_test(counters_while_loading),          \
        cmocka_unit_test(random_events_match_a_plain_table),                                       \
        cmocka_unit_test(reservation_is_taken_back),                                               \
        cmocka_unit_test(empty_index_has_nothing_to_walk),                                         \
        cmocka_unit_test(readers_and_walkers_beside_a_writer)

int main(void)
{
    const struct CMUnitTest memory[] = {
        OF_EVERY_KIND,
        cmocka_unit_test(memory_stays_below_6_bytes_a_needle),
    };
    const struct CMUnitTest leveldb[] = {OF_EVERY_KIND};
    int failed = cmocka_run_group_tests(memory, NULL, NULL);
    return failed + cmocka_run_group_tests(leveldb, open_store, close_store);
}
