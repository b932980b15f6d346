/* What may be done to a volume: marks, low space, and the .vif that remembers them.
 *
 * The marks are bits of one atomic word; the writer thread looks at it for each batch under append_lock.
 * A mark waits for the batch that runs, so that nothing is written after the caller was told. Worker
 * threads only: they block on the .vif. */
#include "volume/storage/volume_internal.h"

#include "common/check.h"
#include "volume/storage/volume_sorted.h"
#include "volume/storage/record_writer.h"

#include <stdlib.h>

#define WRITE_AGAIN_BYTES (1u << 20)

/* state_lock held. The time at which a TTL volume may go counts from the last save. */
int volume_save_info(struct volume *volume, struct error *err)
{
    if (volume->is_info_foreign)
        return error_set(err, KELP_E_CORRUPT,
                         "%s cannot be read and is left alone: move it away and try again",
                         volume->files.paths[VOLUME_FILE_VIF]);
    if (ttl_is_set(volume->ttl))
        volume->info.expire_at_second = (uint64_t)(os_now_ns(volume->os) / 1000000000) +
                                        ttl_minutes(volume->ttl) * 60;
    return volume_info_file_save(volume->os, volume->files.paths[VOLUME_FILE_VIF], &volume->info,
                                 err);
}

/* ---- reasons ---- */

static const struct {
    const char *name, *text;
} read_only_reasons[VOLUME_READ_ONLY_REASONS] = {
    {"operator", "marked by the operator"},
    {"operator-can-delete", "marked by the operator, deletes are allowed"},
    {"low-space", "its disk is low on space"},
    {"io-error", "its disk failed: check the disk, then mark it writable"},
    {"corrupt", "it could not be repaired: fetch it from a replica"},
    {"file-mode", "its files are not writable"},
    {"tiered", "its data is in remote storage"},
    {"full", "all that its index can address is used: vacuum it"},
};

const char *volume_read_only_name(unsigned index)
{
    CHECK(index < VOLUME_READ_ONLY_REASONS);
    return read_only_reasons[index].name;
}

int volume_refuse(const struct volume *volume, unsigned blocking, struct error *err)
{
    unsigned read_only = atomic_load_explicit(&volume->read_only, memory_order_relaxed) & blocking;
    if (read_only == 0)
        return 0;
    size_t first = (size_t)__builtin_ctz(read_only);
    CHECK(first < VOLUME_READ_ONLY_REASONS);
    return error_set(err, KELP_E_READ_ONLY, "volume %u is read only: %s", volume->id,
                     read_only_reasons[first].text);
}

int volume_check_writable(struct volume *volume, struct error *err)
{
    int code = volume_refuse(volume, ~0u, err);
    if (code != 0)
        return code;
    struct volume_generation *generation = volume_get_generation(volume);
    if (volume_read_only_bits(volume, generation) & VOLUME_RO_FULL)
        code = record_writer_refuse_full(generation, err);
    volume_generation_unref(generation);
    return code;
}

/* ---- marks ---- */

static int persist_marks(struct volume *volume, bool is_read_only, bool can_delete,
                         struct error *err)
{
    pthread_mutex_lock(&volume->state_lock);
    bool old_read_only = volume->info.is_read_only, old_can_delete = volume->info.can_delete;
    volume->info.is_read_only = is_read_only;
    volume->info.can_delete = can_delete;
    int code = volume_save_info(volume, err);
    if (code != 0) {
        volume->info.is_read_only = old_read_only;
        volume->info.can_delete = old_can_delete;
    }
    pthread_mutex_unlock(&volume->state_lock);
    return code;
}

static void change_bits(struct volume *volume, unsigned clear, unsigned set)
{
    volume_lock_appends(volume);
    unsigned old = atomic_load(&volume->read_only);
    while (!atomic_compare_exchange_weak(&volume->read_only, &old, (old & ~clear) | set))
        ;
    volume_unlock_appends(volume);
}

