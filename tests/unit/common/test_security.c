/* Who may do what: keys, lists and their reload. */
#include "common/security.h"

#include "common/os.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/cmocka_all.h"
#include "tests/unit/common/settings_folder.h"

static struct security *create(struct settings *settings, const char *white_list)
{
    struct security *security;
    struct error err = {0};
    if (security_create(&security, settings, white_list, NULL, &err) != 0)
        fail_msg("%s", err.message);
    return security;
}

static bool check(struct security *security, enum security_key key, const char *token,
                  const char *vid, const char *fid)
{
    return security_check_token(security, key, slice_cstr(token), slice_cstr(vid), slice_cstr(fid));
}

static void without_settings_everything_is_open(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    struct security *security = create(NULL, "");
    assert_false(security_has_white_list(security));
    assert_true(security_admits(security, "192.0.2.1"));
    assert_false(security_wants_token(security, SECURITY_WRITE));
    assert_true(check(security, SECURITY_WRITE, "", "3", "01637037d6"));
    assert_string_equal(security_make_token(security, SECURITY_WRITE, SLICE("3,01637037d6"), token), "");
    assert_true(security_shows_pages(security));
    security_destroy(security);
}

static void keys_for_writing_and_reading_are_apart(void **state)
{
    (void)state;
    char writes[FILE_TOKEN_MAX], reads[FILE_TOKEN_MAX];
    write_toml("[jwt.signing]\nkey = \"w\"\n[jwt.signing.read]\nkey = \"r\"\n");
    struct settings *settings = open_settings();
    struct security *security = create(settings, "");
    struct slice fid = SLICE("3,01637037d6");
    security_make_token(security, SECURITY_WRITE, fid, writes);
    security_make_token(security, SECURITY_READ, fid, reads);
    assert_true(check(security, SECURITY_WRITE, writes, "3", "01637037d6"));
    assert_true(check(security, SECURITY_READ, reads, "3", "01637037d6"));
    assert_false(check(security, SECURITY_READ, writes, "3", "01637037d6"));
    assert_false(check(security, SECURITY_WRITE, reads, "3", "01637037d6"));
    assert_false(check(security, SECURITY_WRITE, "", "3", "01637037d6"));
    assert_false(check(security, SECURITY_WRITE, writes, "03", "01637037d6"));
    assert_false(security_shows_pages(security));
    security_destroy(security);
    settings_close(settings);
}

static void token_covers_the_parts_of_a_batch(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX], long_fid[300];
    write_toml("[jwt.signing]\nkey = \"w\"\n");
    struct settings *settings = open_settings();
    struct security *security = create(settings, "");
    security_make_token(security, SECURITY_WRITE, SLICE("3,01637037d6"), token);
    assert_true(check(security, SECURITY_WRITE, token, "3", "01637037d6_1"));
    assert_true(check(security, SECURITY_WRITE, token, "3", "01637037d6_"));
    assert_false(check(security, SECURITY_WRITE, token, "3", "01637037d6_1_2"));
    assert_false(check(security, SECURITY_WRITE, token, "3", "_1"));
    assert_false(check(security, SECURITY_WRITE, token, "3", ""));
    memset(long_fid, '1', sizeof(long_fid));
    assert_false(security_check_token(security, SECURITY_WRITE, slice_cstr(token), SLICE("3"),
                                      slice_of(long_fid, sizeof(long_fid))));
    security_destroy(security);
    settings_close(settings);
}

static void lifetime_of_none_makes_tokens_for_ever(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    write_toml("[jwt.signing]\nkey = \"secret\"\nexpires_after_seconds = 0\n");
    struct settings *settings = open_settings();
    struct security *security = create(settings, "");
    assert_string_equal(security_make_token(security, SECURITY_WRITE, SLICE("3,01637037d6"), token),
                        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJmaWQiOiIzLDAxNjM3MDM3ZDYifQ."
                        "mCmUPrYwoQ4EKdjSpO0zLS02AF4eeSvbLDP2IMyOSDc");
    security_destroy(security);
    settings_close(settings);
}

/* The clock of a server that a test sets. */
struct clock {
    struct os os;
    struct os_ops ops;
    int64_t now_ns;
};

static int64_t clock_now(struct os *os) { return ((struct clock *)os)->now_ns; }

static void default_lifetimes_are_the_peers(void **state)
{
    (void)state;
    char writes[FILE_TOKEN_MAX], reads[FILE_TOKEN_MAX];
    write_toml("[jwt.signing]\nkey = \"w\"\n[jwt.signing.read]\nkey = \"r\"\n");
    struct clock clock = {.ops = *os_real()->ops, .now_ns = INT64_C(1700000000) * 1000000000};
    clock.os.ops = &clock.ops;
    clock.ops.now_ns = clock_now;
    struct settings *settings = open_settings();
    struct security *security;
    assert_int_equal(security_create(&security, settings, "", &clock.os, NULL), 0);
    security_make_token(security, SECURITY_WRITE, SLICE("3,01637037d6"), writes);
    security_make_token(security, SECURITY_READ, SLICE("3,01637037d6"), reads);
    clock.now_ns += INT64_C(10000000000) - 1;
    assert_true(check(security, SECURITY_WRITE, writes, "3", "01637037d6"));
    clock.now_ns += 1;
    assert_false(check(security, SECURITY_WRITE, writes, "3", "01637037d6"));
    clock.now_ns += INT64_C(50000000000) - 1;
    assert_true(check(security, SECURITY_READ, reads, "3", "01637037d6"));
    clock.now_ns += 1;
    assert_false(check(security, SECURITY_READ, reads, "3", "01637037d6"));
    security_destroy(security);
    settings_close(settings);
}

