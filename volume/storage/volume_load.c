/* Opening a volume: finish a vacuum that was cut off, read the .vif, load the index, repair the tail.
 * Source: spec/storage-format.md 11.2, 11.3; where the peer turns a volume read-only after a crash, ours
 * repairs it.
 *
 *   .idx ends in a part of a row            the part is cut
 *   last rows name no record                they are cut
 *   .dat has whole records after the last   rows are added for them
 *   .dat ends in a torn record              it is cut
 *   rows are missing or wrong elsewhere     the .idx is made anew from the .dat
 *   .idx is lost                            it is made from the .dat
 *
 * What was changed is told to the caller, and kept in <base>.repair.log. If such a repair cannot be
 * written, the volume serves from memory, read-only (VOLUME_RO_CORRUPT). What
 * cannot be understood at all (no super block, a version that nobody writes) fails and is left as it is.
 * Blocks; any worker thread, volumes in parallel. Who stops in the middle of it finds what a crash would
 * have left. */
#include "volume/storage/volume_internal.h"

#include "common/buffer.h"
#include "common/check.h"
#include "volume/storage/index_load.h"
#include "volume/storage/index_repair.h"
#include "volume/storage/format/index_width.h"
#include "volume/storage/format/repair_log.h"
#include "volume/storage/vacuum_recover.h"
#include "volume/storage/volume_sorted.h"

#include <errno.h>
#include <sys/stat.h>

struct loading {
    struct volume *volume;
    struct volume_generation *generation;
    bool is_dat_writable, is_idx_missing, is_info_missing;
    uint64_t newest_append_at_ns;
    struct buffer note;
};

static const char *path_of(const struct loading *loading, enum volume_file file)
{
    return loading->volume->files.paths[file];
}

static void add_note(struct loading *loading, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add_note(struct loading *loading, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (loading->note.length > 0)
        buffer_append_text(&loading->note, "; ");
    buffer_vprintf(&loading->note, fmt, args);
    va_end(args);
}

/* ---- .vif, files ---- */

static int load_info(struct loading *loading, struct error *err)
{
    struct volume *volume = loading->volume;
    struct error reason;
    int code = volume_info_file_load(volume->os, path_of(loading, VOLUME_FILE_VIF), &volume->info,
                                     &reason);
    if (code == KELP_E_NOT_FOUND) {
        loading->is_info_missing = true;
    } else if (code == KELP_E_CORRUPT) {
        volume->is_info_foreign = true;
        add_note(loading, "%s; it is ignored and left alone", reason.message);
    } else if (code != 0) {
        return error_set(err, code, "%s", reason.message);
    }
    if (volume->info.is_read_only)
        atomic_fetch_or(&volume->read_only, volume->info.can_delete
                                                ? (unsigned)VOLUME_RO_OPERATOR_CAN_DELETE
                                                : (unsigned)VOLUME_RO_OPERATOR);
    if (volume->info.file_count > 0)
        atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_TIERED);
    return 0;
}

static int look_at_dat(struct loading *loading, struct os_stat *ret, struct error *err)
{
    struct volume *volume = loading->volume;
    const char *path = path_of(loading, VOLUME_FILE_DAT);
    int result = os_stat(volume->os, path, ret);
    if (result == -ENOENT && volume->info.file_count > 0)
        return error_set(err, KELP_E_UNIMPLEMENTED,
                         "%s is not here, its data is in remote storage %s.%s: fetch it first", path,
                         volume->info.files[0].backend_type, volume->info.files[0].backend_id);
    if (result < 0)
        return error_set_errno(err, -result, "stat %s", path);
    if (ret->size < SUPER_BLOCK_SIZE)
        return error_set(err, KELP_E_CORRUPT,
                         "%s has %llu bytes and no super block: fetch the volume from a replica", path,
                         (unsigned long long)ret->size);
    loading->is_dat_writable = (ret->mode & S_IWUSR) != 0;
    atomic_store(&volume->modified_at_second, (uint64_t)(ret->mtime_ns / 1000000000));
    return 0;
}

