/* The commit: the rest of the replay, the decision, the swap, and then what makes it durable.
 *
 *   without a lock   replay in rounds, each synced, until little is left; then without syncs, until
 *                    next to nothing is
 *   append lock      replay the last rows, compare with the old generation, create .cpc, swap the
 *                    pointer: decided
 *   without a lock   settle: sync .cpd and .cpx, .cpc and its directory; rename .cpd and .cpx, sync
 *                    the directories, remove .cpc, sync
 *
 * Readers never wait; writers wait for the middle part only, which has no sync in it, whatever the
 * disk is busy with. Why that is safe:
 *   - A killed process leaves all that it wrote. Without .cpc the old files hold everything that
 *     was acknowledged, with it the new ones do.
 *   - A power loss before .cpc is on the disk brings back the old generation, one after it the
 *     new one. Either holds all that was promised to be durable. What was promised before the
 *     swap is in the old files, and in the new ones as of the last synced round; if something was
 *     promised since then, the last rows are synced before .cpc is created, with the lock held.
 *     Promises after the swap wait for the settling (volume_settle), which whoever makes one
 *     carries out himself. What was promised to nobody is lost as a suffix at most, as it would
 *     be without a vacuum.
 *
 * A failure before the swap leaves the old generation as it was. A failed sync is not tried again:
 * the volume is quarantined.
 *
 * Runs on the worker. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"
#include "volume/storage/vacuum_recover.h"

#define ROWS_IN_A_ROUND 64u /* fewer are not worth another sync */
#define ROWS_UNDER_LOCK 8u
#define ROUNDS_MAX      16u /* against writers that outrun the rounds */
#define ROWS_AT_MOST    1024u /* so many hold writers up for a few milliseconds */

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

static int replay_and_sync(struct vacuum *v, bool *ret_is_sync, struct error *err)
{
    /* In this order: a record below dat_end has its row below the end of the .idx. */
    uint64_t dat_end = volume_generation_end(v->old);
    int code = vacuum_check_cancelled(v, err);
    if (code == 0)
        code = vacuum_replay(v, index_file_end(&v->old->idx), err);
    if (code == 0)
        code = sync_next(v, ret_is_sync, err);
    if (code == 0)
        v->safe_end = dat_end;
    return code;
}

/* What was reserved and not used goes back; the age of the content, by which a volume with a TTL
 * expires, stays what it was. */
static int settle_size_and_age(struct vacuum *v, struct error *err)
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

static int replay_rounds(struct vacuum *v, bool *ret_is_sync, struct error *err)
{
    /* The first sync is the long one; what comes in meanwhile is for the next rounds. */
    int code = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && code == 0; round++) {
        code = replay_and_sync(v, ret_is_sync, err);
        if (rows_left(v) <= ROWS_IN_A_ROUND)
            break;
    }
    if (code == 0)
        code = settle_size_and_age(v, err);
    for (unsigned round = 0; round < ROUNDS_MAX && code == 0 && rows_left(v) > ROWS_UNDER_LOCK; round++)
        code = vacuum_replay(v, index_file_end(&v->old->idx), err);
    if (code == 0 && rows_left(v) > ROWS_AT_MOST)
        return error_set(err, KELP_E_LIMIT,
                         "writers are faster than the copy of what they write, %llu records behind: "
                         "nothing was changed, vacuum again when they are fewer",
                         (unsigned long long)rows_left(v));
    return code;
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

/* append_lock held. The marker, not synced. If it fails it is taken back; *ret_is_stuck when it is
 * not sure that it is gone for good: then the files it speaks of must stay, for a start that finds
 * it must find them; and nothing may be written to the old ones, which such a start gives up. */
static int write_marker(struct vacuum *v, bool *ret_is_stuck, struct error *err)
{
    struct os *os = v->volume->os;
    const char *path = volume_files_path(&v->volume->files, VOLUME_FILE_CPC);
    int fd = os_open(os, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0) {
        os_close(os, fd);
        return 0;
    }
    *ret_is_stuck = volume_file_remove(os, path, NULL) != 0 ||
                    os_sync_directory(os, v->volume->files.data_dir, NULL) != 0;
    return error_set_errno(err, -fd, "open %s", path);
}

