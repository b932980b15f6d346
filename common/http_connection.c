/* A connection: accepting, reading, and its states.
 *
 *            +--------------------------- response out, keep-alive ---------------------------+
 *            v                                                                                 |
 *   HEAD --header complete--> BODY --body complete--> HANDLING (on_request; response pending) -+
 *    |                         |                          |
 *    |                         +-- answered early --> DISCARD (short rest, parsed away) -> HEAD
 *    |                         |                          |
 *    +-- bad input, limits, time-outs, no keep-alive --> LINGER (bytes are dropped) --> CLOSED
 *
 * While a request is handled the connection is still read, because that is how the end of a client
 * is noticed; what comes is kept, up to HTTP_PENDING_LIMIT, and then reading stops. LINGER shuts
 * down our side and drops what comes, so that a client that is still sending gets to read the
 * answer instead of a reset. Any state may go to CLOSED when the socket breaks; the exchange then
 * lives on alone until its handler has responded.
 *
 * HEAD, BODY and DISCARD take bytes in http_feed.c; a response that is given from in there leaves
 * the going on to it. */
#include "common/http_connection.h"

#include "common/check.h"
#include "common/http_body.h"
#include "common/http_closing.h"
#include "common/http_feed.h"
#include "common/http_lane.h"
#include "common/http_parser.h"
#include "common/http_tls.h"

#include <stdlib.h>

#define DRAIN_PROGRESS 1024u
#define SEALED_RECORD_MAX (16u << 10) /* of plain text in one record of TLS */

static void read_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret);
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

static void start_reading(struct http_connection *c)
{
    if (c->is_reading || c->has_seen_eof || c->state == HTTP_CONNECTION_CLOSED)
        return;
    c->is_reading = uv_read_start((uv_stream_t *)&c->tcp, read_alloc, on_read) == 0;
}

static void stop_reading(struct http_connection *c)
{
    if (c->is_reading)
        uv_read_stop((uv_stream_t *)&c->tcp);
    c->is_reading = false;
}

static enum http_wait wait_of(const struct http_connection *c)
{
    const struct http_exchange *x = c->exchange;
    if (x && x->response_state != HTTP_RESPONSE_NONE)
        return x->is_write_queued ? HTTP_WAIT_CLIENT : HTTP_WAIT_HANDLER;
    switch ((enum http_connection_state)c->state) {
    case HTTP_CONNECTION_HEAD:
        return x || c->is_greeting ? HTTP_WAIT_HEAD : HTTP_WAIT_IDLE;
    case HTTP_CONNECTION_BODY:
        return c->is_held ? HTTP_WAIT_HANDLER : HTTP_WAIT_CLIENT;
    case HTTP_CONNECTION_DISCARD:
        return HTTP_WAIT_CLIENT;
    case HTTP_CONNECTION_HANDLING:
        return HTTP_WAIT_HANDLER;
    case HTTP_CONNECTION_LINGER:
        return HTTP_WAIT_LINGER;
    default:
        return HTTP_WAIT_COUNT;
    }
}

static void rewait(struct http_connection *c)
{
    if (c->state == HTTP_CONNECTION_CLOSED)
        return;
    enum http_wait wait = wait_of(c);
    if (wait != HTTP_WAIT_HEAD ||
        c->wait != HTTP_WAIT_HEAD) /* its clock runs from the first byte */
        http_lane_wait(c, wait);
}

/* Keeps bytes that came while a request is handled, or of a body that has to wait. */
static void keep_pending(struct http_connection *c, const char *data, size_t size)
{
    size_t kept = c->pending_end - c->pending_start;
    char *pending = malloc(kept + size);
    if (!pending) {
        http_closing_now(c);
        return;
    }
    if (kept)
        memcpy(pending, c->pending + c->pending_start, kept);
    memcpy(pending + kept, data, size);
    free(c->pending);
    c->pending = pending;
    c->pending_start = 0;
    c->pending_end = (uint32_t)(kept + size);
    if (c->pending_end >= (c->is_held ? HTTP_HELD_LIMIT : HTTP_PENDING_LIMIT))
        stop_reading(c);
}

static void go_on_after_eof(struct http_connection *c);

