/* Writing through the queue to a disk that is full or fails. */
#include "tests/unit/storage/append_scene.h"

static void assert_as_before(const struct volume_stat *before)
{
    struct volume_stat now = stat_now();
    struct os_stat dat, idx;
    assert_int_equal(now.dat_bytes, before->dat_bytes);
    assert_int_equal(now.idx_bytes, before->idx_bytes);
    assert_int_equal(now.file_count, before->file_count);
    assert_int_equal(now.live_count, before->live_count);
    assert_int_equal(os_stat(os, "/d/1.dat", &dat), 0);
    assert_int_equal(os_stat(os, "/d/1.idx", &idx), 0);
    assert_int_equal(dat.size, before->dat_bytes);
    assert_int_equal(idx.size, before->idx_bytes);
}

static void full_disk_fails_the_batch_and_leaves_no_trace(void **state)
{
    put(1, 1, "first");
    struct volume_stat before = stat_now();
    for (int which = 1; which <= 2; which++) { /* the records, the rows */
        fault_os_clear(fault);
        fault_os_fail(fault, FAULT_WRITE, (uint64_t)which, ENOSPC, false);
        struct append_request request = put(2, 1, "second");
        assert_int_equal(request.code, KELP_E_NO_SPACE);
        assert_non_null(strstr(request.err.message, which == 1 ? "/d/1.dat" : "/d/1.idx"));
        assert_as_before(&before);
        assert_false(has(2, "second"));
        assert_int_equal(stat_now().read_only, 0);
    }
    fault_os_clear(fault);
    assert_int_equal(put(2, 1, "second").code, 0);
    reopen();
    assert_true(has(1, "first") && has(2, "second"));
}

static void short_writes_are_completed_or_cut(void **state)
{
    put(1, 1, "first");
    struct volume_stat before = stat_now();
    fault_os_clear(fault);
    fault_os_short(fault, FAULT_WRITE, 1, 13, false);
    fault_os_short(fault, FAULT_WRITE, 2, 7, false);
    assert_int_equal(put(2, 1, "second").code, 0);
    assert_true(has(2, "second"));
    before = stat_now();
    fault_os_clear(fault);
    fault_os_short(fault, FAULT_WRITE, 1, 13, false);
    fault_os_fail(fault, FAULT_WRITE, 2, ENOSPC, false);
    assert_int_equal(put(3, 1, "third").code, KELP_E_NO_SPACE);
    assert_as_before(&before);
    fault_os_clear(fault);
    reopen();
    assert_true(has(2, "second"));
}

static void failed_sync_quarantines_and_shows_nothing(void **state)
{
    put(1, 1, "first");
    struct volume_stat before = stat_now();
    struct needle needle = fixture_needle(2, 1, "second", 6);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, KELP_E_IO);
    assert_as_before(&before);
    assert_false(has(2, "second"));
    assert_true(has(1, "first"));
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    fault_os_clear(fault);
    assert_int_equal(put(3, 1, "third").code, KELP_E_READ_ONLY);
    assert_int_equal(fixture_delete(queue, volume, 1, 1).code, KELP_E_READ_ONLY);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(put(3, 1, "third").code, 0);
}

static void failed_cut_quarantines(void **state)
{
    put(1, 1, "first");
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_WRITE, 1, ENOSPC, false);
    fault_os_fail(fault, FAULT_FTRUNCATE, 1, EIO, false);
    assert_int_equal(put(2, 1, "second").code, KELP_E_NO_SPACE);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_true(has(1, "first"));
}

/* The second record of a batch that failed and could not be cut off lies whole behind a later one then,
 * which is as long as the first: a restart must not find it. */
static void assert_stays_failed(unsigned kind, uint64_t nth, const char *text)
{
    struct append_request requests[2];
    struct batch_sink batch;
    struct error err;
    fault_os_clear(fault);
    fault_os_fail(fault, kind, nth, EIO, false);
    fault_os_fail(fault, FAULT_FTRUNCATE, 1, EIO, true);
    submit_batch(&batch, requests, 2, 1, 2, true);
    assert_int_equal(requests[1].code, KELP_E_IO);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_int_equal(volume_mark_writable(volume, &err), KELP_E_IO); /* still no cut */
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    fault_os_clear(fault);
    assert_int_equal(volume_mark_writable(volume, &err), 0);
    assert_int_equal(stat_now().read_only, 0);
    assert_int_equal(put(2, 1, text).code, 0);
    reopen();
    assert_true(has(2, text));
    assert_int_equal(stat_now().live_count, 1);
}

