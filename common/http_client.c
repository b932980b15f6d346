/* The HTTP client.
 *
 * One curl multi handle does the work for asynchronous calls, driven by uv_poll and uv_timer on the
 * loop; another one, made when it is first needed, for blocking calls, driven by curl_multi_poll.
 * Both keep their connections. A call ends through `end_call`, whoever drives it, and a stalled one
 * is noticed by a clock that each moved byte sets back.
 *
 * Runs on: the loop's thread for asynchronous calls, the caller's thread for blocking ones; a lock
 * keeps blocking callers apart. */
#include "common/http_client.h"

#include "common/arena.h"
#include "common/buffer.h"
#include "common/check.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_CONNECT_TIMEOUT_MS 10000u
#define DEFAULT_RESPONSE_TIMEOUT_MS 30000u
#define DEFAULT_RESPONSE_LIMIT (16ull << 20)
#define STALL_CHECK_MS 100u
#define HEADER_COUNT_LIMIT 1000u
#define IDLE_CONNECTIONS_MAX 64L

struct call {
    struct call *prev, *next; /* of the client's running calls */
    struct http_client *client;
    CURL *easy;
    struct curl_slist *header_lines;
    struct slice body;
    size_t body_sent;
    struct arena arena; /* response headers */
    struct buffer response_body;
    uint64_t response_limit;
    struct http_client_header *headers;
    size_t header_count, header_capacity;
    uint64_t moved_ms; /* when a byte last moved */
    unsigned stall_limit_ms;
    int failure; /* set by a callback that has stopped the transfer */
    CURLcode result;
    char reason[CURL_ERROR_SIZE];
    http_client_done *done;
    void *done_ctx;
};

struct socket_watch {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct http_client {
    struct loop *loop;
    CURLM *multi; /* asynchronous; NULL without a loop */
    uv_timer_t timer, stall_timer;
    struct call *calls; /* loop thread */
    unsigned handle_count;
    bool is_closing;

    pthread_mutex_t lock; /* one blocking call at a time */
    CURLM *blocking_multi;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void) { CHECK(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK); }

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- one call -----------------------------------------------------------------------------------
 */

static size_t on_upload(char *to, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    size_t left = call->body.len - call->body_sent, room = size * count;
    size_t n = left < room ? left : room;
    if (n)
        memcpy(to, call->body.ptr + call->body_sent, n);
    call->body_sent += n;
    call->moved_ms = now_ms();
    return n;
}

/* When a kept connection turns out to be dead, curl sends again on a new one. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
    struct call *call = ctx;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > call->body.len)
        return CURL_SEEKFUNC_CANTSEEK;
    call->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t on_download(char *data, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    size_t n = size * count;
    call->moved_ms = now_ms();
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

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    struct slice line = slice_of(data, size * count);
    call->moved_ms = now_ms();
    if (slice_starts(line, SLICE("HTTP/"))) {
        call->header_count = 0; /* what came before belonged to a 100 Continue */
        return line.len;
    }
    ptrdiff_t colon = slice_find(line, ':');
    if (colon <= 0)
        return line.len;
    if (call->header_count == HEADER_COUNT_LIMIT) {
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

static void call_free(struct call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->header_lines);
    arena_fini(&call->arena);
    buffer_fini(&call->response_body);
    free(call->headers);
    free(call);
}

static void add_header_line(struct call *call, const char *name, const char *value)
{
    /* curl takes "Name;" for a header with no value; "Name:" would remove it. */
    const char *line = *value ? arena_printf(&call->arena, "%s: %s", name, value)
                              : arena_printf(&call->arena, "%s;", name);
    call->header_lines = must(curl_slist_append(call->header_lines, line));
}

static void set_method(struct call *call, const struct http_client_request *request)
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

