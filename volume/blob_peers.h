/* Which other servers hold a volume that is about to change, and whether there are as many as
 * its placement asks for. Source: spec/volume-http.md 14.8, step 1. Loop thread. */
#pragma once

#include "volume/blob_call.h"

struct blob_peers {
    struct blob_call *call;
    uint32_t volume_id;
    unsigned copies;  /* that the local volume's placement asks for; 0: it is not here */
    bool is_write;    /* else a delete */
    struct volume_lookup_request lookup;
    void (*done)(struct blob_peers *peers);
    void *user; /* of done */
    /* results */
    struct volume_locations *locations; /* for blob_peers_fini; NULL: no peers */
    int code;
    struct error err;
};

/* Fill in call, volume_id, copies, is_write and done, which is called once, possibly from
 * within. Not for a local volume with one copy: that has no peers. */
void blob_peers_find(struct blob_peers *peers);
void blob_peers_fini(struct blob_peers *peers);

/* What the fan-out needs to know of the request. */
void blob_peers_target(struct blob_peers *peers, struct replicator_target *ret);
