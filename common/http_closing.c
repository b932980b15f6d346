/* The end of a connection.
 *
 * A client that is still sending when we close would get a reset, often before it has read our
 * answer. So after an answer that came early we shut down our side only, drop what still comes, up
 * to a bound, and close when the client does. */
#include "common/http_closing.h"

#include "common/http_lane.h"
#include "common/http_response.h"
#include "common/http_tls.h"

#include <stdlib.h>
#include <sys/socket.h>

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *c = handle->data;
    struct http_lane *lane = c->lane;
    atomic_fetch_sub_explicit(&lane->shared->connections, 1, memory_order_relaxed);
    free(c->pending);
    http_tls_fini(c);
    free(c);
    http_lane_drop(lane);
}

void http_closing_notify(struct http_exchange *x)
{
    const struct http_handler *handler = x->lane->shared->handler;
    x->request.is_aborted = true;
    if (x->is_notified || !x->is_visible)
        return;
    x->is_notified = true;
    if (handler->on_aborted)
        handler->on_aborted(&x->request, handler->ctx);
}

/* The handler has seen the header and will never see the request. */
static void withdraw(struct http_exchange *x)
{
    x->is_withdrawn = true;
    http_closing_notify(x);
    x->is_withdrawn = false;
}

void http_closing_now(struct http_connection *c)
{
    if (c->state == HTTP_CONNECTION_CLOSED)
        return;
    c->state = HTTP_CONNECTION_CLOSED;
    http_lane_wait(c, HTTP_WAIT_COUNT);
    c->is_reading = false;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    struct http_exchange *x = c->exchange;
    if (!x)
        return;
    c->exchange = NULL;
    x->connection = NULL;
    x->request.is_aborted = true;
    if (!x->is_handed) {
        withdraw(x);
        http_lane_return(x);
    } else if (x->response_state != HTTP_RESPONSE_ENDED && !x->is_piece_out) {
        /* A piece that is out comes back with the news itself. Who was told that the client has
         * stopped sending, and went on, is told again. */
        x->is_notified = false;
        http_closing_notify(x);
    }
}

/* Our side is done and no request will be taken any more. */
void http_closing_linger(struct http_connection *c)
{
    int fd;
    http_tls_end(c);
    if (c->has_seen_eof || c->drain_left == 0 || uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0) { /* libuv has nothing queued: the response is out */
        http_closing_now(c);
        return;
    }
    c->state = HTTP_CONNECTION_LINGER;
    http_lane_wait(c, HTTP_WAIT_LINGER);
}

void http_closing_stop_parsing(struct http_connection *c)
{
    c->state = HTTP_CONNECTION_LINGER;
    free(c->pending);
    c->pending = NULL;
    c->pending_start = c->pending_end = 0;
}

/* Answers by itself and closes. Not after a response has begun: then the connection is just closed.
 */
void http_closing_refuse(struct http_connection *c, int status, const char *text)
{
    struct http_exchange *x = c->exchange;
    if (x && x->response_state != HTTP_RESPONSE_NONE) {
        http_closing_now(c);
        return;
    }
    if (!x) {
        x = http_lane_borrow(c->lane);
        x->connection = c;
        c->exchange = x;
    }
    if (!x->is_handed)
        withdraw(x);
    if (status == 413)
        c->drain_left = HTTP_DRAIN_LARGE_LIMIT;
    http_closing_stop_parsing(c);
    if (status == 413 && x->body_limit_status)
        http_response_refuse(x, x->body_limit_status, x->body_limit_type, x->body_limit_text);
    else
        http_response_error(x, status, text);
}

void http_closing_idle(struct http_lane *lane)
{
    while (lane->waits[HTTP_WAIT_IDLE].first)
        http_closing_now(lane->waits[HTTP_WAIT_IDLE].first);
}

void http_closing_all(struct http_lane *lane)
{
    for (int i = 0; i < HTTP_WAIT_COUNT; i++)
        while (lane->waits[i].first)
            http_closing_now(lane->waits[i].first);
}
