/* The inside of the store, for the files that make it up: store.c (opening, closing, disks),
 * store_table.c (who is here), store_pending.c (who will be), store_settle.c (loading them in turn or at
 * once), store_volume.c (opening one), store_load.c (the parallel load), store_change.c (allocate, mount,
 * unmount, delete), store_space.c (free space, maxima), store_sync.c (syncs in the background).
 *
 * Locks, in the order in which they may be taken:
 *   change_lock  which ids are being changed now, and slots promised to volumes that are being
 *                made. A change of one id excludes others of that id by begin_change .. end_change;
 *                no lock is held while it works.
 *   table_lock   the tables id -> entries and id -> pending. Held for a few instructions only.
 *   leave_lock   with leave_idle: entries that have left the table and wait for their last user. */
#pragma once

#include "volume/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* Keys here are volume ids, looked up several times for each request: worth a hash of their own. */
#undef HASH_FUNCTION
#define HASH_FUNCTION(key, size, hash) ((hash) = *(const uint32_t *)(key) * 0x9e3779b1u)
#define HASH_KEYCMP(a, b, size)        (*(const uint32_t *)(a) != *(const uint32_t *)(b))
#include <uthash.h>

/* One mounted volume on one disk. In the table until it leaves; freed by the thread that removed
 * it, once nobody uses it. */
struct store_entry {
    uint32_t id;
    struct volume *volume;
    struct store_disk *disk;
    atomic_size_t uses; /* and a flag: it has left. Grows under table_lock only, and before it leaves */
    struct store_entry *next_copy; /* of the same id on a later disk */
    UT_hash_handle hh;
};

struct store_disk {
    struct disk_location *location;
    struct index_store *index_store; /* NULL: indexes are in memory */
    struct append_queue *queue;
    struct foreground *foreground;
    struct vacuum_budget *budget;
    size_t volume_count; /* table_lock */
    size_t pending_count; /* table_lock: found here, not loaded yet */
    size_t promised;     /* change_lock: slots for volumes that are being made */
    atomic_uint automatic_max;
};

/* A volume that was found on a disk and is to be loaded. */
struct store_pending {
    uint32_t id;
    struct store_disk *disk;
    char *collection;
    size_t order;   /* in which the names came; then its turn among those of its disk */
    bool is_listed; /* lookups see it; constant once threads run */
    bool is_done;   /* loaded, or it failed; only the thread that changes the id looks */
    atomic_bool is_taken; /* by a thread of the load */
    atomic_bool is_wanted; /* somebody asked for it */
    struct store_pending *next_copy; /* of the same id on another disk */
    UT_hash_handle hh;
};

struct store_change {
    uint32_t id;
    struct store_change *next;
};

struct store {
    struct os *os;
    uint8_t offset_bytes;
    void (*on_volume_added)(void *ctx, const struct disk_location *location, struct volume *volume);
    void (*on_volume_removed)(void *ctx, const struct disk_location *location,
                              struct volume *volume);
    void *ctx;
    struct store_disk *disks;
    size_t disk_count;

    pthread_mutex_t change_lock;
    pthread_cond_t change_ended;
    struct store_change *changes;

    pthread_rwlock_t table_lock;
    struct store_entry *table;
    size_t volume_count;
    struct store_pending *pending;

    struct load_plan *loading; /* of the start, until the store is closed */
    pthread_t load_thread;
    bool has_load_thread;
    atomic_bool is_load_stopping;
    atomic_bool has_wanted; /* some pending volume is wanted */
    atomic_size_t not_loaded; /* by the last load of all that was there */
    void (*on_loaded)(void *ctx);

    pthread_mutex_t leave_lock;
    pthread_cond_t leave_idle;

    atomic_uint_fast64_t volume_size_limit;
    atomic_bool is_preallocating;

    struct store_syncing *syncing; /* NULL: nothing is synced in the background */

    pthread_t probe_thread;
    bool has_probe_thread;
    pthread_mutex_t probe_lock;
    pthread_cond_t probe_wake;
    bool is_closing; /* probe_lock */
    uint32_t probe_interval_ms;
};

