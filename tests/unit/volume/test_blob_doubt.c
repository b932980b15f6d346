/* Which writes may be undone. */
#include "volume/blob_doubt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct blob_doubts *doubts;

static int start(void **state)
{
    doubts = blob_doubts_create();
    return 0;
}

static int stop(void **state)
{
    blob_doubts_destroy(doubts); /* which checks that nothing is left */
    return 0;
}

static void a_write_that_was_alone_may_be_undone(void **state)
{
    struct blob_doubt *first = blob_doubt_enter(doubts, 3, 7);
    struct blob_doubt *other_key = blob_doubt_enter(doubts, 3, 8);
    struct blob_doubt *other_volume = blob_doubt_enter(doubts, 4, 7);
    assert_true(blob_doubt_begin_undo(doubts, first));
    blob_doubt_leave(doubts, other_volume);
    blob_doubt_leave(doubts, other_key);
    blob_doubt_leave(doubts, first);
}

static void writes_that_overlap_are_not_undone(void **state)
{
    struct blob_doubt *first = blob_doubt_enter(doubts, 3, 7);
    struct blob_doubt *second = blob_doubt_enter(doubts, 3, 7);
    assert_false(blob_doubt_begin_undo(doubts, first));
    blob_doubt_leave(doubts, first);
    assert_false(blob_doubt_begin_undo(doubts, second)); /* also when the other has ended */
    blob_doubt_leave(doubts, second);
    first = blob_doubt_enter(doubts, 3, 7);
    assert_true(blob_doubt_begin_undo(doubts, first));
    blob_doubt_leave(doubts, first);
}

static void nobody_writes_while_a_key_is_undone(void **state)
{
    struct blob_doubt *first = blob_doubt_enter(doubts, 3, 7);
    assert_true(blob_doubt_begin_undo(doubts, first));
    assert_null(blob_doubt_enter(doubts, 3, 7));
    blob_doubt_leave(doubts, first);
    blob_doubt_leave(doubts, NULL);
    struct blob_doubt *second = blob_doubt_enter(doubts, 3, 7);
    assert_non_null(second);
    blob_doubt_leave(doubts, second);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_write_that_was_alone_may_be_undone),
        CASE(writes_that_overlap_are_not_undone),
        CASE(nobody_writes_while_a_key_is_undone),
    };
    return cmocka_run_group_tests_name("blob_doubt", tests, NULL, NULL);
}
