/* Routing. A path that is not clean is redirected before anything else; then the few pages; then
 * every path is a blob's, told apart by method. The admin and the public port differ only here. */
#include "volume/volume_http.h"

#include "common/check.h"
#include "common/file_id.h"
#include "common/url.h"
#include "volume/blob_access.h"
#include "volume/blob_delete.h"
#include "volume/blob_doubt.h"
#include "volume/blob_pages.h"
#include "volume/blob_path.h"
#include "volume/blob_read.h"
#include "volume/blob_relay.h"
#include "volume/blob_write.h"
#include "volume/image_service.h"
#include "volume/upload_gate.h"
#include "volume/static_files.h"
#include "volume/volume_page.h"

#include <inttypes.h>

#define DEFAULT_WAIT_MS 60000u
#define DEFAULT_READERS 8u
#define DEFAULT_QUEUE   10000u
/* The multipart wrapping of a blob: part headers, boundaries, other small fields. */
#define WRAPPING_MAX (1u << 20)
/* Of requests that make no use of a body. Room for bodies is for those who may write. */
#define IDLE_BODY_MAX (64u << 10)

/* ---- routing ---- */

static enum blob_call_kind kind_of(const struct http_request *request)
{
    switch (request->method) {
    case HTTP_METHOD_GET:
        return BLOB_CALL_GET;
    case HTTP_METHOD_HEAD:
        return BLOB_CALL_HEAD;
    case HTTP_METHOD_POST:
        return BLOB_CALL_POST;
    case HTTP_METHOD_PUT:
        return BLOB_CALL_PUT;
    case HTTP_METHOD_DELETE:
        return BLOB_CALL_DELETE;
    case HTTP_METHOD_OPTIONS:
        return BLOB_CALL_OPTIONS;
    case HTTP_METHOD_OTHER:
        break;
    }
    return BLOB_CALL_INVALID;
}

static bool is_static_file(struct slice path)
{
    return slice_equals(path, SLICE("/favicon.ico")) ||
           slice_equals(path, SLICE("/seaweedfsstatic")) ||
           slice_starts(path, SLICE("/seaweedfsstatic/"));
}

/* "/" is ours: with the peer it is a blob's path, and a bad one. */
static bool is_page(const struct http_request *request)
{
    bool is_read = request->method == HTTP_METHOD_GET || request->method == HTTP_METHOD_HEAD;
    return slice_equals(request->path, SLICE("/ui/index.html")) ||
           (is_read && slice_equals(request->path, SLICE("/")));
}

static void answer_options(struct blob_call *call)
{
    http_response_header(call->request, "Access-Control-Allow-Methods",
                         call->is_public ? SLICE("GET, OPTIONS")
                                         : SLICE("PUT, POST, GET, DELETE, OPTIONS"));
    http_response_header(call->request, "Access-Control-Allow-Headers", SLICE("*"));
    blob_call_reply_empty(call, 200);
}

/* Looked at as it was sent ("%2F" is no slash here); the location is that of the decoded path.
 * Only a path with "//" or "/." in it, or one that does not begin with a slash, can be unclean. */
static bool may_be_unclean(struct slice path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return true;
    for (size_t i = 1; i < path.len; i++)
        if (path.ptr[i - 1] == '/' && (path.ptr[i] == '/' || path.ptr[i] == '.'))
            return true;
    return false;
}

static bool redirect_unclean(struct http_request *request)
{
    struct slice clean;
    if (!may_be_unclean(request->raw_path) ||
        !url_clean_path(request->arena, request->raw_path, &clean))
        return false;
    if (!url_clean_path(request->arena, request->path, &clean))
        clean = request->path;
    struct buffer location = BUFFER_INIT;
    url_encode_path(&location, clean);
    if (request->query.len > 0)
        buffer_printf(&location, "?%.*s", (int)request->query.len, request->query.ptr);
    blob_call_redirect(request, 307, arena_slice(request->arena, buffer_slice(&location)));
    buffer_fini(&location);
    return true;
}

