/* One program per target; its entry point takes any bytes at all, and aborts (CHECK) when a promise
 * does not hold for them. Linked with libFuzzer, or with driver.c, which needs no clang.
 *
 * Input is read from the front with the fuzz_take_ functions, which give zeros when there is no
 * more: every input is a valid one. */
#pragma once

#include "common/bytes.h"
#include "common/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes up to n bytes off the front. */
static inline struct slice fuzz_take(struct slice *input, size_t n)
{
    struct slice taken = slice_until(*input, n);
    *input = slice_from(*input, n);
    return taken;
}

static inline uint8_t fuzz_take_byte(struct slice *input)
{
    struct slice taken = fuzz_take(input, 1);
    return taken.len ? (uint8_t)taken.ptr[0] : 0;
}

static inline uint64_t fuzz_take_u64(struct slice *input)
{
    uint8_t bytes[8] = {0};
    struct slice taken = fuzz_take(input, sizeof(bytes));
    if (taken.len)
        memcpy(bytes, taken.ptr, taken.len);
    return load_be64(bytes);
}

/* Up to the first `end`, which is dropped; all of it when there is none. */
static inline struct slice fuzz_take_until(struct slice *input, char end)
{
    ptrdiff_t at = slice_find(*input, end);
    struct slice taken = at < 0 ? *input : slice_until(*input, (size_t)at);
    *input = at < 0 ? slice_from(*input, input->len) : slice_from(*input, (size_t)at + 1);
    return taken;
}

/* An empty slice lies anywhere. */
static inline bool fuzz_lies_within(struct slice part, struct slice whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}
