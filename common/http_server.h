/* The HTTP/1.1 server: uv + llhttp, one loop per core, each with its own SO_REUSEPORT listener and
 * its own connections. Keep-alive, pipelining, Expect: 100-continue, chunked and fixed bodies,
 * back-pressure both ways, limits and time-outs of every kind, one arena a request.
 *
 * A request lives on one loop. Handlers are called there and must not block; work that may block
 * goes to a worker_pool and comes back by loop_post(request->loop, ...). A request stays valid
 * until it has been responded to, also when its client has gone (responding is then a cheap no-op),
 * so every handler responds exactly once: by http_respond*, http_response_end or
 * http_response_abort. The request must not be touched after that call. Requests of one connection
 * are handled one after another.
 *
 * What the server answers by itself (400, 413, 417, 431, 501, 503, 505) is
 * {"error":"..."} with Connection: close; it then drains what the client still sends, up to a
 * bound, so that the client gets to read the answer. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "common/loop.h"

#include <netinet/in.h>

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER,
};

struct tls_server;

struct http_header {
    struct slice name, value; /* as sent; the value is trimmed and terminated */
};

struct http_request {
    struct loop *loop;
    struct arena *arena; /* lives until the response has been sent */
    enum http_method method;
    struct slice method_name;
    struct slice target;   /* as sent */
    struct slice raw_path; /* before '?', not decoded */
    struct slice path;     /* percent-decoded */
    struct slice query;    /* after '?', raw, may be empty */
    const struct http_header *headers;
    size_t header_count;
    struct slice body; /* complete in on_request; valid until the response has been sent */
    bool has_body;     /* Content-Length > 0 or chunked */
    bool is_keep_alive;
    bool is_aborted; /* the client has gone, as far as can be seen */
    struct sockaddr_storage peer;
    void *user; /* the handler's own */
};

struct http_handler {
    /* Optional, after the header and before "100 Continue" and the body: refuse early here by
     * responding, or lower/raise the body limit. */
    void (*on_headers)(struct http_request *request, void *ctx);
    /* Optional: `length` bytes of the body have come in so far, and more are to come. */
    void (*on_body)(struct http_request *request, uint64_t length, void *ctx);
    /* Header and body are complete. */
    void (*on_request)(struct http_request *request, void *ctx);
    /* Optional. After on_request: the client went away before the response was begun, or a
     * connection broke under a response; release what waits for it. The handler still has to respond
     * (a client that only shut down its sending side does get that response; it comes here once for
     * that, with a connection, and perhaps once more when that is gone). At most once otherwise.
     * Between on_headers and on_request: the body never became complete; on_request will not come,
     * nothing has to be responded, and the request is gone when this returns. */
    void (*on_aborted)(struct http_request *request, void *ctx);
    void *ctx;
};

struct http_server_config {
    const char *bind_address; /* "" or NULL: all */
    uint16_t port;            /* 0: any free one, see http_server_port */
    struct loop **loops;      /* borrowed; one listener on each */
    unsigned loop_count;
    const struct http_handler *handler; /* borrowed */
    struct tls_server *tls;             /* borrowed; NULL: plain HTTP. The handshake has header_timeout_ms,
                                         * together with the first header */
    size_t header_limit_bytes;          /* 0: 64 KiB; more is 431 */
    uint64_t body_limit_bytes;          /* 413 beyond; see http_request_limit_body */
    uint64_t buffered_limit_bytes;      /* of all bodies in flight; 503 beyond; 0: no limit */
    uint64_t queued_limit_bytes; /* of all answers that clients have not taken yet; beyond it the
                                  * slowest clients are closed; 0: no limit */
    unsigned connection_limit;          /* 0: no limit; more get 503 and are closed */
    /* No byte moved while the server waits for the client: closed; 0: 30 s. The time that a handler
     * takes does not count. */
    unsigned idle_timeout_ms;
    unsigned header_timeout_ms; /* first byte to end of header; 0: 30 s; at most idle_timeout_ms */
};

struct http_server_stats {
    uint64_t connections, connections_refused, requests, bytes_in, bytes_out, bytes_buffered,
        bytes_queued, parse_errors, timeouts;
};

struct http_server;

/* Listens; requests arrive at once. A port in use is KELP_E_UNAVAILABLE with the address in the
 * text. */
