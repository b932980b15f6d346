/* Media types and Content-Disposition. */
#include "tests/unit/common/arena_case.h"

#include "common/content_disposition.h"
#include "common/media_type.h"

static void reads_type_and_parameters(void **state)
{
    struct media_type t;
    struct slice v = SLICE(" Multipart/Form-Data ; Boundary=abc;x=\"a;\\\"b\\\\c\\d\" ; y=1;");
    assert_int_equal(media_type_parse(&arena, v, &t, NULL), 0);
    assert_slice(t.type, "multipart/form-data");
    assert_slice(media_type_param(&t, "boundary"), "abc");
    assert_slice(media_type_param(&t, "x"), "a;\"b\\c\\d");
    assert_slice(media_type_param(&t, "y"), "1");
    assert_null(media_type_param(&t, "z").ptr);
}

static void decodes_rfc_2231(void **state)
{
    struct media_type t;
    assert_int_equal(
        media_type_parse(&arena, SLICE("form-data; filename*=UTF-8''%c3%a4%20b"), &t, NULL), 0);
    assert_slice(media_type_param(&t, "filename"), "\xC3\xA4 b");
    assert_int_equal(
        media_type_parse(&arena, SLICE("x; t*0*=us-ascii'en'a%20; t*1*=b%2a; t*2=c%20"), &t, NULL),
        0);
    assert_slice(media_type_param(&t, "t"), "a b*c%20");
    /* The plain one wins. */
    assert_int_equal(media_type_parse(&arena, SLICE("x; f*=utf-8''a; f=b"), &t, NULL), 0);
    assert_slice(media_type_param(&t, "f"), "b");
}

static void says_what_is_wrong(void **state)
{
    static const char *const rows[][2] = {
        {"", "mime: no media type"},
        {"; a=b", "mime: no media type"},
        {"text/", "mime: expected token after slash"},
        {"text/a b", "mime: unexpected content after media subtype"},
        {"text plain", "mime: expected slash after first token"},
        {"a/b; c", "mime: invalid media parameter"},
        {"a/b; c=\"d", "mime: invalid media parameter"},
        {"a/b; c=1; C=2", "mime: duplicate parameter name"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct media_type t;
        struct error err;
        assert_int_equal(media_type_parse(&arena, slice_cstr(rows[i][0]), &t, &err),
                         KELP_E_INVALID);
        assert_string_equal(err.message, rows[i][1]);
    }
}

static void writes_file_names(void **state)
{
    static const struct {
        bool is_attachment;
        const char *name, *header;
    } rows[] = {
        {false, "a.txt", "inline; filename=a.txt"},
        {true, "x.pdf", "attachment; filename=x.pdf"},
        {false, "3,01637037d6", "inline; filename=\"3,01637037d6\""},
        {false, "a \"b\\c", "inline; filename=\"a \\\"b\\\\c\""},
        {false, "\xC3\xA4 b.txt", "inline; filename*=utf-8''%C3%A4%20b.txt"},
        {false, "a\nb*'%", "inline; filename*=utf-8''a%0Ab%2A%27%25"},
        {false, "a\tb", "inline; filename=\"a\tb\""},
    };
    struct buffer b = BUFFER_INIT;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&b);
        content_disposition_format(&b, rows[i].is_attachment, slice_cstr(rows[i].name));
        assert_string_equal(buffer_cstr(&b), rows[i].header);
    }
    buffer_fini(&b);
}

static void names_a_raw_upload(void **state)
{
    static const char *const rows[][2] = {
        {"inline; filename=a.txt", "a.txt"},
        {"attachment; filename=\"d/e\\\\f.txt\"", "f.txt"},
        {"attachment; name=n", "n"},
        {"filename=x.bin", "x.bin"},
        {"attachment; filename=\"\"; name=n", ""},
        {"attachment; filename*=utf-8''x", ""},
        {"form-data; filename=a", ""},
        {"attachment; filename=\"a/\"", "a"},
        {"attachment; filename=\"a\\\\\"", "a"},
        {"attachment; filename=\"/\"", ""},
        {"inline; filename*=utf-8''x; name=q", "x"},
        {"inline", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_slice(content_disposition_raw_name(&arena, slice_cstr(rows[i][0])), rows[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_type_and_parameters),
        cmocka_unit_test(decodes_rfc_2231),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(writes_file_names),
        cmocka_unit_test(names_a_raw_upload),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
