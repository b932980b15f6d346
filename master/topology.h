/* The topology: which server holds which volume, and which volume may be written. The master's picture of
 * the cluster, rebuilt from heartbeats. Pure: events and a clock go in, decisions and lists come out; no
 * socket, no thread, no log, no file.
 *
 * The idea: there is one record per (node, disk type, volume id), the replica; it hangs in its node and
 * in its volume at once. A volume belongs to one layout (collection, replica placement, TTL, disk type). So
 * lookups, layouts and node records cannot disagree: they are views of the same objects. A volume
 * reported with another collection, placement or TTL moves to its new layout.
 *
 *   topology -> place tree -> data node -> disk (by type) -> replica <- volume <- layout <- collection
 *                                                            lookup index by id -^
 *
 * Locking: none inside. The caller guards one `struct topology` (and all that is reached from it) by one
 * lock. Every function is short: a heartbeat costs O(volumes in it), a lookup O(1), a pick O(1), only the
 * capacity scan and the statistics walk everything. Nothing blocks.
 *
 * Source: spec/topology.md, spec/master-rpc.md 4, 5, 8-15. Where the spec calls a behaviour a quirk that
 * costs availability, this does the better thing; such places say so in their comment. */
#pragma once

#include "common/error.h"
#include "master/location_update.h"
#include "master/place.h"
#include "master/volume_option.h"

struct topology;

/* Time and chance come from outside, so that a simulation can drive it with a seed. */
struct topology_env {
    int64_t (*now_ns)(void *ctx); /* unix time */
    uint64_t (*random)(void *ctx);
    void *ctx;
};

struct topology_options {
    uint64_t volume_size_limit_bytes;
    double growth_threshold;             /* master.volume_growth.threshold, 0.9 */
    uint32_t growth_copies[4];           /* [1], [2], [3]: master.volume_growth.copy_N; [0]: copy_other */
    bool growth_disabled;                /* master.volume_growth.disable */
    bool treat_replication_as_minimums;
};

/* The values a master has without configuration: 30000 MiB, 0.9, 7/6/3/1, false, false. */
void topology_options_default(struct topology_options *ret);

struct topology *topology_create(const struct topology_options *options, struct topology_env env);
void topology_destroy(struct topology *t);
const struct topology_options *topology_options(const struct topology *t);

/* ---- Leadership ---------------------------------------------------------------------------------- */

#define TOPOLOGY_WARM_UP_SECONDS 15

/* This process became leader. All nodes are forgotten (those bound to a stream stay as detached objects
 * until their stream ends). `found_state`: volume ids or file keys were already known from the replicated
 * log or from disk; then a warm-up of 15 s begins, also for a lone master that restarted (the peer has
 * none there and may hand out a key twice). */
void topology_begin_leadership(struct topology *t, bool found_state);
/* Nanoseconds left of the warm-up, 0 when there is none. While it lasts nothing is grown: an Assign that
 * finds no writable volume is refused at once, and growth
 * waits. */
int64_t topology_warm_up_left_ns(const struct topology *t);

/* Highest volume id known: from the replicated log, or seen in a heartbeat. */
uint32_t topology_max_volume_id(const struct topology *t);
void topology_raise_max_volume_id(struct topology *t, uint32_t id);

/* ---- Events: the life of a node ------------------------------------------------------------------ */

struct disk_type_count {
    const char *disk_type; /* any case; "hdd" and "" are the same */
    uint64_t value;
};

/* A heartbeat message in plain C. Strings and arrays are borrowed for the call. */
struct heartbeat {
    const char *ip;
    const char *public_url;
    const char *id; /* blank: "ip:port" is the id */
    const char *data_center;
    const char *rack;
    uint32_t port;
    uint32_t grpc_port; /* 0: port + 10000 */

    const struct disk_type_count *max_volume_counts;
    size_t max_volume_count_count;
    const struct disk_type_count *disk_total_bytes;
    size_t disk_total_bytes_count;
    const struct disk_type_count *disk_free_bytes;
    size_t disk_free_bytes_count;
    const struct disk_tag *disk_tags;
    size_t disk_tag_count;
    const char *const *location_uuids;
    size_t location_uuid_count;

    const struct volume_record *volumes; /* full list */
    size_t volume_count;
    const struct volume_record *changed_volumes;
    size_t changed_volume_count;
    const struct volume_record *new_volumes; /* short records: no size, no counts */
    size_t new_volume_count;
    const struct volume_record *deleted_volumes;
    size_t deleted_volume_count;
    const struct ec_record *ec_shards; /* full list */
    size_t ec_shard_count;
    const struct ec_record *new_ec_shards;
    size_t new_ec_shard_count;
    const struct ec_record *deleted_ec_shards;
    size_t deleted_ec_shard_count;

