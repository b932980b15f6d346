/* Range headers, by the table of the released peer. */
#include "tests/unit/common/arena_case.h"

#include "common/http_range.h"

#include <stdio.h>

static void decides_by_the_table(void **state)
{
    static const struct {
        const char *header;
        uint64_t size;
        enum http_range_outcome outcome;
        const char *ranges;
    } rows[] = {
        {"", 10, HTTP_RANGE_NONE, ""},
        {"bytes=1-3", 10, HTTP_RANGE_SINGLE, "1+3"},
        {"bytes=0-", 10, HTTP_RANGE_SINGLE, "0+10"},
        {"bytes=5-99", 10, HTTP_RANGE_SINGLE, "5+5"},
        {"bytes=-3", 10, HTTP_RANGE_SINGLE, "7+3"},
        {"bytes=-30", 10, HTTP_RANGE_SINGLE, "0+10"},
        {"bytes=-0", 10, HTTP_RANGE_SINGLE, "10+0"},
        {"bytes=+1-2", 10, HTTP_RANGE_SINGLE, "1+2"},
        {"bytes= 1 - 2 ", 10, HTTP_RANGE_SINGLE, "1+2"},
        {"bytes=0-1,20-", 10, HTTP_RANGE_SINGLE, "0+2"},
        {"bytes=0-1,20-zz", 10, HTTP_RANGE_SINGLE, "0+2"},
        {"bytes=0-1,3-4", 10, HTTP_RANGE_MULTIPLE, "0+2 3+2"},
        {"bytes=5-6, ,0-1", 10, HTTP_RANGE_MULTIPLE, "5+2 0+2"},
        {"bytes=0-5,4-9", 10, HTTP_RANGE_EMPTY, NULL},
        {"bytes=", 10, HTTP_RANGE_EMPTY, ""},
        {"bytes=,,", 10, HTTP_RANGE_EMPTY, ""},
        {"bytes=10-", 10, HTTP_RANGE_NO_OVERLAP, ""},
        {"bytes=11-5,99-", 10, HTTP_RANGE_NO_OVERLAP, ""},
        {"bytes=0-", 0, HTTP_RANGE_NO_OVERLAP, ""},
        {"bytes=-5", 0, HTTP_RANGE_SINGLE, "0+0"},
        {"bytes=5-4", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=99-,5", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=a-b", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=-", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=--1", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=1-2-3", 10, HTTP_RANGE_INVALID, ""},
        {"bytes=0-99999999999999999999", 10, HTTP_RANGE_INVALID, ""},
        {"Bytes=0-1", 10, HTTP_RANGE_INVALID, ""},
        {"items=0-1", 10, HTTP_RANGE_INVALID, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_range_set set;
        char text[64] = "";
        http_range_parse(&arena, slice_cstr(rows[i].header), rows[i].size, &set);
        if (set.outcome != rows[i].outcome)
            fail_msg("%s: outcome %d", rows[i].header, (int)set.outcome);
        for (size_t k = 0; k < set.count; k++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d+%d", k ? " " : "",
                     (int)set.ranges[k].start, (int)set.ranges[k].length);
        if (rows[i].ranges)
            assert_string_equal(text, rows[i].ranges);
    }
}

static void survives_sums_that_would_wrap(void **state)
{
    struct http_range_set set;
    http_range_parse(&arena, SLICE("bytes=0-,0-,0-,0-"), (uint64_t)1 << 62, &set);
    assert_int_equal(set.outcome, HTTP_RANGE_EMPTY);
}

static void writes_the_parts_it_announces(void **state)
{
    struct http_range_set set;
    http_range_parse(&arena, SLICE("bytes=0-1,3-4"), 10, &set);
    const char *text = arena_printf(
        &arena, "%s01%s34%s", http_range_part_head(&arena, &set, 0, 10, SLICE("a/b"), "BB").ptr,
        http_range_part_head(&arena, &set, 1, 10, SLICE("a/b"), "BB").ptr,
        http_range_multipart_end(&arena, "BB").ptr);
    assert_string_equal(
        text, "--BB\r\nContent-Range: bytes 0-1/10\r\nContent-Type: a/b\r\n\r\n01\r\n"
              "--BB\r\nContent-Range: bytes 3-4/10\r\nContent-Type: a/b\r\n\r\n34\r\n--BB--\r\n");
    assert_int_equal(http_range_multipart_length(&set, 10, SLICE("a/b"), "BB"), strlen(text));
    assert_string_equal(http_range_content_range(&arena, (struct http_range){10, 0}, 10).ptr,
                        "bytes 10-9/10");
    assert_string_equal(http_range_content_range(&arena, (struct http_range){0, 0}, 0).ptr,
                        "bytes 0--1/0");
    assert_string_equal(http_range_unsatisfied(&arena, 5).ptr, "bytes */5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_by_the_table),
        cmocka_unit_test(survives_sums_that_would_wrap),
        cmocka_unit_test(writes_the_parts_it_announces),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
