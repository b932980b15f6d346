/* What a lane counts. */
#include "tests/unit/cmocka_all.h"

#include "volume/blob_tally.h"

static void times_fall_below_their_bound(void **state)
{
    uint64_t bound = BLOB_TALLY_FIRST_NS;
    assert_int_equal(blob_tally_bucket(0), 0);
    for (unsigned i = 0; i + 1 < BLOB_TALLY_BUCKETS; i++, bound *= 2) {
        assert_int_equal(blob_tally_bucket(bound), i);
        assert_int_equal(blob_tally_bucket(bound + 1), i + 1);
    }
    assert_int_equal(blob_tally_bucket(UINT64_MAX), BLOB_TALLY_BUCKETS - 1);
}

static void counts_what_began_and_ended(void **state)
{
    static struct blob_tally_row row;
    blob_tally_begin(&row);
    blob_tally_begin(&row);
    blob_tally_end(&row, 150000);
    blob_tally_status(&row, 404);
    assert_int_equal(row.begun, 2);
    assert_int_equal(row.ended, 1);
    assert_int_equal(row.total_ns, 150000);
    assert_int_equal(row.buckets[1], 1);
    assert_int_equal(row.statuses[404], 1);
}

static void passes_over_statuses_that_are_none(void **state)
{
    static struct blob_tally_row row;
    static const struct blob_tally_row none;
    blob_tally_status(&row, -1);
    blob_tally_status(&row, BLOB_TALLY_STATUS);
    assert_memory_equal(&row, &none, sizeof(row));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_fall_below_their_bound),
        cmocka_unit_test(counts_what_began_and_ended),
        cmocka_unit_test(passes_over_statuses_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
