/* Filling an index of kind "memory" from rows in any order: they are collected, sorted by key and merged
 * into the tree, a bounded number at a time. */
#pragma once

#include "volume/storage/index/needle_counters.h"
#include "volume/storage/index/packed_tree.h"

struct needle_fill;

/* NULL when memory is gone. The tree and the counters must live as long. */
struct needle_fill *needle_fill_create(struct packed_tree *tree, struct needle_counters *counters,
                                       uint64_t expected);
void needle_fill_destroy(struct needle_fill *fill); /* NULL is fine */
/* A put, or, with offset 0, a delete. */
int needle_fill_add(struct needle_fill *fill, const struct needle_entry *entry,
                    enum needle_index_event event, struct error *err);
/* Merges what was collected. */
int needle_fill_flush(struct needle_fill *fill, struct error *err);
