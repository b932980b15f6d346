/* Keys: never twice, never above what is durable. */
#include "tests/unit/cmocka_all.h"

#include "master/sequencer.h"

struct disk {
    uint64_t durable;
    uint64_t asked;
    int calls;
    struct sequencer *answers_at_once; /* NULL: the answer comes later */
};

static void persist(void *ctx, uint64_t ceiling)
{
    struct disk *d = ctx;
    d->asked = ceiling;
    d->calls++;
    if (d->answers_at_once) {
        d->durable = ceiling;
        sequencer_persisted(d->answers_at_once, ceiling);
    }
}

static void nothing_is_handed_out_before_its_block_is_durable(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), KELP_E_AGAIN);
    assert_int_equal(disk.calls, 0); /* not started */
    sequencer_start(&s, 0);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), KELP_E_AGAIN);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), KELP_E_AGAIN);
    assert_int_equal(disk.calls, 1); /* one in flight */
    sequencer_persisted(&s, disk.asked);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_int_equal(key, 1);
    assert_int_equal(sequencer_take(&s, 5, 0, &key, NULL), 0);
    assert_int_equal(key, 2);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_int_equal(key, 7);
}

static void a_failed_write_is_asked_again(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    sequencer_start(&s, 0);
    sequencer_take(&s, 1, 0, &key, NULL);
    sequencer_persist_failed(&s);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), KELP_E_AGAIN);
    assert_int_equal(disk.calls, 2);
}

static void a_restart_goes_on_at_the_ceiling(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key, last = 0;
    for (int run = 0; run < 5; run++) {
        sequencer_init(&s, persist, &disk);
        disk.answers_at_once = &s;
        sequencer_start(&s, disk.durable);
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(sequencer_take(&s, 3000, 0, &key, NULL), 0);
            assert_true(key > last);
            last = key + 2999;
            assert_true(last < disk.durable);
        }
    }
}

static void the_next_block_is_asked_for_early(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    sequencer_start(&s, 0);
    sequencer_take(&s, 1, 0, &key, NULL);
    sequencer_persisted(&s, disk.asked);
    assert_int_equal(sequencer_take(&s, SEQUENCER_BLOCK / 2 + 1, 0, &key, NULL), 0);
    assert_int_equal(disk.calls, 2);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0); /* meanwhile it goes on */
    sequencer_persisted(&s, disk.asked);
    assert_int_equal(sequencer_take(&s, SEQUENCER_BLOCK, 0, &key, NULL), 0);
}

static void keys_seen_elsewhere_are_skipped(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    disk.answers_at_once = &s;
    sequencer_start(&s, 0);
    sequencer_raise(&s, 5ull << 40);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_true(key == (5ull << 40) + 1 && key < disk.durable);
    sequencer_raise(&s, 3);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_true(key == (5ull << 40) + 2);
}

static void impossible_counts_are_refused(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key = 77;
    sequencer_init(&s, persist, &disk);
    disk.answers_at_once = &s;
    sequencer_start(&s, 0);
    assert_int_equal(sequencer_take(&s, SEQUENCER_BLOCK + 1ull, 0, &key, NULL), KELP_E_LIMIT);
    assert_int_equal(sequencer_take(&s, 0, 0, &key, NULL), KELP_E_LIMIT);
    assert_int_equal(key, 77);
    sequencer_start(&s, UINT64_MAX - SEQUENCER_BLOCK);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), KELP_E_LIMIT);
    assert_int_equal(key, 77);
}

static void a_made_up_key_does_not_use_up_the_rest(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    disk.answers_at_once = &s;
    sequencer_start(&s, 0);
    sequencer_raise(&s, UINT64_MAX - 1);
    sequencer_raise(&s, UINT64_MAX);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_int_equal(key, 1);
    /* and is stepped over when the counter comes near */
    sequencer_raise(&s, INT64_MAX);
    sequencer_raise(&s, (uint64_t)INT64_MAX + 100);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_true(key == (uint64_t)INT64_MAX + 101);
}

static void keys_given_back_are_handed_out_next(void **state)
{
    struct disk disk = {0};
    struct sequencer s;
    uint64_t key;
    sequencer_init(&s, persist, &disk);
    disk.answers_at_once = &s;
    sequencer_start(&s, 0);
    assert_int_equal(sequencer_take(&s, 1000, 0, &key, NULL), 0);
    sequencer_give_back(&s, key, 1000);
    assert_int_equal(sequencer_take(&s, 1, 0, &key, NULL), 0);
    assert_int_equal(key, 1);
}

static void snowflake_keys_carry_time_and_node(void **state)
{
    struct sequencer s, hashed;
    uint64_t first, key, last;
    int64_t now_ns = (1288834974657 + 1000) * 1000000;
    sequencer_init_snowflake(&s, 5, "ignored");
    assert_int_equal(sequencer_take(&s, 100, now_ns, &first, NULL), 0);
    assert_true(first == (1000ull << 22 | 5ull << 12));
    last = first;
    for (int i = 0; i < 10000; i++) { /* more than a millisecond holds, and a clock that stands */
        sequencer_take(&s, 1, now_ns - (i % 2), &key, NULL);
        assert_true(key > last);
        assert_true((key >> 12 & 0x3ff) == 5);
        last = key;
    }
    sequencer_init_snowflake(&hashed, 0, "a");
    assert_int_equal(hashed.node, 0xe40c292cu & 0x3ff); /* FNV-1a of "a" */
    sequencer_raise(&s, UINT64_MAX - 1);
    assert_int_equal(sequencer_take(&s, 1, now_ns, &key, NULL), 0);
    assert_true(key < first << 1);
}

static void snowflake_ranges_do_not_overlap(void **state)
{
    struct sequencer s;
    uint64_t key, end = 0;
    int64_t now_ns = (1288834974657 + 1000) * 1000000;
    sequencer_init_snowflake(&s, 5, "ignored");
    for (uint64_t n = 1; n <= SEQUENCER_SNOWFLAKE_STEPS; n += 100) {
        assert_int_equal(sequencer_take(&s, n, now_ns, &key, NULL), 0);
        assert_true(key >= end);
        end = key + n;
        assert_true((end - 1) >> 12 == key >> 12); /* all of this master and this millisecond */
    }
    assert_int_equal(sequencer_take(&s, SEQUENCER_SNOWFLAKE_STEPS + 1, now_ns, &key, NULL),
                     KELP_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handed_out_before_its_block_is_durable),
        cmocka_unit_test(a_failed_write_is_asked_again),
        cmocka_unit_test(a_restart_goes_on_at_the_ceiling),
        cmocka_unit_test(the_next_block_is_asked_for_early),
        cmocka_unit_test(keys_seen_elsewhere_are_skipped),
        cmocka_unit_test(impossible_counts_are_refused),
        cmocka_unit_test(a_made_up_key_does_not_use_up_the_rest),
        cmocka_unit_test(keys_given_back_are_handed_out_next),
        cmocka_unit_test(snowflake_keys_carry_time_and_node),
        cmocka_unit_test(snowflake_ranges_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
