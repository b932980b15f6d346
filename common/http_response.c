/* Responses to bytes.
 *
 * Header and body go out in one call, at once when the socket takes it (uv_try_write, which saves
 * arming epoll), and by uv_write for what is left. Only small bodies are copied. Nobody reads the next
 * request before the response is out, so a slow reader holds one response, or one piece of a
 * streamed one.
 *
 * A response to a client that has gone does nothing but release what it was given. */
#include "common/http_response.h"

#include "common/check.h"
#include "common/http_date.h"
#include "common/http_lane.h"
#include "common/http_queue.h"
#include "common/http_tls.h"
#include "common/json_writer.h"

#include <stdlib.h>

/* Date, the length of the body or how it is framed, whether the connection goes on. */
#define HTTP_OWN_LINES_MAX 128

/* --- headers ------------------------------------------------------------------------------------
 */

void http_response_add_field(struct http_request *request, struct slice name, struct slice value)
{
    struct http_exchange *x = http_exchange_of(request);
    http_head_add(&x->head_out, &x->arena, name, value);
}

void http_response_set_field(struct http_request *request, struct slice name, struct slice value)
{
    struct http_exchange *x = http_exchange_of(request);
    http_head_remove(&x->head_out, name);
    http_head_add(&x->head_out, &x->arena, name, value);
}

void http_response_clear_headers(struct http_request *request)
{
    http_head_clear(&http_exchange_of(request)->head_out);
}

#define PUT(at, literal) http_head_put(at, literal, sizeof(literal) - 1)

/* The connection goes on when the client wants it, the server stays, and the rest of a body that
 * nobody read is short and sure to come. */
static bool decide_keep_alive(const struct http_exchange *x)
{
    const struct http_connection *connection = x->connection;
    if (!x->request.is_keep_alive || connection->has_seen_eof ||
        atomic_load_explicit(&x->lane->shared->is_draining, memory_order_relaxed))
        return false;
    if (connection->state == HTTP_CONNECTION_HANDLING)
        return true;
    if (connection->state != HTTP_CONNECTION_BODY || x->expects_continue)
        return false;
    return !x->request.has_body ||
           (!connection->is_chunked && connection->parser.content_length <= HTTP_DRAIN_LIMIT);
}

static bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

/* The server's own lines, and the end. */
static uv_buf_t build_head(struct http_exchange *x, int status, uint64_t length)
{
    char *at = http_head_room(&x->head_out, &x->arena, HTTP_OWN_LINES_MAX), *start = at;
    at = PUT(at, "Date: ");
    at = http_head_put(at, http_lane_date(x->lane), HTTP_DATE_SIZE - 1);
    if (x->is_chunked_out) {
        at = PUT(at, "\r\nTransfer-Encoding: chunked");
    } else if (!has_no_body(status) && length != HTTP_LENGTH_CHUNKED) {
        at = PUT(at, "\r\nContent-Length: ");
        at = http_head_put_uint(at, length);
    }
    if (!x->keeps_alive)
        at = PUT(at, "\r\nConnection: close");
    else if (x->is_http10)
        at = PUT(at, "\r\nConnection: keep-alive");
    at = PUT(at, "\r\n\r\n");
    CHECK(at - start <= HTTP_OWN_LINES_MAX);
    x->head_out.length += (uint32_t)(at - start);
    struct slice text = http_head_finish(&x->head_out, status);
    return uv_buf_init((char *)(uintptr_t)text.ptr, (unsigned)text.len);
}

/* --- output -------------------------------------------------------------------------------------
 */

static void finish(struct http_exchange *x)
{
    if (x->release) {
        void (*release)(void *) = x->release;
        x->release = NULL;
        release(x->release_ctx);
    }
    if (x->is_withdrawn)
        return; /* the connection frees it */
    if (x->connection)
        x->lane->on_response_done(x->connection);
    else
        http_lane_return(x);
}

static void break_connection(struct http_exchange *x)
{
    if (x->connection)
        x->lane->on_broken(x->connection);
}

static void run_piece_done(struct loop_task *task)
{
    struct http_exchange *x =
        (struct http_exchange *)((char *)task - offsetof(struct http_exchange, piece_task));
    x->is_piece_out = false;
    if (x->response_state == HTTP_RESPONSE_ENDED) { /* given up in the meantime */
        finish(x);
        return;
    }
    x->on_written(&x->request, x->connection ? 0 : KELP_E_CANCELLED, x->on_written_ctx);
}

/* All of `buffers` is out, or will never be. */
static void output_done(struct http_exchange *x)
{
    http_queue_leave(x);
    if (x->is_piece_out) {
        /* Later, so that pieces that a fast client takes at once neither recurse nor starve others.
         */
        x->piece_task.run = run_piece_done;
        loop_at_turn_end(x->lane->loop, &x->piece_task);
    } else {
        finish(x);
    }
}

static void on_uv_written(uv_write_t *write, int status)
{
    struct http_exchange *x = write->data;
    x->is_write_queued = false;
    loop_doing("going on after a write");
    if (status < 0)
        break_connection(x);
    output_done(x);
    loop_lap();
}

