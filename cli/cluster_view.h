/* The topology as the master tells it, whole, for the commands that look at it. */
#pragma once

#include "cli/shell_session.h"
#include "proto/master.pb-c.h"

/* Reads VolumeListStream and puts its batches into the disks of the header, so that the result is what
 * VolumeList would answer; falls back to that where a master does not know the stream. Free it with
 * shell_free_message. */
int cluster_view_read(struct shell *shell, MasterPb__VolumeListResponse **ret, struct error *err);

/* Walks all data nodes; a non-zero answer ends the walk and is returned. */
int cluster_view_each_node(const MasterPb__VolumeListResponse *view,
                           int (*visit)(void *ctx, const MasterPb__DataCenterInfo *data_center,
                                        const MasterPb__RackInfo *rack,
                                        const MasterPb__DataNodeInfo *node),
                           void *ctx);
/* "ip:port.grpcPort", as volume servers are dialed. */
void cluster_view_node_address(const MasterPb__DataNodeInfo *node, char text[ADDRESS_TEXT_SIZE]);

/* The four diskInfos maps have different types and one shape; this reads any of them. */
struct cluster_disks {
    size_t count;
    const MasterPb__DiskInfo *items[16];
};
struct cluster_disks cluster_disks_of_topology(const MasterPb__TopologyInfo *topology);
struct cluster_disks cluster_disks_of_data_center(const MasterPb__DataCenterInfo *data_center);
struct cluster_disks cluster_disks_of_rack(const MasterPb__RackInfo *rack);
struct cluster_disks cluster_disks_of_node(const MasterPb__DataNodeInfo *node);
const char *cluster_disk_type(const MasterPb__DiskInfo *disk); /* "hdd" for "" */

/* The peer's words: " hdd(volume:1/8 active:1 free:7 remote:0)" for each. */
void cluster_disks_print(FILE *out, const struct cluster_disks *disks);
/* The first line of volume.list and cluster.check: the size limit and all disks. */
void cluster_view_print_head(FILE *out, const MasterPb__VolumeListResponse *view);