/* Takes up the bytes that were kept, after a response. */
static void resume(struct http_connection *c)
{
    if (c->pending_end > c->pending_start || c->is_paused) {
        /* feed may free or replace pending (stop_parsing): hold the block here. */
        char *block = c->pending;
        uint32_t start = c->pending_start, end = c->pending_end;
        c->pending = NULL;
        c->pending_start = c->pending_end = 0;
        uint32_t used = (uint32_t)http_feed_bytes(c, block + start, end - start);
        if (start + used < end && c->state != HTTP_CONNECTION_CLOSED &&
            c->state != HTTP_CONNECTION_LINGER) {
            c->pending = block;
            c->pending_start = start + used;
            c->pending_end = end;
        } else {
            free(block);
        }
    }
    if (c->pending_end - c->pending_start < HTTP_PENDING_LIMIT)
        start_reading(c);
    if (c->has_seen_eof)
        go_on_after_eof(c);
    rewait(c);
}

/* --- bodies that have to wait ------------------------------------------------------------------
 */

void http_request_pause(struct http_request *request)
{
    struct http_connection *c = http_exchange_of(request)->connection;
    if (c && c->state == HTTP_CONNECTION_BODY)
        c->is_held = true;
}

void http_request_resume(struct http_request *request)
{
    struct http_exchange *x = http_exchange_of(request);
    struct http_connection *c = x->connection;
    if (!c || !c->is_held)
        return;
    c->is_held = false;
    if (c->is_parsing)
        return; /* from within on_headers or on_body: the loop there goes on */
    if (!x->is_admitted)
        http_feed_admit_body(c, c->pending_end > c->pending_start);
    resume(c);
}

/* --- what the lane tells us ---------------------------------------------------------------------
 */

static void on_response_done(struct http_connection *c)
{
    struct http_exchange *x = c->exchange;
    c->is_held = false;
    http_feed_settle(c); /* when the whole response went out inside the handler's call */
    bool keeps_alive = x->keeps_alive && !c->lane->is_stopping;
    c->exchange = NULL;
    http_lane_return(x);
    if (c->state == HTTP_CONNECTION_HANDLING)
        c->state = HTTP_CONNECTION_HEAD;
    if (!keeps_alive) {
        bool is_read = c->state == HTTP_CONNECTION_HEAD && c->pending_start == c->pending_end;
        if (is_read && !c->is_parsing) {
            http_tls_end(c);
            http_closing_now(c);
        } else {
            http_closing_linger(c);
        }
        start_reading(c); /* when the client's end is still to come */
    } else if (!c->is_parsing) {
        resume(c);
    }
}

void http_connection_attach(struct http_lane *lane)
{
    lane->on_response_done = on_response_done;
    lane->on_broken = http_closing_now;
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* Where the next bytes of a request go. */
static uv_buf_t find_room(struct http_connection *c, char *buffer, size_t size)
{
    http_feed_settle(c); /* a response that was given in the middle of a body */
    /* A body of known length is read right to where it belongs. */
    bool is_direct = c->state == HTTP_CONNECTION_BODY && !c->is_chunked && !c->is_held;
    uv_buf_t room;
    return is_direct && http_body_room(c->exchange, &room) ? room
                                                           : uv_buf_init(buffer, (unsigned)size);
}

static void read_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct http_connection *c = handle->data;
    if (c->tls)
        *ret = uv_buf_init(c->lane->read_buffer, HTTP_READ_BUFFER_SIZE);
    else
        *ret = find_room(c, c->lane->read_buffer, HTTP_READ_BUFFER_SIZE);
}

/* The client has shut down its sending side; it may still read. */
static void go_on_after_eof(struct http_connection *c)
{
    switch ((enum http_connection_state)c->state) {
    case HTTP_CONNECTION_BODY:
        /* One that waits may be here already, all of it. */
        if (!c->is_held || (c->exchange->request.has_body && c->pending_start == c->pending_end))
            http_closing_refuse(c, 400, "unexpected EOF"); /* the body is shorter than announced */
        break;
    case HTTP_CONNECTION_HANDLING:
        if (c->pending_start == c->pending_end && c->exchange->response_state == HTTP_RESPONSE_NONE)
            http_closing_notify(c->exchange);
        break;
    case HTTP_CONNECTION_CLOSED:
        break;
    default:
        if (!c->exchange || c->state == HTTP_CONNECTION_HEAD)
            http_closing_now(c);
        else
            http_closing_stop_parsing(c); /* closes when the response is out */
    }
}

static void drop_bytes(struct http_connection *c, size_t size)
{
    c->drain_left -= size < c->drain_left ? size : c->drain_left;
    if (c->drain_left > 0) {
        if (size >= DRAIN_PROGRESS) /* a trickle does not buy time */
            rewait(c);
    } else if (c->exchange) {
        stop_reading(c);
    } else {
        http_closing_now(c);
    }
}

