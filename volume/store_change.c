/* Changes of what is mounted. They block, run on worker threads, and exclude each other per id;
 * what they tell the heartbeat, they tell in order. The texts are the wire's: spec/volume-rpc.md
 * 2. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"
#include "volume/storage/format/volume_files.h"

#include <stdio.h>
#include <string.h>

/* ---- allocate ---- */

/* Spec volume-rpc.md 0.5: the eligible disk with the fewest volumes of its own, the first on a
 * tie. The slot is promised to the caller. */
static struct store_disk *choose_disk(struct store *store, const char *disk_type)
{
    char type[32];
    disk_type_normalize(disk_type, type);
    size_t *counts = store_count_untiered(store);
    struct store_disk *best = NULL;
    size_t best_count = 0;
    pthread_mutex_lock(&store->change_lock);
    for (size_t i = 0; i < store->disk_count; i++) {
        struct store_disk *disk = &store->disks[i];
        struct disk_space space;
        disk_location_space(disk->location, &space);
        size_t pending = store_pending_count(store, disk);
        size_t held =
            store_location_volume_count(store, disk->location) + pending + disk->promised;
        unsigned max = disk_location_max_configured(disk->location);
        if (strcmp(disk_location_disk_type(disk->location), type) != 0 || space.is_low ||
            space.is_unavailable || (max != 0 && held >= max))
            continue;
        size_t count = counts[i] + pending + disk->promised;
        if (!best || count < best_count) {
            best = disk;
            best_count = count;
        }
    }
    if (best)
        best->promised++;
    pthread_mutex_unlock(&store->change_lock);
    free(counts);
    return best;
}

static void keep_promise(struct store *store, struct store_disk *disk)
{
    pthread_mutex_lock(&store->change_lock);
    disk->promised--;
    pthread_mutex_unlock(&store->change_lock);
}

/* The peer takes any name; one with a slash would leave the directory. */
static int check_collection(const char *collection, struct error *err)
{
    if (strlen(collection) > 200 || strchr(collection, '/') || strcmp(collection, ".") == 0 ||
        strcmp(collection, "..") == 0)
        return error_set(err, KELP_E_INVALID,
                         "invalid collection \"%.64s\": a name of at most 200 characters without "
                         "slashes is needed",
                         collection);
    return 0;
}

static int create_on_disk(struct store *store, struct store_disk *disk,
                          const struct store_allocate *request, struct error *err)
{
    struct volume_place place = {
        .os = store->os,
        .data_dir = disk_location_directory(disk->location),
        .index_dir = disk_location_index_directory(disk->location),
        .collection = request->collection,
        .id = request->id,
        .index_store = disk->index_store,
        .foreground = disk->foreground,
    };
    struct volume_options options = {
        .replica_placement = request->replica_placement,
        .ttl = request->ttl,
        .offset_bytes = store->offset_bytes,
        .preallocate = request->preallocate,
    };
    struct volume *volume;
    int code = volume_create(&volume, &place, &options, err);
    /* An unmounted volume of that name: it is taken as it is, its super block wins. */
    if (code == KELP_E_EXISTS)
        return store_load_volume(store, disk, request->collection, request->id, true, err);
    if (code)
        return code;
    store_table_add(store, disk, volume);
    store_tell_space(disk, volume);
    if (store->on_volume_added)
        store->on_volume_added(store->ctx, disk->location, volume);
    return 0;
}

int store_allocate_volume(struct store *store, const struct store_allocate *request,
                          struct error *err)
{
    struct store_allocate wanted = *request;
    if (!wanted.collection)
        wanted.collection = "";
    int code = check_collection(wanted.collection, err);
    if (code)
        return code;
    struct store_change change;
    store_begin_change(store, &change, wanted.id);
    store_settle(store, wanted.id);
    struct store_entry *existing = store_table_use(store, wanted.id, NULL);
    if (existing) {
        store_entry_release(store, existing);
        code = error_set(err, KELP_E_EXISTS, "Volume Id %u already exists!", wanted.id);
    } else {
        struct store_disk *disk = choose_disk(store, wanted.disk_type);
        if (disk) {
            code = create_on_disk(store, disk, &wanted, err);
            keep_promise(store, disk);
        } else {
            code = error_set(err, KELP_E_NO_SPACE, "No more free space left");
        }
    }
    store_end_change(store, &change);
    return code;
}

