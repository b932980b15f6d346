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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
