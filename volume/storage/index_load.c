/* One walk over the rows fills the index and collects the evidence:
 *
 * - Each row has to lie within the .dat. The last rows, which a crash can have left without their
 *   records, are compared with the headers of these records. Those at the very end that do not agree,
 *   however many, are of writes that were lost, or were lost themselves: pages of an .idx that did not
 *   reach the disk read as zeros, and the row at their edge as a shorter one. Further up, a header that
 *   makes no sense means a damaged record, whose row is right if the places below are. A good header of
 *   another key has to be looked into, unless that was done before: then a second row for its place
 *   stands beside it (index_repair.c).
 * - Records are written without gaps, and each gets a row. So, in whatever order the rows stand, they are
 *   the links of one chain from the first record to the end of the last: each place is as often a
 *   beginning as an end. The sum over hashes of all beginnings, less those of all ends, shows it in one
 *   walk (index_walk.h). It is wrong when rows are missing or name a wrong place. A gap that is marked as
 *   such is a link to where the next row begins.
 *
 * An index that was kept with a mark knows the rows up to it, and the mark what the walk had seen there.
 * If the mark holds, the walk goes on behind it and comes to the same judgement; the last rows are compared
 * in any case. If it does not, or one of the last rows that it vouches for is bad, the walk begins at the
 * first row, with an empty index.
 *
 * A volume whose records outgrew what its rows can address (4-byte offsets past 32 GiB: they wrap) cannot
 * be judged this way, and is loaded as it is. */
#include "volume/storage/index_load.h"

#include "common/check.h"
#include "volume/storage/index_checkpoint.h"

#include <stdlib.h>

#define TAIL_ROWS 17u /* compared with the .dat; the first only says what stands before the second */
#define ROWS_TO_A_CHECK 4096u /* whether the load is still wanted */

struct loader {
    struct volume_generation *generation;
    uint64_t first, dat_end;
    bool is_wrapped;
    uint64_t tail_from;         /* position of the first row that is compared */
    struct needle_entry tail[TAIL_ROWS];
    uint64_t tail_header_key[TAIL_ROWS]; /* what the record says; only where it is not the row's */
    bool is_tail_bad[TAIL_ROWS];
    size_t tail_count;
    uint64_t bad_at; /* position of the first bad row; UINT64_MAX */
    struct index_walk walk;
    struct index_verdict verdict;
    struct error *err;
};

static bool is_plausible(const struct loader *loader, const struct needle_entry *entry)
{
    if (entry->size < NEEDLE_TOMBSTONE)
        return false;
    if (entry->offset == 0) /* else zeros, or the torn row before them, would delete some key */
        return entry->size == NEEDLE_TOMBSTONE;
    if (loader->is_wrapped)
        return true;
    return entry->offset >= loader->first &&
           entry->offset + needle_record_size(loader->generation->version, entry->size) <=
               loader->dat_end;
}

static int load_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct loader *loader = ctx;
    struct volume_generation *generation = loader->generation;
    size_t tail_row = SIZE_MAX;
    if (loader->walk.rows % ROWS_TO_A_CHECK == 0) {
        int code = volume_generation_check_stop(generation, loader->err);
        if (code != 0)
            return code;
    }
    if (position >= loader->tail_from)
        tail_row = (position - loader->tail_from) / index_row_size(generation->offset_bytes);
    if (!is_plausible(loader, entry) || (tail_row < TAIL_ROWS && loader->is_tail_bad[tail_row])) {
        loader->bad_at = loader->bad_at < position ? loader->bad_at : position;
        loader->verdict.bad_rows++;
        return 0;
    }
    if (loader->bad_at != UINT64_MAX)
        loader->verdict.needs_rebuild = true;
    loader->verdict.replayed++;
    index_walk_row(&loader->walk, entry, generation->version, generation->offset_bytes);
    if (index_row_is_put(entry))
        return needle_index_put(generation->index, entry, NEEDLE_INDEX_LOAD, loader->err);
    return needle_index_delete(generation->index, entry->key, NEEDLE_INDEX_LOAD, loader->err);
}

