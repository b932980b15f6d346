/* See the header. */
#include "volume/storage/index/packed_delta.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct packed_delta *packed_delta_create(uint32_t capacity, bool has_table, uint64_t seed)
{
    CHECK(!has_table || capacity <= PACKED_DELTA_MAX);
    uint32_t table_size = has_table ? capacity * 2 : 0;
    size_t rows_at = sizeof(struct packed_delta) + table_size;
    struct packed_delta *delta = malloc(rows_at + capacity * sizeof(struct packed_row));
    if (!delta)
        return NULL;
    memset(delta, 0, rows_at);
    delta->seed = seed;
    delta->capacity = capacity;
    delta->table_size = table_size;
    delta->rows = (struct packed_row *)((uint8_t *)delta + rows_at);
    return delta;
}

size_t packed_delta_bytes(const struct packed_delta *delta)
{
    return sizeof(*delta) + delta->table_size + delta->capacity * sizeof(struct packed_row);
}

void packed_delta_row(const struct packed_delta *delta, uint32_t i, struct needle_entry *ret)
{
    const struct packed_row *row = &delta->rows[i];
    *ret = (struct needle_entry){
        row->key, ((uint64_t)row->units_high << 32 | row->units_low) * NEEDLE_ALIGNMENT, row->size};
}

/* Where the key is in the table, or would go. Seeded: clients choose keys. */
static _Atomic uint8_t *probe(struct packed_delta *delta, uint64_t key, uint8_t *ret_found)
{
    uint64_t hash = (key ^ delta->seed) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    uint32_t mask = delta->table_size - 1;
    for (uint32_t i = (uint32_t)(hash >> 40) & mask;; i = (i + 1) & mask) {
        uint8_t found = atomic_load_explicit(&delta->table[i], memory_order_acquire);
        if (found == 0 || delta->rows[found - 1].key == key) {
            *ret_found = found;
            return &delta->table[i];
        }
    }
}

bool packed_delta_find(struct packed_delta *delta, uint64_t key, struct needle_entry *ret)
{
    if (delta->table_size > 0) {
        uint8_t found;
        probe(delta, key, &found);
        if (found > 0)
            packed_delta_row(delta, found - 1u, ret);
        return found > 0;
    }
    for (uint32_t i = packed_delta_count(delta); i > 0; i--)
        if (delta->rows[i - 1].key == key) {
            packed_delta_row(delta, i - 1, ret);
            return true;
        }
    return false;
}

void packed_delta_add(struct packed_delta *delta, const struct needle_entry *entry)
{
    uint32_t i = atomic_load_explicit(&delta->count, memory_order_relaxed);
    uint64_t units = entry->offset / NEEDLE_ALIGNMENT;
    CHECK(i < delta->capacity);
    delta->rows[i] = (struct packed_row){entry->key, (uint32_t)units, entry->size,
                                         (uint8_t)(units >> 32)};
    if (delta->table_size > 0) {
        uint8_t found;
        _Atomic uint8_t *slot = probe(delta, entry->key, &found);
        atomic_store_explicit(slot, (uint8_t)(i + 1), memory_order_release);
    }
    atomic_store_explicit(&delta->count, i + 1, memory_order_release);
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->key;
    uint64_t y = ((const struct needle_entry *)b)->key;
    return x < y ? -1 : x > y;
}

/* Of each key the first that is there: beside a writer there may be two of a moment ago. */
static size_t drop_doubles(struct needle_entry *entries, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || entries[kept - 1].key != entries[i].key)
            entries[kept++] = entries[i];
    return kept;
}

size_t packed_delta_sorted(struct packed_delta *delta, struct needle_entry *ret)
{
    CHECK(delta->table_size > 0);
    uint32_t rows = packed_delta_count(delta);
    size_t count = 0;
    bool is_sorted = true, has_new = false;
    for (uint32_t i = 0; i < rows; i++) {
        uint8_t found;
        probe(delta, delta->rows[i].key, &found);
        bool is_new = found > rows; /* the writer has put it behind those that we walk */
        if (found != i + 1 && !is_new)
            continue; /* a newer one comes */
        has_new = has_new || is_new;
        packed_delta_row(delta, found - 1u, &ret[count]);
        is_sorted = is_sorted && (count == 0 || ret[count - 1].key < ret[count].key);
        count++;
    }
    if (!is_sorted)
        qsort(ret, count, sizeof(*ret), by_key);
    return has_new ? drop_doubles(ret, count) : count;
}
