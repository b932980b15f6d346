/* The HTTP client: libcurl multi, pooled keep-alive connections.
 *
 * Asynchronous on a loop, with the response as a whole (replication) or as it comes (proxying); or
 * blocking on any worker thread (shell, upload, benchmark). No proxy environment variables are
 * honoured, redirects are handed to the caller, and nothing is decoded: the body is what the server
 * sent. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/loop.h"

struct http_client;

/* Both borrowed in a request, owned by the response in a response. */
struct http_client_header {
    const char *name, *value;
};

/* How to speak to an https server. Paths; "" where there is none. */
struct http_client_tls {
    const char *ca;         /* whom to trust; "": whom this host trusts */
    const char *cert, *key; /* to show to servers that ask */
    bool is_unverified;     /* takes any server for the right one */
};

struct http_client_request {
    const char *method; /* "GET", "POST", ... */
    const char *url;
    const struct http_client_tls *tls; /* of https URLs; NULL: whom this host trusts */
    const struct http_client_header *headers;
    size_t header_count;
    struct slice body;            /* borrowed until the call is done; NULL ptr: none */
    unsigned connect_timeout_ms;  /* 0: 10 s */
    /* No byte moved in either direction for so long: KELP_E_TIMEOUT; 0: 30 s. */
    unsigned response_timeout_ms;
    uint64_t response_limit_bytes; /* 0: 16 MiB */
    /* Blocking calls only, optional: asked ten times a second; true ends the call with
     * KELP_E_CANCELLED. */
    bool (*is_given_up)(void *ctx);
    void *ctx;
};

struct http_client_response {
    int status;
    char *body; /* owned by the response, zero-terminated */
    size_t body_size;
    struct http_client_header *headers;
    size_t header_count;
};

/* `code` is 0 with a response, else a code and err tells why. */
typedef void http_client_done(void *ctx, int code, const struct http_client_response *response,
                              const struct error *err);

/* One per loop for asynchronous calls. Loop may be NULL: then only blocking calls. */
int http_client_create(struct http_client **ret, struct loop *loop, struct error *err);
/* Loop thread for one with a loop; running calls end with KELP_E_CANCELLED. */
void http_client_destroy(struct http_client *client);

/* Loop thread. Headers and url are copied, the body is borrowed. `done` is called exactly once,
 * later, on the loop; the response is valid during the call only. */
void http_client_send(struct http_client *client, const struct http_client_request *request,
                      http_client_done *done, void *ctx);

/* Takes a response as it comes, with back-pressure. Both are called on the loop, from inside of
 * curl: they may not use the client, nor answer a request that another one may follow. */
#define HTTP_CLIENT_PIECE_MAX (16u << 10)
enum http_client_taken {
    HTTP_CLIENT_TAKEN,
    HTTP_CLIENT_LATER,  /* nothing of it was; it comes again after http_client_resume */
    HTTP_CLIENT_ENOUGH, /* nothing more is wanted: ends the call with KELP_E_CANCELLED */
};
struct http_client_sink {
    /* Status and headers, valid during the call; at most once, before any data. False ends the call
     * with KELP_E_CANCELLED. */
    bool (*on_head)(void *ctx, const struct http_client_response *head);
    /* At most HTTP_CLIENT_PIECE_MAX bytes of the body. */
    enum http_client_taken (*on_data)(void *ctx, struct slice piece);
};

/* A streamed call; gone when `done` is called. */
struct http_call;

/* Loop thread. As http_client_send, but the body goes to the sink (borrowed; `ctx` is for it,
 * too), with no limit, and the response that `done` gets has none. While the sink does not take
 * more nobody watches the clock. */
struct http_call *http_client_stream(struct http_client *client,
                                     const struct http_client_request *request,
                                     const struct http_client_sink *sink, http_client_done *done,
                                     void *ctx);
/* After on_data said later. May call it. */
void http_client_resume(struct http_call *call);
/* Ends the call, without `done`. Not from within the sink's functions. */
void http_client_cancel(struct http_call *call);

/* Any thread but a loop's; blocks. Calls on one client take turns, so give each thread its own. On
 * success fills *ret; http_client_response_fini it. Any HTTP status is a success; a server that
 * cannot be reached is KELP_E_UNAVAILABLE, a body over the limit KELP_E_TOO_LARGE. */
int http_client_fetch(struct http_client *client, const struct http_client_request *request,
                      struct http_client_response *ret, struct error *err);
void http_client_response_fini(struct http_client_response *response);
/* NULL when absent. */
const char *http_client_response_header(const struct http_client_response *response,
                                        const char *name);
