/* The gRPC client of a command that is no server, with the certificates of grpc.client where
 * security.toml names some. Main thread. */
#pragma once

#include "cli/process_security.h"
#include "common/rpc_client.h"

struct process_rpc {
    struct rpc_client *client;
    struct process_security security;
};

/* On failure there is nothing to close. */
int process_rpc_open(struct process_rpc *ret, struct error *err);
void process_rpc_close(struct process_rpc *rpc); /* a zeroed one is fine */
