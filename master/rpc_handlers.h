/* The handlers behind the method table, by file. `ctx` is the struct services. Those marked
 * (worker) block or are long, the others are short and run on the queue threads. */
#pragma once

#include "master/services.h"

/* rpc_heartbeat.c: SendHeartbeat */
void master_rpc_heartbeat_message(struct rpc_call *call, const ProtobufCMessage *message,
                                  void *ctx);
void master_rpc_heartbeat_half_closed(struct rpc_call *call, void *ctx);
void master_rpc_heartbeat_closed(struct rpc_call *call, void *ctx);

/* rpc_keep_connected.c: KeepConnected, ListClusterNodes */
void master_rpc_keep_connected_message(struct rpc_call *call, const ProtobufCMessage *message,
                                       void *ctx);
void master_rpc_keep_connected_half_closed(struct rpc_call *call, void *ctx);
void master_rpc_keep_connected_closed(struct rpc_call *call, void *ctx);
void master_rpc_list_cluster_nodes(struct rpc_call *call, const ProtobufCMessage *message,
                                   void *ctx);

/* master_rpc_assign.c: Assign, StreamAssign, VolumeGrow */
void master_rpc_assign(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_stream_assign_message(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx);
void master_rpc_stream_assign_half_closed(struct rpc_call *call, void *ctx);
void master_rpc_stream_assign_closed(struct rpc_call *call, void *ctx);
void master_rpc_volume_grow(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);

/* rpc_lookup.c: LookupVolume, LookupEcVolume */
void master_rpc_lookup_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_lookup_ec_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);

/* master_rpc_volume_list.c: VolumeList (worker), VolumeListStream (worker) */
void master_rpc_volume_list(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_volume_list_stream(struct rpc_call *call, const ProtobufCMessage *message,
                                   void *ctx);

/* rpc_collection.c: Statistics, CollectionStatistics, CollectionList, CollectionDelete (all
 * worker) */
void master_rpc_statistics(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_collection_statistics(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx);
void master_rpc_collection_list(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_collection_delete(struct rpc_call *call, const ProtobufCMessage *message,
                                  void *ctx);

/* rpc_vacuum.c: VacuumVolume (worker: it plans), DisableVacuum, EnableVacuum, VolumeMarkReadonly */
void master_rpc_vacuum_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_disable_vacuum(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_enable_vacuum(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_volume_mark_readonly(struct rpc_call *call, const ProtobufCMessage *message,
                                     void *ctx);

/* rpc_admin.c: GetMasterConfiguration, the admin locks, Ping, RaftListClusterServers */
void master_rpc_get_master_configuration(struct rpc_call *call, const ProtobufCMessage *message,
                                         void *ctx);
void master_rpc_lease_admin_token(struct rpc_call *call, const ProtobufCMessage *message,
                                  void *ctx);
void master_rpc_release_admin_token(struct rpc_call *call, const ProtobufCMessage *message,
                                    void *ctx);
void master_rpc_get_admin_lock_status(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx);
void master_rpc_ping(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
void master_rpc_raft_list_cluster_servers(struct rpc_call *call, const ProtobufCMessage *message,
                                          void *ctx);
