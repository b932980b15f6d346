/* What the parts of the HTTP server share: the server's limits, the lane of each loop, a
 * connection, and an exchange (a request with its response). Internal to common/http_*.c.
 *
 *   http_server.c      creates and ends it all
 *   http_listener.c    the sockets that listen
 *   http_timeout.c     closes what has waited too long
 *   http_connection.c  accepting and reading
 *   http_feed.c        drives the parser, and hands requests over
 *   http_closing.c     the end of a connection, refusals, lingering
 *   http_parser.c      bytes to requests (llhttp)
 *   http_request_line.c  methods, and what of a request line llhttp lets through
 *   http_body.c        the bytes of a body and the account of them
 *   http_response.c    requests' answers to bytes
 *   http_queue.c       the account of bytes that clients have not taken yet
 *   http_head.c        the header of such an answer
 *   http_tls.c         sealing and opening what passes the socket, where there is TLS
 *   http_lane.c        free exchanges, the lists of who waits for what, the date
 *
 * Calls run down this list only; what a lower part has to tell a higher one goes through the two
 * callbacks of the lane.
 *
 * A connection is small when idle (about 600 bytes with libuv's own part): a request in progress
 * borrows an exchange, with its arena, from the lane, and bytes are read into one buffer that a
 * lane's connections share. An exchange outlives its connection when its handler still works on it.
 */
#pragma once

#include "common/buffer.h"
#include "common/http_head.h"
#include "common/http_server.h"

#include <llhttp.h>
#include <stdatomic.h>

struct http_exchange;
struct http_connection;
struct tls_server;
struct tls_session;

#define HTTP_READ_BUFFER_SIZE (64u << 10)
#define HTTP_PENDING_LIMIT (64u << 10)      /* pipelined bytes kept while a request is handled */
#define HTTP_HELD_LIMIT    (4u << 10)       /* likewise of a body that has to wait */
#define HTTP_DRAIN_LIMIT (256u << 10)       /* of an unread body, so that the answer is read */
#define HTTP_DRAIN_LARGE_LIMIT (1ull << 30) /* the same for a body over the limit */
#define HTTP_HEADER_COUNT_LIMIT 1000u
#define HTTP_METHOD_LIMIT 31u
/* A body that has been coming for so many idle time-outs must have brought so much a second; and so
 * much a second of an answer must a client take. */
#define HTTP_SLOW_BODY_TIMEOUTS 4u
#define HTTP_SLOW_RATE          100u

/* One per server; the atomics are for all threads, the rest does not change. */
struct http_shared {
    const struct http_handler *handler;
    struct tls_server *tls; /* NULL: none */
    size_t header_limit_bytes;
    uint64_t body_limit_bytes;
    uint64_t buffered_limit_bytes, queued_limit_bytes;
    unsigned connection_limit;
    unsigned idle_timeout_ms, header_timeout_ms, linger_timeout_ms;
    _Atomic uint64_t buffered_bytes, queued_bytes;
    _Atomic unsigned connections;
    _Atomic bool is_draining;
};

/* What a connection waits for, and so which time-out applies. */
enum http_wait {
    HTTP_WAIT_IDLE,    /* the first byte of the next request */
    HTTP_WAIT_HEAD,    /* the end of a header */
    HTTP_WAIT_CLIENT,  /* bytes of a body, or the client to take a response */
    HTTP_WAIT_LINGER,  /* the client's end, after ours */
    HTTP_WAIT_HANDLER, /* no time-out */
    HTTP_WAIT_COUNT,
};

struct http_wait_list {
    struct http_connection *first, *last; /* longest wait first */
    unsigned timeout_ms;                  /* 0: none */
};

struct http_counters { /* written by the lane's loop, read by all */
    _Atomic uint64_t connections_refused, requests, bytes_in, bytes_out, parse_errors, timeouts;
};

/* One writer: no need for a locked addition. */
#define HTTP_COUNT(lane, counter, n)                                                               \
    atomic_store_explicit(                                                                         \
        &(lane)->counters.counter,                                                                 \
        atomic_load_explicit(&(lane)->counters.counter, memory_order_relaxed) + (n),               \
        memory_order_relaxed)

/* One per loop. */
struct http_lane {
    struct http_shared *shared;
    struct loop *loop;
    uv_tcp_t listener;
    uv_timer_t sweeper;
    struct http_wait_list waits[HTTP_WAIT_COUNT];
    struct http_exchange *free_exchanges;
    unsigned free_count;
    unsigned live_count; /* handles, connections and exchanges that keep the lane */
    bool is_stopping;
    uint64_t date_checked_ms;
    int64_t date_second;
    char date[32];
    struct http_counters counters;
    /* The response of the connection's exchange is out; the exchange is still there. */
    void (*on_response_done)(struct http_connection *connection);
    /* Writing has failed or the response was given up: the connection has to die. */
    void (*on_broken)(struct http_connection *connection);
    /* live_count has come down while stopping; at 0 this is the last thing that the lane does. */
    void (*on_drop)(struct http_lane *lane, bool is_empty);
    void *owner;
    struct buffer sealed; /* what is about to be sent, with TLS */
    char read_buffer[HTTP_READ_BUFFER_SIZE];
};

