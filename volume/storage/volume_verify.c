/* Verifying a volume. See the header.
 *
 * The rows, in order of their offsets, are laid along the .dat: each record is checked against its
 * row, a row that begins before the last one's end overlaps, and what lies between two rows
 * belongs to nobody, unless it is a record that lost its row or is marked as a gap. No search for
 * records where none begins: the time stays proportional to the file, whatever is in it.
 *
 * Where the .dat outgrew what its rows can address (4-byte offsets wrap at 32 GiB) places cannot
 * be compared, and each row is checked on its own. */
#include "volume/storage/volume_verify.h"

#include "common/check.h"
#include "volume/storage/index_order.h"
#include "volume/storage/record_check.h"

#include <inttypes.h>

#define PROGRESS_BYTES (4u << 20)
#define PROGRESS_ROWS  65536u

struct verify {
    struct volume_generation *generation;
    const struct volume_verify_options *options;
    struct volume_verify_result *result;
    struct record_checker *checker;
    uint64_t first, dat_end; /* where records may lie */
    bool is_wrapped;
    bool is_cancelled;

    uint64_t at;              /* the end of what has been looked at */
    bool is_after_gap;        /* what lies from `at` on is marked as no record */
    uint64_t row;             /* the number of the next row in order */
    struct needle_entry last; /* the row before */
    uint64_t last_length;
    uint64_t idx_done, reported_done;
};

static const struct {
    const char *name, *advice;
} kinds[VOLUME_PROBLEM_KIND_COUNT] = {
    [VOLUME_PROBLEM_NO_INDEX] = {"no-index", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_PARTIAL_ROW] = {"partial-row", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_ROW] = {"row", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_OVERLAP] = {"overlap", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_UNREADABLE] = {"unreadable",
                                   "look at the disk; fetch the needle from a replica"},
    [VOLUME_PROBLEM_HEADER] = {"header", "fetch the needle from a replica, or kelp fix -apply"},
    [VOLUME_PROBLEM_KEY] = {"key", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_BODY] = {"body", "fetch the needle from a replica"},
    [VOLUME_PROBLEM_CRC] = {"crc", "fetch the needle from a replica"},
    [VOLUME_PROBLEM_NO_ROW] = {"no-row", "rebuild the .idx: kelp fix -apply"},
    [VOLUME_PROBLEM_GAP] = {"gap", "a replica may have what was here; a vacuum drops the bytes"},
    [VOLUME_PROBLEM_TAIL_RECORDS] = {"tail-records", "nothing: the next start adds their rows"},
    [VOLUME_PROBLEM_TAIL_TORN] = {"tail-torn", "nothing: the next start cuts them off"},
};

const char *volume_problem_name(enum volume_problem_kind kind)
{
    return kind < VOLUME_PROBLEM_KIND_COUNT ? kinds[kind].name : "unknown";
}

const char *volume_problem_advice(enum volume_problem_kind kind)
{
    return kind < VOLUME_PROBLEM_KIND_COUNT ? kinds[kind].advice : "";
}

static uint64_t length_of(const struct verify *v, int32_t size)
{
    return needle_record_size(v->generation->version, size);
}

static int cancelled(struct verify *v)
{
    v->is_cancelled = true;
    return KELP_E_CANCELLED;
}

static int report_progress(struct verify *v)
{
    uint64_t done = v->idx_done + (v->options->is_index_only ? 0 : v->at);
    uint64_t total = v->result->idx_bytes + (v->options->is_index_only ? 0 : v->result->dat_bytes);
    v->reported_done = done;
    if (v->options->on_progress && v->options->on_progress(v->options->ctx, done, total) != 0)
        return cancelled(v);
    return 0;
}

static bool is_live(struct verify *v, uint64_t key, uint64_t offset)
{
    struct needle_entry now;
    return v->generation->index && offset != 0 &&
           needle_index_get(v->generation->index, key, &now, NULL) == 0 && now.size >= 0 &&
           now.offset == offset;
}