static void failed_writes_do_not_return_after_a_quarantine(void **state)
{
    put(2, 1, "a");
    assert_stays_failed(FAULT_WRITE, 2, "b"); /* that of the rows */
    assert_stays_failed(FAULT_FDATASYNC, 1, "c");
}

static void third_failed_read_in_a_row_quarantines(void **state)
{
    put(1, 1, "first");
    for (int i = 0; i < 2; i++) {
        fault_os_clear(fault);
        fault_os_fail(fault, FAULT_READ, 1, EIO, false);
        assert_false(has(1, "first"));
    }
    fault_os_clear(fault);
    assert_true(has(1, "first")); /* the count begins anew */
    fault_os_fail(fault, FAULT_READ, 1, EIO, true);
    assert_false(has(1, "first"));
    assert_false(has(1, "first"));
    assert_int_equal(stat_now().read_only, 0);
    assert_false(has(1, "first"));
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    fault_os_clear(fault);
    assert_true(has(1, "first"));
}

/* ---- a sync that failed, and the power lost after it ---- */

static void forget_unsynced(void *ctx, int fd) { disk_os_forget_unsynced(ctx, fd); }

static void lose_power_and_reopen(void)
{
    struct error err;
    fault_os_clear(fault);
    disk_os_lose_power(disk, DISK_DROP_ALL, 1);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, &err), 0);
}

static void put_durably(uint64_t key, const char *text)
{
    struct needle needle = fixture_needle(key, 1, text, strlen(text));
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
}

/* The first sync fails and the bytes of a plain put are gone for good. The second would succeed: but where
 * they are missing, nobody finds what comes behind them. */
static void a_batch_promises_nothing_after_a_failed_sync(void **state)
{
    struct append_request requests[2];
    struct batch_sink batch = {.sink = {count_delivery}, .lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};
    fault_os_on_failed_sync(fault, forget_unsynced, disk);
    put_durably(1, "deleted");
    put_durably(2, "the same again");
    assert_int_equal(put(3, 1, "lost").code, 0);
    requests[0] = (struct append_request){
        .next = &requests[1],
        .sink = &batch.sink,
        .volume = volume,
        .kind = APPEND_DELETE,
        .needle = {.key = 1, .cookie = 1},
        .is_durable = true,
    };
    requests[1] = (struct append_request){
        .sink = &batch.sink,
        .volume = volume,
        .needle = fixture_needle(2, 1, "the same again", 14),
        .is_durable = true,
    };
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(append_queue_submit(queue, requests), 0);
    wait_delivered(&batch, 2);
    assert_int_equal(requests[1].code, KELP_E_IO);
    assert_int_equal(requests[0].code, KELP_E_IO);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    lose_power_and_reopen();
    assert_true(has(2, "the same again"));
}

/* Another thread's sync of the same volume, begun when a durable put is about to sync what it has
 * written. */
#define OTHER_SYNC_MS 200 /* where syncs take turns the other one does not end in this time */
struct other_sync {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_begun, is_over;
    int code;
};

static void *sync_volume(void *arg)
{
    struct other_sync *other = arg;
    int code = volume_sync(volume, NULL);
    pthread_mutex_lock(&other->lock);
    other->code = code;
    other->is_over = true;
    pthread_cond_signal(&other->changed);
    pthread_mutex_unlock(&other->lock);
    return NULL;
}

static void begin_other_sync(void *ctx, enum fault_os_call kind, const char *path)
{
    struct other_sync *other = ctx;
    struct timespec until;
    if (kind != FAULT_FDATASYNC || other->has_begun)
        return;
    other->has_begun = true;
    CHECK(pthread_create(&other->thread, NULL, sync_volume, other) == 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += OTHER_SYNC_MS * 1000000l;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&other->lock);
    int rc = 0;
    while (!other->is_over && rc == 0)
        rc = pthread_cond_timedwait(&other->changed, &other->lock, &until);
    pthread_mutex_unlock(&other->lock);
}

