/* The log of repairs: lines with a time, a bound, no half line whatever fails. */
#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/repair_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOG "/d/photos_3.repair.log"

static struct disk_os *disk;
static struct fault_os *fault;
static struct os *os;
static struct os_ops fixed_ops;
static int64_t now_ns;

static int64_t fixed_now(struct os *unused) { return now_ns; }

static int setup(void **state)
{
    disk_os_create(&disk, 1 << 24);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    return os_mkdir(os, "/d", 0755);
}

static int teardown(void **state)
{
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

static char *content(size_t *ret_size) { return fixture_read_file(os, LOG, ret_size); }

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void a_line_has_the_time_of_the_os(void **state)
{
    struct os *plain = disk_os_get(disk);
    fixed_ops = *plain->ops;
    fixed_ops.now_ns = fixed_now;
    struct table {
        int64_t second;
        const char *text, *line;
    };
    static const struct table table[] = {
        {0, "tail: 3 records added", "1970-01-01T00:00:00Z tail: 3 records added\n"},
        {1795258691, "two\nlines\tof it", "2026-11-21T10:58:11Z two lines of it\n"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        /* The simulated disk finds itself by its os, so the time is set on a copy of its table. */
        const struct os_ops *kept = plain->ops;
        now_ns = table[i].second * 1000000000 + 999999999;
        plain->ops = &fixed_ops;
        assert_int_equal(repair_log_add(plain, LOG, table[i].text, NULL), 0);
        plain->ops = kept;
        char *text = content(NULL);
        assert_string_equal(text + strlen(text) - strlen(table[i].line), table[i].line);
        assert_int_equal(count_lines(text), i + 1);
        free(text);
    }
}

static void the_same_again_is_told_once(void **state)
{
    static const char *const texts[] = {"a", "a", "a", "b", "a", "a b", "a b"};
    static const size_t lines[] = {1, 1, 1, 2, 3, 4, 4};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(repair_log_add(os, LOG, texts[i], NULL), 0);
        char *text = content(NULL);
        assert_int_equal(count_lines(text), lines[i]);
        free(text);
    }
}

static void the_oldest_lines_go(void **state)
{
    char text[200];
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "repair %d %0120d", i, i);
        assert_int_equal(repair_log_add(os, LOG, text, NULL), 0);
    }
    size_t size;
    char *log = content(&size);
    assert_true(size <= REPAIR_LOG_MAX && size > REPAIR_LOG_MAX - 200);
    assert_memory_equal(log + 4, "-", 1); /* begins with a whole line */
    assert_null(strstr(log, "repair 0 "));
    assert_non_null(strstr(log, "repair 999 "));
    free(log);
    /* A text without end is cut. */
    char *giant = must(malloc(1 << 20));
    memset(giant, 'x', (1 << 20) - 1);
    giant[(1 << 20) - 1] = '\0';
    assert_int_equal(repair_log_add(os, LOG, giant, NULL), 0);
    free(giant);
    log = content(&size);
    assert_true(size <= REPAIR_LOG_MAX);
    assert_non_null(strstr(log, "repair 999 "));
    free(log);
}

static void what_is_no_log_is_begun_anew_or_gone_on_with(void **state)
{
    fixture_write_file(os, LOG, "no line end", 11);
    assert_int_equal(repair_log_add(os, LOG, "one", NULL), 0);
    char *text = content(NULL);
    assert_memory_equal(text, "no line end\n", 12);
    assert_int_equal(count_lines(text), 2);
    free(text);
    char *giant = must(calloc(1, REPAIR_LOG_MAX + 1));
    fixture_write_file(os, LOG, giant, REPAIR_LOG_MAX + 1);
    free(giant);
    assert_int_equal(repair_log_add(os, LOG, "two", NULL), 0);
    text = content(NULL);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "Z two\n"));
    free(text);
}

static void a_failed_write_keeps_the_old_log(void **state)
{
    assert_int_equal(repair_log_add(os, LOG, "one", NULL), 0);
    bool has_struck = true;
    for (uint64_t nth = 1; has_struck; nth++) {
        fault_os_clear(fault);
        fault_os_fail(fault, FAULT_ANY & ~(unsigned)FAULT_CLOSE, nth, EIO, true);
        struct error err;
        int code = repair_log_add(os, LOG, "two", &err);
        has_struck = fault_os_strikes(fault) > 0;
        fault_os_clear(fault);
        assert_true(has_struck || code == 0);
        char *text = content(NULL);
        size_t lines = count_lines(text);
        assert_true(lines == 1 || lines == 2);
        assert_int_equal(text[strlen(text) - 1], '\n');
        free(text);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_line_has_the_time_of_the_os),
        T(the_same_again_is_told_once),
        T(the_oldest_lines_go),
        T(what_is_no_log_is_begun_anew_or_gone_on_with),
        T(a_failed_write_keeps_the_old_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
