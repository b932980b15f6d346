/* One pass over both, a block of the old leaf at a time. See the header. */
#include "volume/storage/index/packed_merge.h"

#include "common/check.h"

#include <stdlib.h>

struct merge {
    uint8_t version;
    size_t share; /* entries of a leaf */
    struct packed_leaf **leaves;
    size_t leaf_count;
    bool has_failed;
    struct leaf_builder builder;
};

size_t packed_merge_limit(size_t old_count, size_t count)
{
    return (old_count + count) / PACKED_LEAF_TARGET + 2;
}

static void finish_leaf(struct merge *merge)
{
    struct packed_leaf *leaf = leaf_builder_finish(&merge->builder);
    if (leaf)
        merge->leaves[merge->leaf_count++] = leaf;
    else
        merge->has_failed = true;
}

static inline void emit(struct merge *merge, const struct needle_entry *entry)
{
    if (merge->builder.count == merge->share)
        finish_leaf(merge);
    leaf_builder_add(&merge->builder, entry);
}

static void merge_all(struct merge *merge, const struct packed_leaf *old, size_t block,
                      const struct needle_entry *entries, size_t count)
{
    struct needle_entry buffer[PACKED_BLOCK_ENTRIES];
    size_t blocks = old ? packed_leaf_blocks(old) : 0, at = 0, held = 0, i = 0;
    while (!merge->has_failed) {
        if (at == held && block < blocks) {
            held = packed_leaf_decode(old, block++, merge->version, buffer);
            at = 0;
        }
        if (at == held && i == count)
            break;
        if (i == count || (at < held && buffer[at].key < entries[i].key)) {
            emit(merge, &buffer[at++]);
        } else {
            at += at < held && buffer[at].key == entries[i].key;
            emit(merge, &entries[i++]);
        }
    }
    if (!merge->has_failed && merge->builder.count > 0)
        finish_leaf(merge);
}

size_t packed_merge(const struct packed_leaf *old, const struct needle_entry *entries, size_t count,
                    uint8_t version, struct packed_leaf **ret)
{
    struct merge merge;
    merge.version = version;
    merge.leaves = ret;
    merge.leaf_count = 0;
    merge.has_failed = false;
    leaf_builder_begin(&merge.builder, version);
    CHECK(count > 0);

    const struct packed_leaf *before = NULL;
    if (old && old->count >= PACKED_LEAF_TARGET && entries[0].key > old->last_key) {
        before = old; /* it stays as it is */
        ret[merge.leaf_count++] = (struct packed_leaf *)(uintptr_t)old;
        old = NULL;
    }
    size_t total = count + (old ? old->count : 0);
    size_t parts = total > PACKED_LEAF_MAX ? (total + PACKED_LEAF_TARGET - 1) / PACKED_LEAF_TARGET : 1;
    merge.share = (total + parts - 1) / parts;
    size_t kept = old ? packed_leaf_seek(old, entries[0].key) : 0;
    if (kept > merge.share / PACKED_BLOCK_ENTRIES)
        kept = merge.share / PACKED_BLOCK_ENTRIES;
    if (kept > 0)
        leaf_builder_keep(&merge.builder, old, kept);
    merge_all(&merge, old, kept, entries, count);
    if (merge.has_failed) {
        for (size_t i = before ? 1 : 0; i < merge.leaf_count; i++)
            free(ret[i]);
        return 0;
    }
    return merge.leaf_count;
}
