/* What is built on the os calls, on the real implementation. */
#include "tests/unit/cmocka_all.h"

#include "common/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
    strcpy(directory, "/tmp/kelp_test_os_XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state) { return rmdir(directory); }

static void replaces_a_file_whole(void **state)
{
    char path[128], *data;
    size_t size;
    snprintf(path, sizeof(path), "%s/state", directory);
    assert_int_equal(os_replace_file(os_real(), path, "first", 5, NULL), 0);
    assert_int_equal(os_replace_file(os_real(), path, "2nd", 3, NULL), 0);
    assert_int_equal(os_read_file(os_real(), path, 100, &data, &size, NULL), 0);
    assert_int_equal(size, 3);
    assert_string_equal(data, "2nd");
    free(data);
    struct error err = {0};
    assert_int_equal(os_read_file(os_real(), path, 2, &data, &size, &err), KELP_E_TOO_LARGE);
    unlink(path);
}

static void errors_name_call_path_and_reason(void **state)
{
    char *data;
    size_t size;
    struct error err = {0};
    assert_int_equal(os_read_file(os_real(), "/nonexistent/f", 9, &data, &size, &err), KELP_E_NOT_FOUND);
    assert_string_equal(err.message, "open /nonexistent/f: No such file or directory");
    assert_int_equal(os_replace_file(os_real(), "/nonexistent/f", "x", 1, &err), KELP_E_NOT_FOUND);
}

static void reading_past_the_end_is_told_apart(void **state)
{
    char path[128], bytes[10];
    snprintf(path, sizeof(path), "%s/short", directory);
    assert_int_equal(os_replace_file(os_real(), path, "12345", 5, NULL), 0);
    int fd = os_open(os_real(), path, O_RDONLY, 0);
    struct error err = {0};
    assert_int_equal(os_read_full(os_real(), fd, path, bytes, 10, 0, &err), KELP_E_CORRUPT);
    assert_non_null(strstr(err.message, "ends at 5, 5 bytes short"));
    os_close(os_real(), fd);
    unlink(path);
}

static void a_second_lock_is_refused(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/lock", directory);
    int a = os_open(os_real(), path, O_RDWR | O_CREAT, 0644);
    int b = os_open(os_real(), path, O_RDWR | O_CREAT, 0644);
    assert_int_equal(os_lock(os_real(), a), 0);
    assert_int_equal(os_lock(os_real(), b), -EWOULDBLOCK);
    os_close(os_real(), a);
    assert_int_equal(os_lock(os_real(), b), 0);
    os_close(os_real(), b);
    unlink(path);
}

static void cached_pages_follow_what_was_read_and_dropped(void **state)
{
    enum { COUNT = 8 };
    char path[128];
    static char content[COUNT * OS_PAGE_SIZE];
    uint8_t cached[COUNT];
    snprintf(path, sizeof(path), "%s/pages", directory);
    assert_int_equal(os_replace_file(os_real(), path, content, sizeof(content), NULL), 0);
    int fd = os_open(os_real(), path, O_RDONLY, 0);
    assert_int_equal(os_read_full(os_real(), fd, path, content, sizeof(content), 0, NULL), 0);
    int result = os_cached_pages(os_real(), fd, 0, COUNT, cached);
    if (result == -EOPNOTSUPP) {
        assert_int_not_equal(sysconf(_SC_PAGESIZE), OS_PAGE_SIZE);
    } else {
        assert_int_equal(result, 0);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(cached[i], 1);
        struct statfs fs;
        assert_int_equal(fstatfs(fd, &fs), 0);
        assert_true(os_fadvise(os_real(), fd, 0, sizeof(content), POSIX_FADV_DONTNEED) >= 0);
        assert_int_equal(os_cached_pages(os_real(), fd, OS_PAGE_SIZE, 4, cached), 0);
        bool lives_in_cache = fs.f_type == 0x01021994; /* tmpfs has nowhere else */
        for (int i = 0; i < 4; i++)
            assert_int_equal(cached[i], lives_in_cache);
    }
    os_close(os_real(), fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_a_file_whole),
        cmocka_unit_test(errors_name_call_path_and_reason),
        cmocka_unit_test(reading_past_the_end_is_told_apart),
        cmocka_unit_test(a_second_lock_is_refused),
        cmocka_unit_test(cached_pages_follow_what_was_read_and_dropped),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
