/* Repairs of the .idx. See the header.
 *
 * Rows come from one scan of the .dat and go to a sink: appended to the .idx and put into the index in
 * memory. Each step may be cut off and begun again: rows are added before the .dat is cut, a new .idx
 * replaces the old one by a rename. */
#include "volume/storage/index_repair.h"

#include "common/check.h"
#include "volume/storage/dat_scan.h"
#include "volume/storage/index_old_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINK_ROWS 4096u

struct row_sink {
    struct needle_index *index;
    struct index_file *file; /* NULL: memory only */
    size_t count;
    uint8_t rows[SINK_ROWS * INDEX_ROW_MAX];
};

static int sink_flush(struct row_sink *sink, struct error *err)
{
    if (!sink->file || sink->count == 0)
        return 0;
    size_t size = sink->count * index_row_size(sink->file->offset_bytes);
    sink->count = 0;
    return index_file_append(sink->file, sink->rows, size, NULL, err);
}

static int sink_add(struct row_sink *sink, const struct needle_entry *entry, struct error *err)
{
    int code;
    if (index_row_is_put(entry))
        code = needle_index_put(sink->index, entry, NEEDLE_INDEX_LOAD, err);
    else
        code = needle_index_delete(sink->index, entry->key, NEEDLE_INDEX_LOAD, err);
    if (code != 0 || !sink->file)
        return code;
    index_row_store(sink->rows + sink->count++ * index_row_size(sink->file->offset_bytes), entry,
                    sink->file->offset_bytes);
    return sink->count == SINK_ROWS ? sink_flush(sink, err) : 0;
}

/* Marks bytes that hold no record. */
static int sink_add_gap(struct row_sink *sink, uint64_t offset, struct error *err)
{
    return sink_add(sink, &(struct needle_entry){0, offset, NEEDLE_TOMBSTONE}, err);
}

/* Cuts the torn rest off; in memory at least the logical end is set. */
static int cut_tail(struct volume_generation *generation, uint64_t end, bool is_writable,
                    struct error *err)
{
    int result = is_writable ? os_ftruncate(generation->os, generation->dat_fd, end) : 0;
    if (result >= 0)
        atomic_store(&generation->dat_end, end);
    if (result >= 0 && is_writable)
        result = os_fsync(generation->os, generation->dat_fd);
    if (result < 0)
        return error_set_errno(err, -result, "truncate %s to %llu",
                               atomic_load(&generation->dat_path), (unsigned long long)end);
    return 0;
}

/* ---- the tail ---- */

int index_repair_tail(struct volume_generation *generation, uint64_t offset, bool is_writable,
                      struct index_repair *ret, struct error *err)
{
    struct index_repair repair = {0};
    struct dat_scan *scan = NULL;
    struct row_sink *sink = calloc(1, sizeof(*sink));
    if (!sink)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to repair %s", generation->idx.path);
    sink->index = generation->index;
    sink->file = is_writable ? &generation->idx : NULL;
    uint64_t torn_at = UINT64_MAX;
    struct dat_item item = {.kind = DAT_GAP};
    int code = dat_scan_open(&scan, generation, offset, NULL, NULL, err);
    if (code == 0)
        code = needle_index_fill_begin(generation->index, 0, err);
    while (code == 0 && item.kind != DAT_END) {
        code = dat_scan_next(scan, &item, err);
        if (code != 0)
            break;
        if (item.kind == DAT_RECORD) {
            struct needle_entry entry = {item.header.key, item.offset, item.header.size};
            if (entry.size == 0 && !item.is_empty_put)
                entry.size = NEEDLE_TOMBSTONE;
            code = sink_add(sink, &entry, err);
            repair.records_added++;
            if (item.append_at_ns > repair.newest_append_at_ns && item.append_at_ns < INT64_MAX)
                repair.newest_append_at_ns = item.append_at_ns;
        } else if (item.kind == DAT_GAP && item.offset + item.length == volume_generation_end(generation)) {
            torn_at = item.offset;
            repair.bytes_cut = item.length;
        } else if (item.kind == DAT_GAP) {
            repair.bytes_skipped += item.length;
            code = sink_add_gap(sink, item.offset, err);
        }
    }
    if (code == 0)
        code = sink_flush(sink, err);
    if (code == 0)
        code = needle_index_fill_end(generation->index, err);
    if (code == 0 && is_writable && repair.records_added > 0)
        code = index_file_sync(&generation->idx, err);
    if (code == 0 && torn_at != UINT64_MAX)
        code = cut_tail(generation, torn_at, is_writable, err);
    dat_scan_close(scan);
    free(sink);
    if (code == 0 && !is_writable && repair.records_added > 0)
        generation->is_marked = false; /* the index knows more than the rows */
    if (code == 0)
        *ret = repair;
    return code;
}

/* ---- all of it ---- */

