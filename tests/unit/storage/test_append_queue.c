/* Writing and deleting through the queue: the rules. */
#include "tests/unit/storage/append_scene.h"

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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, append_setup, append_teardown)
    const struct CMUnitTest tests[] = {
        T(put_reads_back_before_and_after_reopening),
        T(delete_returns_the_size_and_stays_deleted),
        T(counters_are_the_test_vector),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
