/* The needle index of kind "memory": an open-addressing hash table in shards.
 *
 * A slot is 17 bytes: key, offset in units of 8 (5 bytes), size. Slots are never moved or emptied, only
 * overwritten, and a shard grows by an eighth at a load of four fifths: 21 to 24 bytes a needle. With 64
 * shards a growing table is small; it is built beside the old one by the only writer, so that readers
 * wait for two pointer stores and nothing more.
 *
 * Each shard has a lock, held for one probe or one store. The writer reads its own tables without it.
 * A slot with offset 0 is empty: no record lies there. The hash is seeded, since clients choose keys. */
#include "volume/storage/needle_index.h"

#include "common/check.h"
#include "volume/storage/needle_index_memory.h"

#include <pthread.h>
#include <stdatomic.h>

#define FIRST_CAPACITY 16u

struct memory_index {
    struct needle_index base;
    uint64_t seed;
    uint8_t version;
    /* Counters: one writer, any reader. */
    _Atomic uint64_t file_count, file_bytes, deletion_count, deletion_bytes, max_key;
    _Atomic uint64_t live_count, live_record_bytes;
    struct memory_shard shards[MEMORY_INDEX_SHARDS];
};

static struct memory_index *of(struct needle_index *index) { return (struct memory_index *)index; }

