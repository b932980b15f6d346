/* One row after another. See the header. */
#include "volume/storage/index/index_walk.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The finalizer of splitmix64: different places, sums that differ. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t row_hash(const struct needle_entry *entry, uint64_t position)
{
    /* 16 bytes take XXH3's shortest way; a size has 32 bits, a position too few to matter beside them. */
    uint64_t words[2] = {entry->key,
                         entry->offset / NEEDLE_ALIGNMENT ^ (uint64_t)(uint32_t)entry->size << 32};
    uint64_t seed = (position ^ entry->offset) * 0x9e3779b97f4a7c15u;
    return XXH3_64bits_withSeed(words, sizeof(words), seed);
}

void index_walk_begin(struct index_walk *walk, uint64_t first)
{
    *walk = (struct index_walk){.first = first, .records_end = first};
}

/* The end of the last record is not in the chain yet: nearly always the next record begins there, and
 * takes it out again. */
static uint64_t open_end(const struct index_walk *walk)
{
    return walk->is_after_gap || walk->last_end == 0 ? 0 : mix(walk->last_end);
}

static void walk_record(struct index_walk *walk, const struct needle_entry *entry, uint8_t version)
{
    bool is_gap = index_row_is_gap(entry);
    uint64_t end = entry->offset;
    if (!is_gap)
        end += needle_record_size(version, entry->size);
    if (is_gap == walk->is_after_gap && entry->offset == walk->last_offset && end == walk->last_end)
        return; /* a second row of one record: see index_repair.c */
    if (is_gap || walk->is_after_gap || entry->offset != walk->last_end) {
        walk->chain += mix(entry->offset) - open_end(walk);
        if (walk->is_after_gap)
            walk->chain -= mix(entry->offset);
    }
    walk->is_after_gap = is_gap;
    walk->last_offset = entry->offset;
    walk->last_end = end;
    if (end > walk->records_end) {
        walk->records_end = end;
        walk->last = *entry;
    }
}

void index_walk_row(struct index_walk *walk, const struct needle_entry *entry, uint8_t version,
                    uint8_t offset_bytes)
{
    walk->hash += row_hash(entry, walk->idx_length);
    walk->idx_length += index_row_size(offset_bytes);
    walk->rows++;
    if (entry->offset != 0)
        walk_record(walk, entry, version);
}

bool index_walk_is_whole(const struct index_walk *walk)
{
    uint64_t chain = walk->chain - open_end(walk);
    if (walk->is_after_gap) /* what followed it was lost: the repair of the tail looks there again */
        chain -= mix(walk->last_offset);
    return chain == mix(walk->first) - mix(walk->records_end);
}

struct hash_walk {
    uint64_t hash;
};

static int hash_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct hash_walk *walk = ctx;
    walk->hash += row_hash(entry, position);
    return 0;
}

int index_walk_hash(struct index_file *idx, uint64_t length, uint64_t *ret, struct error *err)
{
    struct hash_walk walk = {0};
    int code = index_file_walk(idx, 0, length, hash_row, &walk, err);
    if (code == 0)
        *ret = walk.hash;
    return code;
}
