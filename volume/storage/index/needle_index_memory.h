/* What the memory index shares with its cursor and its checkpoint. Not for others: see needle_index.h. */
#pragma once

#include "volume/storage/index/needle_index.h"
#include "volume/storage/index/packed_tree.h"

/* The entries of an index of this kind; NULL for another kind. */
struct packed_tree *needle_index_memory_tree(struct needle_index *index);
/* The counters go on from there. */
void needle_index_memory_restore(struct needle_index *index, const struct needle_index_stat *counters);

/* `live`: how many live entries there are, about. */
int memory_cursor_create(struct needle_cursor **ret, struct packed_tree *tree, uint64_t live,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err);
