/* What the gRPC server and client take from rpc_tls.c. Private to common/rpc_*.c. */
#pragma once

#include "common/rpc_tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

/* One listening port: what it was last given. gRPC asks with its own lock held, so never twice at once. */
struct rpc_tls_port {
    struct rpc_tls *tls;
    unsigned generation;
};

/* `port` must live as long as the server. Release them. */
grpc_server_credentials *rpc_tls_server_credentials(struct rpc_tls *tls, struct rpc_tls_port *port);
/* Counts the certificates for calls that there have been. */
unsigned rpc_tls_generation(struct rpc_tls *tls);
/* Plain ones when tls is NULL or has nothing to bring. Release them. */
grpc_channel_credentials *rpc_tls_channel_credentials(struct rpc_tls *tls);
/* Is the client of this call, whose certificate has been verified, one of those that are let in? When
 * not, what to tell it. */
bool rpc_tls_admits(const struct rpc_tls *tls, grpc_call *call, struct error *err);
