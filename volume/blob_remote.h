/* Reads of volumes that are not here, or whose copy here cannot be read: fetched from a server that
 * has them, or sent there. Source: spec/volume-http.md 13. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

/* Answers the call, now or later. `loading`: the volume will be here soon, and this says so (copied); where
 * nobody else has it, the answer is to try again, and not that there is no such blob. NULL: it is not. */
void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode, const struct error *loading);

/* The copy here cannot be read, and nothing has been sent: another one may do. False when none may be
 * asked (there is one copy, the server is to answer for itself, the request comes from another server);
 * then nothing has happened. Else the call is answered, now or later; where no other copy can be read
 * either, with 500 and `reason` (copied; "": no text). */
bool blob_remote_replace(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                         unsigned copies, const char *reason);
