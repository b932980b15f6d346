/* Loops and listeners. Runs on the start thread and, closing, on the one that stops the server. */
#include "volume/volume_server_internal.h"

#include "common/check.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RPC_WORKER_THREADS 64u /* a vacuum copy takes one for as long as it runs */
#define RPC_GRACE_MS       2000u
#define CONNECTIONS_MAX    20000u
#define BODIES_MAX_BYTES   (1ull << 30) /* of all requests together; room for two of the largest */
#define IDLE_NEVER_MS      UINT32_MAX

static const char *bind_address(const struct volume_server *server)
{
    return *server->config.bind_address ? server->config.bind_address : server->config.ip;
}

static int open_loops(struct volume_server *server, struct error *err)
{
    unsigned wanted = server->config.http_threads;
    if (wanted == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        wanted = cores > 0 ? (unsigned)cores : 1;
    }
    if (wanted > VOLUME_SERVER_LOOPS_MAX)
        wanted = VOLUME_SERVER_LOOPS_MAX;
    while (server->loop_count < wanted) {
        char name[16];
        snprintf(name, sizeof(name), "http-%u", server->loop_count);
        int code = loop_create(&server->loops[server->loop_count], name, err);
        if (code)
            return code;
        server->loop_count++;
    }
    return 0;
}

static bool is_healthy(void *ctx)
{
    struct volume_server *server = ctx;
    return !atomic_load(&server->is_stopping) &&
           !heartbeat_has_left(atomic_load(&server->heartbeat));
}

/* Names must be settled before the first request, so port 0 is settled first too. */
static int settle_port(const struct volume_server *server, uint16_t *ret, struct error *err)
{
    *ret = server->config.port;
    if (*ret != 0)
        return 0;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    bool is_v6 = strchr(bind_address(server), ':') != NULL;
    struct sockaddr *any = is_v6 ? (struct sockaddr *)&address : (struct sockaddr *)&v4;
    socklen_t size = is_v6 ? sizeof(address) : sizeof(v4);
    int fd = socket(any->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, any, size) < 0 || getsockname(fd, any, &size) < 0) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        return error_set_errno(err, errnum, "find a free port");
    }
    close(fd);
    *ret = ntohs(is_v6 ? address.sin6_port : v4.sin_port);
    return 0;
}

static void settle_identity(struct volume_server *server, uint16_t port)
{
    const struct volume_server_config *config = &server->config;
    struct heartbeat_identity *identity = &server->identity;
    bool has_public = config->public_port != 0 && config->public_port != port;
    char *own = arena_printf(&server->arena, "%s:%u", config->ip, port);
    server->own_url = own;
    identity->ip = config->ip;
    identity->port = port;
    identity->id = *config->id ? config->id : own;
    identity->public_url = config->public_url;
    if (!*identity->public_url)
        identity->public_url =
            has_public ? arena_printf(&server->arena, "%s:%u", config->ip, config->public_port)
                       : own;
    identity->data_center = config->data_center;
    identity->rack = config->rack;
}

static enum volume_read_mode read_mode(const char *text)
{
    if (strcmp(text, "proxy") == 0 || *text == '\0')
        return VOLUME_READ_PROXY;
    return strcmp(text, "local") == 0 ? VOLUME_READ_LOCAL : VOLUME_READ_REDIRECT;
}

static void describe(void *ctx, struct volume_page_facts *ret)
{
    struct volume_server *server = ctx;
    struct heartbeat *heartbeat = atomic_load(&server->heartbeat);
    const struct volume_server_config *config = &server->config;
    struct address leader;
    uint32_t state_version;
    *ret = (struct volume_page_facts){
        .address = server->own_url,
        .public_url = server->identity.public_url,
        .version = config->version,
        .data_center = config->data_center,
        .rack = config->rack,
        .masters = config->masters,
        .started_second = server->started_second,
        .index = config->index,
        .durability = config->durability,
        .sync_interval_ms = config->sync_interval_ms,
        .is_connected = heartbeat_is_connected(heartbeat),
        .is_stopping = atomic_load(&server->is_stopping),
        .has_left = heartbeat_has_left(heartbeat),
    };
    server_state_get(server->state, &ret->is_in_maintenance, &state_version);
    if (heartbeat_master(heartbeat, &leader))
        address_format(&leader, ret->leader);
}

static int open_http_handlers(struct volume_server *server, struct error *err)
{
    const struct volume_server_config *config = &server->config;
    /* The Server header carries no commit: "SeaweedFS Volume 8000GB 4.48". */
    const char *version = config->version;
    const char *number = strchr(version, ' ');
    const char *commit = number ? strchr(number + 1, ' ') : NULL;
    int shown = commit ? (int)(commit - version) : (int)strlen(version);
    struct volume_http_config http = {
        .store = server->store,
        .loops = server->loops,
        .loop_count = server->loop_count,
        .lookup = server->lookup,
        .own_url = server->own_url,
        .server_text = arena_printf(&server->arena, "SeaweedFS Volume %.*s", shown, version),
        .version_text = version,
        .read_mode = read_mode(config->read_mode),
        .file_size_limit_bytes = (uint64_t)config->file_size_limit_mb << 20,
        .upload_limit_bytes = (uint64_t)config->upload_limit_mb << 20,
        .download_limit_bytes = (uint64_t)config->download_limit_mb << 20,
        .upload_wait_ms = (unsigned)(config->upload_timeout_ns / 1000000),
        .download_wait_ms = (unsigned)(config->download_timeout_ns / 1000000),
        .turns_upright = config->turns_upright,
        .security = server->security,
        .metrics = server->registry,
        .is_healthy = is_healthy,
        .has_page = security_shows_pages(server->security),
        .describe = describe,
        .ctx = server,
    };
    return volume_http_create(&server->http, &http, err);
}

