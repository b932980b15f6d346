/* Reading the records of a .dat one after the other and judging each: header, parts, checksum.
 *
 * Reads in large pieces, sums large records piece by piece, and leaves the page cache as it was.
 * Offsets should grow. One thread; blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

struct record_checker;

enum record_fault {
    RECORD_GOOD,
    RECORD_UNREADABLE, /* the device answers with an error, or the file ends before it should */
    RECORD_BAD_HEADER, /* another size than expected */
    RECORD_BAD_KEY,
    RECORD_BAD_BODY,
    RECORD_BAD_CRC,
};

struct record_report {
    struct needle_header header; /* unless it was unreadable */
    uint64_t append_at_ns;       /* of a good one, version 3 */
    uint32_t crc_stored, crc_computed;
    char reason[160]; /* of a fault */
};

/* Reads below `end`, which may lie beyond the generation's own. */
int record_checker_create(struct record_checker **ret, struct volume_generation *generation,
                          uint64_t end, struct error *err);
void record_checker_destroy(struct record_checker *checker); /* NULL is fine */
/* The record that this row names; a negative size is that of a tombstone. It must lie below the
 * end. */
enum record_fault record_check_row(struct record_checker *checker, const struct needle_entry *row,
                                   struct record_report *ret);
/* Whether a whole record begins at the offset. An empty one proves itself by its key only (not 0). */
bool record_check_any(struct record_checker *checker, uint64_t offset, struct record_report *ret);
