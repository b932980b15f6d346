/* Lines and JSON for `kelp check`. See the header. */
#include "cli/check_report.h"

#include "common/check.h"
#include "common/json_writer.h"

#include <inttypes.h>
#include <stdlib.h>

void check_report_init(struct check_report *report, const struct offline_volume *volume,
                       size_t limit)
{
    *report = (struct check_report){.volume = volume, .limit = limit};
}

void check_report_fini(struct check_report *report)
{
    free(report->problems);
    report->problems = NULL;
}

void check_report_begin(struct check_report *report)
{
    report->count = 0;
    report->code = 0;
    report->result = (struct volume_verify_result){0};
}

void check_report_add(struct check_report *report, const struct volume_problem *problem)
{
    if (report->count >= report->limit)
        return;
    if (report->count == report->capacity) {
        report->capacity = report->capacity ? report->capacity * 2 : 16;
        report->problems =
            must(realloc(report->problems, report->capacity * sizeof(*report->problems)));
    }
    report->problems[report->count++] = *problem;
}

static uint64_t problem_count(const struct check_report *report)
{
    uint64_t count = 0;
    for (size_t i = 0; i < VOLUME_PROBLEM_KIND_COUNT; i++)
        count += report->result.problems[i];
    return count;
}

static bool is_about_a_needle(const struct volume_problem *problem)
{
    return problem->kind != VOLUME_PROBLEM_NO_INDEX &&
           problem->kind != VOLUME_PROBLEM_PARTIAL_ROW && problem->kind != VOLUME_PROBLEM_GAP &&
           volume_problem_is_damage(problem->kind);
}

static void print_problem(const struct check_report *report, const struct volume_problem *problem,
                          FILE *out)
{
    fprintf(out, "%s/%s: %s at %" PRIu64, report->volume->directory, report->volume->files.base,
            volume_problem_name(problem->kind), problem->offset);
    if (is_about_a_needle(problem))
        fprintf(out, ", needle %" PRIx64 "%s", problem->key, problem->is_live ? "" : " (not live)");
    fprintf(out, ": %s; %s\n", problem->detail, volume_problem_advice(problem->kind));
}

void check_report_print(const struct check_report *report, FILE *out, bool is_quiet)
{
    const struct volume_verify_result *result = &report->result;
    const char *directory = report->volume->directory, *base = report->volume->files.base;
    if (report->skipped) {
        if (!is_quiet)
            fprintf(out, "%s/%s: not checked: %s\n", directory, base, report->skipped);
        return;
    }
    if (report->code != 0) {
        fprintf(out, "%s/%s: could not be checked: %s\n", directory, base, report->err.message);
        return;
    }
    for (size_t i = 0; i < report->count; i++)
        print_problem(report, &report->problems[i], out);
    uint64_t all = problem_count(report);
    if (all > report->count)
        fprintf(out, "%s/%s: and %" PRIu64 " more (see -limit)\n", directory, base,
                all - report->count);
    if (report->volume->is_info_foreign)
        fprintf(out, "%s/%s: %s\n", directory, base, report->volume->info_error.message);
    if (is_quiet && all == 0)
        return;
    fprintf(out,
            "%s/%s: %" PRIu64 " rows, %" PRIu64 " live needles, %" PRIu64 " records, %" PRIu64
            " bytes: ",
            directory, base, result->rows, report->index.live_count, result->records,
            result->dat_bytes);
    if (result->damage_count > 0)
        fprintf(out, "%" PRIu64 " damaged, %" PRIu64 " of them live", result->damage_count,
                result->damaged_live_count);
    else
        fprintf(out, "no damage");
    fprintf(out, "%s\n", report->is_in_use ? " (in use by a server)" : "");
}

static void write_problem(struct json_writer *w, const struct volume_problem *problem)
{
    char key[20];
    json_writer_begin_object(w);
    json_writer_member_text(w, "kind", volume_problem_name(problem->kind));
    json_writer_member_bool(w, "damage", volume_problem_is_damage(problem->kind));
    if (is_about_a_needle(problem)) {
        snprintf(key, sizeof(key), "%" PRIx64, problem->key);
        json_writer_member_text(w, "needle", key);
        json_writer_member_bool(w, "live", problem->is_live);
        json_writer_member_int(w, "size", problem->size);
    }
    json_writer_member_uint(w, "offset", problem->offset);
    json_writer_member_uint(w, "length", problem->length);
    json_writer_member_text(w, "detail", problem->detail);
    json_writer_member_text(w, "advice", volume_problem_advice(problem->kind));
    json_writer_end_object(w);
}