static int open_http(struct volume_server *server, struct error *err)
{
    const struct volume_server_config *config = &server->config;
    uint64_t body_limit = volume_http_body_limit(server->http);
    uint64_t bodies = body_limit * 2 > BODIES_MAX_BYTES ? body_limit * 2 : BODIES_MAX_BYTES;
    struct http_server_config http = {
        .bind_address = bind_address(server),
        .port = server->identity.port,
        .loops = server->loops,
        .loop_count = server->loop_count,
        .handler = volume_http_handler(server->http),
        .tls = config->tls,
        .body_limit_bytes = body_limit,
        .buffered_limit_bytes = bodies,
        .queued_limit_bytes = bodies,
        .connection_limit = CONNECTIONS_MAX,
        .idle_timeout_ms =
            config->idle_timeout_seconds ? config->idle_timeout_seconds * 1000 : IDLE_NEVER_MS,
    };
    int code = http_server_create(&server->http_server, &http, err);
    if (code)
        return code;
    atomic_store(&server->port, http_server_port(server->http_server));
    if (config->public_port == 0 || config->public_port == server->identity.port)
        return 0;
    http.tls = NULL; /* the public port never has it */
    http.port = config->public_port;
    http.handler = volume_http_public_handler(server->http);
    code = http_server_create(&server->public_server, &http, err);
    return code ? error_prefix(err, "public port") : 0;
}

static int open_rpc(struct volume_server *server, struct error *err)
{
    const struct volume_server_config *config = &server->config;
    uint16_t port = config->grpc_port;
    if (port == 0 && config->port != 0) {
        if (config->port > UINT16_MAX - 10000)
            return error_set(err, KELP_E_INVALID,
                             "-port %u + 10000 is no port: name the gRPC port with -port.grpc",
                             config->port);
        port = (uint16_t)(config->port + 10000);
    }
    struct rpc_server_config rpc = {
        .bind_address = bind_address(server),
        .port = port,
        .tls = config->rpc_tls,
        .worker_threads = RPC_WORKER_THREADS,
    };
    rpc.services = volume_rpc_services(server->rpc, &rpc.service_count);
    int code = rpc_server_create(&server->rpc_server, &rpc, err);
    if (code)
        return error_prefix(err, "gRPC port");
    server->identity.grpc_port = rpc_server_port(server->rpc_server);
    atomic_store(&server->grpc_port, server->identity.grpc_port);
    return 0;
}

static int open_metrics(struct volume_server *server, struct error *err)
{
    const struct volume_server_config *config = &server->config;
    if (config->metrics_port == 0)
        return 0;
    const char *address = *config->metrics_ip ? config->metrics_ip : bind_address(server);
    int code = metrics_server_create(&server->metrics_server, address, config->metrics_port,
                                     server->registry, err);
    if (!code)
        atomic_store(&server->metrics_port, metrics_server_port(server->metrics_server));
    return code;
}

static int begin_pushing(struct volume_server *server, struct error *err)
{
    if (!server->gateway[0] || server->gateway_interval_seconds == 0)
        return 0;
    struct metrics_push_config push = {
        .metrics = server->registry,
        .address = server->gateway,
        .job = "volumeServer",
        .instance = server->own_url,
        .interval_seconds = server->gateway_interval_seconds,
    };
    return metrics_push_create(&server->metrics_push, &push, err);
}

int volume_server_open_ports(struct volume_server *server, struct error *err)
{
    uint16_t port;
    int code = settle_port(server, &port, err);
    if (code)
        return code;
    settle_identity(server, port);
    code = open_metrics(server, err);
    if (!code)
        code = open_loops(server, err);
    if (!code) {
        server->loop_metrics =
            loop_metrics_create(server->registry, server->loops, server->loop_count);
        code = open_http_handlers(server, err);
    }
    if (!code)
        code = open_rpc(server, err);
    if (!code)
        code = open_http(server, err);
    if (!code) {
        const struct http_server *const servers[] = {server->http_server, server->public_server};
        server->http_metrics = http_metrics_create(server->registry, servers);
    }
    if (!code)
        code = begin_pushing(server, err);
    return code;
}

void volume_server_close_ports(struct volume_server *server, unsigned grace_ms)
{
    http_metrics_destroy(server->http_metrics);
    http_server_destroy(server->public_server, grace_ms);
    http_server_destroy(server->http_server, grace_ms);
    metrics_push_destroy(server->metrics_push);
    volume_http_destroy(server->http);
    loop_metrics_destroy(server->loop_metrics);
    for (unsigned i = 0; i < server->loop_count; i++)
        loop_destroy(server->loops[i]);
    rpc_client_close(server->client); /* handlers that ask a master or a peer wait no longer */
    rpc_server_destroy(server->rpc_server, grace_ms < RPC_GRACE_MS ? grace_ms : RPC_GRACE_MS);
    metrics_server_destroy(server->metrics_server);
}
