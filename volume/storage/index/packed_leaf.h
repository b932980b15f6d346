/* A leaf of the packed index: some thousand entries of neighbouring keys in packed blocks, one after another
 * in one piece of memory, with a directory of them. Never changed once it is built: what is new waits
 * beside it (packed_delta.h), until both are built into a new leaf.
 *
 *   data = directory | blocks | slack
 *   directory: for each block its first key (8) and where it begins in data (4), little-endian
 *
 * All blocks but the last hold 64 entries. Pure; any thread. */
#pragma once

#include "volume/storage/index/packed_block.h"
#include "volume/storage/index/reader_gate.h"

#define PACKED_LEAF_TARGET 2048u /* entries of a leaf when there is a choice */
#define PACKED_LEAF_MAX    3072u
#define PACKED_LEAF_BLOCKS (PACKED_LEAF_MAX / PACKED_BLOCK_ENTRIES)

struct packed_leaf {
    struct gate_item item;
    uint64_t last_key;
    uint64_t low_offset, high_offset; /* of its entries, deleted ones included */
    uint32_t count;                   /* of entries, at least 1 */
    uint32_t size;                    /* bytes of data */
    uint8_t data[];
};

static inline size_t packed_leaf_blocks(const struct packed_leaf *leaf)
{
    return (leaf->count + PACKED_BLOCK_ENTRIES - 1) / PACKED_BLOCK_ENTRIES;
}
static inline uint64_t packed_leaf_first_key(const struct packed_leaf *leaf)
{
    return load_le64(leaf->data);
}
/* The entry of a key; false when it is not there. */
bool packed_leaf_find(const struct packed_leaf *leaf, uint8_t version, uint64_t key,
                      struct needle_entry *ret);
/* Decodes one block, PACKED_BLOCK_ENTRIES at most; answers how many there were. */
size_t packed_leaf_decode(const struct packed_leaf *leaf, size_t block, uint8_t version,
                          struct needle_entry *ret);
/* The block in which this key is, if it is anywhere: the last that begins at or before it, or 0. */
size_t packed_leaf_seek(const struct packed_leaf *leaf, uint64_t key);
/* Whether `data`, of a file that may say anything, can be read without going astray. */
bool packed_leaf_is_sound(const struct packed_leaf *leaf);

/* Builds leaves, one after another. About 60 KiB: for a stack. */
struct leaf_builder {
    uint8_t version;
    uint32_t count;   /* entries of the leaf so far */
    uint32_t staged;  /* of them, those not encoded */
    uint32_t used;    /* bytes of blocks */
    uint64_t last_key, low_offset, high_offset;
    uint64_t first_keys[PACKED_LEAF_BLOCKS];
    uint32_t places[PACKED_LEAF_BLOCKS];
    struct needle_entry stage[PACKED_BLOCK_ENTRIES];
    uint8_t blocks[PACKED_LEAF_BLOCKS * PACKED_BLOCK_MAX];
};

void leaf_builder_begin(struct leaf_builder *builder, uint8_t version);
/* Takes the first blocks of a leaf as they are, into an empty builder; they must be full ones. */
void leaf_builder_keep(struct leaf_builder *builder, const struct packed_leaf *leaf, size_t blocks);
/* Keys rise; at most PACKED_LEAF_MAX entries. */
void leaf_builder_add(struct leaf_builder *builder, const struct needle_entry *entry);
/* The leaf, malloc'd; the builder is empty again. NULL when memory is gone. */
struct packed_leaf *leaf_builder_finish(struct leaf_builder *builder);
