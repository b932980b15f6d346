/* Building an old leaf and new entries into new leaves. Pure; any thread. */
#pragma once

#include "volume/storage/index/packed_leaf.h"

/* How many leaves packed_merge may make of `old_count` entries and `count` more. */
size_t packed_merge_limit(size_t old_count, size_t count);
/* The leaves, in the order of their keys, into `ret`; answers how many, 0 when memory is gone (then none
 * is left over). `old` may be NULL. Of each key the new entry is taken. Where all new keys lie behind a
 * leaf that is large enough, ret[0] is `old` itself. */
size_t packed_merge(const struct packed_leaf *old, const struct needle_entry *entries, size_t count,
                    uint8_t version, struct packed_leaf **ret);
