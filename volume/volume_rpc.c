/* The table of methods. What is not in it is answered UNIMPLEMENTED by the rpc server. */
#include "volume/volume_rpc.h"

#include "common/check.h"
#include "volume/rpc_handlers.h"

#include <stdarg.h>
#include <stdio.h>

#define SERVICE "/volume_server_pb.VolumeServer/"

enum row_flag {
    ADMITTED = 1, /* the white list applies */
    NO_MAINTENANCE = 2, /* refused in maintenance mode, before the request is looked at */
};

struct row {
    const char *path;
    const ProtobufCMessageDescriptor *request, *response;
    rpc_handler *handle;
    enum rpc_kind kind;
    unsigned flags;
};

#define UNARY(name, message, handler, row_flags)                                                   \
    {SERVICE #name, &volume_server_pb__##message##_request__descriptor,                            \
     &volume_server_pb__##message##_response__descriptor, handler, RPC_UNARY, row_flags}
#define STREAM(name, message, handler, row_flags)                                                  \
    {SERVICE #name, &volume_server_pb__##message##_request__descriptor,                            \
     &volume_server_pb__##message##_response__descriptor, handler, RPC_SERVER_STREAM, row_flags}

/* Spec volume-rpc.md 0.3, as 4.48 has it, but for WriteNeedleBlob, which the peer lets everybody call: a
 * white list would guard nothing. VolumeMarkWritable looks at maintenance itself, late. */
static const struct row rows[] = {
    UNARY(BatchDelete, batch_delete, rpc_batch_delete, ADMITTED | NO_MAINTENANCE),
    UNARY(VacuumVolumeCheck, vacuum_volume_check, rpc_vacuum_check, 0),
    STREAM(VacuumVolumeCompact, vacuum_volume_compact, rpc_vacuum_compact,
           ADMITTED | NO_MAINTENANCE),
    UNARY(VacuumVolumeCommit, vacuum_volume_commit, rpc_vacuum_commit, ADMITTED | NO_MAINTENANCE),
    UNARY(VacuumVolumeCleanup, vacuum_volume_cleanup, rpc_vacuum_cleanup,
          ADMITTED | NO_MAINTENANCE),
    UNARY(VacuumVolumePause, vacuum_volume_pause, rpc_vacuum_pause, ADMITTED),
    UNARY(AllocateVolume, allocate_volume, rpc_allocate_volume, ADMITTED | NO_MAINTENANCE),
    UNARY(VolumeMount, volume_mount, rpc_volume_mount, ADMITTED),
    UNARY(VolumeUnmount, volume_unmount, rpc_volume_unmount, ADMITTED),
    UNARY(VolumeDelete, volume_delete, rpc_volume_delete, ADMITTED),
    UNARY(DeleteCollection, delete_collection, rpc_delete_collection, ADMITTED),
    UNARY(VolumeMarkReadonly, volume_mark_readonly, rpc_volume_mark_readonly, ADMITTED),
    UNARY(VolumeMarkWritable, volume_mark_writable, rpc_volume_mark_writable, ADMITTED),
    UNARY(VolumeConfigure, volume_configure, rpc_volume_configure, ADMITTED | NO_MAINTENANCE),
    UNARY(VolumeSyncStatus, volume_sync_status, rpc_volume_sync_status, 0),
    UNARY(ReadNeedleBlob, read_needle_blob, rpc_read_needle_blob, 0),
    UNARY(ReadNeedleMeta, read_needle_meta, rpc_read_needle_meta, 0),
    UNARY(WriteNeedleBlob, write_needle_blob, rpc_write_needle_blob, ADMITTED | NO_MAINTENANCE),
    STREAM(ReadAllNeedles, read_all_needles, rpc_read_all_needles, ADMITTED),
    UNARY(VolumeNeedleStatus, volume_needle_status, rpc_volume_needle_status, ADMITTED),
    UNARY(ScrubVolume, scrub_volume, rpc_scrub_volume, ADMITTED),
    UNARY(VolumeStatus, volume_status, rpc_volume_status, 0),
    UNARY(VolumeServerStatus, volume_server_status, rpc_server_status, 0),
    UNARY(VolumeServerLeave, volume_server_leave, rpc_server_leave, ADMITTED),
    UNARY(GetState, get_state, rpc_get_state, 0),
    UNARY(SetState, set_state, rpc_set_state, ADMITTED),
    UNARY(Ping, ping, rpc_ping, 0),
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* A row bound to a server: what the rpc server hands to every callback. */
struct volume_rpc_method {
    struct volume_rpc *rpc;
    const struct row *row;
    struct rpc_method method;
};

bool rpc_refuse_in_maintenance(struct volume_rpc *rpc, struct rpc_call *call)
{
    bool maintenance;
    uint32_t version;
    server_state_get(rpc->config.state, &maintenance, &version);
    if (maintenance)
        rpc_call_fail(call, RPC_UNKNOWN, "volume server %s is in maintenance mode",
                      rpc->config.identity->id);
    return maintenance;
}

struct volume *rpc_acquire_volume(struct volume_rpc *rpc, struct rpc_call *call, uint32_t id,
                                  enum rpc_status status, const char *fmt, ...)
{
    struct volume *volume = NULL;
    struct error err = {0};
    int code = store_find(rpc->config.store, id, &volume, &err);
    if (code == KELP_E_UNAVAILABLE) {
        rpc_call_fail_error(call, &err);
    } else if (code) {
        char text[256];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        rpc_call_fail(call, status, "%s", text);
    }
    return volume;
}

void rpc_fail_unknown(struct rpc_call *call, const struct error *err)
{
    rpc_call_fail(call, RPC_UNKNOWN, "%s", err->message);
}

static bool refuse_stranger(struct volume_rpc *rpc, struct rpc_call *call)
{
    const char *ip = rpc_call_peer_ip(call);
    if (!rpc->config.security || !security_has_white_list(rpc->config.security))
        return false;
    if (!ip || !*ip) {
        rpc_call_fail(call, RPC_PERMISSION_DENIED, "no peer info");
        return true;
    }
    if (security_admits(rpc->config.security, ip))
        return false;
    rpc_call_fail(call, RPC_PERMISSION_DENIED, "not authorized: %s", ip);
    return true;
}

static void dispatch(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct volume_rpc_method *bound = ctx;
    if ((bound->row->flags & ADMITTED) && refuse_stranger(bound->rpc, call))
        return;
    if ((bound->row->flags & NO_MAINTENANCE) && rpc_refuse_in_maintenance(bound->rpc, call))
        return;
    bound->row->handle(bound->rpc, call, message);
}

void volume_rpc_create(struct volume_rpc **ret, const struct volume_rpc_config *config)
{
    struct volume_rpc *rpc = must(calloc(1, sizeof(*rpc)));
    rpc->config = *config;
    rpc->methods = must(calloc(ROW_COUNT, sizeof(*rpc->methods)));
    rpc->services = must(calloc(ROW_COUNT, sizeof(*rpc->services)));
    rpc->service_count = ROW_COUNT;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct volume_rpc_method *bound = &rpc->methods[i];
        bound->rpc = rpc;
        bound->row = &rows[i];
        bound->method = (struct rpc_method){
            .path = rows[i].path,
            .kind = rows[i].kind,
            .place = RPC_ON_WORKER,
            .request = rows[i].request,
            .response = rows[i].response,
            .on_message = dispatch,
        };
        /* A service a method, because the context that comes with a call is the service's. */
        rpc->services[i] = (struct rpc_service){&bound->method, 1, bound};
    }
    *ret = rpc;
}

void volume_rpc_destroy(struct volume_rpc *rpc)
{
    if (!rpc)
        return;
    free(rpc->services);
    free(rpc->methods);
    free(rpc);
}

const struct rpc_service *volume_rpc_services(const struct volume_rpc *rpc, size_t *ret_count)
{
    *ret_count = rpc->service_count;
    return rpc->services;
}

void volume_rpc_set_stopping(struct volume_rpc *rpc) { atomic_store(&rpc->is_stopping, true); }