static void output_sealed(struct http_exchange *x);

static void on_sealed_written(uv_write_t *write, int status)
{
    struct http_exchange *x = write->data;
    x->is_write_queued = false;
    free(x->sealed);
    x->sealed = NULL;
    loop_doing("going on after a write");
    if (status < 0) {
        break_connection(x);
        output_done(x);
    } else {
        output_sealed(x);
    }
    loop_lap();
}

/* Sends `size` bytes of the lane's sealed buffer from `skip` on; the next piece follows then. */
static bool queue_sealed(struct http_exchange *x, size_t skip)
{
    struct buffer *sealed = &x->lane->sealed;
    uv_buf_t buf = uv_buf_init(sealed->data + skip, (unsigned)(sealed->length - skip));
    x->sealed = sealed->data; /* the lane gets another one */
    *sealed = (struct buffer)BUFFER_INIT;
    x->write.data = x;
    x->is_write_queued = true;
    if (uv_write(&x->write, (uv_stream_t *)&x->connection->tcp, &buf, 1, on_sealed_written) == 0) {
        http_queue_enter(x);
        return true;
    }
    x->is_write_queued = false;
    free(x->sealed);
    x->sealed = NULL;
    return false;
}

/* The same with TLS: sealed and sent piece by piece. Only the last one may go out at once, so that a long
 * body leaves others their turn. */
static void output_sealed(struct http_exchange *x)
{
    struct buffer *sealed = &x->lane->sealed;
    bool has_more = false, is_well = x->connection && http_tls_seal(x, &has_more);
    if (is_well && sealed->length > 0) {
        uv_buf_t buf = uv_buf_init(sealed->data, (unsigned)sealed->length);
        int sent = has_more ? UV_EAGAIN
                            : uv_try_write((uv_stream_t *)&x->connection->tcp, &buf, 1);
        bool is_out = sent >= 0 && (size_t)sent == sealed->length;
        is_well = sent >= 0 || sent == UV_EAGAIN;
        if (is_well && !is_out) {
            is_well = queue_sealed(x, sent > 0 ? (size_t)sent : 0);
            if (is_well)
                return;
        }
    }
    if (!is_well)
        break_connection(x);
    output_done(x);
}

/* Sends x->buffers; output_done follows now or later, exactly once. */
static void output(struct http_exchange *x)
{
    struct http_connection *connection = x->connection;
    if (!connection) {
        output_done(x);
        return;
    }
    uint64_t total = 0;
    for (unsigned i = 0; i < x->buffer_count; i++)
        total += x->buffers[i].len;
    HTTP_COUNT(x->lane, bytes_out, total);
    x->output_bytes = total;
    if (connection->tls) {
        output_sealed(x);
        return;
    }
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    int sent = uv_try_write(stream, x->buffers, x->buffer_count);
    if (sent >= 0 && (uint64_t)sent == total) {
        output_done(x);
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) {
        break_connection(x);
        output_done(x);
        return;
    }
    size_t skip = sent > 0 ? (size_t)sent : 0;
    unsigned first = 0;
    while (skip >= x->buffers[first].len)
        skip -= x->buffers[first++].len;
    x->buffers[first].base += skip;
    x->buffers[first].len -= skip;
    x->write.data = x;
    x->is_write_queued = true;
    if (uv_write(&x->write, stream, x->buffers + first, x->buffer_count - first, on_uv_written) !=
        0) {
        x->is_write_queued = false;
        break_connection(x);
        output_done(x);
        return;
    }
    http_queue_enter(x);
}

static void add_buffer(struct http_exchange *x, const void *data, size_t size)
{
    if (size > 0)
        x->buffers[x->buffer_count++] = (uv_buf_t){(char *)(uintptr_t)data, size};
}

/* --- whole responses ----------------------------------------------------------------------------
 */

/* Status and framing, once, when the response begins. */
static void begin(struct http_exchange *x, int status)
{
    CHECK(x->response_state == HTTP_RESPONSE_NONE);
    x->status = status;
    x->is_bodyless = x->request.method == HTTP_METHOD_HEAD || has_no_body(status);
    x->is_handed = true;
}

/* Where a small body has room behind the header it is copied there: one piece costs the kernel so much
 * less than two that this is cheaper. */
static void add_body(struct http_exchange *x, struct slice body)
{
    uv_buf_t *head = &x->buffers[0];
    struct http_head *out = &x->head_out;
    if (body.len > out->capacity - out->length) {
        add_buffer(x, body.ptr, body.len);
    } else if (body.len > 0) {
        memcpy(head->base + head->len, body.ptr, body.len);
        head->len += body.len;
    }
}

static void respond(struct http_exchange *x, int status, struct slice body, uint64_t length,
                    void (*release)(void *ctx), void *ctx)
{
    if (x->is_withdrawn) { /* not handed over: see http_handler.on_aborted */
        if (release)
            release(ctx);
        return;
    }
    begin(x, status);
    x->response_state = HTTP_RESPONSE_ENDED;
    x->release = release;
    x->release_ctx = ctx;
    x->buffer_count = 0;
    if (x->connection) {
        x->keeps_alive = decide_keep_alive(x);
        uv_buf_t head = build_head(x, status, length);
        add_buffer(x, head.base, head.len);
        if (!x->is_bodyless)
            add_body(x, body);
    }
    output(x);
}

