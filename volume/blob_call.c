/* The life of a request as the accounts see it (metrics, bytes in flight), and the shapes of
 * replies. */
#include "volume/blob_call.h"

#include "common/html.h"
#include "common/http_status.h"

#include <stdio.h>

static void print_hex(char *text, uint64_t value, int digits, const char alphabet[17])
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        text[i] = alphabet[value & 15];
}

struct slice blob_call_etag(uint32_t checksum, char text[BLOB_ETAG_SIZE])
{
    text[0] = text[BLOB_ETAG_SIZE - 1] = '"';
    print_hex(text + 1, checksum, 8, "0123456789abcdef");
    return slice_of(text, BLOB_ETAG_SIZE);
}

/* The time in nanoseconds, as the monotonic clock has gone on since the start, and eight random
 * digits. */
static void make_request_id(struct blob_call *call)
{
    static const char digits[] = "0123456789ABCDEF";
    print_hex(call->request_id, (uint64_t)call->http->monotonic_epoch_ns + call->started_ns, 16, digits);
    print_hex(call->request_id + 16, blob_lane_random(call->lane) >> 32, 8, digits);
    call->request_id[24] = 0;
}

static void set_common_headers(struct blob_call *call)
{
    struct http_request *request = call->request;
    http_response_header(request, "Server", call->http->server_text);
    http_response_header(request, "X-Amz-Request-Id", slice_of(call->request_id, 24));
    if (call->kind != BLOB_CALL_PAGE && http_request_header(request, "Origin").len > 0) {
        http_response_header(request, "Access-Control-Allow-Origin", SLICE("*"));
        http_response_header(request, "Access-Control-Allow-Credentials", SLICE("true"));
    }
}

void blob_call_reset_headers(struct blob_call *call)
{
    http_response_clear_headers(call->request);
    set_common_headers(call);
}

/* For the watchdog of loops. */
static const char *const kind_doing[BLOB_CALL_KINDS] = {
    [BLOB_CALL_GET] = "a GET",     [BLOB_CALL_HEAD] = "a HEAD",
    [BLOB_CALL_POST] = "a POST",   [BLOB_CALL_PUT] = "a PUT",
    [BLOB_CALL_DELETE] = "a DELETE", [BLOB_CALL_OPTIONS] = "an OPTIONS",
    [BLOB_CALL_INVALID] = "a request with an unknown method", [BLOB_CALL_PAGE] = "a page",
};

struct blob_call *blob_call_begin(struct volume_http *http, struct http_request *request,
                                  enum blob_call_kind kind, bool is_public)
{
    struct blob_call *call = arena_alloc(request->arena, sizeof(*call));
    *call = (struct blob_call){
        .http = http,
        .lane = blob_lane_of(http->lanes, http->config.loop_count, request->loop),
        .request = request,
        .kind = kind,
        .is_public = is_public,
    };
    request->user = call;
    loop_doing(kind_doing[kind]);
    call->started_ns = (uint64_t)os_monotonic_ns(http->config.os);
    blob_metrics_begin(call->lane->tally, kind);
    make_request_id(call);
    set_common_headers(call);
    return call;
}

void blob_call_close(struct blob_call *call, int status)
{
    struct volume_http *http = call->http;
    if (call->upload_bytes)
        in_flight_leave(&http->uploads, call->upload_bytes);
    if (call->leads_uploads)
        in_flight_end_lead(&http->uploads);
    call->leads_uploads = false;
    if (call->download_bytes)
        in_flight_leave(&http->downloads, call->download_bytes);
    call->upload_bytes = call->download_bytes = 0;
    if (http->metrics)
        blob_metrics_end(http->metrics, call->lane->tally, call->kind, status,
                         (uint64_t)os_monotonic_ns(http->config.os) - call->started_ns);
}

/* What is left to do once the last byte of a body that counts as a download has been sent. */
struct download_end {
    struct volume_http *http;
    uint64_t bytes;
    void (*release)(void *ctx);
    void *ctx;
};

static void end_download(void *ctx)
{
    struct download_end *end = ctx;
    in_flight_leave(&end->http->downloads, end->bytes);
    if (end->release)
        end->release(end->ctx);
}

