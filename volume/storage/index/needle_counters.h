/* The counters of a needle index, alike for all kinds. Source: spec/storage-format.md 9.1.
 *
 * One writer changes them, any thread reads them. */
#pragma once

#include "volume/storage/index/needle_index.h"

#include <stdatomic.h>

struct needle_counters {
    _Atomic uint64_t file_count, file_bytes, deletion_count, deletion_bytes, max_key;
    _Atomic uint64_t live_count, live_record_bytes;
    _Atomic uint64_t loaded_file_count, loaded_deletion_count, loaded_max_key;
};

/* `old`: what the index says of the key before the event, deleted or not; NULL: it was never put.
 * `version`: of the records. */
void needle_counters_put(struct needle_counters *counters, uint8_t version,
                         const struct needle_entry *entry, const struct needle_entry *old,
                         enum needle_index_event event);
/* `count` puts of keys that were not known, the highest of them `max_key`: as one call for each. */
void needle_counters_put_new(struct needle_counters *counters, uint64_t count, uint64_t bytes,
                             uint64_t record_bytes, uint64_t max_key);
void needle_counters_delete(struct needle_counters *counters, uint8_t version, uint64_t key,
                            const struct needle_entry *old, enum needle_index_event event);
/* All but memory_bytes, which is left as it is. */
void needle_counters_stat(struct needle_counters *counters, struct needle_index_stat *ret);
/* Goes on from there, as after a load of the rows that led to it. */
void needle_counters_restore(struct needle_counters *counters, const struct needle_index_stat *stat);
/* No key above this one was ever put or deleted. */
static inline bool needle_counters_is_above(const struct needle_counters *counters, uint64_t key)
{
    return key > atomic_load_explicit(&counters->loaded_max_key, memory_order_relaxed);
}
static inline int32_t needle_deleted_size(int32_t size) { return size > 0 ? -size : NEEDLE_TOMBSTONE; }
