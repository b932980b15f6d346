/* A write on its way, after upload_gate.c has let its body in: form, volume id, body, needle,
 * peers, local append, peers' append, reply.
 *
 * Everything that can be wrong with the request is found before the volume is touched. The local
 * append comes first, also when it finds the same blob there already; then all peers at once;
 * the reply tells of all that failed. A new blob is then taken back wherever it was stored
 * (blob_undo.h), so that what the client was refused is not there after all; an overwritten one
 * stays as it is. */
#include "volume/blob_write.h"

#include "common/crc32c.h"
#include "common/file_id.h"
#include "volume/blob_doubt.h"
#include "volume/blob_path.h"
#include "volume/blob_peers.h"
#include "volume/blob_undo.h"
#include "volume/blob_upload.h"
#include "volume/image_service.h"
#include "volume/replicator.h"

#include <inttypes.h>
#include <stddef.h>

struct blob_write {
    struct blob_call *call;
    struct blob_upload upload;
    uint32_t volume_id;
    struct volume *volume; /* acquired while it is looked at or written to, else NULL */
    bool is_local, is_unchanged;
    bool is_new; /* and not: an overwrite */
    struct blob_doubt *doubt; /* of a replicated volume that is here, else NULL */
    struct volume_locations *taken; /* who stored it, when others did not */
    int64_t phase_began_ns; /* monotonic; of what runs: the local write, then the replicas' */
    struct blob_peers *peers; /* NULL when the volume has one copy, which is here */
    struct blob_append append;
    struct blob_offload offload;
    int code;
    struct error *err; /* the append's: errors are large and there is one at a time */
};

static void parse(struct blob_write *write);
static void place(struct blob_write *write);

/* ---- the end ---- */

static void let_go(struct blob_write *write)
{
    if (write->volume)
        store_release(write->call->http->config.store, write->volume);
    write->volume = NULL;
    if (write->peers)
        blob_peers_fini(write->peers);
    volume_locations_unref(write->taken);
    write->taken = NULL;
    blob_doubt_leave(write->call->http->doubts, write->doubt);
    write->doubt = NULL;
    blob_upload_fini(&write->upload);
}

static void fail(struct blob_write *write, int status, const struct error *err)
{
    let_go(write); /* the arena keeps what err points to */
    blob_call_reply_failure(write->call, status, err);
}

static void reply(struct blob_write *write)
{
    struct blob_call *call = write->call;
    struct http_request *request = call->request;
    struct needle *needle = &write->upload.needle;
    char etag[BLOB_ETAG_SIZE];
    http_response_header(request, "Etag", blob_call_etag(needle->checksum, etag));
    http_response_header(request, "Content-Md5", write->upload.content_md5);
    if (write->upload.is_replicate && !write->is_new)
        http_response_header(request, REPLICATOR_OVERWRITTEN, SLICE("true"));
    let_go(write);
    if (write->is_unchanged) {
        blob_call_reply_empty(call, 204);
        return;
    }
    struct json_writer w;
    blob_call_begin_json(call, &w);
    json_writer_begin_object(&w);
    if (needle->name.len > 0)
        json_writer_member_string(&w, "name", needle->name);
    if (write->upload.original_size > 0)
        json_writer_member_uint(&w, "size", write->upload.original_size);
    json_writer_member_string(&w, "eTag", slice_of(etag + 1, 8));
    if (needle->mime.len > 0)
        json_writer_member_string(&w, "mime", needle->mime);
    if (write->upload.content_md5.len > 0)
        json_writer_member_string(&w, "contentMd5", write->upload.content_md5);
    json_writer_end_object(&w);
    blob_call_end_json(call, 201);
}

void blob_write_start(struct blob_call *call)
{
    struct blob_write *write = arena_alloc(call->request->arena, sizeof(*write));
    write->call = call;
    write->volume = NULL;
    write->is_local = write->is_unchanged = write->is_new = false;
    write->doubt = NULL;
    write->taken = NULL;
    write->upload.packed = NULL;
    write->peers = NULL;
    write->err = &write->append.request.err;
    parse(write);
}

/* ---- the needle ---- */

