/* gzip streams in memory, on zlib. Any thread; work in proportion to the size, so not on a loop for
 * more than some 100 KiB. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

/* Whether the bytes begin like a gzip stream (1F 8B). */
bool gzip_is_compressed(struct slice data);
/* Fastest level. *ret is the caller's, to be freed. KELP_E_NO_MEMORY. */
int gzip_compress(struct slice data, char **ret, size_t *ret_size, struct error *err);
/* All members of the stream. KELP_E_TOO_LARGE beyond limit_bytes, KELP_E_CORRUPT for a bad or torn
 * stream, KELP_E_NO_MEMORY. */
int gzip_decompress(struct slice data, uint64_t limit_bytes, char **ret, size_t *ret_size,
                    struct error *err);
/* How many bytes gzip_decompress would give, in constant memory. */
int gzip_measure(struct slice data, uint64_t limit_bytes, uint64_t *ret_size, struct error *err);
