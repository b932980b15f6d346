/* The rows of an .idx in order of (offset, size), in bounded memory.
 *
 * An .idx is a log: its rows stand in the order of the .dat, or, after a compaction by the peer,
 * in the order of the keys. A first walk counts how many rows begin in each stretch of the .dat,
 * and where in the .idx they stand; then as many stretches at a time as fit into memory are
 * collected and sorted. Where the rows are in order of the .dat, that reads each row twice,
 * whatever their number. One thread; blocks. */
#pragma once

#include "volume/storage/format/index_file.h"

struct index_order;

/* Walks the rows below idx_end once, all of which `visit` (may be NULL) sees in file order; those
 * with an offset in [from, to) will be delivered. */
int index_order_open(struct index_order **ret, struct index_file *file, uint64_t idx_end,
                     uint64_t from, uint64_t to, index_file_visitor *visit, void *ctx,
                     struct error *err);
/* The next row, valid until the next call; NULL at the end. */
int index_order_next(struct index_order *order, const struct needle_entry **ret, struct error *err);
/* Rows that are not delivered because far more begin in one stretch than records can. */
uint64_t index_order_crowded(const struct index_order *order);
void index_order_close(struct index_order *order); /* NULL is fine */
