/* Leaves: searching, decoding, building. See the header. */
#include "volume/storage/index/packed_leaf.h"

#include "common/check.h"

#include <stdlib.h>

#define DIRECTORY_ENTRY 12u
#define CACHE_LINE      64u
#define HEAD_USUALLY    (PACKED_BLOCK_HEAD + 16u) /* with a line, nothing deleted, no breaks */

static uint64_t first_key_of(const struct packed_leaf *leaf, size_t block)
{
    return load_le64(leaf->data + block * DIRECTORY_ENTRY);
}

static uint32_t place_of(const struct packed_leaf *leaf, size_t block)
{
    return load_le32(leaf->data + block * DIRECTORY_ENTRY + 8);
}

static size_t count_of(const struct packed_leaf *leaf, size_t block)
{
    size_t before = block * PACKED_BLOCK_ENTRIES;
    return leaf->count - before < PACKED_BLOCK_ENTRIES ? leaf->count - before : PACKED_BLOCK_ENTRIES;
}

/* A guess from where the key lies between the first and the last, then step by step: keys that are spread
 * evenly, or follow each other, cost one look or two. */
size_t packed_leaf_seek(const struct packed_leaf *leaf, uint64_t key)
{
    size_t blocks = packed_leaf_blocks(leaf);
    uint64_t first = first_key_of(leaf, 0);
    if (blocks == 1 || key <= first)
        return 0;
    size_t at = blocks - 1;
    if (key < leaf->last_key)
        at = (size_t)((double)(key - first) / (double)(leaf->last_key - first) * (double)blocks);
    at = at < blocks ? at : blocks - 1;
    while (first_key_of(leaf, at) > key)
        at--;
    while (at + 1 < blocks && first_key_of(leaf, at + 1) <= key)
        at++;
    return at;
}

/* The head of a block and the row where the key may be come from memory at the same time. */
static void prefetch_row(const struct packed_leaf *leaf, size_t block, const uint8_t *at, uint64_t distance)
{
    __builtin_prefetch(at);
    if (block + 1 < packed_leaf_blocks(leaf)) {
        double span = (double)(first_key_of(leaf, block + 1) - first_key_of(leaf, block));
        double rows = (double)(place_of(leaf, block + 1) - place_of(leaf, block) - HEAD_USUALLY);
        const uint8_t *row = at + HEAD_USUALLY + (size_t)((double)distance / span * rows);
        __builtin_prefetch(row - CACHE_LINE / 2);
        __builtin_prefetch(row + CACHE_LINE / 2);
    }
}

bool packed_leaf_find(const struct packed_leaf *leaf, uint8_t version, uint64_t key,
                      struct needle_entry *ret)
{
    if (key > leaf->last_key)
        return false;
    size_t block = packed_leaf_seek(leaf, key);
    const uint8_t *at = leaf->data + place_of(leaf, block);
    uint64_t first = first_key_of(leaf, block);
    prefetch_row(leaf, block, at, key - first);
    return packed_block_find(at, first, count_of(leaf, block), version, key, ret);
}

size_t packed_leaf_decode(const struct packed_leaf *leaf, size_t block, uint8_t version,
                          struct needle_entry *ret)
{
    size_t count = count_of(leaf, block);
    packed_block_decode(leaf->data + place_of(leaf, block), first_key_of(leaf, block), count, version,
                        ret);
    return count;
}

bool packed_leaf_is_sound(const struct packed_leaf *leaf)
{
    size_t blocks = packed_leaf_blocks(leaf);
    if (leaf->count == 0 || leaf->count > PACKED_LEAF_MAX ||
        leaf->size < blocks * DIRECTORY_ENTRY + PACKED_BLOCK_SLACK)
        return false;
    size_t at = blocks * DIRECTORY_ENTRY, end = leaf->size - PACKED_BLOCK_SLACK;
    for (size_t i = 0; i < blocks; i++) {
        if (place_of(leaf, i) != at || (i > 0 && first_key_of(leaf, i) <= first_key_of(leaf, i - 1)))
            return false;
        size_t length = packed_block_length(leaf->data + at, end - at, count_of(leaf, i));
        if (length == 0)
            return false;
        at += length;
    }
    return at == end && leaf->last_key >= first_key_of(leaf, blocks - 1);
}

