/* Converting an .idx between offset widths. See the header. */
#include "volume/storage/index_convert.h"

#include "common/check.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/index_swap.h"
#include "volume/storage/format/super_block.h"
#include "volume/storage/volume_generation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define SINK_ROWS 4096u

struct converter {
    struct volume_generation *generation; /* open with the old width */
    struct index_file made;               /* fd -1: nothing is written */
    uint8_t to;
    bool is_wrapped;
    struct index_convert_result result;
    size_t row_count;
    uint8_t rows[SINK_ROWS * INDEX_ROW_MAX];
    struct error *err;
};

static int flush(struct converter *c)
{
    size_t size = c->row_count * index_row_size(c->to);
    c->row_count = 0;
    return c->made.fd >= 0 && size > 0 ? index_file_append(&c->made, c->rows, size, NULL, c->err)
                                       : 0;
}

static bool is_record_of(struct converter *c, const struct needle_entry *row, uint64_t offset)
{
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    struct needle_header header;
    if (volume_generation_pread(c->generation, bytes, sizeof(bytes), offset, false, NULL) != 0)
        return false;
    needle_header_load(bytes, &header);
    return header.key == row->key && header.size == (row->size > 0 ? row->size : 0);
}

/* Where the .dat outgrew 4-byte offsets, the record's header tells which of two places a row means.
 */
static int resolve(struct converter *c, struct needle_entry *row)
{
    uint64_t limit = index_row_limit(c->generation->offset_bytes);
    if (row->offset == 0 || index_row_is_gap(row) || is_record_of(c, row, row->offset))
        return 0;
    for (uint64_t at = row->offset + limit; at < volume_generation_end(c->generation); at += limit)
        if (is_record_of(c, row, at)) {
            row->offset = at;
            c->result.resolved++;
            return 0;
        }
    return error_set(c->err, KELP_E_CORRUPT,
                     "the row of needle %" PRIx64 " at %" PRIu64
                     " names no record, and the .dat is larger "
                     "than 32 GiB: remove the .idx and rebuild it with kelp fix",
                     row->key, row->offset);
}

static int convert_row(void *ctx, const struct needle_entry *row, uint64_t position)
{
    struct converter *c = ctx;
    struct needle_entry entry = *row;
    int code = c->is_wrapped ? resolve(c, &entry) : 0;
    if (code != 0)
        return code;
    if (entry.offset >= index_row_limit(c->to))
        return error_set(c->err, KELP_E_TOO_LARGE,
                         "needle %" PRIx64 " lies at %" PRIu64
                         ", beyond the 32 GiB that 4-byte offsets "
                         "address; a vacuum may make the volume small enough",
                         entry.key, entry.offset);
    index_row_store(c->rows + c->row_count * index_row_size(c->to), &entry, c->to);
    c->result.rows++;
    return ++c->row_count == SINK_ROWS ? flush(c) : 0;
}

static int convert_rows(struct converter *c, const char *made, struct error *err)
{
    struct volume_generation *generation = c->generation;
    struct os_stat st;
    int result = os_fstat(generation->os, generation->idx.fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", generation->idx.path);
    if (st.size != index_file_end(&generation->idx))
        return error_set(err, KELP_E_CORRUPT,
                         "%s ends in a part of a row: kelp fix -apply comes first",
                         generation->idx.path);
    int code = 0;
    if (made)
        code =
            index_file_open(&c->made, generation->os, made, O_RDWR | O_CREAT | O_TRUNC, c->to, err);
    if (code == 0)
        code = index_file_walk(&generation->idx, 0, UINT64_MAX, convert_row, c, err);
    if (code == 0)
        code = flush(c);
    if (code == 0 && made)
        code = index_file_sync(&c->made, err);
    return code;
}

static int save_width(const struct volume_files *files, struct os *os,
                      const struct volume_info *info, uint32_t width, struct error *err)
{
    struct volume_info changed = *info; /* shares what it owns, for the length of this call */
    changed.bytes_offset = width;
    if (changed.version == 0)
        changed.version = NEEDLE_VERSION;
    return volume_info_file_save(os, volume_files_path(files, VOLUME_FILE_VIF), &changed, err);
}

static int put_in_place(const struct volume_files *files, struct os *os,
                        const struct volume_info *info, const struct converter *c, const char *made,
                        struct error *err)
{
    struct volume_info own = *info;
    own.version = c->generation->version;
    int code = 0;
    if (volume_file_exists(os, volume_files_path(files, VOLUME_FILE_VIF)))
        code = save_width(files, os, &own, 0, err);
    if (code == 0)
        code = index_swap(files, os, made, err);
    return code == 0 ? save_width(files, os, &own, c->to, err) : code;
}

static int check(const struct volume_files *files, struct os *os, const struct volume_info *info,
                 uint8_t from, uint8_t to, struct error *err)
{
    if (from == to)
        return error_set(err, KELP_E_EXISTS, "it has %u bytes of offset already", from);
    if (info->has_ec || volume_file_exists(os, volume_files_path(files, VOLUME_FILE_ECX)))
        return error_set(err, KELP_E_PRECONDITION,
                         "it is erasure-coded: its .ecx cannot be converted");
    return index_swap_check(files, os, err);
}

int index_convert(const struct volume_files *files, struct os *os, const struct volume_info *info,
                  uint8_t from, uint8_t to, bool is_applied, struct index_convert_result *ret,
                  struct error *err)
{
    const struct volume_generation_owner owner = {0};
    if (from == to && info->bytes_offset == 0 &&
        volume_file_exists(os, volume_files_path(files, VOLUME_FILE_VIF))) {
        *ret = (struct index_convert_result){0}; /* cut off before the last step, or never said */
        return is_applied ? save_width(files, os, info, to, err) : 0;
    }
    int code = check(files, os, info, from, to, err);
    if (code != 0)
        return code;
    struct converter *c = must(calloc(1, sizeof(*c)));
    char *made = index_swap_made_path(files);
    c->to = to;
    c->err = err;
    c->made.fd = -1;
    code = volume_generation_open(&c->generation, os, &owner,
                                  volume_files_path(files, VOLUME_FILE_DAT),
                                  volume_files_path(files, VOLUME_FILE_IDX), false, from, err);
    if (code == 0) {
        c->is_wrapped = volume_generation_end(c->generation) > index_row_limit(from);
        code = convert_rows(c, is_applied ? made : NULL, err);
    }
    bool has_file = c->made.fd >= 0;
    index_file_close(&c->made);
    if (code == 0 && is_applied)
        code = put_in_place(files, os, info, c, made, err);
    if (code != 0 && has_file)
        os_unlink(os, made);
    if (code == 0)
        *ret = c->result;
    volume_generation_unref(c->generation);
    free(made);
    free(c);
    return code;
}
