/* The life of a node: registration, the uuids of its directories, detachment, and the lists that clients
 * are told. Source: spec/master-rpc.md 4.2 step 3, 4.3 to 4.5.
 *
 *            register                          last stream ends, or a refused duplicate
 *   unknown ----------> attached (in the tree) ------------------------------------> detached
 *                            ^    a full list on a stream that is still bound           |
 *                            '----------------------------------------------------------'
 *   A detached node holds nothing; its object goes with its last reference.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

#include <ctype.h>

/* ---- Location updates ---------------------------------------------------------------------------- */

void update_name_node(struct location_update *u, const struct data_node *n)
{
    if (u->url)
        return;
    u->url = must(strdup(n->url));
    u->public_url = must(strdup(n->public_url));
    u->data_center = must(strdup(n->data_center));
    u->grpc_port = n->grpc_port;
}

void update_add_new(struct location_update *u, const struct data_node *n,
                    const struct volume_record *record)
{
    update_name_node(u, n);
    id_list_add(&u->new_vids, record->id);
    if (*text_or_empty(record->remote_storage_name))
        id_list_add(&u->remote_vids, record->id);
    if (record->read_only)
        id_list_add(&u->read_only_vids, record->id);
    if (record->read_only_can_delete)
        id_list_add(&u->read_only_can_delete_vids, record->id);
}

void update_add_deleted(struct location_update *u, const struct data_node *n, uint32_t id)
{
    update_name_node(u, n);
    id_list_add(&u->deleted_vids, id);
}

void topology_describe_node(const struct topology *t, const struct data_node *n,
                            struct location_update *u)
{
    (void)t;
    update_name_node(u, n);
    for (size_t type = 0; type < n->disk_count; type++) {
        const struct node_disk *disk = &n->disks[type];
        for (size_t i = 0; i < disk->replica_count; i++)
            update_add_new(u, n, &disk->replicas[i]->record);
        for (size_t i = 0; i < disk->ec_count; i++)
            id_list_add(&u->new_ec_vids, disk->ecs[i]->record.id);
    }
    id_list_sort_unique(&u->new_vids);
    id_list_sort_unique(&u->new_ec_vids);
    id_list_sort_unique(&u->remote_vids);
    id_list_sort_unique(&u->read_only_vids);
    id_list_sort_unique(&u->read_only_can_delete_vids);
}

/* ---- Directory uuids ----------------------------------------------------------------------------- */

static struct directory_uuid *uuid_find(const struct topology *t, const char *uuid)
{
    struct directory_uuid *d;
    HASH_FIND_STR(t->uuids, uuid, d);
    return d;
}

static void uuids_release(struct topology *t, struct data_node *n)
{
    for (size_t i = 0; i < n->uuid_count; i++) {
        struct directory_uuid *d = uuid_find(t, n->uuids[i]);
        if (d && d->node == n) {
            HASH_DEL(t->uuids, d);
            free(d->address);
            free(d->uuid);
            free(d);
        }
        free(n->uuids[i]);
    }
    free(n->uuids);
    n->uuids = NULL;
    n->uuid_count = 0;
}

/* Those free to take; a uuid that another node of the same address left behind changes hands. */
static void uuids_claim(struct topology *t, struct data_node *n, const char *const *uuids,
                        size_t count)
{
    uuids_release(t, n);
    n->uuids = must(calloc(count + 1, sizeof(*n->uuids)));
    for (size_t i = 0; i < count; i++) {
        struct directory_uuid *d = uuid_find(t, uuids[i]);
        n->uuids[n->uuid_count++] = must(strdup(uuids[i]));
        if (d) {
            d->node = n;
            continue;
        }
        d = must(calloc(1, sizeof(*d)));
        d->node = n;
        d->address = must(strdup(n->url));
        d->uuid = must(strdup(uuids[i]));
        HASH_ADD_KEYPTR(hh, t->uuids, d->uuid, strlen(d->uuid), d);
    }
}

static size_t uuids_conflicts(const struct topology *t, const char *url, const struct heartbeat *h,
                              const char **ret_duplicates, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < h->location_uuid_count; i++) {
        const struct directory_uuid *d = uuid_find(t, h->location_uuids[i]);
        if (!d || strcmp(d->address, url) == 0)
            continue;
        if (ret_duplicates && count < room)
            ret_duplicates[count] = h->location_uuids[i];
        count++;
    }
    return count;
}

/* ---- In and out of the tree ---------------------------------------------------------------------- */

static struct place *open_rack(struct topology *t, const char *data_center, const char *rack)
{
    struct place *dc = place_open_child(&t->root, PLACE_DATA_CENTER, data_center);
    return place_open_child(dc, PLACE_RACK, rack);
}

bool topology_attach_node(struct topology *t, struct data_node *n)
{
    struct place *rack = open_rack(t, n->data_center, n->rack);
    if (place_find_child(rack, n->id))
        return false;
    place_attach(rack, &n->place);
    data_node_ref(n);
    return true;
}

