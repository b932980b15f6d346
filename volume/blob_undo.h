/* Takes back a write that some of its replicas did not store: here and where it was stored. Loop
 * thread.
 *
 * Only for a blob that had not been there before: what an overwrite replaced cannot be brought
 * back, so there the new content stays where it is, as with the peer, until the client writes
 * again. And only after blob_doubt_begin_undo. */
#pragma once

#include "volume/blob_call.h"

struct blob_undo {
    /* Fill in. */
    struct blob_call *call;
    uint32_t volume_id, cookie, checksum;
    uint64_t key;
    struct volume_locations *taken; /* who has stored it; becomes its own; NULL: nobody */
    void (*done)(struct blob_undo *undo); /* once, later */
    void *user;
    /* Why the write failed; where it could not be undone is added to the text. */
    struct error err;

    struct volume *volume;
    struct blob_append append;
};

void blob_undo_start(struct blob_undo *undo);
