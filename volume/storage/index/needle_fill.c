/* See the header. The rows of one key are applied in the order in which they came, to what the tree said of
 * the key before; so the counters are those that one row after another would have led to. */
#include "volume/storage/index/needle_fill.h"

#include "common/check.h"
#include "volume/storage/index/needle_sort.h"

#include <stdlib.h>

#define ROWS_MIN    (64u << 10)
#define ROWS_MAX    (1u << 20)
#define ROWS_CACHED (64u << 10) /* rows that come nearly in order are merged while they are cached */

struct needle_fill {
    struct packed_tree *tree;
    struct needle_counters *counters;
    enum needle_index_event event;
    bool is_sorted; /* keys rise */
    uint64_t lowest; /* of the keys */
    size_t count, capacity;
    struct needle_entry *rows, *scratch;
};

struct needle_fill *needle_fill_create(struct packed_tree *tree, struct needle_counters *counters,
                                       uint64_t expected)
{
    struct needle_fill *fill = calloc(1, sizeof(*fill));
    if (!fill)
        return NULL;
    uint64_t capacity = expected / 8 > ROWS_MIN ? expected / 8 : expected;
    capacity = capacity < 64 ? 64 : capacity > ROWS_MAX ? ROWS_MAX : capacity;
    fill->tree = tree;
    fill->counters = counters;
    fill->is_sorted = true;
    fill->capacity = (size_t)capacity;
    fill->rows = malloc(fill->capacity * sizeof(*fill->rows));
    if (!fill->rows) {
        free(fill);
        return NULL;
    }
    return fill;
}

void needle_fill_destroy(struct needle_fill *fill)
{
    if (!fill)
        return;
    free(fill->rows);
    free(fill->scratch);
    free(fill);
}

/* ---- a walk through the tree beside rising keys ---- */

struct tree_walk {
    struct packed_tree *tree;
    const struct packed_top *top;
    size_t slot, block; /* of what is in the buffer */
    size_t at, held;
    struct needle_entry buffer[PACKED_BLOCK_ENTRIES];
};

/* The entry of a key that is above all that were asked for before; NULL when there is none. */
static const struct needle_entry *find_next(struct tree_walk *walk, uint64_t key)
{
    const struct packed_top *top = walk->top;
    if (walk->tree->is_empty || key > walk->tree->highest)
        return NULL;
    if (walk->held == 0 || walk->buffer[walk->held - 1].key < key) {
        size_t slot = walk->slot;
        while (slot + 1 < top->count && top->low[slot + 1] <= key)
            slot++;
        const struct packed_leaf *leaf = atomic_load_explicit(&top->slots[slot].leaf,
                                                              memory_order_relaxed);
        size_t block = leaf ? packed_leaf_seek(leaf, key) : 0;
        if (walk->held == 0 || slot != walk->slot || block != walk->block) {
            walk->at = 0;
            walk->held = leaf ? packed_leaf_decode(leaf, block, walk->tree->version, walk->buffer) : 0;
        }
        walk->slot = slot;
        walk->block = block;
    }
    while (walk->at < walk->held && walk->buffer[walk->at].key < key)
        walk->at++;
    return walk->at < walk->held && walk->buffer[walk->at].key == key ? &walk->buffer[walk->at] : NULL;
}

/* ---- merging ---- */

/* Applies one row to what is known of its key. */
static void apply(struct needle_fill *fill, const struct needle_entry *row, struct needle_entry *now,
                  bool *is_known)
{
    const struct needle_entry *old = *is_known ? now : NULL;
    if (row->offset == 0) {
        needle_counters_delete(fill->counters, fill->tree->version, row->key, old, fill->event);
        if (old && old->size >= 0)
            now->size = needle_deleted_size(now->size);
        return;
    }
    needle_counters_put(fill->counters, fill->tree->version, row, old, fill->event);
    *now = *row;
    *is_known = true;
}

/* Puts of new keys, one row each, from `i` on, and nothing else: most of what is ever loaded. Answers where
 * they end. The rows from `kept` on are theirs. */
static size_t resolve_new(struct needle_fill *fill, size_t i, size_t *kept)
{
    const struct packed_tree *tree = fill->tree;
    struct needle_entry *rows = fill->rows;
    uint64_t bytes = 0, record_bytes = 0;
    size_t first = *kept;
    for (; i < fill->count; i++) {
        const struct needle_entry row = rows[i];
        if (row.offset == 0 || (!tree->is_empty && row.key <= tree->highest) ||
            (i + 1 < fill->count && rows[i + 1].key == row.key))
            break;
        bytes += (uint64_t)row.size;
        record_bytes += needle_record_size(tree->version, row.size);
        rows[(*kept)++] = row;
    }
    if (*kept > first)
        needle_counters_put_new(fill->counters, *kept - first, bytes, record_bytes,
                                rows[*kept - 1].key);
    return i;
}

/* Leaves one entry for each key, as it is after all its rows; answers how many. */
static size_t resolve(struct needle_fill *fill)
{
    struct tree_walk walk = {.tree = fill->tree, .top = atomic_load(&fill->tree->top)};
    struct needle_entry *rows = fill->rows;
    size_t kept = 0;
    for (size_t i = 0;;) {
        i = resolve_new(fill, i, &kept);
        if (i == fill->count)
            break;
        uint64_t key = rows[i].key;
        const struct needle_entry *old = find_next(&walk, key);
        struct needle_entry now = {0};
        bool is_known = old != NULL;
        if (old)
            now = *old;
        do
            apply(fill, &rows[i++], &now, &is_known);
        while (i < fill->count && rows[i].key == key);
        if (is_known)
            rows[kept++] = now;
    }
    return kept;
}

int needle_fill_flush(struct needle_fill *fill, struct error *err)
{
    if (fill->count == 0)
        return 0;
    if (!fill->is_sorted) {
        if (!fill->scratch)
            fill->scratch = malloc(fill->capacity * sizeof(*fill->scratch));
        if (!fill->scratch)
            return error_set(err, KELP_E_NO_MEMORY, "no memory to sort a needle index");
        needle_sort(fill->rows, fill->count, NEEDLE_INDEX_BY_KEY, fill->scratch);
    }
    size_t count = resolve(fill);
    fill->count = 0;
    fill->is_sorted = true;
    return count > 0 ? packed_tree_fill(fill->tree, fill->rows, count, err) : 0;
}

/* Whether merging now costs no more than merging more at once: only the last leaf, if any, is built anew. */
static bool is_at_the_end(const struct needle_fill *fill)
{
    const struct packed_top *top = atomic_load(&fill->tree->top);
    return fill->is_sorted || fill->tree->is_empty || fill->lowest >= top->low[top->count - 1];
}

int needle_fill_add(struct needle_fill *fill, const struct needle_entry *entry,
                    enum needle_index_event event, struct error *err)
{
    bool is_full = fill->count == fill->capacity ||
                   (fill->count > 0 && fill->count % ROWS_CACHED == 0 && is_at_the_end(fill));
    if (is_full || (fill->count > 0 && event != fill->event)) {
        int code = needle_fill_flush(fill, err);
        if (code != 0)
            return code;
    }
    fill->event = event;
    if (fill->count == 0 || entry->key < fill->lowest)
        fill->lowest = entry->key;
    if (fill->count > 0 && fill->rows[fill->count - 1].key >= entry->key)
        fill->is_sorted = false;
    fill->rows[fill->count++] = *entry;
    return 0;
}
