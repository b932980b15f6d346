/* The rate budget and the digest that the vacuum relies on. */
#include "tests/fixtures/disk_os.h"
#include "volume/storage/vacuum_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int64_t timed_take(struct vacuum_budget *budget, uint64_t bytes,
                          const atomic_bool *cancelled)
{
    int64_t since = os_monotonic_ns(os_real());
    vacuum_budget_take(budget, bytes, cancelled);
    return os_monotonic_ns(os_real()) - since;
}

static void bytes_beyond_the_rate_are_waited_for(void **state)
{
    struct vacuum_budget *budget;
    atomic_bool is_cancelled = false;
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 10 << 20), 0);
    int64_t waited = timed_take(budget, 2 << 20, &is_cancelled);
    assert_true(waited >= 150000000); /* 0.2 s less the bucket's content at most */
    vacuum_budget_destroy(budget);
}

static void two_who_share_it_wait_for_each_other(void **state)
{
    struct vacuum_budget *budget;
    atomic_bool is_cancelled = true; /* takes without waiting */
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 10 << 20), 0);
    vacuum_budget_take(budget, 2 << 20, &is_cancelled);
    is_cancelled = false;
    assert_true(timed_take(budget, 1, &is_cancelled) >= 150000000);
    vacuum_budget_destroy(budget);
}

static void no_limit_never_waits(void **state)
{
    struct vacuum_budget *budget;
    atomic_bool is_cancelled = false;
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 0), 0);
    vacuum_budget_take(budget, UINT64_MAX, &is_cancelled);
    vacuum_budget_take(NULL, UINT64_MAX, &is_cancelled);
    vacuum_budget_destroy(budget);
}

static void cancelled_take_returns(void **state)
{
    struct vacuum_budget *budget;
    atomic_bool is_cancelled = true;
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 1), 0);
    assert_true(timed_take(budget, 1 << 20, &is_cancelled) < 500000000);
    vacuum_budget_destroy(budget);
}

static void time_fills_the_bucket_only_so_far(void **state)
{
    struct disk_os *disk;
    struct vacuum_budget *budget;
    atomic_bool is_cancelled = true;
    disk_os_create(&disk, 1);
    assert_int_equal(vacuum_budget_create(&budget, disk_os_get(disk), NULL, 1000), 0);
    disk_os_advance(disk, (int64_t)3600 * 1000000000);
    is_cancelled = false;
    vacuum_budget_take(budget, 100, &is_cancelled); /* a tenth of a second's worth is there */
    is_cancelled = true;
    vacuum_budget_take(budget, 5000, &is_cancelled); /* debt of 5 s, in simulated time */
    disk_os_advance(disk, 6ll * 1000000000);
    is_cancelled = false;
    vacuum_budget_take(budget, 50, &is_cancelled);
    vacuum_budget_destroy(budget);
    disk_os_destroy(disk);
}

static void digest_is_free_of_order_and_follows_changes(void **state)
{
    struct vacuum_digest a = {0}, b = {0};
    vacuum_digest_add(&a, 1, 10, 100);
    vacuum_digest_add(&a, 2, 20, 200);
    vacuum_digest_add(&b, 2, 20, 200);
    vacuum_digest_add(&b, 3, 30, 300);
    assert_false(vacuum_digest_equals(&a, &b));
    vacuum_digest_add(&b, 1, 10, 100);
    vacuum_digest_remove(&b, 3, 30, 300);
    assert_true(vacuum_digest_equals(&a, &b));
}

static void digest_sees_each_part(void **state)
{
    const struct {
        uint64_t key;
        int32_t size;
        uint32_t checksum;
    } others[] = {{2, 10, 100}, {1, 11, 100}, {1, 10, 101}};
    struct vacuum_digest a = {0};
    vacuum_digest_add(&a, 1, 10, 100);
    for (size_t i = 0; i < 3; i++) {
        struct vacuum_digest b = {0};
        vacuum_digest_add(&b, others[i].key, others[i].size, others[i].checksum);
        assert_false(vacuum_digest_equals(&a, &b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_beyond_the_rate_are_waited_for),
        cmocka_unit_test(two_who_share_it_wait_for_each_other),
        cmocka_unit_test(no_limit_never_waits),
        cmocka_unit_test(cancelled_take_returns),
        cmocka_unit_test(time_fills_the_bucket_only_so_far),
        cmocka_unit_test(digest_is_free_of_order_and_follows_changes),
        cmocka_unit_test(digest_sees_each_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
