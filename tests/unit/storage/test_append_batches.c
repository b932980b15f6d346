/* Batches through the queue: how they are written, what they promise, many threads, the end of a volume. */
#include "tests/unit/storage/append_scene.h"

static void batch_is_two_writes_and_one_sync(void **state)
{
    struct append_request requests[400];
    struct batch_sink batch;
    fault_os_clear(fault);
    submit_batch(&batch, requests, 400, 1, 400, true);
    assert_int_equal(fault_os_count(fault, FAULT_WRITE), 2);
    assert_int_equal(fault_os_count(fault, FAULT_FDATASYNC), 1);
    assert_int_equal(batch.calls, 1);
    for (size_t i = 0; i < 400; i++) {
        assert_int_equal(requests[i].code, 0);
        assert_true(fixture_has(volume, i + 1, requests[i].needle.data.ptr, requests[i].needle.data.len));
    }
    reopen();
    assert_int_equal(stat_now().live_count, 400);
}

static void same_key_in_one_batch_keeps_the_order(void **state)
{
    struct append_request requests[50];
    struct batch_sink batch;
    submit_batch(&batch, requests, 50, 1, 5, false);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(requests[i].code, 0);
    for (size_t i = 45; i < 50; i++)
        assert_true(fixture_has(volume, 1 + i % 5, requests[i].needle.data.ptr, requests[i].needle.data.len));
    assert_int_equal(stat_now().live_count, 5);
    assert_int_equal(stat_now().file_count, 50);
}

static void large_batches_are_written_in_parts(void **state)
{
    enum { COUNT = 1300 };
    struct append_request *requests = must(calloc(COUNT, sizeof(*requests)));
    struct batch_sink batch;
    fault_os_clear(fault);
    submit_batch(&batch, requests, COUNT, 1, COUNT, false);
    assert_int_equal(fault_os_count(fault, FAULT_WRITE), 6);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(fixture_has(volume, i + 1, requests[i].needle.data.ptr, requests[i].needle.data.len));
    free(requests);
}

static void durable_answer_survives_a_power_loss(void **state)
{
    struct needle needle = fixture_needle(3, 1, "safe", 4);
    assert_int_equal(put(2, 1, "unsafe").code, 0);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
    assert_int_equal(put(4, 1, "unsafe too").code, 0);
    disk_os_lose_power(disk, DISK_DROP_ALL, 1);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    assert_true(has(3, "safe"));
    assert_true(has(2, "unsafe"));
    assert_false(has(4, "unsafe too"));
    assert_int_equal(put(5, 1, "goes on").code, 0);
}

static void durable_empty_blob_survives_a_power_loss(void **state)
{
    struct needle needle = fixture_needle(3, 1, "", 0);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
    disk_os_lose_power(disk, DISK_DROP_ALL, 1);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    assert_true(has(3, ""));
    needle.key = 4;
    struct volume_stat before = stat_now();
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_FSYNC, 1, EIO, false);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, KELP_E_IO);
    assert_false(has(4, ""));
    assert_int_equal(stat_now().idx_bytes, before.idx_bytes);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
}

static void unchanged_and_durable_is_made_safe(void **state)
{
    struct needle needle = fixture_needle(3, 1, "safe", 4);
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    assert_true(fixture_put(queue, volume, &needle, true).is_unchanged);
    disk_os_lose_power(disk, DISK_DROP_ALL, 1);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    assert_true(has(3, "safe"));
}

/* ---- many threads ---- */

enum { WRITERS = 4, READERS = 2, KEYS = 200, ROUNDS = 10 };
static atomic_bool is_over;
static atomic_uint failures;

/* Each key's blob is its key and a number that only grows: a reader never sees it fall. */
static void *write_some(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg;
    for (uint64_t round = 1; round <= ROUNDS; round++)
        for (uint64_t key = 1 + writer; key <= KEYS; key += WRITERS) {
            uint64_t data[40] = {key, round};
            struct needle needle = fixture_needle(key, (uint32_t)key, data, 16 + round * 8);
            if (fixture_put(queue, volume, &needle, key % 50 == 0).code != 0)
                atomic_fetch_add(&failures, 1);
            if (key % 7 == 0 && round == ROUNDS && fixture_delete(queue, volume, key, (uint32_t)key).code != 0)
                atomic_fetch_add(&failures, 1);
        }
    return NULL;
}

static void *read_some(void *arg)
{
    uint64_t last[KEYS + 1] = {0};
    while (!atomic_load(&is_over))
        for (uint64_t key = 1; key <= KEYS; key++) {
            struct needle needle;
            void *buf;
            int code = fixture_get(volume, key, &needle, &buf);
            if (code == KELP_E_NOT_FOUND || code == KELP_E_DELETED)
                continue;
            uint64_t data[2] = {0};
            if (code == 0) {
                memcpy(data, needle.data.ptr, sizeof(data));
                free(buf);
            }
            if (code != 0 || data[0] != key || data[1] < last[key])
                atomic_fetch_add(&failures, 1);
            last[key] = data[1];
        }
    return NULL;
}

