/* Unary calls go out by rpc_client_send; a compaction is a stream of progress that is read to its
 * end. Answers come on the client's queue threads. */
#include "master/vacuum_rpc.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#define PROGRESS_MS 500u /* of our own servers; others tell when they do */
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

static void send_pause(struct rpc_client *rpc, struct vacuum_call *call)
{
    VolumeServerPb__VacuumVolumePauseRequest request =
        VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__INIT;
    request.volume_id = call->volume_id;
    request.action = call->kind == VACUUM_CALL_PAUSE
                         ? VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__PAUSE
                         : VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__RESUME;
    rpc_client_send(rpc, call->address, SERVICE "VacuumVolumePause", &request.base,
                    &volume_server_pb__vacuum_volume_pause_response__descriptor, call->timeout_ms,
                    on_done, call);
}

/* ---- Compaction ------------------------------------------------------------------------------ */

static void on_compact_message(struct rpc_stream *stream, const ProtobufCMessage *message,
                               void *ctx)
{
    (void)stream;
    struct vacuum_call *call = ctx;
    const VolumeServerPb__VacuumVolumeCompactResponse *response =
        (const VolumeServerPb__VacuumVolumeCompactResponse *)message;
    const VolumeServerPb__VacuumProgress *told = response->progress;
    struct vacuum_call_progress progress = {.processed_bytes = response->processed_bytes};
    if (told) {
        progress.is_full = true;
        snprintf(progress.phase, sizeof(progress.phase), "%s", told->phase);
        progress.bytes_total = told->bytes_total;
        progress.bytes_per_second = told->bytes_per_second;
        progress.left_ms = told->left_ms;
        progress.records_done = told->records_done;
        progress.records_total = told->records_total;
        progress.bytes_copied = told->bytes_copied;
        progress.bytes_reclaimed = told->bytes_reclaimed;
        progress.damaged = told->damaged;
        progress.longest_pause_us = told->longest_pause_us;
    }
    call->progress(call, &progress);
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
    request.progress_interval_ms = PROGRESS_MS;
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
    case VACUUM_CALL_PAUSE:
    case VACUUM_CALL_RESUME:
        send_pause(ctx, call);
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