static bool is_known(void *ctx, uint64_t offset, const struct needle_header *header)
{
    const struct needle_entry *row = index_old_rows_find(ctx, offset, header->key);
    return row && row->size == header->size;
}

/* Rows that point into a gap between good records are kept: their records are damaged, and a read has to
 * say so instead of "not found". */
static int keep_rows_in_gap(struct volume_generation *generation, const struct index_old_rows *old,
                            const struct dat_item *gap, struct row_sink *sink,
                            uint64_t *ret_kept, struct error *err)
{
    uint64_t reached = gap->offset;
    for (size_t i = index_old_rows_from(old, reached); i < old->count; i++) {
        const struct needle_entry *row = &old->entries[i];
        if (row->offset >= gap->offset + gap->length)
            break;
        if (row->offset < reached || row->size < NEEDLE_TOMBSTONE || index_row_is_gap(row) ||
            row->offset + needle_record_size(generation->version, row->size) >
                gap->offset + gap->length)
            continue;
        int code = row->offset > reached ? sink_add_gap(sink, reached, err) : 0;
        if (code == 0)
            code = sink_add(sink, row, err);
        if (code != 0)
            return code;
        reached = row->offset + needle_record_size(generation->version, row->size);
        (*ret_kept)++;
    }
    return reached < gap->offset + gap->length ? sink_add_gap(sink, reached, err) : 0;
}

struct rebuild {
    struct volume_generation *generation;
    struct needle_index *old_index; /* what the old rows say */
    struct index_old_rows old;
    struct row_sink *sink;
    struct index_repair repair;
    uint64_t torn_at;
    uint64_t rows_kept;
};

enum who_is_right { BOTH_MAY_BE, RECORD_IS, ROW_IS };

/* The record says one key, its row another, and no checksum covers either. If the record's key has another
 * record, the two have the same cookie if this one is really of that key. If only the row's key has
 * another place, the row is taken to be wrong. If neither has, a row for each of the two keys does no
 * harm: the wrong one is of a key that nobody asks for. Where both rows are there already (own_row), an
 * earlier repair has come to that end. */
static int judge_keys(struct rebuild *rebuild, const struct dat_item *item,
                      const struct needle_entry *row, const struct needle_entry *own_row,
                      enum who_is_right *ret, struct error *err)
{
    struct needle_entry other;
    struct needle_header header;
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    int code = own_row ? KELP_E_NOT_FOUND
                       : needle_index_get(rebuild->old_index, item->header.key, &other, err);
    if (code == KELP_E_NOT_FOUND) {
        bool is_elsewhere = false;
        code = index_old_rows_is_elsewhere(&rebuild->old, row, &is_elsewhere, err);
        *ret = is_elsewhere ? RECORD_IS : BOTH_MAY_BE;
        return code;
    }
    if (code != 0)
        return code;
    *ret = ROW_IS;
    if (volume_generation_pread(rebuild->generation, bytes, sizeof(bytes), other.offset, false,
                                NULL) != 0)
        return 0;
    needle_header_load(bytes, &header);
    if (header.key == item->header.key && header.cookie == item->header.cookie)
        *ret = RECORD_IS;
    return 0;
}

/* Settles a quarrel about a record's key; two rows for one place tell the next start that it is settled.
 * *ret_is_done: the record's own key gets no row. */
static int rebuild_disputed(struct rebuild *rebuild, const struct dat_item *item,
                            const struct needle_entry *row, const struct needle_entry *own_row,
                            bool *ret_is_done, struct error *err)
{
    enum who_is_right right = BOTH_MAY_BE;
    int code = judge_keys(rebuild, item, row, own_row, &right, err);
    *ret_is_done = right == ROW_IS;
    if (code != 0 || right == RECORD_IS)
        return code;
    rebuild->rows_kept++;
    code = sink_add(rebuild->sink, row, err);
    if (code == 0 && right == ROW_IS)
        code = sink_add(rebuild->sink, row, err);
    return code;
}

static int rebuild_item(struct rebuild *rebuild, const struct dat_item *item, struct error *err)
{
    if (item->kind == DAT_RECORD) {
        const struct needle_entry *row = index_old_rows_find(&rebuild->old, item->offset, item->header.key);
        struct needle_entry entry = {item->header.key, item->offset, item->header.size};
        if (entry.size == 0 && !item->is_empty_put && !(row && row->size == 0))
            entry.size = NEEDLE_TOMBSTONE;
        const struct needle_entry *rival = index_old_rows_rival(&rebuild->old, item->offset, &item->header);
        if (rival) {
            bool is_done;
            int code = rebuild_disputed(rebuild, item, rival, row, &is_done, err);
            if (code != 0 || is_done)
                return code;
        }
        if (row && row->size == entry.size)
            rebuild->rows_kept++;
        else
            rebuild->repair.records_added++;
        if (item->append_at_ns > rebuild->repair.newest_append_at_ns &&
            item->append_at_ns < INT64_MAX)
            rebuild->repair.newest_append_at_ns = item->append_at_ns;
        return sink_add(rebuild->sink, &entry, err);
    }
    if (item->kind != DAT_GAP)
        return 0;
    if (item->offset + item->length == volume_generation_end(rebuild->generation)) {
        rebuild->torn_at = item->offset;
        rebuild->repair.bytes_cut = item->length;
        return 0;
    }
    rebuild->repair.bytes_skipped += item->length;
    return keep_rows_in_gap(rebuild->generation, &rebuild->old, item, rebuild->sink,
                            &rebuild->rows_kept, err);
}

