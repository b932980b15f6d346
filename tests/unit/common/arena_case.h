/* For tests of what puts its results in an arena: a fresh one for each test. */
#pragma once

#include "tests/unit/cmocka_all.h"

#include "common/arena.h"

static struct arena arena;

static inline int setup(void **state)
{
    arena_init(&arena);
    return 0;
}

static inline int teardown(void **state)
{
    arena_fini(&arena);
    return 0;
}

static inline void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.ptr ? s.ptr : "", text, s.len);
}
