/* Loading: at the start everything in parallel, each volume served as it becomes ready; later one volume
 * at a time (mount, rescan). A volume that cannot be loaded is logged and left alone on the disk: the
 * others are served. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"
#include "volume/storage/format/volume_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOAD_THREADS_LEAST 10u
#define LOAD_THREADS_MOST  64u
/* Half-written files that nobody has touched for a day are of a process that is gone. */
#define TEMPORARY_AGE_NS (24ll * 3600 * 1000000000)

struct load_plan {
    struct store *store;
    struct store_disk *disk; /* whose names are being collected */
    struct store_pending *items;
    size_t count, capacity;
    unsigned threads;
    bool announce;
    int64_t begun_at_ns;
    atomic_size_t next;
    atomic_size_t failed;
};

static bool is_mounted(struct store *store, struct store_disk *disk, uint32_t id)
{
    struct store_entry *entry = store_table_use(store, id, disk);
    if (entry)
        store_entry_release(store, entry);
    return entry != NULL;
}

static void keep_item(struct load_plan *plan, const char *collection, uint32_t id)
{
    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity ? plan->capacity * 2 : 64;
        plan->items = must(realloc(plan->items, plan->capacity * sizeof(*plan->items)));
    }
    plan->items[plan->count] = (struct store_pending){
        .id = id,
        .disk = plan->disk,
        .collection = must(strdup(collection ? collection : "")),
        .order = plan->count,
    };
    plan->count++;
}

/* Of an EC encode that was cut off: a super block without a needle, and its .idx. The shards stay. */
static void remove_stub(struct store *store, struct store_disk *disk, const char *collection,
                        uint32_t id)
{
    struct volume_files files = {0};
    struct error err = {0};
    int code = volume_files_init(&files, store->os, disk_location_directory(disk->location),
                                 disk_location_index_directory(disk->location), collection, id,
                                 &err);
    if (!code)
        code = volume_file_remove(store->os, volume_files_path(&files, VOLUME_FILE_DAT), &err);
    if (!code)
        code = volume_file_remove(store->os, volume_files_path(&files, VOLUME_FILE_IDX), &err);
    volume_files_fini(&files);
    if (code)
        log_warning("leftover not removed", "volume=%u error=\"%s\"", id, err.message);
    else
        log_warning("leftover removed", "volume=%u directory=%s why=\"it was erasure coded\"", id,
                    disk_location_directory(disk->location));
}

static int keep_found(void *ctx, const char *collection, uint32_t id, enum volume_found what)
{
    struct load_plan *plan = ctx;
    const char *directory = disk_location_directory(plan->disk->location);
    if (is_mounted(plan->store, plan->disk, id))
        return 0;
    switch (what) {
    case VOLUME_FOUND:
        keep_item(plan, collection, id);
        break;
    case VOLUME_FOUND_INCOMPLETE: {
        struct error err = {0};
        if (store_sweep_volume(plan->store, plan->disk, collection, id, &err))
            log_warning("leftover not removed", "volume=%u directory=%s error=\"%s\"", id,
                        directory, err.message);
        else
            log_warning("leftover removed", "volume=%u directory=%s why=\"a copy was cut off\"",
                        id, directory);
        break;
    }
    case VOLUME_FOUND_STUB:
        remove_stub(plan->store, plan->disk, collection, id);
        break;
    case VOLUME_FOUND_EC:
        log_info("volume is erasure coded", "volume=%u directory=%s", id, directory);
        break;
    case VOLUME_FOUND_NO_DATA:
        log_warning("volume has no data file", "volume=%u directory=%s", id, directory);
        break;
    }
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    const struct store_pending *x = a, *y = b;
    if (x->disk != y->disk)
        return x->disk < y->disk ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The same id twice in one directory, under two collections: the first by name is served. */
static void drop_duplicates(struct load_plan *plan)
{
    if (plan->count > 1)
        qsort(plan->items, plan->count, sizeof(*plan->items), compare_items);
    size_t kept = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct store_pending *item = &plan->items[i];
        struct store_pending *last = kept > 0 ? &plan->items[kept - 1] : NULL;
        if (last && last->disk == item->disk && last->id == item->id) {
            log_warning("volume id twice in one directory",
                        "volume=%u directory=%s ignored_collection=\"%s\"", item->id,
                        disk_location_directory(item->disk->location), item->collection);
            free(item->collection);
            atomic_fetch_add(&plan->failed, 1);
        } else {
            plan->items[kept++] = *item;
        }
    }
    plan->count = kept;
}

