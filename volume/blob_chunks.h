/* Sending the file that a chunk manifest stands for: its chunks are fetched, piece by piece,
 * from whichever servers hold them. Source: spec/volume-http.md 11. Loop thread. */
#pragma once

#include "volume/blob_manifest.h"
#include "volume/blob_stream.h"

/* As blob_stream_start, with the positions of the plan in the assembled file. `manifest` is in
 * the arena. */
void blob_chunks_start(struct blob *blob, const struct blob_manifest *manifest,
                       const struct blob_stream_plan *plan);
