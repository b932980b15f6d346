/* Volume layouts, read side: one per (collection, replica placement, TTL, disk type), each with its list
 * of writable volumes. For /dir/status, gauges and the vacuum sweep. Source: spec/topology.md 4.
 *
 * A volume is writable when it has enough copies, no replica is read-only, marked, over the size limit or
 * on a node in maintenance, no vacuum holds it, and its estimated size is below the limit. That is
 * computed again from the records at every event that could change it, never edited.
 *
 * Pointers are valid only under the topology's lock. */
#pragma once

#include "common/replica_placement.h"
#include "common/ttl.h"
#include "master/topology.h"

struct volume_layout;
struct layout_volume;

struct volume_layout_info {
    const char *collection;
    const char *disk_type; /* "" for hdd */
    struct replica_placement placement;
    struct ttl ttl;
    size_t volume_count;
    size_t writable_count;
    size_t crowded_count; /* of the writable ones */
    bool is_growth_pending;
};

size_t topology_layout_count(const struct topology *t);
const struct volume_layout *topology_layout(const struct topology *t, size_t i); /* in no order */
void volume_layout_info(const struct volume_layout *layout, struct volume_layout_info *ret);
uint32_t volume_layout_writable(const struct volume_layout *layout, size_t i); /* an id */
size_t volume_layout_under_replicated_count(const struct volume_layout *layout); /* O(volumes) */

/* Every volume of a layout, in no order. */
const struct layout_volume *volume_layout_first(const struct volume_layout *layout);
const struct layout_volume *layout_volume_next(const struct layout_volume *volume);

struct layout_volume_info {
    uint32_t id;
    size_t replica_count;
    bool is_writable;
    bool is_crowded;
    bool is_held_for_vacuum;
    bool is_full; /* taken out for capacity, by estimate or scan; its replicas do not count as active */
    uint64_t effective_size; /* reported plus what was assigned since; 0 when not tracked */
    uint64_t reported_size;
};
void layout_volume_info(const struct layout_volume *volume, struct layout_volume_info *ret);

struct layout_replica_info {
    const struct data_node *node;
    const struct volume_record *record;
    bool is_marked_read_only; /* by VolumeMarkReadonly */
    bool is_provisional;      /* created by growth, not yet reported */
};
void layout_volume_replica(const struct layout_volume *volume, size_t i,
                           struct layout_replica_info *ret);
