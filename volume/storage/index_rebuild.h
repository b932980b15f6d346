/* Making an .idx anew from its .dat, for a volume that no server has open. Source:
 * spec/storage-format.md 15.
 *
 * Every record gets its row, in the order of the .dat, as if the writes had just happened; so the
 * counters that tell the garbage come out right. (The peer's tool keeps the last put and the last
 * delete of a key only; both read back the same.) Where an old .idx is at hand it is asked for
 * what the .dat does not tell: that an empty record is an empty needle and not a delete, and that
 * bytes which are no sound record are a damaged one: its row is kept, so that a read says
 * "damaged" and not "not found".
 *
 * Writes the file at `path` only, which the caller puts in its place. Bounded memory, but for
 * `is_live_only`, which takes an index. One thread; blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

struct index_rebuild_options {
    bool is_live_only; /* rows of live needles only */
    /* Non-zero ends it with KELP_E_CANCELLED; may be NULL. */
    int (*on_progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

struct index_rebuild_result {
    uint64_t puts, deletes;  /* rows of either kind */
    uint64_t empty_needles;  /* of the puts: only the old .idx knew them */
    uint64_t damaged_kept;   /* of the puts: records that are not sound */
    uint64_t gap_bytes;      /* that are no record, before the last one */
    uint64_t torn_bytes;     /* at the end; they get no row and stay in the .dat */
    bool is_unchanged;       /* the old .idx is the same, byte for byte */
};

/* `generation` is open for reading, its .idx the old one (it may be empty). With `path` NULL the
 * rows are made and counted, and nothing is written. The new file is synced; on failure it is
 * removed. */
int index_rebuild(struct volume_generation *generation, const char *path,
                  const struct index_rebuild_options *options, struct index_rebuild_result *ret,
                  struct error *err);
