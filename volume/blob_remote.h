/* Reads of volumes that are not here: fetched from a server that has them, or sent there.
 * Source: spec/volume-http.md 13. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

/* Answers the call, now or later. `loading`: the volume will be here soon, and this says so (copied); where
 * nobody else has it, the answer is to try again, and not that there is no such blob. NULL: it is not. */
void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode, const struct error *loading);