static int report(struct verify *v, struct volume_problem *problem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int report(struct verify *v, struct volume_problem *problem, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(problem->detail, sizeof(problem->detail), fmt, args);
    va_end(args);
    v->result->problems[problem->kind]++;
    if (volume_problem_is_damage(problem->kind)) {
        v->result->damage_count++;
        v->result->damaged_live_count += problem->is_live;
    }
    if (v->options->on_problem && v->options->on_problem(v->options->ctx, problem) != 0)
        return cancelled(v);
    return 0;
}

/* ---- rows by themselves, in file order ---- */

static bool is_good_row(const struct verify *v, const struct needle_entry *row)
{
    if (row->size < NEEDLE_TOMBSTONE)
        return false;
    if (row->offset == 0)
        return row->size == NEEDLE_TOMBSTONE; /* a delete in a tiered volume */
    if (v->is_wrapped)
        return true;
    return row->offset >= v->first && row->offset + length_of(v, row->size) <= v->dat_end;
}

static int visit_row(void *ctx, const struct needle_entry *row, uint64_t position)
{
    struct verify *v = ctx;
    v->result->rows++;
    if (index_row_is_put(row))
        v->result->puts++;
    else
        v->result->deletes++;
    if (v->result->rows % PROGRESS_ROWS == 0) {
        v->idx_done = position;
        if (report_progress(v) != 0)
            return KELP_E_CANCELLED;
    }
    /* A gap's place is all that counts; it may be the end of the .dat, where a torn rest was cut.
     */
    if (is_good_row(v, row) || (index_row_is_gap(row) && row->offset <= v->dat_end))
        return 0;
    struct volume_problem problem = {.kind = VOLUME_PROBLEM_ROW,
                                     .is_live = is_live(v, row->key, row->offset),
                                     .key = row->key,
                                     .size = row->size,
                                     .offset = row->offset,
                                     .length = length_of(v, row->size),
                                     .row = v->result->rows - 1};
    const char *why = "a row that nobody writes";
    if (row->size >= NEEDLE_TOMBSTONE && row->offset != 0)
        why = row->offset < v->first ? "the row points into the super block"
                                     : "the row points past the end of the .dat";
    return report(v, &problem, "row %" PRIu64 " of the .idx: %s", v->result->rows - 1, why);
}

/* ---- along the .dat ---- */

/* Whether a record without a row is none that a read could miss: an index made from the .dat by
 * the peer has rows for the last put and the last delete of a key only. */
static bool is_superseded(struct verify *v, const struct record_report *record, uint64_t offset)
{
    struct needle_entry now;
    if (!v->generation->index)
        return false;
    int code = needle_index_get(v->generation->index, record->header.key, &now, NULL);
    if (code == 0)
        return now.offset > offset || (record->header.size == 0 && now.size < 0);
    return code == KELP_E_NOT_FOUND && record->header.size == 0;
}

/* Whole records from v->at on, below `to`, one by one; *ret_count of them. */
static int walk_unnamed(struct verify *v, uint64_t to, bool is_tail, uint64_t *ret_count)
{
    struct record_report found;
    *ret_count = 0;
    while (v->at < to && record_check_any(v->checker, v->at, &found)) {
        uint64_t length = length_of(v, found.header.size);
        if (v->at + length > to)
            break;
        v->result->records++;
        v->result->record_bytes += length;
        struct volume_problem problem = {.kind = VOLUME_PROBLEM_NO_ROW,
                                         .key = found.header.key,
                                         .size = found.header.size,
                                         .offset = v->at,
                                         .length = length,
                                         .row = v->row};
        int code = 0;
        if (!is_tail && !is_superseded(v, &found, v->at))
            code = report(v, &problem, "a whole record that the .idx does not know");
        if (code == 0 && v->at - v->reported_done > PROGRESS_BYTES)
            code = report_progress(v);
        if (code != 0)
            return code;
        v->at += length;
        (*ret_count)++;
    }
    return 0;
}

/* [v->at, to) has no row. */
static int check_unnamed(struct verify *v, uint64_t to)
{
    uint64_t count;
    bool is_marked = v->is_after_gap;
    v->is_after_gap = false;
    if (is_marked || v->options->is_index_only || v->is_wrapped) {
        v->at = to;
        return 0;
    }
    int code = walk_unnamed(v, to, false, &count);
    if (code != 0 || v->at >= to)
        return code;
    struct volume_problem problem = {
        .kind = VOLUME_PROBLEM_GAP, .offset = v->at, .length = to - v->at, .row = v->row};
    v->at = to;
    return report(v, &problem, "%" PRIu64 " bytes between records that are no record",
                  problem.length);
}

static int check_tail(struct verify *v)
{
    uint64_t count, from = v->at;
    /* What a gap at the end marks is looked at again by the next start. */
    if (v->options->is_in_use || v->options->is_index_only || v->is_wrapped || v->at >= v->dat_end)
        return 0;
    int code = walk_unnamed(v, v->dat_end, true, &count);
    struct volume_problem problem = {
        .kind = VOLUME_PROBLEM_TAIL_RECORDS, .offset = from, .length = v->at - from, .row = count};
    if (code == 0 && count > 0)
        code = report(v, &problem, "%" PRIu64 " whole records after the last row", count);
    if (code != 0 || v->at >= v->dat_end)
        return code;
    problem = (struct volume_problem){
        .kind = VOLUME_PROBLEM_TAIL_TORN, .offset = v->at, .length = v->dat_end - v->at};
    return report(v, &problem, "%" PRIu64 " bytes at the end that are no record", problem.length);
}

static enum volume_problem_kind kind_of(enum record_fault fault)
{
    switch (fault) {
    case RECORD_BAD_HEADER:
        return VOLUME_PROBLEM_HEADER;
    case RECORD_BAD_KEY:
        return VOLUME_PROBLEM_KEY;
    case RECORD_BAD_BODY:
        return VOLUME_PROBLEM_BODY;
    case RECORD_BAD_CRC:
        return VOLUME_PROBLEM_CRC;
    case RECORD_UNREADABLE:
    case RECORD_GOOD:
        break;
    }
    return VOLUME_PROBLEM_UNREADABLE;
}

static int check_record(struct verify *v, const struct needle_entry *row)
{
    struct record_report found;
    struct needle_entry there = *row;
    uint64_t length = length_of(v, row->size);
    v->result->records++;
    v->result->record_bytes += length;
    enum record_fault fault = record_check_row(v->checker, &there, &found);
    uint64_t limit = index_row_limit(v->generation->offset_bytes);
    if (fault != RECORD_GOOD && v->is_wrapped && row->offset + limit + length <= v->dat_end) {
        struct record_report further;
        there.offset += limit;
        if (record_check_row(v->checker, &there, &further) == RECORD_GOOD)
            fault = RECORD_GOOD;
    }
    if (fault == RECORD_GOOD)
        return 0;
    struct volume_problem problem = {.kind = kind_of(fault),
                                     .is_live = is_live(v, row->key, row->offset),
                                     .key = row->key,
                                     .size = row->size,
                                     .offset = row->offset,
                                     .length = length,
                                     .row = v->row,
                                     .other_key = found.header.key,
                                     .other_size = found.header.size,
                                     .crc_stored = found.crc_stored,
                                     .crc_computed = found.crc_computed};
    return report(v, &problem, "%s", found.reason);
}

static int report_overlap(struct verify *v, const struct needle_entry *row)
{
    struct volume_problem problem = {.kind = VOLUME_PROBLEM_OVERLAP,
                                     .is_live = is_live(v, row->key, row->offset),
                                     .key = row->key,
                                     .size = row->size,
                                     .offset = row->offset,
                                     .length = length_of(v, row->size),
                                     .row = v->row,
                                     .other_key = v->last.key,
                                     .other_offset = v->last.offset,
                                     .other_length = v->last_length};
    return report(v, &problem, "it begins before the end of needle %" PRIx64 " at %" PRIu64,
                  v->last.key, v->last.offset);
}

static int check_row(struct verify *v, const struct needle_entry *row)
{
    int code = 0;
    if (!is_good_row(v, row) && !index_row_is_gap(row))
        return 0; /* has been reported */
    bool is_again =
        row->offset == v->last.offset && row->key == v->last.key && row->size == v->last.size;
    if (is_again)
        return 0; /* a repair's way to say that a quarrel is settled: index_repair.c */
    if (row->offset > v->at)
        code = check_unnamed(v, row->offset);
    if (code != 0)
        return code;
    if (index_row_is_gap(row)) {
        v->is_after_gap = v->is_after_gap || row->offset >= v->at;
        return 0;
    }
    if (row->offset < v->at && !v->is_wrapped)
        code = report_overlap(v, row);
    v->is_after_gap = false;
    if (code == 0 && !v->options->is_index_only)
        code = check_record(v, row);
    uint64_t end = row->offset + length_of(v, row->size);
    if (end > v->at && !v->is_wrapped)
        v->at = end;
    v->last = *row;
    v->last_length = length_of(v, row->size);
    return code;
}

static int check_rows(struct verify *v, struct index_order *order, struct error *err)
{
    const struct needle_entry *row;
    for (;;) {
        int code = index_order_next(order, &row, err);
        if (code == 0 && !row)
            break;
        if (code == 0)
            code = check_row(v, row);
        v->row++;
        if (code == 0 && (v->row % PROGRESS_ROWS == 0 ||
                          v->idx_done + v->at - v->reported_done > PROGRESS_BYTES))
            code = report_progress(v);
        if (code != 0)
            return code;
    }
    if (index_order_crowded(order) > 0) {
        struct volume_problem problem = {.kind = VOLUME_PROBLEM_ROW, .row = v->row};
        return report(v, &problem,
                      "%" PRIu64 " rows were not looked at: there are more for their place "
                      "than records can be",
                      index_order_crowded(order));
    }
    return check_tail(v);
}

/* ---- the whole ---- */

/* The ends as of now: that of the .idx first, so that each row's record is there. */
static int look_at_ends(struct verify *v, uint64_t *ret_idx_end, struct error *err)
{
    struct volume_generation *generation = v->generation;
    struct os_stat idx, dat;
    uint64_t idx_end = index_file_end(&generation->idx);
    int result = os_fstat(generation->os, generation->idx.fd, &idx);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", generation->idx.path);
    result = os_fstat(generation->os, generation->dat_fd, &dat);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", atomic_load(&generation->dat_path));
    uint64_t size = (dat.size + NEEDLE_ALIGNMENT - 1) & ~(uint64_t)(NEEDLE_ALIGNMENT - 1);
    v->dat_end = volume_generation_end(generation);
    if (size > v->dat_end) /* the server may have appended since a tool has opened it */
        v->dat_end = size;
    v->first = super_block_end(&generation->super_block);
    v->is_wrapped = v->dat_end > index_row_limit(generation->offset_bytes);
    v->at = v->first;
    v->result->idx_bytes = idx_end;
    v->result->dat_bytes = v->dat_end;
    *ret_idx_end = idx_end;
    uint64_t odd = idx.size % index_row_size(generation->offset_bytes);
    struct volume_problem problem = {.kind = VOLUME_PROBLEM_PARTIAL_ROW,
                                     .offset = idx.size - odd,
                                     .length = odd,
                                     .other_length = idx.size};
    int code = 0;
    if (odd > 0 && !v->options->is_in_use)
        code =
            report(v, &problem, "the .idx has %" PRIu64 " bytes, %" PRIu64 " more than whole rows",
                   idx.size, odd);
    if (code == 0 && idx_end == 0 && v->dat_end > v->first && !v->options->is_in_use) {
        problem = (struct volume_problem){
            .kind = VOLUME_PROBLEM_NO_INDEX, .offset = v->first, .length = v->dat_end - v->first};
        code = report(v, &problem, "the .idx is empty, the .dat has %" PRIu64 " bytes", v->dat_end);
    }
    return code;
}

int volume_verify(struct volume_generation *generation, const struct volume_verify_options *options,
                  struct volume_verify_result *ret, struct error *err)
{
    struct verify v = {.generation = generation, .options = options, .result = ret};
    struct index_order *order = NULL;
    uint64_t idx_end = 0;
    struct error reason = {0};
    *ret = (struct volume_verify_result){0};
    int code = look_at_ends(&v, &idx_end, &reason);
    if (code == 0 && ret->problems[VOLUME_PROBLEM_NO_INDEX] > 0)
        return 0;
    if (code == 0 && !options->is_index_only)
        code = record_checker_create(&v.checker, generation, v.dat_end, &reason);
    if (code == 0) /* a gap may be marked at the very end */
        code = index_order_open(&order, &generation->idx, idx_end, v.first,
                                v.is_wrapped ? index_row_limit(generation->offset_bytes)
                                             : v.dat_end + 1,
                                visit_row, &v, &reason);
    if (code == 0) {
        v.idx_done = idx_end;
        code = check_rows(&v, order, &reason);
    }
    if (code == 0)
        code = report_progress(&v);
    index_order_close(order);
    record_checker_destroy(v.checker);
    if (code != 0 && err) {
        *err = reason;
        if (v.is_cancelled)
            error_set(err, code, "the check of %s was cancelled",
                      atomic_load(&generation->dat_path));
    }
    return code;
}
