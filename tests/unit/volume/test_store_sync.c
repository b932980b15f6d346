/* The durability of a whole server: what is synced, when, and what a failure does. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/volume_fixture.h"
#include "tests/unit/volume/store_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SYNCS (FAULT_FSYNC | FAULT_FDATASYNC)

/* Syncs of a .dat, seen by the watch. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void before_call(void *ctx, enum fault_os_call kind, const char *path)
{
    if (!(kind & SYNCS))
        return;
    pthread_mutex_lock(&seen.lock);
    seen.count++;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static size_t seen_now(void)
{
    pthread_mutex_lock(&seen.lock);
    size_t count = seen.count;
    pthread_mutex_unlock(&seen.lock);
    return count;
}

static void wait_seen(size_t count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int rc = 0;
    pthread_mutex_lock(&seen.lock);
    while (seen.count < count && rc == 0)
        rc = pthread_cond_timedwait(&seen.changed, &seen.lock, &until);
    size_t got = seen.count;
    pthread_mutex_unlock(&seen.lock);
    if (got < count)
        fail_msg("%zu syncs within 20 s, %zu expected", got, count);
}

static struct store_fixture *start(enum store_durability durability)
{
    struct store_fixture *f = calloc(1, sizeof(*f));
    store_fixture_init(f, 2);
    f->config.durability = durability;
    f->config.sync_interval_ms = 5;
    seen.count = 0;
    fault_os_watch(f->fault, before_call, NULL);
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    fault_os_clear(f->fault);
    return f;
}

static void end(struct store_fixture *f)
{
    store_fixture_fini(f);
    free(f);
}

static struct append_request delete_key(struct store_fixture *f, uint64_t key)
{
    struct volume *volume = store_acquire(f->store, 3);
    struct append_request done =
        fixture_delete(store_append_queue(f->store, volume), volume, key, 1);
    store_release(f->store, volume);
    return done;
}

static void none_syncs_nothing_that_did_not_ask(void **state)
{
    struct store_fixture *f = start(STORE_DURABILITY_NONE);
    size_t before = seen_now();
    store_fixture_put(f->store, 3, 1, 1, "one");
    assert_int_equal(delete_key(f, 1).code, 0);
    assert_int_equal(seen_now(), before);
    end(f);
}

static void always_syncs_every_put_and_delete(void **state)
{
    struct store_fixture *f = start(STORE_DURABILITY_ALWAYS);
    size_t before = seen_now();
    store_fixture_put(f->store, 3, 1, 1, "one");
    assert_true(seen_now() > before);
    before = seen_now();
    assert_int_equal(delete_key(f, 1).code, 0);
    assert_true(seen_now() > before);
    end(f);
}

static void always_acknowledges_nothing_whose_sync_failed(void **state)
{
    struct store_fixture *f = start(STORE_DURABILITY_ALWAYS);
    store_fixture_put(f->store, 3, 1, 1, "one");
    fault_os_fail(f->fault, SYNCS, 1, EIO, false);
    assert_int_equal(delete_key(f, 1).code, KELP_E_IO);
    assert_int_equal(store_fixture_read(f->store, 3, 1, "one"), 0);
    end(f);
}

static void interval_syncs_what_was_written_and_then_rests(void **state)
{
    struct store_fixture *f = start(STORE_DURABILITY_INTERVAL);
    size_t before = seen_now();
    store_fixture_put(f->store, 3, 1, 1, "one");
    wait_seen(before + 2); /* .dat and .idx */
    before = seen_now();
    assert_int_equal(delete_key(f, 1).code, 0);
    wait_seen(before + 2);
    end(f);
}

static void interval_quarantines_when_a_sync_fails(void **state)
{
    struct store_fixture *f = start(STORE_DURABILITY_INTERVAL);
    struct volume *volume = store_acquire(f->store, 3);
    assert_int_equal(volume_sync_changes(volume, NULL), 0); /* nothing is left of its making */
    fault_os_fail(f->fault, SYNCS, 1, EIO, true);
    store_fixture_put(f->store, 3, 1, 1, "one");
    struct volume_stat stat = {0};
    struct timespec pause = {0, 1000000};
    for (int i = 0; i < 20000 && stat.read_only == 0; i++) {
        volume_stat(volume, &stat);
        nanosleep(&pause, NULL);
    }
    assert_int_equal(stat.read_only, VOLUME_RO_IO_ERROR);
    char why[VOLUME_FAULT_MAX];
    volume_fault(volume, why);
    assert_non_null(strstr(why, "3.dat"));
    store_release(f->store, volume);
    fault_os_clear(f->fault);
    end(f);
}

static void its_names_are_these(void **state)
{
    enum store_durability durability = STORE_DURABILITY_NONE;
    struct error err;
    assert_int_equal(store_durability_parse("always", &durability, &err), 0);
    assert_int_equal(durability, STORE_DURABILITY_ALWAYS);
    assert_int_equal(store_durability_parse("interval", &durability, &err), 0);
    assert_int_equal(durability, STORE_DURABILITY_INTERVAL);
    assert_int_equal(store_durability_parse("none", &durability, &err), 0);
    assert_int_equal(durability, STORE_DURABILITY_NONE);
    assert_int_equal(store_durability_parse("fsync", &durability, &err), KELP_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_syncs_nothing_that_did_not_ask),
        cmocka_unit_test(always_syncs_every_put_and_delete),
        cmocka_unit_test(always_acknowledges_nothing_whose_sync_failed),
        cmocka_unit_test(interval_syncs_what_was_written_and_then_rests),
        cmocka_unit_test(interval_quarantines_when_a_sync_fails),
        cmocka_unit_test(its_names_are_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
