/* Checks on flag values: ports, lists, settings from the environment. */
#include "tests/unit/cmocka_all.h"

#include "cli/flag_values.h"

#include <stdlib.h>
#include <string.h>

static void numbers_out_of_range_are_named(void **state)
{
    uint16_t port = 7;
    uint32_t number = 7;
    struct error err = {0};
    assert_int_equal(flag_port("-port", 65535, &port, &err), 0);
    assert_int_equal(port, 65535);
    assert_int_equal(flag_port("-port", 65536, &port, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "-port 65536"));
    assert_int_equal(flag_u32("-x", -1, &number, &err), KELP_E_INVALID);
    assert_int_equal(flag_u32("-x", INT64_C(1) << 32, &number, &err), KELP_E_INVALID);
    assert_int_equal(number, 7);
}

static void one_item_goes_for_all(void **state)
{
    struct flag_list list;
    flag_list_init(&list, "8");
    assert_string_equal(flag_list_at(&list, 2, 3), "8");
    flag_list_fini(&list);
    flag_list_init(&list, " /a , /b,");
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0], "/a");
    assert_string_equal(list.items[1], "/b");
    assert_string_equal(list.items[2], "");
    assert_null(flag_list_at(&list, 0, 2));
    flag_list_fini(&list);
}

static void free_space_is_a_percentage_or_a_size(void **state)
{
    static const struct {
        const char *text;
        double percent;
        uint64_t bytes;
        int code;
    } table[] = {
        {"1", 1, 0, 0},           {"0", 0, 0, 0},         {"100", 100, 0, 0},
        {"2.5", 2.5, 0, 0},       {"10GiB", -1, 10ull << 30, 0}, {"101B", -1, 101, 0},
        {"100B", 0, 0, KELP_E_INVALID}, {"100.1", 0, 0, KELP_E_INVALID}, {"-1", 0, 0, KELP_E_INVALID},
        {"200", 0, 0, KELP_E_INVALID},  {"nan", 0, 0, KELP_E_INVALID},   {"", 0, 0, KELP_E_INVALID},
        {"ten", 0, 0, KELP_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        double percent = -1;
        uint64_t bytes = 0;
        struct error err = {0};
        int code = flag_min_free("-minFreeSpace", table[i].text, &percent, &bytes, &err);
        if (code != table[i].code)
            fail_msg("\"%s\": %d", table[i].text, code);
        if (code != 0) {
            assert_non_null(strstr(err.message, "-minFreeSpace"));
            continue;
        }
        assert_true(percent == table[i].percent);
        assert_true(bytes == table[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_out_of_range_are_named),
        cmocka_unit_test(one_item_goes_for_all),
        cmocka_unit_test(free_space_is_a_percentage_or_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
