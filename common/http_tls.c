/* The glue between tls.c, which knows no sockets, and a connection. What is to be sent is sealed into a
 * buffer that the lane's connections share, and goes to the socket from there; only what a slow socket
 * does not take is kept apart. A long body is sealed piece by piece, so that it never lies in memory
 * twice. */
#include "common/http_tls.h"

#include "common/check.h"
#include "common/tls.h"

#include <stdlib.h>

#define PIECE (128u << 10)

struct kept_write {
    uv_write_t write;
    char data[];
};

static void on_kept_written(uv_write_t *write, int status)
{
    free(write->data); /* a socket that fails says so to whoever reads it */
}

/* To the socket, at once or queued. */
static bool push(struct http_connection *c, struct slice bytes)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if (bytes.len == 0)
        return true;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
    int sent = uv_try_write(stream, &buf, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        return false;
    bytes = slice_from(bytes, sent > 0 ? (size_t)sent : 0);
    if (bytes.len == 0)
        return true;
    struct kept_write *kept = must(malloc(sizeof(*kept) + bytes.len));
    memcpy(kept->data, bytes.ptr, bytes.len);
    kept->write.data = kept;
    buf = uv_buf_init(kept->data, (unsigned)bytes.len);
    if (uv_write(&kept->write, stream, &buf, 1, on_kept_written) == 0)
        return true;
    free(kept);
    return false;
}

void http_tls_accept(struct http_connection *c)
{
    if (c->lane->shared->tls)
        c->tls = tls_session_create(c->lane->shared->tls);
}

void http_tls_fini(struct http_connection *c)
{
    tls_session_destroy(c->tls);
    c->tls = NULL;
}

bool http_tls_is_established(const struct http_connection *c)
{
    return tls_session_is_established(c->tls);
}

/* What a client sends that takes us for plain HTTP; the peer knows it by these five bytes. */
static bool looks_like_http(struct slice bytes)
{
    static const char *const starts[] = {"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (slice_starts(bytes, slice_cstr(starts[i])))
            return true;
    return false;
}

void http_tls_feed(struct http_connection *c, struct slice sealed)
{
    c->is_plain_http = tls_session_is_fresh(c->tls) && looks_like_http(sealed);
    tls_session_feed(c->tls, sealed);
}

enum http_tls_event http_tls_next(struct http_connection *c, uv_buf_t room, size_t *ret_size)
{
    struct buffer *out = &c->lane->sealed;
    if (c->is_plain_http) {
        push(c, SLICE("HTTP/1.0 400 Bad Request\r\n\r\n"
                      "Client sent an HTTP request to an HTTPS server.\n"));
        return HTTP_TLS_PLAIN;
    }
    buffer_clear(out);
    ssize_t got = tls_session_read(c->tls, room.base, room.len, out);
    bool is_sent = push(c, buffer_slice(out));
    if (!is_sent || got == KELP_E_PROTOCOL)
        return HTTP_TLS_BROKEN;
    if (got == KELP_E_CANCELLED)
        return HTTP_TLS_END;
    *ret_size = (size_t)got;
    return got == 0 ? HTTP_TLS_MORE : HTTP_TLS_DATA;
}

bool http_tls_send(struct http_connection *c, struct slice plain)
{
    struct buffer *out = &c->lane->sealed;
    buffer_clear(out);
    return tls_session_write(c->tls, plain, out) == 0 && push(c, buffer_slice(out));
}

void http_tls_end(struct http_connection *c)
{
    struct buffer *out = &c->lane->sealed;
    if (!c->tls)
        return;
    buffer_clear(out);
    tls_session_end(c->tls, out);
    push(c, buffer_slice(out));
}

bool http_tls_seal(struct http_exchange *x, bool *ret_more)
{
    struct buffer *out = &x->lane->sealed;
    size_t left = PIECE;
    unsigned i = 0;
    buffer_clear(out);
    for (; i < x->buffer_count && left > 0; i++) {
        uv_buf_t *buf = &x->buffers[i];
        struct slice piece = slice_until(slice_of(buf->base, buf->len), left);
        if (piece.len > 0 && tls_session_write(x->connection->tls, piece, out) != 0)
            return false;
        left -= piece.len;
        buf->base += piece.len;
        buf->len -= piece.len;
    }
    *ret_more = false;
    for (i = 0; i < x->buffer_count; i++)
        *ret_more |= x->buffers[i].len > 0;
    return true;
}
