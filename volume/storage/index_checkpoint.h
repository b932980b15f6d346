/* The checkpoint of a memory index: what a clean stop leaves beside the .idx, so that the next start reads
 * the rows behind it only. A cache: any doubt, and the .idx is read instead. The peer ignores the file.
 *
 *   offset len  field (little-endian)
 *   0      8    "kelpkix1"
 *   8      4    leaves
 *   12     4    0
 *   16     232  the mark (index_mark.h): of which .idx, up to where
 *   248    8    XXH3 of the heads
 *   256    8    XXH3 of all before
 *   264    ..   a head of 40 bytes for each leaf, by key; then the data of each (packed_leaf.h)
 *
 *   head of a leaf: entries (4), bytes of data (4), last key (8), lowest and highest offset (8 each), XXH3
 *   of the data (8)
 *
 * The name is that of the .idx with "kix" instead of "idx". May block. */
#pragma once

#include "volume/storage/volume_generation.h"

/* Below that many rows reading the .idx is as quick. */
#define INDEX_CHECKPOINT_ROWS_MIN 4096u

/* Writes the checkpoint of a generation that nobody uses any more, if it is worth it and its index holds
 * what its .idx says: through a temporary name, all synced. The .dat and the .idx are synced before, for
 * the mark vouches for them. What is there of an earlier time is replaced, or removed. */
int index_checkpoint_write(struct volume_generation *generation, struct error *err);
/* The index and the mark of the checkpoint beside the generation's .idx. KELP_E_NOT_FOUND: there is none;
 * KELP_E_CORRUPT: it is odd, its mark does not hold, or is behind `limit` bytes of the .idx. */
int index_checkpoint_read(struct volume_generation *generation, uint64_t limit,
                          struct needle_index **ret, struct index_mark *ret_mark, struct error *err);
/* Removes it; nothing there is success. */
int index_checkpoint_remove(struct volume_generation *generation, struct error *err);
