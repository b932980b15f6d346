/* Looking into a volume by place instead of by key: what repairs, checks and exports of a running server
 * ask for. Any worker thread; all of it blocks, nothing waits for writers or a vacuum. */
#pragma once

#include "volume/storage/volume.h"
#include "volume/storage/volume_verify.h"

/* The bytes of a whole record for a body of that size, from `offset` on, whatever is there. KELP_E_INVALID
 * with "EOF" when that is not all below the end. `*ret` is malloc'd. */
int volume_inspect_record(struct volume *volume, uint64_t offset, int32_t size, uint8_t **ret,
                          size_t *ret_size, struct error *err);

/* All but the data of the record at `offset`, if its size is the one given: the key and the CRC are not
 * checked; needle.checksum is as stored. KELP_E_INVALID, in the peer's words. */
int volume_inspect_meta(struct volume *volume, uint64_t offset, int32_t size, struct needle *ret,
                        struct error *err);

/* Each live needle in order of its offset, parsed and checked; `visit` ends the walk with non-zero, which
 * is returned. One that fails its check is listed as damaged and counted in *ret_damaged, not visited. */
int volume_inspect_live(struct volume *volume,
                        int (*visit)(void *ctx, const struct needle *needle), void *ctx,
                        uint64_t *ret_damaged, struct error *err);

/* volume_verify of the current generation, as of now; damaged live needles are listed. */
int volume_inspect_verify(struct volume *volume, const struct volume_verify_options *options,
                          struct volume_verify_result *ret, struct error *err);

/* An id as the peer's texts on sizes have it: in hexadecimal, and that text in hexadecimal again. */
void volume_inspect_format_id(uint64_t id, char text[33]);
