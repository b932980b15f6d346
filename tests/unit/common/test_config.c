/* Flags: both spellings, the order of sources, and errors that say what to do. */
#include "tests/unit/cmocka_all.h"

#include "common/config.h"

#include <stdlib.h>
#include <unistd.h>

static struct {
    bool is_debug;
    int64_t port, grpc_port, idle_ns;
    uint64_t limit;
    double threshold;
    const char *dir, *options;
} v;

static const struct config_flag flags[] = {
    {"debug", CONFIG_BOOL, &v.is_debug, NULL, ""},
    {"port", CONFIG_INT, &v.port, "8080", ""},
    {"port.grpc", CONFIG_INT, &v.grpc_port, NULL, ""},
    {"idle", CONFIG_DURATION, &v.idle_ns, "30s", ""},
    {"limit", CONFIG_UINT, &v.limit, NULL, ""},
    {"threshold", CONFIG_FLOAT, &v.threshold, "0.3", ""},
    {"kelpDir", CONFIG_STRING, &v.dir, "/tmp", ""},
    {"options", CONFIG_STRING, &v.options, NULL, ""},
};
static const struct config_command command = {
    "volume", "summary", "-port=1", NULL, flags, sizeof(flags) / sizeof(flags[0])};

#define PARSE(err, rest, ...) parse(err, rest, (char *[]){"volume", __VA_ARGS__, NULL})

static int parse(struct error *err, int *rest, char **argv)
{
    int argc = 0, ignored;
    while (argv[argc])
        argc++;
    return config_parse(&command, argc, argv, rest ? rest : &ignored, err);
}

static void all_spellings_are_one(void **state)
{
    int rest;
    assert_int_equal(PARSE(NULL, &rest, "-port=1", "--port.grpc", "0x10", "-debug", "-idle", "1m30s",
                           "--threshold=0.5", "file", "-port=9"),
                     0);
    assert_int_equal(v.port, 1);
    assert_int_equal(v.grpc_port, 16);
    assert_true(v.is_debug);
    assert_int_equal(v.idle_ns, 90000000000);
    assert_true(v.threshold > 0.49 && v.threshold < 0.51);
    assert_string_equal(v.dir, "/tmp");
    assert_int_equal(rest, 8);
    assert_int_equal(PARSE(NULL, NULL, "-debug=false"), 0);
    assert_false(v.is_debug);
    assert_int_equal(v.port, 8080);
}

static void a_mistyped_flag_names_the_nearest(void **state)
{
    struct error err = {0};
    assert_int_equal(PARSE(&err, NULL, "-prot=1"), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "unknown flag -prot; did you mean -port?"));
    assert_int_equal(PARSE(&err, NULL, "-por=1"), KELP_E_INVALID); /* no abbreviations */
    assert_int_equal(PARSE(&err, NULL, "-somethingElse=1"), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "kelp help volume"));
}

static void a_bad_value_says_what_is_wanted(void **state)
{
    struct error err = {0};
    assert_int_equal(PARSE(&err, NULL, "-port=x"), KELP_E_INVALID);
    assert_string_equal(err.message, "invalid value \"x\" for -port: want an integer");
    assert_int_equal(PARSE(&err, NULL, "-limit=-1"), KELP_E_INVALID);
    assert_int_equal(PARSE(&err, NULL, "-debug=maybe"), KELP_E_INVALID);
    assert_int_equal(PARSE(&err, NULL, "-idle=5"), KELP_E_INVALID);
    assert_int_equal(PARSE(&err, NULL, "-port"), KELP_E_INVALID);
    assert_int_equal(PARSE(&err, NULL, "-help"), KELP_E_CANCELLED);
}

static void line_beats_environment_beats_file(void **state)
{
    char path[] = "/tmp/kelp_test_options_XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "# comment\nport=1\n-port.grpc 2\nlimit: 3\ndebug\n\n");
    close(fd);
    setenv("PORT_GRPC", "20", 1);
    assert_int_equal(PARSE(NULL, NULL, "-limit=30", "-options", path), 0);
    unsetenv("PORT_GRPC");
    unlink(path);
    assert_int_equal(v.port, 1);
    assert_int_equal(v.grpc_port, 20);
    assert_int_equal(v.limit, 30);
    assert_true(v.is_debug);

    struct error err = {0};
    assert_int_equal(PARSE(&err, NULL, "-options=/nonexistent/x"), KELP_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/x"));
}

static void sizes_are_binary_or_decimal(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {{"100", 100},        {"10GiB", 10ull << 30}, {"10Gi", 10ull << 30},
                {"5M", 5000000},     {"1.5kB", 1500},        {"2 KiB", 2048}};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(config_parse_size(slice_cstr(rows[i].text), &bytes, NULL), 0);
        assert_int_equal(bytes, rows[i].bytes);
    }
    assert_int_equal(config_parse_size(SLICE("10XB"), &bytes, NULL), KELP_E_INVALID);
    assert_int_equal(config_parse_size(SLICE(""), &bytes, NULL), KELP_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_spellings_are_one),
        cmocka_unit_test(a_mistyped_flag_names_the_nearest),
        cmocka_unit_test(a_bad_value_says_what_is_wanted),
        cmocka_unit_test(line_beats_environment_beats_file),
        cmocka_unit_test(sizes_are_binary_or_decimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
