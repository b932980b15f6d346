/* The commit: the rest of the replay, the decision, the swap.
 *
 *   without a lock   replay in rounds until little is left, fsync .cpd and .cpx, and again for what came
 *                    in meanwhile
 *   append lock      replay the last rows, fsync, compare with the old generation, write .cpc, fsync it
 *                    and the directory: decided; swap the pointer
 *   without a lock   rename .cpd and .cpx, fsync the directories, remove .cpc, fsync
 *
 * Readers never wait; writers wait for the middle part only. The marker makes the rest certain: appends
 * after the swap go to files that recovery will give their names. A failure before the marker leaves the
 * old generation as it was. A failed fsync is not tried again: the volume is quarantined.
 *
 * Runs on the worker. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"
#include "volume/storage/vacuum_recover.h"

#include <time.h>

#define ROWS_UNDER_LOCK 64u
#define ROUNDS_MAX      16u /* against writers that outrun the fsync of each round */

static uint64_t rows_left(const struct vacuum *v)
{
    uint64_t end = index_file_end(&v->old->idx);
    return end > v->mark ? (end - v->mark) / index_row_size(v->old->offset_bytes) : 0;
}

/* *ret_is_sync: it is an fsync that failed. */
static int sync_next(struct vacuum *v, bool *ret_is_sync, struct error *err)
{
    int code = volume_generation_sync(v->next, err);
    *ret_is_sync = code != 0;
    return code;
}

static int replay_rounds(struct vacuum *v, bool *ret_is_sync, struct error *err)
{
    /* The first sync is the long one; what comes in meanwhile is for the next rounds. */
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        int code = vacuum_check_cancelled(v, err);
        if (code == 0)
            code = vacuum_replay(v, index_file_end(&v->old->idx), err);
        if (code == 0)
            code = sync_next(v, ret_is_sync, err);
        if (code != 0)
            return code;
        if (rows_left(v) <= ROWS_UNDER_LOCK)
            return 0;
    }
    return 0;
}

/* The new generation must hold exactly what the old one does, but for what the TTL ended. */
static int compare(struct vacuum *v, struct error *err)
{
    struct needle_index_stat old, next, expired = {0};
    needle_index_stat(v->old->index, &old);
    needle_index_stat(v->next->index, &next);
    if (v->expired)
        needle_index_stat(v->expired, &expired);
    if (old.live_count != next.live_count + expired.live_count ||
        old.live_record_bytes != next.live_record_bytes + expired.live_record_bytes)
        return error_set(err, KELP_E_CORRUPT,
                         "the copy has %llu needles of %llu bytes, the volume %llu of %llu, %llu "
                         "of %llu expired: nothing was changed",
                         (unsigned long long)next.live_count,
                         (unsigned long long)next.live_record_bytes,
                         (unsigned long long)old.live_count,
                         (unsigned long long)old.live_record_bytes,
                         (unsigned long long)expired.live_count,
                         (unsigned long long)expired.live_record_bytes);
    if (v->result.count != next.live_count || !vacuum_digest_equals(&v->source, &v->result))
        return error_set(err, KELP_E_CORRUPT,
                         "the digest of the copy is %016llx, that of the volume %016llx: nothing "
                         "was changed",
                         (unsigned long long)v->result.sum, (unsigned long long)v->source.sum);
    return 0;
}

/* What was reserved and not used goes back; the age of the content, by which a volume with a TTL
 * expires, stays what it was. */
static int settle_next(struct vacuum *v, struct error *err)
{
    struct volume_generation *next = v->next;
    struct os_stat st;
    uint64_t end = volume_generation_end(next);
    if (!v->keeps_reservation && v->reserved_bytes > end) {
        int result = os_ftruncate(next->os, next->dat_fd, end);
        if (result < 0)
            return error_set_errno(err, -result, "ftruncate %s", atomic_load(&next->dat_path));
    }
    if (os_fstat(next->os, v->old->dat_fd, &st) == 0)
        os_set_mtime(next->os, next->dat_fd, st.mtime_ns);
    return 0;
}

/* The decision. If the marker cannot be made durable it is taken back; *ret_is_stuck when it is not
 * sure that it is gone for good: then the files it speaks of must stay, for a start that finds it
 * must find them. If it cannot be taken back it decides. */
