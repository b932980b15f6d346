/* The store: all disk locations of one volume server and the volumes on them.
 *
 * Owns the volumes, an append queue per disk location and a vacuum budget per disk location.
 * Changes (allocate, mount, unmount, delete) block and run on worker threads, one at a time per
 * volume; finding a volume takes a read lock only and never waits for them.
 *
 * An id may be on several disks of one server (copied there by hand): lookups see the first one,
 * unmount and delete act on every copy. */
#pragma once

#include "common/replica_placement.h"
#include "volume/disk_location.h"
#include "volume/storage/append_queue.h"
#include "volume/storage/volume.h"
#include "volume/storage/volume_vacuum.h"

struct store;

struct store_location_config {
    const char *directory;
    unsigned max_volumes;        /* 0: automatic */
    const char *disk_type;       /* "" is hdd */
    const char *tags;            /* "a:b"; NULL: none */
    double min_free_percent;     /* used when min_free_bytes is 0 */
    uint64_t min_free_bytes;
};

/* What an acknowledged write or delete has been through, when its client did not ask for more. */
enum store_durability {
    STORE_DURABILITY_NONE,     /* the page cache: a crash of the process loses nothing, a power cut may */
    STORE_DURABILITY_INTERVAL, /* the same, and synced within an interval */
    STORE_DURABILITY_ALWAYS,   /* synced */
};
/* "none", "interval", "always"; KELP_E_INVALID. */
int store_durability_parse(const char *text, enum store_durability *ret, struct error *err);

/* Where the needle indexes are: in memory, or in a database on each disk, with caches of that size. */
enum store_index {
    STORE_INDEX_MEMORY,
    STORE_INDEX_LEVELDB,
    STORE_INDEX_LEVELDB_MEDIUM,
    STORE_INDEX_LEVELDB_LARGE,
};

struct store_config {
    struct os *os;
    const struct store_location_config *locations;
    size_t location_count;
    const char *index_directory;       /* -dir.idx; NULL or "": beside the data */
    uint8_t offset_bytes;              /* of new volumes: 4 or 5 */
    enum store_index index;
    uint64_t compaction_bytes_per_second; /* 0: no limit */
    enum store_durability durability;
    uint32_t sync_interval_ms;            /* of STORE_DURABILITY_INTERVAL; 0: a second */
    unsigned load_threads;             /* volumes loaded at the same time; 0: 10 or the cores */
    /* Of free space; 0: a minute. That a disk has become low is found within half a second. */
    uint32_t probe_interval_ms;
    /* store_open returns before the volumes are loaded: each is there once it is ready. */
    bool loads_in_background;
    void (*on_loaded)(void *ctx); /* once, when all are; may be NULL */
    /* What the heartbeat has to tell at once. On the thread of the change; must not block or
     * call back. Not called for what store_open itself has loaded. */
    void (*on_volume_added)(void *ctx, const struct disk_location *location, struct volume *volume);
    void (*on_volume_removed)(void *ctx, const struct disk_location *location,
                              struct volume *volume);
    void *ctx;
};

/* Locks each directory against a second process (KELP_E_BUSY, with what to do), makes vol_dir.uuid,
 * recovers, loads all volumes in parallel, bounded. A volume that does not load is logged and left
 * alone. */
int store_open(struct store **ret, const struct store_config *config, struct error *err);
/* All volumes must have been released, or be so soon: it waits for them. NULL is fine. */
void store_close(struct store *store);

/* A volume in use: it is not closed or freed before store_release. Any thread, does not block.
 * NULL when it is not here. Hold it for a request, not for longer: unmount waits for it. */
struct volume *store_acquire(struct store *store, uint32_t volume_id);
/* The same, and tells why not: KELP_E_NOT_FOUND, or KELP_E_UNAVAILABLE ("... try again") for a volume that
 * is not loaded yet, and then is loaded next. */