/* Compares one of the last rows with its record's header. A good row takes back the marks of those before
 * it: they are not of lost writes. */
static int check_tail_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct loader *loader = ctx;
    size_t row = (position - loader->tail_from) / index_row_size(loader->generation->offset_bytes);
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    struct needle_header header;
    if (row >= TAIL_ROWS)
        return 0;
    loader->tail[row] = *entry;
    loader->tail_header_key[row] = entry->key;
    loader->tail_count = row + 1;
    loader->is_tail_bad[row] = !is_plausible(loader, entry);
    if (loader->is_tail_bad[row] || entry->offset == 0 || index_row_is_gap(entry))
        return 0;
    int code = volume_generation_pread(loader->generation, bytes, sizeof(bytes), entry->offset, false,
                                       loader->err);
    if (code != 0)
        return code == KELP_E_CORRUPT ? 0 : code;
    needle_header_load(bytes, &header);
    loader->is_tail_bad[row] = header.size != (entry->size > 0 ? entry->size : 0) ||
                               (header.key == 0 && entry->key != 0);
    if (loader->is_tail_bad[row])
        return 0;
    loader->tail_header_key[row] = header.key;
    memset(loader->is_tail_bad, 0, row * sizeof(loader->is_tail_bad[0]));
    return 0;
}

/* Compares the last rows before `*end`, and as long as all of them are bad, those before them: *end then
 * lies behind a row that is not. The first row of a piece is left for the next one. */
static int check_tail(struct loader *loader, uint64_t *end)
{
    size_t row_size = index_row_size(loader->generation->offset_bytes);
    for (;;) {
        loader->tail_from = *end > TAIL_ROWS * row_size ? *end - TAIL_ROWS * row_size : 0;
        loader->tail_count = 0;
        memset(loader->is_tail_bad, 0, sizeof(loader->is_tail_bad));
        int code = index_file_walk(&loader->generation->idx, loader->tail_from, *end, check_tail_row,
                                   loader, loader->err);
        if (code != 0 || loader->tail_from == 0)
            return code;
        for (size_t i = 1; i < loader->tail_count; i++)
            if (!loader->is_tail_bad[i])
                return 0;
        loader->verdict.bad_rows += TAIL_ROWS - 1;
        *end -= (TAIL_ROWS - 1) * row_size;
    }
}

/* Whether one of the last rows names a record of another key, and has not been settled. */
static bool has_foreign_tail_row(const struct loader *loader)
{
    for (size_t i = loader->tail_from > 0; i < loader->tail_count; i++) {
        uint64_t offset = loader->tail[i].offset;
        if (loader->tail_header_key[i] != loader->tail[i].key &&
            (i == 0 || loader->tail[i - 1].offset != offset) &&
            (i + 1 == loader->tail_count || loader->tail[i + 1].offset != offset))
            return true;
    }
    return false;
}

/* Position of the first of the last rows that is bad; *end when none is. */
static uint64_t first_bad_tail_row(const struct loader *loader, uint64_t end)
{
    if (loader->tail_from == UINT64_MAX) /* none was compared */
        return end;
    size_t row_size = index_row_size(loader->generation->offset_bytes);
    for (size_t i = loader->tail_from > 0; i < loader->tail_count; i++)
        if (loader->is_tail_bad[i])
            return loader->tail_from + i * row_size;
    return end;
}