static void lists_of_flag_and_file_add_up(void **state)
{
    (void)state;
    write_toml("[guard]\nwhite_list = \"10.0.0.0/8, ::1\"\n[jwt.signing]\nkey = \"w\"\n"
               "[access]\nui = true\n");
    struct settings *settings = open_settings();
    struct security *security = create(settings, "192.0.2.1");
    assert_true(security_has_white_list(security));
    assert_true(security_admits(security, "192.0.2.1"));
    assert_true(security_admits(security, "10.9.8.7"));
    assert_true(security_admits(security, "::1"));
    assert_false(security_admits(security, "127.0.0.1"));
    assert_true(security_shows_pages(security));
    security_destroy(security);
    settings_close(settings);
}

static void reload_takes_effect_and_a_bad_one_does_not(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    struct error err = {0};
    struct settings *settings = open_settings();
    struct security *security = create(settings, "");
    write_toml("[jwt.signing]\nkey = \"w\"\n[guard]\nwhite_list = \"10.0.0.1\"\n");
    assert_int_equal(security_reload(security, NULL), 0);
    assert_true(security_wants_token(security, SECURITY_WRITE));
    assert_false(security_admits(security, "10.0.0.2"));
    assert_true(security_shows_pages(security)); /* decided at start */
    security_make_token(security, SECURITY_WRITE, SLICE("3,01637037d6"), token);

    static const char *const bad[] = {
        "[jwt.signing\nkey = \"x\"\n",
        "[jwt.signing]\nkey = \"x\"\nexpires_after_seconds = \"soon\"\n",
        "[jwt.signing]\nkey = \"x\"\n[guard]\nwhite_list = \"everybody\"\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_toml(bad[i]);
        assert_int_equal(security_reload(security, &err), KELP_E_INVALID);
        assert_true(check(security, SECURITY_WRITE, token, "3", "01637037d6"));
        assert_false(security_admits(security, "10.0.0.2"));
    }
    write_toml("[jwt.signing]\nkey = \"\"\nexpires_after_seconds = 5\n[guard]\nwhite_list = \"\"\n");
    assert_int_equal(security_reload(security, NULL), 0);
    assert_false(security_wants_token(security, SECURITY_WRITE));
    assert_true(security_admits(security, "10.0.0.2"));
    security_destroy(security);
    settings_close(settings);
}

/* Requests that never let up, each of which holds the lock for as long as an HMAC takes. */
struct crowd {
    struct security *security;
    atomic_bool is_over;
};

static void *ask_without_end(void *ctx)
{
    struct crowd *crowd = ctx;
    while (!atomic_load(&crowd->is_over)) {
        security_check_token(crowd->security, SECURITY_WRITE, SLICE("a.b.c"), SLICE("3"),
                             SLICE("01637037d6"));
        security_admits(crowd->security, "192.0.2.1");
    }
    return NULL;
}

static void reload_gets_its_turn_among_requests(void **state)
{
    (void)state;
    pthread_t threads[8];
    write_toml("[jwt.signing]\nkey = \"w\"\n[guard]\nwhite_list = \"192.0.2.1\"\n");
    struct settings *settings = open_settings();
    struct crowd crowd = {.security = create(settings, "")};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_without_end, &crowd), 0);
    for (int i = 0; i < 20; i++) {
        write_toml(i % 2 ? "[guard]\nwhite_list = \"192.0.2.1\"\n"
                         : "[guard]\nwhite_list = \"192.0.2.2\"\n");
        assert_int_equal(security_reload(crowd.security, NULL), 0);
        assert_int_equal(security_admits(crowd.security, "192.0.2.1"), i % 2);
    }
    atomic_store(&crowd.is_over, true);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    security_destroy(crowd.security);
    settings_close(settings);
}

static void id_without_a_volume_is_nobodys(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    write_toml("[jwt.signing]\nkey = \"w\"\n");
    struct settings *settings = open_settings();
    struct security *security = create(settings, "");
    security_make_token(security, SECURITY_WRITE, SLICE(",01637037d6"), token);
    assert_false(check(security, SECURITY_WRITE, token, "", "01637037d6"));
    security_make_token(security, SECURITY_WRITE, SLICE(","), token);
    assert_false(security_check_token(security, SECURITY_WRITE, slice_cstr(token), (struct slice){0},
                                      (struct slice){0}));
    security_destroy(security);
    settings_close(settings);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_settings_everything_is_open),
        TEST(keys_for_writing_and_reading_are_apart),
        TEST(token_covers_the_parts_of_a_batch),
        TEST(lifetime_of_none_makes_tokens_for_ever),
        TEST(default_lifetimes_are_the_peers),
        TEST(lists_of_flag_and_file_add_up),
        TEST(reload_takes_effect_and_a_bad_one_does_not),
        TEST(reload_gets_its_turn_among_requests),
        TEST(id_without_a_volume_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