static void plan_destroy(struct load_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->count; i++)
        free(plan->items[i].collection);
    free(plan->items);
    free(plan);
}

static int compare_turns(const void *a, const void *b)
{
    const struct store_pending *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->disk < y->disk ? -1 : x->disk > y->disk;
}

/* From each disk in turn, so that all of them work from the beginning. */
static void spread_over_disks(struct load_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct store_pending *item = &plan->items[i];
        item->order = i > 0 && item[-1].disk == item->disk ? item[-1].order + 1 : 0;
    }
    if (plan->count > 1)
        qsort(plan->items, plan->count, sizeof(*plan->items), compare_turns);
}

/* What somebody asked for, or the next in order. NULL: all are taken. */
static struct store_pending *take_next(struct load_plan *plan)
{
    if (atomic_exchange(&plan->store->has_wanted, false))
        for (size_t i = 0; i < plan->count; i++)
            if (atomic_load(&plan->items[i].is_wanted) &&
                !atomic_exchange(&plan->items[i].is_taken, true)) {
                atomic_store(&plan->store->has_wanted, true); /* there may be more */
                return &plan->items[i];
            }
    size_t index;
    while ((index = atomic_fetch_add(&plan->next, 1)) < plan->count)
        if (!atomic_exchange(&plan->items[index].is_taken, true))
            return &plan->items[index];
    return NULL;
}

static void *load_thread(void *arg)
{
    struct load_plan *plan = arg;
    struct store_pending *item;
    while (!atomic_load(&plan->store->is_load_stopping) && (item = take_next(plan)) != NULL) {
        struct store_change change;
        store_begin_change(plan->store, &change, item->id);
        if (store_settle_one(plan->store, item, plan->announce)) {
            atomic_fetch_add(&plan->failed, 1);
            atomic_fetch_add(&plan->store->not_loaded, 1);
        }
        store_end_change(plan->store, &change);
    }
    return NULL;
}

static void run_plan(struct load_plan *plan)
{
    unsigned threads = plan->threads;
    if (threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores > (long)LOAD_THREADS_LEAST ? (unsigned)cores : LOAD_THREADS_LEAST;
    }
    if (threads > LOAD_THREADS_MOST)
        threads = LOAD_THREADS_MOST;
    atomic_store(&plan->store->not_loaded, atomic_load(&plan->failed));
    pthread_t ids[LOAD_THREADS_MOST];
    unsigned started = 0;
    while (started + 1 < threads && started + 1 < plan->count &&
           pthread_create(&ids[started], NULL, load_thread, plan) == 0)
        started++;
    load_thread(plan); /* this thread works too: a machine without threads to spare still loads */
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    if (plan->count > 0)
        log_info("volumes loaded", "count=%zu failed=%zu ms=%lld", plan->count,
                 (size_t)atomic_load(&plan->failed),
                 (long long)(os_monotonic_ns(plan->store->os) - plan->begun_at_ns) / 1000000);
}

