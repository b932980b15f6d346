/* Questions about one volume or one disk type, and the deletion of a collection.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

/* ---- Locations ----------------------------------------------------------------------------------- */

static bool is_known_address(const struct topology_location *known, size_t count,
                             const struct data_node *n)
{
    for (size_t i = 0; i < count; i++)
        if (data_node_same_address(known[i].node, n))
            return true;
    return false;
}

struct ec_visit {
    struct topology_location *ret;
    size_t room;
    size_t count;
};

static void add_ec_location(void *ctx, unsigned shard, const struct data_node *node)
{
    (void)shard;
    struct ec_visit *visit = ctx;
    if (visit->count < visit->room)
        visit->ret[visit->count] = (struct topology_location){node, NULL};
    visit->count++;
}

size_t topology_lookup(const struct topology *t, uint32_t id, const char *collection,
                       struct topology_location *ret, size_t room, bool *ret_is_ec)
{
    const char *name = NULL;
    struct collection *known = NULL;
    *ret_is_ec = false;
    bool is_named = collection && *collection;
    if (is_named)
        name = name_pool_find(&t->names, collection);
    if (name)
        HASH_FIND_PTR(t->collections, &name, known);

    size_t count = 0;
    if (!is_named || known)
        for (const struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id) {
            if (is_named && v->layout->key.collection != name)
                continue;
            for (size_t i = 0; i < v->replica_count; i++) {
                const struct replica *r = v->replicas[i];
                if (is_known_address(ret, count < room ? count : room, r->node))
                    continue;
                if (count < room)
                    ret[count] = (struct topology_location){r->node, &r->record};
                count++;
            }
        }
    if (count || known)
        return count;
    struct ec_visit visit = {ret, room, 0};
    topology_lookup_ec(t, id, add_ec_location, &visit);
    *ret_is_ec = visit.count > 0;
    return visit.count;
}

/* ---- Room ---------------------------------------------------------------------------------------- */

bool topology_has_data_center(const struct topology *t, const char *name)
{
    return place_find_child(&t->root, text_or_empty(name)) != NULL;
}

bool topology_has_any_data_center(const struct topology *t) { return t->root.child_count > 0; }

int64_t topology_free_slots(const struct topology *t, const char *disk_type)
{
    size_t type = disk_type_find(t, disk_type);
    return type == NO_DISK_TYPE ? 0 : place_open_slots(&t->root, type);
}

int64_t topology_max_slots(const struct topology *t, const char *disk_type)
{
    struct disk_usage usage;
    size_t type = disk_type_find(t, disk_type);
    return type != NO_DISK_TYPE && place_usage(&t->root, type, &usage) ? usage.max : 0;
}

int64_t topology_max_slots_of_all_types(const struct topology *t)
{
    return place_max_slots(&t->root);
}

/* ---- Collections --------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **topology_collections(const struct topology *t, bool include_normal, bool include_ec,
                                  size_t *ret_count)
{
    size_t count = 0;
    const char **names = must(
        calloc(HASH_COUNT(t->collections) + HASH_COUNT(t->ec_volumes) + 1u, sizeof(*names)));
    if (include_normal)
        for (struct collection *c = t->collections; c; c = c->hh.next)
            names[count++] = c->name;
    if (include_ec)
        for (struct ec_volume *v = t->ec_volumes; v; v = v->hh.next)
            names[count++] = v->collection;
    if (count)
        qsort(names, count, sizeof(*names), compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || names[i] != names[kept - 1]) /* interned: equal texts, equal pointers */
            names[kept++] = names[i];
    *ret_count = kept;
    return names;
}

struct node_set {
    struct data_node **nodes;
    size_t count;
    size_t capacity;
};

static void node_set_add(struct node_set *set, struct data_node *n)
{
    set->nodes =
        array_reserve(set->nodes, set->count, &set->capacity, sizeof(struct data_node *));
    set->nodes[set->count++] = n;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct data_node *x = *(struct data_node *const *)a, *y = *(struct data_node *const *)b;
    int order = strcmp(x->url, y->url);
    return order ? order : (x > y) - (x < y);
}

static bool is_of_collection(const struct volume_layout *layout, const char *collection)
{
    return strcmp(layout->key.collection, text_or_empty(collection)) == 0;
}

struct data_node **topology_collection_holders(const struct topology *t, const char *collection,
                                               bool normal, bool ec, size_t *ret_count)
{
    struct node_set set = {must(calloc(4, sizeof(struct data_node *))), 0, 4};
    for (size_t l = 0; normal && l < t->layout_count; l++)
        if (is_of_collection(t->layouts[l], collection))
            for (struct layout_volume *v = t->layouts[l]->volumes; v; v = v->next)
                for (size_t i = 0; i < v->replica_count; i++)
                    node_set_add(&set, v->replicas[i]->node);
    for (struct ec_volume *v = ec ? t->ec_volumes : NULL; v; v = v->hh.next)
        if (strcmp(v->collection, text_or_empty(collection)) == 0)
            for (size_t i = 0; i < v->holder_count; i++)
                node_set_add(&set, v->holders[i]->node);
    if (set.count)
        qsort(set.nodes, set.count, sizeof(*set.nodes), compare_nodes);
    size_t kept = 0;
    for (size_t i = 0; i < set.count; i++)
        if (kept == 0 || set.nodes[i] != set.nodes[kept - 1])
            set.nodes[kept++] = set.nodes[i];
    for (size_t i = 0; i < kept; i++)
        data_node_ref(set.nodes[i]);
    *ret_count = kept;
    return set.nodes;
}

static struct location_update *update_of(struct location_updates *updates, const struct data_node *n)
{
    for (size_t i = updates->count; i-- > 0;)
        if (strcmp(updates->items[i].url, n->url) == 0)
            return &updates->items[i];
    struct location_update *u = location_updates_add(updates);
    update_name_node(u, n);
    return u;
}

static void delete_layout(struct topology *t, struct volume_layout *layout,
                          struct location_updates *updates)
{
    struct layout_volume *v = layout->volumes, *next;
    layout->is_growth_pending = true; /* it must outlive its last replica here */
    for (; v; v = next) {
        next = v->next;
        for (size_t left = v->replica_count; left > 0; left--) {
            struct replica *r = v->replicas[left - 1];
            struct data_node *n = r->node;
            uint32_t id = r->record.id;
            replica_remove(t, r, true);
            if (!replica_is_held(t, n, id))
                id_list_add(&update_of(updates, n)->deleted_vids, id);
        }
    }
    layout_destroy(layout);
}

void topology_delete_collection(struct topology *t, const char *collection, bool normal, bool ec,
                                struct location_updates *updates)
{
    for (size_t i = normal ? t->layout_count : 0; i-- > 0;)
        if (is_of_collection(t->layouts[i], collection))
            delete_layout(t, t->layouts[i], updates);
    struct ec_volume *v, *next;
    if (!ec)
        return;
    HASH_ITER (hh, t->ec_volumes, v, next) {
        if (strcmp(v->collection, text_or_empty(collection)) != 0)
            continue;
        while (v->holder_count) {
            struct ec_holder *h = v->holders[v->holder_count - 1];
            struct data_node *n = h->node;
            ec_holder_remove(t, h);
            if (!ec_is_held(t, n, v->id))
                id_list_add(&update_of(updates, n)->deleted_ec_vids, v->id);
        }
        ec_volume_destroy(t, v);
    }
}
