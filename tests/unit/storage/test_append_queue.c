/* Writing and deleting through the queue: rules, durability, faults, many threads. */
#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct fault_os *fault;
static struct os *os;
static struct append_queue *queue;
static struct volume *volume;
static struct volume_place place;

static void create_volume(uint32_t id, struct ttl ttl, struct volume **ret)
{
    struct volume_options options = {.ttl = ttl, .offset_bytes = 5};
    place = (struct volume_place){os, "/d", NULL, "", id};
    assert_int_equal(volume_create(ret, &place, &options, NULL), 0);
}

static int setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    create_volume(1, (struct ttl){0}, &volume);
    return 0;
}

static int teardown(void **state)
{
    fault_os_clear(fault);
    volume_close(volume);
    append_queue_destroy(queue);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

static struct append_request put(uint64_t key, uint32_t cookie, const char *text)
{
    struct needle needle = fixture_needle(key, cookie, text, strlen(text));
    return fixture_put(queue, volume, &needle, false);
}

static bool has(uint64_t key, const char *text)
{
    return fixture_has(volume, key, text, strlen(text));
}

static struct volume_stat stat_now(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat;
}

static void reopen(void)
{
    volume_close(volume);
    char *note = NULL;
    assert_int_equal(volume_open(&volume, &place, &note, NULL), 0);
    assert_null(note);
}

static void put_reads_back_before_and_after_reopening(void **state)
{
    struct append_request request = put(7, 0xabcd, "seven");
    assert_int_equal(request.code, 0);
    assert_int_equal(request.body_size, 4 + 5 + 1 + 1 + 1 + 5);
    assert_true(has(7, "seven"));
    reopen();
    assert_true(has(7, "seven"));
    struct needle needle;
    void *buf;
    assert_int_equal(fixture_get(volume, 7, &needle, &buf), 0);
    assert_int_equal(needle.cookie, 0xabcd);
    assert_int_equal(needle.last_modified, 1700000000);
    free(buf);
    assert_int_equal(fixture_get(volume, 8, &needle, &buf), KELP_E_NOT_FOUND);
}

static void delete_returns_the_size_and_stays_deleted(void **state)
{
    struct needle needle;
    void *buf;
    int32_t size = put(7, 1, "seven").body_size;
    uint64_t before = stat_now().dat_bytes;
    assert_int_equal(fixture_delete(queue, volume, 7, 1).body_size, size);
    assert_int_equal(stat_now().dat_bytes, before + 32);
    assert_int_equal(fixture_get(volume, 7, &needle, &buf), KELP_E_DELETED);
    assert_int_equal(fixture_delete(queue, volume, 7, 1).body_size, 0);
    assert_int_equal(fixture_delete(queue, volume, 99, 1).body_size, 0);
    assert_int_equal(stat_now().dat_bytes, before + 32);
    assert_int_equal(stat_now().live_count, 0);
    reopen();
    assert_int_equal(fixture_get(volume, 7, &needle, &buf), KELP_E_DELETED);
    struct volume_read read;
    assert_int_equal(volume_read_begin(volume, 7, true, &read, NULL), 0);
    buf = malloc(read.record_size);
    assert_int_equal(volume_read_record(&read, buf, false, &needle, NULL), 0);
    assert_true(slice_equals(needle.data, SLICE("seven")));
    free(buf);
    volume_read_end(&read);
}

static void counters_are_the_test_vector(void **state)
{
    struct needle needle = fixture_needle(1, 0x637037d6, "hello", 5);
    needle.name = SLICE("a.txt");
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    assert_int_equal(fixture_delete(queue, volume, 1, 0x637037d6).code, 0);
    for (int i = 0; i < 2; i++) {
        struct volume_stat stat = stat_now();
        assert_int_equal(stat.file_count, 1);
        assert_int_equal(stat.file_bytes, 22);
        assert_int_equal(stat.deletion_count, 1);
        assert_int_equal(stat.deletion_bytes, 22);
        assert_true(stat.garbage_ratio == 1.0);
        assert_int_equal(stat.dat_bytes, 8 + 56 + 32);
        assert_int_equal(stat.live_record_bytes, 0);
        reopen();
    }
}

static void empty_needle_is_live_and_reads_as_nothing(void **state)
{
    assert_int_equal(put(5, 9, "").code, 0);
    assert_true(has(5, ""));
    assert_int_equal(stat_now().live_count, 1);
    assert_int_equal(stat_now().live_record_bytes, 32);
    reopen();
    assert_true(has(5, ""));
    struct volume_read read;
    assert_int_equal(volume_read_begin(volume, 5, false, &read, NULL), 0);
    assert_int_equal(read.record_size, 0);
    volume_read_end(&read);
}

static void same_blob_again_is_not_written(void **state)
{
    put(1, 5, "same");
    uint64_t before = stat_now().dat_bytes;
    struct append_request again = put(1, 5, "same");
    assert_int_equal(again.code, 0);
    assert_true(again.is_unchanged);
    assert_int_equal(stat_now().dat_bytes, before);
    assert_false(put(1, 5, "Same").is_unchanged);
    assert_false(put(1, 5, "longer").is_unchanged);
    assert_true(has(1, "longer"));
    fixture_delete(queue, volume, 1, 5);
    assert_false(put(1, 5, "longer").is_unchanged);
    assert_true(has(1, "longer"));
}

static void damaged_blob_is_written_again(void **state)
{
    put(1, 5, "damage me");
    int fd = os_open(os, "/d/1.dat", O_RDWR, 0);
    struct iovec iov = {"X", 1};
    assert_int_equal(os_pwritev(os, fd, &iov, 1, 8 + 21), 1);
    os_close(os, fd);
    assert_false(has(1, "damage me"));
    assert_int_equal(stat_now().damaged_count, 1);
    assert_false(put(1, 5, "damage me").is_unchanged);
    assert_true(has(1, "damage me"));
}

static void wrong_cookie_changes_nothing(void **state)
{
    put(1, 5, "mine");
    uint64_t before = stat_now().dat_bytes;
    struct append_request request = put(1, 6, "theirs");
    assert_int_equal(request.code, KELP_E_COOKIE);
    assert_int_equal(stat_now().dat_bytes, before);
    fixture_delete(queue, volume, 1, 5);
    assert_int_equal(put(1, 6, "theirs").code, KELP_E_COOKIE);
    assert_int_equal(put(1, 5, "mine again").code, 0);
}

static void cookie_zero_is_adopted_only_without_the_check(void **state)
{
    put(1, 5, "mine");
    struct needle needle = fixture_needle(1, 0, "new", 3);
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, KELP_E_COOKIE);
    struct append_request request = {
        .volume = volume, .kind = APPEND_PUT, .needle = needle, .check_cookie = false};
    assert_int_equal(append_queue_wait(queue, &request), 0);
    void *buf;
    assert_int_equal(fixture_get(volume, 1, &needle, &buf), 0);
    assert_int_equal(needle.cookie, 5);
    free(buf);
}

