/* How far an index that outlives the process (a checkpoint file, a LevelDB) is known to hold what an .idx
 * says: the volume, the revision, a position in the .idx with a checksum of all rows before it, and with
 * it the state of the walk that was there and the counters. Loading goes on from it with the rows behind
 * it (index_load.h).
 *
 *   offset len  field (little-endian)
 *   0      8    "kelpmrk1"
 *   8      4    volume id
 *   12     2    compaction revision
 *   14     1    version of the records
 *   15     1    width of the offsets in the .idx, 4 or 5
 *   16     8    end of the .dat when the mark was made
 *   24     24   .idx: inode, size, mtime in ns
 *   48     96   struct index_walk: length, hash, rows, chain, last offset, last end, first, records end,
 *               last row (key, offset, size), after a gap: 0 or 1
 *   144    80   counters: see index_mark.c
 *   224    8    XXH3 of all before
 *
 * A mark is trusted without reading the .idx while this is, by inode, size and time, the file that it was
 * made of; else the rows before it are read and compared. */
#pragma once

#include "volume/storage/index/index_walk.h"
#include "volume/storage/index/needle_index.h"

#define INDEX_MARK_SIZE 232u

struct index_mark {
    uint32_t volume_id;
    uint16_t compact_revision;
    uint8_t version, offset_bytes;
    uint64_t dat_end;
    uint64_t idx_inode, idx_size;
    int64_t idx_mtime_ns;
    struct index_walk walk;
    struct needle_index_stat counters; /* without memory_bytes */
};

/* Of what a mark is to be made, or against what one is held. */
struct index_mark_place {
    uint32_t volume_id;
    uint16_t compact_revision;
    uint8_t version;
    uint64_t first;   /* where the first record of the .dat begins */
    uint64_t dat_end; /* logical */
    struct index_file *idx;
};

/* A mark at the beginning of the .idx. */
void index_mark_begin(struct index_mark *mark, const struct index_mark_place *place);
/* Takes the rows between the mark and `to` (cut to the end of the .idx) into the walk. */
int index_mark_advance(struct index_mark *mark, const struct index_mark_place *place, uint64_t to,
                       struct error *err);
/* Notes what file the .idx is now, the end of the .dat, and the counters. To be called when the index
 * holds the rows up to the mark and no others. !is_synced: a power loss can still change the rows and leave
 * name, size and time as they are, so that the mark will be held against the rows in any case. */
int index_mark_seal(struct index_mark *mark, const struct index_mark_place *place,
                    struct needle_index *index, bool is_synced, struct error *err);

void index_mark_store(uint8_t bytes[INDEX_MARK_SIZE], const struct index_mark *mark);
/* KELP_E_CORRUPT when the bytes are no mark. */
int index_mark_load(const uint8_t bytes[INDEX_MARK_SIZE], struct index_mark *ret, struct error *err);
/* 0 when the mark holds for this place; KELP_E_CORRUPT, and why, when it does not; or the error that kept
 * the .idx from being read. Reads the .idx up to the mark only if it may have changed. */
int index_mark_check(const struct index_mark *mark, const struct index_mark_place *place,
                     struct error *err);
