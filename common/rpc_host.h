/* The seam between the listener (rpc_server.c) and its calls (rpc_call.c). Private to the two. */
#pragma once

#include "common/rpc_call.h"
#include "common/rpc_internal.h"
#include "common/worker_pool.h"

#include <pthread.h>
#include <stdatomic.h>

/* The part of the server that its calls need. */
struct rpc_host {
    struct worker_pool *pool;
    atomic_uint waiting_calls; /* for a worker */
    atomic_ullong waiting_bytes;
    pthread_mutex_t lock; /* of running_calls */
    pthread_cond_t idle;  /* running_calls became 0 */
    size_t running_calls;
};

/* Begins a call that has arrived, and takes `core`. Runs on the thread of the call's queue. */
void rpc_call_begin(struct rpc_host *host, grpc_call *core, const struct rpc_method *method,
                    void *ctx, const grpc_metadata_array *metadata);
/* The same for a call that no handler gets to see: answers this. */
void rpc_call_refuse(struct rpc_host *host, grpc_call *core, const grpc_metadata_array *metadata,
                     enum rpc_status status, const char *text);
