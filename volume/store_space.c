/* Free space: a thread that looks at each disk once a minute (statfs may hang on a sick disk, so
 * nobody else waits for it), and how many volumes a location can take. Source:
 * spec/storage-format.md 20.
 *
 * A minute of fast uploads is more than most reserves, and what is kept free for tombstones and for a
 * vacuum must not be written full: so in between it glances at whether a disk has become low, or
 * has room again. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"

#include <errno.h>
#include <time.h>

#define PROBE_INTERVAL_MS  60000u
#define GLANCE_INTERVAL_MS 500u
#define NEAR_INTERVAL_MS   20u /* where there is little room */
#define NEAR_BYTES         (1ull << 30)

void store_tell_space(struct store_disk *disk, struct volume *volume)
{
    struct disk_space told, now;
    disk_location_space(disk->location, &now);
    do { /* what is told last is what holds, whoever else tells it meanwhile */
        told = now;
        volume_set_low_space(volume, told.is_low);
        disk_location_space(disk->location, &now);
    } while (now.is_low != told.is_low);
}

static void tell_volumes(struct store *store)
{
    size_t count;
    struct store_entry **list = store_table_snapshot(store, &count);
    for (size_t i = 0; i < count; i++) {
        store_tell_space(list[i]->disk, list[i]->volume);
        store_entry_release(store, list[i]);
    }
    free(list);
}

void store_probe(struct store *store)
{
    store_set_floors(store);
    for (size_t i = 0; i < store->disk_count; i++) {
        struct disk_location *location = store->disks[i].location;
        if (!disk_location_probe(location))
            continue;
        struct disk_space space;
        disk_location_space(location, &space);
        if (space.is_unavailable)
            log_error("disk does not answer", "directory=%s", disk_location_directory(location));
        else if (space.is_low)
            log_warning("disk is low on space",
                        "directory=%s free=%llu reserve=%llu effect=\"its volumes are read-only; "
                        "vacuum, delete or add space\"",
                        disk_location_directory(location), (unsigned long long)space.free_bytes,
                        (unsigned long long)space.reserve_bytes);
        else
            log_info("disk has space again", "directory=%s free=%llu",
                     disk_location_directory(location), (unsigned long long)space.free_bytes);
    }
    tell_volumes(store);
}

/* Computed anew, as the volumes grow. *ret_room: the least that may still be uploaded to a disk. */
static bool has_any_turned(struct store *store, uint64_t *ret_room)
{
    bool has_turned = false;
    *ret_room = UINT64_MAX;
    store_set_floors(store);
    for (size_t i = 0; i < store->disk_count; i++) {
        uint64_t room = UINT64_MAX;
        has_turned |= disk_location_has_turned(store->disks[i].location, &room);
        *ret_room = room < *ret_room ? room : *ret_room;
    }
    return has_turned;
}

/* probe_lock held. */
static void wait_or_close(struct store *store, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int rc = 0;
    while (!store->is_closing && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&store->probe_wake, &store->probe_lock, &until);
}

static void *probe_main(void *arg)
{
    struct store *store = arg;
    uint32_t left_ms = store->probe_interval_ms;
    uint64_t room = 0;
    pthread_mutex_lock(&store->probe_lock);
    while (!store->is_closing) {
        uint32_t pause_ms = room < NEAR_BYTES ? NEAR_INTERVAL_MS : GLANCE_INTERVAL_MS;
        pause_ms = left_ms < pause_ms ? left_ms : pause_ms;
        wait_or_close(store, pause_ms);
        if (store->is_closing)
            break;
        pthread_mutex_unlock(&store->probe_lock);
        left_ms -= pause_ms;
        if (has_any_turned(store, &room) || left_ms == 0) {
            store_probe(store);
            left_ms = store->probe_interval_ms;
        }
        pthread_mutex_lock(&store->probe_lock);
    }
    pthread_mutex_unlock(&store->probe_lock);
    return NULL;
}

