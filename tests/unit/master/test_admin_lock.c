/* Admin locks: leases, renewals, expiry. */
#include "master/admin_lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const struct admin_lease none = {0, 0};

static struct admin_lease lease(struct admin_locks *locks, const char *name, const char *client,
                                struct admin_lease previous, int64_t now_ns)
{
    struct admin_lease ret = {0, 0};
    struct error err = {.code = 0};
    assert_int_equal(admin_lock_lease(locks, name, client, previous, now_ns,
                                      (uint64_t)now_ns * 7919 + 3, &ret, &err),
                     0);
    assert_true(ret.token > 0);
    assert_int_equal(ret.time_ns, now_ns);
    return ret;
}

static void held_lock_refuses_others_with_the_wire_text(void **state)
{
    (void)state;
    struct admin_locks *locks = admin_locks_create();
    struct admin_lease ret;
    struct error err;
    lease(locks, "shell", "10.0.0.1", none, SECOND);
    assert_int_equal(
        admin_lock_lease(locks, "shell", "10.0.0.2", none, 2 * SECOND, 5, &ret, &err),
        KELP_E_UNKNOWN);
    assert_string_equal(err.message, "already locked by 10.0.0.1: ");
    lease(locks, "admin-server", "10.0.0.2", none, 2 * SECOND); /* names are independent */
    admin_locks_destroy(locks);
}

static void renewal_needs_the_last_pair_and_gives_a_new_one(void **state)
{
    (void)state;
    struct admin_locks *locks = admin_locks_create();
    struct admin_lease ret, first = lease(locks, "shell", "a", none, SECOND);
    struct admin_lease second = lease(locks, "shell", "a", first, 5 * SECOND);
    assert_int_not_equal(first.token, second.token);
    struct error err;
    assert_int_equal(admin_lock_lease(locks, "shell", "a", first, 6 * SECOND, 9, &ret, &err),
                     KELP_E_UNKNOWN);
    struct admin_lease wrong_time = {second.token, second.time_ns + 1};
    assert_int_equal(admin_lock_lease(locks, "shell", "a", wrong_time, 6 * SECOND, 9, &ret, &err),
                     KELP_E_UNKNOWN);
    admin_locks_destroy(locks);
}

static void lease_ends_after_ten_seconds(void **state)
{
    (void)state;
    struct admin_locks *locks = admin_locks_create();
    char client[ADMIN_LOCK_CLIENT_SIZE];
    lease(locks, "shell", "a", none, SECOND);
    assert_true(admin_lock_is_held(locks, "shell", 11 * SECOND - 1, client));
    assert_string_equal(client, "a");
    assert_false(admin_lock_is_held(locks, "shell", 11 * SECOND, client));
    assert_string_equal(client, "");
    lease(locks, "shell", "b", none, 11 * SECOND);
    assert_true(admin_lock_is_held(locks, "shell", 12 * SECOND, client));
    assert_string_equal(client, "b");
    admin_locks_destroy(locks);
}

static void only_the_holder_releases(void **state)
{
    (void)state;
    struct admin_locks *locks = admin_locks_create();
    char client[ADMIN_LOCK_CLIENT_SIZE];
    struct admin_lease held = lease(locks, "shell", "a", none, SECOND);
    struct admin_lease wrong = {held.token + 1, held.time_ns};
    assert_false(admin_lock_release(locks, "shell", wrong, client));
    assert_false(admin_lock_release(locks, "shell", none, client));
    assert_true(admin_lock_is_held(locks, "shell", 2 * SECOND, client));
    assert_true(admin_lock_release(locks, "shell", held, client));
    assert_string_equal(client, "a");
    assert_false(admin_lock_is_held(locks, "shell", 2 * SECOND, client));
    assert_false(admin_lock_release(locks, "shell", held, client));
    admin_locks_destroy(locks);
}

static void too_many_names_are_refused_until_some_expire(void **state)
{
    (void)state;
    struct admin_locks *locks = admin_locks_create();
    char name[32];
    struct admin_lease ret;
    struct error err;
    for (unsigned i = 0; i < ADMIN_LOCK_MAX; i++) {
        snprintf(name, sizeof(name), "lock %u", i);
        lease(locks, name, "a", none, SECOND);
    }
    assert_int_equal(admin_lock_lease(locks, "more", "a", none, SECOND, 1, &ret, &err),
                     KELP_E_LIMIT);
    lease(locks, "more", "a", none, 20 * SECOND);
    admin_locks_destroy(locks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_lock_refuses_others_with_the_wire_text),
        cmocka_unit_test(renewal_needs_the_last_pair_and_gives_a_new_one),
        cmocka_unit_test(lease_ends_after_ten_seconds),
        cmocka_unit_test(only_the_holder_releases),
        cmocka_unit_test(too_many_names_are_refused_until_some_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
