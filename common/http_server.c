/* The HTTP server as a whole: lanes, one per loop, started and ended together.
 *
 * Starting and ending are asked for from outside and done on each loop by a posted task; the caller
 * waits on `changed` for the lanes to report. */
#include "common/http_server.h"

#include "common/check.h"
#include "common/http_closing.h"
#include "common/http_connection.h"
#include "common/http_lane.h"
#include "common/http_listener.h"
#include "common/http_server_internal.h"
#include "common/http_timeout.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_HEADER_LIMIT (64u << 10)
#define DEFAULT_TIMEOUT_MS 30000u
#define LINGER_TIMEOUT_MS 5000u
#define BACKLOG 4096

struct lane_slot {
    struct loop_task task;
    struct http_lane *lane;
    int fd; /* until the lane has it */
    void (*step)(struct lane_slot *slot);
    struct http_server *server;
};

struct http_server {
    struct http_shared shared;
    uint16_t port;
    unsigned lane_count;
    pthread_mutex_t lock; /* guards the counts below */
    pthread_cond_t changed;
    unsigned steps_done, lanes_empty;
    int start_error;
    struct lane_slot slots[];
};

/* --- on the loops -------------------------------------------------------------------------------
 */

static void run_step(struct loop_task *task)
{
    struct lane_slot *slot = (struct lane_slot *)((char *)task - offsetof(struct lane_slot, task));
    struct http_server *server = slot->server;
    slot->step(slot);
    pthread_mutex_lock(&server->lock);
    server->steps_done++;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void on_lane_drop(struct http_lane *lane, bool is_empty)
{
    struct http_server *server = lane->owner;
    pthread_mutex_lock(&server->lock);
    server->lanes_empty += is_empty;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void on_handle_closed(uv_handle_t *handle) { http_lane_drop(handle->data); }

static void on_sweep(uv_timer_t *timer) { http_timeout_sweep(timer->data); }

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        http_connection_accept(listener->data);
}

/* Often enough to be at most an eighth late, not so often as to wake an idle process for nothing.
 */
static uint64_t sweep_interval(const struct http_shared *shared)
{
    uint64_t shortest = shared->header_timeout_ms < shared->linger_timeout_ms
                            ? shared->header_timeout_ms
                            : shared->linger_timeout_ms;
    uint64_t interval = shortest / 8;
    return interval < 10 ? 10 : interval > 1000 ? 1000 : interval;
}

static void start_lane(struct lane_slot *slot)
{
    struct http_lane *lane = slot->lane;
    uv_loop_t *uv = loop_uv(lane->loop);
    lane->listener.data = lane->sweeper.data = lane;
    CHECK(uv_tcp_init(uv, &lane->listener) == 0);
    CHECK(uv_timer_init(uv, &lane->sweeper) == 0);
    http_lane_hold(lane);
    http_lane_hold(lane);
    int code = uv_tcp_open(&lane->listener, slot->fd);
    if (code == 0) {
        slot->fd = -1;
        code = uv_listen((uv_stream_t *)&lane->listener, BACKLOG, on_connection);
    }
    if (code < 0) {
        slot->server->start_error = code; /* read after all steps are done */
        return;
    }
    uint64_t interval = sweep_interval(lane->shared);
    uv_timer_start(&lane->sweeper, on_sweep, interval, interval);
}

static void drain_lane(struct lane_slot *slot)
{
    struct http_lane *lane = slot->lane;
    lane->is_stopping = true;
    uv_close((uv_handle_t *)&lane->listener, on_handle_closed);
    http_closing_idle(lane);
}

static void close_lane(struct lane_slot *slot)
{
    struct http_lane *lane = slot->lane;
    http_closing_all(lane);
    uv_close((uv_handle_t *)&lane->sweeper,
             on_handle_closed); /* its drop comes last at the earliest */
}

/* --- from outside -------------------------------------------------------------------------------
 */

static void run_on_lanes(struct http_server *server, void (*step)(struct lane_slot *slot))
{
    server->steps_done = 0;
    for (unsigned i = 0; i < server->lane_count; i++) {
        struct lane_slot *slot = &server->slots[i];
        CHECK(!loop_is_current(slot->lane->loop));
        slot->step = step;
        slot->task.run = run_step;
        loop_post(slot->lane->loop, &slot->task);
    }
    pthread_mutex_lock(&server->lock);
    while (server->steps_done < server->lane_count)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

static void init_shared(struct http_shared *shared, const struct http_server_config *config)
{
    shared->handler = config->handler;
    shared->tls = config->tls;
    shared->header_limit_bytes =
        config->header_limit_bytes ? config->header_limit_bytes : DEFAULT_HEADER_LIMIT;
    shared->body_limit_bytes = config->body_limit_bytes;
    shared->buffered_limit_bytes = config->buffered_limit_bytes;
    shared->queued_limit_bytes = config->queued_limit_bytes;
    shared->connection_limit = config->connection_limit;
    shared->idle_timeout_ms =
        config->idle_timeout_ms ? config->idle_timeout_ms : DEFAULT_TIMEOUT_MS;
    shared->header_timeout_ms =
        config->header_timeout_ms ? config->header_timeout_ms : DEFAULT_TIMEOUT_MS;
    if (shared->header_timeout_ms > shared->idle_timeout_ms)
        shared->header_timeout_ms = shared->idle_timeout_ms;
    shared->linger_timeout_ms =
        shared->idle_timeout_ms < LINGER_TIMEOUT_MS ? shared->idle_timeout_ms : LINGER_TIMEOUT_MS;
}

static void free_server(struct http_server *server)
{
    for (unsigned i = 0; i < server->lane_count; i++) {
        struct lane_slot *slot = &server->slots[i];
        if (slot->fd >= 0)
            close(slot->fd);
        http_lane_fini(slot->lane);
        free(slot->lane);
    }
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static struct http_server *build_server(const struct http_server_config *config, const int *fds,
                                        uint16_t port)
{
    struct http_server *server =
        must(calloc(1, sizeof(*server) + config->loop_count * sizeof(struct lane_slot)));
    init_shared(&server->shared, config);
    server->port = port;
    server->lane_count = config->loop_count;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < config->loop_count; i++) {
        struct http_lane *lane = must(calloc(1, sizeof(*lane)));
        http_lane_init(lane, &server->shared, config->loops[i]);
        http_connection_attach(lane);
        lane->on_drop = on_lane_drop;
        lane->owner = server;
        server->slots[i] = (struct lane_slot){.lane = lane, .fd = fds[i], .server = server};
    }
    return server;
}

int http_server_create(struct http_server **ret, const struct http_server_config *config,
                       struct error *err)
{
    CHECK(config->loop_count > 0 && config->handler && config->handler->on_request);
    int *fds = must(calloc(config->loop_count, sizeof(*fds)));
    uint16_t port;
    int code =
        http_listener_open(config->bind_address, config->port, config->loop_count, fds, &port, err);
    if (code < 0) {
        free(fds);
        return code;
    }
    struct http_server *server = build_server(config, fds, port);
    free(fds);
    run_on_lanes(server, start_lane);
    if (server->start_error) {
        code = error_set_errno(err, -server->start_error, "listen on port %u", port);
        http_server_destroy(server, 0);
        return code;
    }
    *ret = server;
    return 0;
}

uint16_t http_server_port(const struct http_server *server) { return server->port; }

void http_server_stats(const struct http_server *server, struct http_server_stats *ret)
{
    *ret = (struct http_server_stats){0};
    ret->connections = atomic_load(&server->shared.connections);
    ret->bytes_buffered = atomic_load(&server->shared.buffered_bytes);
    ret->bytes_queued = atomic_load(&server->shared.queued_bytes);
    for (unsigned i = 0; i < server->lane_count; i++) {
        const struct http_counters *c = &server->slots[i].lane->counters;
        ret->connections_refused +=
            atomic_load_explicit(&c->connections_refused, memory_order_relaxed);
        ret->requests += atomic_load_explicit(&c->requests, memory_order_relaxed);
        ret->bytes_in += atomic_load_explicit(&c->bytes_in, memory_order_relaxed);
        ret->bytes_out += atomic_load_explicit(&c->bytes_out, memory_order_relaxed);
        ret->parse_errors += atomic_load_explicit(&c->parse_errors, memory_order_relaxed);
        ret->timeouts += atomic_load_explicit(&c->timeouts, memory_order_relaxed);
    }
}

/* Waits for the connections to end by themselves. */
static void wait_for_connections(struct http_server *server, unsigned grace_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += grace_ms / 1000;
    deadline.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    pthread_mutex_lock(&server->lock);
    while (grace_ms && atomic_load(&server->shared.connections) > 0)
        if (pthread_cond_timedwait(&server->changed, &server->lock, &deadline) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&server->lock);
}

void http_server_destroy(struct http_server *server, unsigned grace_ms)
{
    if (!server)
        return;
    atomic_store(&server->shared.is_draining, true);
    run_on_lanes(server, drain_lane);
    wait_for_connections(server, grace_ms);
    run_on_lanes(server, close_lane);
    /* Requests that handlers still hold keep their lane. */
    pthread_mutex_lock(&server->lock);
    while (server->lanes_empty < server->lane_count)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    free_server(server);
}
