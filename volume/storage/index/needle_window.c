/* The ordered walk over a source that lists its entries by key.
 *
 * By key, and by offset where the one order is the other, it hands the source through. Else it goes
 * window by window: all entries of one range of offsets are collected and sorted. The first pass looks
 * at the range and the order, and keeps the entries if they are few; the second makes a histogram, which
 * sizes the windows; then comes a pass for each window. Memory is bounded whatever the size of the volume;
 * the price is a pass for each million needles. Any thread. */
#include "volume/storage/index/needle_window.h"

#include "common/check.h"

#include <stdlib.h>

#define WINDOW_ENTRIES (1u << 20)
#define PIECE_ENTRIES  8192u
#define BUCKETS        4096u

struct window {
    struct needle_cursor base;
    struct needle_source *source;
    uint64_t offset_limit;
    bool is_plain; /* the order of the source is the one that is asked for */
    bool is_first; /* entries hold all there is, sorted, and were not delivered */
    uint64_t low, high; /* offsets that occur, both included */
    uint64_t bucket_width, next_bucket;
    uint32_t *counts; /* BUCKETS; NULL: no windows are needed */
    struct needle_entry *entries;
    size_t count, capacity;
};

static bool add(struct window *w, const struct needle_entry *entry)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? w->capacity * 2 : 1024;
        struct needle_entry *grown = realloc(w->entries, capacity * sizeof(*grown));
        if (!grown)
            return false;
        w->entries = grown;
        w->capacity = capacity;
    }
    w->entries[w->count++] = *entry;
    return true;
}

static int no_memory(struct error *err)
{
    return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
}

/* The next one below the limit: 1, 0, or an error. */
static int pull(struct window *w, struct needle_entry *ret, struct error *err)
{
    int got;
    do {
        got = w->source->next(w->source, ret, err);
    } while (got == 1 && ret->offset >= w->offset_limit);
    return got;
}

static uint64_t bucket_of(const struct window *w, uint64_t offset)
{
    return (offset - w->low) / w->bucket_width;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->offset;
    uint64_t y = ((const struct needle_entry *)b)->offset;
    return x < y ? -1 : x > y;
}

static int deliver_plain(struct window *w, struct error *err)
{
    struct needle_entry entry;
    int got = 1;
    while (w->count < PIECE_ENTRIES && (got = pull(w, &entry, err)) == 1)
        if (!add(w, &entry))
            return no_memory(err);
    return got < 0 ? got : 0;
}

/* As many buckets as hold about WINDOW_ENTRIES, at least one. */
static int deliver_window(struct window *w, struct error *err)
{
    uint64_t expected = 0, end = w->next_bucket;
    do {
        expected += w->counts[end++];
    } while (end < BUCKETS && expected + w->counts[end] <= WINDOW_ENTRIES);
    struct needle_entry entry;
    int got = w->source->rewind(w->source, err);
    while (got >= 0 && (got = pull(w, &entry, err)) == 1) {
        uint64_t bucket = bucket_of(w, entry.offset);
        if (bucket >= w->next_bucket && bucket < end && !add(w, &entry))
            return no_memory(err);
    }
    if (got < 0)
        return got;
    w->next_bucket = end;
    qsort(w->entries, w->count, sizeof(*w->entries), by_offset);
    return 0;
}

static int window_next(struct needle_cursor *base, const struct needle_entry **ret,
                       size_t *ret_count, struct error *err)
{
    struct window *w = (struct window *)base;
    int code = 0;
    if (w->is_first) {
        w->is_first = false;
    } else {
        w->count = 0;
        if (w->is_plain)
            code = deliver_plain(w, err);
        while (w->counts && w->count == 0 && w->next_bucket < BUCKETS && code == 0)
            code = deliver_window(w, err);
    }
    if (code != 0)
        return code;
    *ret = w->entries;
    *ret_count = w->count;
    return 0;
}

static void window_close(struct needle_cursor *base)
{
    struct window *w = (struct window *)base;
    if (w->source)
        w->source->close(w->source);
    free(w->counts);
    free(w->entries);
    free(w);
}

/* The second pass, if the entries were too many to keep. */
static int count_buckets(struct window *w, struct error *err)
{
    w->counts = calloc(BUCKETS, sizeof(*w->counts));
    if (!w->counts)
        return no_memory(err);
    w->bucket_width = (w->high - w->low) / BUCKETS + 1;
    struct needle_entry entry;
    int got = w->source->rewind(w->source, err);
    while (got >= 0 && (got = pull(w, &entry, err)) == 1)
        w->counts[bucket_of(w, entry.offset)]++;
    return got;
}

static int look_first(struct window *w, struct error *err)
{
    struct needle_entry entry;
    uint64_t seen = 0, last = 0;
    bool is_ascending = true;
    int got;
    w->low = UINT64_MAX;
    while ((got = pull(w, &entry, err)) == 1) {
        is_ascending = is_ascending && entry.offset >= last;
        last = entry.offset;
        w->low = last < w->low ? last : w->low;
        w->high = last > w->high ? last : w->high;
        if (seen++ < WINDOW_ENTRIES && !add(w, &entry))
            return no_memory(err);
    }
    if (got < 0)
        return got;
    if (seen <= WINDOW_ENTRIES) {
        w->is_first = true;
        if (!is_ascending)
            qsort(w->entries, w->count, sizeof(*w->entries), by_offset);
        return 0;
    }
    w->is_plain = is_ascending;
    return is_ascending ? w->source->rewind(w->source, err) : count_buckets(w, err);
}

int needle_window_create(struct needle_cursor **ret, struct needle_source *source,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err)
{
    static const struct needle_cursor_ops ops = {window_next, window_close};
    struct window *w = calloc(1, sizeof(*w));
    if (!w) {
        source->close(source);
        return no_memory(err);
    }
    w->base.ops = &ops;
    w->source = source;
    w->offset_limit = offset_limit;
    w->is_plain = order == NEEDLE_INDEX_BY_KEY;
    int code = w->is_plain ? 0 : look_first(w, err);
    if (code != 0) {
        window_close(&w->base);
        return code;
    }
    *ret = &w->base;
    return 0;
}
