/* Changing the width of the offsets of a volume that nobody has open: its .idx from 4-byte to
 * 5-byte rows or back, and its .vif. The .dat is the same for both. Source: spec/storage-format.md
 * 0, 8, 10.
 *
 * The steps, each of which leaves a volume that loads, and loads right:
 *
 *   .vif      .idx     after
 *   old (*)   old      the new rows are complete, as <idx>.tmp
 *   0         old      the .vif does not say any more: a start looks at the rows themselves
 *   0         new      the rename
 *   new       new      the end; the old .idx is kept as <idx>.bak
 *
 * (*) or none. One thread; blocks. */
#pragma once

#include "volume/storage/format/volume_files.h"
#include "volume/storage/format/volume_info_file.h"

struct index_convert_result {
    uint64_t rows;
    uint64_t resolved; /* rows whose offset had wrapped at 32 GiB, and was found again */
};

/* `info` is what the .vif says (zeroed when there is none), `from` the present width. With
 * !is_applied nothing is written, and all that can be refused is. KELP_E_EXISTS: it has that
 * width. KELP_E_TOO_LARGE: an offset does not fit. KELP_E_PRECONDITION: a vacuum's commit waits,
 * or the volume is erasure-coded. KELP_E_CORRUPT: a wrapped row names no record. */
int index_convert(const struct volume_files *files, struct os *os, const struct volume_info *info,
                  uint8_t from, uint8_t to, bool is_applied, struct index_convert_result *ret,
                  struct error *err);