    uint64_t volume_digest;
    bool has_no_volumes;
    bool has_no_ec_shards;
    bool has_volume_digest; /* field present */
    bool has_state;         /* field `state` present */
    bool is_in_maintenance; /* its value */
};

/* The first message of a stream that carries an ip: finds or creates the node, and binds this stream to
 * it. Only names, addresses, maximum counts and uuids are used; then call topology_apply_heartbeat with
 * the same message. On success *ret_node stays valid until topology_unregister_node, which must be called
 * exactly once per success, at the end of the stream.
 *
 * KELP_E_EXISTS: a directory uuid is already registered by another address; the message is the
 * wire's, ret_duplicates (may be NULL) gets pointers into the heartbeat's own uuids, at most `room` of them,
 * *ret_duplicate_count how many; a stale node of this identity was unregistered and ret_update names
 * what it held. No binding was made.
 * KELP_E_INVALID: no ip. KELP_E_LIMIT: more than 64 disk types in the cluster.
 *
 * Also on success broadcast ret_update when it is not empty: a node that changed its address is withdrawn
 * under the old one.
 * Better than the peer: a server that comes back with the same address while its old stream is still
 * registered is accepted at once. */
int topology_register_node(struct topology *t, const struct heartbeat *h, struct data_node **ret_node,
                           const char **ret_duplicates, size_t room, size_t *ret_duplicate_count,
                           struct location_update *ret_update, struct error *err);

struct heartbeat_result {
    /* Answer with {volume_size_limit, preallocate, resend_full_volume_list}. */
    bool needs_full_list;
    /* The full list itself did not match its digest; worth a line in the log, nothing else. */
    bool digest_mismatch_in_full_list;
    /* The node object of this stream was replaced by a newer registration of the same id: nothing was
     * applied; end the stream. */
    bool is_superseded;
};

/* Applies one message (steps 4 to 12 of spec/master-rpc.md 4.2), also the first one, also one without an
 * ip. `update` is filled (appended to) with what to broadcast. KELP_E_LIMIT as above, nothing applied.
 *
 * A detached node (refused duplicate elsewhere) is attached again by a full list; before that other
 * parts are left out and a full list is asked for. */
int topology_apply_heartbeat(struct topology *t, struct data_node *node, const struct heartbeat *h,
                             struct heartbeat_result *ret, struct location_update *update,
                             struct error *err);

/* End of a stream. When it was the last one of its node, the node leaves the tree and `update` names all
 * it held. The pointer is dead afterwards. */
void topology_unregister_node(struct topology *t, struct data_node *node,
                              struct location_update *update);

/* Keeps a node object (not its place in the tree) alive across a time without the lock. */
void data_node_ref(struct data_node *node);
void data_node_unref(struct data_node *node); /* takes NULL */

/* By "ip:port" of the HTTP address; NULL when no attached node has it. */
struct data_node *topology_find_node(const struct topology *t, const char *url);

/* Everything one node holds, as the first messages to a new KeepConnected client want it: all regular
 * ids, distinct EC ids, and the property lists. Appended to `update`. */
void topology_describe_node(const struct topology *t, const struct data_node *node,
                            struct location_update *update);

/* ---- Events: volumes ----------------------------------------------------------------------------- */

/* A volume was created on these nodes by growth: provisional records (size 0), which survive full lists
 * that do not name them for 10 s. The volume is writable at once. Nodes that left the tree meanwhile
 * are skipped. One update per node is added to `updates` (may be NULL). */
int topology_register_grown_volume(struct topology *t, uint32_t id, const struct volume_option *option,
                                   struct data_node *const *nodes, size_t node_count,
                                   struct location_updates *updates, struct error *err);

/* A replica was deleted by an rpc of ours (empty copies, repair). No effect when it is not held. */
void topology_remove_replica(struct topology *t, struct data_node *node, uint32_t id,
                             struct location_update *update);

/* VolumeMarkReadonly. Marks the replica of `id` at ip:port; `option` fields collection, placement, ttl and
 * disk type choose the layout, an absent one falls back to any volume of that id there. True when a
 * replica was found. A mark stays until it is taken back, or until a report that is at least 10 s
 * younger says "writable". */
