/* VacuumVolume, the switches of automatic vacuum, and VolumeMarkReadonly. A vacuum is answered when
 * its last job has ended, which may be hours later; no thread waits for it. Source:
 * spec/master-rpc.md 14, 15. */
#include "master/rpc_handlers.h"

#include "proto/master.pb-c.h"

static void on_vacuumed(void *ctx, const struct vacuum_summary *summary)
{
    struct rpc_call *call = ctx;
    if (summary->is_refused) {
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                      "the vacuum was refused: the master stops, or %u requests wait already; try "
                      "again later",
                      VACUUM_REQUESTS_MAX);
    } else {
        /* As the peer: success whatever became of the volumes; the jobs tell. */
        MasterPb__VacuumVolumeResponse response = MASTER_PB__VACUUM_VOLUME_RESPONSE__INIT;
        rpc_call_reply(call, &response.base);
    }
    rpc_call_unref(call);
}

void master_rpc_vacuum_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__VacuumVolumeRequest *request = (const MasterPb__VacuumVolumeRequest *)message;
    const struct vacuum_request vacuum = {
        .threshold = (double)request->garbage_threshold,
        .volume_id = request->volume_id,
        .collection = request->collection,
        .done = on_vacuumed,
        .ctx = call,
    };
    rpc_call_ref(call);
    vacuum_runner_request(s->vacuum, &vacuum);
}

void master_rpc_disable_vacuum(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__DisableVacuumRequest *request = (const MasterPb__DisableVacuumRequest *)message;
    vacuum_runner_set_enabled(s->vacuum, request->by_plugin, false);
    MasterPb__DisableVacuumResponse response = MASTER_PB__DISABLE_VACUUM_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void master_rpc_enable_vacuum(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__EnableVacuumRequest *request = (const MasterPb__EnableVacuumRequest *)message;
    vacuum_runner_set_enabled(s->vacuum, request->by_plugin, true);
    MasterPb__EnableVacuumResponse response = MASTER_PB__ENABLE_VACUUM_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void master_rpc_volume_mark_readonly(struct rpc_call *call, const ProtobufCMessage *message,
                                     void *ctx)
{
    struct services *s = ctx;
    const MasterPb__VolumeMarkReadonlyRequest *request =
        (const MasterPb__VolumeMarkReadonlyRequest *)message;
    const struct volume_option option = {
        .collection = request->collection,
        .disk_type = request->disk_type,
        .placement = replica_placement_from_byte((uint8_t)request->replica_placement),
        .ttl = ttl_from_u32(request->ttl),
        .version = request->version,
    };
    cluster_lock(s->cluster);
    topology_mark_read_only(s->cluster->topology, request->volume_id, &option, request->ip,
                            request->port, request->is_readonly);
    cluster_unlock(s->cluster);
    MasterPb__VolumeMarkReadonlyResponse response = MASTER_PB__VOLUME_MARK_READONLY_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}
