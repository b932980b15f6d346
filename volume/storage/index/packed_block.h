/* The code of up to 64 index entries, sorted by key.
 *
 *   offset len  field (little-endian)
 *   0      1    width of what a key differs from the line by, in bits: 0..64
 *   1      1    width of a size, 0..32
 *   2      1    width of an offset, 0..40
 *   3      1    flags
 *   4      4    smallest size
 *   8      5    smallest offset that is stored, in units of 8
 *   13     8    if PACKED_HAS_DELETED: a bit for each deleted entry
 *   ..     8    if PACKED_HAS_BREAKS: a bit for each entry whose offset is stored, the first among them
 *   ..     16   if PACKED_HAS_LINE: how steep the line is, and where it begins
 *   ..          a row for each entry: key, size, and, unless chained, offset; bits from the lowest up
 *   ..          if PACKED_HAS_BREAKS, from a new byte on: the offsets that are stored
 *
 * Keys are near a line: key i is begin + i * steep + what its row says, modulo 2^64. So the place of a key
 * is guessed, and found with a look or two, in few lines of cache. Without PACKED_HAS_LINE the keys follow
 * each other from the first, which stands elsewhere, with the count.
 *
 * With PACKED_IS_CHAINED an offset that is not stored follows from the entry before: it lies where that
 * one's record ends. Without breaks that goes for all but the first, whose offset is the smallest. So needles
 * that came in the order of their keys cost what their sizes cost. A deleted entry's size is stored without
 * its sign; the smallest is taken off sizes and offsets. Pure; any thread. */
#pragma once

#include "volume/storage/format/needle.h"

#define PACKED_BLOCK_ENTRIES 64u
#define PACKED_BLOCK_HEAD    13u
/* What the longest block takes, and how far behind a block a read may reach. */
#define PACKED_BLOCK_MAX   (PACKED_BLOCK_HEAD + 32u + PACKED_BLOCK_ENTRIES * 17u + 19u)
#define PACKED_BLOCK_SLACK 9u

enum packed_flag {
    PACKED_HAS_DELETED = 1,
    PACKED_IS_CHAINED = 2,
    PACKED_HAS_BREAKS = 4,
    PACKED_HAS_LINE = 8,
};

/* Encodes `count` entries (1 to 64), keys rising, into `ret`, PACKED_BLOCK_MAX bytes; returns the length.
 * `version`: of the records, whose lengths the chains follow. */
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
