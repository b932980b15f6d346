/* Deleting the chunks of a manifest, on every server that holds them, before the manifest itself
 * goes. Source: spec/volume-http.md 15, step 5. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_manifest.h"

struct blob_cascade {
    struct blob_call *call;
    const struct blob_manifest *manifest;
    void (*done)(struct blob_cascade *cascade);
    void *user; /* of done */
    /* its own */
    size_t next;
    struct volume_lookup_request lookup;
    /* results */
    int code;
    struct error err;
};

/* Fill in call, manifest and done, which is called once, possibly from within. The first failure
 * ends it; chunks that are gone already are none. */
void blob_cascade_start(struct blob_cascade *cascade);
