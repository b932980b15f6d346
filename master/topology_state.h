/* The objects of the topology and what its files do to them. Private to master/topology*, place,
 * data_node, replica, volume_layout, volume_writability, ec_registry, heartbeat, placement, volume_pick,
 * volume_growth and vacuum_snapshot; everybody else uses the opaque headers.
 *
 * Who owns what: the tree owns places; a node is reference counted (the tree, each stream, each placement
 * hold one). A node's disk and a layout's volume both point at a replica; the disk owns it. A volume
 * without replica does not exist. Layouts and collections exist as long as clients or volumes want them.
 *
 * Layers, lower first: place, data_node, volume_layout (with volume_writability), replica and
 * ec_registry, then topology, heartbeat and the planners. */
#pragma once

#include "common/check.h"
#include "master/name_pool.h"
#include "master/topology.h"
#include "master/volume_layout.h"

#include <uthash.h>

#define TOPOLOGY_DISK_TYPES_MAX 64
#define NANOSECONDS 1000000000ll
#define PROVISIONAL_GRACE_NS (10 * NANOSECONDS)
#define CAPACITY_RECOVERY_NS (30 * NANOSECONDS)
#define SIZE_UPDATE_PAUSE_NS (2 * NANOSECONDS)
#define VACUUM_SIZE_GRACE_NS (20 * NANOSECONDS)
#define MARK_GRACE_NS (10 * NANOSECONDS)

struct place_disk {
    struct disk_usage usage;
    int64_t reserved; /* slots of volumes being created */
    int64_t blocked;  /* free slots of nodes in maintenance */
    bool is_present;
};

struct place {
    enum place_kind kind;
    const char *id;
    struct place *parent; /* NULL: the root, or detached */
    struct place **children;
    size_t child_count;
    size_t child_capacity;
    struct place_disk *disks; /* by disk type number */
    size_t disk_count;
    uint64_t mark; /* scratch of volume_growth_plan */
};

struct node_disk {
    struct replica **replicas;
    size_t replica_count;
    size_t replica_capacity;
    struct ec_holder **ecs;
    size_t ec_count;
    size_t ec_capacity;
};

struct data_node {
    struct place place; /* first: a node is a place */
    unsigned refs;
    unsigned streams;
    char *id;
    char *ip;
    char *public_url;
    char *url;
    const char *data_center; /* interned, also while detached */
    const char *rack;
    uint32_t port;
    uint32_t grpc_port;
    bool is_in_maintenance;
    bool has_duplicate_ids; /* its last full list named an id twice on one disk type */
    uint64_t digest;     /* of what it has reported: provisional replicas are not part of it */
    uint64_t list_epoch; /* number of the full list being applied */
    size_t provisional_count;
    int64_t provisional_ns; /* when the youngest of them was registered */
    struct node_disk *disks; /* by disk type number */
    size_t disk_count;
    struct disk_tag *tags;
    size_t tag_count;
    char **uuids;
    size_t uuid_count;
};

struct replica {
    struct volume_record record; /* strings interned */
    struct data_node *node;
    struct layout_volume *volume;
    uint64_t digest;
    uint64_t seen_epoch;
    int64_t registered_ns;
    int64_t marked_ns;
    uint32_t disk_index; /* in node->disks[type].replicas */
    uint16_t type;
    bool is_marked_read_only;
    bool is_provisional;
    bool is_counted_active;
};

#define NOT_WRITABLE SIZE_MAX

/* One volume id in one layout. */
struct layout_volume {
    uint32_t id;
    uint32_t vacuum_holds;
    uint32_t compact_revision;
    bool is_tracked;
    bool is_crowded;
    uint16_t replica_count;
    uint16_t replica_capacity;
    struct replica **replicas; /* in order of registration */
    struct volume_layout *layout;
    struct layout_volume *prev, *next; /* in the layout */
    struct layout_volume *same_id;     /* the same id in another layout, while a change spreads */
    size_t writable_index;             /* in layout->writables, or NOT_WRITABLE */
    uint64_t effective_size;
    uint64_t reported_size;
    int64_t size_update_ns;
    int64_t full_since_ns; /* 0: not taken out for capacity */
    int64_t vacuumed_ns;   /* last commit within limits, 0 never */
    UT_hash_handle hh;     /* by id; the head of the same_id chain only */
};

