/* File ids: canonical text, every accepted shape, and the texts of refusals. */
#include "tests/unit/cmocka_all.h"

#include "common/file_id.h"

static void check_needle(const char *text, uint64_t key, uint32_t cookie)
{
    uint64_t got_key = 0;
    uint32_t got_cookie = 0;
    struct error err = {0};
    assert_int_equal(needle_id_parse(slice_cstr(text), &got_key, &got_cookie, &err), 0);
    assert_int_equal(got_key, key);
    assert_int_equal(got_cookie, cookie);
}

static void check_refused(const char *text, const char *message)
{
    uint64_t key = 7;
    uint32_t cookie = 7;
    struct error err = {0};
    assert_int_equal(needle_id_parse(slice_cstr(text), &key, &cookie, &err), KELP_E_INVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(key, 7); /* untouched */
}

static void formats_without_leading_zero_bytes(void **state)
{
    static const struct {
        struct file_id id;
        const char *text;
    } rows[] = {
        {{3, 1, 0x637037d6}, "3,01637037d6"},
        {{5, 0x123, 10}, "5,01230000000a"},
        {{1, 0, 0xab}, "1,000000ab"},
        {{UINT32_MAX, UINT64_MAX, UINT32_MAX}, "4294967295,ffffffffffffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[FILE_ID_TEXT_SIZE];
        size_t length = file_id_format(&rows[i].id, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(length, strlen(text));
    }
}

static void parses_every_shape(void **state)
{
    check_needle("01637037d6", 1, 0x637037d6);
    check_needle("1637037d6", 1, 0x637037d6);
    check_needle("01637037D6", 1, 0x637037d6);
    check_needle("01637037d6_2", 3, 0x637037d6);
    check_needle("01637037d6_", 1, 0x637037d6);
    check_needle("ffffffffffffffff00000001", UINT64_MAX, 1);
}

static void refuses_with_the_text_of_the_wire(void **state)
{
    check_refused("637037d6", "Invalid fid: 637037d6");
    check_refused("637037d6_1", "KeyHash is too short.");
    check_refused("1ffffffffffffffff00000001", "KeyHash is too long.");
    check_refused("0x637037d6", "Parse needleId error: needle id 0x format error: "
                                "strconv.ParseUint: parsing \"0x\": invalid syntax");
    check_refused("0163703zd6", "Parse cookie error: needle cookie 63703zd6 format error: "
                                "strconv.ParseUint: parsing \"63703zd6\": invalid syntax");
    check_refused("01637037d6_x", "strconv.ParseUint: parsing \"x\": invalid syntax");
    check_refused("01637037d6_99999999999999999999",
                  "strconv.ParseUint: parsing \"99999999999999999999\": value out of range");
    check_refused("ffffffffffffffff00000001_1", "delta 1 overflows needle id ffffffffffffffff");
}

static void whole_form_needs_a_volume(void **state)
{
    struct file_id id;
    struct error err = {0};
    assert_int_equal(file_id_parse(SLICE("3,01637037d6"), &id, &err), 0);
    assert_int_equal(id.volume_id, 3);
    assert_int_equal(file_id_parse(SLICE(",01637037d6"), &id, &err), KELP_E_INVALID);
    assert_int_equal(file_id_parse(SLICE("3x,01637037d6"), &id, &err), KELP_E_INVALID);
    assert_int_equal(file_id_parse(SLICE("4294967296,01637037d6"), &id, &err), KELP_E_INVALID);
    assert_int_equal(file_id_parse(SLICE("-1,01637037d6"), &id, &err), KELP_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_without_leading_zero_bytes),
        cmocka_unit_test(parses_every_shape),
        cmocka_unit_test(refuses_with_the_text_of_the_wire),
        cmocka_unit_test(whole_form_needs_a_volume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
