#include "volume/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool allows(const char *list, const char *ip)
{
    struct guard *guard;
    assert_int_equal(guard_create(&guard, list, NULL, NULL), 0);
    bool is_allowed = guard_allows(guard, ip);
    guard_destroy(guard);
    return is_allowed;
}

static void empty_list_lets_everybody_in(void **state)
{
    assert_true(allows(NULL, "192.0.2.1"));
    assert_true(allows(" , ", "192.0.2.1"));
    assert_true(guard_allows(NULL, "192.0.2.1"));
}

static void addresses_match_exactly(void **state)
{
    assert_true(allows("10.0.0.1, 192.0.2.1", "192.0.2.1"));
    assert_false(allows("10.0.0.1, 192.0.2.1", "192.0.2.11"));
    assert_true(allows("::1", "0:0::1"));
    assert_true(allows("192.0.2.1", "::ffff:192.0.2.1"));
}

static void blocks_match_their_prefix(void **state)
{
    assert_true(allows("10.0.0.0/8", "10.255.1.2"));
    assert_false(allows("10.0.0.0/8", "11.0.0.1"));
    assert_true(allows("10.0.0.128/25", "10.0.0.200"));
    assert_false(allows("10.0.0.128/25", "10.0.0.100"));
    assert_true(allows("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(allows("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(allows("0.0.0.0/0", "198.51.100.7"));
}

static void names_match_as_text(void **state)
{
    assert_true(allows("localhost", "localhost"));
    assert_false(allows("localhost", "127.0.0.1"));
}

static void bad_blocks_are_skipped_and_let_nobody_in(void **state)
{
    struct guard *guard;
    size_t skipped;
    assert_int_equal(guard_create(&guard, "10.0.0.0/33,x/8,10.0.0.0/", &skipped, NULL), 0);
    assert_int_equal(skipped, 3);
    assert_false(guard_is_open(guard));
    assert_false(guard_allows(guard, "10.0.0.1"));
    guard_destroy(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_list_lets_everybody_in),
        cmocka_unit_test(addresses_match_exactly),
        cmocka_unit_test(blocks_match_their_prefix),
        cmocka_unit_test(names_match_as_text),
        cmocka_unit_test(bad_blocks_are_skipped_and_let_nobody_in),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
