/* The states of a volume's vacuum, and its entry points. See volume_vacuum.h for the diagram.
 *
 * Every change of state goes through move(), under vacuum_lock, which checks that the change is
 * allowed and that what the new state promises is there. The work itself is done without that
 * lock. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#include <errno.h>
#include <stdlib.h>

static const char *const state_names[] = {"idle", "copying", "copied", "committing"};

const char *vacuum_state_name(enum vacuum_state state) { return state_names[state]; }

static const bool allowed[4][4] = {
    [VACUUM_IDLE] = {[VACUUM_COPYING] = true, [VACUUM_COMMITTING] = true /* finishes a swap */},
    [VACUUM_COPYING] = {[VACUUM_COPIED] = true, [VACUUM_IDLE] = true},
    [VACUUM_COPIED] = {[VACUUM_COMMITTING] = true, [VACUUM_IDLE] = true, [VACUUM_COPYING] = true},
    [VACUUM_COMMITTING] = {[VACUUM_IDLE] = true},
};

static void check_invariant(const struct vacuum *v)
{
    switch (v->state) {
    case VACUUM_IDLE:
        CHECK(!v->old && !v->next && !v->expired);
        break;
    case VACUUM_COPYING:
        CHECK(v->old && !v->next && !v->is_swap_pending);
        break;
    case VACUUM_COPIED:
        CHECK(v->old && v->next && v->old != v->next && !v->is_swap_pending);
        break;
    case VACUUM_COMMITTING:
        CHECK(v->is_swap_pending ? !v->old && !v->next : v->old && v->next);
        break;
    }
}

/* vacuum_lock held. */
static void move(struct vacuum *v, enum vacuum_state to)
{
    CHECK(allowed[v->state][to]);
    v->state = to;
    check_invariant(v);
    atomic_store(&v->volume->is_compacting, to == VACUUM_COPYING || to == VACUUM_COMMITTING);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.state = to;
    pthread_mutex_unlock(&v->progress_lock);
    pthread_cond_broadcast(&v->moved);
}

static bool is_working(const struct vacuum *v)
{
    return v->state == VACUUM_COPYING || v->state == VACUUM_COMMITTING;
}

static void wait_until_done(struct vacuum *v)
{
    while (is_working(v))
        pthread_cond_wait(&v->moved, &v->volume->vacuum_lock);
}

static void free_vacuum(struct vacuum *v)
{
    record_writer_destroy(v->writer);
    pthread_cond_destroy(&v->moved);
    pthread_mutex_destroy(&v->progress_lock);
    free(v->check_buffer);
    free(v->damages);
    free(v);
}

/* volume_close calls this; a worker that is still inside holds the volume's memory, not the
 * vacuum's: its last act is the move to idle, after which it touches the vacuum no more. */
static void stop(struct volume *volume)
{
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    if (v) {
        atomic_store(&v->is_cancelled, true);
        wait_until_done(v);
        if (v->state == VACUUM_COPIED) {
            vacuum_drop_job(v, false);
            move(v, VACUUM_IDLE);
        }
        vacuum_await_closer(v);
        volume->vacuum = NULL;
        free_vacuum(v);
    }
    pthread_mutex_unlock(&volume->vacuum_lock);
}

static int refuse_state(const struct volume *volume, struct error *err)
{
    unsigned reasons = atomic_load(&volume->read_only) &
                       (VOLUME_RO_IO_ERROR | VOLUME_RO_CORRUPT | VOLUME_RO_TIERED);
    if (reasons & VOLUME_RO_TIERED)
        return error_set(err, KELP_E_READ_ONLY, "its data is in remote storage: fetch it first");
    if (reasons)
        return error_set(err, KELP_E_READ_ONLY,
                         "it is %s: check it against a replica and mark it writable first",
                         reasons & VOLUME_RO_CORRUPT ? "corrupt"
                                                     : "quarantined after an I/O error");
    return 0;
}

/* Whether there is a commit marker. Only a clear answer counts. */
static int look_for_marker(struct volume *volume, bool *ret, struct error *err)
{
    struct os_stat st;
    const char *marker = volume_files_path(&volume->files, VOLUME_FILE_CPC);
    int result = os_stat(volume->os, marker, &st);
    if (result < 0 && result != -ENOENT)
        return error_set_errno(err, -result, "stat %s", marker);
    *ret = result >= 0;
    return 0;
}

