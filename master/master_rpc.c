/* The method table. Streams have three callbacks, the others one. */
#include "master/master_rpc.h"

#include "master/rpc_handlers.h"
#include "proto/master.pb-c.h"

#define METHOD(name, kind_, place_, request_, response_, ...)                                      \
    {.path = "/master_pb.Seaweed/" name,                                                           \
     .kind = kind_,                                                                                \
     .place = place_,                                                                              \
     .request = &master_pb__##request_##__descriptor,                                              \
     .response = &master_pb__##response_##__descriptor,                                            \
     __VA_ARGS__}

static const struct rpc_method methods[] = {
    METHOD("SendHeartbeat", RPC_TWO_WAY_STREAM, RPC_ON_QUEUE, heartbeat,
           heartbeat_response, .on_message = master_rpc_heartbeat_message,
           .on_half_closed = master_rpc_heartbeat_half_closed,
           .on_closed = master_rpc_heartbeat_closed),
    METHOD("KeepConnected", RPC_TWO_WAY_STREAM, RPC_ON_QUEUE, keep_connected_request,
           keep_connected_response, .on_message = master_rpc_keep_connected_message,
           .on_half_closed = master_rpc_keep_connected_half_closed,
           .on_closed = master_rpc_keep_connected_closed),
    METHOD("Assign", RPC_UNARY, RPC_ON_QUEUE, assign_request,
           assign_response, .on_message = master_rpc_assign),
    METHOD("StreamAssign", RPC_TWO_WAY_STREAM, RPC_ON_QUEUE, assign_request,
           assign_response, .on_message = master_rpc_stream_assign_message,
           .on_half_closed = master_rpc_stream_assign_half_closed,
           .on_closed = master_rpc_stream_assign_closed),
    METHOD("LookupVolume", RPC_UNARY, RPC_ON_QUEUE, lookup_volume_request,
           lookup_volume_response, .on_message = master_rpc_lookup_volume),
    METHOD("LookupEcVolume", RPC_UNARY, RPC_ON_QUEUE, lookup_ec_volume_request,
           lookup_ec_volume_response, .on_message = master_rpc_lookup_ec_volume),
    METHOD("VolumeGrow", RPC_UNARY, RPC_ON_QUEUE, volume_grow_request,
           volume_grow_response, .on_message = master_rpc_volume_grow),
    METHOD("VolumeList", RPC_UNARY, RPC_ON_WORKER, volume_list_request,
           volume_list_response, .on_message = master_rpc_volume_list),
    METHOD("VolumeListStream", RPC_SERVER_STREAM, RPC_ON_WORKER, volume_list_request,
           volume_list_stream_response, .on_message = master_rpc_volume_list_stream),
    METHOD("Statistics", RPC_UNARY, RPC_ON_WORKER, statistics_request,
           statistics_response, .on_message = master_rpc_statistics),
    METHOD("CollectionStatistics", RPC_UNARY, RPC_ON_WORKER, collection_statistics_request,
           collection_statistics_response, .on_message = master_rpc_collection_statistics),
    METHOD("CollectionList", RPC_UNARY, RPC_ON_WORKER, collection_list_request,
           collection_list_response, .on_message = master_rpc_collection_list),
    METHOD("CollectionDelete", RPC_UNARY, RPC_ON_WORKER, collection_delete_request,
           collection_delete_response, .on_message = master_rpc_collection_delete),
    METHOD("VacuumVolume", RPC_UNARY, RPC_ON_WORKER, vacuum_volume_request,
           vacuum_volume_response, .on_message = master_rpc_vacuum_volume),
    METHOD("DisableVacuum", RPC_UNARY, RPC_ON_QUEUE, disable_vacuum_request,
           disable_vacuum_response, .on_message = master_rpc_disable_vacuum),
    METHOD("EnableVacuum", RPC_UNARY, RPC_ON_QUEUE, enable_vacuum_request,
           enable_vacuum_response, .on_message = master_rpc_enable_vacuum),
    METHOD("VolumeMarkReadonly", RPC_UNARY, RPC_ON_QUEUE, volume_mark_readonly_request,
           volume_mark_readonly_response, .on_message = master_rpc_volume_mark_readonly),
    METHOD("GetMasterConfiguration", RPC_UNARY, RPC_ON_QUEUE, get_master_configuration_request,
           get_master_configuration_response, .on_message = master_rpc_get_master_configuration),
    METHOD("ListClusterNodes", RPC_UNARY, RPC_ON_QUEUE, list_cluster_nodes_request,
           list_cluster_nodes_response, .on_message = master_rpc_list_cluster_nodes),
    METHOD("LeaseAdminToken", RPC_UNARY, RPC_ON_QUEUE, lease_admin_token_request,
           lease_admin_token_response, .on_message = master_rpc_lease_admin_token),
    METHOD("ReleaseAdminToken", RPC_UNARY, RPC_ON_QUEUE, release_admin_token_request,
           release_admin_token_response, .on_message = master_rpc_release_admin_token),
    METHOD("GetAdminLockStatus", RPC_UNARY, RPC_ON_QUEUE, get_admin_lock_status_request,
           get_admin_lock_status_response, .on_message = master_rpc_get_admin_lock_status),
    METHOD("Ping", RPC_UNARY, RPC_ON_QUEUE, ping_request,
           ping_response, .on_message = master_rpc_ping),
    METHOD("RaftListClusterServers", RPC_UNARY, RPC_ON_QUEUE, raft_list_cluster_servers_request,
           raft_list_cluster_servers_response, .on_message = master_rpc_raft_list_cluster_servers),
};

void master_rpc_service(struct services *services, struct rpc_service *ret)
{
    *ret = (struct rpc_service){.methods = methods,
                                .method_count = sizeof(methods) / sizeof(methods[0]),
                                .ctx = services};
}