static int mark_read_only(struct volume *volume, bool can_delete, bool persist, struct error *err)
{
    int code = can_delete ? volume_unsort_index(volume, err) : 0;
    if (code == 0 && persist)
        code = persist_marks(volume, true, can_delete, err);
    if (code == 0)
        change_bits(volume, VOLUME_RO_OPERATOR | VOLUME_RO_OPERATOR_CAN_DELETE,
                    can_delete ? VOLUME_RO_OPERATOR_CAN_DELETE : VOLUME_RO_OPERATOR);
    return code;
}

static int forget_marker(struct volume *volume, struct error *err)
{
    pthread_mutex_lock(&volume->vacuum_lock);
    struct volume_vacuum *vacuum = volume->vacuum;
    int code = vacuum ? vacuum->forget_marker(volume, err) : 0;
    pthread_mutex_unlock(&volume->vacuum_lock);
    return code;
}

/* What a failed sync was to write can be read, as long as memory holds it, but no later sync writes
 * it: so it is written anew. Nobody appends meanwhile, and the lock is not held, as there may be
 * much of it. */
static int write_again(struct volume *volume, struct error *err)
{
    struct volume_generation *generation = volume_get_generation(volume);
    uint64_t at = atomic_load(&generation->synced_end), end = volume_generation_end(generation);
    uint8_t *bytes = malloc(WRITE_AGAIN_BYTES);
    int code = 0;
    if (!bytes)
        code = error_set(err, KELP_E_NO_MEMORY, "no memory to write the last records anew");
    while (code == 0 && at < end) {
        size_t n = end - at < WRITE_AGAIN_BYTES ? (size_t)(end - at) : WRITE_AGAIN_BYTES;
        struct iovec piece = {bytes, n};
        code = volume_generation_pread(generation, bytes, n, at, false, err);
        if (code == 0)
            code = os_write_full(volume->os, generation->dat_fd,
                                 atomic_load(&generation->dat_path), &piece, 1, at, err);
        at += n;
    }
    free(bytes);
    volume_generation_unref(generation);
    return code;
}

static int take_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    *(struct needle_entry *)ctx = *entry;
    return 0;
}

/* append_lock held. A start believes what follows the last row whose record is there; a delete
 * behind one that is not would be cut off, and somebody may have been promised it. */
static int check_last_record(struct volume_generation *generation, struct error *err)
{
    struct needle_entry row = {0};
    struct needle_header header;
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    uint64_t end = index_file_end(&generation->idx);
    uint64_t row_size = index_row_size(generation->offset_bytes);
    if (end < row_size ||
        volume_generation_end(generation) > index_row_limit(generation->offset_bytes))
        return 0;
    int code = index_file_walk(&generation->idx, end - row_size, end, take_row, &row, err);
    if (code != 0 || row.offset == 0 || index_row_is_gap(&row))
        return code;
    code = volume_generation_pread(generation, bytes, sizeof(bytes), row.offset, false, err);
    if (code != 0)
        return code;
    needle_header_load(bytes, &header);
    if (header.size == (row.size > 0 ? row.size : 0) && (header.key != 0 || row.key == 0))
        return 0;
    return error_set(err, KELP_E_CORRUPT,
                     "%s at %llu: the last record is lost: unmount the volume and mount it again, "
                     "which repairs it",
                     atomic_load(&generation->dat_path), (unsigned long long)row.offset);
}

/* What a failed write left behind the ends of both files, because it could not be cut off or the sync
 * failed, would come back as records at the next start, newer ones of their keys notwithstanding. And
 * whether the disk takes a sync again is what writability means. */