int http_server_create(struct http_server **ret, const struct http_server_config *config,
                       struct error *err);
uint16_t http_server_port(const struct http_server *server);
void http_server_stats(const struct http_server *server, struct http_server_stats *ret);
/* Stops listening, lets running requests finish for up to grace_ms, closes the rest, waits. Not
 * from a loop thread. Call before loop_destroy of its loops. */
void http_server_destroy(struct http_server *server, unsigned grace_ms);

/* Everything below: loop thread of the request only. */

/* First header of that name, case-insensitive; ptr is NULL when absent. */
struct slice http_request_field(const struct http_request *request, struct slice name);
static inline struct slice http_request_header(const struct http_request *request, const char *name)
{
    return http_request_field(request, slice_cstr(name));
}
/* First query parameter of that name, decoded into the arena; ptr is NULL when absent. */
struct slice http_request_query(const struct http_request *request, const char *name);
/* In on_headers, before an answer that does not wait for the body: what of it comes nevertheless
 * is read and dropped, up to 1 GiB, so that a client which reads only after it has sent it all
 * sees the answer. */
void http_request_drop_body(struct http_request *request);
/* In on_headers or on_body: reads no (more) body until http_request_resume, and asks for none
 * that waits for "100 Continue". Nobody watches the clock meanwhile; responding and on_aborted
 * are as ever. */
void http_request_pause(struct http_request *request);
void http_request_resume(struct http_request *request);
/* In on_headers: the most that this request's body may have (413 beyond). The status and text may
 * be set, because the peer answers 400 with a JSON body for too large a file; status 0 keeps the
 * usual answer. Type and body are copied. */
void http_request_limit_body(struct http_request *request, uint64_t limit_bytes, int status,
                             struct slice content_type, struct slice body);
/* False once it has broken. A client that only shut down its sending side still has one. */
bool http_request_has_connection(const struct http_request *request);
/* "192.0.2.1", without port and brackets. */
void http_request_peer_ip(const struct http_request *request, char text[INET6_ADDRSTRLEN]);

/* Response headers, before respond/start. Name and value are copied. A name from outside has to be
 * looked at first: http_is_token. A line break in a value becomes a blank. Content-Length, Date,
 * Connection and Transfer-Encoding are the server's own. */
void http_response_add_field(struct http_request *request, struct slice name, struct slice value);
/* Replaces a header of that name set before, if any. */
void http_response_set_field(struct http_request *request, struct slice name, struct slice value);
static inline void http_response_header(struct http_request *request, const char *name,
                                        struct slice value)
{
    http_response_add_field(request, slice_cstr(name), value);
}
static inline void http_response_set_header(struct http_request *request, const char *name,
                                            struct slice value)
{
    http_response_set_field(request, slice_cstr(name), value);
}

/* Forgets all that were set. */
void http_response_clear_headers(struct http_request *request);

/* The whole response. `body` is used by reference until sent: it lives in the arena or
 * request->body, is static, or is released by release(ctx) once it is no longer needed (also on
 * failure). For HEAD give the body that GET would give: its length is announced, its bytes are not
 * sent. */
void http_respond(struct http_request *request, int status, struct slice body,
                  void (*release)(void *ctx), void *ctx);
void http_respond_empty(struct http_request *request, int status);
/* HEAD without having the body at hand. */
void http_respond_head(struct http_request *request, int status, uint64_t content_length);

/* Streaming: start, then write piece after piece, then end. The header goes out with the first
 * piece. A client of HTTP/1.0 gets an unchunked body that ends with the connection. */
#define HTTP_LENGTH_CHUNKED UINT64_MAX
void http_response_start(struct http_request *request, int status, uint64_t content_length);
/* Takes the bytes by reference. When they are no longer needed `on_written` is called, always later
 * and exactly once (status < 0: the client has gone, which is still to be answered with end or
 * abort); write the next piece there. One piece at a time; end after the last one was written. */
void http_response_write(struct http_request *request, struct slice piece,
                         void (*on_written)(struct http_request *request, int status, void *ctx),
                         void *ctx);
/* The response is complete; fewer bytes than announced close the connection. */
void http_response_end(struct http_request *request);
/* Gives up in the middle: closes the connection, so that the client sees a broken body. The
 * on_written of a piece that is still out is then not called. */
void http_response_abort(struct http_request *request);
