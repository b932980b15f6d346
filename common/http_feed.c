/* Bytes of a connection to requests of its handler.
 *
 * Responses may be given from inside the loop here (is_parsing): then http_connection.c only
 * changes the state and the loop goes on, so pipelined requests do not recurse. */
#include "common/http_feed.h"

#include "common/http_body.h"
#include "common/http_closing.h"
#include "common/http_lane.h"
#include "common/http_parser.h"
#include "common/http_tls.h"

static void send_continue(struct http_connection *c)
{
    /* A socket that does not take 25 bytes between two requests belongs to a client that does not
     * read; it may then as well wait until it gives up and sends the body. */
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);
    if (c->tls) {
        if (!http_tls_send(c, slice_of(text, buf.len)))
            http_closing_now(c);
        return;
    }
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (sent > 0 && sent < (int)buf.len)
        http_closing_now(c); /* half a status line cannot be taken back */
}

void http_feed_admit_body(struct http_connection *c, bool more_follows)
{
    struct http_exchange *x = c->exchange;
    x->is_admitted = true;
    x->body_since_ms = loop_now_ms(c->lane->loop);
    if (!x->request.has_body)
        return;
    uint64_t length = c->is_chunked ? 0 : c->parser.content_length;
    int code = http_body_reserve(x, length);
    if (code == KELP_E_TOO_LARGE)
        http_closing_refuse(c, 413, "request body too large");
    else if (code < 0)
        http_closing_refuse(c, 503, "too many request bodies in flight, try again later");
    else if (x->expects_continue) {
        x->expects_continue = false;
        if (!more_follows)
            send_continue(c);
    }
}

/* The header is complete. */
static void on_head(struct http_connection *c, bool more_follows)
{
    struct http_exchange *x = c->exchange;
    const struct http_handler *handler = c->lane->shared->handler;
    struct error detail;
    HTTP_COUNT(c->lane, requests, 1);
    c->is_greeting = false;
    if (http_parser_finish_head(c, &detail) != 0) {
        HTTP_COUNT(c->lane, parse_errors, 1);
        http_closing_refuse(c, c->fail_status, c->fail_text);
        return;
    }
    c->state = HTTP_CONNECTION_BODY;
    if (handler->on_headers) {
        x->is_visible = true;
        handler->on_headers(&x->request, handler->ctx);
        if (c->state != HTTP_CONNECTION_BODY || c->exchange != x ||
            x->response_state != HTTP_RESPONSE_NONE)
            return; /* answered; on_response_begun and on_response_done have set the state */
    }
    if (!c->is_held)
        http_feed_admit_body(c, more_follows);
}

void http_feed_settle(struct http_connection *c)
{
    struct http_exchange *x = c->exchange;
    if (c->state != HTTP_CONNECTION_BODY || !x || x->response_state == HTTP_RESPONSE_NONE)
        return;
    http_body_free(x); /* part of a body that nobody will look at */
    if (x->keeps_alive)
        c->state = HTTP_CONNECTION_DISCARD;
    else
        http_closing_stop_parsing(c);
}

/* More of the body has come, and still more is to come. */
static void on_body_progress(struct http_connection *c)
{
    const struct http_handler *handler = c->lane->shared->handler;
    if (c->state == HTTP_CONNECTION_BODY && c->has_fed_body && handler->on_body) {
        handler->on_body(&c->exchange->request, c->exchange->body_length, handler->ctx);
        http_feed_settle(c);
    }
}

static void on_message(struct http_connection *c)
{
    struct http_exchange *x = c->exchange;
    if (c->state == HTTP_CONNECTION_DISCARD) {
        c->state = x ? HTTP_CONNECTION_HANDLING : HTTP_CONNECTION_HEAD;
        return;
    }
    c->state = HTTP_CONNECTION_HANDLING;
    x->request.body = slice_of(x->body, x->body_length);
    x->is_handed = x->is_visible = true;
    const struct http_handler *handler = c->lane->shared->handler;
    handler->on_request(&x->request, handler->ctx);
}

bool http_feed_is_possible(const struct http_connection *c)
{
    return c->state == HTTP_CONNECTION_HEAD || c->state == HTTP_CONNECTION_DISCARD ||
           (c->state == HTTP_CONNECTION_BODY && !c->is_held);
}

static size_t skip_blank_lines(const char *data, size_t size)
{
    size_t n = 0;
    while (n < size && (data[n] == '\r' || data[n] == '\n'))
        n++;
    return n;
}

size_t http_feed_bytes(struct http_connection *c, const char *data, size_t size)
{
    size_t used = 0;
    c->is_parsing = true;
    while ((used < size || c->is_paused) && http_feed_is_possible(c)) {
        if (c->state == HTTP_CONNECTION_HEAD && !c->exchange) {
            used += skip_blank_lines(data + used, size - used);
            if (used == size)
                break;
            c->exchange = http_lane_borrow(c->lane);
            c->exchange->connection = c;
            c->overhead_bytes = 0;
        }
        enum http_parser_event event;
        used += http_parser_execute(c, data + used, size - used, &event);
        if (event == HTTP_PARSER_HEAD) {
            on_head(c, used < size);
            http_feed_settle(c);
        } else if (event == HTTP_PARSER_MESSAGE) {
            on_message(c);
        } else if (event == HTTP_PARSER_ERROR) {
            HTTP_COUNT(c->lane, parse_errors, 1);
            http_closing_refuse(c, c->fail_status, c->fail_text);
        } else {
            on_body_progress(c);
        }
    }
    c->is_parsing = false;
    return used;
}
