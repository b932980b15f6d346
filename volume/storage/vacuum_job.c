/* What every phase of a vacuum asks and leaves: whether somebody wants it to end, and dropping what
 * it had. Runs where the header says.
 *
 * Closing the replaced .dat frees its blocks and its pages, which takes a fifth of a second for
 * each GB. The commit is answered before; a thread of its own does it, and until it has, the disk
 * takes no further vacuum, which would not find the space. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#define READERS_WAIT_MS 50

int vacuum_check_cancelled(struct vacuum *v, struct error *err)
{
    return atomic_load(&v->is_cancelled) ? error_set(err, KELP_E_CANCELLED, "cancelled") : 0;
}

struct closing {
    struct volume_generation *old;
    struct vacuum_budget *budget;
    uint64_t held_bytes;
};

/* Most readers are gone in a moment: waits for them, so that it is this thread that closes the
 * files and not an event loop. */
static void close_old(struct volume_generation *old)
{
    for (int i = 0; i < READERS_WAIT_MS && atomic_load(&old->references) > 1; i++)
        os_sleep(old->os, 1000000);
    volume_generation_unref(old);
}

static void close_and_tell(struct closing *closing)
{
    close_old(closing->old);
    vacuum_budget_release(closing->budget, closing->held_bytes);
    vacuum_budget_end_closing(closing->budget);
    free(closing);
}

static void *run_closer(void *ctx)
{
    struct closing *closing = ctx;
    os_lower_priority(closing->old->os);
    close_and_tell(closing);
    return NULL;
}

void vacuum_close_old(struct vacuum *v)
{
    struct volume_generation *old = v->old;
    struct closing *closing = v->budget ? calloc(1, sizeof(*closing)) : NULL;
    v->old = NULL;
    if (!closing) {
        close_old(old);
        return;
    }
    *closing = (struct closing){old, v->budget, v->held_bytes};
    vacuum_budget_begin_closing(v->budget);
    CHECK(!v->has_closer);
    if (pthread_create(&v->closer, NULL, run_closer, closing) == 0) {
        v->has_closer = true;
        v->held_bytes = 0;
    } else {
        closing->held_bytes = 0; /* released with the job */
        close_and_tell(closing);
    }
}

void vacuum_await_closer(struct vacuum *v)
{
    if (v->has_closer)
        pthread_join(v->closer, NULL);
    v->has_closer = false;
}

void vacuum_drop_job(struct vacuum *v, bool keep_files)
{
    vacuum_budget_release(v->budget, v->held_bytes);
    v->held_bytes = 0;
    if (v->next) /* it never came to be */
        needle_index_retire(v->next->index);
    volume_generation_unref(v->next);
    volume_generation_unref(v->old);
    needle_index_destroy(v->expired);
    v->next = v->old = NULL;
    v->expired = NULL;
    if (keep_files)
        return;
    /* What cannot be removed now is removed before the next copy or at the next start. */
    const struct volume_files *files = &v->volume->files;
    volume_file_remove(v->volume->os, volume_files_path(files, VOLUME_FILE_CPD), NULL);
    volume_file_remove(v->volume->os, volume_files_path(files, VOLUME_FILE_CPX), NULL);
}
