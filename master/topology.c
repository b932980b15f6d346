/* The topology as a whole: its life, leadership, and events that concern one volume. Heartbeats are in
 * heartbeat.c, nodes in topology_node.c, questions in topology_lookup.c and topology_statistics.c.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

void topology_options_default(struct topology_options *ret)
{
    *ret = (struct topology_options){
        .volume_size_limit_bytes = 30000ull << 20,
        .growth_threshold = 0.9,
        .growth_copies = {1, 7, 6, 3},
    };
}

struct topology *topology_create(const struct topology_options *options, struct topology_env env)
{
    struct topology *t = must(calloc(1, sizeof(*t)));
    t->options = *options;
    t->env = env;
    name_pool_init(&t->names);
    t->root.kind = PLACE_TOPOLOGY;
    t->root.id = "topo";
    return t;
}

const struct topology_options *topology_options(const struct topology *t) { return &t->options; }

/* Back to an empty tree; highest volume id, disk types and names stay. */
static void forget_everything(struct topology *t)
{
    while (t->root.child_count) {
        struct place *dc = t->root.children[t->root.child_count - 1];
        while (dc->child_count) {
            struct place *rack = dc->children[dc->child_count - 1];
            while (rack->child_count)
                topology_detach_node(t, (struct data_node *)rack->children[rack->child_count - 1],
                                     NULL);
            place_detach(rack);
            place_fini(rack);
            free(rack);
        }
        place_detach(dc);
        place_fini(dc);
        free(dc);
    }
    place_fini(&t->root);
    while (t->layout_count)
        layout_destroy(t->layouts[t->layout_count - 1]);
    struct ec_volume *v, *next;
    HASH_ITER (hh, t->ec_volumes, v, next)
        ec_volume_destroy(t, v);
}

void topology_destroy(struct topology *t)
{
    if (!t)
        return;
    forget_everything(t);
    free(t->layouts);
    name_pool_fini(&t->names);
    free(t);
}

/* ---- Leadership ---------------------------------------------------------------------------------- */

void topology_begin_leadership(struct topology *t, bool found_state)
{
    forget_everything(t);
    t->warm_up_end_ns = found_state ? topology_now(t) + TOPOLOGY_WARM_UP_SECONDS * NANOSECONDS : 0;
}

int64_t topology_warm_up_left_ns(const struct topology *t)
{
    int64_t left = t->warm_up_end_ns ? t->warm_up_end_ns - topology_now(t) : 0;
    return left > 0 ? left : 0;
}

uint32_t topology_max_volume_id(const struct topology *t) { return t->max_volume_id; }

void topology_raise_max_volume_id(struct topology *t, uint32_t id)
{
    if (id > t->max_volume_id)
        t->max_volume_id = id;
}

/* ---- One volume ---------------------------------------------------------------------------------- */

int topology_register_grown_volume(struct topology *t, uint32_t id, const struct volume_option *option,
                                   struct data_node *const *nodes, size_t node_count,
                                   struct location_updates *updates, struct error *err)
{
    size_t type;
    int code = disk_type_open(t, option->disk_type, &type, err);
    if (code)
        return code;
    struct volume_record record = {
        .id = id,
        .collection = option->collection,
        .disk_type = topology_disk_type_name(t, type),
        .replica_placement = replica_placement_to_byte(option->placement),
        .ttl = ttl_to_u32(option->ttl),
        .version = option->version ? option->version : 3,
        .modified_at_second = topology_now(t) / NANOSECONDS,
    };
    for (size_t i = 0; i < node_count; i++) {
        struct data_node *n = nodes[i];
        /* Gone meanwhile, or its own report was faster than the answer to our call. */
        if (!n->place.parent || replica_find(t, n, type, id))
            continue;
        struct replica *r;
        replica_upsert(t, n, type, &record, false, &r);
        replica_make_provisional(t, r);
        if (updates)
            update_add_new(location_updates_add(updates), n, &record);
    }
    return 0;
}

void topology_remove_replica(struct topology *t, struct data_node *n, uint32_t id,
                             struct location_update *update)
{
    bool is_removed = false;
    for (size_t type = 0; type < t->disk_type_count; type++) {
        struct replica *r = replica_find(t, n, type, id);
        if (r) {
            replica_remove(t, r, true);
            is_removed = true;
        }
    }
    if (is_removed)
        update_add_deleted(update, n, id);
}

static void mark(struct replica *r, bool is_read_only, int64_t now)
{
    r->is_marked_read_only = is_read_only;
    r->marked_ns = now;
    volume_evaluate(r->volume, now);
}

bool topology_mark_read_only(struct topology *t, uint32_t id, const struct volume_option *option,
                             const char *ip, uint32_t port, bool is_read_only)
{
    const struct volume_layout *wanted = layout_of_option(t, option);
    struct replica *exact = NULL, *any = NULL;
    for (struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id)
        for (size_t i = 0; i < v->replica_count; i++) {
            struct replica *r = v->replicas[i];
            if (r->node->port != port || strcmp(r->node->ip, text_or_empty(ip)) != 0)
                continue;
            any = r;
            if (v->layout == wanted)
                exact = r;
        }
    struct replica *r = exact ? exact : any;
    if (r)
        mark(r, is_read_only, topology_now(t));
    return r != NULL;
}