void blob_call_reply(struct blob_call *call, int status, struct slice body,
                     void (*release)(void *ctx), void *ctx)
{
    struct http_request *request = call->request;
    if (call->download_bytes) {
        struct download_end *end = arena_alloc(request->arena, sizeof(*end));
        *end = (struct download_end){call->http, call->download_bytes, release, ctx};
        call->download_bytes = 0;
        release = end_download;
        ctx = end;
    }
    blob_call_close(call, status);
    http_respond(request, status, body, release, ctx);
}

void blob_call_reply_empty(struct blob_call *call, int status)
{
    blob_call_close(call, status);
    http_respond_empty(call->request, status);
}

void blob_call_reply_head(struct blob_call *call, int status, uint64_t length)
{
    blob_call_close(call, status);
    http_respond_head(call->request, status, length);
}

void blob_call_reply_json(struct blob_call *call, int status, struct slice json)
{
    struct http_request *request = call->request;
    http_response_set_header(request, "Content-Type", SLICE("application/json"));
    http_response_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    blob_call_reply(call, status, arena_slice(request->arena, json), NULL, NULL);
}

void blob_call_reply_error(struct blob_call *call, int status, const char *message)
{
    struct json_writer w;
    blob_call_begin_json(call, &w);
    json_writer_begin_object(&w);
    json_writer_member_text(&w, "error", message);
    json_writer_end_object(&w);
    blob_call_end_json(call, status);
}

void blob_call_reply_failure(struct blob_call *call, int status, const struct error *err)
{
    if (err->code == KELP_E_LIMIT || err->code == KELP_E_NO_MEMORY) {
        status = 503;
        http_response_header(call->request, "Retry-After", SLICE("1"));
    }
    blob_call_reply_error(call, status, err->message);
}

void blob_call_reply_loading(struct blob_call *call, const char *message)
{
    http_response_header(call->request, "Retry-After", SLICE("1"));
    blob_call_reply_error(call, 503, message);
}

void blob_call_reply_text(struct blob_call *call, int status, const char *text)
{
    struct http_request *request = call->request;
    http_response_set_header(request, "Content-Type", SLICE("text/plain; charset=utf-8"));
    http_response_set_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    char *line = arena_printf(request->arena, "%s\n", text);
    blob_call_reply(call, status, slice_cstr(line), NULL, NULL);
}

void blob_call_redirect(struct http_request *request, int status, struct slice location)
{
    http_response_set_header(request, "Location", location);
    bool is_get = request->method == HTTP_METHOD_GET;
    if (!is_get && request->method != HTTP_METHOD_HEAD) {
        http_respond_empty(request, status);
        return;
    }
    http_response_set_header(request, "Content-Type", SLICE("text/html; charset=utf-8"));
    struct buffer out = BUFFER_INIT;
    buffer_append_text(&out, "<a href=\"");
    html_append_escaped(&out, location);
    buffer_printf(&out, "\">%s</a>.\n\n", http_status_text(status));
    struct slice body = arena_slice(request->arena, buffer_slice(&out));
    buffer_fini(&out);
    http_respond(request, status, body, NULL, NULL);
}

void blob_call_reply_redirect(struct blob_call *call, int status, struct slice location)
{
    blob_call_close(call, status);
    blob_call_redirect(call->request, status, location);
}

struct buffer *blob_call_scratch(struct blob_call *call)
{
    struct buffer *scratch = &call->lane->scratch;
    /* A giant reply must not stay with the lane for ever. */
    if (scratch->capacity > 1u << 20) {
        buffer_fini(scratch);
        *scratch = (struct buffer)BUFFER_INIT;
    }
    buffer_clear(scratch);
    return scratch;
}

void blob_call_begin_json(struct blob_call *call, struct json_writer *w)
{
    bool is_pretty =
        call->request->query.len > 0 && http_request_query(call->request, "pretty").len > 0;
    json_writer_init(w, blob_call_scratch(call), is_pretty);
}

void blob_call_end_json(struct blob_call *call, int status)
{
    blob_call_reply_json(call, status, buffer_slice(&call->lane->scratch));
}

bool blob_call_query_is(const struct blob_call *call, const char *name, const char *value)
{
    return call->request->query.len > 0 &&
           slice_equals(http_request_query(call->request, name), slice_cstr(value));
}

bool blob_call_query_flag(const struct blob_call *call, const char *name)
{
    if (call->request->query.len == 0)
        return false;
    struct slice value = http_request_query(call->request, name);
    static const char *const words[] = {"1", "t", "T", "true", "TRUE", "True"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (slice_equals(value, slice_cstr(words[i])))
            return true;
    return false;
}
