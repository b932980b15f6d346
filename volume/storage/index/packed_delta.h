/* What is new beside a leaf: entries in the order in which they came, and a small hash table that finds the
 * newest of each key. One writer adds, readers look at the same time: an entry is complete before the
 * table, or the count, shows it, and never changes after. */
#pragma once

#include "volume/storage/format/needle.h"
#include "volume/storage/index/reader_gate.h"

/* Above it there is no table, and finding is a walk: see packed_tree.h, "spill". */
#define PACKED_DELTA_MAX 128u

struct packed_row {
    uint64_t key;
    uint32_t units_low; /* offset / 8 */
    int32_t size;
    uint8_t units_high;
} __attribute__((packed));

struct packed_delta {
    struct gate_item item;
    uint64_t seed;
    uint32_t capacity;
    uint32_t table_size; /* twice the capacity, or 0 */
    _Atomic uint32_t count;
    struct packed_row *rows; /* behind the table */
    _Atomic uint8_t table[]; /* index of a row, plus 1 */
};

/* malloc'd; NULL when memory is gone. With a table the capacity is a power of two. */
struct packed_delta *packed_delta_create(uint32_t capacity, bool has_table, uint64_t seed);
size_t packed_delta_bytes(const struct packed_delta *delta);
bool packed_delta_find(struct packed_delta *delta, uint64_t key, struct needle_entry *ret);
/* Writer only; there is room. */
void packed_delta_add(struct packed_delta *delta, const struct needle_entry *entry);
static inline uint32_t packed_delta_count(struct packed_delta *delta)
{
    return atomic_load_explicit(&delta->count, memory_order_acquire);
}
/* The i-th that was added. */
void packed_delta_row(const struct packed_delta *delta, uint32_t i, struct needle_entry *ret);
/* The newest of each key, by key; answers how many. `ret` has room for all. Needs a table. Any thread. */
size_t packed_delta_sorted(struct packed_delta *delta, struct needle_entry *ret);
