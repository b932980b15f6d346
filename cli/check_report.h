/* What `kelp check` found in one volume, and printing it, as lines or as JSON. One thread at a
 * time. */
#pragma once

#include "cli/offline_volume.h"
#include "volume/storage/volume_verify.h"

#include <stdio.h>

struct check_report {
    const struct offline_volume *volume;
    size_t limit;
    struct volume_problem *problems; /* owned; the first `limit` of them */
    size_t count, capacity;
    bool is_in_use;
    const char *skipped; /* why it was not looked at, without fault; NULL */
    int code;            /* not 0: it could not be checked, err says why */
    struct error err;
    struct super_block super_block;
    struct needle_index_stat index;
    struct volume_verify_result result;
};

void check_report_init(struct check_report *report, const struct offline_volume *volume, size_t limit);
void check_report_fini(struct check_report *report);
/* Forgets what an earlier look found. */
void check_report_begin(struct check_report *report);
void check_report_add(struct check_report *report, const struct volume_problem *problem);
/* The lines of one volume; `is_quiet`: none when there is nothing to say. */
void check_report_print(const struct check_report *report, FILE *out, bool is_quiet);
/* The totals, or the whole JSON document; returns the exit status. */
int check_reports_end(const struct check_report *reports, size_t count, bool is_json, FILE *out);