/* append_lock held. */
static int decide(struct vacuum *v, bool *ret_is_sync, bool *ret_is_stuck, struct error *err)
{
    struct volume_generation *old = v->old;
    if (v->volume->generation != old)
        return error_set(err, KELP_E_PRECONDITION, "the volume changed since it was compacted");
    /* A batch whose sync failed is cut off again, which the rounds may have seen; and by now there
     * may be as many rows as before. */
    if (index_file_cuts(&old->idx) != v->cuts)
        return error_set(err, KELP_E_PRECONDITION, "rows were taken back that the copy has");
    int code = vacuum_replay(v, index_file_end(&old->idx), err);
    if (code == 0)
        code = compare(v, err);
    if (code == 0 && atomic_load(&old->promised_end) > v->safe_end)
        code = sync_next(v, ret_is_sync, err);
    if (code == 0)
        code = vacuum_check_cancelled(v, err);
    if (code == 0)
        code = write_marker(v, ret_is_stuck, err);
    return code;
}

int vacuum_settle(struct volume *volume, struct error *err)
{
    struct os *os = volume->os;
    const char *path = volume_files_path(&volume->files, VOLUME_FILE_CPC);
    struct volume_generation *generation = volume_get_generation(volume);
    int code = volume_generation_sync(generation, err);
    volume_generation_unref(generation);
    if (code != 0)
        return code;
    int fd = os_open(os, path, O_WRONLY, 0);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", path);
    int result = os_fsync(os, fd);
    os_close(os, fd);
    if (result < 0)
        return error_set_errno(err, -result, "fsync %s", path);
    return os_sync_directory(os, volume->files.data_dir, err);
}

static void end_pause(struct vacuum *v, int64_t since_ns, uint64_t *ret_pause_ns)
{
    *ret_pause_ns = (uint64_t)(os_monotonic_ns(v->volume->os) - since_ns);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.pause_ns = *ret_pause_ns;
    if (*ret_pause_ns > v->progress.longest_pause_ns)
        v->progress.longest_pause_ns = *ret_pause_ns;
    pthread_mutex_unlock(&v->progress_lock);
}

/* While this syncs nobody can remove the marker, and appends go on; a promise made meanwhile
 * settles by itself. */
static int settle_now(struct volume *volume, struct error *err)
{
    volume_lock_appends(volume);
    bool is_settling = volume->settle != NULL;
    int code = volume_check_settle(volume, err);
    volume_unlock_appends(volume);
    if (code != 0 || !is_settling)
        return code;
    code = vacuum_settle(volume, err);
    volume_lock_appends(volume);
    if (code == 0) /* a promise's own settling may have failed */
        code = volume_check_settle(volume, err);
    if (code == 0)
        volume->settle = NULL;
    else
        volume->has_settle_failed = true;
    volume_unlock_appends(volume);
    return code;
}

int vacuum_finish_swap(struct vacuum *v, struct error *err)
{
    struct volume *volume = v->volume;
    struct error reason = {0};
    int code = settle_now(volume, &reason);
    if (code == 0)
        code = vacuum_recover_settled(volume->os, &volume->files, &reason);
    if (code != 0) {
        volume_quarantine(volume, reason.message);
        return error_set(err, code,
                         "the commit is decided and its content serves, but its files could not be "
                         "synced and renamed: mark it writable and commit again, or restart: %s",
                         reason.message);
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
    vacuum_close_old(v);
    vacuum_drop_job(v, true);
    return code;
}

int vacuum_commit(struct vacuum *v, uint64_t *ret_pause_ns, struct error *err)
{
    struct volume *volume = v->volume;
    struct volume_generation *replaced = NULL;
    struct error reason = {0};
    bool is_sync = false, is_stuck = false;
    int code = replay_rounds(v, &is_sync, &reason);
    if (code == 0) {
        volume_lock_appends(volume);
        int64_t since_ns = os_monotonic_ns(volume->os);
        code = decide(v, &is_sync, &is_stuck, &reason);
        if (code == 0) {
            replaced = volume_swap_generation(volume, v->next);
            volume->settle = vacuum_settle;
        } else if (is_stuck) {
            volume_quarantine(volume, reason.message);
        }
        end_pause(v, since_ns, ret_pause_ns);
        volume_unlock_appends(volume);
        if (code == 0)
            return finish(v, replaced, err);
    }
    if (is_sync)
        volume_quarantine(volume, reason.message);
    vacuum_drop_job(v, is_stuck);
    return error_set(err, code, "%s", reason.message);
}
