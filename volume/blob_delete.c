/* A delete on its way: find, read (for the cookie), peers, local tombstone, peers' tombstones,
 * reply. Whatever cannot be read cannot be deleted by a client: 404, and the blob stays.
 *
 * What is deleted here already may live on with a peer that did not answer then. The client was told of
 * that failure and asks again: so the peers are asked again too before the 404, which it may take for
 * success. They compare the cookie themselves. */
#include "volume/blob_delete.h"

#include "common/file_id.h"
#include "common/gzip.h"
#include "volume/blob_access.h"
#include "volume/blob_cascade.h"
#include "volume/blob_path.h"
#include "volume/blob_peers.h"
#include "volume/image_service.h"

#include <stddef.h>
#include <stdlib.h>

/* A manifest of more than this does not list chunks. */
#define MANIFEST_MAX (64u << 20)
/* Up to here the whole record is read (and its CRC checked), beyond it only both ends. */
#define WHOLE_RECORD_MAX (1u << 20)

struct blob_delete {
    struct blob_call *call;
    uint32_t volume_id, cookie;
    uint64_t key;
    struct volume *volume; /* acquired, or NULL */
    struct volume_read read;
    bool is_reading, is_whole;
    bool is_deleted; /* here already: only the peers are left */
    void *buffer; /* malloc'd */
    struct needle needle;
    struct blob_manifest *manifest; /* when it is one */
    struct blob_offload offload;
    struct blob_peers *peers; /* NULL when the volume has one copy, which is here */
    struct blob_append append;
    uint64_t size; /* that the reply tells */
    int64_t fanned_out_at_ns; /* monotonic */
    int code;
    struct error err;
};

/* ---- the end ---- */

static void let_go(struct blob_delete *delete)
{
    if (delete->is_reading)
        volume_read_end(&delete->read);
    delete->is_reading = false;
    if (delete->volume)
        store_release(delete->call->http->config.store, delete->volume);
    delete->volume = NULL;
    free(delete->buffer);
    delete->buffer = NULL;
    if (delete->peers)
        blob_peers_fini(delete->peers);
}

static void reply_size(struct blob_delete *delete, int status, uint64_t size)
{
    struct json_writer w;
    let_go(delete);
    blob_call_begin_json(delete->call, &w);
    json_writer_begin_object(&w);
    json_writer_member_uint(&w, "size", size);
    json_writer_end_object(&w);
    blob_call_end_json(delete->call, status);
}

static void fail(struct blob_delete *delete, const struct error *err)
{
    delete->err = *err;
    error_prefix(&delete->err, "Deletion Failed");
    let_go(delete);
    blob_call_reply_failure(delete->call, 500, &delete->err);
}

/* ---- the tombstones ---- */

static int64_t monotonic_ns(const struct blob_delete *delete)
{
    return os_monotonic_ns(delete->call->http->config.os);
}

static void on_replicated(void *ctx, int code, const struct error *err)
{
    struct blob_delete *delete = ctx;
    blob_metrics_replicated(delete->call->http->metrics, false, delete->peers->locations->count - 1,
                            code, monotonic_ns(delete) - delete->fanned_out_at_ns);
    if (code != 0)
        fail(delete, err);
    else
        reply_size(delete, delete->is_deleted ? 404 : 202, delete->size);
}

static void replicate(struct blob_delete *delete)
{
    struct replicator *replicator = blob_lane_replicator(delete->call->lane, &delete->err);
    if (!replicator) {
        struct error err = delete->err;
        fail(delete, &err);
        return;
    }
    struct replicator_target target;
    blob_peers_target(delete->peers, &target);
    delete->fanned_out_at_ns = monotonic_ns(delete);
    replicator_delete(replicator, &target, on_replicated, delete);
}

static void on_appended(struct blob_append *append)
{
    struct blob_delete *delete =
        (struct blob_delete *)((char *)append - offsetof(struct blob_delete, append));
    blob_metrics_outcome(delete->call->http->metrics, append->request.code);
    if (append->request.code != 0) {
        fail(delete, &append->request.err);
        return;
    }
    image_service_forget(delete->call->http->images, delete->volume_id, delete->key);
    delete->size = delete->manifest ? delete->manifest->size : (uint64_t)append->request.body_size;
    if (delete->peers) {
        replicate(delete);
        return;
    }
    blob_metrics_replicated(delete->call->http->metrics, false, 0, 0, 0);
    reply_size(delete, 202, delete->size);
}

