/* Room for the new generation: found to be there, and reserved, before a byte is copied.
 *
 * Needed is what is live, the rows for it, and a little for what is written meanwhile; not the size
 * of the old files. Uploads stop before a disk has less than one vacuum of its smallest volume
 * needs (store_floor.c), so a full disk can be cleaned, and each vacuum pays for the next. Runs on
 * the worker. */
#include "volume/storage/vacuum_internal.h"

#include <errno.h>
#include <string.h>

#define SLACK_PART 512u        /* of the live bytes, for what is written while the copy runs */
#define SLACK_MAX  (1u << 20)
#define LAST_RECORD_MAX (64u << 20) /* of a common one; it may lie across the line */

uint64_t volume_vacuum_needs(const struct volume_stat *stat)
{
    uint64_t slack = stat->live_record_bytes / SLACK_PART;
    return SUPER_BLOCK_SIZE + stat->live_record_bytes + (slack < SLACK_MAX ? slack : SLACK_MAX) +
           stat->live_count * index_row_size(stat->offset_bytes);
}

static int refuse_space(uint64_t needed, uint64_t floor_bytes, uint64_t free_bytes,
                        const char *directory, struct error *err)
{
    return error_set(err, KELP_E_NO_SPACE,
                     "insufficient free space for compaction: need %llu bytes and a floor of %llu "
                     "in %s, but only %llu bytes available, %llu are missing: delete or move a "
                     "volume, or vacuum a smaller one first",
                     (unsigned long long)needed, (unsigned long long)floor_bytes, directory,
                     (unsigned long long)free_bytes,
                     (unsigned long long)(needed + floor_bytes - free_bytes));
}

static int check_space(struct vacuum *v, const char *directory, uint64_t needed,
                       uint64_t floor_bytes, struct error *err)
{
    struct os_space space;
    int result = os_space(v->volume->os, directory, &space);
    if (result < 0)
        return error_set_errno(err, -result, "statvfs %s", directory);
    if (space.free_bytes < needed + floor_bytes)
        return refuse_space(needed, floor_bytes, space.free_bytes, directory, err);
    return 0;
}

static int reserve(struct vacuum *v, int fd, const char *directory, uint64_t size,
                   uint64_t floor_bytes, struct error *err)
{
    int result = os_fallocate(v->volume->os, fd, FALLOC_FL_KEEP_SIZE, 0, size);
    if (result == -ENOSPC) {
        struct os_space space = {0};
        os_space(v->volume->os, directory, &space);
        return refuse_space(size, floor_bytes,
                            space.free_bytes < size + floor_bytes ? space.free_bytes : 0, directory,
                            err);
    }
    /* Some file systems cannot reserve; there a write will say it. */
    if (result < 0 && result != -EOPNOTSUPP)
        return error_set_errno(err, -result, "fallocate of %llu bytes in %s",
                               (unsigned long long)size, directory);
    return 0;
}

/* With 4-byte offsets a volume may have grown past what its rows can say, if SeaweedFS wrote it;
 * its live records may be too many for rows that are right. */
static int check_width(const struct vacuum *v, uint64_t dat_bytes, struct error *err)
{
    uint64_t limit = index_row_limit(v->old->offset_bytes);
    if (dat_bytes <= limit + LAST_RECORD_MAX)
        return 0;
    return error_set(err, KELP_E_TOO_LARGE,
                     "its live records take %llu bytes, rows with %u-byte offsets can address %llu: delete "
                     "blobs, or copy them to a volume with 5-byte offsets",
                     (unsigned long long)dat_bytes, v->old->offset_bytes, (unsigned long long)limit);
}

static int create_next(struct vacuum *v, uint64_t expected, struct error *err)
{
    const struct volume_files *files = &v->volume->files;
    struct super_block block = v->old->super_block;
    block.replica_placement = volume_replica_placement(v->volume);
    block.compact_revision++;
    struct volume_generation_owner owner = {v->volume->id, v->volume->index_store,
                                            v->volume->collection};
    return volume_generation_create(&v->next, v->volume->os, &owner,
                                    volume_files_path(files, VOLUME_FILE_CPD),
                                    volume_files_path(files, VOLUME_FILE_CPX), &block,
                                    v->old->offset_bytes, expected, err);
}

int vacuum_make_next(struct vacuum *v, const struct vacuum_options *options,
                     const struct needle_index_stat *live, struct error *err)
{
    const struct volume_files *files = &v->volume->files;
    uint64_t idx_bytes = live->live_count * index_row_size(v->old->offset_bytes);
    uint64_t floor = options->space_floor_bytes;
    bool is_one_disk = strcmp(files->data_dir, files->index_dir) == 0;
    struct volume_stat stat = {.live_record_bytes = live->live_record_bytes,
                               .live_count = live->live_count,
                               .offset_bytes = v->old->offset_bytes};
    uint64_t dat_bytes = volume_vacuum_needs(&stat) - idx_bytes;
    int code = check_width(v, SUPER_BLOCK_SIZE + live->live_record_bytes, err);
    if (options->preallocate > dat_bytes)
        dat_bytes = options->preallocate;
    if (code == 0)
        code = check_space(v, files->data_dir, dat_bytes + (is_one_disk ? idx_bytes : 0), floor, err);
    if (code == 0 && !is_one_disk)
        code = check_space(v, files->index_dir, idx_bytes, 0, err);
    if (code == 0)
        code = create_next(v, live->live_count, err);
    if (code == 0)
        code = reserve(v, v->next->dat_fd, files->data_dir, dat_bytes, floor, err);
    if (code == 0 && idx_bytes > 0)
        code = reserve(v, v->next->idx.fd, files->index_dir, idx_bytes, floor, err);
    v->reserved_bytes = dat_bytes;
    v->keeps_reservation = options->preallocate > 0;
    if (code == 0) {
        v->held_bytes = dat_bytes + (is_one_disk ? idx_bytes : 0);
        vacuum_budget_hold(v->budget, v->held_bytes);
    }
    return code;
}
