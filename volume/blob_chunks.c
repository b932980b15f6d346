/* One piece at a time: look the chunk's volume up, fetch a range of the chunk, write it out,
 * next. A piece is small, so a slow reader of a huge file costs little, and nothing is fetched
 * that he does not read. Chunks of this server are fetched over HTTP like all others. A chunk
 * that is a manifest itself is taken as the bytes that it is (cm=false): one that lists itself
 * would never end.
 *
 * Each piece names the byte that it must begin with; whatever comes back shorter breaks the
 * answer: a 500 while nothing has been sent, a cut connection afterwards. */
#include "volume/blob_chunks.h"

#include "common/mime.h"
#include "common/url.h"
#include "volume/blob_access.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#define CHUNK_PIECE (1u << 20)

struct chunks {
    struct blob *blob;
    const struct blob_manifest *manifest;
    struct blob_stream_plan plan;
    size_t segment;       /* of the plan, being sent */
    uint64_t done;        /* bytes of its data */
    bool is_head_sent;    /* of this segment */
    bool is_tail_sent, is_started;
    size_t chunk;         /* being fetched */
    uint64_t within;      /* its first byte that is wanted */
    size_t wanted;
    char *piece;          /* malloc'd: on its way to the client */
    const char *url;
    struct volume_lookup_request lookup;
};

static void go_on(struct chunks *chunks);

/* ---- the end ---- */

static void finish(struct chunks *chunks, const char *failure)
{
    struct blob_call *call = chunks->blob->call;
    free(chunks->piece);
    chunks->piece = NULL;
    blob_free(chunks->blob);
    if (!chunks->is_started && failure) {
        blob_metrics_event(call->http->metrics, BLOB_EVENT_GET_INTERNAL);
        blob_call_reply_text(call, 500, failure);
        return;
    }
    blob_call_close(call, chunks->plan.status);
    if (failure)
        http_response_abort(call->request);
    else
        http_response_end(call->request);
}

/* ---- writing ---- */

static void on_written(struct http_request *request, int status, void *ctx)
{
    struct chunks *chunks = ctx;
    free(chunks->piece);
    chunks->piece = NULL;
    if (status < 0)
        finish(chunks, "the client has gone");
    else
        go_on(chunks);
}

static void write_out(struct chunks *chunks, struct slice bytes)
{
    http_response_write(chunks->blob->call->request, bytes, on_written, chunks);
}

static void start(struct chunks *chunks, struct slice first)
{
    struct http_request *request = chunks->blob->call->request;
    if (chunks->is_started)
        return;
    chunks->is_started = true;
    if (chunks->plan.is_to_sniff && first.len > 0)
        http_response_set_header(request, "Content-Type", mime_sniff(first));
    http_response_start(request, chunks->plan.status, chunks->plan.total_length);
}

/* ---- fetching ---- */

static void on_fetched(void *ctx, int code, const struct http_client_response *response,
                       const struct error *err)
{
    struct chunks *chunks = ctx;
    struct arena *arena = chunks->blob->call->request->arena;
    if (code != 0) {
        finish(chunks, err->message);
        return;
    }
    if (response->status != 206 && response->status != 200) {
        finish(chunks, arena_printf(arena, "Read chunk needle error: [%d] %s", response->status,
                                    chunks->url));
        return;
    }
    /* A server that takes no ranges sends it all: then the piece is somewhere in it. */
    uint64_t skip = response->status == 200 ? chunks->within : 0;
    if (response->body_size < skip || response->body_size - skip < chunks->wanted) {
        finish(chunks, "EOF");
        return;
    }
    chunks->piece = malloc(chunks->wanted);
    if (!chunks->piece) {
        finish(chunks, "out of memory: try again later");
        return;
    }
    memcpy(chunks->piece, response->body + skip, chunks->wanted);
    struct slice bytes = slice_of(chunks->piece, chunks->wanted);
    chunks->done += chunks->wanted;
    start(chunks, bytes);
    write_out(chunks, bytes);
}

