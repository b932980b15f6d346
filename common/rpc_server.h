/* The gRPC server: gRPC Core's C API with protobuf-c messages.
 *
 * Completion-queue threads feed handlers. Short ones run right there, those that block or wait run
 * on the server's worker pool (see rpc_call.h). Long-lived streams are event driven and hold no
 * thread. Unknown methods answer UNIMPLEMENTED. A message that does not parse answers INTERNAL.
 * Limits: rpc_limits.h, and 1000 streams a connection. */
#pragma once

#include "common/error.h"
#include "common/rpc_call.h"

#include <stddef.h>
#include <stdint.h>

struct rpc_server;
struct rpc_tls;

struct rpc_service {
    const struct rpc_method *methods; /* static */
    size_t method_count;
    void *ctx; /* given to every callback */
};

struct rpc_server_config {
    const char *bind_address; /* without brackets; "" or NULL: all */
    /* NULL, or a second address to listen on with the same port. It is a convenience: when it
     * cannot be had, the server starts without. */
    const char *also_bind_address;
    uint16_t port; /* 0: any free one */
    struct rpc_tls *tls; /* borrowed; NULL, or one without a certificate to show: plain */
    const struct rpc_service *services;
    size_t service_count;
    unsigned queue_threads;  /* 0: 2 */
    unsigned worker_threads; /* 0: 16 */
};

/* Calls may come in before this returns. KELP_E_UNAVAILABLE when the port is in use. The services
 * and what they point to must live until rpc_server_destroy has returned. */
int rpc_server_create(struct rpc_server **ret, const struct rpc_server_config *config,
                      struct error *err);
uint16_t rpc_server_port(const struct rpc_server *server);
/* Refuses new calls, lets running ones finish for up to grace_ms, cancels the rest, waits for all
 * handlers. A stream that nobody ends costs the whole grace. Not from a callback. NULL is fine. */
void rpc_server_destroy(struct rpc_server *server, unsigned grace_ms);
