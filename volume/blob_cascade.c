/* One chunk after the other: a delete is rare, and a file of many chunks must not take all
 * connections. The requests are those of a replica's delete, so nobody passes them on; and a
 * manifest that lists itself (or another manifest) does not go round in circles. */
#include "volume/blob_cascade.h"

#include "common/url.h"
#include "volume/blob_access.h"

#include <inttypes.h>
#include <stddef.h>

static void delete_next(struct blob_cascade *cascade);

static void fail(struct blob_cascade *cascade, int code, const char *reason)
{
    const struct blob_chunk *chunk = &cascade->manifest->chunks[cascade->next];
    cascade->code = error_set(&cascade->err, code, "Delete chunks error: chunk delete %.*s: %s",
                              (int)chunk->fid.len, chunk->fid.ptr, reason);
    cascade->done(cascade);
}

static void on_deleted(void *ctx, int code, const struct error *err)
{
    struct blob_cascade *cascade = ctx;
    if (code != 0) {
        fail(cascade, code, err->message);
        return;
    }
    cascade->next++;
    delete_next(cascade);
}

static void delete_at(struct blob_cascade *cascade, const struct volume_locations *locations)
{
    struct blob_call *call = cascade->call;
    struct error err;
    struct replicator *replicator = blob_lane_replicator(call->lane, &err);
    if (!replicator) {
        fail(cascade, err.code, err.message);
        return;
    }
    struct slice fid = cascade->manifest->chunks[cascade->next].fid;
    struct buffer *path = blob_call_scratch(call);
    buffer_append_char(path, '/');
    url_encode_path(path, fid);
    struct replicator_target target = {
        .locations = locations,
        .own_url = "", /* this server is one like the others here */
        .is_chunk = true,
        .path = buffer_slice(path),
        .authorization = blob_access_own_token(call, SECURITY_WRITE, fid),
        .request_id = slice_cstr(call->request_id),
        .tls = security_client_tls(call->http->config.security),
        .timeout_ms = call->http->config.peer_timeout_ms,
    };
    replicator_delete(replicator, &target, on_deleted, cascade);
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct blob_cascade *cascade =
        (struct blob_cascade *)((char *)lookup - offsetof(struct blob_cascade, lookup));
    if (lookup->code != 0) {
        fail(cascade, lookup->code, lookup->err.message);
        return;
    }
    if (lookup->locations->count == 0) {
        char reason[48];
        snprintf(reason, sizeof(reason), "volume id %" PRIu32 " not found", lookup->volume_id);
        volume_locations_unref(lookup->locations);
        fail(cascade, KELP_E_NOT_FOUND, reason);
        return;
    }
    struct volume_locations *locations = lookup->locations;
    delete_at(cascade, locations);
    volume_locations_unref(locations);
}

static void delete_next(struct blob_cascade *cascade)
{
    if (cascade->next == cascade->manifest->count) {
        cascade->done(cascade);
        return;
    }
    struct volume_lookup *lookup = cascade->call->http->config.lookup;
    if (!lookup) {
        fail(cascade, KELP_E_UNAVAILABLE, "no master is known");
        return;
    }
    cascade->lookup.loop = cascade->call->request->loop;
    cascade->lookup.volume_id = cascade->manifest->chunks[cascade->next].volume_id;
    cascade->lookup.done = on_found;
    volume_lookup_find(lookup, &cascade->lookup);
}

void blob_cascade_start(struct blob_cascade *cascade)
{
    cascade->next = 0;
    cascade->code = 0;
    delete_next(cascade);
}
