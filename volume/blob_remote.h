/* Reads of volumes that are not here, or whose copy here cannot be read: fetched from a server that
 * has them, or sent there. Source: spec/volume-http.md 13. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

/* Answers the call, now or later. `loading`: the volume will be here soon, and this says so
 * (copied); where nobody else has it, the answer is to try again, and not that there is no such
 * blob. NULL: it is not. */
void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode, const struct error *loading);

/* Whether another server may be asked for what cannot be read here: not when there is one copy,
 * when the server is to answer for itself, or when the request comes from another server. */
bool blob_remote_may_replace(const struct blob_call *call, unsigned copies);
/* Answers the call, now or later, from another copy; nothing has been sent. Where none can be
 * read either, with 500 and `reason` (copied; "": no text). */
void blob_remote_replace(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                         const char *reason);
