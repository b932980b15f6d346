/* The fan-out of a write or a delete to the other replicas of its volume, over HTTP and in
 * parallel.
 *
 * One replicator per loop; everything here on that loop's thread. All peers are waited for;
 * those that failed are all named in the error, in the order of the list. What the others have
 * done is not undone: that is the caller's decision (blob_undo.h). Source: spec/volume-http.md
 * 14.8 and 15. */
#pragma once

#include "common/http_client.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "volume/storage/format/needle.h"
#include "volume/volume_lookup.h"

struct replicator;

/* A header of the answer to a replica's write: the blob was there before, perhaps with another
 * content. The peer does not have it. */
#define REPLICATOR_OVERWRITTEN "X-Kelp-Overwritten"

int replicator_create(struct replicator **ret, struct loop *loop, struct error *err);
/* Counts uploads that failed, by the status that the peer answered, "0" for none; NULL: does
 * not. */
void replicator_count_errors(struct replicator *replicator, struct metric_family *by_code);
/* Running fan-outs end with KELP_E_CANCELLED. NULL is fine. */
void replicator_destroy(struct replicator *replicator);

struct replicator_target {
    const struct volume_locations *locations; /* borrowed during the call */
    const char *own_url;                      /* left out of them */
    bool skip_read_only;                      /* leaves out those, too */
    bool is_chunk;        /* delete: one chunk of a file; stops there, even if it is a manifest */
    struct slice path;    /* of the request as sent, percent-encoded: "/3,01637037d6" */
    struct slice authorization; /* the client's token, without "Bearer "; may be empty */
    struct slice request_id;    /* sent on as x-amz-request-id */
    const struct http_client_tls *tls; /* borrowed until done; NULL: plain HTTP */
    unsigned timeout_ms; /* a peer, no byte of which has moved; 0: 30 s */
};

/* How many peers the target has. */
size_t replicator_peer_count(const struct replicator_target *target);

/* Exactly once, on the loop, possibly before the call returns when there is no peer. `err` is the
 * peers' texts, "[127.0.0.1:8081]: reason; [127.0.0.1:8082]: reason", when code is set. */
typedef void replicator_done(void *ctx, int code, const struct error *err);

/* POSTs the needle as multipart/form-data with type=replicate. The needle's slices are borrowed
 * until done. `content_md5` (base64) only if the client sent one. When it fails, *ret_taken is
 * set before `done` is called: the peers that have stored it nevertheless, and had nothing there
 * before; the receiver's to unref. */
void replicator_put(struct replicator *replicator, const struct replicator_target *target,
                    const struct needle *needle, struct slice content_md5, bool is_durable,
                    struct volume_locations **ret_taken, replicator_done *done, void *ctx);
/* 200, 202, 204 and 404 count as done. */
void replicator_delete(struct replicator *replicator, const struct replicator_target *target,
                       replicator_done *done, void *ctx);