/* An .idx that is lost is made empty; the repair of the tail then fills it. */
static int make_missing_index(struct loading *loading, struct error *err)
{
    struct os *os = loading->volume->os;
    const char *path = path_of(loading, VOLUME_FILE_IDX);
    struct os_stat st;
    int result = os_stat(os, path, &st);
    if (result >= 0)
        return 0;
    if (result != -ENOENT)
        return error_set_errno(err, -result, "stat %s", path);
    loading->is_idx_missing = true;
    int fd = os_open(os, path, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        return error_set_errno(err, -fd, "create %s", path);
    os_close(os, fd);
    /* A row that is synced later is as safe as its file's name. */
    int code = os_sync_directory(os, loading->volume->files.index_dir, err);
    if (code != 0)
        os_unlink(os, path);
    return code;
}

static int open_files(struct loading *loading, struct error *err)
{
    struct volume *volume = loading->volume;
    struct os_stat dat;
    int code = look_at_dat(loading, &dat, err);
    if (code != 0)
        return code;
    uint8_t offset_bytes = (uint8_t)volume->info.bytes_offset;
    if (offset_bytes == 0)
        offset_bytes = index_width_guess(volume->os, path_of(loading, VOLUME_FILE_IDX), dat.size);
    code = make_missing_index(loading, err);
    if (code != 0)
        return code;
    struct error reason = {0};
    struct volume_generation_owner owner = {volume->id, volume->index_store, volume->collection};
    code = volume_generation_open(&loading->generation, volume->os, &owner,
                                  path_of(loading, VOLUME_FILE_DAT), path_of(loading, VOLUME_FILE_IDX),
                                  loading->is_dat_writable, offset_bytes, &reason);
    if ((code == KELP_E_DENIED || code == KELP_E_READ_ONLY) && loading->is_dat_writable) {
        loading->is_dat_writable = false;
        code = volume_generation_open(&loading->generation, volume->os, &owner,
                                      path_of(loading, VOLUME_FILE_DAT),
                                      path_of(loading, VOLUME_FILE_IDX), false, offset_bytes, &reason);
    }
    if (code != 0) {
        if (loading->is_idx_missing) /* what fails leaves nothing behind */
            os_unlink(volume->os, path_of(loading, VOLUME_FILE_IDX));
        return error_set(err, code, "%s", reason.message);
    }
    if (!loading->is_dat_writable)
        atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_FILE_MODE);
    return 0;
}

/* ---- index ---- */

/* The last record may lack some of its padding: the logical end counts it, so the file gets it. */
static int fill_padding(struct loading *loading, struct error *err)
{
    struct volume_generation *generation = loading->generation;
    struct os_stat st;
    int result = os_fstat(generation->os, generation->dat_fd, &st);
    if (result >= 0 && st.size < volume_generation_end(generation))
        result = os_ftruncate(generation->os, generation->dat_fd, volume_generation_end(generation));
    if (result < 0)
        return error_set_errno(err, -result, "pad %s", path_of(loading, VOLUME_FILE_DAT));
    return 0;
}

/* A partial row is cut now: appended rows would otherwise be written over it, and a crash in between
 * would leave a mix. */