static void digest(struct blob_offload *offload)
{
    struct blob_write *write =
        (struct blob_write *)((char *)offload - offsetof(struct blob_write, offload));
    write->code = blob_upload_digest(&write->upload, write->err);
}

static void on_digested(struct blob_offload *offload)
{
    struct blob_write *write =
        (struct blob_write *)((char *)offload - offsetof(struct blob_write, offload));
    if (write->code != 0)
        fail(write, 400, write->err);
    else
        place(write);
}

static int parse_all(struct blob_write *write)
{
    struct slice path = write->call->request->path;
    struct blob_path parts;
    int code = blob_upload_parse_form(write->call, &write->upload, write->err);
    if (code != 0)
        return code;
    blob_path_parse(path, &parts);
    code = volume_id_parse(parts.vid, &write->volume_id, write->err);
    if (code == 0)
        code = blob_upload_parse_body(write->call, &write->upload, write->err);
    if (code == 0)
        code = needle_id_parse(blob_path_write_id(path), &write->upload.needle.key,
                               &write->upload.needle.cookie, write->err);
    return code;
}

static void parse(struct blob_write *write)
{
    struct blob_call *call = write->call;
    if (parse_all(write) != 0) {
        fail(write, 400, write->err);
        return;
    }
    write->offload.work = digest;
    write->offload.done = on_digested;
    if (!blob_upload_is_slow(&write->upload)) {
        digest(&write->offload);
        on_digested(&write->offload);
    } else if (blob_lane_offload(call->lane, &write->offload) != 0) {
        error_set(write->err, KELP_E_LIMIT, "too much waits to be compressed: try again later");
        fail(write, 503, write->err);
    }
}

/* ---- storing ---- */

/* 0 when nobody wants to know. */
static int64_t monotonic_ns(const struct blob_write *write)
{
    const struct volume_http *http = write->call->http;
    return http->metrics ? os_monotonic_ns(http->config.os) : 0;
}

static void on_undone(struct blob_undo *undo)
{
    struct blob_write *write = undo->user;
    fail(write, 500, &undo->err);
}

/* Not all replicas have it. */
static void fail_replicated(struct blob_write *write)
{
    struct volume_http *http = write->call->http;
    if (!write->is_new || !write->doubt || !blob_doubt_begin_undo(http->doubts, write->doubt)) {
        fail(write, 500, write->err);
        return;
    }
    struct blob_undo *undo = arena_calloc(write->call->request->arena, sizeof(*undo));
    undo->call = write->call;
    undo->volume_id = write->volume_id;
    undo->key = write->upload.needle.key;
    undo->cookie = write->upload.needle.cookie;
    undo->checksum = write->upload.needle.checksum;
    undo->taken = write->taken;
    undo->done = on_undone;
    undo->user = write;
    undo->err = *write->err;
    write->taken = NULL;
    blob_undo_start(undo);
}

static void on_replicated(void *ctx, int code, const struct error *err)
{
    struct blob_write *write = ctx;
    struct volume_http *http = write->call->http;
    int64_t took_ns = monotonic_ns(write) - write->phase_began_ns;
    blob_metrics_phase_end(write->call->lane->tally, BLOB_PHASE_REPLICAS, took_ns);
    blob_metrics_replicated(http->metrics, true, write->peers->locations->count - write->is_local,
                            code, took_ns);
    if (code == 0) {
        reply(write);
        return;
    }
    blob_metrics_event(http->metrics, BLOB_EVENT_WRITE_REPLICAS);
    *write->err = *err;
    error_prefix(write->err, "failed to write to replicas for volume %" PRIu32, write->volume_id);
    fail_replicated(write);
}

static void replicate(struct blob_write *write)
{
    if (!write->peers || !write->peers->locations) {
        blob_metrics_replicated(write->call->http->metrics, true, 0, 0, 0);
        reply(write);
        return;
    }
    struct replicator *replicator = blob_lane_replicator(write->call->lane, write->err);
    if (!replicator) {
        fail_replicated(write);
        return;
    }
    struct replicator_target target;
    blob_peers_target(write->peers, &target);
    write->phase_began_ns = monotonic_ns(write);
    blob_metrics_phase_begin(write->call->lane->tally, BLOB_PHASE_REPLICAS);
    /* The sum is of what the client sent, which may not be what is stored. */
    struct slice sum = write->upload.is_turned ? (struct slice){0} : write->upload.content_md5;
    replicator_put(replicator, &target, &write->upload.needle, sum,
                   write->upload.is_durable, &write->taken, on_replicated, write);
}

