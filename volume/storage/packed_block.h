/* The code of up to 64 index entries, sorted by key.
 *
 *   offset len  field (little-endian)
 *   0      1    width of a key's distance to the one before it, less 1, in bits: 0..64
 *   1      1    width of a size, 0..32
 *   2      1    width of an offset, 0..40
 *   3      1    flags
 *   4      4    smallest size
 *   8      5    smallest offset that is stored, in units of 8
 *   13     8    if PACKED_HAS_DELETED: a bit for each deleted entry
 *   ..     8    if PACKED_HAS_BREAKS: a bit for each entry whose offset is stored, the first among them
 *   ..          keys: count - 1 distances; sizes: count; offsets: as many as are stored. Bits from the
 *               lowest up, each list begins at a byte; the smallest is taken off sizes and offsets
 *
 * The first key stands elsewhere, with the count. With PACKED_IS_CHAINED an offset that is not stored
 * follows from the entry before: it lies where that one's record ends. Without breaks that goes for all
 * but the first, whose offset is the smallest. So needles that came in the order of their keys cost what
 * their sizes cost. A deleted entry's size is stored without its sign. Pure; any thread. */
#pragma once

#include "volume/storage/needle.h"

#define PACKED_BLOCK_ENTRIES 64u
#define PACKED_BLOCK_HEAD    13u
/* What the longest block takes, and how far behind a block a read may reach. */
#define PACKED_BLOCK_MAX   (PACKED_BLOCK_HEAD + 16u + PACKED_BLOCK_ENTRIES * 17u + 12u)
#define PACKED_BLOCK_SLACK 9u

enum packed_flag {
    PACKED_HAS_DELETED = 1,
    PACKED_IS_CHAINED = 2,
    PACKED_HAS_BREAKS = 4,
};

/* Encodes `count` entries (1 to 64), keys rising, into `ret`, PACKED_BLOCK_MAX bytes of zeros; returns the
 * length. `version`: of the records, whose lengths the chains follow. */
size_t packed_block_encode(uint8_t *ret, const struct needle_entry *entries, size_t count,
                           uint8_t version);
/* All entries again. */
void packed_block_decode(const uint8_t *block, uint64_t first_key, size_t count, uint8_t version,
                         struct needle_entry *ret);
/* The entry of one key; false when it is not there. */
bool packed_block_find(const uint8_t *block, uint64_t first_key, size_t count, uint8_t version,
                       uint64_t key, struct needle_entry *ret);
/* The length that a block of that many entries says it has, or 0 when its head makes no sense. A block
 * within `size` bytes and of that very length can be decoded, whatever its bytes are. */
size_t packed_block_length(const uint8_t *block, size_t size, size_t count);
