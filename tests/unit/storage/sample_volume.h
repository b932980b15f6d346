/* A small volume on a disk in memory, closed, with what its rows say: for the tests of the tools that work
 * on files. */
#pragma once

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_generation.h"

enum {
    SAMPLE_KEYS = 20,
    SAMPLE_OVERWRITTEN = 5, /* put again at the end */
    SAMPLE_DELETED = 6,
    SAMPLE_EMPTY = 7,       /* an empty needle */
    SAMPLE_LARGE = 8,       /* more than 1 MiB: than is read at a time */
    SAMPLE_ROWS = SAMPLE_KEYS + 2,
};

struct sample {
    struct disk_os *disk;
    struct fault_os *fault;
    struct os *os; /* the one that fails on command */
    struct volume_place place;
    char *dat, *idx; /* the files when they were whole */
    size_t dat_size, idx_size;
    struct needle_entry rows[SAMPLE_ROWS]; /* in the order of the .idx and of the .dat */
    uint8_t offset_bytes;
};

/* Keys 1 to SAMPLE_KEYS in /d/1.*, then the overwrite, then the delete. */
void sample_create(struct sample *sample, uint8_t offset_bytes);
void sample_destroy(struct sample *sample);
/* Writes dat and idx, as the test has changed them, back to the disk. */
void sample_save(struct sample *sample);
/* Writes the rows as the .idx: all of them, or `count` from `rows`. */
void sample_save_rows(struct sample *sample, const struct needle_entry *rows, size_t count);
/* Opens for reading only, with the index loaded or not. */
struct volume_generation *sample_open(struct sample *sample, bool has_index);
/* Opens the volume as a server does, checks every needle, writes one more, closes. */
void sample_check_served(struct os *os);
