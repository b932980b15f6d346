/* A loop of printing, putting and waiting. See the header. Source: spec/volume-flags.md 5. */
#include "common/metrics_push.h"

#include "common/check.h"
#include "common/http_client.h"
#include "common/log.h"
#include "common/url.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 10000u

struct metrics_push {
    struct metrics *metrics;
    struct http_client *client;
    char *url;
    unsigned interval_seconds;
    pthread_t thread;
    atomic_bool is_ending;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* with lock: is_ending */
    bool has_complained;
};

static void append_segment(struct buffer *url, const char *name, const char *value)
{
    buffer_printf(url, "/%s/", name);
    url_encode_query(url, slice_cstr(value));
}

static char *make_url(const struct metrics_push_config *config)
{
    struct buffer url = BUFFER_INIT;
    size_t length = strlen(config->address);
    while (length > 0 && config->address[length - 1] == '/')
        length--;
    if (!strstr(config->address, "://"))
        buffer_append_text(&url, "http://");
    buffer_append(&url, config->address, length);
    buffer_append_text(&url, "/metrics");
    append_segment(&url, "job", config->job);
    append_segment(&url, "instance", config->instance);
    char *text = must(strdup(buffer_cstr(&url)));
    buffer_fini(&url);
    return text;
}

static bool is_given_up(void *ctx)
{
    struct metrics_push *push = ctx;
    return atomic_load(&push->is_ending);
}

static int put_page(struct metrics_push *push, struct error *err)
{
    static const struct http_client_header type = {"Content-Type",
                                                   "text/plain; version=0.0.4; charset=utf-8"};
    struct buffer page = BUFFER_INIT;
    metrics_print(push->metrics, &page);
    struct http_client_request request = {
        .method = "PUT",
        .url = push->url,
        .headers = &type,
        .header_count = 1,
        .body = buffer_slice(&page),
        .connect_timeout_ms = TIMEOUT_MS,
        .response_timeout_ms = TIMEOUT_MS,
        .is_given_up = is_given_up,
        .ctx = push,
    };
    struct http_client_response response;
    int code = http_client_fetch(push->client, &request, &response, err);
    buffer_fini(&page);
    if (code)
        return code;
    if (response.status / 100 != 2)
        code = error_set(err, KELP_E_UNAVAILABLE, "the gateway answers %d: %.100s", response.status,
                         response.body ? response.body : "");
    http_client_response_fini(&response);
    return code;
}

static void push_once(struct metrics_push *push)
{
    struct error err = {0};
    int code = put_page(push, &err);
    if (code && !push->has_complained && code != KELP_E_CANCELLED)
        log_warning("metrics not pushed",
                    "url=%s error=\"%s\" next=\"trying again every %u seconds\"", push->url,
                    err.message, push->interval_seconds);
    else if (!code && push->has_complained)
        log_info("metrics are pushed again", "url=%s", push->url);
    push->has_complained = code != 0;
}

static void wait_for_turn(struct metrics_push *push)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += push->interval_seconds;
    pthread_mutex_lock(&push->lock);
    int rc = 0;
    while (!atomic_load(&push->is_ending) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&push->wake, &push->lock, &until);
    pthread_mutex_unlock(&push->lock);
}

static void *push_main(void *ctx)
{
    struct metrics_push *push = ctx;
    pthread_setname_np(pthread_self(), "metrics-push");
    while (!atomic_load(&push->is_ending)) {
        push_once(push);
        wait_for_turn(push);
    }
    return NULL;
}

static void free_push(struct metrics_push *push)
{
    http_client_destroy(push->client);
    pthread_cond_destroy(&push->wake);
    pthread_mutex_destroy(&push->lock);
    free(push->url);
    free(push);
}

int metrics_push_create(struct metrics_push **ret, const struct metrics_push_config *config,
                        struct error *err)
{
    if (config->address[0] == '\0' || config->interval_seconds == 0)
        return error_set(err, KELP_E_INVALID, "pushing metrics needs an address and an interval");
    struct metrics_push *push = must(calloc(1, sizeof(*push)));
    push->metrics = config->metrics;
    push->interval_seconds = config->interval_seconds;
    push->url = make_url(config);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&push->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&push->lock, NULL);
    int code = http_client_create(&push->client, NULL, err);
    if (!code) {
        int rc = pthread_create(&push->thread, NULL, push_main, push);
        if (rc)
            code = error_set_errno(err, rc, "start a thread");
    }
    if (code) {
        free_push(push);
        return code;
    }
    *ret = push;
    return 0;
}

void metrics_push_destroy(struct metrics_push *push)
{
    if (!push)
        return;
    pthread_mutex_lock(&push->lock);
    atomic_store(&push->is_ending, true);
    pthread_cond_broadcast(&push->wake);
    pthread_mutex_unlock(&push->lock);
    pthread_join(push->thread, NULL);
    free_push(push);
}
