/* Multipart bodies: which part is taken, and what is wrong with bad ones. */
#include "tests/unit/common/arena_case.h"

#include "common/http_multipart.h"

static int parse(const char *body, struct http_multipart_part *part, struct error *err)
{
    return http_multipart_parse(&arena, SLICE("multipart/form-data; boundary=XX"), slice_cstr(body),
                                part, err);
}

static void takes_the_first_part(void **state)
{
    struct http_multipart_part p;
    assert_int_equal(
        parse("--XX\r\nContent-Disposition: form-data; name=file; filename=\"C:\\dir\\a.txt\"\r\n"
              "content-type: text/plain\r\nContent-MD5: abc\r\nContent-Encoding: gzip\r\n\r\n"
              "one\r\n--XXY\r\ntwo\r\n--XX\r\nContent-Disposition: form-data; filename=b\r\n\r\nno"
              "\r\n--XX--\r\n",
              &p, NULL),
        0);
    assert_slice(p.data, "one\r\n--XXY\r\ntwo");
    assert_slice(p.filename, "a.txt");
    assert_slice(p.content_type, "text/plain");
    assert_slice(p.content_md5, "abc");
    assert_true(p.is_gzip);
}

static void prefers_a_later_part_with_a_file_name(void **state)
{
    struct http_multipart_part p;
    assert_int_equal(
        parse(
            "preamble\r\n--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue\r\n--XX  \r\n"
            "Content-Disposition: form-data; name=f; filename*=utf-8''%c3%a4\r\n\r\n\r\n--XX--",
            &p, NULL),
        0);
    assert_slice(p.data, "");
    assert_slice(p.filename, "\xC3\xA4");
}

static void keeps_the_first_part_when_none_has_a_name(void **state)
{
    struct http_multipart_part p;
    assert_int_equal(
        parse("--XX\r\n\r\nvalue\r\n--XX\r\nContent-Type: a/b\r\n\r\nother\r\n--XX--\r\n", &p,
              NULL),
        0);
    assert_slice(p.data, "value");
    assert_slice(p.filename, "");
    assert_slice(p.content_type, "");
    /* What comes after the first part may be torn: it is not looked at for its data. */
    assert_int_equal(parse("--XX\r\n\r\nvalue\r\n--XX\r\nContent-Type: a/b\r\n\r\noth", &p, NULL),
                     0);
    assert_slice(p.data, "value");
}

static void takes_bare_line_feeds_and_quoted_printable(void **state)
{
    struct http_multipart_part p;
    assert_int_equal(
        parse("--XX\nContent-Transfer-Encoding: quoted-printable\n\na=3Db=\n c=zz\n--XX--\n", &p,
              NULL),
        0);
    assert_slice(p.data, "a=b c=zz");
    assert_int_equal(parse("--XX\r\n\r\n--XX--\r\n", &p, NULL), 0);
    assert_slice(p.data, "");
    assert_int_equal(
        parse("--XX\r\nContent-Disposition: form-data;\r\n filename=a\r\n\r\nx\r\n--XX--", &p,
              NULL),
        0);
    assert_slice(p.filename, "a");
}

static void joins_folded_values_byte_by_byte(void **state)
{
    static const char body[] = "--XX\r\nContent-MD5: a\0b\r\n \t c \r\n\td\0\r\n\r\nx\r\n--XX--";
    struct http_multipart_part p;
    assert_int_equal(http_multipart_parse(&arena, SLICE("multipart/form-data; boundary=XX"),
                                          slice_of(body, sizeof(body) - 1), &p, NULL),
                     0);
    assert_int_equal(p.content_md5.len, 8);
    assert_memory_equal(p.content_md5.ptr, "a\0b c d", 8);
}

static struct buffer header_of_folds(size_t folds)
{
    struct buffer b = BUFFER_INIT;
    buffer_append_text(&b, "--XX\r\nContent-Type: a\r\n");
    for (size_t i = 0; i < folds; i++)
        buffer_append_text(&b, " b\r\n");
    buffer_append_text(&b, "\r\nx\r\n--XX--");
    return b;
}

static void endless_header_costs_its_own_size(void **state)
{
    struct http_multipart_part p;
    struct error err;
    struct buffer b = header_of_folds(2000000); /* joined one by one they would fill terabytes */
    assert_int_equal(parse(buffer_cstr(&b), &p, NULL), 0);
    assert_int_equal(p.content_type.len, 1 + 2 * 2000000);
    buffer_fini(&b);
    b = header_of_folds(3000000);
    assert_int_equal(parse(buffer_cstr(&b), &p, &err), KELP_E_INVALID);
    assert_string_equal(err.message, "multipart: message too large");
    buffer_fini(&b);
}

static void says_what_is_wrong(void **state)
{
    static const char *const rows[][2] = {
        {"", "multipart: NextPart: EOF"},
        {"nothing here", "multipart: NextPart: EOF"},
        {"--XX--\r\n", "EOF"},
        {"--XX\r\nContent-Type: a/b\r\n", "EOF"},
        {"--XX\r\n\r\ndata without end", "unexpected EOF"},
        {"--XX\r\n\r\ndata\r\n--XY--", "unexpected EOF"},
        {"--XX\r\n\r\nv\r\n--XX\r\nContent-Disposition: form-data; filename=a\r\n\r\noth",
         "unexpected EOF"},
        {"--XX\r\nno colon\r\n\r\nx\r\n--XX--",
         "malformed MIME header: missing colon: \"no colon\""},
    };
    struct http_multipart_part p;
    struct error err;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parse(rows[i][0], &p, &err), KELP_E_INVALID);
        assert_string_equal(err.message, rows[i][1]);
    }
    assert_int_equal(http_multipart_parse(&arena, SLICE("text/plain"), SLICE(""), &p, &err),
                     KELP_E_INVALID);
    assert_string_equal(err.message, "request Content-Type isn't multipart/form-data");
    assert_int_equal(
        http_multipart_parse(&arena, SLICE("multipart/form-data"), SLICE(""), &p, &err),
        KELP_E_INVALID);
    assert_string_equal(err.message, "no multipart boundary param in Content-Type");
}

static void reads_what_it_writes(void **state)
{
    struct http_multipart_part out = {.filename = SLICE("3,01 \"x\""),
                                      .content_type = SLICE("text/plain"),
                                      .content_encoding = SLICE("gzip"),
                                      .content_md5 = SLICE("XUFAKrxLKna5cZ2REBfFkg==")},
                               in;
    struct buffer b = BUFFER_INIT;
    http_multipart_begin(&b, "XX", &out);
    assert_non_null(strstr(buffer_cstr(&b), "filename=\"3,01 \\\"x\\\"\"; name=file\r\n"));
    buffer_append_text(&b, "data");
    http_multipart_end(&b, "XX");
    assert_int_equal(parse(buffer_cstr(&b), &in, NULL), 0);
    assert_slice(in.data, "data");
    assert_slice(in.filename, "3,01 \"x\"");
    assert_slice(in.content_type, "text/plain");
    assert_slice(in.content_md5, "XUFAKrxLKna5cZ2REBfFkg==");
    assert_true(in.is_gzip);
    buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_first_part),
        cmocka_unit_test(prefers_a_later_part_with_a_file_name),
        cmocka_unit_test(keeps_the_first_part_when_none_has_a_name),
        cmocka_unit_test(takes_bare_line_feeds_and_quoted_printable),
        cmocka_unit_test(joins_folded_values_byte_by_byte),
        cmocka_unit_test(endless_header_costs_its_own_size),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(reads_what_it_writes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
