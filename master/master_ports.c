/* The master's listeners: HTTP, its twin on localhost, gRPC, the metrics page; and who pushes it. */
#include "master/master_internal.h"

#include "common/metrics_push.h"
#include "master/master_http.h"
#include "master/master_rpc.h"

#include <errno.h>
#include <unistd.h>

#define BUFFERED_BODIES (UINT64_C(1) << 30)
#define FREE_PORT_TRIES 10u

/* Whether the peer's rule asks for a second listener on localhost. */
static bool wants_localhost(const char *bind)
{
    static const char *const enough[] = {"",        "localhost", "127.0.0.1", "0.0.0.0",
                                         "[::]",    "[::1]",     "::",        "::1"};
    for (size_t i = 0; i < sizeof(enough) / sizeof(enough[0]); i++)
        if (strcmp(bind, enough[i]) == 0)
            return false;
    return true;
}

static int open_http(struct master *m, const char *bind, uint16_t port,
                     const struct http_handler *handler, struct tls_server *tls,
                     struct http_server **ret, struct error *err)
{
    struct http_server_config config = {
        .bind_address = bind,
        .port = port,
        .loops = m->loops,
        .loop_count = m->loop_count,
        .handler = handler,
        .tls = tls,
        .body_limit_bytes = (uint64_t)m->config.file_size_limit_mb << 20,
        .buffered_limit_bytes = BUFFERED_BODIES,
    };
    return http_server_create(ret, &config, err);
}

static int open_grpc(struct master *m, uint16_t port, struct error *err)
{
    struct rpc_server_config config = {
        .bind_address = m->config.bind_address,
        .also_bind_address = wants_localhost(m->config.bind_address) ? "127.0.0.1" : NULL,
        .port = port,
        .tls = m->config.rpc_tls,
        .services = &m->rpc_service,
        .service_count = 1,
    };
    return rpc_server_create(&m->rpc_server, &config, err);
}

/* A port nobody uses now. A master has to know its own address, which it tells clients, before the
 * first of them can come; so the number is found first and listened on later. */
static int find_free_port(const char *bind_address, uint16_t *ret, struct error *err)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(struct sockaddr_in);
    if (uv_ip4_addr(bind_address, 0, (struct sockaddr_in *)&address)) {
        size = sizeof(struct sockaddr_in6);
        if (uv_ip6_addr(bind_address, 0, (struct sockaddr_in6 *)&address))
            return error_set(err, KELP_E_INVALID,
                             "to find a free port, %s must be an IP address; give -port",
                             bind_address);
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, size);
    if (rc == 0)
        rc = getsockname(fd, (struct sockaddr *)&address, &size);
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    if (rc)
        return error_set_errno(err, errnum, "a free port on %s", bind_address);
    *ret = ntohs(size == sizeof(struct sockaddr_in)
                     ? ((struct sockaddr_in *)&address)->sin_port
                     : ((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

int master_settle_address(struct master *m, struct error *err)
{
    struct master_config *c = &m->config;
    struct address address;
    int code = 0;
    if (m->has_free_port)
        code = find_free_port(c->bind_address, &c->port, err);
    if (!code && m->has_free_grpc_port)
        code = find_free_port(c->bind_address, &c->grpc_port, err);
    if (!code)
        code = address_init(&address, c->ip, c->port, c->grpc_port);
    if (code)
        return code;
    address_format(&address, m->address);
    address_format_http(&address, m->http_address);
    return 0;
}

static int open_ports(struct master *m, struct error *err)
{
    const struct master_config *c = &m->config;
    master_http_handler(&m->services, &m->http_handler);
    master_http_metrics_handler(&m->services, &m->metrics_handler);
    master_rpc_service(&m->services, &m->rpc_service);
    int code = open_http(m, c->bind_address, c->port, &m->http_handler, c->tls, &m->http, err);
    if (!code && wants_localhost(c->bind_address))
        open_http(m, "127.0.0.1", c->port, &m->http_handler, NULL, &m->http_localhost, NULL);
    if (!code && c->metrics_port > 0)
        code = open_http(m, c->metrics_ip, c->metrics_port, &m->metrics_handler, NULL,
                         &m->http_metrics, err);
    if (!code)
        code = open_grpc(m, c->grpc_port, err);
    return code;
}

static int begin_pushing(struct master *m, struct error *err)
{
    const struct master_config *c = &m->config;
    if (!c->metrics_address[0] || c->metrics_interval_seconds == 0)
        return 0;
    struct metrics_push_config push = {
        .metrics = m->metrics->registry,
        .address = c->metrics_address,
        .job = "masterServer",
        .instance = m->http_address,
        .interval_seconds = c->metrics_interval_seconds,
    };
    return metrics_push_create(&m->metrics_push, &push, err);
}

void master_close_ports(struct master *m, unsigned grace_ms)
{
    metrics_push_destroy(m->metrics_push);
    m->metrics_push = NULL;
    rpc_server_destroy(m->rpc_server, grace_ms);
    http_server_destroy(m->http, grace_ms);
    http_server_destroy(m->http_localhost, grace_ms);
    http_server_destroy(m->http_metrics, grace_ms);
    m->rpc_server = NULL;
    m->http = m->http_localhost = m->http_metrics = NULL;
}

int master_open_ports(struct master *m, struct error *err)
{
    int code = open_ports(m, err);
    bool may_move = m->has_free_port || m->has_free_grpc_port;
    for (unsigned i = 0; code == KELP_E_UNAVAILABLE && may_move && i < FREE_PORT_TRIES; i++) {
        master_close_ports(m, 0);
        code = master_settle_address(m, err);
        if (!code)
            code = open_ports(m, err);
    }
    return code ? code : begin_pushing(m, err);
}
