/* The listener: takes calls in, finds their methods, and goes down in order.
 *
 * All calls come through plain requests, none through registered methods: an unknown method is
 * then just one more case, and there is one way in. Each queue keeps ARRIVALS_PER_QUEUE requests
 * armed; what comes in beyond waits inside gRPC, within the streams that a connection may have.
 *
 * Going down: no new calls; the running ones get their grace, are cancelled, and are waited for;
 * then workers, queues and the library end, in that order, since each may still be used by the one
 * before. */
#include "common/rpc_server.h"

#include "common/check.h"
#include "common/rpc_host.h"
#include "common/rpc_tls_internal.h"

#include <errno.h>
#include <grpc/slice.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ARRIVALS_PER_QUEUE 32
#define QUEUES_MAX 64
#define GOODBYE_MS 1000 /* for clients to answer that they have seen the end */

/* One armed request; refilled by gRPC, used again and again. */
struct arrival {
    struct rpc_tag tag;
    struct rpc_server *server;
    struct rpc_queue *queue;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct route {
    const struct rpc_method *method;
    void *ctx;
};

struct rpc_server {
    struct rpc_host host;
    grpc_server *core;
    struct rpc_tls *tls;
    struct rpc_tls_port tls_ports[2];
    uint16_t port;
    struct route *routes; /* sorted by path */
    size_t route_count;
    struct rpc_queue *queues;
    size_t queue_count;
    struct arrival *arrivals;
    struct rpc_tag shutdown;
    bool is_started;
    atomic_bool is_closing; /* new calls are refused */
    bool is_shut_down; /* under host.lock; host.idle tells */
};

/* --- routes */

static int compare_routes(const void *a, const void *b)
{
    const struct route *left = a, *right = b;
    return strcmp(left->method->path, right->method->path);
}

static void collect_routes(struct rpc_server *server, const struct rpc_server_config *config)
{
    for (size_t i = 0; i < config->service_count; i++)
        server->route_count += config->services[i].method_count;
    server->routes = must(calloc(server->route_count + 1, sizeof(*server->routes)));
    size_t n = 0;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct rpc_service *service = &config->services[i];
        for (size_t m = 0; m < service->method_count; m++)
            server->routes[n++] = (struct route){&service->methods[m], service->ctx};
    }
    qsort(server->routes, n, sizeof(*server->routes), compare_routes);
    for (size_t i = 1; i < n; i++)
        CHECK(compare_routes(&server->routes[i - 1], &server->routes[i]) != 0);
}

