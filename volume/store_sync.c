/* The durability mode "interval": a thread per disk that syncs, once an interval, the volumes of its disk
 * that were written to. A disk that is slow to sync holds up itself alone; loops and writer threads never
 * wait for it, but where the device makes them. A sync that fails quarantines the volume. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define DEFAULT_INTERVAL_MS 1000u

struct store_syncing {
    struct store *store;
    uint32_t interval_ms;
    size_t thread_count;
    struct store_syncer {
        struct store_syncing *syncing;
        struct store_disk *disk;
        pthread_t thread;
    } *syncers; /* one a disk */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_ending; /* lock */
};

static void sync_disk(struct store *store, struct store_disk *disk)
{
    size_t count;
    struct store_entry **list = store_table_snapshot(store, &count);
    size_t mine = 0;
    for (size_t i = 0; i < count; i++) /* nobody who unmounts from another disk shall wait for this one */
        if (list[i]->disk == disk)
            list[mine++] = list[i];
        else
            store_entry_release(store, list[i]);
    for (size_t i = 0; i < mine; i++) {
        struct error err;
        if (volume_sync_changes(list[i]->volume, &err) != 0)
            log_error("volume not synced",
                      "volume=%u error=\"%s\" effect=\"it is read-only; writes of the last interval may be "
                      "lost at a power failure\" next=\"check the disk, then mark it writable\"",
                      list[i]->id, err.message);
        store_entry_release(store, list[i]);
    }
    free(list);
}

/* lock held. False when it is time to end. */
static bool wait_interval(struct store_syncing *syncing)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += syncing->interval_ms / 1000;
    until.tv_nsec += (long)(syncing->interval_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int rc = 0;
    while (!syncing->is_ending && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&syncing->wake, &syncing->lock, &until);
    return !syncing->is_ending;
}

static void *run_syncer(void *arg)
{
    struct store_syncer *syncer = arg;
    struct store_syncing *syncing = syncer->syncing;
    pthread_mutex_lock(&syncing->lock);
    while (wait_interval(syncing)) {
        pthread_mutex_unlock(&syncing->lock);
        sync_disk(syncing->store, syncer->disk);
        pthread_mutex_lock(&syncing->lock);
    }
    pthread_mutex_unlock(&syncing->lock);
    return NULL;
}

int store_start_syncing(struct store *store, uint32_t interval_ms, struct error *err)
{
    struct store_syncing *syncing = must(calloc(1, sizeof(*syncing)));
    syncing->store = store;
    syncing->interval_ms = interval_ms ? interval_ms : DEFAULT_INTERVAL_MS;
    syncing->syncers = must(calloc(store->disk_count, sizeof(*syncing->syncers)));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    CHECK(pthread_mutex_init(&syncing->lock, NULL) == 0);
    CHECK(pthread_cond_init(&syncing->wake, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    store->syncing = syncing;
    for (size_t i = 0; i < store->disk_count; i++) {
        struct store_syncer *syncer = &syncing->syncers[i];
        syncer->syncing = syncing;
        syncer->disk = &store->disks[i];
        int rc = pthread_create(&syncer->thread, NULL, run_syncer, syncer);
        if (rc)
            return error_set_errno(err, rc, "start the thread that syncs disk %zu", i);
        char name[16];
        snprintf(name, sizeof(name), "sync-%u", (unsigned)i % 1000);
        pthread_setname_np(syncer->thread, name);
        syncing->thread_count++;
    }
    return 0;
}

void store_stop_syncing(struct store *store)
{
    struct store_syncing *syncing = store->syncing;
    if (!syncing)
        return;
    pthread_mutex_lock(&syncing->lock);
    syncing->is_ending = true;
    pthread_cond_broadcast(&syncing->wake);
    pthread_mutex_unlock(&syncing->lock);
    for (size_t i = 0; i < syncing->thread_count; i++)
        pthread_join(syncing->syncers[i].thread, NULL);
    pthread_mutex_destroy(&syncing->lock);
    pthread_cond_destroy(&syncing->wake);
    free(syncing->syncers);
    free(syncing);
    store->syncing = NULL;
}
