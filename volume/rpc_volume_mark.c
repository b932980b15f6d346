/* VolumeMarkReadonly, VolumeMarkWritable: the mark on the volume, and the word to the master
 * about it. Source: spec/volume-rpc.md 2.
 *
 * Read-only tells the master before and after: before, so that no write is directed here any
 * more once the mark is set; after, because a heartbeat in between may have taken the first word
 * back. */
#include "volume/rpc_handlers.h"

#include "common/log.h"
#include "common/rpc_client.h"
#include "proto/master.pb-c.h"
#include "volume/master_calls.h"

#include <string.h>

#define MARK_TIMEOUT_MS 30000u

struct marked {
    uint32_t id;
    char *collection; /* borrowed of the acquired volume */
    const char *disk_type;
    struct volume_stat stat;
};

static int call_master(struct volume_rpc *rpc, const struct address *master,
                       const struct marked *marked, bool is_readonly, enum rpc_status *ret_status,
                       struct error *err)
{
    char address[ADDRESS_TEXT_SIZE];
    address_format_grpc(master, address);
    MasterPb__VolumeMarkReadonlyRequest request = MASTER_PB__VOLUME_MARK_READONLY_REQUEST__INIT;
    request.ip = (char *)(uintptr_t)rpc->config.identity->ip;
    request.port = rpc->config.identity->port;
    request.volume_id = marked->id;
    request.collection = marked->collection;
    request.replica_placement = replica_placement_to_byte(marked->stat.replica_placement);
    request.ttl = ttl_to_u32(marked->stat.ttl);
    request.disk_type = (char *)(uintptr_t)marked->disk_type;
    request.is_readonly = is_readonly;
    return rpc_client_call(rpc->config.client, address, "/master_pb.Seaweed/VolumeMarkReadonly",
                           &request.base, &master_pb__volume_mark_readonly_response__descriptor,
                           MARK_TIMEOUT_MS, NULL, ret_status, err);
}

/* *ret_status is what the call fails with, then. */
static int tell_master(struct volume_rpc *rpc, const struct marked *marked, bool is_readonly,
                       enum rpc_status *ret_status, struct error *ret_err)
{
    struct address master;
    *ret_status = RPC_UNKNOWN;
    if (!heartbeat_master(rpc->config.heartbeat, &master))
        return error_set(ret_err, KELP_E_UNAVAILABLE,
                         "grpc VolumeMarkReadonly with master : set volume %u to read only on master: "
                         "no master has answered this server yet",
                         marked->id);
    char text[ADDRESS_TEXT_SIZE];
    address_format(&master, text);
    enum rpc_status status;
    struct error err = {0};
    int code = call_master(rpc, &master, marked, is_readonly, &status, &err);
    if (code && strstr(err.message, "Not current leader")) {
        struct address leader;
        code = master_find_leader(rpc->config.client, rpc->config.masters, rpc->config.master_count,
                                  &leader, &status, &err);
        if (code) {
            *ret_status = status;
            return error_set(ret_err, code,
                             "heartbeat master %s rejected mark-readonly and leader lookup failed: %s",
                             text, err.message);
        }
        address_format(&leader, text);
        code = call_master(rpc, &leader, marked, is_readonly, &status, &err);
    }
    if (code)
        error_set(ret_err, code,
                  "grpc VolumeMarkReadonly with master %s: set volume %u to read only on "
                  "master: rpc error: code = %s desc = %s",
                  text, marked->id, rpc_status_name(status), err.message);
    return code;
}

static void describe(struct volume_rpc *rpc, struct volume *volume, struct marked *ret)
{
    ret->id = volume_id(volume);
    ret->collection = (char *)(uintptr_t)volume_collection(volume);
    ret->disk_type = disk_location_disk_type(store_location_of(rpc->config.store, volume));
    volume_stat(volume, &ret->stat);
}

int rpc_mark_read_only(struct volume_rpc *rpc, struct volume *volume, bool can_delete, bool persist,
                       enum rpc_status *ret_status, struct error *err)
{
    struct marked marked;
    describe(rpc, volume, &marked);
    int code = tell_master(rpc, &marked, true, ret_status, err);
    if (!code)
        code = volume_mark_read_only(volume, can_delete, persist, err);
    if (!code)
        code = tell_master(rpc, &marked, true, ret_status, err);
    if (!code)
        log_info("volume marked read-only", "volume=%u can_delete=%d persist=%d", marked.id,
                 can_delete, persist);
    return code;
}

static struct volume *acquire(struct volume_rpc *rpc, struct rpc_call *call, uint32_t id)
{
    return rpc_acquire_volume(rpc, call, id, RPC_UNKNOWN, "volume %u not found", id);
}

void rpc_volume_mark_readonly(struct volume_rpc *rpc, struct rpc_call *call,
                              const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeMarkReadonlyRequest *request =
        (const VolumeServerPb__VolumeMarkReadonlyRequest *)message;
    struct volume *volume = acquire(rpc, call, request->volume_id);
    if (!volume)
        return;
    enum rpc_status status;
    struct error err = {0};
    int code = rpc_mark_read_only(rpc, volume, request->can_delete, request->persist, &status, &err);
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail(call, status, "%s", err.message);
        return;
    }
    VolumeServerPb__VolumeMarkReadonlyResponse response =
        VOLUME_SERVER_PB__VOLUME_MARK_READONLY_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_mark_writable(struct volume_rpc *rpc, struct rpc_call *call,
                              const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeMarkWritableRequest *request =
        (const VolumeServerPb__VolumeMarkWritableRequest *)message;
    struct volume *volume = acquire(rpc, call, request->volume_id);
    if (!volume)
        return;
    if (rpc_refuse_in_maintenance(rpc, call)) {
        store_release(rpc->config.store, volume);
        return;
    }
    struct marked marked;
    describe(rpc, volume, &marked);
    enum rpc_status status = RPC_UNKNOWN;
    struct error err = {0};
    int code = volume_mark_writable(volume, &err);
    if (!code)
        code = tell_master(rpc, &marked, false, &status, &err);
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail(call, status, "%s", err.message);
        return;
    }
    log_info("volume marked writable", "volume=%u", marked.id);
    VolumeServerPb__VolumeMarkWritableResponse response =
        VOLUME_SERVER_PB__VOLUME_MARK_WRITABLE_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}
