/* What a volume says of itself when something is wrong: damaged records, the cause of a quarantine, the
 * reasons for which it takes no writes. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_checkpoint.h"
#include "volume/storage/volume_inspect.h"
#include "volume/storage/volume_internal.h"
#include "volume/storage/volume_vacuum.h"

#include <stdlib.h>
#include <string.h>

static struct disk_os *disk;
static struct fault_os *fault;
static struct append_queue *queue;
static struct volume *volume;

static int setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    struct volume_place place = {fault_os_get(fault), "/d", NULL, "", 1};
    struct volume_options options = {.offset_bytes = 5};
    assert_int_equal(os_mkdir(place.os, "/d", 0755), 0);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
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

static struct append_request put(uint64_t key, const char *text, bool is_durable)
{
    struct needle needle = fixture_needle(key, 1, text, strlen(text));
    return fixture_put(queue, volume, &needle, is_durable);
}

static struct volume_stat stat_now(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat;
}

/* The blob's record, with a bit of its data flipped; where it lies. */
static uint64_t put_damaged(uint64_t key, const char *text)
{
    struct os *os = disk_os_get(disk);
    uint64_t offset = stat_now().dat_bytes;
    uint8_t byte;
    assert_int_equal(put(key, text, false).code, 0);
    int fd = os_open(os, "/d/1.dat", O_RDWR, 0);
    assert_true(fd >= 0);
    assert_int_equal(os_pread(os, fd, &byte, 1, offset + 20), 1);
    byte ^= 1;
    struct iovec iov = {&byte, 1};
    assert_int_equal(os_write_full(os, fd, "/d/1.dat", &iov, 1, offset + 20, NULL), 0);
    os_close(os, fd);
    return offset;
}

static int read_code(uint64_t key)
{
    struct needle needle;
    void *buf = NULL;
    int code = fixture_get(volume, key, &needle, &buf);
    free(buf);
    return code;
}

static size_t damaged(struct volume_damage list[VOLUME_DAMAGE_MAX])
{
    return volume_damaged(volume, list);
}

static void a_record_that_fails_its_check_is_counted_and_listed(void **state)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    put(1, "one", false);
    uint64_t offset = put_damaged(2, "two");
    assert_int_equal(damaged(list), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(read_code(2), KELP_E_CORRUPT);
    assert_int_equal(read_code(1), 0);
    assert_int_equal(stat_now().damaged_count, 3);
    assert_int_equal(damaged(list), 1);
    assert_int_equal(list[0].key, 2);
    assert_int_equal(list[0].offset, offset);
    assert_non_null(strstr(list[0].reason, "CRC"));
    assert_true(list[0].found_at_ns > 0);
}

static void a_new_put_or_a_delete_of_the_key_ends_it(void **state)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    put_damaged(1, "one");
    put_damaged(2, "two");
    put_damaged(3, "three");
    for (uint64_t key = 1; key <= 3; key++)
        read_code(key);
    assert_int_equal(damaged(list), 3);
    assert_int_equal(put(1, "uno", false).code, 0);
    assert_int_equal(fixture_delete(queue, volume, 2, 1).code, 0);
    assert_int_equal(damaged(list), 1);
    assert_int_equal(list[0].key, 3);
}

static void vacuum(void)
{
    struct error err = {0};
    struct vacuum_options options = {0};
    if (volume_vacuum_compact(volume, &options, &err) != 0 ||
        volume_vacuum_commit(volume, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

static void it_follows_its_record_through_a_vacuum(void **state)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    put(1, "garbage", false);
    put_damaged(2, "two");
    put_damaged(3, "three");
    read_code(2);
    read_code(3);
    fixture_delete(queue, volume, 1, 1);
    put(3, "tres", false);
    vacuum();
    assert_int_equal(damaged(list), 1);
    assert_int_equal(list[0].key, 2);
    assert_int_equal(list[0].offset, 8);
    assert_int_equal(read_code(2), KELP_E_CORRUPT);
    assert_int_equal(damaged(list), 1);
    fixture_delete(queue, volume, 2, 1);
    vacuum();
    assert_int_equal(damaged(list), 0);
}

static void the_latest_are_kept(void **state)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    for (uint64_t key = 1; key <= VOLUME_DAMAGE_MAX + 10; key++) {
        put_damaged(key, "x");
        read_code(key);
    }
    assert_int_equal(damaged(list), VOLUME_DAMAGE_MAX);
    assert_int_equal(list[0].key, 11);
    assert_int_equal(list[VOLUME_DAMAGE_MAX - 1].key, VOLUME_DAMAGE_MAX + 10);
    assert_int_equal(stat_now().damaged_count, VOLUME_DAMAGE_MAX + 10);
}

static void a_verification_lists_what_it_finds(void **state)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    struct volume_verify_options options = {.is_in_use = true};
    struct volume_verify_result result;
    put(1, "one", false);
    put_damaged(2, "two");
    put_damaged(3, "three");
    fixture_delete(queue, volume, 3, 1);
    assert_int_equal(volume_inspect_verify(volume, &options, &result, NULL), 0);
    assert_int_equal(result.problems[VOLUME_PROBLEM_CRC], 2);
    assert_int_equal(damaged(list), 1);
    assert_int_equal(list[0].key, 2);
}