static int rebuild_rows(struct rebuild *rebuild, struct error *err)
{
    struct volume_generation *generation = rebuild->generation;
    struct dat_scan *scan = NULL;
    struct dat_item item = {.kind = DAT_GAP};
    int code = dat_scan_open(&scan, generation, super_block_end(&generation->super_block), is_known,
                             &rebuild->old, err);
    while (code == 0 && item.kind != DAT_END) {
        code = dat_scan_next(scan, &item, err);
        if (code == 0)
            code = rebuild_item(rebuild, &item, err);
    }
    dat_scan_close(scan);
    /* Deletes that left no record (tiered volumes) hold if nothing was put after them. */
    for (size_t i = 0; code == 0 && i < rebuild->old.cut_count; i++) {
        struct needle_entry now;
        uint64_t key = rebuild->old.cut_deletes[i].key;
        code = needle_index_get(rebuild->old_index, key, &now, err);
        if (code == KELP_E_NOT_FOUND || (code == 0 && now.size < 0))
            code = sink_add(rebuild->sink, &rebuild->old.cut_deletes[i], err);
        rebuild->rows_kept++;
    }
    return code == 0 ? sink_flush(rebuild->sink, err) : code;
}

/* Puts the finished file in the place of the old .idx. */
static int replace_index(struct volume_generation *generation, struct index_file *made,
                         const char *temporary, struct error *err)
{
    struct os *os = generation->os;
    const char *path = generation->idx.path;
    int code = index_file_sync(made, err);
    if (code != 0)
        return code;
    int result = os_rename(os, temporary, path);
    if (result < 0)
        return error_set_errno(err, -result, "rename %s", temporary);
    char *directory = must(strdup(path));
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    code = os_sync_directory(os, slash ? directory : ".", err);
    free(directory);
    index_file_close(&generation->idx);
    generation->idx.fd = made->fd;
    atomic_store(&generation->idx.end, index_file_end(made));
    made->fd = -1;
    return code;
}

int index_repair_rebuild(struct volume_generation *generation, bool is_writable,
                         struct index_repair *ret, struct error *err)
{
    struct rebuild rebuild = {
        .generation = generation, .old_index = generation->index, .torn_at = UINT64_MAX};
    struct needle_index *fresh = NULL;
    struct index_file made = {.fd = -1};
    char *temporary = NULL;
    CHECK(asprintf(&temporary, "%s.tmp", generation->idx.path) >= 0);
    rebuild.sink = must(calloc(1, sizeof(*rebuild.sink)));
    int code = index_old_rows_load(&rebuild.old, &generation->idx, err);
    if (code == 0)
        code = volume_generation_make_index(generation, rebuild.old.count, &fresh, err);
    if (code == 0 && is_writable)
        code = index_file_open(&made, generation->os, temporary, O_RDWR | O_CREAT | O_TRUNC,
                               generation->offset_bytes, err);
    if (code == 0)
        code = needle_index_fill_begin(fresh, rebuild.old.count, err);
    if (code == 0) {
        rebuild.sink->index = fresh;
        rebuild.sink->file = is_writable ? &made : NULL;
        code = rebuild_rows(&rebuild, err);
    }
    if (code == 0)
        code = needle_index_fill_end(fresh, err);
    if (code == 0 && is_writable)
        code = replace_index(generation, &made, temporary, err);
    if (code == 0 && rebuild.torn_at != UINT64_MAX)
        code = cut_tail(generation, rebuild.torn_at, is_writable, err);
    if (code == 0) {
        uint64_t rows = rebuild.old.count + rebuild.old.cut_count;
        rebuild.repair.rows_dropped = rows > rebuild.rows_kept ? rows - rebuild.rows_kept : 0;
        generation->index = fresh;
        volume_generation_begin_mark(generation, is_writable);
        fresh = rebuild.old_index;
        *ret = rebuild.repair;
    } else if (is_writable) {
        os_unlink(generation->os, temporary);
    }
    index_file_close(&made);
    needle_index_destroy(fresh);
    free(rebuild.sink);
    index_old_rows_fini(&rebuild.old);
    free(temporary);
    return code;
}
