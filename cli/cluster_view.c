/* The topology as the master tells it. Main thread. */
#include "cli/cluster_view.h"

#include "common/check.h"

#include <inttypes.h>
#include <stdlib.h>

#define DISKS_MAX (sizeof(((struct cluster_disks *)0)->items) / sizeof(void *))

/* Appends the batch's records to the disk; the batch loses them. */
#define MOVE_RECORDS(disk, batch, field)                                                           \
    do {                                                                                           \
        size_t total = (disk)->n_##field + (batch)->n_##field;                                     \
        (disk)->field = must(realloc((disk)->field, (total + 1) * sizeof(*(disk)->field)));        \
        for (size_t i_ = 0; i_ < (batch)->n_##field; i_++)                                         \
            (disk)->field[(disk)->n_##field + i_] = (batch)->field[i_];                            \
        (disk)->n_##field = total;                                                                 \
        (batch)->n_##field = 0;                                                                    \
    } while (0)

static MasterPb__DiskInfo *find_disk(MasterPb__VolumeListResponse *view,
                                     const MasterPb__VolumeListStreamResponse *batch)
{
    MasterPb__TopologyInfo *topology = view->topology_info;
    for (size_t d = 0; topology && d < topology->n_data_center_infos; d++) {
        MasterPb__DataCenterInfo *center = topology->data_center_infos[d];
        if (strcmp(center->id, batch->data_center) != 0)
            continue;
        for (size_t r = 0; r < center->n_rack_infos; r++) {
            MasterPb__RackInfo *rack = center->rack_infos[r];
            if (strcmp(rack->id, batch->rack) != 0)
                continue;
            for (size_t n = 0; n < rack->n_data_node_infos; n++) {
                MasterPb__DataNodeInfo *node = rack->data_node_infos[n];
                if (strcmp(node->id, batch->data_node) != 0)
                    continue;
                for (size_t k = 0; k < node->n_diskinfos; k++)
                    if (strcmp(node->diskinfos[k]->key, batch->disk_type) == 0)
                        return node->diskinfos[k]->value;
            }
        }
    }
    return NULL;
}

struct reading {
    MasterPb__VolumeListResponse *view;
    struct error *err;
};

static int on_batch(void *ctx, const ProtobufCMessage *message)
{
    struct reading *reading = ctx;
    /* The message is ours to take apart: it is freed after this call, without what was moved. */
    MasterPb__VolumeListStreamResponse *batch = (MasterPb__VolumeListStreamResponse *)(uintptr_t)message;
    if (batch->header) {
        if (reading->view)
            return error_set(reading->err, KELP_E_PROTOCOL, "the master sent two headers");
        reading->view = batch->header;
        batch->header = NULL;
        return 0;
    }
    MasterPb__DiskInfo *disk = reading->view ? find_disk(reading->view, batch) : NULL;
    if (!disk)
        return error_set(reading->err, KELP_E_PROTOCOL,
                         "the master listed volumes of a disk that it had not announced");
    MOVE_RECORDS(disk, batch, volume_infos);
    MOVE_RECORDS(disk, batch, ec_shard_infos);
    return 0;
}

int cluster_view_read(struct shell *shell, MasterPb__VolumeListResponse **ret, struct error *err)
{
    MasterPb__VolumeListRequest request = MASTER_PB__VOLUME_LIST_REQUEST__INIT;
    struct reading reading = {NULL, err};
    char target[ADDRESS_TEXT_SIZE];
    address_format_grpc(&shell->master, target);
    enum rpc_status status = RPC_OK;
    int code = rpc_client_read_stream(shell->rpc.client, target, "/master_pb.Seaweed/VolumeListStream",
                                      &request.base, &master_pb__volume_list_stream_response__descriptor,
                                      SHELL_TIMEOUT_MS, on_batch, &reading, &status, err);
    if (code != 0 && status == RPC_UNIMPLEMENTED && !reading.view)
        return shell_call_master(shell, "VolumeList", &request.base,
                                 &master_pb__volume_list_response__descriptor, SHELL_TIMEOUT_MS,
                                 (ProtobufCMessage **)ret, err);
    if (code == 0 && (!reading.view || !reading.view->topology_info))
        code = error_set(err, KELP_E_PROTOCOL, "the master sent no topology");
    if (code != 0) {
        shell_free_message(reading.view);
        return code;
    }
    *ret = reading.view;
    return 0;
}

int cluster_view_each_node(const MasterPb__VolumeListResponse *view,
                           int (*visit)(void *ctx, const MasterPb__DataCenterInfo *data_center,
                                        const MasterPb__RackInfo *rack,
                                        const MasterPb__DataNodeInfo *node),
                           void *ctx)
{
    const MasterPb__TopologyInfo *topology = view->topology_info;
    for (size_t d = 0; d < topology->n_data_center_infos; d++) {
        const MasterPb__DataCenterInfo *center = topology->data_center_infos[d];
        for (size_t r = 0; r < center->n_rack_infos; r++) {
            const MasterPb__RackInfo *rack = center->rack_infos[r];
            for (size_t n = 0; n < rack->n_data_node_infos; n++) {
                int answer = visit(ctx, center, rack, rack->data_node_infos[n]);
                if (answer != 0)
                    return answer;
            }
        }
    }
    return 0;
}

void cluster_view_node_address(const MasterPb__DataNodeInfo *node, char text[ADDRESS_TEXT_SIZE])
{
    const char *base = *node->address ? node->address : node->id;
    if (node->grpc_port)
        snprintf(text, ADDRESS_TEXT_SIZE, "%s.%u", base, node->grpc_port);
    else
        snprintf(text, ADDRESS_TEXT_SIZE, "%s", base);
}

#define DISKS_OF(level)                                                                            \
    struct cluster_disks disks = {0};                                                              \
    for (size_t i = 0; i < (level)->n_diskinfos && disks.count < DISKS_MAX; i++)                   \
        if ((level)->diskinfos[i]->value)                                                          \
            disks.items[disks.count++] = (level)->diskinfos[i]->value;                             \
    return disks

struct cluster_disks cluster_disks_of_topology(const MasterPb__TopologyInfo *topology)
{
    DISKS_OF(topology);
}

struct cluster_disks cluster_disks_of_data_center(const MasterPb__DataCenterInfo *data_center)
{
    DISKS_OF(data_center);
}

struct cluster_disks cluster_disks_of_rack(const MasterPb__RackInfo *rack) { DISKS_OF(rack); }
struct cluster_disks cluster_disks_of_node(const MasterPb__DataNodeInfo *node) { DISKS_OF(node); }

const char *cluster_disk_type(const MasterPb__DiskInfo *disk)
{
    return *disk->type ? disk->type : "hdd";
}

void cluster_disks_print(FILE *out, const struct cluster_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        const MasterPb__DiskInfo *d = disks->items[i];
        fprintf(out, " %s(volume:%" PRId64 "/%" PRId64 " active:%" PRId64 " free:%" PRId64
                     " remote:%" PRId64 ")",
                cluster_disk_type(d), d->volume_count, d->max_volume_count, d->active_volume_count,
                d->free_volume_count, d->remote_volume_count);
    }
}

void cluster_view_print_head(FILE *out, const MasterPb__VolumeListResponse *view)
{
    struct cluster_disks disks = cluster_disks_of_topology(view->topology_info);
    fprintf(out, "Topology volumeSizeLimit:%" PRIu64 " MB", view->volume_size_limit_mb);
    cluster_disks_print(out, &disks);
    fprintf(out, "\n");
}
