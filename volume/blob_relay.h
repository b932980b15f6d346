/* The body of what another server answers, on its way to a client: piece by piece as it comes, in
 * bounded memory, and no faster than the client takes it. Loop thread.
 *
 * One relay at a time a call. A client that goes away ends the other server's answer, too. */
#pragma once

#include "volume/blob_call.h"

/* Two of them: while one is on its way to the client, the other is filled. */
#define BLOB_RELAY_BUFFER (128u << 10)
#define BLOB_RELAY_ALL    UINT64_MAX
/* So much that nobody wants is read all the same, to keep the connection. */
#define BLOB_RELAY_EXCESS (64u << 10)

struct blob_relay;

struct blob_relay_ops {
    /* The header of the answer; valid during the call. False: not this one, `done` comes with
     * KELP_E_CANCELLED. Must not answer the client. */
    bool (*on_head)(struct blob_relay *relay, const struct http_client_response *head);
    /* Before a piece goes out: begin the response, if it has not begun. */
    void (*begin)(struct blob_relay *relay, struct slice first);
    /* Once: all that came has been written (code 0), or nothing more will be. KELP_E_CANCELLED also
     * when the client has gone. */
    void (*done)(struct blob_relay *relay, int code, const struct error *err);
};

/* In the arena of the request, zeroed; fill in the first part. */
struct blob_relay {
    struct blob_call *call;
    const struct blob_relay_ops *ops;
    void *ops_ctx;
    uint64_t wanted_bytes; /* of the body; what comes beyond is left. BLOB_RELAY_ALL */
    char *into; /* where they go instead of to the client, all of them; NULL: to the client */
    uint64_t skip_bytes;   /* on_head may set it: of the beginning, which nobody wants */
    /* What on_head may look at: as announced, or HTTP_LENGTH_CHUNKED. */
    uint64_t announced_bytes;
    uint64_t taken_bytes;  /* of the wanted */
    uint64_t excess_bytes; /* that came beyond */
    bool is_client_gone;

    struct http_call *upstream; /* NULL: ended */
    char *buffers[2];           /* malloc'd */
    size_t lengths[2], capacity;
    unsigned filling; /* which; the other one is being written, or empty */
    bool is_writing, is_pumping;
    bool is_held;    /* upstream was told to wait */
    bool is_refused; /* by on_head */
    int code;
    struct error *err; /* in the arena */
};

/* Sends the request; `done` comes later. The request's memory may go after this. */
void blob_relay_start(struct blob_relay *relay, const struct http_client_request *request);
/* on_aborted of the request: ends all at once if there is no connection any more. */
void blob_relay_abandon(struct blob_relay *relay);