int store_find(struct store *store, uint32_t volume_id, struct volume **ret, struct error *err);
void store_release(struct store *store, struct volume *volume);
/* Whether somebody waits to close this (acquired) volume: who has it for long lets go soon then. */
bool store_is_leaving(struct store *store, struct volume *volume);
/* Where the writes of this (acquired) volume go. */
struct append_queue *store_append_queue(struct store *store, struct volume *volume);
struct disk_location *store_location_of(struct store *store, struct volume *volume);
struct vacuum_budget *store_vacuum_budget(struct store *store, struct volume *volume);

/* Every volume that is mounted when this begins, by location, then id, each acquired during its
 * visit. A non-zero answer ends the walk and is returned. */
int store_for_each(struct store *store,
                   int (*visit)(void *ctx, struct disk_location *location, struct volume *volume),
                   void *ctx);
size_t store_volume_count(struct store *store);
/* How many are still to be loaded. */
size_t store_loading_count(struct store *store);
/* How many could not be, the last time that all were looked at (start, rescan). */
size_t store_not_loaded_count(const struct store *store);
/* The load begins no further volume: the server is about to stop. Does not wait. */
void store_stop_loading(struct store *store);

size_t store_location_count(const struct store *store);
struct disk_location *store_location(const struct store *store, size_t index);
struct vacuum_budget *store_location_budget(const struct store *store, size_t index);
const struct foreground *store_location_foreground(const struct store *store, size_t index);
size_t store_location_volume_count(struct store *store, const struct disk_location *location);
/* The most volumes that this location takes, as heartbeats report it (spec heartbeat.md 5.3):
 * the flag's, or the automatic one, or what it holds when it is low on space or still loading. 0
 * when unavailable. */
uint32_t store_location_max(struct store *store, const struct disk_location *location);

/* What the master answered. True when an automatic maximum changed by it. */
bool store_set_limits(struct store *store, uint64_t volume_size_limit, bool is_preallocating);
/* Sizes the automatic maxima anew: once a pulse. */
void store_resize_automatic(struct store *store);
uint64_t store_volume_size_limit(const struct store *store); /* 0: no master has told it yet */

/* ---- changes: block; worker threads only. Texts are the wire's (spec/volume-rpc.md 2). ---- */

struct store_allocate {
    uint32_t id;
    const char *collection;
    const char *disk_type;
    struct replica_placement replica_placement;
    struct ttl ttl;
    uint64_t preallocate;
};
/* KELP_E_EXISTS, KELP_E_NO_SPACE ("No more free space left"), KELP_E_INVALID for a collection
 * name that would leave the directory. */
int store_allocate_volume(struct store *store, const struct store_allocate *request,
                          struct error *err);
/* A mounted id is announced again. `collection` is preferred among several of the id; NULL:
 * whichever. */
int store_mount_volume(struct store *store, uint32_t id, const char *collection, struct error *err);
/* Of a volume that is not mounted: success. A running vacuum of it is cancelled. */
int store_unmount_volume(struct store *store, uint32_t id, struct error *err);

/* Another replication for every copy of the id that is here; it is served all the while, and announced
 * as gone and as new. KELP_E_NOT_FOUND, KELP_E_INVALID. */
int store_configure_volume(struct store *store, uint32_t id, const char *replication,
                           struct error *err);

enum store_delete_rule {
    STORE_DELETE_ALWAYS,
    STORE_DELETE_ONLY_EMPTY = 1,   /* nothing was ever written */
    STORE_DELETE_ONLY_GARBAGE = 2, /* written to, and nothing is live any more; may be or'ed */
};
/* KELP_E_NOT_FOUND, KELP_E_PRECONDITION (not empty), KELP_E_BUSY (compacting). */
int store_delete_volume(struct store *store, uint32_t id, unsigned rule, struct error *err);
/* Volumes that compact are left alone, silently as the peer does. */
int store_delete_collection(struct store *store, const char *collection, struct error *err);
/* Mounts what has appeared on the disks. */
void store_rescan(struct store *store);
/* Looks at the free space of each disk now; the probe thread does so each minute. */
void store_probe(struct store *store);
