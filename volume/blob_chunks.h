/* Sending the file that a chunk manifest stands for: its chunks are fetched, piece by piece,
 * from whichever servers hold them. Source: spec/volume-http.md 11. Loop thread. */
#pragma once

#include "volume/blob_manifest.h"
#include "volume/blob_stream.h"

/* All of it into one malloc'd buffer, which becomes the blob's content (is_assembled), and then
 * `next`; or the call is answered. At most 64 MiB, say, are wanted so. */
void blob_chunks_assemble(struct blob *blob, void (*next)(struct blob *blob));
/* As blob_stream_start, with the positions of the plan in the assembled file. `manifest` is in
 * the arena. */
void blob_chunks_start(struct blob *blob, const struct blob_manifest *manifest,
                       const struct blob_stream_plan *plan);
