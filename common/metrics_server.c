/* One loop, one listener, one page. */
#include "common/metrics_server.h"

#include "common/check.h"
#include "common/gzip.h"
#include "common/http_server.h"

#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 64u
#define GRACE_MS        1000u

struct metrics_server {
    struct loop *loop;
    struct http_server *http;
    struct http_handler handler;
    struct metrics *metrics;
};

static void free_page(void *ctx)
{
    struct buffer *page = ctx;
    buffer_fini(page);
    free(page);
}

static bool takes_gzip(const struct http_request *request)
{
    struct slice accepted = http_request_header(request, "Accept-Encoding");
    return accepted.len >= 4 && memmem(accepted.ptr, accepted.len, "gzip", 4) != NULL;
}

/* Scrapers ask for it; a page of many volumes shrinks to a tenth. */
static bool compress(struct buffer *page)
{
    char *packed;
    size_t size;
    if (gzip_compress(buffer_slice(page), &packed, &size, NULL) != 0)
        return false;
    buffer_fini(page);
    *page = (struct buffer){.data = packed, .length = size, .capacity = size};
    return true;
}

static void on_request(struct http_request *request, void *ctx)
{
    struct metrics_server *server = ctx;
    if (!slice_equals(request->path, SLICE("/metrics"))) {
        http_response_header(request, "Content-Type", SLICE("text/plain; charset=utf-8"));
        http_respond(request, 404, SLICE("404 page not found\n"), NULL, NULL);
        return;
    }
    if (request->method != HTTP_METHOD_GET && request->method != HTTP_METHOD_HEAD) {
        http_respond_empty(request, 405);
        return;
    }
    struct buffer *page = must(calloc(1, sizeof(*page)));
    metrics_print(server->metrics, page);
    if (takes_gzip(request) && compress(page))
        http_response_header(request, "Content-Encoding", SLICE("gzip"));
    http_response_header(request, "Content-Type",
                         SLICE("text/plain; version=0.0.4; charset=utf-8"));
    http_respond(request, 200, buffer_slice(page), free_page, page);
}

int metrics_server_create(struct metrics_server **ret, const char *bind_address, uint16_t port,
                          struct metrics *metrics, struct error *err)
{
    struct metrics_server *server = must(calloc(1, sizeof(*server)));
    server->metrics = metrics;
    server->handler = (struct http_handler){.on_request = on_request, .ctx = server};
    int code = loop_create(&server->loop, "metrics", err);
    if (!code) {
        struct http_server_config config = {
            .bind_address = bind_address,
            .port = port,
            .loops = &server->loop,
            .loop_count = 1,
            .handler = &server->handler,
            .body_limit_bytes = 4096,
            .connection_limit = CONNECTIONS_MAX,
        };
        code = http_server_create(&server->http, &config, err);
    }
    if (code) {
        metrics_server_destroy(server);
        return error_prefix(err, "metrics port");
    }
    *ret = server;
    return 0;
}

uint16_t metrics_server_port(const struct metrics_server *server)
{
    return http_server_port(server->http);
}

void metrics_server_destroy(struct metrics_server *server)
{
    if (!server)
        return;
    http_server_destroy(server->http, GRACE_MS);
    loop_destroy(server->loop);
    free(server);
}