/* ---- mount, unmount ---- */

struct mount_search {
    uint32_t id;
    const char *wanted; /* collection; NULL: whichever */
    char collection[256];
    bool is_found, is_wanted;
    bool is_incomplete;
};

static int look_for_id(void *ctx, const char *collection, uint32_t id, enum volume_found what)
{
    struct mount_search *search = ctx;
    if (id != search->id || search->is_wanted)
        return 0;
    if (what != VOLUME_FOUND && what != VOLUME_FOUND_INCOMPLETE)
        return 0;
    bool is_wanted = search->wanted && strcmp(search->wanted, collection) == 0;
    if (search->is_found && !is_wanted)
        return 0;
    snprintf(search->collection, sizeof(search->collection), "%s", collection);
    search->is_found = true;
    search->is_wanted = is_wanted || !search->wanted;
    search->is_incomplete = what == VOLUME_FOUND_INCOMPLETE;
    return 0;
}

static int mount_from_disk(struct store *store, struct store_disk *disk, uint32_t id,
                           const char *collection, struct error *err)
{
    struct mount_search search = {.id = id, .wanted = collection};
    int code = volume_files_discover(store->os, disk_location_directory(disk->location),
                                     disk_location_index_directory(disk->location), look_for_id,
                                     &search, err);
    if (code)
        return code;
    if (!search.is_found)
        return error_set(err, KELP_E_NOT_FOUND, "no files of it");
    if (search.is_incomplete) {
        code = store_sweep_volume(store, disk, search.collection, id, err);
        return code ? code : error_set(err, KELP_E_NOT_FOUND, "its copy was cut off");
    }
    return store_load_volume(store, disk, search.collection, id, true, err);
}

int store_mount_volume(struct store *store, uint32_t id, const char *collection, struct error *err)
{
    struct store_change change;
    store_begin_change(store, &change, id);
    store_settle(store, id);
    int code = KELP_E_NOT_FOUND;
    struct store_entry *mounted = store_table_use(store, id, NULL);
    if (mounted) {
        if (store->on_volume_added)
            store->on_volume_added(store->ctx, mounted->disk->location, mounted->volume);
        store_entry_release(store, mounted);
        code = 0;
    }
    for (size_t i = 0; i < store->disk_count && code; i++) {
        struct error cause = {0};
        code = mount_from_disk(store, &store->disks[i], id, collection, &cause);
        if (code && code != KELP_E_NOT_FOUND)
            log_error("volume not mounted", "volume=%u directory=%s error=\"%s\"", id,
                      disk_location_directory(store->disks[i].location), cause.message);
    }
    store_end_change(store, &change);
    /* One text for every reason: callers match on it. The reason is in the log. */
    return code ? error_set(err, KELP_E_NOT_FOUND, "volume %u not found on disk", id) : 0;
}

/* Out of the table, announced as gone, and no longer used by anybody. */
static struct volume *take_out(struct store *store, struct store_entry *entry)
{
    CHECK(store_table_leave(store, entry)); /* this thread is the one that changes the id */
    if (store->on_volume_removed)
        store->on_volume_removed(store->ctx, entry->disk->location, entry->volume);
    store_entry_release(store, entry);
    return store_table_forget(store, entry);
}

int store_unmount_volume(struct store *store, uint32_t id, struct error *err)
{
    struct store_change change;
    store_begin_change(store, &change, id);
    store_settle(store, id);
    for (struct store_entry *entry; (entry = store_table_use(store, id, NULL)) != NULL;)
        volume_close(take_out(store, entry));
    store_end_change(store, &change);
    return 0;
}

/* ---- configure ---- */

int store_configure_volume(struct store *store, uint32_t id, const char *replication,
                           struct error *err)
{
    struct store_change change;
    store_begin_change(store, &change, id);
    store_settle(store, id);
    int code = 0;
    bool is_found = false;
    for (size_t i = 0; i < store->disk_count && !code; i++) {
        struct store_entry *entry = store_table_use(store, id, &store->disks[i]);
        if (!entry)
            continue;
        is_found = true;
        /* The master files it under its placement: it goes under the old one, and comes under the new. */
        if (store->on_volume_removed)
            store->on_volume_removed(store->ctx, entry->disk->location, entry->volume);
        code = volume_set_replication(entry->volume, replication, err);
        if (store->on_volume_added)
            store->on_volume_added(store->ctx, entry->disk->location, entry->volume);
        store_entry_release(store, entry);
    }
    store_end_change(store, &change);
    return is_found ? code : error_set(err, KELP_E_NOT_FOUND, "volume %u not found on disk", id);
}

