/* The rows of an .idx that is about to be made anew, to be asked by place and by key. One thread. */
#pragma once

#include "volume/storage/format/index_file.h"

struct index_old_rows {
    struct needle_entry *entries; /* rows that name a record, sorted by offset */
    size_t count, capacity;
    struct needle_entry *by_key; /* the same, sorted by key and offset; made when first asked for */
    struct needle_entry *cut_deletes; /* rows without a record: (key, 0, -1) */
    size_t cut_count, cut_capacity;
};

/* Into a zeroed one; what came before a failure stays for fini. */
int index_old_rows_load(struct index_old_rows *old, struct index_file *file, struct error *err);
void index_old_rows_fini(struct index_old_rows *old);

/* The index in `entries` of the first row at or after the offset. */
size_t index_old_rows_from(const struct index_old_rows *old, uint64_t offset);
/* The row for this place and key, or NULL. */
const struct needle_entry *index_old_rows_find(const struct index_old_rows *old, uint64_t offset,
                                               uint64_t key);
/* The row for exactly this record's place and length, of another key; or NULL. */
const struct needle_entry *index_old_rows_rival(const struct index_old_rows *old, uint64_t offset,
                                                const struct needle_header *header);
/* Whether the rows, of which this is one, know its key at another offset, too. KELP_E_NO_MEMORY. */
int index_old_rows_is_elsewhere(struct index_old_rows *old, const struct needle_entry *row, bool *ret,
                                struct error *err);
