/* One chunk after the other: look its volume up, ask a server that has it for the stretch that
 * is wanted, pass that on as it comes (blob_relay.h), next. A slow reader of a huge file costs
 * little, and nothing is fetched that he does not read. Chunks of this server are fetched over
 * HTTP like all others. A chunk that is a manifest itself is taken as the bytes that it is
 * (cm=false): one that lists itself would never end.
 *
 * A server that cannot be reached or does not give the chunk is no reason to give up while there
 * is another, but only before the chunk's first byte: what came may have been damaged, which the
 * server shows by cutting it short. Whatever is missing in the end breaks the answer: a 500
 * while nothing has been sent, a cut connection afterwards. */
#include "volume/blob_chunks.h"

#include "common/mime.h"
#include "common/url.h"
#include "volume/blob_access.h"
#include "volume/blob_relay.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

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
    uint64_t wanted;
    struct volume_lookup_request lookup;
    struct volume_locations *locations; /* of the chunk's volume */
    size_t first, tried; /* of them; how many */
    const char *url;     /* of the chunk, at the one that was asked last */
    int status;          /* that it answered; 0: none */
    struct blob_relay relay;
    char *assembled; /* malloc'd: where all goes instead of to the client; NULL: to the client */
    void (*next)(struct blob *blob);
};

static void go_on(struct chunks *chunks);

/* ---- the end ---- */

/* What the manifest itself was unpacked to is not needed any more. */
static void hand_over(struct chunks *chunks)
{
    struct blob *blob = chunks->blob;
    free(blob->unpacked);
    blob->unpacked = chunks->assembled;
    blob->content = slice_of(chunks->assembled, blob->manifest->total);
    blob->is_assembled = true;
    chunks->next(blob);
}

static void finish(struct chunks *chunks, const char *failure)
{
    struct blob_call *call = chunks->blob->call;
    volume_locations_unref(chunks->locations);
    chunks->locations = NULL;
    if (chunks->assembled && !failure) {
        hand_over(chunks);
        return;
    }
    free(chunks->assembled);
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

static void fetch(struct chunks *chunks);

static bool on_head(struct blob_relay *relay, const struct http_client_response *head)
{
    struct chunks *chunks = relay->ops_ctx;
    chunks->status = head->status;
    /* A server that takes no ranges sends it all: then the stretch is somewhere in it. */
    relay->skip_bytes = head->status == 200 ? chunks->within : 0;
    return head->status == 200 || head->status == 206;
}

static void begin(struct blob_relay *relay, struct slice first) { start(relay->ops_ctx, first); }

/* The server that was asked last has not given a byte of the chunk. */
static void try_another(struct chunks *chunks, int code, const struct error *err)
{
    struct blob_call *call = chunks->blob->call;
    bool is_answer = code == KELP_E_CANCELLED && chunks->status != 0;
    if (!is_answer)
        volume_lookup_forget(call->http->config.lookup, chunks->lookup.volume_id);
    if (chunks->tried < chunks->locations->count)
        fetch(chunks);
    else if (is_answer)
        finish(chunks, arena_printf(call->request->arena, "Read chunk needle error: [%d] %s",
                                    chunks->status, chunks->url));
    else
        finish(chunks, err->message);
}

static void on_relayed(struct blob_relay *relay, int code, const struct error *err)
{
    struct chunks *chunks = relay->ops_ctx;
    chunks->done += relay->taken_bytes;
    if (relay->is_client_gone)
        finish(chunks, "the client has gone");
    else if (code != 0 && relay->taken_bytes == 0)
        try_another(chunks, code, err);
    else if (code != 0 || relay->taken_bytes < chunks->wanted)
        finish(chunks, code != 0 ? err->message : "EOF");
    else
        go_on(chunks);
}

static const struct blob_relay_ops relay_ops = {
    .on_head = on_head, .begin = begin, .done = on_relayed};

/* Asks the next server of those that hold the chunk; there is one. */
static void fetch(struct chunks *chunks)
{
    struct blob_call *call = chunks->blob->call;
    struct arena *arena = call->request->arena;
    const struct blob_chunk *chunk = &chunks->manifest->chunks[chunks->chunk];
    size_t i = (chunks->first + chunks->tried++) % chunks->locations->count;
    struct buffer *path = blob_call_scratch(call);
    url_encode_path(path, chunk->fid);
    chunks->url = arena_printf(arena, "%s%s/%s",
                               security_client_scheme(call->http->config.security),
                               chunks->locations->items[i].url, buffer_cstr(path));
    chunks->status = 0;
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
        .response_timeout_ms = call->http->config.peer_timeout_ms,
    };
    chunks->relay = (struct blob_relay){
        .call = call, .ops = &relay_ops, .ops_ctx = chunks, .wanted_bytes = chunks->wanted};
    if (chunks->assembled)
        chunks->relay.into = chunks->assembled + chunks->done;
    blob_relay_start(&chunks->relay, &request);
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct chunks *chunks =
        (struct chunks *)((char *)lookup - offsetof(struct chunks, lookup));
    volume_locations_unref(chunks->locations);
    chunks->locations = lookup->locations;
    if (lookup->code != 0 || lookup->locations->count == 0) {
        finish(chunks, "File Not Found");
        return;
    }
    chunks->first = blob_lane_random(chunks->blob->call->lane) % lookup->locations->count;
    chunks->tried = 0;
    fetch(chunks);
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
            chunks->wanted = most < left ? most : left;
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
    if (!chunks->assembled)
        start(chunks, (struct slice){0});
    if (!chunks->is_tail_sent && chunks->plan.tail.len > 0) {
        chunks->is_tail_sent = true;
        write_out(chunks, chunks->plan.tail);
        return;
    }
    finish(chunks, NULL);
}

static struct chunks *make_chunks(struct blob *blob, const struct blob_manifest *manifest,
                                  const struct blob_stream_plan *plan)
{
    struct chunks *chunks = arena_calloc(blob->call->request->arena, sizeof(*chunks));
    chunks->blob = blob;
    chunks->manifest = manifest;
    chunks->plan = *plan;
    chunks->lookup.loop = blob->call->request->loop;
    chunks->lookup.done = on_found;
    return chunks;
}

static void begin_with_first(struct chunks *chunks)
{
    blob_let_go(chunks->blob);
    if (chunks->blob->call->http->config.lookup)
        go_on(chunks);
    else
        finish(chunks, "File Not Found");
}

void blob_chunks_start(struct blob *blob, const struct blob_manifest *manifest,
                       const struct blob_stream_plan *plan)
{
    begin_with_first(make_chunks(blob, manifest, plan));
}

void blob_chunks_assemble(struct blob *blob, void (*next)(struct blob *blob))
{
    const struct blob_manifest *manifest = blob->manifest;
    struct blob_stream_segment *all = arena_calloc(blob->call->request->arena, sizeof(*all));
    all->length = manifest->total;
    struct chunks *chunks = make_chunks(
        blob, manifest,
        &(struct blob_stream_plan){
            .status = 200, .segments = all, .segment_count = 1, .total_length = all->length});
    chunks->next = next;
    chunks->assembled = malloc(all->length + 1);
    if (chunks->assembled)
        begin_with_first(chunks);
    else
        finish(chunks, "out of memory: try again later");
}
