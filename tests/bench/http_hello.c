/* The HTTP server with a handler that does nothing, to see what the server itself costs:
 *
 *     http_hello [port [loops [body bytes]]]
 *     wrk -t1 -c64 -d5 http://127.0.0.1:8080/
 *
 * A GET is answered with the body, anything else with the size of what was sent. Ends on a signal.
 */
#include "common/arena.h"
#include "common/check.h"
#include "common/http_server.h"

#include <signal.h>
#include <stdlib.h>

struct hello {
    struct slice body;
};

static void on_request(struct http_request *request, void *ctx)
{
    const struct hello *hello = ctx;
    http_response_header(request, "Content-Type", SLICE("application/octet-stream"));
    if (request->method == HTTP_METHOD_GET || request->method == HTTP_METHOD_HEAD)
        http_respond(request, 200, hello->body, NULL, NULL);
    else
        http_respond(request, 201,
                     slice_cstr(arena_printf(request->arena, "{\"size\":%zu}", request->body.len)),
                     NULL, NULL);
}

int main(int argc, char **argv)
{
    unsigned port = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    unsigned loop_count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    size_t body_size = argc > 3 ? (size_t)atol(argv[3]) : 1024;
    signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    struct loop *loops[64];
    struct error err;
    if (loop_count < 1 || loop_count > 64)
        loop_count = 1;
    for (unsigned i = 0; i < loop_count; i++)
        CHECK(loop_create(&loops[i], "hello", &err) == 0);
    char *text = must(malloc(body_size + 1));
    memset(text, 'x', body_size);
    struct hello hello = {.body = slice_of(text, body_size)};
    struct http_handler handler = {.on_request = on_request, .ctx = &hello};
    struct http_server_config config = {.bind_address = "127.0.0.1",
                                        .port = (uint16_t)port,
                                        .loops = loops,
                                        .loop_count = loop_count,
                                        .handler = &handler,
                                        .body_limit_bytes = 1u << 30};
    struct http_server *server;
    if (http_server_create(&server, &config, &err) < 0) {
        fprintf(stderr, "http_hello: %s\n", err.message);
        return 1;
    }
    printf("http://127.0.0.1:%u/\n", http_server_port(server));
    fflush(stdout);
    int number;
    sigwait(&signals, &number);

    struct http_server_stats stats;
    http_server_stats(server, &stats);
    http_server_destroy(server, 1000);
    for (unsigned i = 0; i < loop_count; i++)
        loop_destroy(loops[i]);
    free(text);
    printf("%llu requests, %llu bytes in, %llu bytes out\n", (unsigned long long)stats.requests,
           (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes_out);
    return 0;
}