static void take_end(struct http_connection *c)
{
    c->has_seen_eof = true;
    stop_reading(c);
    go_on_after_eof(c);
}

/* Each byte starts the idle clock anew; with a byte now and then a body would hold its place for
 * ever. */
static bool is_too_slow(const struct http_connection *c)
{
    const struct http_exchange *x = c->exchange;
    if (c->state != HTTP_CONNECTION_BODY || c->is_held || x->response_state != HTTP_RESPONSE_NONE)
        return false;
    uint64_t age_ms = loop_now_ms(c->lane->loop) - x->body_since_ms;
    uint64_t grace_ms = (uint64_t)c->lane->shared->idle_timeout_ms * HTTP_SLOW_BODY_TIMEOUTS;
    return age_ms > grace_ms && x->body_length < age_ms * HTTP_SLOW_RATE / 1000;
}

static void take_bytes(struct http_connection *c, const char *data, size_t size)
{
    size_t used = http_feed_is_possible(c) ? http_feed_bytes(c, data, size) : 0;
    if (used < size && (c->state == HTTP_CONNECTION_HANDLING || c->is_held))
        keep_pending(c, data + used, size - used);
    if (is_too_slow(c)) {
        HTTP_COUNT(c->lane, timeouts, 1);
        http_closing_refuse(c, 408, "the request body comes too slowly");
    }
    rewait(c);
}

/* Opens what came in, record by record. */
static void take_sealed(struct http_connection *c, struct slice sealed)
{
    char record[SEALED_RECORD_MAX];
    http_tls_feed(c, sealed);
    while (c->state != HTTP_CONNECTION_LINGER && c->state != HTTP_CONNECTION_CLOSED) {
        uv_buf_t room = find_room(c, record, sizeof(record));
        size_t size;
        switch (http_tls_next(c, room, &size)) {
        case HTTP_TLS_DATA:
            take_bytes(c, room.base, size);
            break;
        case HTTP_TLS_MORE:
            return;
        case HTTP_TLS_END:
            take_end(c);
            return;
        case HTTP_TLS_PLAIN:
            http_closing_linger(c);
            return;
        case HTTP_TLS_BROKEN:
            http_closing_now(c);
            return;
        }
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct http_connection *c = stream->data;
    if (size == 0 || c->state == HTTP_CONNECTION_CLOSED)
        return;
    if (size == UV_EOF) {
        take_end(c);
        return;
    }
    if (size < 0) {
        http_closing_now(c);
        return;
    }
    HTTP_COUNT(c->lane, bytes_in, (uint64_t)size);
    if (c->state == HTTP_CONNECTION_LINGER) {
        drop_bytes(c, (size_t)size);
        return;
    }
    loop_doing("reading a connection");
    if (c->tls)
        take_sealed(c, slice_of(buf->base, (size_t)size));
    else
        take_bytes(c, buf->base, (size_t)size);
    loop_lap();
}

void http_connection_accept(struct http_lane *lane)
{
    struct http_connection *c = must(calloc(1, sizeof(*c)));
    c->lane = lane;
    c->wait = HTTP_WAIT_COUNT;
    c->drain_left = HTTP_DRAIN_LIMIT;
    c->tcp.data = c;
    CHECK(uv_tcp_init(loop_uv(lane->loop), &c->tcp) == 0);
    http_lane_hold(lane);
    unsigned before =
        atomic_fetch_add_explicit(&lane->shared->connections, 1, memory_order_relaxed);
    if (uv_accept((uv_stream_t *)&lane->listener, (uv_stream_t *)&c->tcp) != 0) {
        http_closing_now(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    int peer_size = sizeof(c->peer);
    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&c->peer, &peer_size);
    http_parser_start(c);
    unsigned limit = lane->shared->connection_limit;
    if (limit && before >= limit) {
        HTTP_COUNT(lane, connections_refused, 1);
        /* A flood, or one that an answer would cost a handshake: not even that. */
        if (lane->shared->tls || before >= limit + limit / 4 + 64) {
            http_closing_now(c);
            return;
        }
        start_reading(c);
        http_closing_refuse(c, 503, "too many connections, try again later");
        return;
    }
    http_tls_accept(c);
    c->is_greeting = c->tls != NULL;
    start_reading(c);
    http_lane_wait(c, c->tls ? HTTP_WAIT_HEAD : HTTP_WAIT_IDLE);
}
