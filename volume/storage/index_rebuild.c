/* Making an .idx anew. See the header. The scan of the .dat and the old rows, in order of their
 * offsets, are walked side by side. */
#include "volume/storage/index_rebuild.h"

#include "common/check.h"
#include "volume/storage/dat_scan.h"
#include "volume/storage/index_order.h"

#include <stdlib.h>

#define SINK_ROWS      4096u
#define PROGRESS_BYTES (4u << 20)

struct rebuilder {
    struct volume_generation *generation;
    const struct index_rebuild_options *options;
    struct index_rebuild_result *result;
    struct index_order *old;
    const struct needle_entry *old_row; /* the next one; NULL at the end */
    struct needle_index *live;          /* of is_live_only, else NULL */
    struct index_file file;             /* fd -1: nothing is written */
    uint64_t written;                   /* bytes of rows so far */
    bool is_same;                       /* as the old .idx, so far */
    uint64_t reported;
    size_t row_count;
    uint8_t rows[SINK_ROWS * INDEX_ROW_MAX], old_rows[SINK_ROWS * INDEX_ROW_MAX];
};

/* ---- rows out ---- */

static int flush(struct rebuilder *r, struct error *err)
{
    struct index_file *old = &r->generation->idx;
    size_t size = r->row_count * index_row_size(old->offset_bytes);
    if (r->is_same && size > 0)
        r->is_same =
            r->written + size <= index_file_end(old) &&
            os_read_full(old->os, old->fd, old->path, r->old_rows, size, r->written, NULL) == 0 &&
            memcmp(r->rows, r->old_rows, size) == 0;
    r->written += size;
    r->row_count = 0;
    return r->file.fd >= 0 && size > 0 ? index_file_append(&r->file, r->rows, size, NULL, err) : 0;
}

static int write_row(struct rebuilder *r, const struct needle_entry *row, struct error *err)
{
    uint8_t offset_bytes = r->generation->offset_bytes;
    index_row_store(r->rows + r->row_count * index_row_size(offset_bytes), row, offset_bytes);
    if (index_row_is_put(row))
        r->result->puts++;
    else if (!index_row_is_gap(row))
        r->result->deletes++;
    return ++r->row_count == SINK_ROWS ? flush(r, err) : 0;
}

static int add_row(struct rebuilder *r, const struct needle_entry *row, struct error *err)
{
    if (!r->live)
        return write_row(r, row, err);
    if (index_row_is_put(row))
        return needle_index_put(r->live, row, NEEDLE_INDEX_LOAD, err);
    return index_row_is_gap(row) ? 0
                                 : needle_index_delete(r->live, row->key, NEEDLE_INDEX_LOAD, err);
}

static int write_live(struct rebuilder *r, struct error *err)
{
    struct needle_cursor *cursor;
    const struct needle_entry *rows;
    size_t count = 1;
    int code = needle_cursor_open(r->live, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, &cursor, err);
    if (code != 0)
        return code;
    while (code == 0 && count > 0) {
        code = needle_cursor_next(cursor, &rows, &count, err);
        for (size_t i = 0; code == 0 && i < count; i++)
            code = write_row(r, &rows[i], err);
    }
    needle_cursor_close(cursor);
    return code;
}

/* ---- what the old .idx knows ---- */

/* Moves on to the first old row at or behind the offset. */
static int skip_old(struct rebuilder *r, uint64_t offset, struct error *err)
{
    int code = 0;
    while (code == 0 && r->old_row && r->old_row->offset < offset)
        code = index_order_next(r->old, &r->old_row, err);
    return code;
}

static int knows_as_empty_needle(struct rebuilder *r, const struct dat_item *item, bool *ret,
                                 struct error *err)
{
    *ret = false;
    int code = skip_old(r, item->offset, err);
    while (code == 0 && r->old_row && r->old_row->offset == item->offset) {
        *ret = *ret || (r->old_row->key == item->header.key && r->old_row->size == 0);
        code = index_order_next(r->old, &r->old_row, err);
    }
    return code;
}

static bool header_at(struct rebuilder *r, uint64_t offset, struct needle_header *ret)
{
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    if (volume_generation_pread(r->generation, bytes, sizeof(bytes), offset, false, NULL) != 0)
        return false;
    needle_header_load(bytes, ret);
    return true;
}

static int add_gap(struct rebuilder *r, uint64_t from, uint64_t to, bool is_tail, struct error *err)
{
    if (from == to || is_tail)
        return 0;
    r->result->gap_bytes += to - from;
    return add_row(r, &(struct needle_entry){0, from, NEEDLE_TOMBSTONE}, err);
}

/* The old rows that lie within the gap. In a torn tail those only whose headers are there. */
static int add_old_rows(struct rebuilder *r, const struct dat_item *gap, bool is_tail,
                        struct error *err)
{
    uint64_t reached = gap->offset, end = gap->offset + gap->length;
    int code = skip_old(r, gap->offset, err);
    for (; code == 0 && r->old_row && r->old_row->offset < end;
         code = index_order_next(r->old, &r->old_row, err)) {
        const struct needle_entry row = *r->old_row;
        uint64_t row_end = row.offset + needle_record_size(r->generation->version, row.size);
        struct needle_header header;
        if (row.offset < reached || row.size < NEEDLE_TOMBSTONE || index_row_is_gap(&row) ||
            row_end > end)
            continue;
        if (is_tail && (!header_at(r, row.offset, &header) || header.key != row.key ||
                        header.size != (row.size > 0 ? row.size : 0)))
            continue;
        code = add_gap(r, reached, row.offset, false, err);
        if (code == 0)
            code = add_row(r, &row, err);
        if (code != 0)
            return code;
        r->result->damaged_kept++;
        reached = row_end;
    }
    if (is_tail)
        r->result->torn_bytes = end - reached;
    return code == 0 ? add_gap(r, reached, end, is_tail, err) : code;
}

