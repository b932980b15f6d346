/* Rows that wait, against a plain table; and the filter of keys. */
#include "volume/storage/index/needle_pending.h"

#include "volume/storage/index/key_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 2000, EVENTS = 10000 };

static struct needle_entry row_of(uint64_t key, uint64_t n)
{
    return (struct needle_entry){key, 8 + 8 * n, (int32_t)n};
}

/* keys: model[i].key != 0 iff it was set. */
static void assert_same(const struct needle_pending *pending, const struct needle_entry *model)
{
    uint32_t count = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct needle_entry *row = needle_pending_find(pending, i);
        assert_int_equal(row != NULL, model[i].offset != 0);
        if (row)
            assert_memory_equal(row, &model[i], sizeof(*row));
        count += row != NULL;
    }
    assert_int_equal(pending->count, count);
    struct needle_entry *sorted = needle_pending_sorted(pending);
    uint32_t at = 0;
    for (uint64_t i = 0; i < KEYS; i++)
        if (model[i].offset != 0)
            assert_memory_equal(&sorted[at++], &model[i], sizeof(*sorted));
    free(sorted);
}

static void rows_in_any_order_are_found_and_sorted(void **state)
{
    for (int order = 0; order < 3; order++) { /* rising, falling, random */
        static struct needle_entry model[KEYS];
        struct needle_pending pending;
        uint64_t x = 99;
        memset(model, 0, sizeof(model));
        needle_pending_init(&pending, 42);
        assert_null(needle_pending_find(&pending, 5));
        for (uint64_t n = 0; n < EVENTS; n++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            uint64_t key = order == 0 ? n * KEYS / EVENTS
                           : order == 1 ? KEYS - 1 - n * KEYS / EVENTS
                                        : (x >> 33) % KEYS;
            model[key] = row_of(key, n);
            assert_true(needle_pending_reserve(&pending, 1));
            needle_pending_set(&pending, &model[key]);
            if (n % 2500 == 0)
                assert_same(&pending, model);
        }
        assert_same(&pending, model);
        needle_pending_clear(&pending);
        assert_int_equal(needle_pending_bytes(&pending), 0);
        assert_null(needle_pending_find(&pending, 5));
        needle_pending_fini(&pending);
    }
}

static void extreme_keys_have_their_rows(void **state)
{
    struct needle_pending pending;
    const struct needle_entry high = row_of(UINT64_MAX, 1), low = row_of(0, 2), again = row_of(0, 3);
    needle_pending_init(&pending, 0);
    assert_true(needle_pending_reserve(&pending, 2));
    needle_pending_set(&pending, &high);
    needle_pending_set(&pending, &low);
    needle_pending_set(&pending, &again);
    assert_int_equal(pending.count, 2);
    assert_int_equal(needle_pending_find(&pending, 0)->offset, again.offset);
    assert_int_equal(needle_pending_find(&pending, UINT64_MAX)->offset, high.offset);
    needle_pending_fini(&pending);
}

static void filter_forgets_no_key_and_takes_few_for_another(void **state)
{
    enum { COUNT = 100000 };
    struct key_filter *filter = key_filter_create(COUNT, 7);
    unsigned mistaken = 0;
    for (uint64_t i = 0; i < COUNT; i++)
        key_filter_add(filter, i * 3);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(key_filter_has(filter, i * 3));
        mistaken += key_filter_has(filter, i * 3 + 1);
    }
    assert_true(mistaken < COUNT / 100);
    assert_true(key_filter_bytes(filter) < COUNT * 2);
    key_filter_destroy(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_in_any_order_are_found_and_sorted),
        cmocka_unit_test(extreme_keys_have_their_rows),
        cmocka_unit_test(filter_forgets_no_key_and_takes_few_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
