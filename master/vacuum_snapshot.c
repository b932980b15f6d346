/* A walk over layouts, volumes and replicas, with two small hashes that number the servers and disks.
 *
 * Under the topology's lock; O(volumes). */
#include "master/vacuum_snapshot.h"

#include "master/topology_state.h"

struct disk_key {
    const struct data_node *node;
    uint32_t type;
    uint32_t disk_id;
};
_Static_assert(sizeof(struct disk_key) == 16, "hashed as bytes: no padding");

struct disk_number {
    struct disk_key key;
    uint32_t number;
    UT_hash_handle hh;
};

struct server_number {
    struct data_node *node;
    uint32_t number;
    UT_hash_handle hh;
};

struct builder {
    struct vacuum_snapshot *s;
    struct vacuum_nodes *nodes;
    size_t volume_capacity, replica_capacity, by_replica_capacity, disk_capacity, node_capacity;
    struct disk_number *disks;
    struct server_number *servers;
};

static uint32_t server_number(struct builder *b, struct data_node *n)
{
    struct server_number *s;
    HASH_FIND_PTR(b->servers, &n, s);
    if (!s) {
        s = must(calloc(1, sizeof(*s)));
        s->node = n;
        s->number = (uint32_t)b->nodes->count;
        HASH_ADD_PTR(b->servers, node, s);
        b->nodes->nodes = array_reserve(b->nodes->nodes, b->nodes->count, &b->node_capacity,
                                        sizeof(struct data_node *));
        b->nodes->nodes[b->nodes->count++] = n;
        data_node_ref(n);
    }
    return s->number;
}

/* Physical disks of a type, as the node named them. */
static uint64_t disks_of_type(const struct topology *t, const struct data_node *n, size_t type)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n->tag_count; i++)
        count += strcmp(n->tags[i].disk_type, t->disk_types[type]) == 0;
    return count ? count : 1;
}

static uint32_t disk_number(struct builder *b, const struct topology *t, const struct replica *r)
{
    struct disk_key key = {r->node, r->type, r->record.disk_id};
    struct disk_number *d;
    HASH_FIND(hh, b->disks, &key, sizeof(key), d);
    if (!d) {
        d = must(calloc(1, sizeof(*d)));
        d->key = key;
        d->number = (uint32_t)b->s->disk_count;
        HASH_ADD(hh, b->disks, key, sizeof(d->key), d);
        struct disk_usage usage = {0};
        place_usage(&r->node->place, r->type, &usage);
        uint64_t share = disks_of_type(t, r->node, r->type);
        b->s->disks = array_reserve(b->s->disks, b->s->disk_count, &b->disk_capacity,
                                    sizeof(*b->s->disks));
        b->s->disks[b->s->disk_count++] = (struct vacuum_disk){
            .total_bytes = usage.total_bytes / share,
            .free_bytes = usage.free_bytes / share,
            .server = server_number(b, r->node),
        };
    }
    return d->number;
}

static void add_replica(struct builder *b, const struct topology *t, const struct replica *r)
{
    struct vacuum_snapshot *s = b->s;
    const struct volume_record *record = &r->record;
    uint32_t disk = disk_number(b, t, r);
    b->nodes->by_replica = array_reserve(b->nodes->by_replica, s->replica_count,
                                         &b->by_replica_capacity, sizeof(struct data_node *));
    b->nodes->by_replica[s->replica_count] = r->node;
    s->replicas =
        array_reserve(s->replicas, s->replica_count, &b->replica_capacity, sizeof(*s->replicas));
    s->replicas[s->replica_count++] = (struct vacuum_replica){
        .disk = disk,
        .size = record->size,
        .garbage_bytes =
            record->deleted_byte_count < record->size ? record->deleted_byte_count : record->size,
        .is_read_only = record->read_only || r->is_marked_read_only,
        .is_read_only_harmless = !r->is_marked_read_only && record->read_only_reasons &&
                                 !(record->read_only_reasons & ~(VOLUME_RECORD_REASON_LOW_SPACE |
                                                                 VOLUME_RECORD_REASON_FULL)),
    };
}

static void add_volume(struct builder *b, const struct topology *t, const struct layout_volume *v,
                       uint32_t layout, vacuum_annotate *annotate, void *ctx)
{
    struct vacuum_snapshot *s = b->s;
    struct vacuum_candidate c = {
        .id = v->id,
        .layout = layout,
        .copies = replica_placement_copies(
            replica_placement_from_byte((uint8_t)v->layout->key.placement)),
        .first_replica = (uint32_t)s->replica_count,
        .replica_count = v->replica_count,
    };
    for (size_t i = 0; i < v->replica_count; i++)
        add_replica(b, t, v->replicas[i]);
    if (annotate)
        annotate(ctx, &c);
    for (size_t i = 0; c.is_in_flight && i < v->replica_count; i++)
        s->disks[s->replicas[c.first_replica + i].disk].running++;
    s->layout_running[layout] += c.is_in_flight;
    s->volumes = array_reserve(s->volumes, s->volume_count, &b->volume_capacity,
                               sizeof(*s->volumes));
    s->volumes[s->volume_count++] = c;
}

void vacuum_snapshot_take(const struct topology *t, const char *collection, uint32_t volume_id,
                          vacuum_annotate *annotate, void *ctx, struct vacuum_snapshot *ret,
                          struct vacuum_nodes *ret_nodes)
{
    struct builder b = {.s = ret, .nodes = ret_nodes};
    *ret = (struct vacuum_snapshot){0};
    *ret_nodes = (struct vacuum_nodes){0};
    ret->layout_count = t->layout_count;
    ret->layout_running = must(calloc(t->layout_count + 1, sizeof(*ret->layout_running)));
    if (volume_id) {
        for (const struct layout_volume *v = layout_volume_find(t, volume_id); v; v = v->same_id)
            if (!collection || !*collection || strcmp(v->layout->key.collection, collection) == 0)
                add_volume(&b, t, v, (uint32_t)v->layout->index, annotate, ctx);
    } else {
        for (size_t i = 0; i < t->layout_count; i++)
            if (!collection || !*collection ||
                strcmp(t->layouts[i]->key.collection, collection) == 0)
                for (const struct layout_volume *v = t->layouts[i]->volumes; v; v = v->next)
                    add_volume(&b, t, v, (uint32_t)i, annotate, ctx);
    }
    struct disk_number *d, *next_disk;
    HASH_ITER (hh, b.disks, d, next_disk) {
        HASH_DEL(b.disks, d);
        free(d);
    }
    struct server_number *s, *next_server;
    HASH_ITER (hh, b.servers, s, next_server) {
        HASH_DEL(b.servers, s);
        free(s);
    }
}

void vacuum_snapshot_fini(struct vacuum_snapshot *s, struct vacuum_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        data_node_unref(nodes->nodes[i]);
    free(nodes->nodes);
    free(nodes->by_replica);
    free(s->volumes);
    free(s->replicas);
    free(s->disks);
    free(s->layout_running);
    *s = (struct vacuum_snapshot){0};
    *nodes = (struct vacuum_nodes){0};
}