static void on_appended(struct blob_append *append)
{
    struct blob_write *write =
        (struct blob_write *)((char *)append - offsetof(struct blob_write, append));
    struct blob_metrics *metrics = write->call->http->metrics;
    store_release(write->call->http->config.store, write->volume);
    write->volume = NULL;
    blob_metrics_phase_end(write->call->lane->tally, BLOB_PHASE_LOCAL,
                           monotonic_ns(write) - write->phase_began_ns);
    blob_metrics_outcome(metrics, append->request.code);
    if (append->request.code != 0) {
        blob_metrics_event(metrics, BLOB_EVENT_WRITE_LOCAL);
        error_prefix(write->err, "failed to write to local disk");
        fail(write, 500, write->err);
        return;
    }
    write->is_unchanged = append->request.is_unchanged;
    write->is_new = append->request.is_new;
    if (!write->is_unchanged)
        image_service_forget(write->call->http->images, write->volume_id,
                             write->upload.needle.key);
    /* The volume's own TTL may have come in: the replicas are to have it too. */
    write->upload.needle.ttl = append->request.needle.ttl;
    write->upload.needle.flags = append->request.needle.flags;
    replicate(write);
}

static void append_locally(struct blob_write *write)
{
    struct append_request *request = &write->append.request;
    request->volume = write->volume;
    request->kind = APPEND_PUT;
    request->needle = write->upload.needle;
    request->check_cookie = true;
    request->is_durable = write->upload.is_durable;
    request->is_unchanged = request->is_new = false;
    request->code = 0;
    write->phase_began_ns = monotonic_ns(write);
    blob_metrics_phase_begin(write->call->lane->tally, BLOB_PHASE_LOCAL);
    write->append.done = on_appended;
    blob_lane_append(write->call->lane,
                     store_append_queue(write->call->http->config.store, write->volume),
                     &write->append);
}

static void fail_not_here(struct blob_write *write)
{
    error_set(write->err, KELP_E_NOT_FOUND, "volume %" PRIu32 " not found on %s", write->volume_id,
              write->call->http->config.own_url);
    fail(write, 500, write->err);
}

static void on_peers(struct blob_peers *peers)
{
    struct blob_write *write = peers->user;
    struct replicator_target target;
    if (peers->code != 0) {
        fail(write, 500, &peers->err);
        return;
    }
    blob_peers_target(peers, &target);
    if (write->is_local)
        append_locally(write);
    else if (replicator_peer_count(&target) == 0)
        fail_not_here(write);
    else
        replicate(write);
}

static void place(struct blob_write *write)
{
    struct blob_call *call = write->call;
    /* One that is being loaded is not written to elsewhere only: it would lack the blob. */
    if (store_find(call->http->config.store, write->volume_id, &write->volume, write->err) ==
        KELP_E_UNAVAILABLE) {
        let_go(write);
        blob_call_reply_loading(call, write->err->message);
        return;
    }
    write->is_local = write->volume != NULL;
    unsigned copies =
        write->volume ? replica_placement_copies(volume_replica_placement(write->volume)) : 0;
    if (copies > 1)
        write->doubt = blob_doubt_enter(call->http->doubts, write->volume_id,
                                        write->upload.needle.key);
    if (copies > 1 && !write->doubt) {
        error_set(write->err, KELP_E_LIMIT,
                  "a failed write of this file id is being undone: try again");
        fail(write, 503, write->err);
        return;
    }
    if (write->upload.is_replicate || copies == 1) {
        if (write->is_local)
            append_locally(write);
        else
            fail_not_here(write);
        return;
    }
    struct blob_peers *peers = arena_alloc(call->request->arena, sizeof(*peers));
    write->peers = peers;
    peers->call = call;
    peers->volume_id = write->volume_id;
    peers->copies = copies;
    peers->is_write = true;
    peers->done = on_peers;
    peers->user = write;
    blob_peers_find(peers);
}
