/* What every phase of a vacuum asks and leaves: whether somebody wants it to end, and dropping what it
 * had. Runs where the header says. */
#include "volume/storage/vacuum_internal.h"

int vacuum_check_cancelled(struct vacuum *v, struct error *err)
{
    return atomic_load(&v->is_cancelled) ? error_set(err, KELP_E_CANCELLED, "cancelled") : 0;
}

void vacuum_drop_job(struct vacuum *v, bool keep_files)
{
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
