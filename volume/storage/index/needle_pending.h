/* Rows that an index on disk has taken and not written yet: a table in memory above it, by key.
 *
 * Rows stay in the order in which their keys first came. Most .idx files are in key order: then they need no
 * sorting, and are found by halving; a table of positions is filled once they are not. No lock: the
 * owner's. */
#pragma once

#include "volume/storage/format/needle.h"

struct needle_pending {
    struct needle_entry *rows;
    uint32_t *slots; /* position + 1; 0: empty. Twice the capacity, a power of two */
    uint32_t count, capacity, slot_count;
    uint64_t seed, last_key; /* the highest */
    bool is_unsorted;
};

void needle_pending_init(struct needle_pending *pending, uint64_t seed);
void needle_pending_fini(struct needle_pending *pending);
/* Of this key, or NULL. */
const struct needle_entry *needle_pending_find(const struct needle_pending *pending, uint64_t key);
/* Room for so many rows more; false when memory is gone. */
bool needle_pending_reserve(struct needle_pending *pending, uint32_t more);
/* Adds or replaces; room for one is there. */
void needle_pending_set(struct needle_pending *pending, const struct needle_entry *row);
/* A malloc'd copy by key; NULL when memory is gone. */
struct needle_entry *needle_pending_sorted(const struct needle_pending *pending);
/* Empties it; gives its memory back. */
void needle_pending_clear(struct needle_pending *pending);
size_t needle_pending_bytes(const struct needle_pending *pending);
