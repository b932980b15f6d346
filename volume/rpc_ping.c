/* Ping: this server's clock, and the round trip to one of its masters. Only masters that it
 * knows are pinged, so that it cannot be used to look around in a network. Source:
 * spec/volume-rpc.md 10. */
#include "volume/rpc_handlers.h"

#include "common/os.h"
#include "common/rpc_client.h"
#include "proto/master.pb-c.h"

#include <string.h>

#define PING_TIMEOUT_MS 5000u

static bool is_known_master(struct volume_rpc *rpc, const char *target, struct address *ret)
{
    struct address current;
    if (address_parse(slice_cstr(target), ret, NULL))
        return false;
    if (heartbeat_master(rpc->config.heartbeat, &current) && address_equals(&current, ret)) {
        *ret = current; /* the target may be without its gRPC port */
        return true;
    }
    for (size_t i = 0; i < rpc->config.master_count; i++)
        if (address_equals(&rpc->config.masters[i], ret)) {
            *ret = rpc->config.masters[i];
            return true;
        }
    return false;
}

static int ping_master(struct volume_rpc *rpc, const struct address *master, int64_t *ret_remote_ns,
                       enum rpc_status *ret_status, struct error *err)
{
    char address[ADDRESS_TEXT_SIZE];
    address_format_grpc(master, address);
    MasterPb__PingRequest request = MASTER_PB__PING_REQUEST__INIT;
    ProtobufCMessage *message;
    int code = rpc_client_call(rpc->config.client, address, "/master_pb.Seaweed/Ping",
                               &request.base, &master_pb__ping_response__descriptor,
                               PING_TIMEOUT_MS, &message, ret_status, err);
    if (code)
        return code;
    *ret_remote_ns = ((const MasterPb__PingResponse *)message)->start_time_ns;
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

void rpc_ping(struct volume_rpc *rpc, struct rpc_call *call, const ProtobufCMessage *message)
{
    const VolumeServerPb__PingRequest *request = (const VolumeServerPb__PingRequest *)message;
    VolumeServerPb__PingResponse response = VOLUME_SERVER_PB__PING_RESPONSE__INIT;
    response.start_time_ns = os_now_ns(os_real());
    if (request->target[0] != '\0') {
        struct address master;
        if (strcmp(request->target_type, "master") != 0 ||
            !is_known_master(rpc, request->target, &master)) {
            rpc_call_fail(call, RPC_INVALID_ARGUMENT, "unknown ping target %s of type %s",
                          request->target, request->target_type);
            return;
        }
        enum rpc_status status;
        struct error err = {0};
        if (ping_master(rpc, &master, &response.remote_time_ns, &status, &err)) {
            rpc_call_fail(call, RPC_UNKNOWN, "ping %s %s: rpc error: code = %s desc = %s",
                          request->target_type, request->target, rpc_status_name(status),
                          err.message);
            return;
        }
    }
    response.stop_time_ns = os_now_ns(os_real());
    rpc_call_reply(call, &response.base);
}