static int cut_rows(struct loading *loading, const struct index_verdict *verdict, struct error *err)
{
    struct index_file *idx = &loading->generation->idx;
    struct os_stat st;
    int result = os_fstat(idx->os, idx->fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", idx->path);
    if (st.size == verdict->good_end)
        return 0;
    if (verdict->bad_rows > 0)
        add_note(loading, "cut %llu index rows without a record",
                 (unsigned long long)verdict->bad_rows);
    else
        add_note(loading, "cut a partial index row");
    return index_file_truncate(idx, verdict->good_end, err);
}

/* A stamp that no clock can have shown would leave no room for later ones. */
static void note_stamp(struct loading *loading, uint64_t append_at_ns)
{
    if (append_at_ns > loading->newest_append_at_ns && append_at_ns < INT64_MAX)
        loading->newest_append_at_ns = append_at_ns;
}

static void note_repair(struct loading *loading, const struct index_repair *repair, const char *what)
{
    add_note(loading, "%s: %llu records added, %llu rows dropped, %llu torn bytes cut, %llu bytes "
                      "without a record skipped",
             what, (unsigned long long)repair->records_added,
             (unsigned long long)repair->rows_dropped, (unsigned long long)repair->bytes_cut,
             (unsigned long long)repair->bytes_skipped);
    note_stamp(loading, repair->newest_append_at_ns);
}

static int repair_index(struct loading *loading, const struct index_verdict *verdict,
                        bool is_writable, struct error *err)
{
    struct volume_generation *generation = loading->generation;
    struct index_repair repair = {0};
    int code;
    if (verdict->needs_rebuild) {
        code = index_repair_rebuild(generation, is_writable, &repair, err);
        if (code == 0)
            note_repair(loading, &repair, "index made anew");
        return code;
    }
    code = is_writable ? cut_rows(loading, verdict, err) : 0;
    if (code == 0 && verdict->records_end < volume_generation_end(generation)) {
        code = index_repair_tail(generation, verdict->records_end, is_writable, &repair, err);
        if (code == 0)
            note_repair(loading, &repair, loading->is_idx_missing ? "lost index made anew" : "tail");
    }
    return code;
}

/* The stamp of the record that ends last: all later ones are above it. */
static int read_last_stamp(struct loading *loading, const struct needle_entry *last,
                           struct error *err)
{
    struct volume_generation *generation = loading->generation;
    if (generation->version != 3 || last->offset == 0)
        return 0; /* no stamps, or no record */
    uint64_t position = last->offset + NEEDLE_HEADER_SIZE + 4 +
                        (last->size > 0 ? (uint64_t)last->size : 0);
    uint8_t stamp[8];
    int code = volume_generation_pread(generation, stamp, sizeof(stamp), position, false, err);
    if (code == 0)
        note_stamp(loading, load_be64(stamp));
    return code;
}

/* A volume whose index on disk cannot be had is served from memory. */
static int walk_index(struct loading *loading, struct index_verdict *ret, struct error *err)
{
    struct volume_generation *generation = loading->generation;
    struct error reason = {0};
    int code = index_load(generation, ret, &reason);
    if (code != 0 && code != KELP_E_CANCELLED && generation->index_store) {
        needle_index_destroy(generation->index);
        generation->index = NULL;
        generation->index_store = NULL;
        int second = index_load(generation, ret, err);
        if (second == 0)
            add_note(loading, "its index is in memory: %s", reason.message);
        if (second == 0 || second == KELP_E_CANCELLED)
            return second;
    }
    return code != 0 ? error_set(err, code, "%s", reason.message) : 0;
}

static int load_index(struct loading *loading, struct error *err)
{
    struct volume *volume = loading->volume;
    struct volume_generation *generation = loading->generation;
    struct index_verdict verdict;
    struct error reason = {0};
    /* The local copy of a tiered volume is not ours to change. */
    bool is_writable = loading->is_dat_writable && volume->info.file_count == 0;
    int code = walk_index(loading, &verdict, err);
    if (code != 0)
        return code;
    code = is_writable ? fill_padding(loading, &reason) : 0;
    if (code == 0)
        code = repair_index(loading, &verdict, is_writable, &reason);
    if (code != 0 && code != KELP_E_CANCELLED && is_writable) {
        /* Serve what can be served: begin again, and change nothing. */
        add_note(loading, "the repair failed (%s), the volume is read only", reason.message);
        snprintf(volume->fault, sizeof(volume->fault), "the repair failed: %.100s", reason.message);
        atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_CORRUPT);
        needle_index_destroy(generation->index);
        generation->index = NULL;
        code = walk_index(loading, &verdict, err);
        if (code == 0)
            code = repair_index(loading, &verdict, false, err);
    } else if (code != 0) {
        return error_set(err, code, "%s", reason.message);
    }
    if (code == 0) /* what cannot be kept is loaded again the next time */
        volume_generation_keep_mark(generation, 0, NULL);
    if (code != 0 || verdict.needs_rebuild) /* that has seen all stamps */
        return code;
    return read_last_stamp(loading, &verdict.last, err);
}

/* A volume that an operator closed to writes needs no more than its sorted file. If that cannot be had, it
 * goes without. */