/* "OPTIONS *" asks about the server; no other request is about everything. */
static bool answer_asterisk(struct http_request *request)
{
    if (!slice_equals(request->raw_path, SLICE("*")))
        return false;
    http_respond_empty(request, request->method == HTTP_METHOD_OPTIONS ? 200 : 400);
    return true;
}

static void route_blob(struct blob_call *call)
{
    switch (call->kind) {
    case BLOB_CALL_GET:
    case BLOB_CALL_HEAD:
        blob_read_start(call);
        return;
    case BLOB_CALL_OPTIONS:
        answer_options(call);
        return;
    default:
        break;
    }
    if (call->is_public) {
        blob_call_reply_empty(call, 200);
        return;
    }
    if (call->kind == BLOB_CALL_DELETE)
        blob_delete_start(call);
    else if (call->kind == BLOB_CALL_INVALID)
        blob_call_reply_error(call, 400,
                              arena_printf(call->request->arena, "unsupported method %.*s",
                                           (int)call->request->method_name.len,
                                           call->request->method_name.ptr));
    else
        blob_write_start(call);
}

static bool is_page_path(const struct volume_http *http, const struct http_request *request)
{
    struct slice path = request->path;
    return slice_equals(path, SLICE("/status")) || slice_equals(path, SLICE("/healthz")) ||
           slice_equals(path, SLICE("/readyz")) || is_static_file(path) ||
           (http->config.has_page && is_page(request));
}

static void on_admin_request(struct http_request *request, void *ctx)
{
    struct volume_http *http = ctx;
    struct slice path = request->path;
    if (request->user) { /* a write, whose body is here now */
        upload_gate_pass(request->user);
        route_blob(request->user);
        return;
    }
    if (answer_asterisk(request) || redirect_unclean(request))
        return;
    /* Blobs' paths have a comma or a second slash: no need to compare them all. */
    if (slice_equals(path, SLICE("/status")))
        blob_pages_status(blob_call_begin(http, request, BLOB_CALL_PAGE, false));
    else if (slice_equals(path, SLICE("/healthz")) || slice_equals(path, SLICE("/readyz")))
        blob_pages_health(blob_call_begin(http, request, BLOB_CALL_PAGE, false));
    else if (is_static_file(path))
        static_files_serve(request);
    else if (http->config.has_page && is_page(request))
        volume_page_serve(blob_call_begin(http, request, BLOB_CALL_PAGE, false));
    else
        route_blob(blob_call_begin(http, request, kind_of(request), false));
}

static void on_public_request(struct http_request *request, void *ctx)
{
    if (answer_asterisk(request) || redirect_unclean(request))
        return;
    if (is_static_file(request->path))
        static_files_serve(request);
    else
        route_blob(blob_call_begin(ctx, request, kind_of(request), true));
}

/* Whatever is sent to the port that only reads is not kept. */
static void on_public_headers(struct http_request *request, void *ctx)
{
    http_request_limit_body(request, IDLE_BODY_MAX, 0, (struct slice){0}, (struct slice){0});
    if (!request->has_body || request->method == HTTP_METHOD_GET ||
        request->method == HTTP_METHOD_HEAD)
        return;
    http_request_drop_body(request);
    on_public_request(request, ctx);
}

static bool refuse_stranger(struct volume_http *http, struct http_request *request,
                            enum blob_call_kind kind)
{
    char ip[INET6_ADDRSTRLEN];
    if (!http->config.security || !security_has_white_list(http->config.security))
        return false;
    http_request_peer_ip(request, ip);
    if (security_admits(http->config.security, ip))
        return false;
    http_request_drop_body(request);
    blob_call_reply_empty(blob_call_begin(http, request, kind, false), 401);
    return true;
}

/* A body that nobody may store, or that could not be stored, need not be sent. The token is looked at
 * here and not again: that it runs out while the body comes in does not matter. */
