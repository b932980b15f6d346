/* One call of the HTTP client: what goes to curl and what comes back. */
#include "common/http_client_internal.h"

#include "common/check.h"

#include <stdlib.h>
#include <time.h>

#define DEFAULT_CONNECT_TIMEOUT_MS 10000u
#define DEFAULT_RESPONSE_TIMEOUT_MS 30000u
#define DEFAULT_RESPONSE_LIMIT (16ull << 20)
#define HEADER_COUNT_LIMIT 1000u
#define HEADER_BYTES_LIMIT (256u << 10)
#define LENGTH_DIGITS_MAX 18u
/* What curl reads at once when somebody passes it on. */
#define STREAM_BUFFER_SIZE (64L << 10)

_Static_assert(CURL_MAX_WRITE_SIZE <= HTTP_CLIENT_PIECE_MAX, "a sink is told how much may come");

uint64_t http_call_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static size_t on_upload(char *to, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    size_t left = call->body.len - call->body_sent, room = size * count;
    size_t n = left < room ? left : room;
    if (n)
        memcpy(to, call->body.ptr + call->body_sent, n);
    call->body_sent += n;
    call->moved_ms = http_call_now_ms();
    return n;
}

/* When a kept connection turns out to be dead, curl sends again on a new one. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
    struct http_call *call = ctx;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > call->body.len)
        return CURL_SEEKFUNC_CANTSEEK;
    call->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t feed_sink(struct http_call *call, struct slice piece)
{
    enum http_client_taken taken = call->sink->on_data(call->done_ctx, piece);
    call->is_paused = taken == HTTP_CLIENT_LATER;
    if (taken == HTTP_CLIENT_ENOUGH)
        call->failure = KELP_E_CANCELLED;
    return call->is_paused ? CURL_WRITEFUNC_PAUSE : call->failure ? 0 : piece.len;
}

static size_t on_download(char *data, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    size_t n = size * count;
    call->moved_ms = http_call_now_ms();
    if (call->failure)
        return 0;
    if (call->sink)
        return feed_sink(call, slice_of(data, n));
    if (call->response_body.length + n > call->response_limit)
        call->failure = KELP_E_TOO_LARGE;
    else if (buffer_reserve(&call->response_body, n + 1) < 0)
        call->failure = KELP_E_NO_MEMORY;
    if (call->failure)
        return 0;
    buffer_append(&call->response_body, data, n);
    return n;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static void describe(const struct http_call *call, struct http_client_response *ret)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (int)status;
    ret->headers = call->headers;
    ret->header_count = call->header_count;
}

/* Whoever passes a body on relies on its length, and curl is not strict: of several it takes one of
 * them. */
static bool has_clear_length(const struct http_call *call)
{
    const char *length = NULL;
    for (size_t i = 0; i < call->header_count; i++) {
        const char *value = call->headers[i].value;
        if (strcasecmp(call->headers[i].name, "Content-Length") != 0)
            continue;
        size_t digits = strspn(value, "0123456789");
        if (digits == 0 || digits > LENGTH_DIGITS_MAX || value[digits] ||
            (length && strcmp(length, value) != 0))
            return false;
        length = value;
    }
    return true;
}

/* The blank line after the headers. What follows a 1xx is another header, but for the one that
 * ends HTTP, which nobody has asked for. */
static bool end_head(struct http_call *call)
{
    struct http_client_response head = {0};
    describe(call, &head);
    if (head.status < 100 || head.status == 101 || !has_clear_length(call)) {
        call->failure = KELP_E_PROTOCOL;
        return false;
    }
    if (head.status < 200)
        return true;
    call->has_head = true;
    if (!call->sink || call->sink->on_head(call->done_ctx, &head))
        return true;
    call->failure = KELP_E_CANCELLED;
    return false;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    struct slice line = slice_of(data, size * count);
    call->moved_ms = http_call_now_ms();
    if (call->has_head)
        return line.len; /* trailers: nobody asked for them */
    if (slice_starts(line, SLICE("HTTP/"))) {
        call->header_count = 0; /* what came before belonged to a 100 Continue */
        return line.len;
    }
    if (trim(line).len == 0)
        return end_head(call) ? line.len : 0;
    ptrdiff_t colon = slice_find(line, ':');
    if (colon <= 0)
        return line.len;
    call->header_bytes += line.len;
    if (call->header_count == HEADER_COUNT_LIMIT || call->header_bytes > HEADER_BYTES_LIMIT) {
        call->failure = KELP_E_TOO_LARGE;
        return 0;
    }
    if (call->header_count == call->header_capacity) {
        size_t capacity = call->header_capacity ? call->header_capacity * 2 : 16;
        call->headers = must(realloc(call->headers, capacity * sizeof(*call->headers)));
        call->header_capacity = capacity;
    }
    struct slice name = slice_until(line, (size_t)colon);
    struct slice value = trim(slice_from(line, (size_t)colon + 1));
    call->headers[call->header_count++] =
        (struct http_client_header){arena_strndup(&call->arena, name.ptr, name.len),
                                    arena_strndup(&call->arena, value.ptr, value.len)};
    return line.len;
}

