/* URLs: escapes, queries, cleaning, splitting. */
#include "tests/unit/common/arena_case.h"

#include "common/url.h"

static void decodes_paths_and_queries(void **state)
{
    struct slice s;
    assert_int_equal(url_decode_path(&arena, SLICE("/3%2c01+%C3%a4"), &s, NULL), 0);
    assert_slice(s, "/3,01+\xC3\xA4");
    assert_int_equal(url_decode_query(&arena, SLICE("a+b%2Bc"), &s, NULL), 0);
    assert_slice(s, "a b+c");
}

static void quotes_a_bad_escape(void **state)
{
    static const char *const rows[][2] = {
        {"a%zzb", "%zz"}, {"a%4", "%4"}, {"%", "%"}, {"%4g1", "%4g"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice s;
        struct error err;
        char wanted[64];
        assert_int_equal(url_decode_path(&arena, slice_cstr(rows[i][0]), &s, &err), KELP_E_INVALID);
        snprintf(wanted, sizeof(wanted), "invalid URL escape \"%s\"", rows[i][1]);
        assert_string_equal(err.message, wanted);
    }
}

static void encodes_as_go_does(void **state)
{
    struct buffer b = BUFFER_INIT;
    url_encode_query(&b, SLICE("a b/c?d=e&f~\xC3\xA4-_."));
    assert_string_equal(buffer_cstr(&b), "a+b%2Fc%3Fd%3De%26f~%C3%A4-_.");
    buffer_clear(&b);
    url_encode_path(&b, SLICE("/a b/3,01?x=%&y@:;"));
    assert_string_equal(buffer_cstr(&b), "/a%20b/3,01%3Fx=%25&y@:;");
    buffer_fini(&b);
}

static void finds_query_parameters(void **state)
{
    struct slice q = SLICE("a=1&&b&c=x%3Dy=z&a=2&d%20e=3&f=%zz&f=4&g=5;h=6");
    assert_slice(url_query_get(&arena, q, "a"), "1");
    assert_slice(url_query_get(&arena, q, "b"), "");
    assert_non_null(url_query_get(&arena, q, "b").ptr);
    assert_slice(url_query_get(&arena, q, "c"), "x=y=z");
    assert_slice(url_query_get(&arena, q, "d e"), "3");
    assert_slice(url_query_get(&arena, q, "f"), "4");
    assert_null(url_query_get(&arena, q, "g").ptr);
    assert_null(url_query_get(&arena, q, "A").ptr);
    assert_null(url_query_get(&arena, SLICE(""), "a").ptr);
}

static void complains_about_queries_as_the_form_parse_does(void **state)
{
    struct error err;
    assert_int_equal(url_query_check(SLICE("a=%41&b"), &err), 0);
    assert_int_equal(url_query_check(SLICE("a=%zz"), &err), KELP_E_INVALID);
    assert_string_equal(err.message, "invalid URL escape \"%zz\"");
    assert_int_equal(url_query_check(SLICE("a=1;b=2"), &err), KELP_E_INVALID);
    assert_string_equal(err.message, "invalid semicolon separator in query");
}

static void cleans_paths(void **state)
{
    static const char *const rows[][2] = {
        {"//a", "/a"},      {"/a//b/", "/a/b/"}, {"/./a", "/a"}, {"/a/.", "/a"}, {"/a/../b", "/b"},
        {"/../../a", "/a"}, {"/a/b/..", "/a"},   {"/..", "/"},   {"", "/"},      {"a/b", "/a/b"},
        {"/a/./", "/a/"},   {"/...//", "/.../"}, {"*", "/*"},
    };
    struct slice s;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(url_clean_path(&arena, slice_cstr(rows[i][0]), &s));
        assert_slice(s, rows[i][1]);
    }
    static const char *const clean[] = {"/", "/a", "/a/", "/a.b/..c/.d", "/3,01637037d6.jpg"};
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++)
        assert_false(url_clean_path(&arena, slice_cstr(clean[i]), &s));
}

static void splits_urls(void **state)
{
    struct url_parts p;
    url_split(SLICE("http://h:1/a/b?c=d?e"), &p);
    assert_slice(p.scheme, "http");
    assert_slice(p.authority, "h:1");
    assert_slice(p.path, "/a/b");
    assert_slice(p.query, "c=d?e");
    url_split(SLICE("/a?u=http://x/"), &p);
    assert_slice(p.scheme, "");
    assert_slice(p.path, "/a");
    assert_slice(p.query, "u=http://x/");
    url_split(SLICE("http://h?x"), &p);
    assert_slice(p.authority, "h");
    assert_slice(p.path, "");
    assert_slice(p.query, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_paths_and_queries),
        cmocka_unit_test(quotes_a_bad_escape),
        cmocka_unit_test(encodes_as_go_does),
        cmocka_unit_test(finds_query_parameters),
        cmocka_unit_test(complains_about_queries_as_the_form_parse_does),
        cmocka_unit_test(cleans_paths),
        cmocka_unit_test(splits_urls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
