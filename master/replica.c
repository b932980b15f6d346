/* Replicas: one volume on one disk type of one node. Creating, replacing and removing a record keeps in
 * step what depends on it: the counters of the tree, the node's digest, the volume and its layout.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

struct replica *replica_find(const struct topology *t, const struct data_node *n, size_t type,
                             uint32_t id)
{
    for (struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id)
        for (size_t i = 0; i < v->replica_count; i++)
            if (v->replicas[i]->node == n && v->replicas[i]->type == type)
                return v->replicas[i];
    return NULL;
}

bool replica_is_held(const struct topology *t, const struct data_node *n, uint32_t id)
{
    for (struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id)
        for (size_t i = 0; i < v->replica_count; i++)
            if (v->replicas[i]->node == n)
                return true;
    return false;
}

static bool is_remote(const struct replica *r) { return *r->record.remote_storage_name != '\0'; }

void replica_refresh_active(struct replica *r)
{
    bool is_active = r->volume && !r->record.read_only && r->volume->full_since_ns == 0;
    if (is_active == r->is_counted_active)
        return;
    r->is_counted_active = is_active;
    place_add_usage(&r->node->place, r->type, &(struct disk_usage){.active = is_active ? 1 : -1});
}

/* Reuses the old pointer when the text did not change: the common case costs one comparison. */
static const char *intern_again(struct topology *t, const char *old, const char *text)
{
    text = text_or_empty(text);
    return old && strcmp(old, text) == 0 ? old : name_pool_intern(&t->names, text);
}

static void set_record(struct topology *t, struct replica *r, const struct volume_record *record)
{
    const char *collection = intern_again(t, r->record.collection, record->collection);
    const char *disk_type = intern_again(t, r->record.disk_type, record->disk_type);
    const char *remote = intern_again(t, r->record.remote_storage_name, record->remote_storage_name);
    r->record = *record;
    r->record.collection = collection;
    r->record.disk_type = disk_type;
    r->record.remote_storage_name = remote;
    r->node->digest ^= r->digest;
    r->digest = volume_digest_of(&r->record);
    r->node->digest ^= r->digest;
}

static bool is_in_layout(const struct replica *r, const struct volume_layout *layout)
{
    const struct layout_key *k = &layout->key;
    return k->collection == r->record.collection && k->disk_type == r->type &&
           k->placement == (r->record.replica_placement & 0xff) &&
           k->ttl == (r->record.ttl & 0xffff);
}

/* Into the layout that its record names; out of the one it was in. */
static void join_layout(struct topology *t, struct replica *r, int64_t now)
{
    if (r->volume) {
        if (is_in_layout(r, r->volume->layout))
            return;
        struct layout_volume *old = r->volume;
        struct volume_layout *old_layout = old->layout;
        if (layout_volume_remove_replica(old, r))
            volume_evaluate(old, now);
        else
            layout_destroy_if_unused(old_layout);
    }
    struct volume_layout *layout = layout_open(t, r->record.collection, r->type,
                                               r->record.replica_placement, r->record.ttl);
    struct layout_volume *v = layout_volume_open(layout, r->record.id);
    layout_volume_add_replica(v, r);
    if (!r->record.read_only && !v->is_tracked) {
        volume_start_tracking(v, r->record.size, now);
        v->compact_revision = r->record.compact_revision;
    }
}

static struct replica *replica_create(struct data_node *n, size_t type, int64_t now)
{
    struct replica *r = must(calloc(1, sizeof(*r)));
    struct node_disk *disk = data_node_disk(n, type);
    CHECK(type <= UINT16_MAX && disk->replica_count < UINT32_MAX);
    r->node = n;
    r->type = (uint16_t)type;
    r->registered_ns = now;
    r->disk_index = (uint32_t)disk->replica_count;
    disk->replicas = array_reserve(disk->replicas, disk->replica_count, &disk->replica_capacity,
                                   sizeof(struct replica *));
    disk->replicas[disk->replica_count++] = r;
    return r;
}

static void end_provisional(struct replica *r)
{
    r->node->provisional_count -= r->is_provisional;
    r->is_provisional = false;
}

void replica_make_provisional(struct topology *t, struct replica *r)
{
    CHECK(!r->is_provisional);
    r->is_provisional = true;
    r->node->provisional_count++;
    r->node->provisional_ns = topology_now(t);
    r->node->digest ^= r->digest;
    r->digest = 0;
}

enum replica_change replica_upsert(struct topology *t, struct data_node *n, size_t type,
                                   const struct volume_record *record, bool is_mention,
                                   struct replica **ret)
{
    int64_t now = topology_now(t);
    struct replica *r = replica_find(t, n, type, record->id);
    enum replica_change change = REPLICA_SAME;
    bool was_remote = false;
    if (!r) {
        r = replica_create(n, type, now);
        change = REPLICA_NEW;
    } else {
        was_remote = is_remote(r);
        const char *remote = text_or_empty(record->remote_storage_name);
        if (r->record.read_only != record->read_only ||
            r->record.read_only_can_delete != record->read_only_can_delete ||
            was_remote != (*remote != '\0'))
            change = REPLICA_PROPERTY;
    }
    set_record(t, r, record);
    struct disk_usage delta = {.volumes = change == REPLICA_NEW, .remote = is_remote(r) - was_remote};
    if (delta.volumes || delta.remote)
        place_add_usage(&n->place, type, &delta);
    if (r->is_marked_read_only && is_mention && !record->read_only &&
        now - r->marked_ns >= MARK_GRACE_NS)
        r->is_marked_read_only = false;
    end_provisional(r);
    topology_raise_max_volume_id(t, record->id);

    join_layout(t, r, now);
    replica_refresh_active(r);
    if (is_mention)
        volume_mention(r->volume, r, now);
    else
        volume_evaluate(r->volume, now);
    *ret = r;
    return change;
}

void replica_remove(struct topology *t, struct replica *r, bool is_explicit)
{
    struct data_node *n = r->node;
    struct layout_volume *v = r->volume;
    struct volume_layout *layout = v->layout;
    struct disk_usage delta = {
        .volumes = -1, .remote = -is_remote(r), .active = -r->is_counted_active};
    r->is_counted_active = false;
    if (layout_volume_remove_replica(v, r))
        volume_evaluate(v, topology_now(t));
    else if (is_explicit)
        layout_destroy_if_unused(layout);

    struct node_disk *disk = data_node_disk(n, r->type);
    struct replica *last = disk->replicas[--disk->replica_count];
    disk->replicas[r->disk_index] = last;
    last->disk_index = r->disk_index;
    n->digest ^= r->digest;
    end_provisional(r);
    place_add_usage(&n->place, r->type, &delta);
    free(r);
}
