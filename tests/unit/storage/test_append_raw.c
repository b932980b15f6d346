/* Whole records as a replica sends them: through the queue, readable, stamped anew, and written once. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_inspect.h"

#include <stdlib.h>
#include <string.h>

static struct disk_os *disk;
static struct fault_os *fault;
static struct append_queue *queue;
static struct volume *source, *volume;
static struct volume_place place;

static struct volume *create(uint32_t id)
{
    struct volume *made;
    struct volume_options options = {.offset_bytes = 5};
    place = (struct volume_place){fault_os_get(fault), "/d", NULL, "", id};
    assert_int_equal(volume_create(&made, &place, &options, NULL), 0);
    return made;
}

static int setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    assert_int_equal(os_mkdir(fault_os_get(fault), "/d", 0755), 0);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    source = create(1);
    volume = create(2);
    return 0;
}

static int teardown(void **state)
{
    fault_os_clear(fault);
    volume_close(source);
    volume_close(volume);
    append_queue_destroy(queue);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

struct raw {
    uint8_t *bytes;
    size_t size;
};

/* The record of this blob as the source has it. */
static struct raw record_of(uint64_t key, uint32_t cookie, const char *text)
{
    struct volume_stat before;
    struct raw raw;
    struct needle needle = fixture_needle(key, cookie, text, strlen(text));
    volume_stat(source, &before);
    struct append_request done = fixture_put(queue, source, &needle, false);
    assert_int_equal(done.code, 0);
    assert_int_equal(volume_inspect_record(source, before.dat_bytes, done.body_size, &raw.bytes,
                                           &raw.size, NULL),
                     0);
    return raw;
}

static struct append_request write_raw(uint64_t key, struct raw raw)
{
    struct append_request request = {
        .volume = volume,
        .kind = APPEND_RAW,
        .needle = {.key = key},
        .record = raw.bytes,
        .record_size = raw.size,
    };
    append_queue_wait(queue, &request);
    return request;
}

static uint64_t dat_bytes(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat.dat_bytes;
}

static void a_record_of_a_replica_reads_back_before_and_after_reopening(void **state)
{
    struct raw raw = record_of(7, 0xabcd, "seven");
    struct append_request done = write_raw(7, raw);
    assert_int_equal(done.code, 0);
    assert_false(done.is_unchanged);
    assert_true(fixture_has(volume, 7, "seven", 5));
    volume_close(volume);
    char *note = NULL;
    assert_int_equal(volume_open(&volume, &place, &note, NULL), 0);
    assert_null(note);
    assert_true(fixture_has(volume, 7, "seven", 5));
    free(raw.bytes);
}

static void its_stamp_is_that_of_the_append(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    struct needle first, second;
    struct needle other = fixture_needle(8, 1, "x", 1);
    struct append_request before = fixture_put(queue, volume, &other, false);
    assert_int_equal(before.code, 0);
    uint64_t offset = dat_bytes();
    assert_int_equal(volume_inspect_meta(volume, 8, before.body_size, &first, NULL), 0);
    struct append_request done = write_raw(7, raw);
    assert_int_equal(done.code, 0);
    assert_int_equal(volume_inspect_meta(volume, offset, done.body_size, &second, NULL), 0);
    assert_true(second.append_at_ns > first.append_at_ns);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    assert_true(stat.last_append_at_ns == second.append_at_ns);
    free(raw.bytes);
}

static void the_same_record_is_written_once(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    assert_int_equal(write_raw(7, raw).code, 0);
    uint64_t end = dat_bytes();
    struct append_request again = write_raw(7, raw);
    assert_int_equal(again.code, 0);
    assert_true(again.is_unchanged);
    assert_int_equal(dat_bytes(), end);
    free(raw.bytes);
}

static void an_empty_record_is_written_once(void **state)
{
    struct raw raw = record_of(7, 1, "");
    assert_int_equal(raw.size, 32);
    assert_int_equal(write_raw(7, raw).code, 0);
    uint64_t end = dat_bytes();
    assert_true(write_raw(7, raw).is_unchanged);
    assert_int_equal(dat_bytes(), end);
    assert_true(fixture_has(volume, 7, "", 0));
    free(raw.bytes);
}

