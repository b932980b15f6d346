/* What the files of the HTTP data path share: the server object, a loop's lane, and one request
 * (a call) on its way through them, with the replies that all of them give. Private to
 * volume/blob_*.c and volume_http.c. Everything here runs on the request's loop, except where it
 * says otherwise. */
#pragma once

#include "common/http_server.h"
#include "common/json_writer.h"
#include "volume/blob_lane.h"
#include "volume/in_flight.h"
#include "volume/volume_http_config.h"

enum blob_call_kind {
    BLOB_CALL_GET,
    BLOB_CALL_HEAD,
    BLOB_CALL_POST,
    BLOB_CALL_PUT,
    BLOB_CALL_DELETE,
    BLOB_CALL_OPTIONS,
    BLOB_CALL_INVALID, /* another method */
    BLOB_CALL_PAGE,    /* /status and its like, any method; what follows has no metrics */
    BLOB_CALL_KINDS,
};

/* Events of the peer's counter SeaweedFS_volumeServer_handler_total. */
enum blob_event {
    BLOB_EVENT_UPLOAD_LIMIT,
    BLOB_EVENT_DOWNLOAD_LIMIT,
    BLOB_EVENT_PROXY,
    BLOB_EVENT_REDIRECT,
    BLOB_EVENT_PROXY_NOWHERE,
    BLOB_EVENT_PROXY_FAILED,
    BLOB_EVENT_GET_NOT_FOUND,
    BLOB_EVENT_GET_INTERNAL,
    BLOB_EVENT_GET_DAMAGED,
    BLOB_EVENT_WRITE_LOCAL,
    BLOB_EVENT_WRITE_REPLICAS,
    BLOB_EVENTS,
};

/* Parts of a write that the peer times. */
enum blob_phase { BLOB_PHASE_LOCAL, BLOB_PHASE_REPLICAS, BLOB_PHASES };

struct blob_metrics; /* blob_metrics.c */
struct image_service;
struct blob_doubts;
struct blob_relay;

struct volume_http {
    struct volume_http_config config;
    struct http_handler admin, public;
    struct blob_lane *lanes; /* one a loop, in the order of config.loops */
    struct worker_pool *pool;        /* for what takes long */
    struct worker_pool **disk_pools; /* for what waits for a disk; one a location */
    size_t disk_count;
    struct image_service *images;
    struct in_flight uploads, downloads;
    struct blob_metrics *metrics; /* NULL: none */
    struct blob_doubts *doubts;
    struct slice server_text;
    uint64_t body_limit_bytes; /* of one request */
    int64_t monotonic_epoch_ns; /* what o'clock it was when the monotonic clock was zero */
    struct slice too_large; /* what an upload over the limit is told */
    char too_large_text[80];
};

/* One request, in its arena; request->user points here. */
struct blob_call {
    struct volume_http *http;
    struct blob_lane *lane;
    struct http_request *request;
    enum blob_call_kind kind;
    bool is_public;
    uint64_t started_ns; /* monotonic */
    uint64_t upload_bytes, download_bytes; /* counted in flight, to be taken off at the end */
    struct in_flight_waiter *waiter;       /* while it waits for room */
    struct blob_relay *relay; /* while another server's answer is on its way through */
    bool leads_uploads;   /* goes on whatever the limit says */
    bool is_sending_body; /* an upload whose body is not complete; nothing else has begun */
    char request_id[28];
};

static inline int64_t blob_call_now_ns(const struct blob_call *call)
{
    return os_now_ns(call->http->config.os);
}

static inline bool blob_call_is_read(const struct blob_call *call)
{
    return call->kind == BLOB_CALL_GET || call->kind == BLOB_CALL_HEAD;
}

/* Makes the call for a request, and sets what every answer carries: Server, X-Amz-Request-Id,
 * and the CORS headers if the client asks for them. */
struct blob_call *blob_call_begin(struct volume_http *http, struct http_request *request,
                                  enum blob_call_kind kind, bool is_public);

/* Forgets what was set for an answer that is not given after all; what every answer carries stays. */
void blob_call_reset_headers(struct blob_call *call);