void topology_detach_node(struct topology *t, struct data_node *n, struct location_update *update)
{
    if (!n->place.parent)
        return;
    struct id_list volumes = {0}, ecs = {0};
    for (size_t type = 0; type < n->disk_count; type++) {
        struct node_disk *disk = &n->disks[type];
        while (disk->replica_count) {
            struct replica *r = disk->replicas[disk->replica_count - 1];
            id_list_add(&volumes, r->record.id);
            replica_remove(t, r, false);
        }
        while (disk->ec_count) {
            struct ec_holder *h = disk->ecs[disk->ec_count - 1];
            id_list_add(&ecs, h->record.id);
            ec_holder_remove(t, h);
        }
    }
    id_list_sort_unique(&volumes);
    id_list_sort_unique(&ecs);
    if (update && (volumes.count || ecs.count)) {
        update_name_node(update, n);
        for (size_t i = 0; i < volumes.count; i++)
            id_list_add(&update->deleted_vids, volumes.ids[i]);
        for (size_t i = 0; i < ecs.count; i++)
            id_list_add(&update->deleted_ec_vids, ecs.ids[i]);
    }
    id_list_fini(&volumes);
    id_list_fini(&ecs);
    uuids_release(t, n);
    place_detach(&n->place);
    data_node_unref(n);
}

void topology_unregister_node(struct topology *t, struct data_node *n,
                              struct location_update *update)
{
    CHECK(n->streams > 0);
    if (--n->streams == 0)
        topology_detach_node(t, n, update);
    data_node_unref(n);
}

/* ---- Registration -------------------------------------------------------------------------------- */

/* malloc'd: the trimmed id, or the address when it is blank. */
static char *node_id_of(const struct heartbeat *h, const char *url)
{
    const char *id = text_or_empty(h->id);
    while (isspace((unsigned char)*id))
        id++;
    size_t length = strlen(id);
    while (length && isspace((unsigned char)id[length - 1]))
        length--;
    return must(length ? strndup(id, length) : strdup(url));
}

/* A node keyed by its address gets the explicit id that its server now has. */
static struct data_node *rename_node(struct place *rack, const char *url, const char *id)
{
    struct place *p = place_find_child(rack, url);
    struct data_node *n = (struct data_node *)p;
    if (!n || strcmp(n->url, url) != 0)
        return NULL;
    place_detach(p);
    data_node_set_id(n, id);
    place_attach(rack, p);
    return n;
}

/* The node this identity means; NULL when there is none yet. */
static struct data_node *find_by_identity(struct place *rack, const char *id, const char *url)
{
    struct data_node *n = (struct data_node *)place_find_child(rack, id);
    return n ? n : rename_node(rack, url, id);
}

static struct data_node *create_node(struct topology *t, const struct place *rack, const char *id,
                                     const struct heartbeat *h)
{
    struct data_node *n = data_node_create(id);
    n->rack = rack->id;
    n->data_center = rack->parent->id;
    data_node_set_address(n, h->ip, h->port, h->grpc_port, h->public_url);
    for (size_t i = 0; i < h->max_volume_count_count; i++) /* listed even when its maximum is 0 */
        place_disk(&n->place, disk_type_find(t, h->max_volume_counts[i].disk_type));
    CHECK(topology_attach_node(t, n));
    return n;
}

/* What clients know under the old address is withdrawn there; the full list that follows names it anew. */
static void move_node(struct topology *t, struct data_node *n, const struct heartbeat *h,
                      const char *url, struct location_update *update)
{
    bool is_moved = strcmp(n->url, url) != 0;
    data_node_ref(n);
    if (is_moved)
        topology_detach_node(t, n, update);
    data_node_set_address(n, h->ip, h->port, h->grpc_port, h->public_url);
    if (is_moved)
        CHECK(topology_attach_node(t, n));
    data_node_unref(n);
}

static const char *name_or(struct topology *t, const char *name, const char *otherwise)
{
    return name_pool_intern(&t->names, name && *name ? name : otherwise);
}

int topology_register_node(struct topology *t, const struct heartbeat *h, struct data_node **ret_node,
                           const char **ret_duplicates, size_t room, size_t *ret_duplicate_count,
                           struct location_update *ret_update, struct error *err)
{
    *ret_duplicate_count = 0;
    if (!h->ip || !*h->ip)
        return error_set(err, KELP_E_INVALID, "a volume server registers with its ip");
    for (size_t i = 0; i < h->max_volume_count_count; i++) {
        size_t type;
        int code = disk_type_open(t, h->max_volume_counts[i].disk_type, &type, err);
        if (code)
            return code;
    }
    char *url = data_node_url_of(h->ip, h->port);
    char *id = node_id_of(h, url);
    struct place *rack = open_rack(t, name_or(t, h->data_center, "DefaultDataCenter"),
                                   name_or(t, h->rack, "DefaultRack"));
    struct data_node *n = find_by_identity(rack, id, url);
    size_t conflicts = uuids_conflicts(t, url, h, ret_duplicates, room);
    int code = 0;
    if (conflicts) {
        *ret_duplicate_count = conflicts < room ? conflicts : room;
        if (n) /* a stale one of the same server: its retry then succeeds */
            topology_detach_node(t, n, ret_update);
        code = error_set(err, KELP_E_EXISTS, "volume: Duplicated volume directories were loaded");
    } else {
        if (n)
            move_node(t, n, h, url, ret_update);
        else
            n = create_node(t, rack, id, h);
        uuids_claim(t, n, h->location_uuids, h->location_uuid_count);
        n->streams++;
        data_node_ref(n);
        *ret_node = n;
    }
    free(id);
    free(url);
    return code;
}

struct data_node *topology_find_node(const struct topology *t, const char *url)
{
    for (size_t d = 0; d < t->root.child_count; d++)
        for (size_t r = 0; r < t->root.children[d]->child_count; r++) {
            const struct place *rack = t->root.children[d]->children[r];
            for (size_t i = 0; i < rack->child_count; i++) {
                struct data_node *n = (struct data_node *)rack->children[i];
                if (strcmp(n->url, url) == 0)
                    return n;
            }
        }
    return NULL;
}
