/* Names of exported needles: the format, and what keeps them within their folder. */
#include "cli/export_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct export_fields fields = {
    .name = SLICE("a.txt"),
    .id = SLICE("1f"),
    .mime = SLICE("text/plain"),
    .key = SLICE("3,1f637037d6"),
    .ext = SLICE(".txt"),
};

static void assert_expands(const char *format, const char *expected)
{
    struct buffer out = BUFFER_INIT;
    assert_int_equal(export_name_expand(format, &fields, &out, NULL), 0);
    assert_string_equal(buffer_cstr(&out), expected);
    buffer_fini(&out);
}

static void assert_sanitized(struct slice name, const char *expected)
{
    struct buffer out = BUFFER_INIT;
    export_name_sanitize(name, &out);
    assert_string_equal(buffer_cstr(&out), expected);
    assert_int_equal(out.length, strlen(expected)); /* no zero byte within */
    buffer_fini(&out);
}

static void fields_are_filled_in(void **state)
{
    assert_expands("{{.Id}}_{{.Name}}{{.Ext}}", "1f_a.txt.txt");
    assert_expands("{{ .Mime }}/{{.Key}}", "text/plain/3,1f637037d6");
    assert_expands("plain", "plain");
    assert_expands("", "");
    assert_expands("{ {.Id} }", "{ {.Id} }");
    assert_expands("}}{{.Id}}}", "}}1f}");
}

static void anything_else_between_braces_is_refused(void **state)
{
    static const char *const bad[] = {"{{.Size}}", "{{.Name", "{{}}", "{{Name}}", "{{.Name | html}}", "x{{"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buffer out = BUFFER_INIT;
        struct error err = {0};
        assert_int_equal(export_name_expand(bad[i], &fields, &out, &err), KELP_E_INVALID);
        assert_non_null(strstr(err.message, "{{.Key}}"));
        buffer_fini(&out);
    }
}

static void the_extension_is_of_the_last_part(void **state)
{
    assert_true(slice_equals(export_name_ext(SLICE("a.tar.gz")), SLICE(".gz")));
    assert_true(slice_equals(export_name_ext(SLICE("a.d/b")), SLICE("")));
    assert_true(slice_equals(export_name_ext(SLICE(".hidden")), SLICE(".hidden")));
    assert_true(slice_equals(export_name_ext(SLICE("..")), SLICE(".")));
    assert_true(slice_equals(export_name_ext(SLICE("")), SLICE("")));
}

static void a_name_stays_within_its_folder(void **state)
{
    assert_sanitized(SLICE("a/b.txt"), "a/b.txt");
    assert_sanitized(SLICE("/etc/passwd"), "etc/passwd");
    assert_sanitized(SLICE("../../x"), "__/__/x");
    assert_sanitized(SLICE("a/./b//c/"), "a/_/b/c");
    assert_sanitized(SLICE(".."), "__");
    assert_sanitized(SLICE("..."), "...");
    assert_sanitized(SLICE("..a"), "..a");
    assert_sanitized(SLICE(""), "_");
    assert_sanitized(SLICE("///"), "_");
    assert_sanitized(SLICE("a\0b"), "a_b");
}

static void a_long_part_is_cut(void **state)
{
    char name[600], expected[600];
    memset(name, 'x', sizeof(name));
    name[300] = '/';
    memset(expected, 'x', sizeof(expected));
    expected[255] = '/';
    expected[511] = '\0';
    assert_sanitized(slice_of(name, sizeof(name)), expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_filled_in),
        cmocka_unit_test(anything_else_between_braces_is_refused),
        cmocka_unit_test(the_extension_is_of_the_last_part),
        cmocka_unit_test(a_name_stays_within_its_folder),
        cmocka_unit_test(a_long_part_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