/* A disk that cannot be looked through does not stop the others; if none can, that is the error. */
static int look_through_disks(struct load_plan *plan, struct error *err)
{
    struct store *store = plan->store;
    struct error reason = {0};
    size_t failed = 0;
    for (size_t i = 0; i < store->disk_count; i++) {
        plan->disk = &store->disks[i];
        const char *directory = disk_location_directory(plan->disk->location);
        if (volume_files_discover(store->os, directory,
                                  disk_location_index_directory(plan->disk->location), keep_found,
                                  plan, &reason) == 0)
            continue;
        failed++;
        log_error("volumes of a disk not looked for",
                  "directory=%s error=\"%s\" next=\"check the disk, then restart or send SIGHUP\"",
                  directory, reason.message);
    }
    return failed == store->disk_count ? error_set(err, reason.code, "%s", reason.message) : 0;
}

static struct load_plan *plan_create(struct store *store, struct error *err)
{
    struct load_plan *plan = must(calloc(1, sizeof(*plan)));
    plan->store = store;
    plan->begun_at_ns = os_monotonic_ns(store->os);
    int code = look_through_disks(plan, err);
    drop_duplicates(plan);
    spread_over_disks(plan);
    if (code) {
        plan_destroy(plan);
        return NULL;
    }
    return plan;
}

int store_load_all(struct store *store, struct error *err)
{
    struct load_plan *plan = plan_create(store, err);
    if (!plan)
        return err->code;
    plan->announce = true;
    run_plan(plan);
    plan_destroy(plan);
    return 0;
}

/* ---- the start ---- */

static void note_swept(void *ctx, const char *path)
{
    log_warning("leftover removed", "path=%s why=\"half written, a day ago or more\"", path);
}

static void sweep_temporary(struct store *store)
{
    int64_t before_ns = os_now_ns(store->os) - TEMPORARY_AGE_NS;
    for (size_t i = 0; i < store->disk_count; i++) {
        const struct disk_location *location = store->disks[i].location;
        const char *data = disk_location_directory(location);
        const char *index = disk_location_index_directory(location);
        volume_files_sweep(store->os, data, before_ns, note_swept, NULL);
        if (strcmp(data, index) != 0)
            volume_files_sweep(store->os, index, before_ns, note_swept, NULL);
    }
}

static void *load_main(void *arg)
{
    struct store *store = arg;
    run_plan(store->loading);
    if (!atomic_load(&store->is_load_stopping))
        store_tidy_indexes(store);
    if (store->on_loaded)
        store->on_loaded(store->ctx);
    return NULL;
}

int store_start_loading(struct store *store, unsigned threads, bool in_background,
                        struct error *err)
{
    struct error reason = {0};
    sweep_temporary(store);
    struct load_plan *plan = plan_create(store, &reason);
    if (!plan)
        return error_set(err, reason.code, "%s", reason.message);
    plan->threads = threads;
    plan->announce = in_background;
    store->loading = plan;
    for (size_t i = 0; i < plan->count; i++) {
        plan->items[i].is_listed = true;
        store_pending_add(store, &plan->items[i]);
    }
    if (!in_background) {
        load_main(store);
        return 0;
    }
    int rc = pthread_create(&store->load_thread, NULL, load_main, store);
    if (rc)
        return error_set_errno(err, rc, "start the thread that loads volumes");
    store->has_load_thread = true;
    pthread_setname_np(store->load_thread, "load");
    return 0;
}

void store_stop_loading(struct store *store) { atomic_store(&store->is_load_stopping, true); }

size_t store_not_loaded_count(const struct store *store) { return atomic_load(&store->not_loaded); }

size_t store_loading_count(struct store *store) { return store_pending_count(store, NULL); }

void store_end_loading(struct store *store)
{
    store_stop_loading(store);
    if (store->has_load_thread)
        pthread_join(store->load_thread, NULL);
    store->has_load_thread = false;
    HASH_CLEAR(hh, store->pending);
    plan_destroy(store->loading);
    store->loading = NULL;
}

void store_rescan(struct store *store)
{
    struct error err = {0};
    if (store_load_all(store, &err))
        log_error("rescan failed", "error=\"%s\"", err.message);
}