struct layout_key {
    const char *collection; /* interned */
    uint64_t disk_type;     /* number */
    uint32_t placement;     /* byte form */
    uint32_t ttl;           /* packed */
};
_Static_assert(sizeof(struct layout_key) == 24, "hashed as bytes: no padding");

struct volume_layout {
    struct layout_key key;
    struct topology *topology;
    const char *disk_type;
    struct layout_volume *volumes;
    size_t volume_count;
    struct layout_volume **writables;
    size_t writable_count;
    size_t writable_capacity;
    size_t crowded_count; /* writable and crowded */
    size_t index;         /* in topology->layouts */
    uint32_t growth_target;
    bool is_growth_pending;
    UT_hash_handle hh;
};

struct collection {
    const char *name; /* interned; the hash key is the pointer */
    size_t layout_count;
    UT_hash_handle hh;
};

struct ec_holder {
    struct ec_record record; /* strings interned, sizes owned */
    struct data_node *node;
    struct ec_volume *volume;
    uint64_t seen_epoch;
    uint32_t disk_index;
    uint16_t type;
};

struct ec_volume {
    uint32_t id;
    const char *collection;
    struct ec_holder **holders;
    size_t holder_count;
    size_t holder_capacity;
    UT_hash_handle hh;
};

/* A directory of a volume server. */
struct directory_uuid {
    struct data_node *node;
    char *address; /* "ip:port" at its registration */
    char *uuid;
    UT_hash_handle hh;
};

struct topology {
    struct topology_options options;
    struct topology_env env;
    struct name_pool names;
    const char *disk_types[TOPOLOGY_DISK_TYPES_MAX];
    size_t disk_type_count;
    struct place root;
    struct layout_volume *volumes; /* hash by id */
    struct volume_layout *layout_index;
    struct volume_layout **layouts;
    size_t layout_count;
    size_t layout_capacity;
    struct collection *collections;
    struct ec_volume *ec_volumes;
    struct directory_uuid *uuids;
    uint32_t max_volume_id;
    int64_t warm_up_end_ns;
    uint64_t mark;
};

static inline int64_t topology_now(const struct topology *t) { return t->env.now_ns(t->env.ctx); }

/* Uniform in [0, n), n > 0; the bias of the remainder is below 2^-40 for what is drawn here. */
static inline uint64_t topology_draw(const struct topology *t, uint64_t n)
{
    return t->env.random(t->env.ctx) % n;
}

static inline const char *text_or_empty(const char *text) { return text ? text : ""; }

/* Makes room for one more element; capacity doubles. */
static inline void *array_reserve(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 4;
    return must(realloc(array, *capacity * size));
}

/* place.c */
#define NO_DISK_TYPE SIZE_MAX
size_t disk_type_find(const struct topology *t, const char *text); /* NO_DISK_TYPE: unknown */
int disk_type_open(struct topology *t, const char *text, size_t *ret_type, struct error *err);
struct place_disk *place_disk(struct place *p, size_t type); /* creates it, marks it present */
/* Adds to this place and all above; disk_usage fields as signed differences. */
void place_add_usage(struct place *p, size_t type, const struct disk_usage *delta);
void place_add_reserved(struct place *p, size_t type, int64_t delta);
/* Slots that placement may use: free minus reserved minus those of nodes in maintenance. */
int64_t place_open_slots(const struct place *p, size_t type);
struct place *place_find_child(const struct place *p, const char *id);
struct place *place_open_child(struct place *p, enum place_kind kind, const char *interned_id);
void place_attach(struct place *parent, struct place *child); /* counters are added upwards */
void place_detach(struct place *child);                       /* and subtracted */
void place_fini(struct place *p);                             /* its own memory */

/* data_node.c */
struct data_node *data_node_create(const char *id);
void data_node_set_address(struct data_node *n, const char *ip, uint32_t port, uint32_t grpc_port,
                           const char *public_url);
void data_node_set_id(struct data_node *n, const char *id); /* detached only: order of the tree */
void data_node_set_tags(struct topology *t, struct data_node *n, const struct disk_tag *tags,
                        size_t count);
struct node_disk *data_node_disk(struct data_node *n, size_t type); /* creates it */
bool data_node_same_address(const struct data_node *a, const struct data_node *b);
/* Recomputes what the node's maintenance takes from placement, after its counters or flag changed. */
void data_node_refresh_blocked(struct data_node *n);
char *data_node_url_of(const char *ip, uint32_t port); /* malloc'd */