static struct call *call_create(struct http_client *client,
                                const struct http_client_request *request)
{
    struct call *call = must(calloc(1, sizeof(*call)));
    call->client = client;
    call->body = request->body;
    call->response_limit =
        request->response_limit_bytes ? request->response_limit_bytes : DEFAULT_RESPONSE_LIMIT;
    call->stall_limit_ms =
        request->response_timeout_ms ? request->response_timeout_ms : DEFAULT_RESPONSE_TIMEOUT_MS;
    call->moved_ms = now_ms();
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
    /* Without these curl waits for "100 Continue", and adds headers of its own. */
    call->header_lines = must(curl_slist_append(NULL, "Expect:"));
    call->header_lines = must(curl_slist_append(call->header_lines, "Accept:"));
    for (size_t i = 0; i < request->header_count; i++)
        add_header_line(call, request->headers[i].name, request->headers[i].value);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->header_lines);
    set_method(call, request);
    return call;
}

static bool is_stalled(const struct call *call, uint64_t now)
{
    return now - call->moved_ms >= call->stall_limit_ms;
}

static int code_of(const struct call *call)
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

/* The outcome of an ended call; on success moves the response out of it. */
static int take_outcome(struct call *call, struct http_client_response *ret, struct error *err)
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
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (int)status;
    buffer_cstr(&call->response_body);
    ret->body = call->response_body.data;
    ret->body_size = call->response_body.length;
    ret->headers = call->headers;
    ret->header_count = call->header_count;
    return 0;
}

/* --- asynchronous -------------------------------------------------------------------------------
 */

static void unlink_call(struct call *call)
{
    struct http_client *client = call->client;
    if (call->prev)
        call->prev->next = call->next;
    else
        client->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    if (!client->calls && !client->is_closing)
        uv_timer_stop(&client->stall_timer);
}

static void end_call(struct call *call)
{
    struct http_client_response response = {0};
    struct error err;
    unlink_call(call);
    curl_multi_remove_handle(call->client->multi, call->easy);
    int code = take_outcome(call, &response, &err);
    call->done(call->done_ctx, code, code == 0 ? &response : NULL, code == 0 ? NULL : &err);
    call_free(call);
}