static uint64_t hash_key(const struct memory_index *index, uint64_t key)
{
    unsigned __int128 product =
        (unsigned __int128)(key ^ index->seed) * (0x9e3779b97f4a7c15u ^ (index->seed << 1));
    uint64_t h = (uint64_t)product ^ (uint64_t)(product >> 64);
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static struct memory_shard *shard_of(struct memory_index *index, uint64_t hash)
{
    return &index->shards[hash % MEMORY_INDEX_SHARDS];
}

/* The slot of the key, or the empty one where it would go. The table has an empty slot. */
static struct memory_slot *probe(struct memory_slot *slots, uint32_t capacity, uint64_t hash,
                                 uint64_t key)
{
    uint32_t i = (uint32_t)(((hash >> 32) * capacity) >> 32);
    while (memory_slot_units(&slots[i]) != 0 && slots[i].key != key)
        i = i + 1 == capacity ? 0 : i + 1;
    return &slots[i];
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static uint64_t get_counter(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static int32_t deleted_size(int32_t size) { return size > 0 ? -size : -1; }

static int memory_get(struct needle_index *base, uint64_t key, struct needle_entry *ret,
                      struct error *err)
{
    struct memory_index *index = of(base);
    uint64_t hash = hash_key(index, key);
    struct memory_shard *shard = shard_of(index, hash);
    int code = KELP_E_NOT_FOUND;
    pthread_mutex_lock(&shard->lock);
    if (shard->capacity > 0) {
        const struct memory_slot *slot = probe(shard->slots, shard->capacity, hash, key);
        uint64_t units = memory_slot_units(slot);
        if (units != 0) {
            *ret = (struct needle_entry){key, units * NEEDLE_ALIGNMENT, slot->size};
            code = 0;
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return code;
}

static bool needs_growth(const struct memory_shard *shard, uint32_t more)
{
    return (uint64_t)(shard->count + more) * 5 > (uint64_t)shard->capacity * 4;
}

/* Writer only. The table for at least `count` entries, built aside and then put in place. */
static int grow(struct memory_index *index, struct memory_shard *shard, uint64_t count,
                struct error *err)
{
    uint64_t capacity = shard->capacity + shard->capacity / 8;
    if (capacity < FIRST_CAPACITY)
        capacity = FIRST_CAPACITY;
    if (capacity < count * 5 / 4 + 2)
        capacity = count * 5 / 4 + 2;
    struct memory_slot *slots = capacity > UINT32_MAX ? NULL : calloc(capacity, sizeof(*slots));
    if (!slots)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for an index of %llu needles",
                         (unsigned long long)get_counter(&index->live_count));
    for (uint32_t i = 0; i < shard->capacity; i++) {
        const struct memory_slot *old = &shard->slots[i];
        if (memory_slot_units(old) != 0)
            *probe(slots, (uint32_t)capacity, hash_key(index, old->key), old->key) = *old;
    }
    pthread_mutex_lock(&shard->lock);
    struct memory_slot *old_slots = shard->slots;
    shard->slots = slots;
    shard->capacity = (uint32_t)capacity;
    shard->epoch++;
    pthread_mutex_unlock(&shard->lock);
    free(old_slots);
    return 0;
}

static int memory_reserve(struct needle_index *base, uint64_t key, struct error *err)
{
    struct memory_index *index = of(base);
    struct memory_shard *shard = shard_of(index, hash_key(index, key));
    if (needs_growth(shard, shard->reserved + 1)) {
        int code = grow(index, shard, (uint64_t)shard->count + shard->reserved + 1, err);
        if (code != 0)
            return code;
    }
    shard->reserved++;
    return 0;
}

static void memory_unreserve(struct needle_index *base, uint64_t key)
{
    struct memory_index *index = of(base);
    struct memory_shard *shard = shard_of(index, hash_key(index, key));
    CHECK(shard->reserved > 0);
    shard->reserved--;
}

/* Spec 9.1. `old` is NULL for a key that was never put; a deleted one has a negative size. */
static void count_put(struct memory_index *index, const struct needle_entry *entry,
                      const struct needle_entry *old, enum needle_index_event event)
{
    add(&index->file_count, 1);
    add(&index->file_bytes, (uint64_t)entry->size);
    if (entry->key > get_counter(&index->max_key))
        atomic_store_explicit(&index->max_key, entry->key, memory_order_relaxed);
    bool is_overwrite = old && old->size >= 0;
    if (is_overwrite && (old->size > 0 || event != NEEDLE_INDEX_RUNTIME)) {
        add(&index->deletion_count, 1);
        add(&index->deletion_bytes, (uint64_t)old->size);
    }
    uint64_t size = needle_record_size(index->version, entry->size);
    if (is_overwrite)
        size -= needle_record_size(index->version, old->size);
    else
        add(&index->live_count, 1);
    add(&index->live_record_bytes, size); /* may be a step down: unsigned, it wraps */
}

static int memory_put(struct needle_index *base, const struct needle_entry *entry,
                      enum needle_index_event event, struct error *err)
{
    struct memory_index *index = of(base);
    CHECK(entry->offset != 0 && entry->size >= 0);
    uint64_t hash = hash_key(index, entry->key);
    struct memory_shard *shard = shard_of(index, hash);
    bool was_reserved = shard->reserved > 0;
    if (!was_reserved && needs_growth(shard, 1)) {
        int code = grow(index, shard, (uint64_t)shard->count + 1, err);
        if (code != 0)
            return code;
    }
    if (was_reserved)
        shard->reserved--;
    struct memory_slot *slot = probe(shard->slots, shard->capacity, hash, entry->key);
    uint64_t units = memory_slot_units(slot);
    struct needle_entry old = {entry->key, units * NEEDLE_ALIGNMENT, slot->size};
    if (event == NEEDLE_INDEX_RUNTIME && units != 0 && old.size >= 0 && old.offset >= entry->offset)
        return 0;
    count_put(index, entry, units != 0 ? &old : NULL, event);
    pthread_mutex_lock(&shard->lock);
    slot->key = entry->key;
    memory_slot_set_units(slot, entry->offset / NEEDLE_ALIGNMENT);
    slot->size = entry->size;
    pthread_mutex_unlock(&shard->lock);
    if (units == 0)
        shard->count++;
    return 0;
}

static int memory_delete(struct needle_index *base, uint64_t key, enum needle_index_event event,
                         struct error *err)
{
    struct memory_index *index = of(base);
    uint64_t hash = hash_key(index, key);
    struct memory_shard *shard = shard_of(index, hash);
    struct memory_slot *slot =
        shard->capacity > 0 ? probe(shard->slots, shard->capacity, hash, key) : NULL;
    bool is_live = slot && memory_slot_units(slot) != 0 && slot->size >= 0;
    int32_t size = is_live ? slot->size : 0;

    if (event == NEEDLE_INDEX_LOAD_COMPACTED)
        add(&index->file_count, 1);
    if (event != NEEDLE_INDEX_RUNTIME || size > 0)
        add(&index->deletion_count, 1);
    add(&index->deletion_bytes, (uint64_t)size);
    if (event != NEEDLE_INDEX_RUNTIME && key > get_counter(&index->max_key))
        atomic_store_explicit(&index->max_key, key, memory_order_relaxed);
    if (!is_live)
        return 0;
    add(&index->live_count, (uint64_t)-1);
    add(&index->live_record_bytes, 0 - needle_record_size(index->version, size));
    pthread_mutex_lock(&shard->lock);
    slot->size = deleted_size(size);
    pthread_mutex_unlock(&shard->lock);
    return 0;
}

static void memory_stat(struct needle_index *base, struct needle_index_stat *ret)
{
    struct memory_index *index = of(base);
    *ret = (struct needle_index_stat){
        .file_count = get_counter(&index->file_count),
        .file_bytes = get_counter(&index->file_bytes),
        .deletion_count = get_counter(&index->deletion_count),
        .deletion_bytes = get_counter(&index->deletion_bytes),
        .max_key = get_counter(&index->max_key),
        .live_count = get_counter(&index->live_count),
        .live_record_bytes = get_counter(&index->live_record_bytes),
        .memory_bytes = sizeof(*index),
    };
    for (size_t i = 0; i < MEMORY_INDEX_SHARDS; i++) {
        struct memory_shard *shard = &index->shards[i];
        pthread_mutex_lock(&shard->lock);
        ret->memory_bytes += shard->capacity * sizeof(struct memory_slot);
        pthread_mutex_unlock(&shard->lock);
    }
}

static void memory_destroy(struct needle_index *base)
{
    struct memory_index *index = of(base);
    for (size_t i = 0; i < MEMORY_INDEX_SHARDS; i++) {
        pthread_mutex_destroy(&index->shards[i].lock);
        free(index->shards[i].slots);
    }
    free(index);
}

static int memory_cursor_open(struct needle_index *base, enum needle_index_order order,
                              uint64_t offset_limit, struct needle_cursor **ret, struct error *err)
{
    return memory_cursor_create(ret, of(base)->shards, order, offset_limit, err);
}

int needle_index_memory_create(struct needle_index **ret, const struct needle_index_config *config,
                               struct error *err)
{
    static const struct needle_index_ops ops = {
        .kind = "memory",
        .destroy = memory_destroy,
        .get = memory_get,
        .reserve = memory_reserve,
        .unreserve = memory_unreserve,
        .put = memory_put,
        .delete = memory_delete,
        .stat = memory_stat,
        .cursor_open = memory_cursor_open,
    };
    struct memory_index *index = aligned_alloc(64, sizeof(*index));
    if (!index)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    memset(index, 0, sizeof(*index));
    index->base.ops = &ops;
    index->seed = config->seed;
    index->version = config->version;
    for (size_t i = 0; i < MEMORY_INDEX_SHARDS; i++)
        CHECK(pthread_mutex_init(&index->shards[i].lock, NULL) == 0);
    /* A shard gets its share and three standard deviations, so that few have to grow again. */
    uint64_t share = config->expected / MEMORY_INDEX_SHARDS;
    for (size_t i = 0; share > FIRST_CAPACITY && i < MEMORY_INDEX_SHARDS; i++) {
        int code = grow(index, &index->shards[i], share + share / 64, err);
        if (code != 0) {
            memory_destroy(&index->base);
            return code;
        }
    }
    *ret = &index->base;
    return 0;
}