static int count_live(void *ctx, const struct needle *needle)
{
    (*(size_t *)ctx)++;
    return 0;
}

static void a_walk_passes_over_damaged_and_deleted_ones(void **state)
{
    size_t count = 0;
    uint64_t bad = 0;
    put(1, "one", false);
    put_damaged(2, "two");
    put(3, "", false);
    put(4, "four", false);
    fixture_delete(queue, volume, 4, 1);
    assert_int_equal(volume_inspect_live(volume, count_live, &count, &bad, NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(bad, 1);
}

/* ---- quarantine ---- */

static const char *fault_now(void)
{
    static char text[VOLUME_FAULT_MAX];
    volume_fault(volume, text);
    return text;
}

static void a_failed_sync_quarantines_and_says_which(void **state)
{
    assert_string_equal(fault_now(), "");
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(put(1, "one", true).code, KELP_E_IO);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_non_null(strstr(fault_now(), "fdatasync /d/1.dat"));
    assert_int_equal(put(2, "two", false).code, KELP_E_READ_ONLY);
    assert_int_equal(read_code(1), KELP_E_NOT_FOUND);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_string_equal(fault_now(), "");
    assert_int_equal(put(2, "two", true).code, 0);
}

static void a_write_that_cannot_be_cut_off_quarantines(void **state)
{
    fault_os_fail(fault, FAULT_WRITE, 1, ENOSPC, false);
    fault_os_fail(fault, FAULT_FTRUNCATE, 1, EIO, false);
    assert_int_equal(put(1, "one", false).code, KELP_E_NO_SPACE);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_true(fault_now()[0] != '\0');
}

static void a_sync_in_the_background_covers_what_was_written_since(void **state)
{
    assert_int_equal(volume_sync_changes(volume, NULL), 0); /* what its making has left */
    fault_os_clear(fault);
    assert_int_equal(volume_sync_changes(volume, NULL), 0);
    assert_int_equal(fault_os_count(fault, FAULT_FSYNC | FAULT_FDATASYNC), 0);
    put(1, "one", false);
    assert_int_equal(volume_sync_changes(volume, NULL), 0);
    assert_int_equal(fault_os_count(fault, FAULT_FSYNC | FAULT_FDATASYNC), 2); /* .dat, .idx */
    fixture_delete(queue, volume, 1, 1);
    fault_os_fail(fault, FAULT_FSYNC, 2, EIO, false);
    assert_int_equal(volume_sync_changes(volume, NULL), KELP_E_IO);
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_non_null(strstr(fault_now(), "1.idx"));
}

/* ---- reasons ---- */

static void a_full_volume_says_so_and_refuses_early(void **state)
{
    struct error err = {0};
    put(1, "one", false);
    put(2, "two", false);
    assert_int_equal(volume_check_writable(volume, NULL), 0);
    uint64_t end = volume_generation_end(volume->generation);
    atomic_store(&volume->generation->dat_end, index_row_limit(5));
    assert_int_equal(volume_check_writable(volume, &err), KELP_E_TOO_LARGE);
    assert_int_equal(stat_now().read_only, VOLUME_RO_FULL);
    atomic_store(&volume->generation->dat_end, end);
    assert_int_equal(stat_now().read_only, 0);
    assert_int_equal(volume_check_writable(volume, NULL), 0);
}

static void reasons_add_up_and_have_names(void **state)
{
    struct error err = {0};
    volume_set_low_space(volume, true);
    assert_int_equal(volume_mark_read_only(volume, true, false, NULL), 0);
    assert_int_equal(stat_now().read_only, VOLUME_RO_LOW_SPACE | VOLUME_RO_OPERATOR_CAN_DELETE);
    assert_int_equal(volume_check_writable(volume, &err), KELP_E_READ_ONLY);
    assert_non_null(strstr(err.message, "volume 1 is read only"));
    assert_string_equal(volume_read_only_name(2), "low-space");
    assert_string_equal(volume_read_only_name(3), "io-error");
    assert_string_equal(volume_read_only_name(7), "full");
}

static void another_replication_is_kept(void **state)
{
    struct volume_place place = {fault_os_get(fault), "/d", NULL, "", 1};
    struct error err = {0};
    assert_int_equal(volume_set_replication(volume, "1", NULL), 0);
    assert_int_equal(replica_placement_to_byte(volume_replica_placement(volume)), 1);
    assert_int_equal(volume_set_replication(volume, "x", &err), KELP_E_INVALID);
    assert_string_equal(err.message, "unknown replication type: 00x");
    fault_os_fail(fault, FAULT_WRITE | FAULT_RENAME, 1, ENOSPC, false);
    assert_int_not_equal(volume_set_replication(volume, "010", NULL), 0);
    assert_int_equal(replica_placement_to_byte(volume_replica_placement(volume)), 1);
    fault_os_clear(fault);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    assert_int_equal(replica_placement_to_byte(volume_replica_placement(volume)), 1);
    assert_int_equal(volume_set_replication(volume, "", NULL), 0);
    assert_int_equal(replica_placement_to_byte(volume_replica_placement(volume)), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void fail_amid(void *ctx, enum fault_os_call kind, const char *path)
{
    if (kind == FAULT_RENAME)
        volume_quarantine(volume, "amid the mark");
}

/* It has not settled what that failure left. */
static void a_mark_as_writable_clears_no_failure_that_came_meanwhile(void **state)
{
    struct error err = {0};
    assert_int_equal(volume_mark_read_only(volume, false, true, NULL), 0);
    fault_os_watch(fault, fail_amid, NULL);
    assert_int_equal(volume_mark_writable(volume, &err), KELP_E_READ_ONLY);
    fault_os_watch(fault, NULL, NULL);
    assert_non_null(strstr(err.message, "its disk failed"));
    assert_int_equal(stat_now().read_only, VOLUME_RO_IO_ERROR);
    assert_int_equal(volume_mark_writable(volume, NULL), 0);
    assert_int_equal(stat_now().read_only, 0);
}

static bool has_checkpoint(void)
{
    struct os_stat st;
    return os_stat(disk_os_get(disk), "/d/1.kix", &st) >= 0;
}

static void close_now(void)
{
    volume_close(volume);
    fault_os_clear(fault);
    volume = NULL;
}

static void open_again(void)
{
    struct volume_place place = {fault_os_get(fault), "/d", NULL, "", 1};
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
}

/* A second sync succeeds and proves nothing. */
static void no_checkpoint_is_left_after_a_sync_that_failed(void **state)
{
    for (uint64_t key = 1; key <= INDEX_CHECKPOINT_ROWS_MIN; key++)
        assert_int_equal(put(key, "x", false).code, 0);
    fault_os_fail(fault, FAULT_FSYNC, 1, EIO, false);
    close_now();
    assert_false(has_checkpoint());
    open_again();
    fault_os_fail(fault, FAULT_FDATASYNC, 1, EIO, false);
    assert_int_equal(put(1, "y", true).code, KELP_E_IO);
    close_now();
    assert_false(has_checkpoint());
    open_again();
    close_now();
    assert_true(has_checkpoint());
    open_again();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_that_fails_its_check_is_counted_and_listed),
        TEST(a_new_put_or_a_delete_of_the_key_ends_it),
        TEST(it_follows_its_record_through_a_vacuum),
        TEST(the_latest_are_kept),
        TEST(a_verification_lists_what_it_finds),
        TEST(a_walk_passes_over_damaged_and_deleted_ones),
        TEST(a_failed_sync_quarantines_and_says_which),
        TEST(a_write_that_cannot_be_cut_off_quarantines),
        TEST(a_mark_as_writable_clears_no_failure_that_came_meanwhile),
        TEST(no_checkpoint_is_left_after_a_sync_that_failed),
        TEST(a_sync_in_the_background_covers_what_was_written_since),
        TEST(a_full_volume_says_so_and_refuses_early),
        TEST(reasons_add_up_and_have_names),
        TEST(another_replication_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