/* A marker while no swap is pending is what a commit left that failed to write it durably and
 * failed to take it back. It must be gone for good before there is a new .cpd, also when it cannot
 * be seen. */
static int clear_marker(struct volume *volume, struct error *err)
{
    bool is_there = false;
    int code = look_for_marker(volume, &is_there, err);
    if (code == 0 && is_there)
        code = volume_file_remove(volume->os, volume_files_path(&volume->files, VOLUME_FILE_CPC),
                                  err);
    return code == 0 ? os_sync_directory(volume->os, volume->files.data_dir, err) : code;
}

/* While a swap is on its way the marker is what makes it happen; a commit that fails leaves one last of
 * all. A copy has begun without. */
static int forget_marker(struct volume *volume, struct error *err)
{
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    while (v->state == VACUUM_COMMITTING)
        pthread_cond_wait(&v->moved, &volume->vacuum_lock);
    return v->state == VACUUM_COPYING || v->is_swap_pending ? 0 : clear_marker(volume, err);
}

/* NULL, and err says so, when memory is gone. */
static struct vacuum *attach(struct volume *volume, struct error *err)
{
    struct vacuum *v = calloc(1, sizeof(*v));
    if (!v) {
        error_set(err, KELP_E_NO_MEMORY, "no memory for a vacuum");
        return NULL;
    }
    v->base.stop = stop;
    v->base.forget_marker = forget_marker;
    v->volume = volume;
    pthread_cond_init(&v->moved, NULL);
    pthread_mutex_init(&v->progress_lock, NULL);
    v->check_buffer = malloc(VACUUM_CHECK_BYTES);
    v->damages = calloc(VACUUM_DAMAGE_MAX, sizeof(*v->damages));
    int code = record_writer_create(&v->writer, err);
    if (code == 0 && (!v->check_buffer || !v->damages))
        code = error_set(err, KELP_E_NO_MEMORY, "no memory for a vacuum");
    if (code != 0) {
        free_vacuum(v);
        return NULL;
    }
    volume->vacuum = &v->base;
    return v;
}

static void start_progress(struct vacuum *v)
{
    pthread_mutex_lock(&v->progress_lock);
    v->progress = (struct vacuum_progress){
        .state = VACUUM_COPYING,
        .longest_pause_ns = v->progress.longest_pause_ns,
    };
    v->started_at_ns = os_monotonic_ns(v->volume->os);
    v->damage_count = 0;
    pthread_mutex_unlock(&v->progress_lock);
}

static void end_progress(struct vacuum *v)
{
    pthread_mutex_lock(&v->progress_lock);
    v->progress.elapsed_ns = (uint64_t)(os_monotonic_ns(v->volume->os) - v->started_at_ns);
    v->progress.left_ns = 0;
    pthread_mutex_unlock(&v->progress_lock);
}

/* vacuum_lock held. From idle or copied to copying. */
static int begin_copy(struct volume *volume, struct vacuum **ret, struct error *err)
{
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    if (v && is_working(v))
        return error_set(err, KELP_E_BUSY, "volume %u is being vacuumed already", volume->id);
    int code = refuse_state(volume, err);
    if (code != 0)
        return code;
    if (!v)
        v = attach(volume, err);
    if (!v)
        return KELP_E_NO_MEMORY;
    if (v->is_swap_pending)
        code = vacuum_finish_swap(v, err);
    if (code == 0)
        code = clear_marker(volume, err);
    if (code != 0)
        return code;
    if (v->state == VACUUM_COPIED)
        vacuum_drop_job(v, false);
    vacuum_await_closer(v);
    atomic_store(&v->is_cancelled, false);
    atomic_store(&v->is_paused, false);
    v->source = v->result = (struct vacuum_digest){0};
    v->old = volume_get_generation(volume);
    start_progress(v);
    move(v, VACUUM_COPYING);
    *ret = v;
    return 0;
}

