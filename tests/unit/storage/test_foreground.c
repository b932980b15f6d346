/* What clients of a disk feel: estimates, windows, and notes of many threads. */
#include "volume/storage/foreground.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ll

static int setup(void **state)
{
    *state = foreground_create();
    return 0;
}

static int teardown(void **state)
{
    foreground_destroy(*state);
    return 0;
}

static void note_many(struct foreground *f, int64_t now_ns, int64_t took_ns, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        foreground_note(f, FOREGROUND_WRITE, now_ns, took_ns);
}

static int64_t p99(struct foreground *f, int64_t now_ns, int64_t window_ns)
{
    return foreground_p99_ns(f, FOREGROUND_WRITE, now_ns, window_ns);
}

static void too_few_say_nothing(void **state)
{
    note_many(*state, 0, MS, FOREGROUND_ENOUGH - 1);
    assert_int_equal(p99(*state, 0, 1000 * MS), 0);
    note_many(*state, 0, MS, 1);
    assert_true(p99(*state, 0, 1000 * MS) > 0);
}

static void estimate_is_right_to_a_quarter_from_microseconds_to_seconds(void **state)
{
    int64_t now_ns = 0;
    for (int64_t took_ns = 20000; took_ns < 20000 * MS; took_ns = took_ns * 9 / 7) {
        now_ns += 5000 * MS;
        note_many(*state, now_ns, took_ns, 100);
        int64_t found_ns = p99(*state, now_ns, 100 * MS);
        assert_true(found_ns > took_ns && found_ns <= took_ns * 5 / 4 + 1);
    }
    now_ns += 5000 * MS;
    note_many(*state, now_ns, 1, 100);
    assert_true(p99(*state, now_ns, 100 * MS) <= 16384);
    note_many(*state, now_ns, INT64_MAX, 200); /* beyond the last bucket: in it */
    assert_true(p99(*state, now_ns, 100 * MS) > 10000 * MS);
}

static void one_in_a_hundred_is_beyond_it(void **state)
{
    note_many(*state, 0, MS, 1000);
    note_many(*state, 0, 50 * MS, 10);
    assert_true(p99(*state, 0, 100 * MS) < 2 * MS);
    note_many(*state, 0, 50 * MS, 10);
    assert_true(p99(*state, 0, 100 * MS) > 50 * MS);
}

static void kinds_are_apart(void **state)
{
    note_many(*state, 0, MS, 100);
    assert_int_equal(foreground_p99_ns(*state, FOREGROUND_READ, 0, 100 * MS), 0);
}

static void what_is_older_than_the_window_does_not_count(void **state)
{
    note_many(*state, 0, 100 * MS, 100);
    note_many(*state, 1000 * MS, MS, 100);
    assert_true(p99(*state, 1000 * MS, 2000 * MS) > 100 * MS);
    assert_true(p99(*state, 1000 * MS, 500 * MS) < 2 * MS);
    assert_int_equal(p99(*state, 60000 * MS, 500 * MS), 0);
}

static void slices_are_used_again(void **state)
{
    for (int64_t now_ns = 0; now_ns < 20000 * MS; now_ns += 10 * MS) {
        note_many(*state, now_ns, MS, 10);
        if (now_ns > 500 * MS)
            assert_true(p99(*state, now_ns, 200 * MS) < 2 * MS);
    }
}

static void nobody_wants_to_know(void **state)
{
    foreground_note(NULL, FOREGROUND_WRITE, 0, MS);
    assert_int_equal(foreground_p99_ns(NULL, FOREGROUND_WRITE, 0, MS), 0);
}

static void *note_and_ask(void *ctx)
{
    for (int64_t now_ns = 0; now_ns < 3000 * MS; now_ns += MS) {
        note_many(ctx, now_ns, MS, 3);
        p99(ctx, now_ns, 200 * MS);
    }
    return NULL;
}

static void threads_need_no_lock(void **state)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, note_and_ask, *state), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(p99(*state, 3000 * MS, 2000 * MS) < 2 * MS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(too_few_say_nothing),
        CASE(estimate_is_right_to_a_quarter_from_microseconds_to_seconds),
        CASE(one_in_a_hundred_is_beyond_it),
        CASE(kinds_are_apart),
        CASE(what_is_older_than_the_window_does_not_count),
        CASE(slices_are_used_again),
        CASE(nobody_wants_to_know),
        CASE(threads_need_no_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
