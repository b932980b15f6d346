/* The white list: addresses and blocks. */
#include "common/white_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void empty_list_admits_everybody(void **state)
{
    (void)state;
    struct white_list *list = NULL;
    assert_int_equal(white_list_create(&list, "", NULL), 0);
    assert_null(list);
    assert_true(white_list_admits(list, "192.0.2.1"));
    assert_int_equal(white_list_create(&list, " , ", NULL), 0);
    assert_true(white_list_admits(list, "192.0.2.1"));
}

static void addresses_and_blocks_admit_what_they_cover(void **state)
{
    (void)state;
    struct white_list *list = NULL;
    assert_int_equal(white_list_create(&list, "192.0.2.7, 10.16.0.0/12,2001:db8::/33", NULL), 0);
    assert_true(white_list_admits(list, "192.0.2.7"));
    assert_true(white_list_admits(list, "::ffff:192.0.2.7"));
    assert_false(white_list_admits(list, "192.0.2.8"));
    assert_true(white_list_admits(list, "10.31.255.255"));
    assert_false(white_list_admits(list, "10.32.0.0"));
    assert_true(white_list_admits(list, "2001:db8:7fff::1"));
    assert_false(white_list_admits(list, "2001:db8:8000::1"));
    assert_false(white_list_admits(list, "not an address"));
    white_list_destroy(list);
}

static void wide_block_of_ipv6_covers_no_ipv4(void **state)
{
    (void)state;
    static const char *const wide[] = {"::/0", "::/64", "::/80", "::/95"};
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        struct white_list *list = NULL;
        assert_int_equal(white_list_create(&list, wide[i], NULL), 0);
        assert_true(white_list_admits(list, "::1"));
        assert_false(white_list_admits(list, "192.0.2.1"));
        assert_false(white_list_admits(list, "::ffff:192.0.2.1"));
        assert_false(white_list_admits(list, "::ffff:c000:201"));
        white_list_destroy(list);
    }
    struct white_list *all = NULL;
    assert_int_equal(white_list_create(&all, "0.0.0.0/0,::ffff:0:0/96", NULL), 0);
    assert_true(white_list_admits(all, "192.0.2.1"));
    assert_false(white_list_admits(all, "2001:db8::1"));
    white_list_destroy(all);
}

static void interface_of_an_address_does_not_count(void **state)
{
    (void)state;
    struct white_list *list = NULL;
    assert_int_equal(white_list_create(&list, "fe80::/10", NULL), 0);
    assert_true(white_list_admits(list, "fe80::1%eth0"));
    assert_false(white_list_admits(list, "2001:db8::1%eth0"));
    assert_false(white_list_admits(list, "%eth0"));
    assert_false(white_list_admits(list, ""));
    white_list_destroy(list);
}

static void nonsense_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"localhost", "10.0.0.0/33", "10.0.0.0/", "1.2.3", "::/129",
                                      "10.0.0.0/8x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct white_list *list;
        struct error err;
        assert_int_equal(white_list_create(&list, bad[i], &err), KELP_E_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_list_admits_everybody),
        cmocka_unit_test(addresses_and_blocks_admit_what_they_cover),
        cmocka_unit_test(wide_block_of_ipv6_covers_no_ipv4),
        cmocka_unit_test(interface_of_an_address_does_not_count),
        cmocka_unit_test(nonsense_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
