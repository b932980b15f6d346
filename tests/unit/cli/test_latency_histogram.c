/* Percentiles within 5 %, merging, and the empty case. */
#include "tests/unit/cmocka_all.h"

#include "cli/latency_histogram.h"

#include <string.h>

static void percentiles_are_off_by_a_twentieth_at_most(void **state)
{
    struct latency_histogram h;
    memset(&h, 0, sizeof(h));
    for (uint64_t us = 1; us <= 10000; us++)
        latency_add(&h, us);
    static const double parts[] = {0.01, 0.5, 0.9, 0.99, 1};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        double exact = parts[i] * 10000;
        double got = (double)latency_percentile(&h, parts[i]);
        assert_true(got >= exact * 0.95 - 1 && got <= exact * 1.06 + 1);
    }
    assert_int_equal(h.min_us, 1);
    assert_int_equal(h.max_us, 10000);
    assert_true(latency_mean(&h) > 5000 && latency_mean(&h) < 5001);
    assert_true(latency_deviation(&h) > 2800 && latency_deviation(&h) < 2900);
}

static void merging_is_adding(void **state)
{
    struct latency_histogram a, b, both;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    memset(&both, 0, sizeof(both));
    for (uint64_t us = 10; us < 1000; us += 7) {
        latency_add(us % 2 ? &a : &b, us);
        latency_add(&both, us);
    }
    latency_merge(&a, &b);
    assert_memory_equal(a.buckets, both.buckets, sizeof(a.buckets));
    assert_int_equal(a.count, both.count);
    assert_int_equal(a.min_us, 10);
}

static void nothing_is_zero(void **state)
{
    struct latency_histogram h;
    memset(&h, 0, sizeof(h));
    assert_int_equal(latency_percentile(&h, 0.5), 0);
    assert_true(latency_mean(&h) < 0.1 && latency_deviation(&h) < 0.1);
}

static void what_is_beyond_the_last_bucket_counts_there(void **state)
{
    struct latency_histogram h;
    memset(&h, 0, sizeof(h));
    latency_add(&h, UINT64_C(3600000000)); /* an hour */
    latency_add(&h, 5);
    assert_int_equal(h.buckets[LATENCY_BUCKETS - 1], 1);
    assert_int_equal(latency_percentile(&h, 0.5), 5);
    assert_true(latency_percentile(&h, 1) > 100000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_off_by_a_twentieth_at_most),
        cmocka_unit_test(merging_is_adding),
        cmocka_unit_test(nothing_is_zero),
        cmocka_unit_test(what_is_beyond_the_last_bucket_counts_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
