/* Walking a .dat record by record, without its index: for repairs. Source: spec/storage-format.md 15,
 * made safe against torn and garbled files.
 *
 * Where no whole record begins, the scan looks on, at every multiple of 8, for the next one that proves
 * itself by its CRC, and reports what it skipped as a gap. One thread; blocks; reads in large pieces. */
#pragma once

#include "volume/storage/volume_generation.h"

struct dat_scan;

enum dat_item_kind {
    DAT_RECORD, /* whole: its CRC matches, it is empty, or the caller knows it */
    DAT_GAP,    /* no record; a gap up to the end is a torn write */
    DAT_END,
};

struct dat_item {
    enum dat_item_kind kind;
    uint64_t offset, length;
    struct needle_header header; /* of a record */
    uint64_t append_at_ns;       /* version 3 */
    bool is_empty_put;           /* it has NEEDLE_EMPTY_MARK: not a tombstone */
};

/* Whether the caller vouches for the record that this header describes, so that it need not be read. */
typedef bool dat_scan_known(void *ctx, uint64_t offset, const struct needle_header *header);

/* From `offset` to the generation's end. `known` may be NULL. */
int dat_scan_open(struct dat_scan **ret, struct volume_generation *generation, uint64_t offset,
                  dat_scan_known *known, void *ctx, struct error *err);
int dat_scan_next(struct dat_scan *scan, struct dat_item *ret, struct error *err);
void dat_scan_close(struct dat_scan *scan); /* NULL is fine */