void http_respond(struct http_request *request, int status, struct slice body,
                  void (*release)(void *ctx), void *ctx)
{
    respond(http_exchange_of(request), status, body, body.len, release, ctx);
}

void http_respond_empty(struct http_request *request, int status)
{
    respond(http_exchange_of(request), status, (struct slice){NULL, 0}, 0, NULL, NULL);
}

void http_respond_head(struct http_request *request, int status, uint64_t content_length)
{
    CHECK(request->method == HTTP_METHOD_HEAD || content_length == 0);
    respond(http_exchange_of(request), status, (struct slice){NULL, 0}, content_length, NULL, NULL);
}

void http_response_refuse(struct http_exchange *x, int status, struct slice content_type,
                          struct slice body)
{
    http_response_clear_headers(&x->request);
    x->request.is_keep_alive = false;
    http_response_header(&x->request, "Content-Type",
                         content_type.len ? content_type : SLICE("application/json"));
    if (status == 503)
        http_response_header(&x->request, "Retry-After", SLICE("1"));
    respond(x, status, body, body.len, NULL, NULL);
}

void http_response_error(struct http_exchange *x, int status, const char *text)
{
    struct buffer json = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &json, false);
    json_writer_begin_object(&w);
    json_writer_member_text(&w, "error", text);
    json_writer_end_object(&w);
    struct slice body = arena_slice(&x->arena, buffer_slice(&json));
    buffer_fini(&json);
    http_response_refuse(x, status, (struct slice){NULL, 0}, body);
}

/* --- streamed responses -------------------------------------------------------------------------
 */

void http_response_start(struct http_request *request, int status, uint64_t content_length)
{
    struct http_exchange *x = http_exchange_of(request);
    if (x->is_withdrawn)
        return;
    begin(x, status);
    x->response_state = HTTP_RESPONSE_STREAMING;
    x->announced = content_length;
    if (!x->connection)
        return;
    x->keeps_alive = decide_keep_alive(x);
    if (content_length == HTTP_LENGTH_CHUNKED && !has_no_body(status)) {
        if (x->is_http10)
            x->keeps_alive = false; /* the end of the connection is the end of the body */
        else
            x->is_chunked_out = true;
    }
    x->pending_head = build_head(x, status, content_length);
}

static void add_pending_head(struct http_exchange *x)
{
    x->buffer_count = 0;
    if (x->connection)
        add_buffer(x, x->pending_head.base, x->pending_head.len);
    x->pending_head = uv_buf_init(NULL, 0);
}

void http_response_write(struct http_request *request, struct slice piece,
                         void (*on_written)(struct http_request *request, int status, void *ctx),
                         void *ctx)
{
    struct http_exchange *x = http_exchange_of(request);
    CHECK(x->response_state == HTTP_RESPONSE_STREAMING && !x->is_piece_out);
    x->is_piece_out = true;
    x->on_written = on_written;
    x->on_written_ctx = ctx;
    x->written += piece.len;
    CHECK(x->announced == HTTP_LENGTH_CHUNKED || x->written <= x->announced);
    add_pending_head(x);
    if (x->connection && !x->is_bodyless && piece.len > 0) {
        if (x->is_chunked_out) {
            int n = snprintf(x->chunk_line, sizeof(x->chunk_line), "%zx\r\n", piece.len);
            add_buffer(x, x->chunk_line, (size_t)n);
        }
        add_buffer(x, piece.ptr, piece.len);
        if (x->is_chunked_out)
            add_buffer(x, "\r\n", 2);
    }
    if (x->buffer_count == 0)
        output_done(x);
    else
        output(x);
}

void http_response_end(struct http_request *request)
{
    struct http_exchange *x = http_exchange_of(request);
    if (x->is_withdrawn)
        return;
    CHECK(x->response_state == HTTP_RESPONSE_STREAMING && !x->is_piece_out);
    if (!x->is_bodyless && x->announced != HTTP_LENGTH_CHUNKED && x->written < x->announced) {
        http_response_abort(request);
        return;
    }
    x->response_state = HTTP_RESPONSE_ENDED;
    add_pending_head(x);
    if (x->connection && x->is_chunked_out && !x->is_bodyless)
        add_buffer(x, "0\r\n\r\n", 5);
    if (x->buffer_count == 0)
        finish(x);
    else
        output(x);
}

void http_response_abort(struct http_request *request)
{
    struct http_exchange *x = http_exchange_of(request);
    if (x->is_withdrawn)
        return;
    CHECK(x->response_state != HTTP_RESPONSE_ENDED);
    x->is_handed = true;
    x->response_state = HTTP_RESPONSE_ENDED;
    bool is_piece_out = x->is_piece_out;
    break_connection(x);
    if (!is_piece_out)
        finish(x); /* else when the piece comes back */
}
