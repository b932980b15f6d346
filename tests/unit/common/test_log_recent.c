/* What the log keeps of warnings and errors. One ring a process: each test begins with what the
 * one before has left. */
#include "tests/unit/cmocka_all.h"

#include "common/log.h"
#include "common/log_recent.h"

#include <stdio.h>
#include <string.h>

static struct log_recent list[LOG_RECENT_MAX];

static void add(enum log_level level, int64_t at_second, const char *text)
{
    log_recent_add(level, at_second, text, strlen(text));
}

static void warnings_of_the_log_are_kept_and_news_are_not(void **state)
{
    log_info("all is well", "%s", "");
    log_warning("disk is low", "free=%d", 7);
    assert_int_equal(log_recent_list(list), 1);
    assert_string_equal(list[0].text, "disk is low free=7");
    assert_int_equal(list[0].level, LOG_WARNING);
    assert_int_equal(list[0].count, 1);
    assert_true(list[0].at_second > 1600000000);
}

static void the_latest_comes_first_and_repeats_count(void **state)
{
    add(LOG_ERROR, 10, "one");
    add(LOG_ERROR, 20, "two");
    add(LOG_ERROR, 30, "two");
    add(LOG_WARNING, 40, "two");
    assert_int_equal(log_recent_list(list), 4);
    assert_int_equal(list[0].at_second, 40);
    assert_string_equal(list[1].text, "two");
    assert_int_equal(list[1].count, 2);
    assert_int_equal(list[1].at_second, 30);
    assert_string_equal(list[2].text, "one");
}

static void only_so_many_are_kept(void **state)
{
    for (unsigned i = 0; i < 3 * LOG_RECENT_MAX; i++) {
        char text[32];
        snprintf(text, sizeof(text), "number %u", i);
        add(LOG_ERROR, i, text);
    }
    assert_int_equal(log_recent_list(list), LOG_RECENT_MAX);
    assert_int_equal(list[0].at_second, 3 * LOG_RECENT_MAX - 1);
    assert_int_equal(list[LOG_RECENT_MAX - 1].at_second, 2 * LOG_RECENT_MAX);
}

static void a_long_one_is_cut_between_characters(void **state)
{
    char text[LOG_RECENT_TEXT + 100];
    memset(text, 'x', sizeof(text));
    /* Its last byte would be the one too many. */
    memcpy(text + LOG_RECENT_TEXT - 3, "\xe2\x82\xac", 3);
    log_recent_add(LOG_ERROR, 1, text, sizeof(text));
    log_recent_list(list);
    assert_int_equal(strlen(list[0].text), LOG_RECENT_TEXT - 3);
    log_recent_add(LOG_ERROR, 2, text, sizeof(text));
    log_recent_list(list);
    assert_int_equal(list[0].count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warnings_of_the_log_are_kept_and_news_are_not),
        cmocka_unit_test(the_latest_comes_first_and_repeats_count),
        cmocka_unit_test(only_so_many_are_kept),
        cmocka_unit_test(a_long_one_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