void http_call_free(struct http_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->header_lines);
    arena_fini(&call->arena);
    buffer_fini(&call->response_body);
    free(call->headers);
    free(call);
}

static void add_header_line(struct http_call *call, const char *name, const char *value)
{
    /* curl takes "Name;" for a header with no value; "Name:" would remove it. */
    const char *line = *value ? arena_printf(&call->arena, "%s: %s", name, value)
                              : arena_printf(&call->arena, "%s;", name);
    call->header_lines = must(curl_slist_append(call->header_lines, line));
}

static void set_method(struct http_call *call, const struct http_client_request *request)
{
    CURL *easy = call->easy;
    bool may_have_body =
        strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0;
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (request->body.ptr || may_have_body) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    } else if (strcmp(request->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_tls(CURL *easy, const struct http_client_tls *tls)
{
    if (!tls)
        return;
    if (*tls->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca);
    if (*tls->cert && *tls->key) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key);
    }
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->is_unverified ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->is_unverified ? 0L : 2L);
}

struct http_call *http_call_create(const struct http_client_request *request,
                                   const struct http_client_sink *sink)
{
    struct http_call *call = must(calloc(1, sizeof(*call)));
    call->sink = sink;
    call->body = request->body;
    call->response_limit =
        request->response_limit_bytes ? request->response_limit_bytes : DEFAULT_RESPONSE_LIMIT;
    call->stall_limit_ms =
        request->response_timeout_ms ? request->response_timeout_ms : DEFAULT_RESPONSE_TIMEOUT_MS;
    call->moved_ms = http_call_now_ms();
    arena_init(&call->arena);
    CURL *easy = call->easy = must(curl_easy_init());
    unsigned connect_ms =
        request->connect_timeout_ms ? request->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_download);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    if (sink)
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, STREAM_BUFFER_SIZE);
    /* Without these curl waits for "100 Continue", and adds headers of its own. */
    call->header_lines = must(curl_slist_append(NULL, "Expect:"));
    call->header_lines = must(curl_slist_append(call->header_lines, "Accept:"));
    for (size_t i = 0; i < request->header_count; i++)
        add_header_line(call, request->headers[i].name, request->headers[i].value);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->header_lines);
    set_method(call, request);
    set_tls(call->easy, request->tls);
    return call;
}

bool http_call_is_stalled(const struct http_call *call, uint64_t now_ms)
{
    return !call->is_paused && now_ms >= call->moved_ms + call->stall_limit_ms;
}

static int code_of(const struct http_call *call)
{
    if (call->failure)
        return call->failure;
    switch (call->result) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return KELP_E_TIMEOUT;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return KELP_E_INVALID;
    case CURLE_OUT_OF_MEMORY:
        return KELP_E_NO_MEMORY;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_PARTIAL_FILE:
        return KELP_E_PROTOCOL;
    default:
        return KELP_E_UNAVAILABLE;
    }
}

int http_call_take_outcome(struct http_call *call, struct http_client_response *ret,
                           struct error *err)
{
    int code = code_of(call);
    if (code < 0) {
        char *url = NULL;
        curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
        const char *reason = call->failure ? error_text(code)
                             : *call->reason ? call->reason
                                             : curl_easy_strerror(call->result);
        return error_set(err, code, "%s: %s", url ? url : "?", reason);
    }
    describe(call, ret);
    if (!call->sink)
        buffer_cstr(&call->response_body);
    ret->body = call->response_body.data;
    ret->body_size = call->response_body.length;
    return 0;
}
