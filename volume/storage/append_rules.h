/* What decides whether a put is written: the cookie rule and the detection of unchanged blobs, also for
 * records that come whole from a replica.
 * Source: spec/storage-format.md 12, steps 3 and 4. Called by the holder of the append lock. */
#pragma once

#include "volume/storage/volume_generation.h"

#define APPEND_SCRATCH_SIZE (1u << 20)

/* Compares a put with the entry that its key has (a deleted one too). Adopts the old cookie when the
 * needle has none and !check_cookie. KELP_E_COOKIE when they differ. *ret_is_unchanged: the same blob is
 * there, whole and readable, and has not run out: nothing needs to be written; only looked for with
 * `detect_unchanged`. Reads from the disk: may block. `scratch` has APPEND_SCRATCH_SIZE bytes. */
int append_check_put(struct volume_generation *generation, const struct needle_entry *old,
                     struct needle *needle, bool check_cookie, bool detect_unchanged, int64_t now_ns,
                     uint8_t *scratch, bool *ret_is_unchanged, struct error *err);

/* Whether the bytes can be a record of this volume by their length; its size for the row. KELP_E_INVALID. */
int append_check_raw(const struct volume_generation *generation, const uint8_t *record,
                     size_t record_size, int32_t *ret_size, struct error *err);
/* Whether the entry's record holds the same blob as this one, which append_check_raw let pass: size,
 * cookie, checksum and data. Reads from the disk: may block. */
bool append_is_same_record(struct volume_generation *generation, const struct needle_entry *old,
                           const uint8_t *record, uint8_t *scratch);