/* Takes up the checkpoint of a memory index, if there is one that holds. */
static int take_checkpoint(struct loader *loader, uint64_t limit, struct error *err)
{
    struct volume_generation *generation = loader->generation;
    struct needle_index *index;
    struct error reason;
    int code = index_checkpoint_read(generation, limit, &index, &generation->mark, &reason);
    if (code == 0) {
        needle_index_destroy(generation->index);
        generation->index = index;
        generation->checkpoint_end = generation->mark.walk.idx_length;
        loader->walk = generation->mark.walk;
    } else if (code == KELP_E_CORRUPT && generation->is_writable) {
        index_checkpoint_remove(generation, &reason);
    }
    return code == KELP_E_NO_MEMORY ? error_set(err, code, "%s", reason.message) : 0;
}

/* Where the walk begins: behind the rows that the index knows, if it was kept and its mark holds. */
static int begin_walk(struct loader *loader, uint64_t end, struct error *err)
{
    struct volume_generation *generation = loader->generation;
    struct index_mark_place place;
    struct index_mark mark;
    struct error reason;
    uint64_t limit = first_bad_tail_row(loader, end);
    index_walk_begin(&loader->walk, loader->first);
    if (!generation->index_store)
        return take_checkpoint(loader, limit, err);
    if (!needle_index_is_kept(generation->index))
        return 0;
    volume_generation_mark_place(generation, &place);
    int code = needle_index_recall(generation->index, &mark, &reason);
    if (code == 0 && mark.walk.idx_length > limit)
        code = KELP_E_CORRUPT;
    if (code == 0)
        code = index_mark_check(&mark, &place, &reason);
    if (code != 0)
        return needle_index_clear(generation->index, err);
    loader->walk = mark.walk;
    generation->mark = mark;
    return 0;
}

/* Reads the rows from there on into the index. */
static int walk_rows(struct loader *loader, uint64_t end, struct error *err)
{
    struct volume_generation *generation = loader->generation;
    uint64_t from = loader->walk.idx_length;
    if (from >= end)
        return 0;
    int code = needle_index_fill_begin(generation->index,
                                       (end - from) / index_row_size(generation->offset_bytes), err);
    if (code == 0)
        code = index_file_walk(&generation->idx, from, end, load_row, loader, err);
    return code == 0 ? needle_index_fill_end(generation->index, err) : code;
}

static void judge(struct loader *loader, uint64_t end)
{
    struct index_verdict *verdict = &loader->verdict;
    verdict->rows = loader->walk.rows;
    verdict->records_end = loader->is_wrapped ? loader->dat_end : loader->walk.records_end;
    verdict->last = loader->walk.last;
    verdict->good_end = loader->bad_at < end ? loader->bad_at : end;
    if ((!loader->is_wrapped && !index_walk_is_whole(&loader->walk)) || has_foreign_tail_row(loader))
        verdict->needs_rebuild = true;
}

int index_load(struct volume_generation *generation, struct index_verdict *ret, struct error *err)
{
    CHECK(!generation->index);
    size_t row_size = index_row_size(generation->offset_bytes);
    uint64_t end = index_file_end(&generation->idx);
    struct loader loader = {
        .generation = generation,
        .first = super_block_end(&generation->super_block),
        .dat_end = volume_generation_end(generation),
        .tail_from = UINT64_MAX,
        .bad_at = UINT64_MAX,
        .err = err,
    };
    loader.is_wrapped = loader.dat_end > index_row_limit(generation->offset_bytes);
    volume_generation_begin_mark(generation, false);
    int code = volume_generation_make_index(generation, end / row_size, &generation->index, err);
    if (code == 0 && !loader.is_wrapped)
        code = check_tail(&loader, &end);
    if (code == 0)
        code = begin_walk(&loader, end, err);
    if (code == 0)
        code = walk_rows(&loader, end, err);
    if (code != 0)
        return code;
    judge(&loader, end);
    generation->mark.walk = loader.walk;
    /* Where rows are left out or will be cut, the next walk shall see the file as it is then. */
    generation->is_marked = generation->is_writable && !loader.verdict.needs_rebuild &&
                            loader.verdict.bad_rows == 0;
    *ret = loader.verdict;
    return 0;
}