static void append_tombstone(struct blob_delete *delete)
{
    struct append_request *request = &delete->append.request;
    request->volume = delete->volume;
    request->kind = APPEND_DELETE;
    /* The checksum, too: so does the peer. */
    request->needle = (struct needle){
        .key = delete->key, .cookie = delete->cookie, .checksum = delete->needle.checksum};
    request->check_cookie = true;
    request->is_durable = false;
    request->is_unchanged = false;
    request->code = 0;
    delete->append.done = on_appended;
    blob_lane_append(delete->call->lane,
                     store_append_queue(delete->call->http->config.store, delete->volume),
                     &delete->append);
}

static void on_peers(struct blob_peers *peers)
{
    struct blob_delete *delete = peers->user;
    if (peers->code != 0)
        fail(delete, &peers->err);
    else if (delete->is_deleted)
        replicate(delete);
    else
        append_tombstone(delete);
}

static void find_peers(struct blob_delete *delete)
{
    unsigned copies = replica_placement_copies(volume_replica_placement(delete->volume));
    if (copies == 1 || blob_call_query_is(delete->call, "type", "replicate")) {
        if (delete->is_deleted)
            reply_size(delete, 404, 0);
        else
            append_tombstone(delete);
        return;
    }
    struct blob_peers *peers = arena_calloc(delete->call->request->arena, sizeof(*peers));
    delete->peers = peers;
    peers->call = delete->call;
    peers->volume_id = delete->volume_id;
    peers->copies = copies;
    peers->done = on_peers;
    peers->user = delete;
    blob_peers_find(peers);
}

/* ---- the chunks of a manifest ---- */

static void on_chunks_deleted(struct blob_cascade *cascade)
{
    struct blob_delete *delete = cascade->user;
    if (cascade->code == 0) {
        find_peers(delete);
        return;
    }
    let_go(delete);
    blob_call_reply_failure(delete->call, 500, &cascade->err);
}

static void delete_chunks(struct blob_delete *delete)
{
    struct arena *arena = delete->call->request->arena;
    struct slice json = delete->needle.data;
    char *unpacked = NULL;
    size_t size;
    struct error reason;
    int code = 0;
    if (delete->needle.flags & NEEDLE_IS_GZIP) {
        code = gzip_decompress(json, MANIFEST_MAX, &unpacked, &size, &reason);
        if (code == 0)
            json = slice_of(unpacked, size);
    }
    delete->manifest = arena_calloc(arena, sizeof(*delete->manifest));
    if (code == 0)
        code = blob_manifest_parse(arena, json, delete->manifest, &reason);
    free(unpacked);
    if (code != 0) {
        struct error err;
        error_set(&err, code, "Load chunks manifest error: %s", reason.message);
        let_go(delete);
        blob_call_reply_failure(delete->call, 500, &err);
        return;
    }
    struct blob_cascade *cascade = arena_calloc(arena, sizeof(*cascade));
    cascade->call = delete->call;
    cascade->manifest = delete->manifest;
    cascade->done = on_chunks_deleted;
    cascade->user = delete;
    blob_cascade_start(cascade);
}

/* ---- find and read ---- */

static void check(struct blob_delete *delete);

static int read_needle(struct blob_delete *delete, bool nowait)
{
    return delete->is_whole
               ? volume_read_record(&delete->read, delete->buffer, nowait, &delete->needle, NULL)
               : volume_read_around(&delete->read, delete->buffer, nowait, &delete->needle, NULL);
}

static void read_on_worker(struct blob_offload *offload)
{
    struct blob_delete *delete =
        (struct blob_delete *)((char *)offload - offsetof(struct blob_delete, offload));
    delete->code = read_needle(delete, false);
}

static void on_read(struct blob_offload *offload)
{
    check((struct blob_delete *)((char *)offload - offsetof(struct blob_delete, offload)));
}

/* From here on the worker owns `code`. */
static void offload(struct blob_delete *delete)
{
    struct store *store = delete->call->http->config.store;
    if (blob_lane_offload_to_disk(delete->call->lane, store_location_of(store, delete->volume),
                                  &delete->offload) == 0)
        return;
    struct error err;
    error_set(&err, KELP_E_LIMIT, "too many requests wait for this disk: try again later");
    fail(delete, &err);
}

