/* A volume's memory, its current generation, its figures, and its end. See volume_internal.h for the
 * locks. */
#include "volume/storage/volume_internal.h"

#include "common/check.h"
#include "volume/storage/index_checkpoint.h"
#include "volume/storage/index/index_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EIO_LIMIT              3u
#define DATA_CHECK_INTERVAL_NS (30ll * 1000000000)

int volume_allocate(struct volume **ret, const struct volume_place *place, struct error *err)
{
    struct volume *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for volume %u", place->id);
    const char *collection = place->collection ? place->collection : "";
    int code = volume_files_init(&volume->files, place->os, place->data_dir, place->index_dir,
                                 collection, place->id, err);
    if (code != 0) {
        free(volume);
        return code;
    }
    atomic_init(&volume->references, 1);
    volume->os = place->os;
    volume->id = place->id;
    volume->index_store = place->index_store;
    volume->foreground = place->foreground;
    volume->collection = must(strdup(collection));
    CHECK(pthread_mutex_init(&volume->generation_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&volume->append_lock, NULL) == 0);
    CHECK(pthread_cond_init(&volume->append_idle, NULL) == 0);
    CHECK(pthread_mutex_init(&volume->mark_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&volume->state_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&volume->damage_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&volume->vacuum_lock, NULL) == 0);
    *ret = volume;
    return 0;
}

void volume_retain(struct volume *volume)
{
    atomic_fetch_add_explicit(&volume->references, 1, memory_order_relaxed);
}