/* Whether headers lead from the gap's beginning exactly to its end: records with damaged bodies. */
static bool is_framed(struct rebuilder *r, const struct dat_item *gap)
{
    uint64_t at = gap->offset, end = gap->offset + gap->length;
    struct needle_header header;
    while (at < end) {
        if (!header_at(r, at, &header) || header.size <= 0 || header.key == 0)
            return false;
        at += needle_record_size(r->generation->version, header.size);
    }
    return at == end;
}

static int add_framed(struct rebuilder *r, const struct dat_item *gap, struct error *err)
{
    uint64_t at = gap->offset, end = gap->offset + gap->length;
    struct needle_header header;
    int code = 0;
    while (code == 0 && at < end && header_at(r, at, &header)) {
        code = add_row(r, &(struct needle_entry){header.key, at, header.size}, err);
        at += needle_record_size(r->generation->version, header.size);
        r->result->damaged_kept++;
    }
    return code;
}

/* ---- the whole ---- */

static int add_item(struct rebuilder *r, const struct dat_item *item, struct error *err)
{
    if (item->kind == DAT_GAP) {
        bool is_tail = item->offset + item->length == volume_generation_end(r->generation);
        return !is_tail && is_framed(r, item) ? add_framed(r, item, err)
                                              : add_old_rows(r, item, is_tail, err);
    }
    struct needle_entry row = {item->header.key, item->offset, item->header.size};
    bool is_empty_needle = false;
    if (row.size == 0) {
        int code = knows_as_empty_needle(r, item, &is_empty_needle, err);
        if (code != 0)
            return code;
        r->result->empty_needles += is_empty_needle;
        row.size = is_empty_needle ? 0 : NEEDLE_TOMBSTONE;
    }
    return add_row(r, &row, err);
}

static int walk(struct rebuilder *r, struct error *err)
{
    struct volume_generation *generation = r->generation;
    struct dat_scan *scan = NULL;
    struct dat_item item = {.kind = DAT_GAP};
    int code = dat_scan_open(&scan, generation, super_block_end(&generation->super_block), NULL,
                             NULL, err);
    while (code == 0) {
        code = dat_scan_next(scan, &item, err);
        if (code != 0 || item.kind == DAT_END)
            break;
        code = add_item(r, &item, err);
        if (code == 0 && item.offset - r->reported > PROGRESS_BYTES && r->options->on_progress) {
            r->reported = item.offset;
            if (r->options->on_progress(r->options->ctx, item.offset,
                                        volume_generation_end(generation)) != 0)
                code = error_set(err, KELP_E_CANCELLED, "cancelled");
        }
    }
    dat_scan_close(scan);
    if (code == 0 && r->live)
        code = write_live(r, err);
    return code == 0 ? flush(r, err) : code;
}

static int prepare(struct rebuilder *r, const char *path, struct error *err)
{
    struct volume_generation *generation = r->generation;
    uint64_t end = volume_generation_end(generation);
    int code = 0;
    if (end > index_row_limit(generation->offset_bytes))
        return error_set(err, KELP_E_TOO_LARGE,
                         "%s has %llu bytes, more than rows with %u bytes of offset can address: "
                         "kelp convert -offsetBytes=5 comes first",
                         atomic_load(&generation->dat_path), (unsigned long long)end,
                         generation->offset_bytes);
    if (path)
        code = index_file_open(&r->file, generation->os, path, O_RDWR | O_CREAT | O_TRUNC,
                               generation->offset_bytes, err);
    if (code == 0 && r->options->is_live_only)
        code = volume_generation_make_index(generation, 0, &r->live, err);
    if (code == 0)
        code = index_order_open(&r->old, &generation->idx, index_file_end(&generation->idx),
                                super_block_end(&generation->super_block), end, NULL, NULL, err);
    if (code == 0)
        code = index_order_next(r->old, &r->old_row, err);
    return code;
}

int index_rebuild(struct volume_generation *generation, const char *path,
                  const struct index_rebuild_options *options, struct index_rebuild_result *ret,
                  struct error *err)
{
    struct rebuilder *r = must(calloc(1, sizeof(*r)));
    struct index_rebuild_result result = {0};
    struct os_stat st;
    r->generation = generation;
    r->options = options;
    r->result = &result;
    r->file.fd = -1;
    r->is_same = true;
    int code = prepare(r, path, err);
    if (code == 0)
        code = walk(r, err);
    if (code == 0 && path)
        code = index_file_sync(&r->file, err);
    if (code == 0) {
        result.is_unchanged = r->is_same &&
                              os_fstat(generation->os, generation->idx.fd, &st) >= 0 &&
                              st.size == r->written;
        *ret = result;
    }
    bool has_file = r->file.fd >= 0;
    index_file_close(&r->file);
    if (code != 0 && has_file)
        os_unlink(generation->os, path);
    index_order_close(r->old);
    needle_index_destroy(r->live);
    free(r);
    return code;
}
