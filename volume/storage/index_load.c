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
 *   walk. It is wrong when rows are missing or name a wrong place. A gap that is marked as such is a link
 *   to where the next row begins.
 *
 * A volume whose records outgrew what its rows can address (4-byte offsets past 32 GiB: they wrap) cannot
 * be judged this way, and is loaded as it is. */
#include "volume/storage/index_load.h"

#include "common/check.h"

#include <stdlib.h>

#define TAIL_ROWS 17u /* compared with the .dat; the first only says what stands before the second */

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
    uint64_t chain; /* the sum of mix(beginning) - mix(end) */
    uint64_t last_offset, last_end;
    bool is_after_gap;
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

/* The finalizer of splitmix64: different places, sums that differ. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void note_record(struct loader *loader, const struct needle_entry *entry)
{
    bool is_gap = index_row_is_gap(entry);
    uint64_t end = entry->offset;
    if (!is_gap)
        end += needle_record_size(loader->generation->version, entry->size);
    if (is_gap == loader->is_after_gap && entry->offset == loader->last_offset &&
        end == loader->last_end)
        return; /* a second row of one record: see index_repair.c */
    if (loader->is_after_gap)
        loader->chain -= mix(entry->offset);
    loader->chain += mix(entry->offset);
    if (!is_gap)
        loader->chain -= mix(end);
    loader->is_after_gap = is_gap;
    loader->last_offset = entry->offset;
    loader->last_end = end;
    if (end > loader->verdict.records_end) {
        loader->verdict.records_end = end;
        loader->verdict.last = *entry;
    }
}

static int load_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct loader *loader = ctx;
    struct volume_generation *generation = loader->generation;
    size_t tail_row = SIZE_MAX;
    if (position >= loader->tail_from)
        tail_row = (position - loader->tail_from) / index_row_size(generation->offset_bytes);
    if (!is_plausible(loader, entry) || (tail_row < TAIL_ROWS && loader->is_tail_bad[tail_row])) {
        loader->bad_at = loader->bad_at < position ? loader->bad_at : position;
        loader->verdict.bad_rows++;
        return 0;
    }
    if (loader->bad_at != UINT64_MAX)
        loader->verdict.needs_rebuild = true;
    loader->verdict.rows++;
    if (entry->offset != 0)
        note_record(loader, entry);
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
    loader.verdict.records_end = loader.first;
    int code = volume_generation_make_index(generation, end / row_size, &generation->index, err);
    if (code == 0 && !loader.is_wrapped)
        code = check_tail(&loader, &end);
    if (code == 0)
        code = index_file_walk(&generation->idx, 0, end, load_row, &loader, err);
    if (code != 0)
        return code;
    if (loader.is_after_gap) /* what followed it was lost: the repair of the tail looks there again */
        loader.chain -= mix(loader.last_offset);
    if (!loader.is_wrapped && loader.chain != mix(loader.first) - mix(loader.verdict.records_end))
        loader.verdict.needs_rebuild = true;
    if (has_foreign_tail_row(&loader))
        loader.verdict.needs_rebuild = true;
    if (loader.is_wrapped)
        loader.verdict.records_end = loader.dat_end;
    loader.verdict.good_end = loader.bad_at < end ? loader.bad_at : end;
    *ret = loader.verdict;
    return 0;
}
