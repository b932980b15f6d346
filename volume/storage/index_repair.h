/* Bringing an .idx back in line with its .dat. Source: spec/storage-format.md 8, 11.4, 15, and the rule
 * that no operator is needed after a crash.
 *
 * Records are never removed; only bytes at the end of the .dat that hold no whole record are cut. A size-0
 * record counts as a tombstone unless the old .idx knows it as an empty needle. Blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

struct index_repair {
    uint64_t records_added;  /* rows made for records that had none */
    uint64_t rows_dropped;   /* rows that had no record */
    uint64_t bytes_cut;      /* torn bytes at the end of the .dat */
    uint64_t bytes_skipped;  /* gaps between records */
    uint64_t newest_append_at_ns; /* of the records that were scanned */
};

/* Adds rows for the whole records from `offset` to the end, to the .idx and to generation->index, and
 * cuts a torn rest off the .dat. With !is_writable only the index in memory is completed. */
int index_repair_tail(struct volume_generation *generation, uint64_t offset, bool is_writable,
                      struct index_repair *ret, struct error *err);

/* Makes the .idx anew from the whole .dat and the old rows, through `<idx>.tmp`, and reopens it; also
 * cuts a torn rest. generation->index holds what the old rows said and is replaced by a fresh one. With
 * !is_writable only the index in memory is made. */
int index_repair_rebuild(struct volume_generation *generation, bool is_writable,
                         struct index_repair *ret, struct error *err);