/* volume_layout.c */
struct volume_layout *layout_find(const struct topology *t, const char *collection, size_t type,
                                  uint32_t placement, uint32_t ttl);
struct volume_layout *layout_open(struct topology *t, const char *interned_collection, size_t type,
                                  uint32_t placement, uint32_t ttl);
/* The layout an option names; NULL when it does not exist. */
struct volume_layout *layout_of_option(const struct topology *t, const struct volume_option *o);
/* The same for clients, created when missing within the limits. */
int layout_open_for_client(struct topology *t, const struct volume_option *o,
                           struct volume_layout **ret, struct error *err);
void layout_destroy(struct volume_layout *layout); /* it holds no volume */
/* After an explicit deletion: without volumes and growth it goes. */
void layout_destroy_if_unused(struct volume_layout *layout);
struct layout_volume *layout_volume_find(const struct topology *t, uint32_t id); /* chain head */
struct layout_volume *layout_volume_open(struct volume_layout *layout, uint32_t id);
void layout_volume_add_replica(struct layout_volume *v, struct replica *r);
/* Forgets the volume when it was the last replica: returns false then. */
bool layout_volume_remove_replica(struct layout_volume *v, struct replica *r);
/* Whether a replica is on the data center, rack and node that the option names; "" and NULL: any. */
bool layout_volume_is_at(const struct layout_volume *v, const struct volume_option *o);

/* volume_writability.c */
void volume_list(struct layout_volume *v);
void volume_unlist(struct layout_volume *v);
void volume_set_crowded(struct layout_volume *v, bool is_crowded);
void volume_evaluate(struct layout_volume *v, int64_t now);
void volume_mention(struct layout_volume *v, const struct replica *r, int64_t now);
void volume_start_tracking(struct layout_volume *v, uint64_t size, int64_t now);
void volume_assign(struct layout_volume *v, uint64_t bytes, int64_t now);
bool volume_has_enough_copies(const struct layout_volume *v);
bool volume_is_room_left(const struct layout_volume *v); /* effective <= limit x threshold */
size_t volume_distinct_copies(const struct layout_volume *v);

/* replica.c */
enum replica_change {
    REPLICA_SAME,
    REPLICA_NEW,
    REPLICA_PROPERTY, /* read-only, can-delete or remote changed */
};
struct replica *replica_find(const struct topology *t, const struct data_node *n, size_t type,
                             uint32_t id);
bool replica_is_held(const struct topology *t, const struct data_node *n, uint32_t id);
/* Creates or replaces; evaluates the volume. `is_mention`: the record carries sizes. */
enum replica_change replica_upsert(struct topology *t, struct data_node *n, size_t type,
                                   const struct volume_record *record, bool is_mention,
                                   struct replica **ret);
/* `is_explicit`: deleted, not lost with its node; empty layouts go too. */
/* What growth made and no report has named yet. */
void replica_make_provisional(struct topology *t, struct replica *r);
void replica_remove(struct topology *t, struct replica *r, bool is_explicit);
void replica_refresh_active(struct replica *r);

/* ec_registry.c */
bool ec_is_held(const struct topology *t, const struct data_node *n, uint32_t id);
struct ec_volume *ec_volume_find(const struct topology *t, uint32_t id);
/* The holder of (node, id, disk id) gets exactly these shards; created when missing, dropped when
 * none. Differences to before are returned. */
void ec_replace(struct topology *t, struct data_node *n, size_t type, const struct ec_record *record,
                uint32_t *ret_gained, uint32_t *ret_lost);
void ec_merge(struct topology *t, struct data_node *n, size_t type, const struct ec_record *record);
void ec_subtract(struct topology *t, struct data_node *n, const struct ec_record *record);
void ec_holder_remove(struct topology *t, struct ec_holder *h);
void ec_volume_destroy(struct topology *t, struct ec_volume *v); /* it has no holder */

/* topology_node.c: filling location updates */
void update_name_node(struct location_update *u, const struct data_node *n);
void update_add_new(struct location_update *u, const struct data_node *n,
                    const struct volume_record *record);
void update_add_deleted(struct location_update *u, const struct data_node *n, uint32_t id);

/* Takes a node out: all it holds is forgotten and named in `update`. */
void topology_detach_node(struct topology *t, struct data_node *n, struct location_update *update);
bool topology_attach_node(struct topology *t, struct data_node *n); /* false: its id is taken */
