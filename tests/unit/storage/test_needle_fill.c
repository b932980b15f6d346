/* Filling an index in one go comes to what one row after another comes to; sorting; and walks that need
 * more than one window. */
#include "volume/storage/index/needle_index.h"
#include "volume/storage/index/needle_sort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t chance = 3;
static uint64_t any(void)
{
    chance += 0x9e3779b97f4a7c15u;
    uint64_t x = chance;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static struct needle_index *make(void)
{
    struct needle_index *index;
    const struct needle_index_config config = {.version = 3, .seed = 42};
    assert_int_equal(needle_index_memory_create(&index, &config, NULL), 0);
    return index;
}

static void apply(struct needle_index *index, const struct needle_entry *row, enum needle_index_event event)
{
    if (row->offset != 0)
        assert_int_equal(needle_index_put(index, row, event, NULL), 0);
    else
        assert_int_equal(needle_index_delete(index, row->key, event, NULL), 0);
}

static void assert_alike(struct needle_index *a, struct needle_index *b, const struct needle_entry *rows,
                         size_t count)
{
    struct needle_index_stat left, right;
    needle_index_stat(a, &left);
    needle_index_stat(b, &right);
    left.memory_bytes = right.memory_bytes = 0;
    assert_memory_equal(&left, &right, sizeof(left));
    for (size_t i = 0; i < count; i++) {
        struct needle_entry x, y;
        int code = needle_index_get(a, rows[i].key, &x, NULL);
        assert_int_equal(code, needle_index_get(b, rows[i].key, &y, NULL));
        assert_true(code != 0 || (x.key == y.key && x.offset == y.offset && x.size == y.size));
    }
}

enum { ROWS = 200000 };

/* keys: how many there are to choose from; 0: they rise. */
static void compare(uint64_t keys, enum needle_index_event event, uint64_t expected)
{
    struct needle_index *filled = make(), *plain = make();
    struct needle_entry *rows = malloc(ROWS * sizeof(*rows));
    for (uint64_t i = 0; i < ROWS; i++) {
        uint64_t key = keys ? any() % keys * 0x9e3779b97f4a7c15u : i + i / 3;
        rows[i] = any() % 5 ? (struct needle_entry){key, 8 + i * 64, (int32_t)(any() % 40)}
                            : (struct needle_entry){key, 0, NEEDLE_TOMBSTONE};
    }
    size_t before = ROWS / 10; /* some are in already */
    for (size_t i = 0; i < before; i++)
        apply(filled, &rows[i], event);
    assert_int_equal(needle_index_fill_begin(filled, expected, NULL), 0);
    for (size_t i = before; i < ROWS; i++)
        apply(filled, &rows[i], event);
    assert_int_equal(needle_index_fill_end(filled, NULL), 0);
    for (size_t i = 0; i < ROWS; i++)
        apply(plain, &rows[i], event);
    assert_alike(filled, plain, rows, ROWS);
    /* And it goes on as ever. */
    for (size_t i = 0; i < 1000; i++) {
        apply(filled, &rows[i * 7], event);
        apply(plain, &rows[i * 7], event);
    }
    assert_alike(filled, plain, rows, ROWS);
    needle_index_destroy(filled);
    needle_index_destroy(plain);
    free(rows);
}

static void filling_is_putting_one_by_one(void **state)
{
    compare(0, NEEDLE_INDEX_LOAD, ROWS);
    compare(0, NEEDLE_INDEX_LOAD_COMPACTED, 10);
    compare(1000, NEEDLE_INDEX_LOAD, 0);
    compare(ROWS, NEEDLE_INDEX_LOAD_COMPACTED, ROWS);
    compare(UINT64_MAX, NEEDLE_INDEX_LOAD, 3 * ROWS);
}

static void filling_with_nothing_changes_nothing(void **state)
{
    struct needle_index *index = make(), *other = make();
    const struct needle_entry unknown = {5, 0, NEEDLE_TOMBSTONE};
    assert_int_equal(needle_index_fill_begin(index, 0, NULL), 0);
    assert_int_equal(needle_index_fill_end(index, NULL), 0);
    assert_int_equal(needle_index_fill_begin(index, 0, NULL), 0);
    apply(index, &unknown, NEEDLE_INDEX_LOAD); /* is counted, and leaves no entry */
    assert_int_equal(needle_index_fill_end(index, NULL), 0);
    apply(other, &unknown, NEEDLE_INDEX_LOAD);
    assert_alike(index, other, &unknown, 1);
    needle_index_destroy(other);
    assert_int_equal(needle_index_fill_begin(index, 100, NULL), 0);
    needle_index_destroy(index); /* in the middle */
}

static void sorting_keeps_the_order_of_equals(void **state)
{
    static const uint64_t masks[] = {0, 1, 0xff, 0xffff000000000000u, 0x00ff00ff00ff00ffu, UINT64_MAX};
    enum { COUNT = 5000 };
    static struct needle_entry entries[COUNT], scratch[COUNT];
    for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++)
        for (int order = 0; order < 2; order++) {
            size_t count = m == 0 ? 1 : COUNT;
            for (size_t i = 0; i < count; i++)
                entries[i] = (struct needle_entry){any() & masks[m], any() & masks[m] & ~(uint64_t)7, (int32_t)i};
            needle_sort(entries, count, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET, scratch);
            for (size_t i = 1; i < count; i++) {
                uint64_t a = order ? entries[i - 1].key : entries[i - 1].offset;
                uint64_t b = order ? entries[i].key : entries[i].offset;
                assert_true(a < b || (a == b && entries[i - 1].size < entries[i].size));
            }
        }
}

/* More live needles than fit into a window; every ninth is deleted, offsets have nothing to do with keys. */
static void walks_over_many_windows(void **state)
{
    enum { COUNT = 700000 };
    struct needle_index *index = make();
    uint64_t live = 0, limit = 8 + (uint64_t)COUNT * 8, sum = 0;
    assert_int_equal(needle_index_fill_begin(index, COUNT, NULL), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t place = i * 611953 % COUNT; /* a prime: each place once */
        apply(index, &(struct needle_entry){i * 5, 8 + place * 16, 1}, NEEDLE_INDEX_LOAD);
        if (i % 9 == 0)
            apply(index, &(struct needle_entry){i * 5, 0, NEEDLE_TOMBSTONE}, NEEDLE_INDEX_LOAD);
        else if (8 + place * 16 < limit) {
            live++;
            sum += i * 5;
        }
    }
    assert_int_equal(needle_index_fill_end(index, NULL), 0);
    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count;
        uint64_t seen = 0, seen_sum = 0, last = 0;
        assert_int_equal(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET,
                                            limit, &cursor, NULL), 0);
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++) {
                uint64_t value = order ? entries[i].key : entries[i].offset;
                assert_true(seen == 0 || value > last);
                assert_true(entries[i].offset < limit && entries[i].size == 1);
                last = value;
                seen++;
                seen_sum += entries[i].key;
            }
        needle_cursor_close(cursor);
        assert_int_equal(seen, live);
        assert_int_equal(seen_sum, sum);
    }
    needle_index_destroy(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filling_is_putting_one_by_one),
        cmocka_unit_test(filling_with_nothing_changes_nothing),
        cmocka_unit_test(sorting_keeps_the_order_of_equals),
        cmocka_unit_test(walks_over_many_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
