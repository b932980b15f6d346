/* What the memory index and its cursor share. Not for others: see needle_index.h. */
#pragma once

#include "volume/storage/needle_index.h"

#include <pthread.h>

#define MEMORY_INDEX_SHARDS 64u

struct memory_slot {
    uint64_t key;
    uint32_t units_low; /* offset / 8; 0 with units_high 0: empty */
    uint8_t units_high;
    int32_t size;
} __attribute__((packed));
_Static_assert(sizeof(struct memory_slot) == 17, "the promise of 24 bytes a needle rests on this");

static inline uint64_t memory_slot_units(const struct memory_slot *slot)
{
    return (uint64_t)slot->units_high << 32 | slot->units_low;
}
static inline void memory_slot_set_units(struct memory_slot *slot, uint64_t units)
{
    slot->units_low = (uint32_t)units;
    slot->units_high = (uint8_t)(units >> 32);
}

struct memory_shard {
    pthread_mutex_t lock; /* slots, capacity, epoch, and what the slots hold */
    struct memory_slot *slots;
    uint32_t capacity;
    uint32_t epoch; /* counts growths: slots have moved */
    uint32_t count, reserved; /* the writer's own */
} __attribute__((aligned(64)));

int memory_cursor_create(struct needle_cursor **ret, struct memory_shard *shards,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err);