void volume_release(struct volume *volume)
{
    if (atomic_fetch_sub_explicit(&volume->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&volume->generation_lock);
    pthread_mutex_destroy(&volume->append_lock);
    pthread_cond_destroy(&volume->append_idle);
    pthread_mutex_destroy(&volume->mark_lock);
    pthread_mutex_destroy(&volume->state_lock);
    pthread_mutex_destroy(&volume->damage_lock);
    pthread_mutex_destroy(&volume->vacuum_lock);
    free(volume->damage);
    volume_info_fini(&volume->info);
    volume_files_fini(&volume->files);
    free(volume->collection);
    free(volume);
}

void volume_set_keeper(struct volume *volume, void *keeper) { volume->keeper = keeper; }
void *volume_keeper(const struct volume *volume) { return volume->keeper; }
uint32_t volume_id(const struct volume *volume) { return volume->id; }
const char *volume_collection(const struct volume *volume) { return volume->collection; }

static void release_volume(void *ctx) { volume_release(ctx); }

void volume_attach_generation(struct volume *volume, struct volume_generation *generation)
{
    if (generation->on_close)
        return;
    volume_retain(volume);
    generation->on_close = release_volume;
    generation->on_close_ctx = volume;
}

struct volume_generation *volume_swap_generation(struct volume *volume,
                                                 struct volume_generation *next)
{
    volume_attach_generation(volume, next);
    volume_damage_follow(volume, volume->generation, next);
    pthread_mutex_lock(&volume->generation_lock);
    struct volume_generation *old = volume->generation;
    volume->generation = next;
    atomic_store(&volume->lookup_may_block, needle_index_may_block(next->index));
    pthread_mutex_unlock(&volume->generation_lock);
    return old;
}

uint64_t volume_next_append_at_ns(struct volume *volume)
{
    uint64_t now = (uint64_t)os_now_ns(volume->os);
    if (now <= volume->last_append_at_ns)
        now = volume->last_append_at_ns + 1;
    volume->last_append_at_ns = now;
    atomic_store_explicit(&volume->shown_append_at_ns, now, memory_order_relaxed);
    return now;
}

void volume_note_io(struct volume *volume, int code)
{
    if (code == KELP_E_IO) {
        if (atomic_fetch_add(&volume->consecutive_eio, 1) + 1 >= EIO_LIMIT)
            volume_quarantine(volume, "the disk failed three times in a row");
    } else if (atomic_load_explicit(&volume->consecutive_eio, memory_order_relaxed) != 0) {
        atomic_store(&volume->consecutive_eio, 0);
    }
}

/* ---- figures ---- */

/* Spec 16.1. */
static double garbage_ratio(const struct needle_index_stat *index, uint64_t dat_bytes)
{
    if (index->file_bytes == 0)
        return 0;
    if (index->deletion_count > 0 && index->deletion_bytes == 0) {
        if (dat_bytes <= index->file_bytes + SUPER_BLOCK_SIZE)
            return 0;
        return (double)(dat_bytes - index->file_bytes - SUPER_BLOCK_SIZE) / (double)dat_bytes;
    }
    return (double)index->deletion_bytes / (double)index->file_bytes;
}

/* A .dat that was removed behind our back still reads, but is lost at the next start. */
static bool is_data_missing(struct volume *volume)
{
    int64_t now = os_monotonic_ns(volume->os);
    int64_t last = atomic_load(&volume->data_checked_at_ns);
    bool is_missing = atomic_load(&volume->is_data_missing);
    if (last != 0 && now - last < DATA_CHECK_INTERVAL_NS && !is_missing)
        return false;
    struct os_stat st;
    is_missing = os_stat(volume->os, volume->files.paths[VOLUME_FILE_DAT], &st) == -ENOENT;
    atomic_store(&volume->is_data_missing, is_missing);
    atomic_store(&volume->data_checked_at_ns, now);
    return is_missing;
}

struct replica_placement volume_replica_placement(const struct volume *volume)
{
    return replica_placement_from_byte((uint8_t)atomic_load(&volume->placement));
}

bool volume_has_damage(const struct volume *volume)
{
    return atomic_load(&volume->damaged_count) > 0;
}

void volume_stat(struct volume *volume, struct volume_stat *ret)
{
    struct volume_generation *generation = volume_get_generation(volume);
    struct needle_index_stat index;
    needle_index_stat(generation->index, &index);
    uint64_t dat_bytes = volume_generation_end(generation);
    *ret = (struct volume_stat){
        .dat_bytes = dat_bytes,
        .idx_bytes = index_file_end(&generation->idx),
        .index_memory_bytes = index.memory_bytes,
        .file_count = index.file_count,
        .file_bytes = index.file_bytes,
        .deletion_count = index.deletion_count,
        .deletion_bytes = index.deletion_bytes,
        .live_count = index.live_count,
        .live_record_bytes = index.live_record_bytes,
        .max_key = index.max_key,
        .last_append_at_ns = atomic_load(&volume->shown_append_at_ns),
        .modified_at_second = atomic_load(&volume->modified_at_second),
        .damaged_count = atomic_load(&volume->damaged_count),
        .garbage_ratio = garbage_ratio(&index, dat_bytes),
        .read_only = volume_read_only_bits(volume, generation),
        .replica_placement = volume_replica_placement(volume),
        .ttl = volume->ttl,
        .compact_revision = generation->super_block.compact_revision,
        .version = generation->version,
        .offset_bytes = generation->offset_bytes,
        .is_compacting = atomic_load(&volume->is_compacting),
        .is_data_missing = is_data_missing(volume),
    };
    volume_generation_unref(generation);
}

int volume_check_settle(const struct volume *volume, struct error *err)
{
    if (!volume->settle || !volume->has_settle_failed)
        return 0;
    return error_set(err, KELP_E_READ_ONLY,
                     "a sync of the last vacuum's files failed: check the disk, then mark the volume "
                     "writable");
}

int volume_settle(struct volume *volume, struct error *err)
{
    int code = volume_check_settle(volume, err);
    if (code != 0 || !volume->settle)
        return code;
    code = volume->settle(volume, err);
    if (code == 0)
        volume->settle = NULL;
    else
        volume->has_settle_failed = true;
    return code;
}

/* The generation is synced: *ret_is_safe unless a vacuum has swapped it meanwhile. */
static int promise(struct volume *volume, struct volume_generation *generation, uint64_t end,
                   bool *ret_is_safe, struct error *err)
{
    volume_lock_appends(volume);
    *ret_is_safe = volume->generation == generation || !volume->generation;
    int code = 0;
    if (*ret_is_safe) {
        volume_generation_promise(generation, end);
        code = volume_settle(volume, err);
    }
    volume_unlock_appends(volume);
    return code;
}

int volume_sync(struct volume *volume, struct error *err)
{
    struct error reason = {0};
    bool is_safe = false;
    int code = 0;
    while (code == 0 && !is_safe) {
        struct volume_generation *generation = volume_get_generation(volume);
        uint64_t end = volume_generation_end(generation);
        is_safe = !generation->is_writable;
        if (!is_safe)
            code = volume_generation_sync(generation, &reason);
        if (code == 0 && !is_safe)
            code = promise(volume, generation, end, &is_safe, &reason);
        volume_generation_unref(generation);
    }
    if (code != 0)
        volume_quarantine(volume, reason.message);
    if (code != 0 && err)
        *err = reason;
    return code;
}

int volume_sync_changes(struct volume *volume, struct error *err)
{
    /* What is written from here on is for the next call. */
    return atomic_exchange(&volume->is_unsynced, false) ? volume_sync(volume, err) : 0;
}

/* ---- the end ---- */

/* All of volume_close but giving the volume's own share of its memory back. is_kept: what makes the next
 * start quick is left. */
static void shut(struct volume *volume, bool is_kept)
{
    pthread_mutex_lock(&volume->vacuum_lock);
    struct volume_vacuum *vacuum = volume->vacuum;
    pthread_mutex_unlock(&volume->vacuum_lock);
    if (vacuum)
        vacuum->stop(volume);

    volume_lock_appends(volume);
    while (atomic_load(&volume->pending_appends) > 0)
        pthread_cond_wait(&volume->append_idle, &volume->append_lock);
    struct volume_generation *generation = volume->generation;
    volume->generation = NULL;
    volume_unlock_appends(volume);
    /* Nobody waits for the outcome: what had to be safe was synced when it was acknowledged. But after a
     * sync that failed a second one proves nothing, so nothing is kept that relies on one. */
    if (generation && generation->is_writable && volume_generation_sync(generation, NULL) != 0)
        is_kept = false;
    if (atomic_load(&volume->read_only) & VOLUME_RO_IO_ERROR)
        is_kept = false;
    if (generation && is_kept)
        volume_generation_keep_mark(generation, 0, NULL);
    if (generation && is_kept)
        index_checkpoint_write(generation, NULL);
    volume_generation_unref(generation);
}

void volume_close(struct volume *volume)
{
    if (!volume)
        return;
    shut(volume, true);
    volume_release(volume);
}

int volume_delete_files(struct volume *volume, struct error *err)
{
    pthread_mutex_lock(&volume->vacuum_lock);
    bool is_busy = atomic_load(&volume->is_compacting);
    pthread_mutex_unlock(&volume->vacuum_lock);
    if (is_busy)
        return error_set(err, KELP_E_BUSY, "volume %u is being compacted: try again later",
                         volume->id);
    shut(volume, false);
    int code = volume_files_remove(&volume->files, volume->os, err);
    if (volume->index_store)
        index_store_forget(volume->index_store, volume->collection, volume->id);
    volume_release(volume);
    return code;
}
