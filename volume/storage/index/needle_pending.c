/* The rows that wait to be written. See the header. */
#include "volume/storage/index/needle_pending.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 16u

void needle_pending_init(struct needle_pending *pending, uint64_t seed)
{
    *pending = (struct needle_pending){.seed = seed};
}

void needle_pending_fini(struct needle_pending *pending)
{
    free(pending->rows);
    free(pending->slots);
    pending->rows = NULL;
    pending->slots = NULL;
}

void needle_pending_clear(struct needle_pending *pending)
{
    needle_pending_fini(pending);
    needle_pending_init(pending, pending->seed);
}

/* Clients choose the keys: the seed keeps them from choosing the places, too. */
static uint32_t slot_of(const struct needle_pending *pending, uint64_t key)
{
    unsigned __int128 product =
        (unsigned __int128)(key ^ pending->seed) * (0x9e3779b97f4a7c15u ^ (pending->seed << 1));
    uint64_t h = ((uint64_t)product ^ (uint64_t)(product >> 64)) * 0xd6e8feb86659fd93u;
    uint32_t i = (uint32_t)(h >> 32) & (pending->slot_count - 1);
    while (pending->slots[i] != 0 && pending->rows[pending->slots[i] - 1].key != key)
        i = (i + 1) & (pending->slot_count - 1);
    return i;
}

/* Position + 1, or 0. */
static uint32_t search(const struct needle_pending *pending, uint64_t key)
{
    uint32_t low = 0, high = pending->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pending->rows[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < pending->count && pending->rows[low].key == key ? low + 1 : 0;
}

static uint32_t position_of(const struct needle_pending *pending, uint64_t key)
{
    if (pending->count == 0 || key > pending->last_key)
        return 0;
    return pending->is_unsorted ? pending->slots[slot_of(pending, key)] : search(pending, key);
}

const struct needle_entry *needle_pending_find(const struct needle_pending *pending, uint64_t key)
{
    uint32_t position = position_of(pending, key);
    return position != 0 ? &pending->rows[position - 1] : NULL;
}

static void fill_slots(struct needle_pending *pending)
{
    for (uint32_t i = 0; i < pending->count; i++)
        pending->slots[slot_of(pending, pending->rows[i].key)] = i + 1;
}

bool needle_pending_reserve(struct needle_pending *pending, uint32_t more)
{
    uint64_t wanted = (uint64_t)pending->count + more;
    if (wanted <= pending->capacity)
        return true;
    uint64_t capacity = pending->capacity ? pending->capacity : FIRST_CAPACITY;
    while (capacity < wanted)
        capacity *= 2;
    if (capacity > UINT32_MAX / 4)
        return false;
    uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
    struct needle_entry *rows = slots ? realloc(pending->rows, capacity * sizeof(*rows)) : NULL;
    if (!rows) {
        free(slots);
        return false;
    }
    free(pending->slots);
    pending->rows = rows;
    pending->slots = slots;
    pending->capacity = (uint32_t)capacity;
    pending->slot_count = (uint32_t)capacity * 2;
    if (pending->is_unsorted)
        fill_slots(pending);
    return true;
}

void needle_pending_set(struct needle_pending *pending, const struct needle_entry *row)
{
    CHECK(pending->count < pending->capacity);
    uint32_t position = position_of(pending, row->key);
    if (position != 0) {
        pending->rows[position - 1] = *row;
        return;
    }
    if (pending->count > 0 && row->key < pending->last_key && !pending->is_unsorted) {
        pending->is_unsorted = true;
        fill_slots(pending);
    }
    if (pending->is_unsorted)
        pending->slots[slot_of(pending, row->key)] = pending->count + 1;
    if (pending->count == 0 || row->key > pending->last_key)
        pending->last_key = row->key;
    pending->rows[pending->count++] = *row;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->key, y = ((const struct needle_entry *)b)->key;
    return x < y ? -1 : x > y;
}

struct needle_entry *needle_pending_sorted(const struct needle_pending *pending)
{
    struct needle_entry *copy = malloc((pending->count ? pending->count : 1) * sizeof(*copy));
    if (!copy)
        return NULL;
    if (pending->count > 0)
        memcpy(copy, pending->rows, pending->count * sizeof(*copy));
    if (pending->is_unsorted)
        qsort(copy, pending->count, sizeof(*copy), by_key);
    return copy;
}

size_t needle_pending_bytes(const struct needle_pending *pending)
{
    return pending->capacity * sizeof(*pending->rows) + pending->slot_count * sizeof(*pending->slots);
}
