/* Whether a key may have been seen: a Bloom filter in blocks of one cache line. For an index on disk that
 * is being filled: nearly all of its keys are new, and looking each up would cost more than storing it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct key_filter;

/* For about so many keys, at most one in a hundred taken for another. NULL when memory is gone. */
struct key_filter *key_filter_create(uint64_t expected, uint64_t seed);
void key_filter_destroy(struct key_filter *filter);
/* Adds the key; whether it may have been added before. */
bool key_filter_add(struct key_filter *filter, uint64_t key);
bool key_filter_has(const struct key_filter *filter, uint64_t key);
uint64_t key_filter_bytes(const struct key_filter *filter);