/* ---- building ---- */

void leaf_builder_begin(struct leaf_builder *builder, uint8_t version)
{
    builder->version = version;
    builder->count = builder->staged = builder->used = 0;
    builder->low_offset = UINT64_MAX;
    builder->high_offset = 0;
    builder->last_key = 0;
}

void leaf_builder_keep(struct leaf_builder *builder, const struct packed_leaf *leaf, size_t blocks)
{
    CHECK(builder->count == 0 && blocks * PACKED_BLOCK_ENTRIES <= leaf->count);
    if (blocks == 0)
        return;
    uint32_t from = place_of(leaf, 0);
    uint32_t to = blocks < packed_leaf_blocks(leaf) ? place_of(leaf, blocks)
                                                    : leaf->size - PACKED_BLOCK_SLACK;
    memcpy(builder->blocks, leaf->data + from, to - from);
    builder->used = to - from;
    for (size_t i = 0; i < blocks; i++) {
        builder->first_keys[i] = first_key_of(leaf, i);
        builder->places[i] = place_of(leaf, i) - from;
    }
    builder->count = (uint32_t)(blocks * PACKED_BLOCK_ENTRIES);
    builder->low_offset = leaf->low_offset;
    builder->high_offset = leaf->high_offset;
    builder->last_key = leaf->last_key; /* until one is added, which comes later in any case */
}

static void encode_stage(struct leaf_builder *builder)
{
    if (builder->staged == 0)
        return;
    size_t block = (builder->count - builder->staged) / PACKED_BLOCK_ENTRIES;
    uint8_t *at = builder->blocks + builder->used;
    builder->first_keys[block] = builder->stage[0].key;
    builder->places[block] = builder->used;
    builder->used += (uint32_t)packed_block_encode(at, builder->stage, builder->staged,
                                                   builder->version);
    builder->last_key = builder->stage[builder->staged - 1].key;
    builder->staged = 0;
}

void leaf_builder_add(struct leaf_builder *builder, const struct needle_entry *entry)
{
    builder->stage[builder->staged++] = *entry;
    builder->count++;
    if (entry->offset < builder->low_offset)
        builder->low_offset = entry->offset;
    if (entry->offset > builder->high_offset)
        builder->high_offset = entry->offset;
    if (builder->staged == PACKED_BLOCK_ENTRIES)
        encode_stage(builder);
}

struct packed_leaf *leaf_builder_finish(struct leaf_builder *builder)
{
    encode_stage(builder);
    CHECK(builder->count > 0 && builder->count <= PACKED_LEAF_MAX);
    size_t blocks = (builder->count + PACKED_BLOCK_ENTRIES - 1) / PACKED_BLOCK_ENTRIES;
    size_t directory = blocks * DIRECTORY_ENTRY;
    size_t size = directory + builder->used + PACKED_BLOCK_SLACK;
    struct packed_leaf *leaf = malloc(sizeof(*leaf) + size);
    if (leaf) {
        *leaf = (struct packed_leaf){
            .last_key = builder->last_key,
            .low_offset = builder->low_offset,
            .high_offset = builder->high_offset,
            .count = builder->count,
            .size = (uint32_t)size,
        };
        for (size_t i = 0; i < blocks; i++) {
            store_le64(leaf->data + i * DIRECTORY_ENTRY, builder->first_keys[i]);
            store_le32(leaf->data + i * DIRECTORY_ENTRY + 8,
                       (uint32_t)directory + builder->places[i]);
        }
        memcpy(leaf->data + directory, builder->blocks, builder->used);
        memset(leaf->data + directory + builder->used, 0, PACKED_BLOCK_SLACK);
    }
    leaf_builder_begin(builder, builder->version);
    return leaf;
}