/* ---- store_table.c ---- */

/* The volume passes to the table. */
void store_table_add(struct store *store, struct store_disk *disk, struct volume *volume);
/* The entry of this id on this disk (NULL: on the first disk that has it), used by the caller,
 * to be given back with store_entry_release. */
struct store_entry *store_table_use(struct store *store, uint32_t id,
                                    const struct store_disk *disk);
void store_entry_release(struct store *store, struct store_entry *entry);
/* Takes it out of the table: no new user finds it. False when another thread was first. */
bool store_table_leave(struct store *store, struct store_entry *entry);
/* Waits for the last user (a vacuum of it is cancelled), frees the entry, returns the volume. The
 * caller does not use it any more himself. */
struct volume *store_table_forget(struct store *store, struct store_entry *entry);
/* All entries, each used by the caller, by disk, then id. */
struct store_entry **store_table_snapshot(struct store *store, size_t *ret_count);

void store_begin_change(struct store *store, struct store_change *change, uint32_t id);
void store_end_change(struct store *store, struct store_change *change);

/* ---- store_load.c ---- */

/* Everything that can be loaded and is not mounted yet, now. */
int store_load_all(struct store *store, struct error *err);
/* The same for the start: what is found is listed as pending and loaded, on threads of their own when
 * `in_background`. */
int store_start_loading(struct store *store, unsigned threads, bool in_background,
                        struct error *err);
/* Waits for the load to end; it begins no further volume. */
void store_end_loading(struct store *store);

/* ---- store_volume.c ---- */

/* Opens one and adds it to the table; its repairs are logged. */
int store_load_volume(struct store *store, struct store_disk *disk, const char *collection,
                      uint32_t id, bool announce, struct error *err);
/* Removes what an interrupted copy has left. */
int store_sweep_volume(struct store *store, struct store_disk *disk, const char *collection,
                       uint32_t id, struct error *err);

/* ---- store_pending.c ---- */

void store_pending_add(struct store *store, struct store_pending *pending);
/* table_lock held. Whether the volume is to be loaded; if so, it is loaded next. */
bool store_pending_want(struct store *store, uint32_t id);
/* NULL: on all disks. */
size_t store_pending_count(struct store *store, const struct store_disk *disk);
void store_pending_remove(struct store *store, struct store_pending *pending);
/* One of this id; NULL: none. It stays while the caller changes the id. */
struct store_pending *store_pending_find(struct store *store, uint32_t id);
/* The id of one of this collection; false: none. */
bool store_pending_find_collection(struct store *store, const char *collection, uint32_t *ret_id);

/* ---- store_settle.c ---- */

/* Loads it unless that was done. The caller changes the id. */
int store_settle_one(struct store *store, struct store_pending *pending, bool announce);
/* Loads what is pending of this id, which the caller changes. */
void store_settle(struct store *store, uint32_t id);
/* Loads what is pending of the collection. The caller changes nothing. */
void store_settle_collection(struct store *store, const char *collection);

/* ---- store_index.c ---- */

/* Opens what holds the disk's needle indexes; if it cannot be had they are in memory. Logs. */
void store_open_index(struct store *store, struct store_disk *disk, enum store_index kind);
void store_close_index(struct store_disk *disk);
/* Once all volumes were opened: what is kept of others goes. */
void store_tidy_indexes(struct store *store);

/* ---- store_space.c ---- */

int store_start_probing(struct store *store, uint32_t interval_ms, struct error *err);
void store_stop_probing(struct store *store);
/* Tells the volume whether its disk is low. After it was added to the table: a probe in between would not
 * have met it there. */
void store_tell_space(struct store_disk *disk, struct volume *volume);
/* store_floor.c: what uploads leave on each disk; computed anew from what is there. */
void store_set_floors(struct store *store);
/* How many volumes of its own, not in remote storage, each disk holds; free it. */
size_t *store_count_untiered(struct store *store);

/* ---- store_sync.c ---- */

int store_start_syncing(struct store *store, uint32_t interval_ms, struct error *err);
void store_stop_syncing(struct store *store);
