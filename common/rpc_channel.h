/* Calls that go out, between the client (rpc_client.c), which owns channels and knows all running
 * calls, and the kinds of calls (rpc_unary.c, rpc_stream.c, rpc_reader.c). Private to those.
 *
 * begin and end are for any thread; a verdict belongs to its call. */
#pragma once

#include "common/rpc_client.h"
#include "common/rpc_internal.h"

struct rpc_channel;

/* The part that all kinds of calls share; embedded in theirs. */
struct rpc_outcall {
    struct rpc_client *client;
    struct rpc_channel *channel;
    grpc_call *core;
    struct rpc_outcall *previous, *next; /* the client's list of running calls */
};

/* Makes the call and lists it; a client that is being destroyed cancels it at once. Nothing is
 * sent yet. `queue` NULL: one of the client's own. */
void rpc_outcall_begin(struct rpc_outcall *call, struct rpc_client *client, const char *address,
                       const char *path, unsigned timeout_ms, grpc_completion_queue *queue);
/* All operations are done: gives the call and its channel back, forgets the channel when the peer
 * was not to be had. The client may be gone once this returns. */
void rpc_outcall_end(struct rpc_outcall *call, enum rpc_status status);

/* How a call ended, as gRPC fills it in. */
struct rpc_verdict {
    grpc_metadata_array headers, trailers;
    grpc_status_code code;
    grpc_slice text;
};

void rpc_verdict_init(struct rpc_verdict *verdict);
void rpc_verdict_fini(struct rpc_verdict *verdict);
/* The operations that fill it. */
grpc_op rpc_verdict_headers_op(struct rpc_verdict *verdict);
grpc_op rpc_verdict_status_op(struct rpc_verdict *verdict);
/* Its status; sets err when that is not OK. */
enum rpc_status rpc_verdict_read(const struct rpc_verdict *verdict, struct error *err);
