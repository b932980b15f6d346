/* From the configured index to the sorted file and back. See the header. Worker threads. */
#include "volume/storage/volume_sorted.h"

#include "volume/storage/index_load.h"
#include "volume/storage/index/needle_index_sorted.h"

int volume_sort_index(struct volume *volume, struct volume_generation *generation, struct error *err)
{
    const struct needle_index_sorted_config config = {
        .os = volume->os,
        .path = volume_files_path(&volume->files, VOLUME_FILE_SDX),
        .offset_bytes = generation->offset_bytes,
        .version = generation->version,
    };
    struct needle_index *sorted;
    int code = needle_index_sorted_open(&sorted, &config, generation->index, err);
    if (code != 0)
        return code;
    needle_index_destroy(generation->index);
    generation->index = sorted;
    return 0;
}

/* The same files, opened and loaded again. They were whole when the volume was opened, and what came since
 * was written by us: a load that finds something to repair has met a failing disk, or a delete under way. */
static int load_again(struct volume *volume, struct volume_generation *old,
                      struct volume_generation **ret, struct error *err)
{
    struct volume_generation_owner owner = {volume->id, volume->index_store, volume->collection};
    struct volume_generation *next = NULL;
    struct index_verdict verdict;
    int code = volume_generation_open(&next, volume->os, &owner,
                                      volume_files_path(&volume->files, VOLUME_FILE_DAT),
                                      volume_files_path(&volume->files, VOLUME_FILE_IDX), true,
                                      old->offset_bytes, err);
    if (code == 0)
        code = index_load(next, &verdict, err);
    if (code == 0 && (verdict.needs_rebuild || verdict.bad_rows > 0 ||
                      verdict.records_end != volume_generation_end(old) ||
                      volume_generation_end(next) != volume_generation_end(old)))
        code = error_set(err, KELP_E_CORRUPT,
                         "%s is not what it was when the volume was opened: unmount it and mount it "
                         "again, which repairs it",
                         volume_files_path(&volume->files, VOLUME_FILE_IDX));
    if (code != 0) {
        volume_generation_unref(next);
        return code;
    }
    volume_generation_keep_mark(next, 0, NULL);
    *ret = next;
    return 0;
}

/* A load takes long, and the writer thread of the disk must not wait for it. So it is done without the lock,
 * and again with it if a delete came meanwhile. Not where the index is kept on disk: two loads of one volume
 * would write there side by side; and there mostly little is to be read. */
int volume_unsort_index(struct volume *volume, struct error *err)
{
    struct volume_generation *next = NULL, *replaced = NULL;
    struct volume_generation *old = volume_get_generation(volume);
    uint64_t end = index_file_end(&old->idx); /* of rows that stay: a load may see one that is cut off again */
    int code = 0;
    if (needle_index_is_sorted(old->index) && !volume->index_store)
        load_again(volume, old, &next, NULL);
    volume_lock_appends(volume);
    bool is_needed = needle_index_is_sorted(volume->generation->index);
    if (next && is_needed &&
        (volume->generation != old || index_file_end(&old->idx) != end || index_file_end(&next->idx) != end)) {
        volume_generation_unref(next);
        next = NULL;
    }
    if (is_needed && !next)
        code = load_again(volume, volume->generation, &next, err);
    if (is_needed && code == 0) {
        volume_generation_inherit_syncs(next, volume->generation);
        replaced = volume_swap_generation(volume, next);
        next = NULL;
    }
    volume_unlock_appends(volume);
    volume_generation_unref(next);
    volume_generation_unref(old);
    volume_generation_unref(replaced);
    if (replaced) /* it would be stale with the next write */
        volume_file_remove(volume->os, volume_files_path(&volume->files, VOLUME_FILE_SDX), NULL);
    return code;
}
