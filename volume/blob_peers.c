/* Everything but a local volume with one copy is looked up. Too few locations fail the request
 * before anything is changed, and the cached answer is dropped, so that a replica that comes
 * back is seen at once. Locations that are read-only do not count: a write there would fail
 * after it had been done here. */
#include "volume/blob_peers.h"

#include "volume/blob_access.h"

#include <inttypes.h>
#include <stddef.h>

static size_t count_writable(const struct volume_locations *locations)
{
    size_t count = 0;
    for (size_t i = 0; i < locations->count; i++)
        count += !locations->items[i].is_read_only;
    return count;
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct blob_peers *peers =
        (struct blob_peers *)((char *)lookup - offsetof(struct blob_peers, lookup));
    struct volume_http *http = peers->call->http;
    if (lookup->code != 0) {
        peers->code = error_set(&peers->err, lookup->code,
                                "replicating lookup failed for %" PRIu32 ": %s", peers->volume_id,
                                lookup->err.message);
        peers->done(peers);
        return;
    }
    peers->locations = lookup->locations;
    size_t writable = count_writable(lookup->locations);
    if (peers->copies > 0 && writable < peers->copies) {
        volume_lookup_forget(http->config.lookup, peers->volume_id);
        peers->code = error_set(&peers->err, KELP_E_PRECONDITION,
                                "%sreplication locations [%zu] is less than volume %" PRIu32
                                " replication copy count [%u]",
                                peers->is_write ? "writable " : "", writable, peers->volume_id,
                                peers->copies);
    }
    peers->done(peers);
}

void blob_peers_find(struct blob_peers *peers)
{
    struct volume_lookup *lookup = peers->call->http->config.lookup;
    peers->locations = NULL;
    peers->code = 0;
    if (!lookup && peers->copies == 0) {
        peers->done(peers);
        return;
    }
    if (!lookup) {
        peers->code = error_set(&peers->err, KELP_E_UNAVAILABLE,
                                "replicating lookup failed for %" PRIu32 ": no master is known",
                                peers->volume_id);
        peers->done(peers);
        return;
    }
    peers->lookup.loop = peers->call->request->loop;
    peers->lookup.volume_id = peers->volume_id;
    peers->lookup.done = on_found;
    volume_lookup_find(lookup, &peers->lookup);
}

void blob_peers_fini(struct blob_peers *peers)
{
    volume_locations_unref(peers->locations);
    peers->locations = NULL;
}

/* The client's token is good, but may run out before the replicas look at it; so where there is a key,
 * they get a fresh one. */
static struct slice token_for_replicas(struct blob_call *call)
{
    struct slice token = blob_access_token(call->request);
    struct blob_path path;
    if (token.len == 0)
        return token;
    blob_path_parse(call->request->path, &path);
    const char *file_id = arena_printf(call->request->arena, "%.*s,%.*s", (int)path.vid.len,
                                       path.vid.ptr, (int)path.fid.len, path.fid.ptr);
    struct slice own = blob_access_own_token(call, SECURITY_WRITE, slice_cstr(file_id));
    return own.len > 0 ? own : token;
}

void blob_peers_target(struct blob_peers *peers, struct replicator_target *ret)
{
    struct blob_call *call = peers->call;
    *ret = (struct replicator_target){
        .locations = peers->locations,
        .own_url = call->http->config.own_url,
        .skip_read_only = true,
        .path = call->request->raw_path,
        .authorization = token_for_replicas(call),
        .request_id = slice_cstr(call->request_id),
        .tls = security_client_tls(call->http->config.security),
        .timeout_ms = call->http->config.peer_timeout_ms,
    };
}