bool topology_mark_read_only(struct topology *t, uint32_t id, const struct volume_option *option,
                             const char *ip, uint32_t port, bool is_read_only);

/* Every 5 to 10 s on the leader: takes volumes that outgrew the limit off the writable lists, marks
 * crowded ones, halves the pending part of each estimate, and puts volumes back whose recovery time is
 * over. O(all volumes). */
void topology_scan_capacity(struct topology *t);

/* ---- Vacuum: writability around a job ------------------------------------------------------------ */

/* Takes the volume off the writable list and keeps it off until topology_end_vacuum; calls nest. False
 * when the id is unknown or only erasure coded. */
bool topology_begin_vacuum(struct topology *t, uint32_t id);
/* Largest estimate of bytes assigned but not yet reported; drained when <= 2 MiB. */
uint64_t topology_pending_bytes(const struct topology *t, uint32_t id);

struct vacuum_outcome {
    bool is_committed;  /* every commit succeeded */
    bool is_read_only;  /* any reply said so */
    uint64_t size;      /* largest volume_size of the replies; used when is_committed */
};
/* Ends the hold and evaluates the volume again, also after a cleanup (the peer leaves it unwritable until
 * something changes). After a commit the old reported size is ignored for 20 s. */
void topology_end_vacuum(struct topology *t, uint32_t id, const struct vacuum_outcome *outcome);

/* ---- Questions ----------------------------------------------------------------------------------- */

struct topology_location {
    const struct data_node *node;
    const struct volume_record *record; /* NULL for an EC shard holder */
};

/* Locations of a volume in stored order, each address once; *ret_is_ec tells that they are shard holders
 * (holder lists of shard 0, 1, 2, ... one after another, repetitions kept).
 * collection NULL or "": any collection, then EC. Known to layouts: only its regular volumes. Else: EC only.
 * Returns how many there are, which may exceed `room`; only the first `room` are stored. */
size_t topology_lookup(const struct topology *t, uint32_t id, const char *collection,
                       struct topology_location *ret, size_t room, bool *ret_is_ec);

#define EC_SHARD_IDS 32
/* True when the EC volume was ever known (even with no shard left). Visits every (shard, holder). */
bool topology_lookup_ec(const struct topology *t, uint32_t id,
                        void (*visit)(void *ctx, unsigned shard, const struct data_node *node),
                        void *ctx);

bool topology_has_data_center(const struct topology *t, const char *name);
bool topology_has_any_data_center(const struct topology *t);
/* Of a disk type over the whole topology; 0 for a type nobody offers (no entry is created). Nodes in
 * maintenance are not counted as free. */
int64_t topology_free_slots(const struct topology *t, const char *disk_type);
int64_t topology_max_slots(const struct topology *t, const char *disk_type);
int64_t topology_max_slots_of_all_types(const struct topology *t);

struct topology_statistics {
    uint64_t total_size;
    uint64_t used_size;
    uint64_t file_count;
    uint64_t logical_total_size;
    uint64_t logical_used_size;
};
/* spec/master-rpc.md 12; collection "" = all; `copies` of the asked or default replication, >= 1. */
void topology_statistics(const struct topology *t, const char *collection, unsigned copies,
                         struct topology_statistics *ret);

struct collection_statistics {
    const char *collection;
    uint64_t file_count;
    uint64_t delete_count;
    uint64_t deleted_byte_count;
    uint64_t size;
    uint64_t physical_size;
    uint64_t volume_count;
};
/* One visit per collection with at least one volume, sorted by name. */
void topology_collection_statistics(const struct topology *t,
                                    void (*visit)(void *ctx, const struct collection_statistics *s),
                                    void *ctx);

/* Sorted distinct names, the default collection as "". The array is malloc'd and the caller's; the names
 * belong to the topology and outlive every event until topology_destroy. */
const char **topology_collections(const struct topology *t, bool include_normal, bool include_ec,
                                  size_t *ret_count);
/* Nodes that hold anything of the collection, each once: the targets of DeleteCollection. The array is
 * malloc'd, each node in it is referenced: the caller unrefs each and frees the array. */
struct data_node **topology_collection_holders(const struct topology *t, const char *collection,
                                               bool normal, bool ec, size_t *ret_count);
/* After DeleteCollection succeeded on every holder: forgets the collection's volumes, layouts and, with
 * `ec`, its EC entries. Later reports of the same deletions find nothing and are fine. */
void topology_delete_collection(struct topology *t, const char *collection, bool normal, bool ec,
                                struct location_updates *updates);