static bool refuse_write(struct volume_http *http, struct http_request *request,
                         enum blob_call_kind kind)
{
    struct blob_path parts;
    uint32_t volume_id;
    struct error err;
    blob_path_parse(request->path, &parts);
    if (volume_id_parse(parts.vid, &volume_id, NULL) != 0)
        return false;
    if (!blob_access_admits_write(http->config.security, request, &parts)) {
        http_request_drop_body(request);
        blob_call_reply_error(blob_call_begin(http, request, kind, false), 401, "wrong jwt");
        return true;
    }
    struct volume *volume = store_acquire(http->config.store, volume_id);
    if (!volume)
        return false;
    int code = volume_check_writable(volume, &err);
    store_release(http->config.store, volume);
    if (code == 0)
        return false;
    blob_metrics_event(http->metrics, BLOB_EVENT_WRITE_LOCAL);
    error_prefix(&err, "failed to write to local disk");
    http_request_drop_body(request);
    struct blob_call *call = blob_call_begin(http, request, kind, false);
    blob_metrics_phase_begin(call->lane->tally, BLOB_PHASE_LOCAL);
    blob_metrics_phase_end(call->lane->tally, BLOB_PHASE_LOCAL, 0);
    blob_call_reply_failure(call, 500, &err);
    return true;
}

/* Before a body is taken in: is the client welcome, can it be stored, and how much may it send? */
static void on_admin_headers(struct http_request *request, void *ctx)
{
    struct volume_http *http = ctx;
    enum blob_call_kind kind = kind_of(request);
    bool is_write = kind == BLOB_CALL_POST || kind == BLOB_CALL_PUT;
    if (!is_write)
        http_request_limit_body(request, IDLE_BODY_MAX, 0, (struct slice){0}, (struct slice){0});
    if (!is_write && kind != BLOB_CALL_DELETE)
        return;
    if (refuse_stranger(http, request, kind))
        return;
    if (is_write && refuse_write(http, request, kind))
        return;
    if (!is_write)
        return;
    if (request->has_body)
        http_request_limit_body(request, http->body_limit_bytes, 400,
                                SLICE("application/json"), http->too_large);
    struct slice path;
    if (request->raw_path.len > 1 && !is_page_path(http, request) &&
        !(may_be_unclean(request->raw_path) &&
          url_clean_path(request->arena, request->raw_path, &path)))
        upload_gate_enter(blob_call_begin(http, request, kind, false));
}

static void on_admin_body(struct http_request *request, uint64_t length, void *ctx)
{
    if (request->user)
        upload_gate_progress(request->user, length);
}

/* Whoever waits for room or for another server is told; everything else goes on as if the client were
 * there. */
static void on_aborted(struct http_request *request, void *ctx)
{
    struct blob_call *call = request->user;
    if (call && call->is_sending_body)
        upload_gate_abandon(call);
    else if (call && call->waiter)
        in_flight_cancel(call->waiter);
    else if (call && call->relay)
        blob_relay_abandon(call->relay);
}

/* ---- life ---- */

uint64_t volume_http_body_limit(const struct volume_http *http)
{
    return http->body_limit_bytes;
}

