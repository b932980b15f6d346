/* VolumeList and VolumeListStream. The whole picture is built once under the lock, so that it is
 * one moment's; it is sent without it. Worker threads. Source: spec/master-rpc.md 11. */
#include "master/rpc_handlers.h"

#include "common/check.h"
#include "master/volume_list.h"

#define BATCH_RECORDS 10000u

static MasterPb__TopologyInfo *build(struct services *s, const MasterPb__VolumeListRequest *request,
                                     struct arena *arena)
{
    cluster_lock(s->cluster);
    MasterPb__TopologyInfo *info =
        volume_list_build(s->cluster->topology, request, false, arena);
    cluster_unlock(s->cluster);
    return info;
}

void master_rpc_volume_list(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    struct arena arena;
    arena_init(&arena);
    MasterPb__VolumeListResponse response = MASTER_PB__VOLUME_LIST_RESPONSE__INIT;
    response.topology_info = build(s, (const MasterPb__VolumeListRequest *)message, &arena);
    response.volume_size_limit_mb = s->volume_size_limit_mb;
    rpc_call_reply(call, &response.base);
    arena_fini(&arena);
}

/* ---- The stream ------------------------------------------------------------------------------ */

/* A batch of some records of one disk; false when the client has gone. */
static bool send_batches(struct rpc_call *call, MasterPb__VolumeListStreamResponse *where,
                         const MasterPb__DiskInfo *disk)
{
    for (size_t i = 0; i < disk->n_volume_infos; i += BATCH_RECORDS) {
        size_t left = disk->n_volume_infos - i;
        where->volume_infos = disk->volume_infos + i;
        where->n_volume_infos = left < BATCH_RECORDS ? left : BATCH_RECORDS;
        if (rpc_call_send_wait(call, &where->base))
            return false;
    }
    where->n_volume_infos = 0;
    for (size_t i = 0; i < disk->n_ec_shard_infos; i += BATCH_RECORDS) {
        size_t left = disk->n_ec_shard_infos - i;
        where->ec_shard_infos = disk->ec_shard_infos + i;
        where->n_ec_shard_infos = left < BATCH_RECORDS ? left : BATCH_RECORDS;
        if (rpc_call_send_wait(call, &where->base))
            return false;
    }
    where->n_ec_shard_infos = 0;
    return true;
}

static bool send_node(struct rpc_call *call, MasterPb__VolumeListStreamResponse *where,
                      const MasterPb__DataNodeInfo *node)
{
    where->data_node = node->id;
    for (size_t i = 0; i < node->n_diskinfos; i++) {
        where->disk_type = node->diskinfos[i]->key;
        if (!send_batches(call, where, node->diskinfos[i]->value))
            return false;
    }
    return true;
}

static bool send_records(struct rpc_call *call, const MasterPb__TopologyInfo *topology)
{
    MasterPb__VolumeListStreamResponse where = MASTER_PB__VOLUME_LIST_STREAM_RESPONSE__INIT;
    for (size_t i = 0; i < topology->n_data_center_infos; i++) {
        const MasterPb__DataCenterInfo *data_center = topology->data_center_infos[i];
        where.data_center = data_center->id;
        for (size_t j = 0; j < data_center->n_rack_infos; j++) {
            const MasterPb__RackInfo *rack = data_center->rack_infos[j];
            where.rack = rack->id;
            for (size_t k = 0; k < rack->n_data_node_infos; k++)
                if (!send_node(call, &where, rack->data_node_infos[k]))
                    return false;
        }
    }
    return true;
}

void master_rpc_volume_list_stream(struct rpc_call *call, const ProtobufCMessage *message,
                                   void *ctx)
{
    struct services *s = ctx;
    const MasterPb__VolumeListRequest *request = (const MasterPb__VolumeListRequest *)message;
    struct arena arena;
    arena_init(&arena);
    MasterPb__VolumeListResponse header = MASTER_PB__VOLUME_LIST_RESPONSE__INIT;
    header.volume_size_limit_mb = s->volume_size_limit_mb;
    cluster_lock(s->cluster);
    header.topology_info = volume_list_build(s->cluster->topology, request, true, &arena);
    MasterPb__TopologyInfo *full =
        volume_list_build(s->cluster->topology, request, false, &arena);
    cluster_unlock(s->cluster);
    MasterPb__VolumeListStreamResponse first = MASTER_PB__VOLUME_LIST_STREAM_RESPONSE__INIT;
    first.header = &header;
    if (rpc_call_send_wait(call, &first.base) == 0 && send_records(call, full))
        rpc_call_finish(call);
    arena_fini(&arena);
}
