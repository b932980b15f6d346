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

/* Fails the call and returns false when the master was not told. */
static bool tell_master(struct volume_rpc *rpc, struct rpc_call *call, const struct marked *marked,
                        bool is_readonly)
{
    struct address master;
    if (!heartbeat_master(rpc->config.heartbeat, &master)) {
        rpc_call_fail(call, RPC_UNKNOWN,
                      "grpc VolumeMarkReadonly with master : set volume %u to read only on master: "
                      "no master has answered this server yet",
                      marked->id);
        return false;
    }
    char text[ADDRESS_TEXT_SIZE];
    address_format(&master, text);
    enum rpc_status status;
    struct error err = {0};
    int code = call_master(rpc, &master, marked, is_readonly, &status, &err);
    if (code && strstr(err.message, "Not current leader")) {
        struct address leader;
        if (master_find_leader(rpc->config.client, rpc->config.masters, rpc->config.master_count,
                               &leader, &status, &err)) {
            rpc_call_fail(call, status,
                          "heartbeat master %s rejected mark-readonly and leader lookup failed: %s",
                          text, err.message);
            return false;
        }
        address_format(&leader, text);
        code = call_master(rpc, &leader, marked, is_readonly, &status, &err);
    }
    if (code)
        rpc_call_fail(call, RPC_UNKNOWN,
                      "grpc VolumeMarkReadonly with master %s: set volume %u to read only on "
                      "master: rpc error: code = %s desc = %s",
                      text, marked->id, rpc_status_name(status), err.message);
    return code == 0;
}

static struct volume *acquire(struct volume_rpc *rpc, struct rpc_call *call, uint32_t id,
                              struct marked *ret)
{
    struct volume *volume = store_acquire(rpc->config.store, id);
    if (!volume) {
        rpc_call_fail(call, RPC_UNKNOWN, "volume %u not found", id);
        return NULL;
    }
    ret->id = id;
    ret->collection = (char *)(uintptr_t)volume_collection(volume);
    ret->disk_type = disk_location_disk_type(store_location_of(rpc->config.store, volume));
    volume_stat(volume, &ret->stat);
    return volume;
}

static bool mark_read_only(struct volume_rpc *rpc, struct rpc_call *call, struct volume *volume,
                           const struct marked *marked,
                           const VolumeServerPb__VolumeMarkReadonlyRequest *request)
{
    if (!tell_master(rpc, call, marked, true))
        return false;
    struct error err = {0};
    if (volume_mark_read_only(volume, request->can_delete, request->persist, &err)) {
        rpc_fail_unknown(call, &err);
        return false;
    }
    return tell_master(rpc, call, marked, true);
}

void rpc_volume_mark_readonly(struct volume_rpc *rpc, struct rpc_call *call,
                              const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeMarkReadonlyRequest *request =
        (const VolumeServerPb__VolumeMarkReadonlyRequest *)message;
    struct marked marked;
    struct volume *volume = acquire(rpc, call, request->volume_id, &marked);
    if (!volume)
        return;
    bool is_done = mark_read_only(rpc, call, volume, &marked, request);
    store_release(rpc->config.store, volume);
    if (!is_done)
        return;
    log_info("volume marked read-only", "volume=%u can_delete=%d persist=%d", marked.id,
             request->can_delete, request->persist);
    VolumeServerPb__VolumeMarkReadonlyResponse response =
        VOLUME_SERVER_PB__VOLUME_MARK_READONLY_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_volume_mark_writable(struct volume_rpc *rpc, struct rpc_call *call,
                              const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeMarkWritableRequest *request =
        (const VolumeServerPb__VolumeMarkWritableRequest *)message;
    struct marked marked;
    struct volume *volume = acquire(rpc, call, request->volume_id, &marked);
    if (!volume)
        return;
    struct error err = {0};
    bool is_done = false;
    if (!rpc_refuse_in_maintenance(rpc, call)) {
        if (volume_mark_writable(volume, &err))
            rpc_fail_unknown(call, &err);
        else
            is_done = tell_master(rpc, call, &marked, false);
    }
    store_release(rpc->config.store, volume);
    if (!is_done)
        return;
    log_info("volume marked writable", "volume=%u", marked.id);
    VolumeServerPb__VolumeMarkWritableResponse response =
        VOLUME_SERVER_PB__VOLUME_MARK_WRITABLE_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}
