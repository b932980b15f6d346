/* The HTTP client.
 *
 * One curl multi handle does the work for asynchronous calls, driven by uv_poll and uv_timer on the
 * loop; another one, made when it is first needed, for blocking calls, driven by curl_multi_poll.
 * Both keep their connections. A call ends through `end_call`, whoever drives it, and a stalled one
 * is noticed by a clock that each moved byte sets back.
 *
 * Runs on: the loop's thread for asynchronous calls, the caller's thread for blocking ones; a lock
 * keeps blocking callers apart. */
#include "common/http_client_internal.h"

#include "common/check.h"

#include <pthread.h>
#include <stdlib.h>

#define STALL_CHECK_MS 100u
#define IDLE_CONNECTIONS_MAX 64L

struct socket_watch {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct http_client {
    struct loop *loop;
    CURLM *multi; /* asynchronous; NULL without a loop */
    uv_timer_t timer, stall_timer;
    struct http_call *calls; /* loop thread */
    unsigned handle_count;
    bool is_closing;

    pthread_mutex_t lock; /* one blocking call at a time */
    CURLM *blocking_multi;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void) { CHECK(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK); }

/* --- asynchronous -------------------------------------------------------------------------------
 */

static void unlink_call(struct http_call *call)
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

static void end_call(struct http_call *call)
{
    struct http_client_response response = {0};
    struct error err;
    unlink_call(call);
    curl_multi_remove_handle(call->client->multi, call->easy);
    int code = http_call_take_outcome(call, &response, &err);
    call->done(call->done_ctx, code, code == 0 ? &response : NULL, code == 0 ? NULL : &err);
    http_call_free(call);
}

static void end_finished(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while (!client->is_closing && (message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct http_call *call = NULL;
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
    loop_doing("talking to another server");
    curl_multi_socket_action(client->multi, watch->fd, flags, &running);
    end_finished(client);
    loop_lap();
}

static void on_timer(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int running;
    loop_doing("talking to another server");
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    end_finished(client);
    loop_lap();
}

static void on_stall_check(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    uint64_t now = http_call_now_ms();
    struct http_call *call = client->calls;
    while (call && !client->is_closing) {
        if (!http_call_is_stalled(call, now)) {
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

static struct http_call *start_call(struct http_client *client,
                                    const struct http_client_request *request,
                                    const struct http_client_sink *sink, http_client_done *done,
                                    void *ctx)
{
    struct http_call *call = http_call_create(request, sink);
    call->client = client;
    call->done = done;
    call->done_ctx = ctx;
    call->next = client->calls;
    if (call->next)
        call->next->prev = call;
    client->calls = call;
    if (!uv_is_active((uv_handle_t *)&client->stall_timer))
        uv_timer_start(&client->stall_timer, on_stall_check, STALL_CHECK_MS, STALL_CHECK_MS);
    CHECK(curl_multi_add_handle(client->multi, call->easy) == CURLM_OK);
    return call;
}

void http_client_send(struct http_client *client, const struct http_client_request *request,
                      http_client_done *done, void *ctx)
{
    start_call(client, request, NULL, done, ctx);
}

struct http_call *http_client_stream(struct http_client *client,
                                     const struct http_client_request *request,
                                     const struct http_client_sink *sink, http_client_done *done,
                                     void *ctx)
{
    return start_call(client, request, sink, done, ctx);
}

void http_client_resume(struct http_call *call)
{
    if (!call->is_paused)
        return;
    call->is_paused = false;
    call->moved_ms = http_call_now_ms();
    curl_easy_pause(call->easy, CURLPAUSE_CONT); /* what comes of it, curl tells by its timer */
}

void http_client_cancel(struct http_call *call)
{
    unlink_call(call);
    curl_multi_remove_handle(call->client->multi, call->easy);
    http_call_free(call);
}

/* --- blocking -----------------------------------------------------------------------------------
 */

static void drive(CURLM *multi, struct http_call *call, const struct http_client_request *request)
{
    for (;;) {
        int running, left;
        curl_multi_perform(multi, &running);
        CURLMsg *message = curl_multi_info_read(multi, &left);
        if (message && message->msg == CURLMSG_DONE) {
            call->result = message->data.result;
            return;
        }
        if (http_call_is_stalled(call, http_call_now_ms())) {
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
    struct http_call *call = http_call_create(request, NULL);
    call->client = client;
    struct http_client_response response = {0};
    pthread_mutex_lock(&client->lock);
    if (!client->blocking_multi)
        client->blocking_multi = must(curl_multi_init());
    CHECK(curl_multi_add_handle(client->blocking_multi, call->easy) == CURLM_OK);
    call->moved_ms = http_call_now_ms(); /* waiting for the lock does not count */
    drive(client->blocking_multi, call, request);
    int code = http_call_take_outcome(call, &response, err);
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
    http_call_free(call);
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
