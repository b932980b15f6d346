/* What the HTTP client's two ways of driving calls share: the call itself. Internal to
 * common/http_client*.c.
 *
 * A call is one curl handle with what its callbacks fill in. It neither knows nor cares who drives
 * it: a loop or the thread that waits. One thread at a time. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/http_client.h"

#include <curl/curl.h>

struct http_call {
    struct http_call *prev, *next; /* of the client's running calls */
    struct http_client *client;
    CURL *easy;
    struct curl_slist *header_lines;
    struct slice body;
    size_t body_sent;
    struct arena arena; /* response headers */
    const struct http_client_sink *sink; /* takes the response's body; NULL: response_body does */
    bool has_head;  /* of the answer proper, complete */
    bool is_paused; /* by the sink */
    struct buffer response_body;
    uint64_t response_limit;
    struct http_client_header *headers;
    size_t header_count, header_capacity, header_bytes;
    uint64_t moved_ms; /* when a byte last moved */
    unsigned stall_limit_ms;
    int failure; /* set by a callback that has stopped the transfer */
    CURLcode result;
    char reason[CURL_ERROR_SIZE];
    http_client_done *done;
    void *done_ctx;
};

/* The request's body must live as long as the call; the rest is copied. `sink` may be NULL. */
struct http_call *http_call_create(const struct http_client_request *request,
                                   const struct http_client_sink *sink);
void http_call_free(struct http_call *call); /* its handle is in no multi handle any more */
/* No byte has moved for as long as the request allows. */
bool http_call_is_stalled(const struct http_call *call, uint64_t now_ms);
/* The outcome of an ended call: 0 and the response, whose body moves out of the call and whose
 * headers stay in its arena; or a code and the reason. */
int http_call_take_outcome(struct http_call *call, struct http_client_response *ret,
                           struct error *err);
uint64_t http_call_now_ms(void); /* the clock of moved_ms */
