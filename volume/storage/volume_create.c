/* Making a new volume: .dat, .idx and .vif, all durable before it is used. May block. */
#include "volume/storage/volume_internal.h"

#include "common/check.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

static const enum volume_file made[] = {VOLUME_FILE_DAT, VOLUME_FILE_IDX, VOLUME_FILE_VIF};
#define MADE 3u

/* Whether the .vif speaks of this volume's data alone; one that cannot be read may speak of anything. */
static bool is_local_info(struct volume *volume)
{
    struct volume_info info = {0};
    bool is_local = volume_info_file_load(volume->os, volume->files.paths[VOLUME_FILE_VIF], &info,
                                          NULL) == 0 &&
                    !info.has_ec && info.file_count == 0;
    volume_info_fini(&info);
    return is_local;
}

/* Whether such a file may be what is left of a volume, or of the making of one, and holds no needle. Rows
 * without a .dat are of nothing; but where an index directory serves several data directories, they may be
 * of a volume in another one. */
static bool is_leftover(struct volume *volume, enum volume_file file, uint64_t size, bool has_dat)
{
    switch (file) {
    case VOLUME_FILE_DAT:
        return size <= SUPER_BLOCK_SIZE;
    case VOLUME_FILE_IDX:
        return size == 0 ||
               (!has_dat && strcmp(volume->files.data_dir, volume->files.index_dir) == 0);
    default:
        return is_local_info(volume);
    }
}

/* Nothing may be there, or a part of the files and in them no needle. Only a clear "no such file" counts as
 * one: whatever exists would be truncated. */
static int check_room(struct volume *volume, struct error *err)
{
    const char *there = NULL;
    bool is_free = true, has_dat = false, has_all = true;
    for (size_t i = 0; i < MADE; i++) {
        struct os_stat st;
        const char *path = volume->files.paths[made[i]];
        int result = os_stat(volume->os, path, &st);
        if (result < 0 && result != -ENOENT)
            return error_set_errno(err, -result, "stat %s", path);
        has_all = has_all && result >= 0;
        if (result < 0)
            continue;
        there = there ? there : path;
        has_dat = has_dat || made[i] == VOLUME_FILE_DAT;
        is_free = is_free && is_leftover(volume, made[i], st.size, has_dat);
    }
    /* Beside one, the next start would take the volume for EC metadata. */
    const char *ecx = volume->files.paths[VOLUME_FILE_ECX];
    if (volume_file_exists(volume->os, ecx))
        return error_set(err, KELP_E_EXISTS, "%s exists: the volume is erasure coded here", ecx);
    if (is_free && !has_all)
        return 0;
    return error_set(err, KELP_E_EXISTS, "%s exists already: mount the volume, or move it away",
                     there);
}

static int preallocate(struct volume *volume, const struct volume_options *options,
                       struct error *err)
{
    if (options->preallocate == 0)
        return 0;
    int result = os_fallocate(volume->os, volume->generation->dat_fd, FALLOC_FL_KEEP_SIZE, 0,
                              options->preallocate);
    if (result < 0 && result != -EOPNOTSUPP && result != -ENOSYS)
        return error_set_errno(err, -result, "reserve %llu bytes for %s",
                               (unsigned long long)options->preallocate,
                               volume->files.paths[VOLUME_FILE_DAT]);
    return 0;
}

static int make_files(struct volume *volume, const struct volume_options *options, struct error *err)
{
    const struct super_block super_block = {
        .version = NEEDLE_VERSION,
        .replica_placement = options->replica_placement,
        .ttl = options->ttl,
    };
    struct volume_generation *generation;
    struct volume_generation_owner owner = {volume->id, volume->index_store, volume->collection};
    int code = volume_generation_create(&generation, volume->os, &owner,
                                        volume->files.paths[VOLUME_FILE_DAT],
                                        volume->files.paths[VOLUME_FILE_IDX], &super_block,
                                        options->offset_bytes, 0, err);
    if (code != 0)
        return code;
    volume_swap_generation(volume, generation);
    atomic_store(&volume->placement, replica_placement_to_byte(super_block.replica_placement));
    volume->ttl = super_block.ttl;
    volume->info.version = super_block.version;
    volume->info.bytes_offset = options->offset_bytes;
    code = preallocate(volume, options, err);
    if (code == 0)
        code = volume_generation_sync(generation, err);
    if (code == 0) {
        pthread_mutex_lock(&volume->state_lock);
        code = volume_save_info(volume, err);
        pthread_mutex_unlock(&volume->state_lock);
    }
    if (code == 0)
        code = volume_files_sync_directories(&volume->files, volume->os, err);
    atomic_store(&volume->modified_at_second, (uint64_t)(os_now_ns(volume->os) / 1000000000));
    return code;
}

int volume_create(struct volume **ret, const struct volume_place *place,
                  const struct volume_options *options, struct error *err)
{
    CHECK(options->offset_bytes == 4 || options->offset_bytes == 5);
    struct volume *volume;
    int code = volume_allocate(&volume, place, err);
    if (code != 0)
        return code;
    code = check_room(volume, err);
    if (code == 0)
        code = volume_files_remove_strays(&volume->files, volume->os, err);
    if (code != 0) {
        volume_release(volume);
        return code;
    }
    code = make_files(volume, options, err);
    if (code != 0) {
        volume_generation_unref(volume->generation);
        volume->generation = NULL;
        for (size_t i = 0; i < MADE; i++)
            os_unlink(volume->os, volume->files.paths[made[i]]);
        volume_release(volume);
        return code;
    }
    *ret = volume;
    return 0;
}
