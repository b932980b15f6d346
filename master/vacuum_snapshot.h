/* The vacuum planner's input, taken from the topology: volumes with their replicas, garbage, live bytes,
 * disks. Pure; the topology's lock is held during vacuum_snapshot_take only, the snapshot is the caller's. */
#pragma once

#include "master/topology.h"
#include "master/vacuum_planner.h"

/* Fills in what only the runner knows: failures, last_failure_ns, is_in_flight. May be NULL. */
typedef void vacuum_annotate(void *ctx, struct vacuum_candidate *candidate);

struct vacuum_nodes {
    struct data_node **nodes; /* nodes[server], each referenced */
    size_t count;
    const struct data_node **by_replica; /* parallel to vacuum_snapshot.replicas */
};

/* collection NULL or "" = all; volume_id 0 = all. Disks are the physical disks (node, disk type, disk id);
 * the bytes of a type are shared by its physical disks, so each is given the type's figures divided by
 * their number. Disks and layouts start with the jobs of candidates that the callback calls in flight. */
void vacuum_snapshot_take(const struct topology *t, const char *collection, uint32_t volume_id,
                          vacuum_annotate *annotate, void *ctx, struct vacuum_snapshot *ret,
                          struct vacuum_nodes *ret_nodes);
void vacuum_snapshot_fini(struct vacuum_snapshot *s, struct vacuum_nodes *nodes);
