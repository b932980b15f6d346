/* HTTP dates. */
#include "tests/unit/cmocka_all.h"

#include "common/http_date.h"

#include <stdio.h>
#include <time.h>

static void formats_and_reads_back(void **state)
{
    static const int64_t rows[] = {0,          1,          951782399,    951782400, 1136214245,
                                   1709251199, 4102444800, 253402300799, -1,        -62135596800};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[HTTP_DATE_SIZE];
        int64_t back = 42;
        http_date_format(rows[i], text);
        assert_true(http_date_parse(slice_cstr(text), &back));
        assert_true(back == rows[i]);
    }
    char text[HTTP_DATE_SIZE];
    http_date_format(1136214245, text);
    assert_string_equal(text, "Mon, 02 Jan 2006 15:04:05 GMT");
}

/* Every day of all years, against the C library. */
static void writes_what_the_calendar_says(void **state)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int64_t t = -62167219200; t < 253402300800; t += 86400 - 1) {
        char text[HTTP_DATE_SIZE], wanted[64];
        struct tm tm;
        time_t when = t;
        assert_non_null(gmtime_r(&when, &tm));
        snprintf(wanted, sizeof(wanted), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
                 months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        http_date_format(t, text);
        assert_string_equal(text, wanted);
    }
}

static void writes_the_epoch_for_other_years(void **state)
{
    static const int64_t rows[] = {-62167219201, 253402300800, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[HTTP_DATE_SIZE];
        http_date_format(rows[i], text);
        assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}

static void takes_no_other_form(void **state)
{
    static const char *const rows[] = {
        "",
        "Monday, 02-Jan-06 15:04:05 GMT",
        "Mon Jan  2 15:04:05 2006",
        "Mon, 2 Jan 2006 15:04:05 GMT ",
        "Mon, 02 Jan 2006 15:04:05 UTC",
        "Mon, 02 Foo 2006 15:04:05 GMT",
        "Xyz, 02 Jan 2006 15:04:05 GMT",
        "Mon, 32 Jan 2006 15:04:05 GMT",
        "Mon, 29 Feb 2005 15:04:05 GMT",
        "Mon, 00 Jan 2006 15:04:05 GMT",
        "Mon, 02 Jan 2006 24:04:05 GMT",
        "Mon, 02 Jan 2006 15:60:05 GMT",
        "Mon, 02 Jan 2006 15:04:60 GMT",
        "Mon, +2 Jan 2006 15:04:05 GMT",
        "Mon, 02 Jan 2006 15:04:05 GMT, or so",
    };
    int64_t seconds = 42;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_false(http_date_parse(slice_cstr(rows[i]), &seconds));
    assert_true(seconds == 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_and_reads_back),
        cmocka_unit_test(writes_what_the_calendar_says),
        cmocka_unit_test(writes_the_epoch_for_other_years),
        cmocka_unit_test(takes_no_other_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
