/* Printing super blocks, records and index rows, for `kelp dump`: as lines, or as one JSON object
 * a line. Main thread. */
#pragma once

#include "cli/offline_volume.h"

#include <stdio.h>

struct dump_style {
    bool is_json;
    uint64_t data_bytes; /* that many of a record's data are shown */
};

void dump_volume(const struct offline_volume *volume, struct volume_generation *generation,
                 const struct dump_style *style, FILE *out);
/* The row at a byte position of the .idx. */
void dump_row(const struct needle_entry *row, uint64_t position, const struct dump_style *style,
              FILE *out);
/* What stands at an offset of the .dat, sound or not: *ret_length is the record's, 0 when nothing
 * there can be one, and *ret_is_sound whether all of it holds. `expected` is the row that led
 * here, or NULL. An error when it cannot be read. */
int dump_record(const struct offline_volume *volume, struct volume_generation *generation,
                uint64_t offset, const struct needle_entry *expected, const struct dump_style *style,
                FILE *out, uint64_t *ret_length, bool *ret_is_sound, struct error *err);
