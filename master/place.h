/* The tree topology -> data centers -> racks -> data nodes, read side: walking it for VolumeList,
 * /dir/status, /vol/status and KeepConnected's first messages.
 *
 * A disk of this tree is one disk TYPE of one node; records keep the physical disk's id. Every level has
 * the same counters per disk type, kept up to date by each change below. Source: spec/topology.md 1.
 *
 * All pointers handed out belong to the topology and are valid only while the caller holds the lock that
 * guards it. Children are sorted by id. */
#pragma once

#include "common/volume_digest.h"

#include <stddef.h>

struct topology;
struct place;
struct data_node;

enum place_kind { PLACE_TOPOLOGY, PLACE_DATA_CENTER, PLACE_RACK, PLACE_NODE };

struct disk_usage {
    int64_t max;       /* slots advertised */
    int64_t volumes;   /* regular replicas held */
    int64_t remote;    /* of those, tiered ones: they cost no slot */
    int64_t active;    /* of those, neither read-only nor taken out for capacity */
    int64_t ec_shards; /* ten of them cost one slot */
    uint64_t total_bytes, free_bytes; /* file systems, for display */
};

/* max + remote - volumes - ceil(ec_shards / 10); may be negative. */
int64_t disk_usage_free_slots(const struct disk_usage *u);

const struct place *topology_root(const struct topology *t);
enum place_kind place_kind(const struct place *p);
const char *place_id(const struct place *p); /* "topo", data center, rack or node id */
const struct place *place_parent(const struct place *p);
size_t place_child_count(const struct place *p);
const struct place *place_child(const struct place *p, size_t i);
const struct data_node *place_node(const struct place *p); /* NULL unless PLACE_NODE */

/* Disk types are numbered in order of first appearance. The name of hdd is "". */
size_t topology_disk_type_count(const struct topology *t);
const char *topology_disk_type_name(const struct topology *t, size_t type);
/* False (ret untouched) when nothing at or below this place ever had that type. */
bool place_usage(const struct place *p, size_t type, struct disk_usage *ret);
/* Free slots over all disk types, each level's own rounding. */
int64_t place_free_slots(const struct place *p);
int64_t place_max_slots(const struct place *p);

/* What a node said of itself last. */
struct data_node_info {
    const char *id;
    const char *ip;
    const char *public_url;
    const char *url; /* "ip:port", bracketed for IPv6 */
    const char *data_center;
    const char *rack;
    uint32_t port;
    uint32_t grpc_port;
    bool is_attached;       /* part of the tree */
    bool is_in_maintenance; /* offers no slot, its volumes are not writable */
};

struct disk_tag {
    uint32_t disk_id;
    const char *disk_type; /* "" for hdd */
    int64_t max_volume_count;
    const char *const *tags;
    size_t tag_count;
};

/* One erasure-coded volume on one physical disk of a node. */
struct ec_record {
    const char *collection;
    const char *disk_type;
    uint32_t id;
    uint32_t disk_id;
    uint32_t shard_bits;      /* bit i: shard i is here */
    uint64_t expire_at_sec;
    uint64_t file_count;
    uint64_t delete_count;
    int64_t encode_ts_ns;
    const int64_t *shard_sizes; /* one per set bit, ascending; NULL when size_count is 0 */
    size_t size_count;
};

void data_node_info(const struct data_node *node, struct data_node_info *ret);
/* Physical disks as last reported; empty when the server never did. */
const struct disk_tag *data_node_disk_tags(const struct data_node *node, size_t *ret_count);
/* Records of one disk type, in no particular order; valid until the topology changes. */
size_t data_node_volume_count(const struct data_node *node, size_t type);
const struct volume_record *data_node_volume(const struct data_node *node, size_t type, size_t i);
size_t data_node_ec_count(const struct data_node *node, size_t type);
const struct ec_record *data_node_ec(const struct data_node *node, size_t type, size_t i);
/* XOR of the hashes of all its volumes; what its heartbeat's digest is compared with. */
uint64_t data_node_digest(const struct data_node *node);
