/* The gRPC side of a volume server: which methods there are, who may call them, and when they are
 * refused. Source: spec/volume-rpc.md.
 *
 * The table of methods in volume_rpc.c is the contract's authorization and maintenance matrix;
 * each row names the handler, which is written as plain sequential code for a worker thread. */
#pragma once

#include "common/address.h"
#include "common/rpc_server.h"
#include "common/security.h"
#include "volume/heartbeat.h"
#include "volume/server_state.h"
#include "volume/store.h"

struct volume_rpc;
struct volume_metrics;

/* Everything is borrowed for the life of the volume_rpc. */
struct volume_rpc_config {
    struct store *store;
    struct server_state *state;
    struct heartbeat *heartbeat;
    struct rpc_client *client;
    struct security *security;                 /* NULL: everybody is welcome */
    const struct heartbeat_identity *identity; /* complete before the first call */
    const struct address *masters;             /* the seeds */
    size_t master_count;
    const char *version; /* "8000GB 4.48 <commit>" */
    struct volume_metrics *metrics;
};

void volume_rpc_create(struct volume_rpc **ret, const struct volume_rpc_config *config);
/* After the rpc_server has been destroyed. NULL is fine. */
void volume_rpc_destroy(struct volume_rpc *rpc);
/* For rpc_server_config. */
const struct rpc_service *volume_rpc_services(const struct volume_rpc *rpc, size_t *ret_count);
/* The server is going to stop: no vacuum is committed any more. Any thread. */
void volume_rpc_set_stopping(struct volume_rpc *rpc);
