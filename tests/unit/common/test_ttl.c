/* TTL: text, normalisation, packed form. */
#include "tests/unit/cmocka_all.h"

#include "common/ttl.h"

static void normalises_to_the_coarsest_unit_that_divides(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},       {"0", ""},       {"90m", "90m"},  {"90", "90m"},    {"60m", "1h"},
        {"120m", "2h"}, {"24h", "1d"},   {"7d", "1w"},    {"30d", "1M"},    {"365d", "1y"},
        {"300m", "5h"}, {"257m", "4h"},  {"400d", "57w"}, {"5x", ""},       {"3M", "3M"},
        {"300h", "12d"}, {"300d", "10M"}, {"1000w", "233M"}, {"255y", "255y"}, {"256y", ""},
        {"255m", "255m"}, {"256m", "4h"}, {"0m", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ttl ttl;
        char text[8];
        assert_int_equal(ttl_parse(slice_cstr(rows[i][0]), &ttl, NULL), 0);
        ttl_format(ttl, text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void refuses_a_bad_number(void **state)
{
    struct ttl ttl;
    struct error err = {0};
    assert_int_equal(ttl_parse(SLICE("1.5h"), &ttl, &err), KELP_E_INVALID);
    assert_string_equal(err.message, "strconv.Atoi: parsing \"1.5\": invalid syntax");
    assert_int_equal(ttl_parse(SLICE("h"), &ttl, &err), KELP_E_INVALID);
}

static void packs_count_and_unit(void **state)
{
    assert_int_equal(ttl_to_u32((struct ttl){3, 2}), 0x302);
    assert_int_equal(ttl_to_u32((struct ttl){0, 2}), 0);
    assert_int_equal(ttl_minutes(ttl_from_u32(0x0302)), 180);
    assert_int_equal(ttl_minutes((struct ttl){5, 99}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_to_the_coarsest_unit_that_divides),
        cmocka_unit_test(refuses_a_bad_number),
        cmocka_unit_test(packs_count_and_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
