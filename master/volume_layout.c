/* Layouts and the volumes in them: creation on first use, the replica list of a volume, the index by
 * id. Whether a volume may be written is decided in volume_writability.c.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

#include "master/volume_pick.h"

#include <utlist.h>

/* ---- Layouts ------------------------------------------------------------------------------------- */

struct volume_layout *layout_find(const struct topology *t, const char *collection, size_t type,
                                  uint32_t placement, uint32_t ttl)
{
    const char *name = name_pool_find(&t->names, collection);
    if (!name || type == NO_DISK_TYPE)
        return NULL;
    struct layout_key key = {name, type, placement & 0xff, ttl & 0xffff};
    struct volume_layout *layout;
    HASH_FIND(hh, t->layout_index, &key, sizeof(key), layout);
    return layout;
}

static struct collection *collection_open(struct topology *t, const char *interned)
{
    struct collection *c;
    HASH_FIND_PTR(t->collections, &interned, c);
    if (!c) {
        c = must(calloc(1, sizeof(*c)));
        c->name = interned;
        HASH_ADD_PTR(t->collections, name, c);
    }
    return c;
}

struct volume_layout *layout_open(struct topology *t, const char *interned_collection, size_t type,
                                  uint32_t placement, uint32_t ttl)
{
    struct layout_key key = {interned_collection, type, placement & 0xff, ttl & 0xffff};
    struct volume_layout *layout;
    HASH_FIND(hh, t->layout_index, &key, sizeof(key), layout);
    if (layout)
        return layout;
    layout = must(calloc(1, sizeof(*layout)));
    layout->key = key;
    layout->topology = t;
    layout->disk_type = t->disk_types[type];
    layout->index = t->layout_count;
    t->layouts = array_reserve(t->layouts, t->layout_count, &t->layout_capacity,
                               sizeof(struct volume_layout *));
    t->layouts[t->layout_count++] = layout;
    HASH_ADD(hh, t->layout_index, key, sizeof(layout->key), layout);
    collection_open(t, interned_collection)->layout_count++;
    return layout;
}

void layout_destroy(struct volume_layout *layout)
{
    struct topology *t = layout->topology;
    CHECK(layout->volume_count == 0 && layout->writable_count == 0);
    HASH_DEL(t->layout_index, layout);
    t->layouts[layout->index] = t->layouts[--t->layout_count];
    t->layouts[layout->index]->index = layout->index;
    struct collection *c = collection_open(t, layout->key.collection);
    if (--c->layout_count == 0) {
        HASH_DEL(t->collections, c);
        free(c);
    }
    free(layout->writables);
    free(layout);
}

void layout_destroy_if_unused(struct volume_layout *layout)
{
    if (layout->volume_count == 0 && !layout->is_growth_pending)
        layout_destroy(layout);
}

struct volume_layout *layout_of_option(const struct topology *t, const struct volume_option *o)
{
    return layout_find(t, o->collection, disk_type_find(t, o->disk_type),
                       replica_placement_to_byte(o->placement), ttl_to_u32(o->ttl));
}

int layout_open_for_client(struct topology *t, const struct volume_option *o,
                           struct volume_layout **ret, struct error *err)
{
    struct volume_layout *layout = layout_of_option(t, o);
    if (!layout) {
        if (t->layout_count >= TOPOLOGY_LAYOUTS_MAX) /* those that were only asked for make room */
            for (size_t i = t->layout_count; i-- > 0;)
                layout_destroy_if_unused(t->layouts[i]);
        if (t->layout_count >= TOPOLOGY_LAYOUTS_MAX)
            return error_set(err, KELP_E_LIMIT,
                             "more than %d volume layouts; use fewer collections",
                             TOPOLOGY_LAYOUTS_MAX);
        size_t type;
        int code = disk_type_open(t, o->disk_type, &type, err);
        if (code)
            return code;
        layout = layout_open(t, name_pool_intern(&t->names, o->collection), type,
                             replica_placement_to_byte(o->placement), ttl_to_u32(o->ttl));
    }
    *ret = layout;
    return 0;
}

/* ---- Volumes ------------------------------------------------------------------------------------- */

struct layout_volume *layout_volume_find(const struct topology *t, uint32_t id)
{
    struct layout_volume *v;
    HASH_FIND(hh, t->volumes, &id, sizeof(id), v);
    return v;
}

struct layout_volume *layout_volume_open(struct volume_layout *layout, uint32_t id)
{
    struct topology *t = layout->topology;
    struct layout_volume *head = layout_volume_find(t, id), *v;
    for (v = head; v; v = v->same_id)
        if (v->layout == layout)
            return v;
    v = must(calloc(1, sizeof(*v)));
    v->id = id;
    v->layout = layout;
    v->writable_index = NOT_WRITABLE;
    if (head) {
        v->same_id = head->same_id;
        head->same_id = v;
    } else {
        HASH_ADD(hh, t->volumes, id, sizeof(v->id), v);
    }
    DL_APPEND(layout->volumes, v);
    layout->volume_count++;
    return v;
}

