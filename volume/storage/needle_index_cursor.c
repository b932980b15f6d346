/* The ordered walk over a memory index that is being written to.
 *
 * The table has no order, so the walk goes window by window: all live entries of one range of offsets
 * (or keys) are collected from the table and sorted. A histogram made at the start sizes the windows, so
 * that memory stays bounded whatever the size of the volume; the price is one pass over the table for
 * each million needles. A shard is read in short pieces under its lock; if it grew in between, its slots
 * have moved, and that shard is begun again. Reads only; any thread. */
#include "volume/storage/needle_index_memory.h"

#include <stdlib.h>

#define WINDOW_ENTRIES (1u << 20)
#define PIECE_SLOTS    1024u
#define BUCKETS        4096u

struct memory_cursor {
    struct needle_cursor base;
    struct memory_shard *shards;
    enum needle_index_order order;
    uint64_t offset_limit;
    uint64_t low, high; /* values that occur, both included */
    uint64_t bucket_width;
    uint64_t next_bucket, bucket_count;
    uint64_t counts[BUCKETS];
    struct needle_entry *entries;
    size_t count, capacity;
};

/* Called per live entry, under a shard's lock. */
typedef int entry_visitor(struct memory_cursor *cursor, const struct needle_entry *entry);

static uint64_t value_of(const struct memory_cursor *cursor, const struct needle_entry *entry)
{
    return cursor->order == NEEDLE_INDEX_BY_KEY ? entry->key : entry->offset;
}

static int visit_shard(struct memory_cursor *cursor, struct memory_shard *shard,
                       entry_visitor *visit)
{
    size_t kept = cursor->count;
    uint32_t epoch = 0, at = 0;
    bool is_done = false;
    int code = 0;
    while (!is_done && code == 0) {
        pthread_mutex_lock(&shard->lock);
        if (shard->epoch != epoch) {
            epoch = shard->epoch;
            at = 0;
            cursor->count = kept;
        }
        uint32_t end = shard->capacity - at < PIECE_SLOTS ? shard->capacity : at + PIECE_SLOTS;
        for (; code == 0 && at < end; at++) {
            const struct memory_slot *slot = &shard->slots[at];
            struct needle_entry entry = {slot->key, memory_slot_units(slot) * NEEDLE_ALIGNMENT,
                                         slot->size};
            if (entry.offset != 0 && entry.size >= 0 && entry.offset < cursor->offset_limit)
                code = visit(cursor, &entry);
        }
        is_done = at == shard->capacity;
        pthread_mutex_unlock(&shard->lock);
    }
    return code;
}

static int visit_all(struct memory_cursor *cursor, entry_visitor *visit)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < MEMORY_INDEX_SHARDS; i++)
        code = visit_shard(cursor, &cursor->shards[i], visit);
    return code;
}

static int note_range(struct memory_cursor *cursor, const struct needle_entry *entry)
{
    uint64_t value = value_of(cursor, entry);
    cursor->low = value < cursor->low ? value : cursor->low;
    cursor->high = value > cursor->high ? value : cursor->high;
    return 0;
}

static uint64_t bucket_of(const struct memory_cursor *cursor, uint64_t value)
{
    return (value - cursor->low) / cursor->bucket_width;
}

/* Values outside of the range are of entries that came later; they are not for this walk. */
static bool is_in_range(const struct memory_cursor *cursor, uint64_t value)
{
    return value >= cursor->low && value <= cursor->high;
}

static int count_bucket(struct memory_cursor *cursor, const struct needle_entry *entry)
{
    uint64_t value = value_of(cursor, entry);
    if (is_in_range(cursor, value))
        cursor->counts[bucket_of(cursor, value)]++;
    return 0;
}

static int collect(struct memory_cursor *cursor, const struct needle_entry *entry)
{
    uint64_t value = value_of(cursor, entry);
    if (!is_in_range(cursor, value) || bucket_of(cursor, value) < cursor->next_bucket ||
        bucket_of(cursor, value) >= cursor->bucket_count)
        return 0;
    if (cursor->count == cursor->capacity) {
        size_t capacity = cursor->capacity ? cursor->capacity * 2 : 1024;
        struct needle_entry *grown = realloc(cursor->entries, capacity * sizeof(*grown));
        if (!grown)
            return KELP_E_NO_MEMORY;
        cursor->entries = grown;
        cursor->capacity = capacity;
    }
    cursor->entries[cursor->count++] = *entry;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->offset;
    uint64_t y = ((const struct needle_entry *)b)->offset;
    return x < y ? -1 : x > y;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->key;
    uint64_t y = ((const struct needle_entry *)b)->key;
    return x < y ? -1 : x > y;
}

static int cursor_next(struct needle_cursor *base, const struct needle_entry **ret,
                       size_t *ret_count, struct error *err)
{
    struct memory_cursor *cursor = (struct memory_cursor *)base;
    cursor->count = 0;
    while (cursor->count == 0 && cursor->next_bucket < BUCKETS) {
        /* The window: as many buckets as hold about WINDOW_ENTRIES, at least one. */
        uint64_t expected = 0;
        cursor->bucket_count = cursor->next_bucket;
        do {
            expected += cursor->counts[cursor->bucket_count++];
        } while (cursor->bucket_count < BUCKETS &&
                 expected + cursor->counts[cursor->bucket_count] <= WINDOW_ENTRIES);
        int code = visit_all(cursor, collect);
        if (code != 0)
            return error_set(err, code, "no memory to list %llu needles",
                             (unsigned long long)expected);
        cursor->next_bucket = cursor->bucket_count;
    }
    if (cursor->count > 0)
        qsort(cursor->entries, cursor->count, sizeof(*cursor->entries),
              cursor->order == NEEDLE_INDEX_BY_KEY ? by_key : by_offset);
    *ret = cursor->entries;
    *ret_count = cursor->count;
    return 0;
}

static void cursor_close(struct needle_cursor *base)
{
    struct memory_cursor *cursor = (struct memory_cursor *)base;
    free(cursor->entries);
    free(cursor);
}

int memory_cursor_create(struct needle_cursor **ret, struct memory_shard *shards,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err)
{
    static const struct needle_cursor_ops ops = {cursor_next, cursor_close};
    struct memory_cursor *cursor = calloc(1, sizeof(*cursor));
    if (!cursor)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    cursor->base.ops = &ops;
    cursor->shards = shards;
    cursor->order = order;
    cursor->offset_limit = offset_limit;
    cursor->low = UINT64_MAX;
    visit_all(cursor, note_range);
    if (cursor->low > cursor->high) { /* nothing is live */
        cursor->next_bucket = BUCKETS;
    } else {
        cursor->bucket_width = (cursor->high - cursor->low) / BUCKETS + 1;
        visit_all(cursor, count_bucket);
    }
    *ret = &cursor->base;
    return 0;
}
