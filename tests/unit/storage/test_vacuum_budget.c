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

/* ---- the clients' share ---- */

#define MS 1000000ll

struct clients {
    struct disk_os *disk;
    struct os *os;
    struct foreground *foreground;
    struct vacuum_budget *budget;
};

static void begin_clients(struct clients *c)
{
    disk_os_create(&c->disk, 1);
    c->os = disk_os_get(c->disk);
    c->foreground = foreground_create();
    assert_int_equal(vacuum_budget_create(&c->budget, c->os, c->foreground, 0), 0);
}

static void end_clients(struct clients *c)
{
    vacuum_budget_destroy(c->budget);
    foreground_destroy(c->foreground);
    disk_os_destroy(c->disk);
}

/* Time goes by in which clients write, waiting so long each. */
static void serve(struct clients *c, int64_t for_ms, int64_t took_ns)
{
    for (int64_t ms = 0; ms < for_ms; ms += 10) {
        disk_os_advance(c->disk, 10 * MS);
        for (int i = 0; i < 10; i++)
            foreground_note(c->foreground, FOREGROUND_WRITE, os_monotonic_ns(c->os), took_ns);
    }
}

/* A job that works on and on; cancelled, it does not sleep, but learns all the same. */
static double share_after(struct clients *c, int64_t for_ms, int64_t took_ns)
{
    atomic_bool is_cancelled = true;
    unsigned jobs;
    double share;
    for (int64_t ms = 0; ms < for_ms; ms += 50) {
        serve(c, 50, took_ns);
        vacuum_budget_yield(c->budget, MS, &is_cancelled);
    }
    vacuum_budget_state(c->budget, &jobs, &share);
    return share;
}

static void share_falls_while_clients_wait_longer_than_usual_and_comes_back(void **state)
{
    struct clients c;
    begin_clients(&c);
    serve(&c, 2000, MS);
    assert_true(vacuum_budget_join(c.budget));
    assert_true(share_after(&c, 1000, MS) == 1);
    double share = share_after(&c, 400, 3 * MS);
    assert_true(share < 0.3);
    share = share_after(&c, 5000, 3 * MS);
    assert_true(share > 0.05 && share < 0.07); /* it always gets on */
    assert_true(share_after(&c, 3000, MS) == 1);
    vacuum_budget_leave(c.budget);
    end_clients(&c);
}

static void waits_too_short_to_matter_cost_no_share(void **state)
{
    struct clients c;
    begin_clients(&c);
    serve(&c, 2000, 30000);
    assert_true(vacuum_budget_join(c.budget));
    assert_true(share_after(&c, 1000, 200000) == 1);
    vacuum_budget_leave(c.budget);
    end_clients(&c);
}

/* Nobody was there before: what is usual is found out by holding still. */
static void job_listens_when_clients_come_after_it(void **state)
{
    struct clients c;
    atomic_bool is_cancelled = true;
    unsigned jobs;
    double share;
    begin_clients(&c);
    disk_os_advance(c.disk, 5000 * MS);
    assert_true(vacuum_budget_join(c.budget));
    assert_true(share_after(&c, 150, 8 * MS) == 1); /* with the copy at work: begins to listen */
    serve(&c, 250, 2 * MS);                         /* while it holds still */
    vacuum_budget_yield(c.budget, MS, &is_cancelled);
    assert_true(share_after(&c, 500, 8 * MS) < 0.3);
    vacuum_budget_state(c.budget, &jobs, &share);
    assert_int_equal(jobs, 1);
    vacuum_budget_leave(c.budget);
    end_clients(&c);
}

static void nobody_there_leaves_it_the_whole_disk(void **state)
{
    struct clients c;
    begin_clients(&c);
    assert_true(vacuum_budget_join(c.budget));
    atomic_bool is_cancelled = false;
    for (int i = 0; i < 100; i++) {
        disk_os_advance(c.disk, 50 * MS);
        int64_t since = os_monotonic_ns(os_real());
        vacuum_budget_yield(c.budget, 50 * MS, &is_cancelled);
        assert_true(os_monotonic_ns(os_real()) - since < 1000 * MS);
    }
    vacuum_budget_leave(c.budget);
    end_clients(&c);
}

static void nap_lasts_as_the_share_says(void **state)
{
    struct foreground *foreground = foreground_create();
    struct vacuum_budget *budget;
    struct os *os = os_real();
    atomic_bool is_cancelled = true;
    unsigned jobs;
    double share = 1;
    assert_int_equal(vacuum_budget_create(&budget, os, foreground, 0), 0);
    assert_true(vacuum_budget_join(budget));
    int64_t begin_ns = os_monotonic_ns(os), now_ns = begin_ns;
    for (; share > 0.3 && now_ns - begin_ns < 20000 * MS; now_ns = os_monotonic_ns(os)) {
        bool is_listening = now_ns - begin_ns < 500 * MS;
        for (int i = 0; i < 40; i++)
            foreground_note(foreground, FOREGROUND_WRITE, now_ns, is_listening ? MS : 20 * MS);
        vacuum_budget_yield(budget, 0, &is_cancelled);
        vacuum_budget_state(budget, &jobs, &share);
    }
    assert_true(share <= 0.3);
    is_cancelled = false;
    int64_t since = os_monotonic_ns(os);
    vacuum_budget_yield(budget, 10 * MS, &is_cancelled);
    assert_true(os_monotonic_ns(os) - since >= 20 * MS);
    vacuum_budget_leave(budget);
    vacuum_budget_destroy(budget);
    foreground_destroy(foreground);
}

/* ---- places and space ---- */

static void disk_takes_so_many_jobs_and_none_while_files_close(void **state)
{
    struct vacuum_budget *budget;
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 0), 0);
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        assert_true(vacuum_budget_join(budget));
    assert_false(vacuum_budget_join(budget));
    vacuum_budget_leave(budget);
    vacuum_budget_begin_closing(budget);
    assert_false(vacuum_budget_join(budget));
    vacuum_budget_end_closing(budget);
    assert_true(vacuum_budget_join(budget));
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        vacuum_budget_leave(budget);
    vacuum_budget_hold(budget, 300);
    vacuum_budget_hold(budget, 20);
    vacuum_budget_release(budget, 300);
    assert_int_equal(vacuum_budget_held(budget), 20);
    vacuum_budget_destroy(budget);
    assert_true(vacuum_budget_join(NULL));
    vacuum_budget_leave(NULL);
}

static void pieces_are_small_where_the_rate_is(void **state)
{
    struct vacuum_budget *budget;
    assert_int_equal(vacuum_budget_create(&budget, os_real(), NULL, 800), 0);
    assert_int_equal(vacuum_budget_piece(budget, 1 << 20), 100);
    assert_int_equal(vacuum_budget_piece(budget, 10), 10);
    assert_int_equal(vacuum_budget_piece(NULL, 1 << 20), 1 << 20);
    vacuum_budget_destroy(budget);
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
        cmocka_unit_test(share_falls_while_clients_wait_longer_than_usual_and_comes_back),
        cmocka_unit_test(waits_too_short_to_matter_cost_no_share),
        cmocka_unit_test(job_listens_when_clients_come_after_it),
        cmocka_unit_test(nobody_there_leaves_it_the_whole_disk),
        cmocka_unit_test(nap_lasts_as_the_share_says),
        cmocka_unit_test(disk_takes_so_many_jobs_and_none_while_files_close),
        cmocka_unit_test(pieces_are_small_where_the_rate_is),
        cmocka_unit_test(digest_is_free_of_order_and_follows_changes),
        cmocka_unit_test(digest_sees_each_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