static void volume_ttl_is_inherited_and_ends(void **state)
{
    struct volume *aged;
    create_volume(2, (struct ttl){3, 1}, &aged);
    struct needle needle = fixture_needle(1, 1, "short lived", 11), read;
    void *buf;
    assert_int_equal(fixture_put(queue, aged, &needle, false).code, 0);
    assert_false(fixture_put(queue, aged, &needle, false).is_unchanged); /* its time begins anew */
    assert_int_equal(fixture_get(aged, 1, &read, &buf), 0);
    assert_int_equal(read.ttl.count, 3);
    assert_true(read.flags & NEEDLE_HAS_TTL);
    free(buf);
    fault_os_advance(fault, 181ll * 1000000000);
    assert_int_equal(fixture_get(aged, 1, &read, &buf), KELP_E_NOT_FOUND);
    volume_close(aged);
}

static void expired_blob_is_written_again(void **state)
{
    struct needle needle = fixture_needle(1, 1, "x", 1);
    needle.flags |= NEEDLE_HAS_TTL;
    needle.ttl = (struct ttl){1, 1};
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    assert_true(fixture_put(queue, volume, &needle, false).is_unchanged);
    fault_os_advance(fault, 61ll * 1000000000);
    assert_false(has(1, "x"));
    assert_false(fixture_put(queue, volume, &needle, false).is_unchanged);
    assert_true(has(1, "x"));
}

static void stamps_rise_even_when_the_clock_falls(void **state)
{
    put(1, 1, "a");
    uint64_t first = stat_now().last_append_at_ns;
    fault_os_advance(fault, -3600ll * 1000000000);
    put(2, 1, "b");
    assert_int_equal(stat_now().last_append_at_ns, first + 1);
    reopen();
    put(3, 1, "c");
    assert_int_equal(stat_now().last_append_at_ns, first + 2);
}

