/* AllocateVolume, VolumeMount, -Unmount, -Delete, -Configure, -Status, -SyncStatus, DeleteCollection. The
 * work is the store's; the texts are the wire's. Source: spec/volume-rpc.md 2. */
#include "volume/rpc_handlers.h"

#include "common/log.h"

static int parse_options(const VolumeServerPb__AllocateVolumeRequest *request,
                         struct store_allocate *ret, struct error *err)
{
    int code = replica_placement_parse(slice_cstr(request->replication), &ret->replica_placement,
                                       err);
    if (!code)
        code = ttl_parse(slice_cstr(request->ttl), &ret->ttl, err);
    return code;
}

void rpc_allocate_volume(struct volume_rpc *rpc, struct rpc_call *call,
                         const ProtobufCMessage *message)
{
    const VolumeServerPb__AllocateVolumeRequest *request =
        (const VolumeServerPb__AllocateVolumeRequest *)message;
    struct store_allocate wanted = {
        .id = request->volume_id,
        .collection = request->collection,
        .disk_type = request->disk_type,
        .preallocate = request->preallocate > 0 ? (uint64_t)request->preallocate : 0,
    };
    struct error err = {0};
    int code = parse_options(request, &wanted, &err);
    /* New volumes are of version 3; nobody has asked for another one in years. */
    if (!code && (request->version & 0xff) != NEEDLE_VERSION)
        code = error_set(&err, KELP_E_INVALID, "volume super block version %u is not supported",
                         request->version & 0xff);
    if (!code)
        code = store_allocate_volume(rpc->config.store, &wanted, &err);
    if (code) {
        rpc_fail_unknown(call, &err);
        return;
    }
    log_info("volume allocated", "volume=%u collection=\"%s\" replication=%s ttl=\"%s\"",
             wanted.id, request->collection, request->replication, request->ttl);
    VolumeServerPb__AllocateVolumeResponse response =
        VOLUME_SERVER_PB__ALLOCATE_VOLUME_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_mount(struct volume_rpc *rpc, struct rpc_call *call,
                      const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeMountRequest *request =
        (const VolumeServerPb__VolumeMountRequest *)message;
    bool has_collection =
        request->_collection_case == VOLUME_SERVER_PB__VOLUME_MOUNT_REQUEST___COLLECTION_COLLECTION;
    struct error err = {0};
    if (store_mount_volume(rpc->config.store, request->volume_id,
                           has_collection ? request->collection : NULL, &err)) {
        rpc_fail_unknown(call, &err);
        return;
    }
    log_info("volume mounted", "volume=%u", request->volume_id);
    VolumeServerPb__VolumeMountResponse response = VOLUME_SERVER_PB__VOLUME_MOUNT_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_unmount(struct volume_rpc *rpc, struct rpc_call *call,
                        const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeUnmountRequest *request =
        (const VolumeServerPb__VolumeUnmountRequest *)message;
    struct error err = {0};
    if (store_unmount_volume(rpc->config.store, request->volume_id, &err)) {
        rpc_fail_unknown(call, &err);
        return;
    }
    log_info("volume unmounted", "volume=%u", request->volume_id);
    VolumeServerPb__VolumeUnmountResponse response =
        VOLUME_SERVER_PB__VOLUME_UNMOUNT_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_delete(struct volume_rpc *rpc, struct rpc_call *call,
                       const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeDeleteRequest *request =
        (const VolumeServerPb__VolumeDeleteRequest *)message;
    unsigned rule = (request->only_empty ? STORE_DELETE_ONLY_EMPTY : 0u) |
                    (request->only_garbage ? STORE_DELETE_ONLY_GARBAGE : 0u);
    struct error err = {0};
    int code = store_delete_volume(rpc->config.store, request->volume_id, rule, &err);
    if (code == KELP_E_NOT_FOUND)
        rpc_call_fail(call, RPC_NOT_FOUND, "%s: volume not found", err.message);
    else if (code == KELP_E_PRECONDITION)
        rpc_call_fail(call, RPC_FAILED_PRECONDITION, "%s", err.message);
    else if (code)
        rpc_fail_unknown(call, &err);
    if (code)
        return;
    log_info("volume deleted", "volume=%u", request->volume_id);
    VolumeServerPb__VolumeDeleteResponse response = VOLUME_SERVER_PB__VOLUME_DELETE_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_delete_collection(struct volume_rpc *rpc, struct rpc_call *call,
                           const ProtobufCMessage *message)
{
    const VolumeServerPb__DeleteCollectionRequest *request =
        (const VolumeServerPb__DeleteCollectionRequest *)message;
    struct error err = {0};
    if (store_delete_collection(rpc->config.store, request->collection, &err)) {
        rpc_fail_unknown(call, &err);
        return;
    }
    log_info("collection deleted", "collection=\"%s\"", request->collection);
    VolumeServerPb__DeleteCollectionResponse response =
        VOLUME_SERVER_PB__DELETE_COLLECTION_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_status(struct volume_rpc *rpc, struct rpc_call *call,
                       const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeStatusRequest *request =
        (const VolumeServerPb__VolumeStatusRequest *)message;
    struct volume *volume = rpc_acquire_volume(rpc, call, request->volume_id, RPC_UNKNOWN,
                                               "not found volume id %u", request->volume_id);
    if (!volume)
        return;
    struct volume_stat stat;
    struct volume_damage damaged[VOLUME_DAMAGE_MAX];
    char fault[VOLUME_FAULT_MAX];
    volume_stat(volume, &stat);
    size_t damaged_count = volume_damaged(volume, damaged);
    volume_fault(volume, fault);
    store_release(rpc->config.store, volume);
    VolumeServerPb__VolumeStatusResponse response = VOLUME_SERVER_PB__VOLUME_STATUS_RESPONSE__INIT;
    char *reasons[VOLUME_READ_ONLY_REASONS];
    VolumeServerPb__DamagedNeedle needles[VOLUME_DAMAGE_MAX], *list[VOLUME_DAMAGE_MAX];
    for (unsigned i = 0; i < VOLUME_READ_ONLY_REASONS; i++)
        if (stat.read_only & 1u << i)
            reasons[response.n_read_only_reasons++] = (char *)(uintptr_t)volume_read_only_name(i);
    for (size_t i = 0; i < damaged_count; i++) {
        volume_server_pb__damaged_needle__init(&needles[i]);
        needles[i].needle_id = damaged[i].key;
        needles[i].offset = damaged[i].offset;
        needles[i].reason = damaged[i].reason;
        needles[i].found_at_ns = damaged[i].found_at_ns;
        list[i] = &needles[i];
    }
    response.read_only_reasons = reasons;
    response.fault = fault;
    response.damaged_count = stat.damaged_count;
    response.damaged = list;
    response.n_damaged = damaged_count;
    response.is_read_only = stat.read_only != 0;
    response.volume_size = stat.dat_bytes;
    response.file_count = stat.file_count;
    response.file_deleted_count = stat.deletion_count;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_sync_status(struct volume_rpc *rpc, struct rpc_call *call,
                            const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeSyncStatusRequest *request =
        (const VolumeServerPb__VolumeSyncStatusRequest *)message;
    struct volume *volume = rpc_acquire_volume(rpc, call, request->volume_id, RPC_UNKNOWN,
                                               "not found volume id %u", request->volume_id);
    if (!volume)
        return;
    struct volume_stat stat;
    volume_stat(volume, &stat);
    char replication[10], ttl[8];
    replica_placement_format(stat.replica_placement, replication);
    ttl_format(stat.ttl, ttl);
    VolumeServerPb__VolumeSyncStatusResponse response =
        VOLUME_SERVER_PB__VOLUME_SYNC_STATUS_RESPONSE__INIT;
    response.volume_id = request->volume_id;
    response.collection = (char *)(uintptr_t)volume_collection(volume);
    response.replication = replication;
    response.ttl = ttl;
    response.tail_offset = stat.dat_bytes;
    response.compact_revision = stat.compact_revision;
    response.idx_file_size = stat.idx_bytes;
    response.version = stat.version;
    rpc_call_reply(call, &response.base);
    store_release(rpc->config.store, volume);
}

/* Its failures are told in an answer. The volume is served all the while, where the peer takes it away and
 * mounts it again; the master is told the same. */
void rpc_volume_configure(struct volume_rpc *rpc, struct rpc_call *call,
                          const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeConfigureRequest *request =
        (const VolumeServerPb__VolumeConfigureRequest *)message;
    VolumeServerPb__VolumeConfigureResponse response =
        VOLUME_SERVER_PB__VOLUME_CONFIGURE_RESPONSE__INIT;
    struct replica_placement unused;
    struct error err = {0}, text = {0};
    uint32_t id = request->volume_id;
    int code = replica_placement_parse(slice_cstr(request->replication), &unused, &err);
    if (code) {
        error_set(&text, code, "volume configure replication volume_id:%u replication:\"%.64s\": %s", id,
                  request->replication, err.message);
    } else {
        code = store_configure_volume(rpc->config.store, id, request->replication, &err);
        if (code)
            error_set(&text, code, "volume configure volume_id:%u replication:\"%.64s\": %s%s%s", id,
                      request->replication, err.message,
                      code == KELP_E_NOT_FOUND ? ". Also failed to restore mount: " : "",
                      code == KELP_E_NOT_FOUND ? err.message : "");
    }
    if (code)
        response.error = text.message;
    else
        log_info("volume configured", "volume=%u replication=%s", id, request->replication);
    rpc_call_reply(call, &response.base);
}