/* ---- delete ---- */

static bool rule_allows(const struct volume_stat *stat, unsigned rule)
{
    if (rule == STORE_DELETE_ALWAYS)
        return true;
    bool is_untouched = stat->dat_bytes <= 8 && stat->file_bytes == 0 && stat->file_count == 0;
    if ((rule & STORE_DELETE_ONLY_EMPTY) && is_untouched)
        return true;
    return (rule & STORE_DELETE_ONLY_GARBAGE) && !is_untouched && stat->live_count == 0;
}

/* The entry is used by the caller; this gives it back. */
static int delete_entry(struct store *store, struct store_entry *entry, unsigned rule,
                        struct error *err)
{
    uint32_t id = entry->id;
    struct store_disk *disk = entry->disk;
    struct volume_stat stat;
    volume_stat(entry->volume, &stat);
    int code = 0;
    if (!rule_allows(&stat, rule))
        code = error_set(err, KELP_E_PRECONDITION, "DeleteVolume %u: volume not empty", id);
    else if (stat.is_compacting)
        code = error_set(err, KELP_E_BUSY, "volume %u is compacting", id);
    if (code) {
        store_entry_release(store, entry);
        return code;
    }
    struct volume *volume = take_out(store, entry);
    /* Whoever had it in use may have written to it before he left. */
    volume_stat(volume, &stat);
    if (rule_allows(&stat, rule))
        return volume_delete_files(volume, err);
    store_table_add(store, disk, volume);
    if (store->on_volume_added)
        store->on_volume_added(store->ctx, disk->location, volume);
    return error_set(err, KELP_E_PRECONDITION, "DeleteVolume %u: volume not empty", id);
}

int store_delete_volume(struct store *store, uint32_t id, unsigned rule, struct error *err)
{
    struct store_change change;
    store_begin_change(store, &change, id);
    store_settle(store, id);
    int code = 0;
    bool is_found = false;
    struct error all = {.code = 0};
    for (size_t i = 0; i < store->disk_count; i++) {
        struct store_entry *entry = store_table_use(store, id, &store->disks[i]);
        if (!entry)
            continue;
        is_found = true;
        struct error one = {0};
        int failed = delete_entry(store, entry, rule, &one);
        if (failed == KELP_E_PRECONDITION) {
            all = one;
            code = failed;
            break;
        }
        if (failed) {
            size_t length = strlen(all.message);
            snprintf(all.message + length, sizeof(all.message) - length, "%s%.200s",
                     code ? "\n" : "", one.message);
            code = failed;
        }
    }
    store_end_change(store, &change);
    if (!is_found)
        return error_set(err, KELP_E_NOT_FOUND, "delete volume %u not found on disk", id);
    if (code == KELP_E_PRECONDITION)
        return error_set(err, code, "%s", all.message);
    return code ? error_set(err, code, "DeleteVolume %u failed on some disks: %s", id, all.message)
                : 0;
}

int store_delete_collection(struct store *store, const char *collection, struct error *err)
{
    size_t count;
    store_settle_collection(store, collection);
    struct store_entry **list = store_table_snapshot(store, &count);
    int code = 0;
    char text[ERROR_MESSAGE_MAX] = "";
    for (size_t i = 0; i < count; i++) {
        uint32_t id = list[i]->id;
        struct store_disk *disk = list[i]->disk;
        bool is_meant = strcmp(volume_collection(list[i]->volume), collection) == 0;
        store_entry_release(store, list[i]);
        if (!is_meant || code)
            continue;
        struct store_change change;
        store_begin_change(store, &change, id);
        struct error one = {0};
        struct store_entry *entry = store_table_use(store, id, disk);
        if (entry && strcmp(volume_collection(entry->volume), collection) != 0) {
            store_entry_release(store, entry);
            entry = NULL;
        }
        int failed = entry ? delete_entry(store, entry, STORE_DELETE_ALWAYS, &one) : 0;
        store_end_change(store, &change);
        if (failed && failed != KELP_E_BUSY) {
            snprintf(text, sizeof(text), "%.400s; ", one.message);
            code = failed;
        }
    }
    free(list);
    return code ? error_set(err, code, "%s", text) : 0;
}
