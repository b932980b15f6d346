/* The walk along the rows of an .idx: what it has seen so far, in constant memory. index_load.c judges by
 * it, index_mark.h keeps it, so that a later walk goes on where this one ended. Pure; any thread.
 *
 * `chain`: records are written without gaps and each gets a row, so that the rows are the links of one
 * chain from the first record to the end of the last (see index_load.c).
 * `hash`: the sum of XXH3 over each row, seeded with its position: other rows, or the same in another
 * order, give another sum, and a row more costs one addition. */
#pragma once

#include "volume/storage/format/index_file.h"

struct index_walk {
    uint64_t idx_length; /* bytes of the .idx that were walked */
    uint64_t hash;
    uint64_t rows;
    uint64_t chain; /* the sum of mix(beginning) - mix(end), but for the end of the last record */
    uint64_t last_offset, last_end;
    bool is_after_gap;
    uint64_t first;           /* where the first record begins */
    uint64_t records_end;     /* end of the last record that a row names */
    struct needle_entry last; /* that row; offset 0 when there is none */
};

/* At the beginning of an .idx whose .dat has its first record at `first`. */
void index_walk_begin(struct index_walk *walk, uint64_t first);
/* Takes the next row. `version`: of the records. */
void index_walk_row(struct index_walk *walk, const struct needle_entry *entry, uint8_t version,
                    uint8_t offset_bytes);
/* Whether the rows so far leave no hole and no overlap. */
bool index_walk_is_whole(const struct index_walk *walk);
/* The hash that a walk over these rows would have, and nothing else. */
int index_walk_hash(struct index_file *idx, uint64_t length, uint64_t *ret, struct error *err);
