/* Counting what an index sees. See the header. */
#include "volume/storage/index/needle_counters.h"

static uint64_t get(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

static void add(_Atomic uint64_t *counter, uint64_t n) { set(counter, get(counter) + n); }

static void raise_to(_Atomic uint64_t *counter, uint64_t value)
{
    if (value > get(counter))
        set(counter, value);
}

void needle_counters_put(struct needle_counters *counters, uint8_t version,
                         const struct needle_entry *entry, const struct needle_entry *old,
                         enum needle_index_event event)
{
    add(&counters->file_count, 1);
    add(&counters->loaded_file_count, 1);
    add(&counters->file_bytes, (uint64_t)entry->size);
    raise_to(&counters->max_key, entry->key);
    raise_to(&counters->loaded_max_key, entry->key);
    bool is_overwrite = old && old->size >= 0;
    uint64_t size = needle_record_size(version, entry->size);
    if (is_overwrite) {
        if (old->size > 0 || event != NEEDLE_INDEX_RUNTIME)
            add(&counters->deletion_count, 1);
        add(&counters->loaded_deletion_count, 1);
        add(&counters->deletion_bytes, (uint64_t)old->size);
        size -= needle_record_size(version, old->size);
    } else {
        add(&counters->live_count, 1);
    }
    add(&counters->live_record_bytes, size); /* may be a step down: unsigned, it wraps */
}

void needle_counters_put_new(struct needle_counters *counters, uint64_t count, uint64_t bytes,
                             uint64_t record_bytes, uint64_t max_key)
{
    add(&counters->file_count, count);
    add(&counters->loaded_file_count, count);
    add(&counters->file_bytes, bytes);
    add(&counters->live_count, count);
    add(&counters->live_record_bytes, record_bytes);
    raise_to(&counters->max_key, max_key);
    raise_to(&counters->loaded_max_key, max_key);
}

void needle_counters_delete(struct needle_counters *counters, uint8_t version, uint64_t key,
                            const struct needle_entry *old, enum needle_index_event event)
{
    bool is_live = old && old->size >= 0;
    int32_t size = is_live ? old->size : 0;
    if (event == NEEDLE_INDEX_LOAD_COMPACTED)
        add(&counters->file_count, 1);
    if (event != NEEDLE_INDEX_RUNTIME || size > 0)
        add(&counters->deletion_count, 1);
    add(&counters->loaded_deletion_count, 1);
    add(&counters->deletion_bytes, (uint64_t)size);
    if (event != NEEDLE_INDEX_RUNTIME)
        raise_to(&counters->max_key, key);
    raise_to(&counters->loaded_max_key, key);
    if (!is_live)
        return;
    add(&counters->live_count, (uint64_t)-1);
    add(&counters->live_record_bytes, 0 - needle_record_size(version, size));
}

void needle_counters_stat(struct needle_counters *counters, struct needle_index_stat *ret)
{
    ret->file_count = get(&counters->file_count);
    ret->file_bytes = get(&counters->file_bytes);
    ret->deletion_count = get(&counters->deletion_count);
    ret->deletion_bytes = get(&counters->deletion_bytes);
    ret->max_key = get(&counters->max_key);
    ret->live_count = get(&counters->live_count);
    ret->live_record_bytes = get(&counters->live_record_bytes);
    ret->loaded_file_count = get(&counters->loaded_file_count);
    ret->loaded_deletion_count = get(&counters->loaded_deletion_count);
    ret->loaded_max_key = get(&counters->loaded_max_key);
}

void needle_counters_restore(struct needle_counters *counters, const struct needle_index_stat *stat)
{
    set(&counters->file_count, stat->loaded_file_count);
    set(&counters->file_bytes, stat->file_bytes);
    set(&counters->deletion_count, stat->loaded_deletion_count);
    set(&counters->deletion_bytes, stat->deletion_bytes);
    set(&counters->max_key, stat->loaded_max_key);
    set(&counters->live_count, stat->live_count);
    set(&counters->live_record_bytes, stat->live_record_bytes);
    set(&counters->loaded_file_count, stat->loaded_file_count);
    set(&counters->loaded_deletion_count, stat->loaded_deletion_count);
    set(&counters->loaded_max_key, stat->loaded_max_key);
}
