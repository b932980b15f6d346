/* Choosing servers for the replicas of one new volume: a weighted random walk down the tree that honours
 * the replica placement and the wanted data center, rack and node. Source: spec/topology.md 6.3.
 *
 * Free slots are what a node advertises, minus what it holds, minus the reservations made here by others
 * that are still creating. Nodes in maintenance offer none. Pure; under the topology's lock. */
#pragma once

#include "master/topology.h"

#define PLACEMENT_COPIES_MAX 20 /* of the placements that fit in a byte, "199" has most */

/* Main node, other nodes of its rack, one node of each other rack, one of each other data center. Holds a
 * reference and one reserved slot on every node until placement_release. */
struct placement {
    struct data_node *nodes[PLACEMENT_COPIES_MAX];
    size_t count;
    size_t disk_type; /* number of the type, see topology_disk_type_name */
};

/* KELP_E_NO_SPACE with the wire's texts ("Not enough data nodes found!", "No matching data node found! \n
 * <id>:<reason>...", "No free volume slot found!"); nothing is reserved then. */
int placement_choose(struct topology *t, const struct volume_option *option, struct placement *ret,
                     struct error *err);

/* After the volume was registered, or its creation failed. Takes a zeroed one, and one twice. */
void placement_release(struct topology *t, struct placement *p);