enum http_connection_state {
    HTTP_CONNECTION_HEAD,     /* before or in a header */
    HTTP_CONNECTION_BODY,     /* in a body that the request wants */
    HTTP_CONNECTION_DISCARD,  /* in a short body of a request that is answered already */
    HTTP_CONNECTION_HANDLING, /* the request is complete, the response is not */
    HTTP_CONNECTION_LINGER,   /* nothing is parsed any more; closes after the response */
    HTTP_CONNECTION_CLOSED,
};

struct http_connection {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct http_lane *lane;
    struct http_exchange *exchange; /* NULL between requests */
    struct tls_session *tls;        /* NULL: none */
    struct http_connection *wait_prev, *wait_next;
    uint64_t wait_since_ms;
    uint64_t drain_left;
    uint64_t unsent_seen; /* when the client was last looked after: see http_queue.c */
    char *pending; /* pipelined bytes that came too early; NULL: none */
    uint32_t pending_start, pending_end;
    uint32_t overhead_bytes; /* of a header, or of chunk framing since the last data */
    uint16_t fail_status; /* set by the parser's callbacks */
    uint8_t state;        /* enum http_connection_state */
    uint8_t wait;         /* enum http_wait; HTTP_WAIT_COUNT: in no list */
    char last_byte;       /* of the part of a header that was read before */
    bool is_parsing, is_paused, is_reading, has_seen_eof, is_chunked, has_fed_body;
    bool is_held; /* in BODY, by http_request_pause */
    bool is_greeting;   /* with TLS, until the end of the first header */
    bool is_plain_http; /* and spoke HTTP all the same */
    const char *fail_text;
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
};

enum http_response_state {
    HTTP_RESPONSE_NONE,
    HTTP_RESPONSE_STREAMING, /* begun; the handler still owes the end */
    HTTP_RESPONSE_ENDED,     /* the handler has done its part */
};

struct http_exchange {
    struct http_request request; /* first: what handlers hold */
    struct http_lane *lane;
    struct http_connection *connection; /* NULL once it has died */
    struct http_exchange *next_free;
    struct arena arena;

    /* The header while it comes in: a text that grows, and offsets into it. */
    char *head;
    uint32_t head_length, head_capacity;
    uint32_t target_length, span_start;
    struct http_header *headers; /* until the header is complete, ptr holds an offset */
    uint32_t header_capacity;

    char *body;
    uint64_t body_length, body_capacity;
    uint64_t body_since_ms;  /* when it was let in */
    uint64_t body_accounted; /* at least the length, and no more than a step ahead of it */
    uint64_t body_limit;
    int body_limit_status;
    struct slice body_limit_type, body_limit_text;

    char method_text[HTTP_METHOD_LIMIT + 1]; /* of a method that is not one of ours */
    uint8_t method_length;
    uint8_t blank_count;   /* in the request line */
    bool has_method;
    bool has_request_line; /* its last byte has been fed to the parser */
    bool is_admitted;      /* the body may come */
    bool expects_continue; /* and has not been told to */
    bool is_http10;
    bool is_visible;    /* the handler has seen it in on_headers */
    bool is_handed;     /* a response is owed by whoever has it */
    bool is_withdrawn;  /* freed by the connection, so responding does nothing */
    bool is_notified;   /* on_aborted was called */
    bool keeps_alive;   /* decided with the response header */
    bool is_chunked_out, is_bodyless;
    bool is_write_queued; /* uv_write holds `write` and `buffers` */
    bool is_piece_out;    /* on_written is owed */
    uint8_t response_state;
    int status;
    struct http_head head_out; /* the response's header */
    uint64_t announced, written; /* body bytes of a streamed response */
    uv_buf_t pending_head;       /* response header that waits for the first piece */
    uv_buf_t buffers[4];
    unsigned buffer_count;
    uint64_t output_bytes; /* of buffers, when they were handed to output */
    uint64_t queued_bytes; /* as much of them is in the account of what waits */
    uv_write_t write;
    char *sealed; /* while `write` is at work on it, with TLS */
    void (*release)(void *ctx);
    void *release_ctx;
    void (*on_written)(struct http_request *request, int status, void *ctx);
    void *on_written_ctx;
    struct loop_task piece_task;
    char chunk_line[24];
};

static inline struct http_exchange *http_exchange_of(const struct http_request *request)
{
    return (struct http_exchange *)request;
}
