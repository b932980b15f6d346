/* Reads of volumes that are not here: fetched from a server that has them, or sent there.
 * Source: spec/volume-http.md 13. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

/* Answers the call, now or later. */
void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode);
