/* The reader gate: what is retired stays while somebody may know it, and no longer. */
#include "volume/storage/index/reader_gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- frees are counted: see the --wrap in meson.build ---- */

static void *watched;
static int frees;
void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
    frees += p && p == watched;
    __real_free(p);
}

static void *make(void) { return malloc(sizeof(struct gate_item) + 64); }

static void retired_is_freed_when_nobody_is_inside(void **state)
{
    struct reader_gate gate = {0};
    watched = make();
    frees = 0;
    reader_gate_retire(&gate, NULL);
    assert_true(reader_gate_is_idle(&gate));
    reader_gate_retire(&gate, watched);
    assert_false(reader_gate_is_idle(&gate));
    reader_gate_sweep(&gate);
    reader_gate_sweep(&gate);
    assert_int_equal(frees, 1);
    assert_true(reader_gate_is_idle(&gate));
    reader_gate_fini(&gate);
}

static void retired_stays_while_a_reader_is_inside(void **state)
{
    struct reader_gate gate = {0};
    watched = make();
    frees = 0;
    _Atomic uint32_t *first = reader_gate_enter(&gate);
    reader_gate_retire(&gate, watched);
    for (int i = 0; i < 5; i++)
        reader_gate_sweep(&gate);
    assert_int_equal(frees, 0);
    _Atomic uint32_t *second = reader_gate_enter(&gate); /* the counter does not come to zero */
    reader_gate_leave(first);
    reader_gate_sweep(&gate);
    assert_int_equal(frees, 0);
    reader_gate_leave(second);
    reader_gate_sweep(&gate);
    assert_int_equal(frees, 1);
    reader_gate_fini(&gate);
}

/* Once its counter was at zero, a later reader of the same counter holds nothing up. */
static void each_counter_need_be_at_zero_but_once(void **state)
{
    struct reader_gate gate = {0};
    watched = make();
    frees = 0;
    atomic_fetch_add(&gate.counters[3].inside, 1);
    reader_gate_retire(&gate, watched);
    reader_gate_sweep(&gate);
    reader_gate_sweep(&gate);
    atomic_fetch_add(&gate.counters[4].inside, 1);
    atomic_fetch_sub(&gate.counters[3].inside, 1);
    reader_gate_sweep(&gate);
    assert_int_equal(frees, 1);
    reader_gate_fini(&gate);
}

static void later_pieces_wait_for_their_turn(void **state)
{
    struct reader_gate gate = {0};
    reader_gate_retire(&gate, make());
    _Atomic uint32_t *inside = reader_gate_enter(&gate);
    reader_gate_sweep(&gate);
    watched = make();
    frees = 0;
    reader_gate_retire(&gate, watched);
    reader_gate_leave(inside);
    reader_gate_sweep(&gate);
    reader_gate_sweep(&gate);
    assert_int_equal(frees, 1);
    watched = make();
    frees = 0;
    reader_gate_retire(&gate, watched);
    reader_gate_fini(&gate); /* frees what is left */
    assert_int_equal(frees, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retired_is_freed_when_nobody_is_inside),
        cmocka_unit_test(retired_stays_while_a_reader_is_inside),
        cmocka_unit_test(each_counter_need_be_at_zero_but_once),
        cmocka_unit_test(later_pieces_wait_for_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
