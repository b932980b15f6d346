/* What packed_tree.c and packed_write.c share. Not for others: see packed_tree.h. */
#pragma once

#include "volume/storage/index/packed_tree.h"

/* NULL when memory is gone. All slots empty. */
struct packed_top *packed_top_create(size_t count);
/* The slot of the key. */
size_t packed_top_seek(const struct packed_top *top, uint64_t key);
/* Keeps tree->bytes: of a piece that came, of one that is about to go; NULL for none. */
void packed_tree_account(struct packed_tree *tree, void *added, void *removed);
