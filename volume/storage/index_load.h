/* Loading an .idx into the index in memory, and judging on the way whether it fits its .dat. Blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

struct index_verdict {
    uint64_t rows;
    uint64_t replayed;     /* rows that were put into the index; the others it held already */
    uint64_t good_end;     /* bytes of the .idx up to the first of the bad rows at its end */
    uint64_t bad_rows;     /* at the end: past the .dat, or of another record */
    bool needs_rebuild;    /* bad rows before good ones, or rows that leave holes or overlap */
    uint64_t records_end;  /* end of the last record that a good row names */
    struct needle_entry last; /* that row; offset 0 when there is none */
};

/* Fills generation->index, which must be NULL, with the good rows. Where the index was kept with a mark
 * that holds, only the rows behind the mark are read. generation->mark is where the walk ended. Changes no
 * file of the volume. */
int index_load(struct volume_generation *generation, struct index_verdict *ret, struct error *err);
