/* Configuration files and the environment over them. */
#include "common/settings.h"
#include "common/toml.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/cmocka_all.h"
#include "tests/unit/common/settings_folder.h"

static void without_a_file_all_is_unset(void **state)
{
    (void)state;
    struct settings *settings = open_settings();
    int64_t number;
    assert_string_equal(settings_path(settings), "");
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "");
    assert_int_equal(settings_int(settings, "jwt.signing.expires_after_seconds", 10, &number, NULL), 0);
    assert_int_equal(number, 10);
    settings_close(settings);
}

static void tables_become_dotted_keys_of_any_case(void **state)
{
    (void)state;
    write_toml("top = 1\n[jwt.signing]\nkey = \"se\\\"cret\" # remark\nexpires_after_seconds = 1_000\n"
               "[grpc.volume]\nallowed_commonNames = 'a,b'\n[access]\nui = true\n"
               "[m]\nlist = ['x', 'y']\nshare = 0.25\n");
    struct settings *settings = open_settings();
    int64_t number;
    double share;
    bool is_open;
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "se\"cret");
    assert_int_equal(settings_int(settings, "jwt.signing.expires_after_seconds", 10, &number, NULL), 0);
    assert_int_equal(number, 1000);
    assert_string_equal(settings_text(settings, "grpc.volume.allowed_commonNames"), "a,b");
    assert_string_equal(settings_text(settings, "grpc.volume.ALLOWED_commonnames"), "a,b");
    assert_int_equal(settings_bool(settings, "access.ui", false, &is_open, NULL), 0);
    assert_true(is_open);
    assert_string_equal(settings_text(settings, "m.list"), "x,y");
    assert_int_equal(settings_number(settings, "m.share", 1, &share, NULL), 0);
    assert_true(share == 0.25);
    assert_string_equal(settings_text(settings, "top"), "1");
    settings_close(settings);
}

static void environment_beats_the_file_unless_empty(void **state)
{
    (void)state;
    write_toml("[jwt.signing]\nkey = \"file\"\n");
    struct settings *settings = open_settings();
    setenv("WEED_JWT_SIGNING_KEY", "", 1);
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "file");
    setenv("WEED_JWT_SIGNING_KEY", "variable", 1);
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "variable");
    assert_string_equal(settings_text(NULL, "jwt.signing.key"), "variable");
    settings_close(settings);
}

static void bad_file_is_refused_with_its_line(void **state)
{
    (void)state;
    struct settings *settings;
    struct error err = {0};
    write_toml("[jwt.signing]\nkey = \"a\"\n\nkey = oops\n");
    assert_int_equal(settings_open(&settings, "security", folder, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "security.toml: line 4"));
}

static void file_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    struct settings *settings;
    struct error err = {0};
    assert_int_equal(mkdir(toml_path, 0700), 0);
    assert_int_not_equal(settings_open(&settings, "security", folder, &err), 0);
    assert_non_null(strstr(err.message, toml_path));
    assert_int_equal(rmdir(toml_path), 0);
}

static void zero_byte_in_a_text_is_refused(void **state)
{
    (void)state;
    struct settings *settings;
    struct error err = {0};
    write_toml("[jwt.signing]\nkey = \"\\u0000secret\"\n");
    assert_int_equal(settings_open(&settings, "security", folder, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "jwt.signing.key"));
}

static void bad_values_name_where_they_stand(void **state)
{
    (void)state;
    write_toml("[a]\nnumber = \"ten\"\n[access]\nui = \"maybe\"\n");
    struct settings *settings = open_settings();
    struct error err = {0};
    int64_t number;
    bool is_open;
    assert_int_equal(settings_int(settings, "a.number", 1, &number, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "security.toml: a.number = \"ten\""));
    setenv("WEED_ACCESS_UI", "perhaps", 1);
    assert_int_equal(settings_bool(settings, "access.ui", false, &is_open, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "environment variable WEED_ACCESS_UI: \"perhaps\""));
    settings_close(settings);
}

static void reload_adds_over_what_was_there(void **state)
{
    (void)state;
    write_toml("[jwt.signing]\nkey = \"one\"\n[guard]\nwhite_list = \"10.0.0.1\"\n");
    struct settings *settings = open_settings();
    write_toml("[jwt.signing]\nkey = \"two\"\n");
    assert_int_equal(settings_reload(settings, NULL), 0);
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "two");
    assert_string_equal(settings_text(settings, "guard.white_list"), "10.0.0.1");
    settings_close(settings);
}

static void bad_reload_changes_nothing(void **state)
{
    (void)state;
    write_toml("[jwt.signing]\nkey = \"one\"\n");
    struct settings *settings = open_settings();
    write_toml("[jwt.signing]\nkey = \"two\"\n=\n");
    assert_int_equal(settings_reload(settings, NULL), KELP_E_INVALID);
    assert_string_equal(settings_text(settings, "jwt.signing.key"), "one");
    settings_close(settings);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_a_file_all_is_unset),
        TEST(tables_become_dotted_keys_of_any_case),
        TEST(environment_beats_the_file_unless_empty),
        TEST(bad_file_is_refused_with_its_line),
        TEST(file_that_cannot_be_read_is_refused),
        TEST(zero_byte_in_a_text_is_refused),
        TEST(bad_values_name_where_they_stand),
        TEST(reload_adds_over_what_was_there),
        TEST(bad_reload_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
