/* A chunk manifest: a big file as the list of the blobs that it was cut into. Pure; any thread.
 * Source: spec/volume-http.md 11. */
#pragma once

#include "common/arena.h"
#include "common/error.h"

struct blob_chunk {
    struct slice fid; /* "3,01637037d6" */
    uint32_t volume_id;
    uint64_t offset, size;
};

struct blob_manifest {
    struct slice name, mime;
    uint64_t size;             /* as declared */
    uint64_t total;            /* the sum of the chunks: what counts for reading */
    struct blob_chunk *chunks; /* by offset */
    size_t count;
};

/* Everything in *ret is in the arena. KELP_E_INVALID: no JSON, no object, a member of the wrong
 * type, or a chunk without a file id. */
int blob_manifest_parse(struct arena *arena, struct slice json, struct blob_manifest *ret,
                        struct error *err);