int volume_vacuum_compact(struct volume *volume, const struct vacuum_options *options,
                          struct error *err)
{
    struct vacuum *v = NULL;
    volume_retain(volume);
    pthread_mutex_lock(&volume->vacuum_lock);
    int code = begin_copy(volume, &v, err);
    pthread_mutex_unlock(&volume->vacuum_lock);
    if (code == 0) {
        CHECK(v);
        v->budget = options->budget;
        code = vacuum_copy(v, options, err);
        pthread_mutex_lock(&volume->vacuum_lock);
        if (code == 0)
            code = vacuum_check_cancelled(v, err);
        if (code != 0)
            vacuum_drop_job(v, false);
        end_progress(v);
        move(v, code == 0 ? VACUUM_COPIED : VACUUM_IDLE);
        pthread_mutex_unlock(&volume->vacuum_lock);
    }
    volume_release(volume);
    return code;
}

int volume_vacuum_commit(struct volume *volume, uint64_t *ret_pause_ns, struct error *err)
{
    volume_retain(volume);
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    int code = 0;
    bool is_finish = v && v->state == VACUUM_IDLE && v->is_swap_pending;
    if (v && is_working(v))
        code = error_set(err, KELP_E_BUSY, "volume %u is being vacuumed", volume->id);
    else if (!v || (v->state == VACUUM_IDLE && !is_finish))
        code = error_set(err, KELP_E_PRECONDITION,
                         "volume %u compact swap aborted: missing .cpd/.cpx: compact it first",
                         volume->id);
    else
        move(v, VACUUM_COMMITTING);
    pthread_mutex_unlock(&volume->vacuum_lock);
    if (code == 0) {
        uint64_t pause_ns = 0;
        code = is_finish ? vacuum_finish_swap(v, err) : vacuum_commit(v, &pause_ns, err);
        if (ret_pause_ns)
            *ret_pause_ns = pause_ns;
        pthread_mutex_lock(&volume->vacuum_lock);
        end_progress(v);
        move(v, VACUUM_IDLE);
        pthread_mutex_unlock(&volume->vacuum_lock);
    }
    volume_release(volume);
    return code;
}

int volume_vacuum_cleanup(struct volume *volume, struct error *err)
{
    bool is_decided = false;
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    if (v) {
        if (is_working(v))
            atomic_store(&v->is_cancelled, true);
        wait_until_done(v);
    }
    int code = look_for_marker(volume, &is_decided, err);
    if (is_decided) {
        code = error_set(err, KELP_E_PRECONDITION,
                         "volume %u: refusing cleanup while commit marker present: commit it",
                         volume->id);
    } else if (code == 0 && v && v->state == VACUUM_COPIED) {
        vacuum_drop_job(v, false);
        move(v, VACUUM_IDLE);
    }
    pthread_mutex_unlock(&volume->vacuum_lock);
    return code;
}

int volume_vacuum_pause(struct volume *volume, bool is_paused, struct error *err)
{
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    bool is_copying = v && v->state == VACUUM_COPYING;
    if (is_copying)
        atomic_store(&v->is_paused, is_paused);
    pthread_mutex_unlock(&volume->vacuum_lock);
    return is_copying ? 0
                      : error_set(err, KELP_E_PRECONDITION, "volume %u is not being compacted",
                                  volume->id);
}

void volume_vacuum_progress(struct volume *volume, struct vacuum_progress *ret)
{
    *ret = (struct vacuum_progress){0};
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    if (v) {
        pthread_mutex_lock(&v->progress_lock);
        *ret = v->progress;
        ret->damaged = v->damage_count;
        ret->is_paused = v->state == VACUUM_COPYING && atomic_load(&v->is_paused);
        if (is_working(v))
            ret->elapsed_ns = (uint64_t)(os_monotonic_ns(volume->os) - v->started_at_ns);
        pthread_mutex_unlock(&v->progress_lock);
    }
    pthread_mutex_unlock(&volume->vacuum_lock);
}

size_t volume_vacuum_damaged(struct volume *volume, struct vacuum_damage *ret, size_t max)
{
    size_t total = 0;
    pthread_mutex_lock(&volume->vacuum_lock);
    struct vacuum *v = (struct vacuum *)volume->vacuum;
    if (v) {
        pthread_mutex_lock(&v->progress_lock);
        total = v->damage_count;
        size_t kept = total < VACUUM_DAMAGE_MAX ? total : VACUUM_DAMAGE_MAX;
        if (max > 0)
            memcpy(ret, v->damages, (max < kept ? max : kept) * sizeof(*ret));
        pthread_mutex_unlock(&v->progress_lock);
    }
    pthread_mutex_unlock(&volume->vacuum_lock);
    return total;
}