static void fill_in_defaults(struct volume_http *http)
{
    struct volume_http_config *config = &http->config;
    if (!config->os)
        config->os = os_real();
    if (config->upload_wait_ms == 0)
        config->upload_wait_ms = DEFAULT_WAIT_MS;
    if (config->download_wait_ms == 0)
        config->download_wait_ms = DEFAULT_WAIT_MS;
    if (config->reader_threads == 0)
        config->reader_threads = DEFAULT_READERS;
    if (config->reader_queue == 0)
        config->reader_queue = DEFAULT_QUEUE;
    http->body_limit_bytes = config->file_size_limit_bytes + WRAPPING_MAX;
    http->server_text = slice_cstr(config->server_text);
    http->monotonic_epoch_ns = os_now_ns(config->os) - os_monotonic_ns(config->os);
    snprintf(http->too_large_text, sizeof(http->too_large_text),
             "{\"error\":\"file over the limited %" PRIu64 " bytes\"}",
             config->file_size_limit_bytes);
    http->too_large = slice_cstr(http->too_large_text);
    http->admin = (struct http_handler){.on_headers = on_admin_headers,
                                        .on_body = on_admin_body,
                                        .on_request = on_admin_request,
                                        .on_aborted = on_aborted,
                                        .ctx = http};
    http->public = (struct http_handler){.on_headers = on_public_headers,
                                         .on_request = on_public_request,
                                         .on_aborted = on_aborted,
                                         .ctx = http};
}

static int make_pools(struct volume_http *http, struct error *err)
{
    const struct volume_http_config *config = &http->config;
    http->disk_count = store_location_count(config->store);
    http->disk_pools = must(calloc(http->disk_count + 1, sizeof(*http->disk_pools)));
    int code = worker_pool_create(&http->pool, "worker", config->reader_threads,
                                  config->reader_queue, err);
    for (size_t i = 0; code == 0 && i < http->disk_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "reader-%u", (unsigned)i % 1000);
        code = worker_pool_create(&http->disk_pools[i], name, config->reader_threads,
                                  config->reader_queue, err);
    }
    return code;
}

static void destroy_pools(struct volume_http *http)
{
    worker_pool_destroy(http->pool);
    for (size_t i = 0; i < http->disk_count; i++)
        worker_pool_destroy(http->disk_pools[i]);
    free(http->disk_pools);
}

int volume_http_create(struct volume_http **ret, const struct volume_http_config *config,
                       struct error *err)
{
    CHECK(config->loop_count > 0);
    struct volume_http *http = calloc(1, sizeof(*http));
    if (!http)
        return error_set(err, KELP_E_NO_MEMORY, "http: out of memory");
    http->config = *config;
    fill_in_defaults(http);
    int code = make_pools(http, err);
    if (code == 0)
        code = image_service_create(&http->images, config->metrics, err);
    if (code != 0) {
        destroy_pools(http);
        free(http);
        return code;
    }
    http->doubts = blob_doubts_create();
    in_flight_init(&http->uploads, config->upload_limit_bytes);
    in_flight_init(&http->downloads, config->download_limit_bytes);
    if (config->metrics) {
        http->metrics = blob_metrics_create(config->metrics, config->loop_count);
        blob_metrics_watch(http->metrics, &http->uploads, &http->downloads);
    }
    http->lanes = must(aligned_alloc(_Alignof(struct blob_lane),
                                     config->loop_count * sizeof(struct blob_lane)));
    for (unsigned i = 0; i < config->loop_count; i++) {
        blob_lane_init(&http->lanes[i], config->loops[i], http->pool, http->disk_pools,
                       os_random(http->config.os));
        http->lanes[i].group_sizes = blob_metrics_group_sizes(http->metrics);
        http->lanes[i].tally = blob_metrics_tally(http->metrics, i);
        http->lanes[i].upload_errors = blob_metrics_upload_errors(http->metrics);
    }
    *ret = http;
    return 0;
}

void volume_http_destroy(struct volume_http *http)
{
    if (!http)
        return;
    destroy_pools(http);
    image_service_destroy(http->images);
    for (unsigned i = 0; i < http->config.loop_count; i++)
        blob_lane_fini(&http->lanes[i]);
    free(http->lanes);
    blob_metrics_destroy(http->metrics);
    blob_doubts_destroy(http->doubts);
    in_flight_fini(&http->uploads);
    in_flight_fini(&http->downloads);
    free(http);
}

const struct http_handler *volume_http_handler(struct volume_http *http) { return &http->admin; }

const struct http_handler *volume_http_public_handler(struct volume_http *http)
{
    return &http->public;
}
