/* Finding and loading a blob: throttle, parse, look up, read, check the cookie. A small record
 * that is in the page cache is read right here, on the loop; anything else goes to the pool and
 * comes back. Records over 1 MiB are looked at from both ends first and then, if they are not
 * compressed, streamed. Of smaller ones a range may be had alone. */
#include "volume/blob_read.h"

#include "common/file_id.h"
#include "common/replica_placement.h"
#include "volume/blob_access.h"
#include "volume/blob_content.h"
#include "volume/blob_image.h"
#include "volume/blob_part.h"
#include "volume/blob_remote.h"

#include <stdlib.h>

/* Up to here a record is read in one piece. */
#define WHOLE_RECORD_MAX BLOB_PART_RECORD_MAX
/* Up to here its memory comes from the arena, beyond from malloc. */
#define ARENA_RECORD_MAX (32u << 10)

static void look_up(struct blob_call *call);
static void load(struct blob *blob);

/* ---- throttle ---- */

static void on_room(void *ctx, int code)
{
    struct blob_call *call = ctx;
    call->waiter = NULL;
    if (code == 0) {
        look_up(call);
    } else if (code == KELP_E_CANCELLED) {
        blob_call_reply_empty(call, 499);
    } else {
        struct http_request *request = call->request;
        struct in_flight *downloads = &call->http->downloads;
        http_response_header(request, "Retry-After", SLICE("1"));
        blob_call_reply_error(
            call, 429,
            arena_printf(request->arena,
                         "request %.*s because inflight download data %llu > %llu, "
                         "and wait timeout",
                         (int)request->path.len, request->path.ptr,
                         (unsigned long long)in_flight_bytes(downloads),
                         (unsigned long long)downloads->limit_bytes));
    }
}

/* A replicated volume can be read elsewhere: better than to wait here. */
static bool send_elsewhere(struct blob_call *call)
{
    if (blob_call_query_is(call, "proxied", "true"))
        return false;
    struct blob_path path;
    blob_path_parse(call->request->path, &path);
    uint32_t volume_id;
    if (volume_id_parse(path.vid, &volume_id, NULL) != 0) {
        blob_call_reply_empty(call, 400);
        return true;
    }
    struct volume *volume = store_acquire(call->http->config.store, volume_id);
    if (!volume)
        return false;
    unsigned copies = replica_placement_copies(volume_replica_placement(volume));
    store_release(call->http->config.store, volume);
    if (copies <= 1)
        return false;
    blob_remote_read(call, volume_id, &path,
                     call->http->config.read_mode == VOLUME_READ_PROXY ? VOLUME_READ_PROXY
                                                                       : VOLUME_READ_REDIRECT,
                     NULL);
    return true;
}

void blob_read_start(struct blob_call *call)
{
    struct volume_http *http = call->http;
    struct blob_path path;
    if (http->config.security && security_wants_token(http->config.security, SECURITY_READ)) {
        blob_path_parse(call->request->path, &path);
        if (!blob_access_check(call, SECURITY_READ, &path))
            return; /* before it may take up room: strangers must not */
    }
    if (!in_flight_is_over(&http->downloads)) {
        look_up(call);
        return;
    }
    blob_metrics_event(http->metrics, BLOB_EVENT_DOWNLOAD_LIMIT);
    if (send_elsewhere(call))
        return;
    int code = in_flight_wait(&http->downloads, call->request->loop, http->config.download_wait_ms,
                              false, on_room, call, &call->waiter);
    if (code != 0)
        on_room(call, KELP_E_TIMEOUT);
}

/* ---- find ---- */

static void fail(struct blob *blob, int code)
{
    if (blob_replace(blob, code, ""))
        return;
    bool is_missing = code == KELP_E_NOT_FOUND || code == KELP_E_DELETED || code == KELP_E_COOKIE;
    bool is_short = code == KELP_E_LIMIT || code == KELP_E_NO_MEMORY;
    struct blob_metrics *metrics = blob->call->http->metrics;
    blob_metrics_event(metrics, is_missing ? BLOB_EVENT_GET_NOT_FOUND : BLOB_EVENT_GET_INTERNAL);
    if (code == KELP_E_CORRUPT)
        blob_metrics_event(metrics, BLOB_EVENT_GET_DAMAGED);
    blob_metrics_read_failed(metrics, is_missing && code != KELP_E_COOKIE);
    blob_metrics_outcome(metrics, code);
    if (is_short)
        http_response_header(blob->call->request, "Retry-After", SLICE("1"));
    blob_reply_empty(blob, is_missing ? 404 : is_short ? 503 : 500);
}