int store_start_probing(struct store *store, uint32_t interval_ms, struct error *err)
{
    store->probe_interval_ms = interval_ms ? interval_ms : PROBE_INTERVAL_MS;
    int rc = pthread_create(&store->probe_thread, NULL, probe_main, store);
    if (rc)
        return error_set_errno(err, rc, "start the disk probe");
    store->has_probe_thread = true;
    pthread_setname_np(store->probe_thread, "disk-probe");
    return 0;
}

void store_stop_probing(struct store *store)
{
    if (!store->has_probe_thread)
        return;
    pthread_mutex_lock(&store->probe_lock);
    store->is_closing = true;
    pthread_cond_broadcast(&store->probe_wake);
    pthread_mutex_unlock(&store->probe_lock);
    pthread_join(store->probe_thread, NULL);
    store->has_probe_thread = false;
}

/* ---- maxima ---- */

uint64_t store_volume_size_limit(const struct store *store)
{
    return atomic_load(&store->volume_size_limit);
}

/* What writable volumes may still grow by, per disk. */
struct growth {
    uint64_t limit;
    uint64_t *bytes;
};

static int add_growth(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct growth *growth = ctx;
    struct volume_stat stat;
    volume_stat(volume, &stat);
    uint64_t used = stat.dat_bytes + stat.idx_bytes;
    if (stat.read_only == 0 && used < growth->limit)
        growth->bytes[disk_location_id(location)] += growth->limit - used;
    return 0;
}

static bool resize_automatic(struct store *store)
{
    bool is_any = false;
    for (size_t i = 0; i < store->disk_count; i++)
        is_any |= disk_location_max_configured(store->disks[i].location) == 0;
    uint64_t limit = store_volume_size_limit(store);
    if (!is_any || limit == 0)
        return false;

    struct growth growth = {limit, must(calloc(store->disk_count, sizeof(uint64_t)))};
    if (!atomic_load(&store->is_preallocating))
        store_for_each(store, add_growth, &growth);
    bool has_changed = false;
    for (size_t i = 0; i < store->disk_count; i++) {
        struct store_disk *disk = &store->disks[i];
        if (disk_location_max_configured(disk->location) != 0)
            continue;
        struct disk_space space;
        disk_location_space(disk->location, &space);
        uint64_t max = store_location_volume_count(store, disk->location);
        if (space.free_bytes > growth.bytes[i])
            max += (space.free_bytes - growth.bytes[i]) / limit;
        max = max < 1 ? 1 : max > 1000000 ? 1000000 : max;
        has_changed |= atomic_exchange(&disk->automatic_max, (unsigned)max) != (unsigned)max;
    }
    free(growth.bytes);
    return has_changed;
}

bool store_set_limits(struct store *store, uint64_t volume_size_limit, bool is_preallocating)
{
    atomic_store(&store->volume_size_limit, volume_size_limit);
    atomic_store(&store->is_preallocating, is_preallocating);
    return resize_automatic(store);
}

void store_resize_automatic(struct store *store) { resize_automatic(store); }

static int count_untiered(void *ctx, struct disk_location *location, struct volume *volume)
{
    size_t *counts = ctx;
    struct volume_stat stat;
    volume_stat(volume, &stat);
    if (!(stat.read_only & VOLUME_RO_TIERED))
        counts[disk_location_id(location)]++;
    return 0;
}

size_t *store_count_untiered(struct store *store)
{
    size_t *counts = must(calloc(store->disk_count, sizeof(*counts)));
    store_for_each(store, count_untiered, counts);
    return counts;
}

uint32_t store_location_max(struct store *store, const struct disk_location *location)
{
    struct store_disk *disk = &store->disks[disk_location_id(location)];
    struct disk_space space;
    disk_location_space(location, &space);
    if (space.is_unavailable)
        return 0;
    if (space.is_low || store_pending_count(store, disk) > 0) {
        /* Only what is there: the master must not place anything more. The slots of volumes that are still
         * being loaded look free to it, and it would fill them. */
        size_t *counts = store_count_untiered(store);
        uint32_t held = (uint32_t)counts[disk_location_id(location)];
        free(counts);
        return held;
    }
    unsigned max = disk_location_max_configured(location);
    return max ? max : atomic_load(&disk->automatic_max);
}