static void end_finished(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while (!client->is_closing && (message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct call *call = NULL;
        CURLcode result = message->data.result; /* the message dies with the handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call->result = result;
        end_call(call);
    }
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *watch = poll->data;
    struct http_client *client = watch->client; /* the watch may go away below */
    int running, flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                         (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) |
                         (status < 0 ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(client->multi, watch->fd, flags, &running);
    end_finished(client);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int running;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    end_finished(client);
}

static void on_stall_check(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    uint64_t now = now_ms();
    struct call *call = client->calls;
    while (call && !client->is_closing) {
        if (!is_stalled(call, now)) {
            call = call->next;
            continue;
        }
        call->failure = KELP_E_TIMEOUT;
        end_call(call);
        call = client->calls; /* `done` may have begun or ended others */
    }
}

static void free_client(struct http_client *client)
{
    if (client->blocking_multi)
        curl_multi_cleanup(client->blocking_multi);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static void drop_handle(struct http_client *client)
{
    if (--client->handle_count == 0)
        free_client(client);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct socket_watch *watch = handle->data;
    drop_handle(watch->client);
    free(watch);
}

static void on_timer_closed(uv_handle_t *handle) { drop_handle(handle->data); }

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct http_client *client = ctx;
    struct socket_watch *watch = socket_ctx;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            curl_multi_assign(client->multi, fd, NULL);
            uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
        }
        return 0;
    }
    if (!watch) {
        watch = must(calloc(1, sizeof(*watch)));
        watch->client = client;
        watch->fd = fd;
        watch->poll.data = watch;
        if (uv_poll_init_socket(loop_uv(client->loop), &watch->poll, fd) != 0) {
            free(watch);
            return -1;
        }
        client->handle_count++;
        curl_multi_assign(client->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watch->poll, events, on_socket_ready);
    return 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http_client *client = ctx;
    if (client->is_closing)
        return 0;
    if (timeout_ms < 0)
        uv_timer_stop(&client->timer);
    else /* never at once: curl must not be called from inside itself */
        uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void start_async(struct http_client *client)
{
    uv_loop_t *uv = loop_uv(client->loop);
    client->multi = must(curl_multi_init());
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
    client->timer.data = client->stall_timer.data = client;
    CHECK(uv_timer_init(uv, &client->timer) == 0);
    CHECK(uv_timer_init(uv, &client->stall_timer) == 0);
    client->handle_count = 2;
}

int http_client_create(struct http_client **ret, struct loop *loop, struct error *err)
{
    pthread_once(&curl_once, init_curl);
    struct http_client *client = must(calloc(1, sizeof(*client)));
    pthread_mutex_init(&client->lock, NULL);
    client->loop = loop;
    if (loop)
        start_async(client);
    *ret = client;
    return 0;
}

void http_client_destroy(struct http_client *client)
{
    if (!client)
        return;
    client->is_closing = true;
    if (!client->multi) {
        free_client(client);
        return;
    }
    while (client->calls) {
        client->calls->failure = KELP_E_CANCELLED;
        end_call(client->calls);
    }
    curl_multi_cleanup(client->multi); /* closes the kept connections, and so their watches */
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
    uv_close((uv_handle_t *)&client->stall_timer, on_timer_closed);
}

void http_client_send(struct http_client *client, const struct http_client_request *request,
                      http_client_done *done, void *ctx)
{
    struct call *call = call_create(client, request);
    call->done = done;
    call->done_ctx = ctx;
    call->next = client->calls;
    if (call->next)
        call->next->prev = call;
    client->calls = call;
    if (!uv_is_active((uv_handle_t *)&client->stall_timer))
        uv_timer_start(&client->stall_timer, on_stall_check, STALL_CHECK_MS, STALL_CHECK_MS);
    CHECK(curl_multi_add_handle(client->multi, call->easy) == CURLM_OK);
}

/* --- blocking -----------------------------------------------------------------------------------
 */

static void drive(CURLM *multi, struct call *call, const struct http_client_request *request)
{
    for (;;) {
        int running, left;
        curl_multi_perform(multi, &running);
        CURLMsg *message = curl_multi_info_read(multi, &left);
        if (message && message->msg == CURLMSG_DONE) {
            call->result = message->data.result;
            return;
        }
        if (is_stalled(call, now_ms())) {
            call->failure = KELP_E_TIMEOUT;
            return;
        }
        if (request->is_given_up && request->is_given_up(request->ctx)) {
            call->failure = KELP_E_CANCELLED;
            return;
        }
        curl_multi_poll(multi, NULL, 0, STALL_CHECK_MS, NULL);
    }
}

int http_client_fetch(struct http_client *client, const struct http_client_request *request,
                      struct http_client_response *ret, struct error *err)
{
    struct call *call = call_create(client, request);
    struct http_client_response response = {0};
    pthread_mutex_lock(&client->lock);
    if (!client->blocking_multi)
        client->blocking_multi = must(curl_multi_init());
    CHECK(curl_multi_add_handle(client->blocking_multi, call->easy) == CURLM_OK);
    call->moved_ms = now_ms(); /* waiting for the lock does not count */
    drive(client->blocking_multi, call, request);
    int code = take_outcome(call, &response, err);
    curl_multi_remove_handle(client->blocking_multi, call->easy);
    pthread_mutex_unlock(&client->lock);
    if (code == 0) {
        *ret = response;
        call->response_body = (struct buffer)BUFFER_INIT;
        call->headers = NULL;
        /* The names and values live in the call's arena: copy them out. */
        for (size_t i = 0; i < ret->header_count; i++) {
            ret->headers[i].name = must(strdup(ret->headers[i].name));
            ret->headers[i].value = must(strdup(ret->headers[i].value));
        }
    }
    call_free(call);
    return code;
}

void http_client_response_fini(struct http_client_response *response)
{
    for (size_t i = 0; i < response->header_count; i++) {
        free((char *)(uintptr_t)response->headers[i].name);
        free((char *)(uintptr_t)response->headers[i].value);
    }
    free(response->headers);
    free(response->body);
    *response = (struct http_client_response){0};
}

const char *http_client_response_header(const struct http_client_response *response,
                                        const char *name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    return NULL;
}
