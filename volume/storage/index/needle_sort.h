/* Sorting many index entries. Pure; any thread. */
#pragma once

#include "volume/storage/index/needle_index.h"

/* By key or offset, those of one value staying in their order. `scratch` has room for as many and is
 * overwritten. */
void needle_sort(struct needle_entry *entries, size_t count, enum needle_index_order order,
                 struct needle_entry *scratch);