static void readers_and_writers_never_meet_half_a_blob(void **state)
{
    pthread_t writers[WRITERS], readers[READERS];
    atomic_store(&is_over, false);
    atomic_store(&failures, 0);
    for (size_t i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, read_some, NULL);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_create(&writers[i], NULL, write_some, (void *)(uintptr_t)i);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(stat_now().live_count, KEYS - KEYS / 7);
    reopen();
    assert_int_equal(stat_now().live_count, KEYS - KEYS / 7);
}

static void closing_waits_for_what_is_queued(void **state)
{
    static struct append_request requests[300];
    struct batch_sink batch = {.sink = {count_delivery}, .lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < 300; i++)
        requests[i] = (struct append_request){
            .next = i + 1 < 300 ? &requests[i + 1] : NULL,
            .sink = &batch.sink,
            .volume = volume,
            .needle = fixture_needle(i + 1, 1, "x", 1),
        };
    assert_int_equal(append_queue_submit(queue, requests), 0);
    reopen();
    assert_int_equal(stat_now().live_count, 300);
    wait_delivered(&batch, 300);
}

static void reader_outlives_the_volume(void **state)
{
    put(1, 1, "still here");
    struct volume_read read;
    struct needle needle;
    assert_int_equal(volume_read_begin(volume, 1, false, &read, NULL), 0);
    reopen();
    void *buf = malloc(read.record_size);
    assert_int_equal(volume_read_record(&read, buf, false, &needle, NULL), 0);
    assert_true(slice_equals(needle.data, SLICE("still here")));
    volume_read_end(&read);
    free(buf);
}

static void creating_over_existing_files_is_refused(void **state)
{
    struct volume_options options = {.offset_bytes = 5};
    struct volume *second;
    struct error err;
    put(1, 1, "precious");
    assert_int_equal(volume_create(&second, &place, &options, &err), KELP_E_EXISTS);
    fault_os_clear(fault);
    fault_os_fail(fault, FAULT_STAT, 1, EIO, true);
    place.id = 1;
    assert_int_not_equal(volume_create(&second, &place, &options, &err), 0);
    fault_os_clear(fault);
    assert_true(has(1, "precious"));
}

static void failed_creation_leaves_no_files(void **state)
{
    struct volume_options options = {.offset_bytes = 5};
    struct volume_place third = {os, "/d", NULL, "photos", 3};
    struct volume *created;
    struct os_stat st;
    for (uint64_t nth = 1;; nth++) {
        fault_os_clear(fault);
        fault_os_fail(fault, FAULT_WRITE | FAULT_FSYNC | FAULT_RENAME | FAULT_OPEN, nth, ENOSPC, false);
        int code = volume_create(&created, &third, &options, NULL);
        bool has_struck = fault_os_strikes(fault) > 0;
        fault_os_clear(fault);
        if (code == 0) {
            assert_false(has_struck);
            volume_close(created);
            break;
        }
        assert_int_equal(os_stat(os, "/d/photos_3.dat", &st), -ENOENT);
        assert_int_equal(os_stat(os, "/d/photos_3.idx", &st), -ENOENT);
        assert_int_equal(os_stat(os, "/d/photos_3.vif", &st), -ENOENT);
    }
    assert_int_equal(volume_open(&created, &third, NULL, NULL), 0);
    assert_int_equal(volume_delete_files(created, NULL), 0);
    assert_int_equal(os_stat(os, "/d/photos_3.dat", &st), -ENOENT);
    assert_int_equal(os_stat(os, "/d/photos_3.vif", &st), -ENOENT);
}

/* Which has no record that it could be made again from. */
static void a_durable_delete_without_a_record_syncs_its_row(void **state)
{
    assert_int_equal(put(1, 1, "one").code, 0);
    atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_TIERED);
    struct append_request request = {.kind = APPEND_DELETE,
                                     .volume = volume,
                                     .needle = {.key = 1, .cookie = 1},
                                     .is_durable = true};
    fault_os_clear(fault);
    assert_int_equal(append_queue_wait(queue, &request), 0);
    assert_int_equal(fault_os_count(fault, FAULT_FSYNC), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, append_setup, append_teardown)
    const struct CMUnitTest tests[] = {
        T(a_durable_delete_without_a_record_syncs_its_row),
        T(batch_is_two_writes_and_one_sync),
        T(same_key_in_one_batch_keeps_the_order),
        T(large_batches_are_written_in_parts),
        T(durable_answer_survives_a_power_loss),
        T(durable_empty_blob_survives_a_power_loss),
        T(unchanged_and_durable_is_made_safe),
        T(readers_and_writers_never_meet_half_a_blob),
        T(closing_waits_for_what_is_queued),
        T(reader_outlives_the_volume),
        T(creating_over_existing_files_is_refused),
        T(failed_creation_leaves_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