static void sort_index(struct loading *loading)
{
    struct volume *volume = loading->volume;
    struct error reason;
    unsigned read_only = atomic_load(&volume->read_only);
    const unsigned marks = VOLUME_RO_OPERATOR | VOLUME_RO_OPERATOR_CAN_DELETE;
    if ((read_only & marks) && !(read_only & ~marks) && loading->generation->is_marked &&
        volume_sort_index(volume, loading->generation, &reason) != 0)
        add_note(loading, "its sorted index cannot be had: %s", reason.message);
}

/* ---- all together ---- */

static int settle_identity(struct loading *loading, struct error *err)
{
    struct volume *volume = loading->volume;
    struct volume_generation *generation = loading->generation;
    volume->ttl = generation->super_block.ttl;
    struct replica_placement placement = generation->super_block.replica_placement;
    if (volume->info.replication[0] != '\0') {
        int code = replica_placement_parse(slice_cstr(volume->info.replication), &placement, err);
        if (code != 0)
            return code;
    }
    atomic_store(&volume->placement, replica_placement_to_byte(placement));
    volume->info.version = generation->version;
    if (volume->info.bytes_offset == 0)
        volume->info.bytes_offset = generation->offset_bytes;
    volume->last_append_at_ns = loading->newest_append_at_ns;
    atomic_store(&volume->shown_append_at_ns, loading->newest_append_at_ns);
    volume_swap_generation(volume, generation);
    loading->generation = NULL;
    if (!loading->is_info_missing)
        return 0;
    struct error reason;
    pthread_mutex_lock(&volume->state_lock);
    int code = volume_save_info(volume, &reason);
    pthread_mutex_unlock(&volume->state_lock);
    if (code != 0)
        add_note(loading, "the .vif could not be written: %s", reason.message);
    return 0;
}

/* A recovery may have moved the .idx: the names are settled anew. */
static int recover_vacuum(struct loading *loading, const struct volume_place *place,
                          struct error *err)
{
    struct volume *volume = loading->volume;
    bool is_decided = volume_file_exists(volume->os, path_of(loading, VOLUME_FILE_CPC));
    bool is_begun = volume_file_exists(volume->os, path_of(loading, VOLUME_FILE_CPD)) ||
                    volume_file_exists(volume->os, path_of(loading, VOLUME_FILE_CPX));
    int code = vacuum_recover_volume(volume->os, &volume->files, err);
    if (code != 0)
        return code;
    if (is_decided)
        add_note(loading, "a vacuum that was cut off in its commit was finished");
    else if (is_begun)
        add_note(loading, "a vacuum that was cut off before its commit was undone");
    volume_files_fini(&volume->files);
    return volume_files_init(&volume->files, volume->os, place->data_dir, place->index_dir,
                             volume->collection, volume->id, err);
}

/* A log that cannot be written is no reason not to serve; the caller still has the note. */
static void keep_note(struct loading *loading)
{
    struct error reason;
    if (loading->note.length > 0 &&
        repair_log_add(loading->volume->os, path_of(loading, VOLUME_FILE_REPAIR_LOG),
                       buffer_cstr(&loading->note), &reason) != 0)
        add_note(loading, "this could not be kept: %s", reason.message);
}

int volume_open(struct volume **ret, const struct volume_place *place, char **ret_note,
                struct error *err)
{
    struct loading loading = {.note = BUFFER_INIT};
    int code = volume_allocate(&loading.volume, place, err);
    if (code != 0)
        return code;
    code = recover_vacuum(&loading, place, err);
    if (code == 0)
        code = load_info(&loading, err);
    if (code == 0)
        code = open_files(&loading, err);
    if (code == 0) {
        loading.generation->is_stopping = place->is_stopping;
        code = load_index(&loading, err);
        loading.generation->is_stopping = NULL;
    }
    if (code == 0)
        sort_index(&loading);
    if (code == 0)
        code = settle_identity(&loading, err);
    if (code != 0) {
        volume_generation_unref(loading.generation);
        volume_release(loading.volume);
        buffer_fini(&loading.note);
        if (err)
            error_prefix(err, "volume %u", place->id);
        return code;
    }
    keep_note(&loading);
    if (ret_note)
        *ret_note = loading.note.length > 0 ? must(strdup(buffer_cstr(&loading.note))) : NULL;
    buffer_fini(&loading.note);
    *ret = loading.volume;
    return 0;
}