static void read_only_bits_stop_what_they_should(void **state)
{
    put(1, 1, "a");
    put(2, 1, "b");
    volume_set_low_space(volume, true);
    assert_int_equal(put(3, 1, "c").code, KELP_E_READ_ONLY);
    assert_int_equal(fixture_delete(queue, volume, 1, 1).code, 0);
    volume_set_low_space(volume, false);
    assert_int_equal(volume_mark_read_only(volume, false, true, NULL), 0);
    struct append_request request = fixture_delete(queue, volume, 2, 1);
    assert_int_equal(request.code, KELP_E_READ_ONLY);
    assert_non_null(strstr(request.err.message, "operator"));
    reopen();
    assert_int_equal(stat_now().read_only, VOLUME_RO_OPERATOR);
    assert_int_equal(volume_mark_read_only(volume, true, true, NULL), 0);
    reopen();
    assert_int_equal(stat_now().read_only, VOLUME_RO_OPERATOR_CAN_DELETE);
    assert_int_equal(fixture_delete(queue, volume, 2, 1).code, 0);
    assert_int_equal(put(3, 1, "c").code, KELP_E_READ_ONLY);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(put(3, 1, "c").code, 0);
    reopen();
    assert_int_equal(stat_now().read_only, 0);
}

static void oversized_parts_are_refused_alone(void **state)
{
    static char pairs[70000];
    struct needle needle = fixture_needle(1, 1, "x", 1);
    needle.flags |= NEEDLE_HAS_PAIRS;
    needle.pairs = slice_of(pairs, sizeof(pairs));
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, KELP_E_INVALID);
    assert_int_equal(stat_now().dat_bytes, 8);
    needle.pairs.len = 65535;
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    assert_true(has(1, "x"));
}

/* ---- batches ---- */

struct batch_sink {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t delivered, calls;
};

static void count_delivery(struct append_sink *sink, struct append_request *list)
{
    struct batch_sink *batch = (struct batch_sink *)sink;
    pthread_mutex_lock(&batch->lock);
    for (; list; list = list->next)
        batch->delivered++;
    batch->calls++;
    pthread_cond_signal(&batch->changed);
    pthread_mutex_unlock(&batch->lock);
}

static void wait_delivered(struct batch_sink *batch, size_t count)
{
    pthread_mutex_lock(&batch->lock);
    while (batch->delivered < count)
        pthread_cond_wait(&batch->changed, &batch->lock);
    pthread_mutex_unlock(&batch->lock);
}

/* `count` puts of keys first.., in one list; results stay in the array. */
static void submit_batch(struct batch_sink *batch, struct append_request *requests, size_t count,
                         uint64_t first, size_t distinct, bool is_durable)
{
    static char data[1024];
    memset(data, 'd', sizeof(data));
    *batch = (struct batch_sink){.sink = {count_delivery}, .lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < count; i++)
        requests[i] = (struct append_request){
            .next = i + 1 < count ? &requests[i + 1] : NULL,
            .sink = &batch->sink,
            .volume = volume,
            .needle = fixture_needle(first + i % distinct, 1, data, 1 + (i * 37) % sizeof(data)),
            .check_cookie = true,
            .is_durable = is_durable && i == count / 2,
        };
    assert_int_equal(append_queue_submit(queue, requests), 0);
    wait_delivered(batch, count);
}

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

/* ---- faults ---- */

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
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(put_reads_back_before_and_after_reopening),
        T(delete_returns_the_size_and_stays_deleted),
        T(counters_are_the_test_vector),
        T(a_durable_delete_without_a_record_syncs_its_row),
        T(empty_needle_is_live_and_reads_as_nothing),
        T(same_blob_again_is_not_written),
        T(damaged_blob_is_written_again),
        T(wrong_cookie_changes_nothing),
        T(cookie_zero_is_adopted_only_without_the_check),
        T(volume_ttl_is_inherited_and_ends),
        T(expired_blob_is_written_again),
        T(stamps_rise_even_when_the_clock_falls),
        T(read_only_bits_stop_what_they_should),
        T(oversized_parts_are_refused_alone),
        T(batch_is_two_writes_and_one_sync),
        T(same_key_in_one_batch_keeps_the_order),
        T(large_batches_are_written_in_parts),
        T(durable_answer_survives_a_power_loss),
        T(durable_empty_blob_survives_a_power_loss),
        T(unchanged_and_durable_is_made_safe),
        T(full_disk_fails_the_batch_and_leaves_no_trace),
        T(short_writes_are_completed_or_cut),
        T(failed_sync_quarantines_and_shows_nothing),
        T(failed_cut_quarantines),
        T(failed_writes_do_not_return_after_a_quarantine),
        T(third_failed_read_in_a_row_quarantines),
        T(readers_and_writers_never_meet_half_a_blob),
        T(closing_waits_for_what_is_queued),
        T(reader_outlives_the_volume),
        T(creating_over_existing_files_is_refused),
        T(failed_creation_leaves_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
