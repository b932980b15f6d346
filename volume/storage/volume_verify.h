/* Verifying a volume: every row of its .idx against the .dat, every record against its row and its
 * CRC. Source: spec/storage-format.md 6, 8, 19.
 *
 * Works on a generation, whether a server has it open (its index says what is live) or a tool has
 * opened the two files for reading (the index may be NULL). Reads only. What is appended after the
 * call began is not looked at. Memory is bounded, whatever the number of rows: these are sorted by
 * offset a window at a time. One thread, that of the caller; blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

enum volume_problem_kind {
    VOLUME_PROBLEM_NO_INDEX,    /* the .idx is empty and the .dat is not: once, nothing else is said */
    VOLUME_PROBLEM_PARTIAL_ROW, /* the .idx ends in a part of a row; other_length: its file size */
    VOLUME_PROBLEM_ROW,         /* no such row is ever written, or it points outside of the .dat */
    VOLUME_PROBLEM_OVERLAP,     /* a row that begins before the end of the one before it (other_*) */
    VOLUME_PROBLEM_UNREADABLE,  /* the device answers with an error */
    VOLUME_PROBLEM_HEADER,      /* the record's header has another size than the row */
    VOLUME_PROBLEM_KEY,         /* the record is of another key: other_key */
    VOLUME_PROBLEM_BODY,        /* the parts of the body do not fit into it */
    VOLUME_PROBLEM_CRC,         /* the data do not match their checksum: crc_stored, crc_computed */
    VOLUME_PROBLEM_NO_ROW,      /* a whole record that no row names, though its key's newest */
    VOLUME_PROBLEM_GAP,         /* bytes between records that no row names or marks */
    /* Not damage: the next start settles these. */
    VOLUME_PROBLEM_TAIL_RECORDS, /* whole records after the last row's, rows will be added: `row` of them */
    VOLUME_PROBLEM_TAIL_TORN,    /* then bytes that are no record; they will be cut off */
    VOLUME_PROBLEM_KIND_COUNT,
};
/* "overlap", "crc", ...: for machines. */
const char *volume_problem_name(enum volume_problem_kind kind);
/* What to do about it, in one line. */
const char *volume_problem_advice(enum volume_problem_kind kind);
static inline bool volume_problem_is_damage(enum volume_problem_kind kind)
{
    return kind < VOLUME_PROBLEM_TAIL_RECORDS;
}

struct volume_problem {
    enum volume_problem_kind kind;
    bool is_live;            /* it is what a read of the key gets; false too when there is no index to ask */
    uint64_t key;            /* the row's, or the record's where there is no row */
    int32_t size;            /* likewise */
    uint64_t offset, length; /* in the .dat; of PARTIAL_ROW in the .idx */
    uint64_t row;            /* its place among the rows in order of (offset, size), from 0 */
    uint64_t other_key, other_offset, other_length;
    int32_t other_size; /* what a header says that is not the row's */
    uint32_t crc_stored, crc_computed;
    char detail[192]; /* one line, in words */
};

struct volume_verify_result {
    uint64_t rows, puts, deletes;        /* all rows; of these, with a size >= 0 and an offset, others */
    uint64_t records, record_bytes;      /* read and checked */
    uint64_t idx_bytes, dat_bytes;       /* what was looked at */
    uint64_t problems[VOLUME_PROBLEM_KIND_COUNT];
    uint64_t damage_count;               /* problems that are damage */
    uint64_t damaged_live_count;         /* of these, live */
};

struct volume_verify_options {
    bool is_index_only; /* rows and their places only; the .dat is not read */
    /* The volume may take writes meanwhile: what lies behind the last row's record is not judged. */
    bool is_in_use;
    /* All may be NULL. Non-zero from either ends the walk with KELP_E_CANCELLED. on_progress comes
     * at least once every 4 MiB or 100,000 rows; it may wait, which slows the walk down. `done` of
     * `total` is bytes of both files. */
    int (*on_problem)(void *ctx, const struct volume_problem *problem);
    int (*on_progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

/* 0 when all was looked at, whatever was found. An error when it could not be: the .idx cannot be
 * read, no memory, cancelled. *ret is then what had been seen so far. */
int volume_verify(struct volume_generation *generation, const struct volume_verify_options *options,
                  struct volume_verify_result *ret, struct error *err);