/* All of the record, or, of a big one, what is around the data. */
static void load(struct blob_delete *delete, bool is_whole)
{
    size_t size = delete->read.record_size;
    free(delete->buffer);
    delete->is_whole = is_whole;
    delete->buffer = malloc(is_whole ? size : VOLUME_READ_AROUND_MAX);
    delete->code = KELP_E_AGAIN;
    if (!delete->buffer)
        delete->code = KELP_E_NO_MEMORY;
    else if (size <= WHOLE_RECORD_MAX || !is_whole)
        delete->code = read_needle(delete, true);
    if (delete->code == KELP_E_AGAIN) {
        delete->offload.work = read_on_worker;
        delete->offload.done = on_read;
        offload(delete);
        return;
    }
    if (delete->code == KELP_E_NO_MEMORY) {
        struct error err;
        error_set(&err, delete->code, "no memory to read what is to be deleted: try again later");
        fail(delete, &err);
        return;
    }
    check(delete);
}

static void check(struct blob_delete *delete)
{
    if (delete->code != 0) {
        reply_size(delete, 404, 0);
        return;
    }
    if (delete->read.record_size != 0 && delete->needle.cookie != delete->cookie) {
        let_go(delete);
        blob_call_reply_error(delete->call, 400, "File Random Cookie does not match.");
        return;
    }
    bool is_manifest = (delete->needle.flags & NEEDLE_IS_CHUNK_MANIFEST) &&
                       !blob_call_query_is(delete->call, "cm", "false");
    if (is_manifest && !delete->is_whole) {
        load(delete, true);
        return;
    }
    volume_read_end(&delete->read);
    delete->is_reading = false;
    if (is_manifest)
        delete_chunks(delete);
    else
        find_peers(delete);
}

/* The needle was looked for; delete->code says how that went. */
static void found(struct blob_delete *delete)
{
    delete->is_deleted = delete->code == KELP_E_DELETED;
    if (delete->is_deleted) {
        find_peers(delete);
    } else if (delete->code == KELP_E_NOT_FOUND) {
        reply_size(delete, 404, 0);
    } else if (delete->code != 0) { /* not 404: that would read as "gone already" */
        fail(delete, &delete->err);
    } else {
        delete->is_reading = true;
        if (delete->read.record_size == 0)
            check(delete);
        else
            load(delete, delete->read.record_size <= WHOLE_RECORD_MAX);
    }
}

static void find_needle(struct blob_offload *offload)
{
    struct blob_delete *delete =
        (struct blob_delete *)((char *)offload - offsetof(struct blob_delete, offload));
    delete->code = volume_read_begin(delete->volume, delete->key, false, &delete->read, &delete->err);
}

static void on_found(struct blob_offload *offload)
{
    found((struct blob_delete *)((char *)offload - offsetof(struct blob_delete, offload)));
}

void blob_delete_start(struct blob_call *call)
{
    struct blob_path path;
    struct error err;
    struct blob_delete *delete = arena_calloc(call->request->arena, sizeof(*delete));
    delete->call = call;
    blob_path_parse(call->request->path, &path);
    if (needle_id_parse(path.fid, &delete->key, &delete->cookie, &err) != 0) {
        blob_call_reply_error(call, 400, err.message);
        return;
    }
    if (!blob_access_check(call, SECURITY_WRITE, &path))
        return;
    /* A volume id that is none stands for volume 0, which nobody has. */
    if (volume_id_parse(path.vid, &delete->volume_id, NULL) == 0 &&
        store_find(call->http->config.store, delete->volume_id, &delete->volume, &err) ==
            KELP_E_UNAVAILABLE) {
        /* 404 would read as "gone already", and the blob would stay for good. */
        blob_call_reply_loading(call, err.message);
        return;
    }
    if (!delete->volume) {
        reply_size(delete, 404, 0);
        return;
    }
    if (!volume_lookup_may_block(delete->volume)) {
        find_needle(&delete->offload);
        found(delete);
        return;
    }
    delete->offload.work = find_needle;
    delete->offload.done = on_found;
    offload(delete);
}