static void volume_destroy(struct layout_volume *v)
{
    struct topology *t = v->layout->topology;
    volume_unlist(v);
    struct layout_volume *head = layout_volume_find(t, v->id);
    CHECK(head);
    if (head == v) {
        HASH_DEL(t->volumes, v);
        if (v->same_id)
            HASH_ADD(hh, t->volumes, id, sizeof(v->id), v->same_id);
    } else {
        while (head->same_id != v)
            head = head->same_id;
        head->same_id = v->same_id;
    }
    DL_DELETE(v->layout->volumes, v);
    v->layout->volume_count--;
    free(v->replicas);
    free(v);
}

void layout_volume_add_replica(struct layout_volume *v, struct replica *r)
{
    if (v->replica_count == v->replica_capacity) {
        CHECK(v->replica_capacity < UINT16_MAX / 2);
        v->replica_capacity = v->replica_capacity ? (uint16_t)(v->replica_capacity * 2) : 2;
        v->replicas = must(realloc(v->replicas, v->replica_capacity * sizeof(*v->replicas)));
    }
    v->replicas[v->replica_count++] = r;
    r->volume = v;
}

bool layout_volume_remove_replica(struct layout_volume *v, struct replica *r)
{
    uint16_t i = 0;
    while (v->replicas[i] != r)
        CHECK(++i < v->replica_count);
    v->replica_count--;
    memmove(&v->replicas[i], &v->replicas[i + 1],
            (size_t)(v->replica_count - i) * sizeof(*v->replicas));
    r->volume = NULL;
    if (v->replica_count == 0) {
        volume_destroy(v);
        return false;
    }
    return true;
}

/* ---- Read side ----------------------------------------------------------------------------------- */

size_t topology_layout_count(const struct topology *t) { return t->layout_count; }

const struct volume_layout *topology_layout(const struct topology *t, size_t i)
{
    return t->layouts[i];
}

void volume_layout_info(const struct volume_layout *layout, struct volume_layout_info *ret)
{
    *ret = (struct volume_layout_info){
        .collection = layout->key.collection,
        .disk_type = layout->disk_type,
        .placement = replica_placement_from_byte((uint8_t)layout->key.placement),
        .ttl = ttl_from_u32(layout->key.ttl),
        .volume_count = layout->volume_count,
        .writable_count = layout->writable_count,
        .crowded_count = layout->crowded_count,
        .is_growth_pending = layout->is_growth_pending,
    };
}

uint32_t volume_layout_writable(const struct volume_layout *layout, size_t i)
{
    return layout->writables[i]->id;
}

size_t volume_layout_under_replicated_count(const struct volume_layout *layout)
{
    size_t count = 0;
    unsigned copies =
        replica_placement_copies(replica_placement_from_byte((uint8_t)layout->key.placement));
    for (const struct layout_volume *v = layout->volumes; v; v = v->next)
        count += volume_distinct_copies(v) < copies;
    return count;
}

const struct layout_volume *volume_layout_first(const struct volume_layout *layout)
{
    return layout->volumes;
}

const struct layout_volume *layout_volume_next(const struct layout_volume *v) { return v->next; }

void layout_volume_info(const struct layout_volume *v, struct layout_volume_info *ret)
{
    *ret = (struct layout_volume_info){
        .id = v->id,
        .replica_count = v->replica_count,
        .is_writable = v->writable_index != NOT_WRITABLE,
        .is_crowded = v->is_crowded,
        .is_held_for_vacuum = v->vacuum_holds > 0,
        .is_full = v->full_since_ns != 0,
        .effective_size = v->is_tracked ? v->effective_size : 0,
        .reported_size = v->is_tracked ? v->reported_size : 0,
    };
}

void layout_volume_replica(const struct layout_volume *v, size_t i, struct layout_replica_info *ret)
{
    const struct replica *r = v->replicas[i];
    *ret = (struct layout_replica_info){
        .node = r->node,
        .record = &r->record,
        .is_marked_read_only = r->is_marked_read_only,
        .is_provisional = r->is_provisional,
    };
}

static bool is_wanted(const char *wanted, const char *actual)
{
    return !wanted || !*wanted || strcmp(wanted, actual) == 0;
}

bool layout_volume_is_at(const struct layout_volume *v, const struct volume_option *o)
{
    for (size_t i = 0; i < v->replica_count; i++) {
        const struct data_node *n = v->replicas[i]->node;
        if (is_wanted(o->data_center, n->data_center) && is_wanted(o->rack, n->rack) &&
            is_wanted(o->data_node, n->id))
            return true;
    }
    return false;
}