static const struct route *find_route(const struct rpc_server *server, grpc_slice path)
{
    size_t low = 0, high = server->route_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *candidate = server->routes[middle].method->path;
        size_t length = strlen(candidate), given = GRPC_SLICE_LENGTH(path);
        int order = memcmp(GRPC_SLICE_START_PTR(path), candidate, length < given ? length : given);
        if (order == 0 && given == length)
            return &server->routes[middle];
        if (order == 0)
            order = given < length ? -1 : 1;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* What Go's servers say, since clients log it. */
static void describe_unknown(const struct rpc_server *server, grpc_slice path, char *text,
                             size_t size)
{
    char copy[256];
    size_t length = GRPC_SLICE_LENGTH(path);
    if (length >= sizeof(copy))
        length = sizeof(copy) - 1;
    memcpy(copy, GRPC_SLICE_START_PTR(path), length);
    copy[length] = 0;
    char *slash = strrchr(copy, '/');
    if (copy[0] != '/' || slash == copy) {
        snprintf(text, size, "malformed method name: \"%s\"", copy);
        return;
    }
    *slash = 0;
    const char *service = copy + 1, *method = slash + 1;
    size_t service_length = (size_t)(slash - copy);
    for (size_t i = 0; i < server->route_count; i++) {
        const char *known = server->routes[i].method->path;
        if (strncmp(known, copy, service_length) == 0 && known[service_length] == '/') {
            snprintf(text, size, "unknown method %s for service %s", method, service);
            return;
        }
    }
    snprintf(text, size, "unknown service %s", service);
}

/* --- arrivals, on the queue's thread */

static void arm(struct arrival *arrival)
{
    grpc_call_details_init(&arrival->details);
    grpc_metadata_array_init(&arrival->metadata);
    RPC_HAND_OVER(&arrival->tag);
    grpc_call_error failure = grpc_server_request_call(
        arrival->server->core, &arrival->core, &arrival->details, &arrival->metadata,
        arrival->queue->core, arrival->queue->core, &arrival->tag);
    CHECK(failure == GRPC_CALL_OK);
}

static void on_arrival(struct rpc_tag *tag, bool is_ok)
{
    struct arrival *arrival = rpc_container(tag, struct arrival, tag);
    grpc_call *core = arrival->core;
    grpc_call_details details = arrival->details;
    grpc_metadata_array metadata = arrival->metadata;
    struct rpc_server *server = arrival->server;
    if (is_ok) {
        /* First the next one: as long as this call lives, the server cannot be gone. */
        arm(arrival);
        const struct route *route = find_route(server, details.method);
        struct error err;
        if (!rpc_tls_admits(server->tls, core, &err)) {
            rpc_call_refuse(&server->host, core, &metadata, RPC_PERMISSION_DENIED, err.message);
        } else if (atomic_load(&server->is_closing)) {
            rpc_call_refuse(&server->host, core, &metadata, RPC_UNAVAILABLE,
                            "the server is shutting down");
        } else if (route) {
            rpc_call_begin(&server->host, core, route->method, route->ctx, &metadata);
        } else {
            char text[320];
            describe_unknown(server, details.method, text, sizeof(text));
            rpc_call_refuse(&server->host, core, &metadata, RPC_UNIMPLEMENTED, text);
        }
    }
    grpc_metadata_array_destroy(&metadata);
    grpc_call_details_destroy(&details);
}

static void on_shutdown(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_server *server = rpc_container(tag, struct rpc_server, shutdown);
    pthread_mutex_lock(&server->host.lock);
    server->is_shut_down = true;
    pthread_cond_broadcast(&server->host.idle);
    pthread_mutex_unlock(&server->host.lock);
}

/* --- listening */

static void format_target(const char *host, unsigned port, char *target, size_t size)
{
    if (!host || !*host)
        host = "[::]";
    bool needs_brackets = strchr(host, ':') && host[0] != '[';
    snprintf(target, size, needs_brackets ? "[%s]:%u" : "%s:%u", host, port);
}

/* gRPC does not say why a port cannot be had, so the same is tried by hand. */
static int explain_port(const char *host, uint16_t port)
{
    char service[8], plain[256];
    snprintf(service, sizeof(service), "%u", port);
    if (host && host[0] == '[') {
        snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(host + 1, "]"), host + 1);
        host = plain;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host && *host ? host : NULL, service, &hints, &list) != 0)
        return EADDRNOTAVAIL;
    int reason = 0;
    for (struct addrinfo *a = list; a && !reason; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1) < 0)
            reason = errno;
        close(fd);
    }
    freeaddrinfo(list);
    return reason ? reason : EADDRINUSE;
}

static int add_port(struct rpc_server *server, const char *target, struct rpc_tls_port *tls_port)
{
    grpc_server_credentials *credentials = rpc_tls_server_credentials(server->tls, tls_port);
    int port = grpc_server_add_http2_port(server->core, target, credentials);
    grpc_server_credentials_release(credentials);
    return port;
}

static int listen_on(struct rpc_server *server, const struct rpc_server_config *config,
                     struct error *err)
{
    char target[320];
    format_target(config->bind_address, config->port, target, sizeof(target));
    int port = add_port(server, target, &server->tls_ports[0]);
    if (port <= 0) {
        int reason = explain_port(config->bind_address, config->port);
        char text[128];
        return error_set(err, KELP_E_UNAVAILABLE,
                         "listen for gRPC on %s: %s; choose another port or address", target,
                         strerror_r(reason, text, sizeof(text)));
    }
    server->port = (uint16_t)port;
    if (config->also_bind_address) {
        format_target(config->also_bind_address, server->port, target, sizeof(target));
        (void)add_port(server, target, &server->tls_ports[1]);
    }
    return 0;
}

static grpc_server *create_core(void)
{
    grpc_arg args[] = {
        /* Without it, two servers on one port would silently share the calls. */
        rpc_int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        rpc_int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, RPC_STREAMS_MAX),
        rpc_int_arg(GRPC_ARG_MAX_METADATA_SIZE, RPC_HEADERS_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES),
        rpc_int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        rpc_int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, RPC_KEEPALIVE_MS),
        rpc_int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_KEEPALIVE_TIMEOUT_MS),
        rpc_int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        /* Peers ping every 20 s, with or without streams; half of it leaves room for jitter. */
        rpc_int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        rpc_int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
    };
    grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};
    return must(grpc_server_create(&list, NULL));
}