static void write_volume(struct json_writer *w, const struct check_report *report)
{
    const struct volume_verify_result *result = &report->result;
    json_writer_begin_object(w);
    json_writer_member_text(w, "directory", report->volume->directory);
    json_writer_member_text(w, "collection", report->volume->collection);
    json_writer_member_uint(w, "id", report->volume->id);
    if (report->skipped)
        json_writer_member_text(w, "skipped", report->skipped);
    if (report->code != 0)
        json_writer_member_text(w, "error", report->err.message);
    if (!report->skipped && report->code == 0) {
        json_writer_member_bool(w, "inUse", report->is_in_use);
        json_writer_member_uint(w, "version", report->super_block.version);
        json_writer_member_uint(w, "offsetBytes", report->volume->offset_bytes);
        json_writer_member_uint(w, "compactRevision", report->super_block.compact_revision);
        json_writer_member_uint(w, "datBytes", result->dat_bytes);
        json_writer_member_uint(w, "idxBytes", result->idx_bytes);
        json_writer_member_uint(w, "rows", result->rows);
        json_writer_member_uint(w, "liveNeedles", report->index.live_count);
        json_writer_member_uint(w, "liveBytes", report->index.live_record_bytes);
        json_writer_member_uint(w, "records", result->records);
        json_writer_member_uint(w, "damaged", result->damage_count);
        json_writer_member_uint(w, "damagedLive", result->damaged_live_count);
        json_writer_key(w, "counts");
        json_writer_begin_object(w);
        for (size_t i = 0; i < VOLUME_PROBLEM_KIND_COUNT; i++)
            if (result->problems[i] > 0)
                json_writer_member_uint(w, volume_problem_name((enum volume_problem_kind)i),
                                        result->problems[i]);
        json_writer_end_object(w);
        json_writer_key(w, "problems");
        json_writer_begin_array(w);
        for (size_t i = 0; i < report->count; i++)
            write_problem(w, &report->problems[i]);
        json_writer_end_array(w);
    }
    json_writer_end_object(w);
}

struct totals {
    uint64_t checked, skipped, failed, damaged, damages, live_damages, records, bytes;
};

static void print_json(const struct check_report *reports, size_t count,
                       const struct totals *totals, FILE *out)
{
    struct buffer text = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &text, true);
    json_writer_begin_object(&w);
    json_writer_key(&w, "volumes");
    json_writer_begin_array(&w);
    for (size_t i = 0; i < count; i++)
        write_volume(&w, &reports[i]);
    json_writer_end_array(&w);
    json_writer_key(&w, "total");
    json_writer_begin_object(&w);
    json_writer_member_uint(&w, "checked", totals->checked);
    json_writer_member_uint(&w, "skipped", totals->skipped);
    json_writer_member_uint(&w, "failed", totals->failed);
    json_writer_member_uint(&w, "damagedVolumes", totals->damaged);
    json_writer_member_uint(&w, "damaged", totals->damages);
    json_writer_member_uint(&w, "damagedLive", totals->live_damages);
    json_writer_member_uint(&w, "records", totals->records);
    json_writer_member_uint(&w, "bytes", totals->bytes);
    json_writer_end_object(&w);
    json_writer_end_object(&w);
    fprintf(out, "%s\n", buffer_cstr(&text));
    buffer_fini(&text);
}

int check_reports_end(const struct check_report *reports, size_t count, bool is_json, FILE *out)
{
    struct totals totals = {0};
    for (size_t i = 0; i < count; i++) {
        const struct check_report *report = &reports[i];
        totals.skipped += report->skipped != NULL;
        totals.failed += report->code != 0;
        if (report->skipped || report->code != 0)
            continue;
        totals.checked++;
        totals.damaged += report->result.damage_count > 0;
        totals.damages += report->result.damage_count;
        totals.live_damages += report->result.damaged_live_count;
        totals.records += report->result.records;
        totals.bytes += report->result.dat_bytes + report->result.idx_bytes;
    }
    if (is_json)
        print_json(reports, count, &totals, out);
    else
        fprintf(out,
                "%" PRIu64 " volumes checked, %" PRIu64 " bytes, %" PRIu64 " records: %" PRIu64
                " problems in %" PRIu64 " volumes, %" PRIu64 " of them live; %" PRIu64
                " volumes could not be checked\n",
                totals.checked, totals.bytes, totals.records, totals.damages, totals.damaged,
                totals.live_damages, totals.failed);
    return totals.failed > 0 ? 2 : totals.damages > 0 ? 1 : 0;
}
