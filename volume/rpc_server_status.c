/* VolumeServerStatus, GetState, SetState, VolumeServerLeave. Source: spec/volume-rpc.md 2, 10. */
#include "volume/rpc_handlers.h"

#include "common/arena.h"
#include "common/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

static VolumeServerPb__DiskStatus *describe_disk(struct disk_location *location,
                                                 struct arena *arena)
{
    VolumeServerPb__DiskStatus *disk = arena_alloc(arena, sizeof(*disk));
    volume_server_pb__disk_status__init(disk);
    struct disk_space space;
    disk_location_space(location, &space);
    char path[PATH_MAX];
    const char *directory = disk_location_directory(location);
    if (realpath(directory, path))
        directory = path;
    disk->dir = arena_strndup(arena, directory, strlen(directory));
    disk->all = space.total_bytes;
    disk->free = space.free_bytes;
    disk->used = space.total_bytes - space.free_bytes;
    if (space.total_bytes > 0) {
        disk->percent_free = (float)((double)disk->free * 100 / (double)disk->all);
        disk->percent_used = (float)((double)disk->used * 100 / (double)disk->all);
    }
    return disk;
}

/* Of this process: threads, resident, data and stack, out of /proc/self/status. */
static void describe_process(VolumeServerPb__MemStatus *memory)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    while (file && fgets(line, sizeof(line), file)) {
        unsigned long long n = 0;
        if (sscanf(line, "Threads: %llu", &n) == 1)
            memory->goroutines = (int32_t)n;
        else if (sscanf(line, "VmRSS: %llu", &n) == 1)
            memory->self = n * 1024;
        else if (sscanf(line, "VmData: %llu", &n) == 1)
            memory->heap = n * 1024;
        else if (sscanf(line, "VmStk: %llu", &n) == 1)
            memory->stack = n * 1024;
    }
    if (file)
        fclose(file);
}

void rpc_server_status(struct volume_rpc *rpc, struct rpc_call *call,
                       const ProtobufCMessage *message)
{
    struct store *store = rpc->config.store;
    struct arena arena;
    arena_init(&arena);
    VolumeServerPb__VolumeServerStatusResponse response =
        VOLUME_SERVER_PB__VOLUME_SERVER_STATUS_RESPONSE__INIT;
    size_t count = store_location_count(store);
    response.disk_statuses = arena_alloc(&arena, count * sizeof(*response.disk_statuses));
    for (size_t i = 0; i < count; i++)
        response.disk_statuses[response.n_disk_statuses++] =
            describe_disk(store_location(store, i), &arena);

    VolumeServerPb__MemStatus memory = VOLUME_SERVER_PB__MEM_STATUS__INIT;
    struct sysinfo machine;
    if (sysinfo(&machine) == 0) {
        memory.all = (uint64_t)machine.totalram * machine.mem_unit;
        memory.free = (uint64_t)machine.freeram * machine.mem_unit;
        memory.used = memory.all - memory.free;
    }
    describe_process(&memory);
    response.memory_status = &memory;

    VolumeServerPb__VolumeServerState state = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    bool maintenance;
    server_state_get(rpc->config.state, &maintenance, &state.version);
    state.maintenance = maintenance;
    response.state = &state;
    response.version = (char *)(uintptr_t)rpc->config.version;
    response.data_center = (char *)(uintptr_t)rpc->config.identity->data_center;
    response.rack = (char *)(uintptr_t)rpc->config.identity->rack;
    rpc_call_reply(call, &response.base);
    arena_fini(&arena);
}

void rpc_get_state(struct volume_rpc *rpc, struct rpc_call *call, const ProtobufCMessage *message)
{
    VolumeServerPb__VolumeServerState state = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    bool maintenance;
    server_state_get(rpc->config.state, &maintenance, &state.version);
    state.maintenance = maintenance;
    VolumeServerPb__GetStateResponse response = VOLUME_SERVER_PB__GET_STATE_RESPONSE__INIT;
    response.state = &state;
    rpc_call_reply(call, &response.base);
}

void rpc_set_state(struct volume_rpc *rpc, struct rpc_call *call, const ProtobufCMessage *message)
{
    const VolumeServerPb__SetStateRequest *request =
        (const VolumeServerPb__SetStateRequest *)message;
    struct error err = {0};
    if (request->state) {
        if (server_state_set(rpc->config.state, request->state->maintenance,
                             request->state->version, &err)) {
            rpc_fail_unknown(call, &err);
            return;
        }
        log_info("state changed", "maintenance=%d", request->state->maintenance);
        heartbeat_state_changed(rpc->config.heartbeat);
    }
    VolumeServerPb__VolumeServerState state = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    bool maintenance;
    server_state_get(rpc->config.state, &maintenance, &state.version);
    state.maintenance = maintenance;
    VolumeServerPb__SetStateResponse response = VOLUME_SERVER_PB__SET_STATE_RESPONSE__INIT;
    response.state = &state;
    rpc_call_reply(call, &response.base);
}

void rpc_server_leave(struct volume_rpc *rpc, struct rpc_call *call,
                      const ProtobufCMessage *message)
{
    if (!heartbeat_has_left(rpc->config.heartbeat))
        log_info("leaving the master", "%s", "why=\"asked to\" next=\"restart to join again\"");
    heartbeat_leave(rpc->config.heartbeat);
    VolumeServerPb__VolumeServerLeaveResponse response =
        VOLUME_SERVER_PB__VOLUME_SERVER_LEAVE_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}
