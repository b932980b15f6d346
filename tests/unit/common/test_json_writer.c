/* JSON as Go writes it. */
#include "tests/unit/cmocka_all.h"

#include "common/json_writer.h"

#include <math.h>

static void write_sample(struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_member_text(w, "a", "x");
    json_writer_key(w, "list");
    json_writer_begin_array(w);
    json_writer_int(w, -1);
    json_writer_null(w);
    json_writer_begin_object(w);
    json_writer_end_object(w);
    json_writer_begin_array(w);
    json_writer_end_array(w);
    json_writer_raw(w, SLICE("[1]"));
    json_writer_end_array(w);
    json_writer_member_bool(w, "b", true);
    json_writer_member_uint(w, "u", UINT64_MAX);
    json_writer_end_object(w);
}

static void writes_compact_and_pretty(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &b, false);
    write_sample(&w);
    assert_string_equal(
        buffer_cstr(&b),
        "{\"a\":\"x\",\"list\":[-1,null,{},[],[1]],\"b\":true,\"u\":18446744073709551615}");
    buffer_clear(&b);
    json_writer_init(&w, &b, true);
    write_sample(&w);
    assert_string_equal(buffer_cstr(&b),
                        "{\n  \"a\": \"x\",\n  \"list\": [\n    -1,\n    null,\n    {},\n    [],\n"
                        "    [1]\n  ],\n  \"b\": true,\n  \"u\": 18446744073709551615\n}");
    buffer_fini(&b);
}

static void escapes_strings(void **state)
{
    static const struct {
        struct slice text;
        const char *json;
    } rows[] = {
        {{"", 0}, "\"\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\b\f\n\r\t\x01\x1f\x7f\0", 9}, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000\""},
        {{"<a>&", 4}, "\"\\u003ca\\u003e\\u0026\""},
        {{"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", 9}, "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {{"\xE2\x80\xA8\xE2\x80\xA9", 6}, "\"\\u2028\\u2029\""},
        {{"a\xFF", 2}, "\"a\\ufffd\""},
        {{"\xC3", 1}, "\"\\ufffd\""},
        {{"\xC0\x80", 2}, "\"\\ufffd\\ufffd\""},
        {{"\xED\xA0\x80", 3}, "\"\\ufffd\\ufffd\\ufffd\""},
        {{"\xF4\x90\x80\x80", 4}, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {{"\xE2\x82z", 3}, "\"\\ufffd\\ufffdz\""},
    };
    struct buffer b = BUFFER_INIT;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&b);
        json_append_string(&b, rows[i].text);
        assert_string_equal(buffer_cstr(&b), rows[i].json);
    }
    buffer_fini(&b);
}

static void writes_the_shortest_floats(void **state)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {100, "100"},
        {0.1, "0.1"},
        {-2.5, "-2.5"},
        {1.0 / 3, "0.3333333333333333"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.5e-10, "1.5e-10"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {9.95, "9.95"},
        {1048576.5, "1048576.5"},
    };
    struct buffer b = BUFFER_INIT;
    struct json_writer w;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&b);
        json_writer_init(&w, &b, false);
        json_writer_double(&w, rows[i].value);
        assert_string_equal(buffer_cstr(&b), rows[i].text);
    }
    buffer_clear(&b);
    json_writer_init(&w, &b, false);
    json_writer_float(&w, 12.3f);
    assert_string_equal(buffer_cstr(&b), "12.3");
    buffer_clear(&b);
    json_writer_init(&w, &b, false);
    json_writer_double(&w, (double)NAN);
    assert_string_equal(buffer_cstr(&b), "null");
    buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_compact_and_pretty),
        cmocka_unit_test(escapes_strings),
        cmocka_unit_test(writes_the_shortest_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
