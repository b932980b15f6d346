/* TLS between a connection's socket and its parser and responses: see http_tls.c. Loop thread. */
#pragma once

#include "common/http_server_internal.h"

/* A connection of a lane with certificates begins; does nothing for others. */
void http_tls_accept(struct http_connection *c);
void http_tls_fini(struct http_connection *c);

enum http_tls_event {
    HTTP_TLS_DATA,  /* *ret_size bytes of plain text are in the room */
    HTTP_TLS_MORE,  /* all that came in is used up */
    HTTP_TLS_END,   /* the client has ended its side */
    HTTP_TLS_PLAIN, /* no TLS at all, but HTTP: it has been told; linger */
    HTTP_TLS_BROKEN,
};
/* Hands in what was read; it must stay until http_tls_next gives something else than data. */
void http_tls_feed(struct http_connection *c, struct slice sealed);
/* The next piece of what it says, into `room`. Sends what the handshake wants sent. */
enum http_tls_event http_tls_next(struct http_connection *c, uv_buf_t room, size_t *ret_size);

bool http_tls_is_established(const struct http_connection *c);
/* A few bytes between responses; false: the connection must die. */
bool http_tls_send(struct http_connection *c, struct slice plain);
/* The client is told that nothing follows. */
void http_tls_end(struct http_connection *c);

/* Seals the next part of x->buffers and takes it off them. The result is in the lane's buffer until the
 * next call, empty when nothing was left. *ret_more: there is more. False: the connection must die. */
bool http_tls_seal(struct http_exchange *x, bool *ret_more);
