/* Upstream fills one buffer while the other is on its way to the client; when both are full it
 * is told to wait, and TCP tells the other server. What has come in a turn goes out at its end,
 * so many small pieces become few writes.
 *
 *   on_data -> (a buffer) -> write -> on_written -> write what came meanwhile, resume upstream
 *
 * on_data and on_head are called from inside of curl, where nothing may end: the end is seen
 * only by on_upstream_done, on_written and blob_relay_abandon. */
#include "volume/blob_relay.h"

#include <stdlib.h>

static void end(struct blob_relay *relay)
{
    if (relay->upstream)
        http_client_cancel(relay->upstream);
    relay->upstream = NULL;
    relay->call->relay = NULL;
    for (int i = 0; i < 2; i++) {
        free(relay->buffers[i]);
        relay->buffers[i] = NULL;
    }
    int code = relay->is_client_gone ? KELP_E_CANCELLED : relay->code;
    relay->ops->done(relay, code, relay->err);
}

/* ---- writing ---- */

static void pump(struct blob_relay *relay);

static void on_written(struct http_request *request, int status, void *ctx)
{
    struct blob_relay *relay = ctx;
    relay->is_writing = false;
    relay->is_client_gone = relay->is_client_gone || status < 0;
    pump(relay);
}

static bool has_something(const struct blob_relay *relay)
{
    return relay->lengths[relay->filling] > 0;
}

/* Only when nothing is being written: then the other buffer is empty. */
static void start_write(struct blob_relay *relay)
{
    unsigned full = relay->filling;
    struct slice piece = slice_of(relay->buffers[full], relay->lengths[full]);
    relay->filling ^= 1;
    relay->lengths[relay->filling] = 0;
    relay->is_writing = true;
    relay->ops->begin(relay, piece);
    http_response_write(relay->call->request, piece, on_written, relay);
}

static bool is_over(const struct blob_relay *relay)
{
    if (relay->is_writing)
        return false;
    if (relay->is_client_gone || relay->code != 0)
        return true;
    return (!relay->upstream || relay->excess_bytes > 0) && !has_something(relay);
}

static void pump(struct blob_relay *relay)
{
    relay->is_pumping = true; /* resuming may call on_data */
    while (!relay->is_client_gone && relay->code == 0) {
        if (!relay->is_writing && has_something(relay)) {
            start_write(relay);
        } else if (relay->is_held && relay->upstream && !has_something(relay)) {
            relay->is_held = false;
            http_client_resume(relay->upstream);
        } else {
            break;
        }
    }
    relay->is_pumping = false;
    if (is_over(relay))
        end(relay);
}

/* ---- reading ---- */

static void fail(struct blob_relay *relay, int code, const char *message)
{
    if (relay->code != 0)
        return;
    relay->code = code;
    relay->err = arena_alloc(relay->call->request->arena, sizeof(*relay->err));
    error_set(relay->err, code, "%s", message);
}

/* The body's length as far as the header tells; what is wrong with it is curl's business. */
static uint64_t announced(const struct http_client_response *head)
{
    const char *length = http_client_response_header(head, "Content-Length");
    if (!length || http_client_response_header(head, "Transfer-Encoding"))
        return HTTP_LENGTH_CHUNKED;
    return strtoull(length, NULL, 10);
}

static bool on_head(void *ctx, const struct http_client_response *head)
{
    struct blob_relay *relay = ctx;
    relay->announced_bytes = announced(head);
    if (!relay->ops->on_head(relay, head)) {
        relay->is_refused = true;
        return false;
    }
    uint64_t most = relay->announced_bytes < relay->wanted_bytes ? relay->announced_bytes
                                                                 : relay->wanted_bytes;
    relay->capacity = most < BLOB_RELAY_BUFFER ? (size_t)most : BLOB_RELAY_BUFFER;
    return true;
}

/* Room for `n` bytes in the buffer that is being filled; NULL: not now, or never if code is set. */
static char *make_room(struct blob_relay *relay, size_t n)
{
    unsigned i = relay->filling;
    if (!relay->buffers[i])
        relay->buffers[i] = malloc(relay->capacity);
    if (!relay->buffers[i]) {
        fail(relay, KELP_E_NO_MEMORY, "out of memory: try again later");
        return NULL;
    }
    return relay->lengths[i] + n <= relay->capacity ? relay->buffers[i] + relay->lengths[i] : NULL;
}

static enum http_client_taken on_data(void *ctx, struct slice piece)
{
    struct blob_relay *relay = ctx;
    if (relay->is_client_gone || relay->code != 0)
        return HTTP_CLIENT_ENOUGH;
    size_t skipped = relay->skip_bytes < piece.len ? (size_t)relay->skip_bytes : piece.len;
    struct slice rest = slice_from(piece, skipped);
    uint64_t left = relay->wanted_bytes - relay->taken_bytes;
    size_t excess = rest.len > left ? rest.len - (size_t)left : 0;
    rest.len -= excess;
    if (relay->into) {
        memcpy(relay->into + relay->taken_bytes, rest.ptr, rest.len);
        relay->taken_bytes += rest.len;
    } else if (rest.len > 0) {
        char *room = make_room(relay, rest.len);
        if (!room && relay->code == 0) {
            relay->is_held = true;
            return HTTP_CLIENT_LATER;
        }
        if (!room)
            return HTTP_CLIENT_ENOUGH;
        memcpy(room, rest.ptr, rest.len);
        relay->lengths[relay->filling] += rest.len;
        relay->taken_bytes += rest.len;
    }
    relay->skip_bytes -= skipped;
    relay->excess_bytes += excess;
    if (!relay->is_writing && !relay->is_pumping && has_something(relay))
        start_write(relay);
    return relay->excess_bytes > BLOB_RELAY_EXCESS ? HTTP_CLIENT_ENOUGH : HTTP_CLIENT_TAKEN;
}

static const struct http_client_sink sink = {.on_head = on_head, .on_data = on_data};

static void on_upstream_done(void *ctx, int code, const struct http_client_response *response,
                             const struct error *err)
{
    struct blob_relay *relay = ctx;
    relay->upstream = NULL;
    /* Once all is here that is wanted, it does not matter how the rest went. */
    if (code != 0 && relay->taken_bytes < relay->wanted_bytes)
        fail(relay, code, err->message);
    pump(relay);
}

void blob_relay_start(struct blob_relay *relay, const struct http_client_request *request)
{
    struct blob_call *call = relay->call;
    relay->announced_bytes = HTTP_LENGTH_CHUNKED;
    struct http_client *client = blob_lane_http_client(call->lane, NULL);
    if (!client) {
        fail(relay, KELP_E_NO_MEMORY, "out of memory: try again later");
        end(relay);
        return;
    }
    call->relay = relay;
    relay->upstream = http_client_stream(client, request, &sink, on_upstream_done, relay);
}

void blob_relay_abandon(struct blob_relay *relay)
{
    /* One that only shut down its sending side still reads. */
    if (http_request_has_connection(relay->call->request))
        return;
    relay->is_client_gone = true;
    if (is_over(relay))
        end(relay);
}