static int settle_files(struct volume *volume, struct error *err)
{
    int code = write_again(volume, err);
    if (code != 0)
        return code;
    volume_lock_appends(volume);
    struct volume_generation *generation = volume->generation;
    int result = os_ftruncate(volume->os, generation->dat_fd, volume_generation_end(generation));
    if (result < 0)
        code = error_set_errno(err, -result, "truncate %s", atomic_load(&generation->dat_path));
    if (code == 0)
        code = index_file_truncate(&generation->idx, index_file_end(&generation->idx), err);
    volume_generation_forget_failed_sync(generation);
    if (code == 0)
        code = volume_generation_sync(generation, err);
    if (code == 0)
        code = check_last_record(generation, err);
    if (code == 0) /* it may be the index that failed */
        code = volume_generation_keep_mark(generation, 0, err);
    if (code == 0)
        volume->has_settle_failed = false;
    volume_unlock_appends(volume);
    /* A commit marker that was taken back must not return. */
    return code == 0 ? volume_files_sync_directories(&volume->files, volume->os, err) : code;
}

static int mark_writable(struct volume *volume, struct error *err)
{
    unsigned read_only = atomic_load(&volume->read_only);
    if (read_only & (VOLUME_RO_FILE_MODE | VOLUME_RO_CORRUPT))
        return error_set(err, KELP_E_READ_ONLY, "volume %u: %s", volume->id,
                         read_only & VOLUME_RO_FILE_MODE
                             ? "its .dat is not writable: change its mode, then mount it again"
                             : "it could not be repaired: fetch it from a replica");
    int code = read_only & VOLUME_RO_IO_ERROR ? forget_marker(volume, err) : 0;
    if (code == 0 && (read_only & VOLUME_RO_IO_ERROR))
        code = settle_files(volume, err);
    if (code == 0)
        code = volume_unsort_index(volume, err);
    if (code == 0)
        code = persist_marks(volume, false, false, err);
    if (code != 0)
        return code;
    /* A failure since then has left files that nobody has settled. */
    unsigned settled = read_only & VOLUME_RO_IO_ERROR;
    if (settled)
        atomic_store(&volume->consecutive_eio, 0);
    change_bits(volume, VOLUME_RO_OPERATOR | VOLUME_RO_OPERATOR_CAN_DELETE | settled, 0);
    return volume_refuse(volume, VOLUME_RO_IO_ERROR, err);
}

/* Of two marks at the same time the later one holds, in the .vif and in memory. */
int volume_mark_read_only(struct volume *volume, bool can_delete, bool persist, struct error *err)
{
    pthread_mutex_lock(&volume->mark_lock);
    int code = mark_read_only(volume, can_delete, persist, err);
    pthread_mutex_unlock(&volume->mark_lock);
    return code;
}

int volume_mark_writable(struct volume *volume, struct error *err)
{
    pthread_mutex_lock(&volume->mark_lock);
    int code = mark_writable(volume, err);
    pthread_mutex_unlock(&volume->mark_lock);
    return code;
}

int volume_set_replication(struct volume *volume, const char *replication, struct error *err)
{
    struct replica_placement placement;
    char old[sizeof(volume->info.replication)], text[10] = "";
    int code = replica_placement_parse(slice_cstr(replication), &placement, err);
    if (code != 0)
        return code;
    if (*replication)
        replica_placement_format(placement, text);
    CHECK(strlen(text) < sizeof(old)); /* what parses, fits a byte */
    struct volume_generation *generation = volume_get_generation(volume);
    pthread_mutex_lock(&volume->state_lock);
    memcpy(old, volume->info.replication, sizeof(old));
    memcpy(volume->info.replication, text, sizeof(old));
    code = volume_save_info(volume, err);
    if (code != 0)
        memcpy(volume->info.replication, old, sizeof(old));
    else
        atomic_store(&volume->placement,
                     replica_placement_to_byte(
                         *replication ? placement : generation->super_block.replica_placement));
    pthread_mutex_unlock(&volume->state_lock);
    volume_generation_unref(generation);
    return code;
}

void volume_set_low_space(struct volume *volume, bool is_low)
{
    if (is_low)
        atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_LOW_SPACE);
    else
        atomic_fetch_and(&volume->read_only, ~(unsigned)VOLUME_RO_LOW_SPACE);
}