/* The needle was looked for; blob->code says how that went. */
static void found(struct blob *blob)
{
    struct volume_http *http = blob->call->http;
    if (blob->code != 0) {
        fail(blob, blob->code);
        return;
    }
    blob->is_reading = true;
    if (http->downloads.limit_bytes != 0) {
        blob->call->download_bytes = blob->read.record_size;
        in_flight_enter(&http->downloads, blob->call->download_bytes);
    }
    load(blob);
}

static void find_needle(struct blob *blob)
{
    bool allow_deleted = blob_call_query_is(blob->call, "readDeleted", "true");
    blob->code = volume_read_begin(blob->volume, blob->key, allow_deleted, &blob->read, NULL);
}

static void look_up(struct blob_call *call)
{
    struct volume_http *http = call->http;
    struct http_request *request = call->request;
    struct blob *blob = arena_alloc(request->arena, sizeof(*blob));
    *blob = (struct blob){.call = call};
    blob_path_parse(request->path, &blob->path);
    if (volume_id_parse(blob->path.vid, &blob->volume_id, NULL) != 0 ||
        needle_id_parse(blob->path.fid, &blob->key, &blob->cookie, NULL) != 0) {
        blob_call_reply_empty(call, 400);
        return;
    }
    struct error why;
    int code = store_find(http->config.store, blob->volume_id, &blob->volume, &why);
    if (code != 0) {
        blob_remote_read(call, blob->volume_id, &blob->path, http->config.read_mode,
                         code == KELP_E_UNAVAILABLE ? &why : NULL);
        return;
    }
    if (volume_lookup_may_block(blob->volume)) {
        blob_offload(blob, find_needle, found);
        return;
    }
    find_needle(blob);
    found(blob);
}

/* ---- load ---- */

static void finish(struct blob *blob)
{
    if (blob->code != 0) {
        fail(blob, blob->code);
        return;
    }
    /* An empty blob has no record, so its cookie is not known. */
    if (blob->read.record_size != 0 && blob->needle.cookie != blob->cookie) {
        fail(blob, KELP_E_COOKIE);
        return;
    }
    if (!blob->is_streamed && blob->part.len == 0)
        blob_part_remember(blob);
    if (!blob->is_streamed)
        blob_let_go(blob);
    blob->content = blob->needle.data;
    blob_content_respond(blob);
}

static void read_record_waiting(struct blob *blob)
{
    blob->code = volume_read_record(&blob->read, blob->record, false, &blob->needle, NULL);
}

static void load_whole(struct blob *blob)
{
    size_t size = blob->read.record_size;
    blob->is_record_malloced = size > ARENA_RECORD_MAX;
    blob->record = blob->is_record_malloced ? malloc(size)
                                            : arena_alloc(blob->call->request->arena, size);
    if (!blob->record) {
        fail(blob, KELP_E_NO_MEMORY);
        return;
    }
    /* A big one is checked and copied on the pool in any case: that takes longer than a turn
     * may. */
    blob->code = blob->read.record_size <= WHOLE_RECORD_MAX
                     ? volume_read_record(&blob->read, blob->record, true, &blob->needle, NULL)
                     : KELP_E_AGAIN;
    if (blob->code == KELP_E_AGAIN)
        blob_offload(blob, read_record_waiting, finish);
    else
        finish(blob);
}

static void finish_around(struct blob *blob)
{
    bool is_plain =
        blob->code == 0 && !(blob->needle.flags & (NEEDLE_IS_GZIP | NEEDLE_IS_CHUNK_MANIFEST));
    /* A big picture that is to be scaled is needed whole, unless that has been done. */
    if (blob->code == 0 && (!is_plain || blob_image_wants_whole(blob))) {
        load_whole(blob);
        return;
    }
    blob->is_streamed = is_plain;
    finish(blob);
}

static void read_around_waiting(struct blob *blob)
{
    blob->code = volume_read_around(&blob->read, blob->around, false, &blob->needle, NULL);
}

static void load_around(struct blob *blob)
{
    blob->around = malloc(VOLUME_READ_AROUND_MAX);
    if (!blob->around) {
        fail(blob, KELP_E_NO_MEMORY);
        return;
    }
    blob->code = volume_read_around(&blob->read, blob->around, true, &blob->needle, NULL);
    if (blob->code == KELP_E_AGAIN)
        blob_offload(blob, read_around_waiting, finish_around);
    else
        finish_around(blob);
}

static void load(struct blob *blob)
{
    if (blob->read.record_size == 0)
        finish(blob);
    else if (blob->read.record_size > WHOLE_RECORD_MAX)
        load_around(blob);
    else if (blob_part_load(blob))
        finish(blob);
    else
        load_whole(blob);
}