int rpc_server_create(struct rpc_server **ret, const struct rpc_server_config *config,
                      struct error *err)
{
    rpc_library_ref();
    struct rpc_server *server = must(calloc(1, sizeof(*server)));
    pthread_mutex_init(&server->host.lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->host.idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    server->shutdown.run = on_shutdown;
    server->tls = config->tls;
    collect_routes(server, config);

    server->core = create_core();
    server->queue_count = config->queue_threads ? config->queue_threads : 2;
    if (server->queue_count > QUEUES_MAX)
        server->queue_count = QUEUES_MAX;
    server->queues = must(calloc(server->queue_count, sizeof(*server->queues)));
    for (size_t i = 0; i < server->queue_count; i++) {
        rpc_queue_init(&server->queues[i]);
        grpc_server_register_completion_queue(server->core, server->queues[i].core, NULL);
    }
    int rc = listen_on(server, config, err);
    if (rc == 0)
        rc = worker_pool_create(&server->host.pool, "rpc-worker",
                                config->worker_threads ? config->worker_threads : 16, SIZE_MAX,
                                err);
    for (size_t i = 0; i < server->queue_count && rc == 0; i++)
        rc = rpc_queue_start(&server->queues[i], "rpc-server", err);
    if (rc < 0) {
        rpc_server_destroy(server, 0);
        return rc;
    }

    *ret = server; /* before the first handler can ask for it */
    grpc_server_start(server->core);
    server->is_started = true;
    size_t arrivals = server->queue_count * ARRIVALS_PER_QUEUE;
    server->arrivals = must(calloc(arrivals, sizeof(*server->arrivals)));
    for (size_t i = 0; i < arrivals; i++) {
        struct arrival *arrival = &server->arrivals[i];
        arrival->tag.run = on_arrival;
        arrival->server = server;
        arrival->queue = &server->queues[i % server->queue_count];
        arm(arrival);
    }
    return 0;
}

uint16_t rpc_server_port(const struct rpc_server *server) { return server->port; }

/* --- going down */

static struct timespec after_ms(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* The grace comes before gRPC's own shutdown: that one closes connections when their last call has
 * ended, and a client that has not read all of it by then would lose the rest. */
static void end_calls(struct rpc_server *server, unsigned grace_ms)
{
    struct rpc_host *host = &server->host;
    struct timespec deadline = after_ms(grace_ms);
    atomic_store(&server->is_closing, true);
    pthread_mutex_lock(&host->lock);
    while (host->running_calls > 0)
        if (pthread_cond_timedwait(&host->idle, &host->lock, &deadline) == ETIMEDOUT)
            break;
    bool is_idle = host->running_calls == 0;
    pthread_mutex_unlock(&host->lock);

    RPC_HAND_OVER(&server->shutdown);
    grpc_server_shutdown_and_notify(server->core, server->queues[0].core, &server->shutdown);
    if (!is_idle)
        grpc_server_cancel_all_calls(server->core);
    deadline = after_ms(GOODBYE_MS);
    pthread_mutex_lock(&host->lock);
    while (!server->is_shut_down)
        if (pthread_cond_timedwait(&host->idle, &host->lock, &deadline) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&host->lock);
    grpc_server_cancel_all_calls(server->core); /* clients that do not answer the goodbye */
    pthread_mutex_lock(&host->lock);
    while (!server->is_shut_down || host->running_calls > 0)
        pthread_cond_wait(&host->idle, &host->lock);
    pthread_mutex_unlock(&host->lock);
}

void rpc_server_destroy(struct rpc_server *server, unsigned grace_ms)
{
    if (!server)
        return;
    if (server->is_started)
        end_calls(server, grace_ms);
    else /* gRPC wants to be told of a shutdown all the same */
        grpc_server_shutdown_and_notify(server->core, server->queues[0].core, &server->shutdown);
    worker_pool_destroy(server->host.pool);
    for (size_t i = 0; i < server->queue_count; i++)
        rpc_queue_fini(&server->queues[i]);
    grpc_server_destroy(server->core);
    pthread_mutex_destroy(&server->host.lock);
    pthread_cond_destroy(&server->host.idle);
    free(server->arrivals);
    free(server->queues);
    free(server->routes);
    free(server);
    rpc_library_unref();
}
