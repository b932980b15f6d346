/* Addresses in their three text forms. */
#include "tests/unit/cmocka_all.h"

#include "common/address.h"

static void grpc_port_is_http_plus_10000_unless_given(void **state)
{
    static const char *const rows[][4] = {
        {"localhost:9333", "localhost:9333", "localhost:9333", "localhost:19333"},
        {"h:9333.5", "h:9333.5", "h:9333", "h:5"},
        {"h:9333.19333", "h:9333", "h:9333", "h:19333"},
        {"[::1]:80", "[::1]:80", "[::1]:80", "[::1]:10080"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address a;
        char text[ADDRESS_TEXT_SIZE];
        assert_int_equal(address_parse(slice_cstr(rows[i][0]), &a, NULL), 0);
        address_format(&a, text);
        assert_string_equal(text, rows[i][1]);
        address_format_http(&a, text);
        assert_string_equal(text, rows[i][2]);
        address_format_grpc(&a, text);
        assert_string_equal(text, rows[i][3]);
    }
}

static void equality_ignores_the_grpc_port(void **state)
{
    struct address a, b;
    address_parse(SLICE("h:1.2"), &a, NULL);
    address_parse(SLICE("h:1"), &b, NULL);
    assert_true(address_equals(&a, &b));
}

static void refuses_what_is_no_address(void **state)
{
    static const char *const rows[] = {"",      "h",       "h:",    "h:x",    "h:1.", "h:1.x",
                                       "h:70000", "h:1:x", "[[]]:3", "a]:3", "[a:3"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address a;
        struct error err = {0};
        assert_int_equal(address_parse(slice_cstr(rows[i]), &a, &err), KELP_E_INVALID);
        assert_non_null(strstr(err.message, "want host:port"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grpc_port_is_http_plus_10000_unless_given),
        cmocka_unit_test(equality_ignores_the_grpc_port),
        cmocka_unit_test(refuses_what_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