static void fetch(struct chunks *chunks, const char *host)
{
    struct blob_call *call = chunks->blob->call;
    struct arena *arena = call->request->arena;
    const struct blob_chunk *chunk = &chunks->manifest->chunks[chunks->chunk];
    struct buffer *path = blob_call_scratch(call);
    url_encode_path(path, chunk->fid);
    chunks->url = arena_printf(arena, "%s%s/%s", security_client_scheme(call->http->config.security), host,
                               buffer_cstr(path));
    struct slice token = blob_access_own_token(call, SECURITY_READ, chunk->fid);
    struct http_client_header headers[] = {
        {"Range", arena_printf(arena, "bytes=%" PRIu64 "-%" PRIu64, chunks->within,
                               chunks->within + chunks->wanted - 1)},
        {"Authorization", arena_printf(arena, "Bearer %.*s", (int)token.len, token.ptr)},
    };
    struct http_client_request request = {
        .method = "GET",
        .url = arena_printf(arena, "%s?cm=false", chunks->url),
        .tls = security_client_tls(call->http->config.security),
        .headers = headers,
        .header_count = token.len > 0 ? 2 : 1,
        .response_limit_bytes = call->http->body_limit_bytes,
    };
    struct http_client *client = blob_lane_http_client(call->lane, NULL);
    if (client)
        http_client_send(client, &request, on_fetched, chunks);
    else
        finish(chunks, "out of memory: try again later");
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct chunks *chunks =
        (struct chunks *)((char *)lookup - offsetof(struct chunks, lookup));
    struct volume_locations *locations = lookup->locations;
    const char *host = NULL;
    if (lookup->code == 0 && locations->count > 0) {
        size_t i = blob_lane_random(chunks->blob->call->lane) % locations->count;
        host = arena_printf(chunks->blob->call->request->arena, "%s", locations->items[i].url);
    }
    volume_locations_unref(locations);
    if (host)
        fetch(chunks, host);
    else
        finish(chunks, "File Not Found");
}

/* Which chunk holds this byte of the file, and how much of it is wanted. False for a gap. */
static bool find_chunk(struct chunks *chunks, uint64_t position, uint64_t left)
{
    const struct blob_manifest *manifest = chunks->manifest;
    uint64_t begin = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        const struct blob_chunk *chunk = &manifest->chunks[i];
        if (chunk->offset != begin)
            return false;
        if (position < begin + chunk->size) {
            chunks->chunk = i;
            chunks->within = position - begin;
            uint64_t most = chunk->size - chunks->within;
            most = most < left ? most : left;
            chunks->wanted = most < CHUNK_PIECE ? (size_t)most : CHUNK_PIECE;
            return true;
        }
        begin += chunk->size;
    }
    return false;
}

/* The next thing to send: a head, a piece of data, the tail. */
static void go_on(struct chunks *chunks)
{
    while (chunks->segment < chunks->plan.segment_count) {
        const struct blob_stream_segment *segment = &chunks->plan.segments[chunks->segment];
        if (!chunks->is_head_sent && segment->head.len > 0) {
            chunks->is_head_sent = true;
            start(chunks, (struct slice){0});
            write_out(chunks, segment->head);
            return;
        }
        uint64_t left = segment->length - chunks->done;
        if (left > 0) {
            if (!find_chunk(chunks, segment->position + chunks->done, left)) {
                finish(chunks, "Invalid range");
                return;
            }
            chunks->lookup.volume_id = chunks->manifest->chunks[chunks->chunk].volume_id;
            volume_lookup_find(chunks->blob->call->http->config.lookup, &chunks->lookup);
            return;
        }
        chunks->segment++;
        chunks->done = 0;
        chunks->is_head_sent = false;
    }
    start(chunks, (struct slice){0});
    if (!chunks->is_tail_sent && chunks->plan.tail.len > 0) {
        chunks->is_tail_sent = true;
        write_out(chunks, chunks->plan.tail);
        return;
    }
    finish(chunks, NULL);
}

void blob_chunks_start(struct blob *blob, const struct blob_manifest *manifest,
                       const struct blob_stream_plan *plan)
{
    struct chunks *chunks = arena_calloc(blob->call->request->arena, sizeof(*chunks));
    chunks->blob = blob;
    chunks->manifest = manifest;
    chunks->plan = *plan;
    chunks->lookup.loop = blob->call->request->loop;
    chunks->lookup.done = on_found;
    blob_let_go(blob);
    if (blob->call->http->config.lookup)
        go_on(chunks);
    else
        finish(chunks, "File Not Found");
}
