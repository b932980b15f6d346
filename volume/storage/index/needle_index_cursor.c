/* The ordered walk over a memory index that is being written to.
 *
 * By key: one leaf of the tree after another. By offset: the tree has another order, so the walk goes
 * window by window: all live entries of one range of offsets are collected from the tree and sorted. Where
 * they are too many for one window, a histogram made at the start sizes the windows, so that memory stays
 * bounded whatever the size of the volume; the price is a pass over the tree for each half million needles,
 * in which leaves without such offsets are left out: where offsets rise with the keys, nearly all of them.
 * Reads only; any thread. */
#include "volume/storage/index/needle_index_memory.h"
#include "volume/storage/index/needle_sort.h"

#include <stdlib.h>

#define WINDOW_ENTRIES (1u << 19)
#define BUCKETS        4096u

struct memory_cursor {
    struct needle_cursor base;
    struct packed_tree *tree;
    uint64_t offset_limit;
    struct needle_entry *piece; /* PACKED_TREE_PIECE */
    /* By key. */
    uint64_t next_key;
    bool has_next;
    /* By offset: buckets of bucket_bytes each, from 0 to the limit. */
    uint64_t bucket_bytes;
    uint64_t next_bucket;
    uint32_t counts[BUCKETS];
    struct needle_entry *entries;
    size_t count, capacity;
};

/* Leaves the live entries with an offset in [low, high) of a piece; answers how many. */
static size_t keep_live(struct needle_entry *entries, size_t count, uint64_t low, uint64_t high)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (entries[i].size >= 0 && entries[i].offset >= low && entries[i].offset < high)
            entries[kept++] = entries[i];
    return kept;
}

static int next_by_key(struct needle_cursor *base, const struct needle_entry **ret, size_t *ret_count,
                       struct error *err)
{
    struct memory_cursor *cursor = (struct memory_cursor *)base;
    size_t count = 0;
    while (count == 0 && cursor->has_next) {
        cursor->has_next = packed_tree_read_leaf(cursor->tree, cursor->next_key, 0, UINT64_MAX,
                                                 cursor->piece, &count, &cursor->next_key);
        count = keep_live(cursor->piece, count, 0, cursor->offset_limit);
    }
    *ret = cursor->piece;
    *ret_count = count;
    return 0;
}

/* ---- by offset ---- */

static int collect(struct memory_cursor *cursor, size_t count)
{
    if (count == 0)
        return 0;
    if (count == 0)
        return 0;
    if (cursor->count + count > cursor->capacity) {
        size_t capacity = cursor->capacity ? cursor->capacity : PACKED_TREE_PIECE;
        while (capacity < cursor->count + count)
            capacity *= 2;
        struct needle_entry *grown = realloc(cursor->entries, capacity * sizeof(*grown));
        if (!grown)
            return KELP_E_NO_MEMORY;
        cursor->entries = grown;
        cursor->capacity = capacity;
    }
    memcpy(cursor->entries + cursor->count, cursor->piece, count * sizeof(*cursor->piece));
    cursor->count += count;
    return 0;
}

static void count_buckets(struct memory_cursor *cursor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cursor->counts[cursor->piece[i].offset / cursor->bucket_bytes]++;
}

/* One pass over the tree: the live entries with offsets in [low, high) are counted, or collected. */
static int visit(struct memory_cursor *cursor, uint64_t low, uint64_t high, bool is_counting)
{
    uint64_t key = 0;
    bool has_next = true;
    int code = 0;
    while (has_next && code == 0) {
        size_t count;
        has_next = packed_tree_read_leaf(cursor->tree, key, low, high, cursor->piece, &count, &key);
        count = keep_live(cursor->piece, count, low, high);
        if (is_counting)
            count_buckets(cursor, count);
        else
            code = collect(cursor, count);
    }
    return code;
}

static int sort_window(struct memory_cursor *cursor)
{
    struct needle_entry *scratch = malloc(cursor->count * sizeof(*scratch));
    if (!scratch)
        return KELP_E_NO_MEMORY;
    needle_sort(cursor->entries, cursor->count, NEEDLE_INDEX_BY_OFFSET, scratch);
    free(scratch);
    return 0;
}

static int next_by_offset(struct needle_cursor *base, const struct needle_entry **ret,
                          size_t *ret_count, struct error *err)
{
    struct memory_cursor *cursor = (struct memory_cursor *)base;
    int code = 0;
    cursor->count = 0;
    while (code == 0 && cursor->count == 0 && cursor->next_bucket < BUCKETS) {
        /* The window: as many buckets as hold about WINDOW_ENTRIES, at least one. */
        uint64_t from = cursor->next_bucket, expected = 0;
        do
            expected += cursor->counts[cursor->next_bucket++];
        while (cursor->next_bucket < BUCKETS &&
               expected + cursor->counts[cursor->next_bucket] <= WINDOW_ENTRIES);
        if (expected == 0)
            continue;
        uint64_t high = cursor->next_bucket * cursor->bucket_bytes;
        code = visit(cursor, from * cursor->bucket_bytes,
                     high < cursor->offset_limit ? high : cursor->offset_limit, false);
    }
    if (code == 0 && cursor->count > 0)
        code = sort_window(cursor);
    if (code != 0)
        return error_set(err, code, "no memory to list needles");
    *ret = cursor->entries;
    *ret_count = cursor->count;
    return 0;
}

/* One bucket is enough where all fit into a window. */
static void plan_windows(struct memory_cursor *cursor, uint64_t live)
{
    uint64_t highest = atomic_load_explicit(&cursor->tree->high_offset, memory_order_relaxed);
    if (cursor->offset_limit > highest)
        cursor->offset_limit = highest + 1;
    if (live <= WINDOW_ENTRIES) {
        cursor->bucket_bytes = cursor->offset_limit;
        cursor->counts[0] = 1;
        cursor->next_bucket = 0;
        return;
    }
    cursor->bucket_bytes = cursor->offset_limit / BUCKETS + 1;
    visit(cursor, 0, cursor->offset_limit, true);
}

static void cursor_close(struct needle_cursor *base)
{
    struct memory_cursor *cursor = (struct memory_cursor *)base;
    free(cursor->piece);
    free(cursor->entries);
    free(cursor);
}

int memory_cursor_create(struct needle_cursor **ret, struct packed_tree *tree, uint64_t live,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err)
{
    static const struct needle_cursor_ops by_key = {next_by_key, cursor_close};
    static const struct needle_cursor_ops by_offset = {next_by_offset, cursor_close};
    struct memory_cursor *cursor = calloc(1, sizeof(*cursor));
    if (cursor)
        cursor->piece = malloc(PACKED_TREE_PIECE * sizeof(*cursor->piece));
    if (!cursor || !cursor->piece) {
        free(cursor);
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    }
    cursor->base.ops = order == NEEDLE_INDEX_BY_KEY ? &by_key : &by_offset;
    cursor->tree = tree;
    cursor->offset_limit = offset_limit;
    cursor->has_next = true;
    if (order == NEEDLE_INDEX_BY_OFFSET)
        plan_windows(cursor, live);
    *ret = &cursor->base;
    return 0;
}
