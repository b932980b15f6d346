/* The store: all disk locations of one volume server and the volumes on them.
 *
 * Owns the volumes, an append queue per disk location and a vacuum budget per disk location. Changes
 * (allocate, mount, unmount, delete) block and run on worker threads, under the store's lock; finding a
 * volume takes a read lock only and never waits for them. */
#pragma once

#include "volume/storage/append_queue.h"
#include "volume/storage/volume.h"
#include "volume/storage/volume_vacuum.h"

struct store;
struct disk_location;

struct store_location_config {
    const char *directory;
    unsigned max_volumes;        /* 0: automatic */
    const char *disk_type;       /* "" is hdd */
    double min_free_percent;     /* used when min_free_bytes is 0 */
    uint64_t min_free_bytes;
};

struct store_config {
    struct os *os;
    const struct store_location_config *locations;
    size_t location_count;
    const char *index_directory;       /* -dir.idx; NULL: beside the data */
    uint8_t offset_bytes;              /* of new volumes: 4 or 5 */
    uint64_t compaction_bytes_per_second; /* 0: no limit */
    /* What the heartbeat has to tell at once. On the thread of the change; must not block or call back. */
    void (*on_volume_added)(void *ctx, const struct disk_location *location, struct volume *volume);
    void (*on_volume_removed)(void *ctx, const struct disk_location *location, struct volume *volume);
    void *ctx;
};

/* Locks each directory against a second process (KELP_E_BUSY, with what to do), makes vol_dir.uuid,
 * recovers, loads all volumes in parallel. A volume that does not load is logged and left alone. */
int store_open(struct store **ret, const struct store_config *config, struct error *err);
void store_close(struct store *store);

/* A volume in use: it is not closed or freed before store_release. Any thread, does not block. NULL when
 * it is not here. */
struct volume *store_acquire(struct store *store, uint32_t volume_id);
void store_release(struct store *store, struct volume *volume);
/* Where the writes of this (acquired) volume go. */
struct append_queue *store_append_queue(struct store *store, struct volume *volume);
struct disk_location *store_location_of(struct store *store, struct volume *volume);
