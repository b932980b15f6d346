/* Opening and closing the store. One thread, before and after all others. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int store_durability_parse(const char *text, enum store_durability *ret, struct error *err)
{
    static const char *const names[] = {"none", "interval", "always"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum store_durability)i;
            return 0;
        }
    return error_set(err, KELP_E_INVALID, "\"%s\" is no durability: none, interval or always", text);
}

static void init_locks(struct store *store)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->change_lock, NULL);
    pthread_cond_init(&store->change_ended, NULL);
    pthread_mutex_init(&store->leave_lock, NULL);
    pthread_cond_init(&store->leave_idle, &monotonic);
    pthread_mutex_init(&store->probe_lock, NULL);
    pthread_cond_init(&store->probe_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);

    /* Lookups never nest, and a change must not wait for a stream of them. */
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&store->table_lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
}

static int open_disk(struct store *store, const struct store_config *config, size_t index,
                     struct error *err)
{
    const struct store_location_config *from = &config->locations[index];
    struct disk_location_config location = {
        .os = config->os,
        .id = (uint32_t)index,
        .directory = from->directory,
        .index_directory = config->index_directory,
        .max_volumes = from->max_volumes,
        .disk_type = from->disk_type,
        .tags = from->tags,
        .min_free_percent = from->min_free_percent,
        .min_free_bytes = from->min_free_bytes,
    };
    struct store_disk *disk = &store->disks[index];
    int code = disk_location_open(&disk->location, &location, err);
    if (code)
        return code;
    store_open_index(store, disk, config->index);
    char name[32];
    snprintf(name, sizeof(name), "append-%zu", index);
    code = append_queue_create(&disk->queue, name, err);
    if (code)
        return code;
    append_queue_set_always_durable(disk->queue, config->durability == STORE_DURABILITY_ALWAYS);
    disk->foreground = foreground_create();
    code = vacuum_budget_create(&disk->budget, config->os, disk->foreground,
                                config->compaction_bytes_per_second);
    return code ? error_set(err, code, "vacuum budget") : 0;
}

int store_open(struct store **ret, const struct store_config *config, struct error *err)
{
    if (config->location_count == 0)
        return error_set(err, KELP_E_INVALID, "no data directory: name at least one with -dir");
    if (config->offset_bytes != 4 && config->offset_bytes != 5)
        return error_set(err, KELP_E_INVALID, "-offsetBytes must be 4 or 5, not %u",
                         config->offset_bytes);
    struct store *store = must(calloc(1, sizeof(*store)));
    init_locks(store);
    store->os = config->os;
    store->offset_bytes = config->offset_bytes;
    store->on_volume_added = config->on_volume_added;
    store->on_volume_removed = config->on_volume_removed;
    store->on_loaded = config->on_loaded;
    store->ctx = config->ctx;
    store->disks = must(calloc(config->location_count, sizeof(*store->disks)));
    store->disk_count = config->location_count;

    int code = 0;
    for (size_t i = 0; i < config->location_count && !code; i++)
        code = open_disk(store, config, i, err);
    if (!code)
        code = store_start_probing(store, config->probe_interval_ms, err);
    if (!code && config->durability == STORE_DURABILITY_INTERVAL)
        code = store_start_syncing(store, config->sync_interval_ms, err);
    if (!code)
        code = store_start_loading(store, config->load_threads, config->loads_in_background, err);
    if (code) {
        store_close(store);
        return code;
    }
    *ret = store;
    return 0;
}

static void close_volumes(struct store *store)
{
    size_t count;
    struct store_entry **list = store_table_snapshot(store, &count);
    for (size_t i = 0; i < count; i++) {
        bool is_ours = store_table_leave(store, list[i]);
        store_entry_release(store, list[i]);
        if (is_ours)
            volume_close(store_table_forget(store, list[i]));
    }
    free(list);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store_end_loading(store);
    store_stop_probing(store);
    store_stop_syncing(store);
    close_volumes(store);
    for (size_t i = 0; i < store->disk_count; i++) {
        append_queue_destroy(store->disks[i].queue);
        store_close_index(&store->disks[i]);
        vacuum_budget_destroy(store->disks[i].budget);
        foreground_destroy(store->disks[i].foreground);
        disk_location_close(store->disks[i].location);
    }
    free(store->disks);
    pthread_rwlock_destroy(&store->table_lock);
    pthread_mutex_destroy(&store->change_lock);
    pthread_cond_destroy(&store->change_ended);
    pthread_mutex_destroy(&store->leave_lock);
    pthread_cond_destroy(&store->leave_idle);
    pthread_mutex_destroy(&store->probe_lock);
    pthread_cond_destroy(&store->probe_wake);
    free(store);
}

size_t store_location_count(const struct store *store) { return store->disk_count; }

struct disk_location *store_location(const struct store *store, size_t index)
{
    CHECK(index < store->disk_count);
    return store->disks[index].location;
}

struct vacuum_budget *store_location_budget(const struct store *store, size_t index)
{
    CHECK(index < store->disk_count);
    return store->disks[index].budget;
}

const struct foreground *store_location_foreground(const struct store *store, size_t index)
{
    CHECK(index < store->disk_count);
    return store->disks[index].foreground;
}
