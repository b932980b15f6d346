/* Ordered walks over a source by key: every order of offsets, few entries and millions. */
#include "volume/storage/index/needle_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct source {
    struct needle_source base;
    uint64_t count, at;
    uint64_t (*offset_of)(uint64_t i, uint64_t count);
    uint64_t fails_at; /* the n-th entry ever asked for; 0: none */
    uint64_t asked;
    unsigned passes;
    bool *is_closed;
};

static int source_rewind(struct needle_source *base, struct error *err)
{
    struct source *source = (struct source *)base;
    source->at = 0;
    source->passes++;
    return 0;
}

static int source_next(struct needle_source *base, struct needle_entry *ret, struct error *err)
{
    struct source *source = (struct source *)base;
    if (++source->asked == source->fails_at)
        return error_set(err, KELP_E_IO, "as asked");
    if (source->at == source->count)
        return 0;
    *ret = (struct needle_entry){source->at * 2, source->offset_of(source->at, source->count), 1};
    source->at++;
    return 1;
}

static void source_close(struct needle_source *base) { *((struct source *)base)->is_closed = true; }

static uint64_t rising(uint64_t i, uint64_t count) { return 8 + 8 * i; }
static uint64_t falling(uint64_t i, uint64_t count) { return 8 + 8 * (count - 1 - i); }
/* A permutation: the multiplier has no factor in common with counts of 2^a 5^b. */
static uint64_t mixed(uint64_t i, uint64_t count) { return 8 + 8 * (i * 1234567891 % count); }
/* Nearly all in one corner. */
static uint64_t crowded(uint64_t i, uint64_t count)
{
    return i == 0 ? (uint64_t)1 << 42 : 8 + 8 * (count - i);
}

static struct source make(uint64_t count, uint64_t (*offset_of)(uint64_t, uint64_t), bool *is_closed)
{
    *is_closed = false;
    return (struct source){.base = {source_rewind, source_next, source_close},
                           .count = count, .offset_of = offset_of, .is_closed = is_closed};
}

static void walk(uint64_t count, uint64_t (*offset_of)(uint64_t, uint64_t),
                 enum needle_index_order order, uint64_t limit, unsigned passes_most)
{
    bool is_closed;
    struct source source = make(count, offset_of, &is_closed);
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    uint64_t expected = 0, seen = 0, last = 0;
    size_t n;
    for (uint64_t i = 0; i < count; i++)
        expected += offset_of(i, count) < limit;
    assert_int_equal(needle_window_create(&cursor, &source.base, order, limit, NULL), 0);
    while (needle_cursor_next(cursor, &entries, &n, NULL) == 0 && n > 0)
        for (size_t i = 0; i < n; i++, seen++) {
            uint64_t value = order == NEEDLE_INDEX_BY_KEY ? entries[i].key : entries[i].offset;
            if ((seen > 0 && value <= last) || entries[i].offset >= limit)
                fail_msg("%llu after %llu", (unsigned long long)value, (unsigned long long)last);
            last = value;
        }
    assert_int_equal(needle_cursor_next(cursor, &entries, &n, NULL), 0);
    assert_int_equal(n, 0); /* the end stays the end */
    needle_cursor_close(cursor);
    assert_int_equal(seen, expected);
    assert_true(is_closed);
    assert_true(source.passes <= passes_most);
}

static void few_entries_take_one_pass(void **state)
{
    static const uint64_t counts[] = {0, 1, 2, 10000};
    for (size_t i = 0; i < 4; i++) {
        walk(counts[i], rising, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, 0);
        walk(counts[i], falling, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, 0);
        walk(counts[i], mixed, NEEDLE_INDEX_BY_OFFSET, 8 + 8 * counts[i] / 2, 0);
        walk(counts[i], mixed, NEEDLE_INDEX_BY_KEY, UINT64_MAX, 0);
        walk(counts[i], falling, NEEDLE_INDEX_BY_KEY, 8 + 8 * counts[i] / 2, 0);
    }
}

static void many_entries_take_windows(void **state)
{
    enum { MANY = 1500000 };
    walk(MANY, rising, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, 1);
    walk(MANY, falling, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, 3);
    walk(MANY, mixed, NEEDLE_INDEX_BY_OFFSET, 8 + 8 * (MANY - 100), 3);
    walk(MANY, crowded, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, 4);
}

static void failure_of_the_source_is_told(void **state)
{
    static const uint64_t at[] = {5, 15000, 25000};
    for (size_t i = 0; i < 3; i++) {
        bool is_closed;
        struct source source = make(20000, falling, &is_closed);
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        struct error err;
        size_t n = 1;
        source.fails_at = at[i];
        int code = needle_window_create(&cursor, &source.base, NEEDLE_INDEX_BY_KEY, UINT64_MAX, &err);
        assert_int_equal(code, 0);
        while (code == 0 && n > 0)
            code = needle_cursor_next(cursor, &entries, &n, &err);
        assert_int_equal(code, at[i] < 20000 ? KELP_E_IO : 0);
        needle_cursor_close(cursor);
        assert_true(is_closed);
        source = make(20000, falling, &is_closed);
        source.fails_at = at[i];
        code = needle_window_create(&cursor, &source.base, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, &err);
        assert_int_equal(code, at[i] < 20000 ? KELP_E_IO : 0);
        if (code == 0)
            needle_cursor_close(cursor);
        assert_true(is_closed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_entries_take_one_pass),
        cmocka_unit_test(many_entries_take_windows),
        cmocka_unit_test(failure_of_the_source_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