/* The kernel tells one of the two that it could not write, and drops what both have waited for. */
static void a_sync_that_fails_for_another_is_believed(void **state)
{
    struct other_sync other = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct needle needle = fixture_needle(1, 1, "durable", 7);
    fault_os_on_failed_sync(fault, forget_unsynced, disk);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FSYNC, 1, EIO, false);
    fault_os_watch(fault, begin_other_sync, &other);
    int code = fixture_put(queue, volume, &needle, true).code;
    assert_true(other.has_begun);
    pthread_join(other.thread, NULL);
    fault_os_watch(fault, NULL, NULL);
    assert_int_equal(other.code, KELP_E_IO);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    lose_power_and_reopen();
    if (code == 0)
        assert_true(has(1, "durable"));
}

static void fail_a_sync(void *ctx, enum fault_os_call kind, const char *path)
{
    bool *has_failed = ctx;
    if (kind == FAULT_WRITE && !*has_failed) {
        *has_failed = true;
        volume_sync(volume, NULL);
    }
}

static void a_sync_that_failed_before_the_write_is_not_followed_by_another(void **state)
{
    bool has_failed = false;
    struct needle needle = fixture_needle(2, 1, "durable", 7);
    assert_int_equal(put(1, 1, "plain").code, 0);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FSYNC, 1, EIO, false);
    fault_os_watch(fault, fail_a_sync, &has_failed);
    int code = fixture_put(queue, volume, &needle, true).code;
    fault_os_watch(fault, NULL, NULL);
    assert_true(has_failed);
    assert_int_equal(code, KELP_E_IO);
    assert_false(has(2, "durable"));
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
    assert_true(has(2, "durable"));
}

static int delete_durably(uint64_t key)
{
    struct append_request request = {
        .volume = volume,
        .kind = APPEND_DELETE,
        .needle = {.key = key, .cookie = 1},
        .is_durable = true,
    };
    return append_queue_wait(queue, &request);
}

/* The last row that is on the disk is of a record that is not: where a start cuts it, a delete that was
 * promised behind it would go too. */
static void what_is_promised_after_it_was_marked_writable_stays(void **state)
{
    struct needle needle = fixture_needle(3, 1, "refused", 7);
    fault_os_on_failed_sync(fault, forget_unsynced, disk);
    put_durably(1, "deleted");
    assert_int_equal(put(2, 1, "plain").code, 0);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, KELP_E_IO);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(delete_durably(1), 0);
    lose_power_and_reopen();
    assert_false(has(1, "deleted"));
    assert_true(has(2, "plain"));
}

/* From a sorted index to one in memory: the files are opened anew, the failure is not forgotten. */
static void a_failed_sync_is_known_when_the_index_has_changed(void **state)
{
    fault_os_on_failed_sync(fault, forget_unsynced, disk);
    for (uint64_t key = 1; key <= 3; key++)
        put_durably(key, "deleted");
    assert_int_equal(volume_mark_read_only(volume, true, true, NULL), 0);
    reopen();
    assert_int_equal(fixture_delete(queue, volume, 2, 1).code, 0);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(delete_durably(3), KELP_E_IO);
    assert_int_equal(volume_mark_read_only(volume, true, true, NULL), 0);
    assert_int_equal(volume_sync(volume, NULL), KELP_E_IO);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(delete_durably(1), 0);
    lose_power_and_reopen();
    assert_false(has(1, "deleted"));
    assert_false(has(2, "deleted"));
    assert_true(has(3, "deleted"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, append_setup, append_teardown)
    const struct CMUnitTest tests[] = {
        T(full_disk_fails_the_batch_and_leaves_no_trace),
        T(short_writes_are_completed_or_cut),
        T(failed_sync_quarantines_and_shows_nothing),
        T(failed_cut_quarantines),
        T(failed_writes_do_not_return_after_a_quarantine),
        T(third_failed_read_in_a_row_quarantines),
        T(a_batch_promises_nothing_after_a_failed_sync),
        T(a_failed_sync_is_known_when_the_index_has_changed),
        T(what_is_promised_after_it_was_marked_writable_stays),
        T(a_sync_that_fails_for_another_is_believed),
        T(a_sync_that_failed_before_the_write_is_not_followed_by_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