/* ---- replies: the call and its request are gone afterwards ---- */

void blob_call_reply(struct blob_call *call, int status, struct slice body,
                     void (*release)(void *ctx), void *ctx);
void blob_call_reply_empty(struct blob_call *call, int status);
void blob_call_reply_head(struct blob_call *call, int status, uint64_t length);
/* application/json; the text is copied. */
void blob_call_reply_json(struct blob_call *call, int status, struct slice json);
/* {"error":"..."} */
void blob_call_reply_error(struct blob_call *call, int status, const char *message);
/* 503 and Retry-After when the server is short of something, else `status`; with err's message. */
void blob_call_reply_failure(struct blob_call *call, int status, const struct error *err);
/* 503 with Retry-After: the volume is here, but still being loaded. */
void blob_call_reply_loading(struct blob_call *call, const char *message);
/* text/plain with a line break, as the peer's http.Error writes it. */
void blob_call_reply_text(struct blob_call *call, int status, const char *text);
/* 301, 307: Location, and a line of HTML for GET. */
void blob_call_reply_redirect(struct blob_call *call, int status, struct slice location);
/* The same for a request that never became a call. */
void blob_call_redirect(struct http_request *request, int status, struct slice location);

/* For those that stream or abort: the accounts of a call end here. `status` is for the metrics. */
void blob_call_close(struct blob_call *call, int status);

/* `"9a71bb4c"`, quotes included; the slice is of `text`. */
#define BLOB_ETAG_SIZE 10
struct slice blob_call_etag(uint32_t checksum, char text[BLOB_ETAG_SIZE]);

/* The lane's scratch buffer, cleared; what is in it lasts until the next use. */
struct buffer *blob_call_scratch(struct blob_call *call);
/* A JSON writer over the scratch buffer. */
void blob_call_begin_json(struct blob_call *call, struct json_writer *w);
/* Sends what the writer wrote. */
void blob_call_end_json(struct blob_call *call, int status);

/* ---- query ---- */

bool blob_call_query_is(const struct blob_call *call, const char *name, const char *value);
/* "1", "t", "true", ... as Go's ParseBool has them; anything else is false. */
bool blob_call_query_flag(const struct blob_call *call, const char *name);

/* ---- metrics: no-ops without a registry ---- */

struct blob_metrics *blob_metrics_create(struct metrics *registry, unsigned lane_count);
void blob_metrics_destroy(struct blob_metrics *metrics);
/* Shows their sizes and limits from now on; borrowed. Once. */
void blob_metrics_watch(struct blob_metrics *metrics, struct in_flight *uploads,
                        struct in_flight *downloads);
/* For the lanes: how many writes a commit answered. NULL without metrics. */
struct metric_series *blob_metrics_group_sizes(struct blob_metrics *metrics);
struct metric_family *blob_metrics_upload_errors(struct blob_metrics *metrics);
/* Where that lane counts; NULL without metrics. */
struct blob_tally *blob_metrics_tally(struct blob_metrics *metrics, unsigned lane);
void blob_metrics_begin(struct blob_tally *tally, enum blob_call_kind kind);
void blob_metrics_end(struct blob_metrics *metrics, struct blob_tally *tally,
                      enum blob_call_kind kind, int status, uint64_t took_ns);
void blob_metrics_event(struct blob_metrics *metrics, enum blob_event event);
/* A read that fails for what was asked, or for the disk; `is_unknown`: there is no such volume or needle. */
void blob_metrics_read_failed(struct blob_metrics *metrics, bool is_unknown);
/* What the storage answered; counts when the disk failed. */
void blob_metrics_outcome(struct blob_metrics *metrics, int code);
void blob_metrics_phase_begin(struct blob_tally *tally, enum blob_phase phase);
void blob_metrics_phase_end(struct blob_tally *tally, enum blob_phase phase, int64_t took_ns);
/* A write or delete and its replicas, of which there may be none. */
void blob_metrics_replicated(struct blob_metrics *metrics, bool is_write, size_t peers, int code,
                             int64_t took_ns);