static int write_marker(struct vacuum *v, bool *ret_is_sync, bool *ret_is_stuck, struct error *err)
{
    struct os *os = v->volume->os;
    const char *path = volume_files_path(&v->volume->files, VOLUME_FILE_CPC);
    const char *directory = v->volume->files.data_dir;
    int fd = os_open(os, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", path);
    int code = 0, result = os_fsync(os, fd);
    if (result < 0)
        code = error_set_errno(err, -result, "fsync %s", path);
    os_close(os, fd);
    if (code == 0)
        code = os_sync_directory(os, directory, err);
    if (code == 0)
        return 0;
    *ret_is_sync = true;
    if (volume_file_remove(os, path, NULL) != 0)
        return 0;
    *ret_is_stuck = os_sync_directory(os, directory, NULL) != 0;
    return code;
}

/* append_lock held. */
static int decide(struct vacuum *v, bool *ret_is_sync, bool *ret_is_stuck, struct error *err)
{
    if (v->volume->generation != v->old)
        return error_set(err, KELP_E_PRECONDITION, "the volume changed since it was compacted");
    /* A batch whose sync failed is cut off again, which the rounds may have seen. */
    if (index_file_end(&v->old->idx) < v->mark)
        return error_set(err, KELP_E_PRECONDITION, "rows were taken back that the copy has");
    int code = vacuum_replay(v, index_file_end(&v->old->idx), err);
    if (code == 0)
        code = compare(v, err);
    if (code == 0)
        code = settle_next(v, err);
    if (code == 0)
        code = sync_next(v, ret_is_sync, err);
    if (code == 0)
        code = vacuum_check_cancelled(v, err);
    if (code == 0)
        code = write_marker(v, ret_is_sync, ret_is_stuck, err);
    return code;
}

static void end_pause(struct vacuum *v, int64_t since_ns, uint64_t *ret_pause_ns)
{
    *ret_pause_ns = (uint64_t)(os_monotonic_ns(v->volume->os) - since_ns);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.pause_ns = *ret_pause_ns;
    pthread_mutex_unlock(&v->progress_lock);
}

/* Whoever closes the old .dat frees its blocks, which takes time. Most readers are gone in a
 * moment: wait for them, so that it is this thread and not an event loop. */
static void outlive_readers(struct volume_generation *old)
{
    struct timespec pause = {0, 1000000};
    for (int i = 0; i < 50 && atomic_load(&old->references) > 1; i++)
        nanosleep(&pause, NULL);
}

int vacuum_finish_swap(struct vacuum *v, struct error *err)
{
    struct volume *volume = v->volume;
    int code = vacuum_recover_volume(volume->os, &volume->files, err);
    if (code != 0) {
        volume_quarantine(volume, err ? err->message : "the commit's renames failed");
        error_prefix(err,
                     "the commit is decided and its content serves, but its files could not be "
                     "renamed: commit again or restart");
        return code;
    }
    v->is_swap_pending = false;
    /* Appenders read the paths. */
    volume_lock_appends(volume);
    volume_generation_set_paths(volume->generation,
                                volume_files_path(&volume->files, VOLUME_FILE_DAT),
                                volume_files_path(&volume->files, VOLUME_FILE_IDX));
    volume_unlock_appends(volume);
    return 0;
}

static int finish(struct vacuum *v, struct volume_generation *replaced, struct error *err)
{
    uint64_t before = volume_generation_end(v->old), after = volume_generation_end(v->next);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.bytes_reclaimed = before > after ? before - after : 0;
    pthread_mutex_unlock(&v->progress_lock);

    CHECK(replaced == v->old);
    needle_index_retire(replaced->index);
    v->is_swap_pending = true;
    v->next = NULL; /* the volume's now */
    int code = vacuum_finish_swap(v, err);
    volume_generation_unref(replaced); /* the volume's reference; ours goes last */
    outlive_readers(v->old);
    vacuum_drop_job(v, true);
    return code;
}

int vacuum_commit(struct vacuum *v, uint64_t *ret_pause_ns, struct error *err)
{
    struct volume *volume = v->volume;
    bool is_sync = false, is_stuck = false;
    int code = replay_rounds(v, &is_sync, err);
    if (code == 0) {
        volume_lock_appends(volume);
        int64_t since_ns = os_monotonic_ns(volume->os);
        code = decide(v, &is_sync, &is_stuck, err);
        struct volume_generation *replaced =
            code == 0 ? volume_swap_generation(volume, v->next) : NULL;
        if (is_sync)
            volume_quarantine(volume, err ? err->message : "a sync of the vacuum failed");
        end_pause(v, since_ns, ret_pause_ns);
        volume_unlock_appends(volume);
        if (code == 0)
            return finish(v, replaced, err);
    } else if (is_sync) {
        volume_quarantine(volume, err ? err->message : "a sync of the vacuum failed");
    }
    vacuum_drop_job(v, is_stuck);
    return code;
}