/* As the peer writes it: like a tombstone, but for its row. */
static void an_empty_record_of_a_peer_is_safe_when_it_is_promised_again(void **state)
{
    struct raw raw = record_of(7, 1, "");
    memset(raw.bytes + raw.size - 4, 0, 4);
    assert_int_equal(write_raw(7, raw).code, 0);
    struct append_request again = {
        .volume = volume,
        .kind = APPEND_RAW,
        .needle = {.key = 7},
        .record = raw.bytes,
        .record_size = raw.size,
        .is_durable = true,
    };
    assert_int_equal(append_queue_wait(queue, &again), 0);
    assert_true(again.is_unchanged);
    disk_os_lose_power(disk, DISK_DROP_ALL, 1);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    assert_true(fixture_has(volume, 7, "", 0));
    free(raw.bytes);
}

static void another_cookie_or_other_data_is_written(void **state)
{
    struct raw first = record_of(7, 1, "seven"), cookie = record_of(8, 2, "seven"),
               data = record_of(9, 2, "SEVEN");
    assert_int_equal(write_raw(7, first).code, 0);
    assert_false(write_raw(7, cookie).is_unchanged);
    assert_false(write_raw(7, data).is_unchanged);
    assert_true(fixture_has(volume, 7, "SEVEN", 5));
    free(first.bytes);
    free(cookie.bytes);
    free(data.bytes);
}

/* Else no read would take it for the key's. */
static void it_gets_the_key_that_it_is_listed_under(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    assert_int_equal(write_raw(1000, raw).code, 0);
    assert_true(fixture_has(volume, 1000, "seven", 5));
    free(raw.bytes);
}

static void a_deleted_key_comes_back(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    assert_int_equal(write_raw(7, raw).code, 0);
    assert_int_equal(fixture_delete(queue, volume, 7, 1).code, 0);
    assert_false(write_raw(7, raw).is_unchanged);
    assert_true(fixture_has(volume, 7, "seven", 5));
    free(raw.bytes);
}

static void what_cannot_be_a_record_is_refused(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    uint64_t end = dat_bytes();
    struct raw bad[] = {{raw.bytes, 0}, {raw.bytes, 15}, {raw.bytes, raw.size - 8}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(write_raw(7, bad[i]).code, KELP_E_INVALID);
    raw.bytes[12] = 0xff; /* a negative size */
    assert_int_equal(write_raw(7, raw).code, KELP_E_INVALID);
    assert_int_equal(dat_bytes(), end);
    free(raw.bytes);
}

static void a_read_only_volume_refuses_it(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    assert_int_equal(volume_mark_read_only(volume, true, false, NULL), 0);
    assert_int_equal(write_raw(7, raw).code, KELP_E_READ_ONLY);
    free(raw.bytes);
}

static void a_failed_write_leaves_nothing_of_it(void **state)
{
    struct raw raw = record_of(7, 1, "seven");
    uint64_t end = dat_bytes();
    fault_os_fail(fault, FAULT_WRITE, 1, ENOSPC, false);
    assert_int_equal(write_raw(7, raw).code, KELP_E_NO_SPACE);
    assert_int_equal(dat_bytes(), end);
    assert_false(fixture_has(volume, 7, "seven", 5));
    assert_int_equal(write_raw(7, raw).code, 0);
    assert_true(fixture_has(volume, 7, "seven", 5));
    free(raw.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_of_a_replica_reads_back_before_and_after_reopening),
        TEST(its_stamp_is_that_of_the_append),
        TEST(the_same_record_is_written_once),
        TEST(an_empty_record_is_written_once),
        TEST(an_empty_record_of_a_peer_is_safe_when_it_is_promised_again),
        TEST(another_cookie_or_other_data_is_written),
        TEST(it_gets_the_key_that_it_is_listed_under),
        TEST(a_deleted_key_comes_back),
        TEST(what_cannot_be_a_record_is_refused),
        TEST(a_read_only_volume_refuses_it),
        TEST(a_failed_write_leaves_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
