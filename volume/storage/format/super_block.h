/* The super block: the first bytes of a .dat. Source: spec/storage-format.md 2.
 *
 *   offset  len  field
 *   0       1    version 1, 2 or 3, of every record in the file
 *   1       1    replica placement
 *   2       2    TTL: count, unit
 *   4       2    compaction revision
 *   6       2    length of the extra part; 0 in everything that was ever released
 *   8       n    extra part (versions 2 and 3); passed over, and left out by a vacuum
 *
 * All big-endian. Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/replica_placement.h"
#include "common/ttl.h"

#define SUPER_BLOCK_SIZE 8u

struct super_block {
    uint8_t version;
    struct replica_placement replica_placement;
    struct ttl ttl;
    uint16_t compact_revision;
    uint16_t extra_size;
};

void super_block_store(uint8_t bytes[SUPER_BLOCK_SIZE], const struct super_block *block);
/* KELP_E_CORRUPT for a version that nobody writes. */
int super_block_load(const uint8_t bytes[SUPER_BLOCK_SIZE], struct super_block *ret,
                     struct error *err);
/* Where the first record begins. */
uint64_t super_block_end(const struct super_block *block);
