/* Unary calls go out by rpc_client_send; a compaction is a stream of progress that is read to its
 * end. Answers come on the client's queue threads. */
#include "master/vacuum_rpc.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#define SERVICE "/volume_server_pb.VolumeServer/"

static void answer(struct vacuum_call *call, struct vacuum_reply *reply, enum rpc_status status,
                   const struct error *err)
{
    reply->status = status;
    if (status != RPC_OK)
        reply->message = err ? err->message : "";
    call->done(call, reply);
}

/* ---- Unary calls ----------------------------------------------------------------------------- */

static void on_check(void *ctx, const ProtobufCMessage *message, enum rpc_status status,
                     const struct error *err)
{
    struct vacuum_reply reply = {.status = status};
    if (message)
        reply.garbage_ratio =
            ((const VolumeServerPb__VacuumVolumeCheckResponse *)message)->garbage_ratio;
    answer(ctx, &reply, status, err);
}

static void on_commit(void *ctx, const ProtobufCMessage *message, enum rpc_status status,
                      const struct error *err)
{
    struct vacuum_reply reply = {.status = status};
    const VolumeServerPb__VacuumVolumeCommitResponse *response =
        (const VolumeServerPb__VacuumVolumeCommitResponse *)message;
    if (response) {
        reply.is_read_only = response->is_read_only;
        reply.volume_size = response->volume_size;
    }
    answer(ctx, &reply, status, err);
}

static void on_done(void *ctx, const ProtobufCMessage *message, enum rpc_status status,
                    const struct error *err)
{
    (void)message;
    struct vacuum_reply reply = {.status = status};
    answer(ctx, &reply, status, err);
}

static void send_check(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VacuumVolumeCheckRequest request =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CHECK_REQUEST__INIT;
    request.volume_id = call->volume_id;
    rpc_client_send(rpc, call->address, SERVICE "VacuumVolumeCheck", &request.base,
                    &volume_server_pb__vacuum_volume_check_response__descriptor, call->timeout_ms,
                    on_check, call);
}

static void send_commit(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VacuumVolumeCommitRequest request =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMMIT_REQUEST__INIT;
    request.volume_id = call->volume_id;
    rpc_client_send(rpc, call->address, SERVICE "VacuumVolumeCommit", &request.base,
                    &volume_server_pb__vacuum_volume_commit_response__descriptor, call->timeout_ms,
                    on_commit, call);
}

static void send_cleanup(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VacuumVolumeCleanupRequest request =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CLEANUP_REQUEST__INIT;
    request.volume_id = call->volume_id;
    rpc_client_send(rpc, call->address, SERVICE "VacuumVolumeCleanup", &request.base,
                    &volume_server_pb__vacuum_volume_cleanup_response__descriptor, call->timeout_ms,
                    on_done, call);
}

static void send_delete(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VolumeDeleteRequest request = VOLUME_SERVER_PB__VOLUME_DELETE_REQUEST__INIT;
    request.volume_id = call->volume_id;
    request.only_empty = call->only_empty;
    request.only_garbage = call->only_garbage;
    rpc_client_send(rpc, call->address, SERVICE "VolumeDelete", &request.base,
                    &volume_server_pb__volume_delete_response__descriptor, call->timeout_ms,
                    on_done, call);
}

/* ---- Compaction ------------------------------------------------------------------------------ */

static void on_compact_message(struct rpc_stream *stream, const ProtobufCMessage *message,
                               void *ctx)
{
    (void)stream;
    struct vacuum_call *call = ctx;
    call->progress(
        call, ((const VolumeServerPb__VacuumVolumeCompactResponse *)message)->processed_bytes);
}

static void on_compact_closed(struct rpc_stream *stream, enum rpc_status status,
                              const struct error *err, void *ctx)
{
    (void)stream;
    struct vacuum_call *call = ctx;
    struct vacuum_reply reply = {.status = status};
    answer(call, &reply, status, err);
}

static const struct rpc_stream_ops compact_ops = {
    .on_message = on_compact_message,
    .on_closed = on_compact_closed,
};

static void send_compact(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VacuumVolumeCompactRequest request =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMPACT_REQUEST__INIT;
    request.volume_id = call->volume_id;
    request.preallocate = call->preallocate_bytes;
    struct rpc_stream *stream;
    struct error err;
    /* Only bad arguments fail here, and ours are made from a node's address. */
    CHECK(rpc_stream_open(rpc, call->address, SERVICE "VacuumVolumeCompact",
                          &volume_server_pb__vacuum_volume_compact_response__descriptor, 0,
                          &compact_ops, call, &stream, &err) == 0);
    /* The stream lives until on_closed has returned, which waits in `done` for the job's lock; that
     * is held here and in cancel. So while a compaction is outstanding the handle is good. */
    call->handle = stream;
    rpc_stream_send(stream, &request.base);
    rpc_stream_half_close(stream);
}

/* ---- The table ------------------------------------------------------------------------------- */

static void start(void *ctx, struct vacuum_call *call)
{
    switch (call->kind) {
    case VACUUM_CALL_CHECK:
        send_check(ctx, call);
        break;
    case VACUUM_CALL_COMPACT:
        send_compact(ctx, call);
        break;
    case VACUUM_CALL_COMMIT:
        send_commit(ctx, call);
        break;
    case VACUUM_CALL_CLEANUP:
        send_cleanup(ctx, call);
        break;
    case VACUUM_CALL_DELETE:
        send_delete(ctx, call);
        break;
    }
}

static void cancel(void *ctx, struct vacuum_call *call)
{
    (void)ctx;
    rpc_stream_cancel(call->handle);
}

void vacuum_rpc_ops(struct rpc_client *rpc, struct vacuum_ops *ret)
{
    *ret = (struct vacuum_ops){.start = start, .cancel = cancel, .ctx = rpc};
}
