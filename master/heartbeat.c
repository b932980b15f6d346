/* Applying a heartbeat to the node it came from, in the order of spec/master-rpc.md 4.2 steps 4 to 12.
 *
 * The cost is that of what the message names: a quiet beat of a server with 100,000 volumes touches none
 * of them, because the digest is kept up to date with each change. Disk types are looked up for all
 * records first, so that a message is either applied whole or refused whole.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

/* ---- Before anything changes --------------------------------------------------------------------- */

static int open_volume_types(struct topology *t, const struct volume_record *records, size_t count,
                             struct error *err)
{
    const char *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *text = text_or_empty(records[i].disk_type);
        size_t type;
        if (last && strcmp(last, text) == 0)
            continue;
        last = text;
        int code = disk_type_open(t, text, &type, err);
        if (code)
            return code;
    }
    return 0;
}

static int open_ec_types(struct topology *t, const struct ec_record *records, size_t count,
                         struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t type;
        int code = disk_type_open(t, records[i].disk_type, &type, err);
        if (code)
            return code;
    }
    return 0;
}

static int open_count_types(struct topology *t, const struct disk_type_count *counts, size_t count,
                            struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t type;
        int code = disk_type_open(t, counts[i].disk_type, &type, err);
        if (code)
            return code;
    }
    return 0;
}

static int open_types(struct topology *t, const struct heartbeat *h, struct error *err)
{
    int code = open_volume_types(t, h->volumes, h->volume_count, err);
    if (!code)
        code = open_volume_types(t, h->changed_volumes, h->changed_volume_count, err);
    if (!code)
        code = open_volume_types(t, h->new_volumes, h->new_volume_count, err);
    if (!code)
        code = open_ec_types(t, h->ec_shards, h->ec_shard_count, err);
    if (!code)
        code = open_ec_types(t, h->new_ec_shards, h->new_ec_shard_count, err);
    if (!code)
        code = open_count_types(t, h->max_volume_counts, h->max_volume_count_count, err);
    if (!code)
        code = open_count_types(t, h->disk_total_bytes, h->disk_total_bytes_count, err);
    if (!code)
        code = open_count_types(t, h->disk_free_bytes, h->disk_free_bytes_count, err);
    for (size_t i = 0; !code && i < h->disk_tag_count; i++) {
        size_t type;
        code = disk_type_open(t, h->disk_tags[i].disk_type, &type, err);
    }
    return code;
}

/* ---- Counters and state -------------------------------------------------------------------------- */

static void apply_counts(struct topology *t, struct data_node *n, const struct heartbeat *h)
{
    for (size_t i = 0; i < h->max_volume_count_count; i++) {
        const struct disk_type_count *c = &h->max_volume_counts[i];
        size_t type = disk_type_find(t, c->disk_type);
        int64_t max = (int64_t)(c->value > INT32_MAX ? INT32_MAX : c->value);
        int64_t delta = max - place_disk(&n->place, type)->usage.max;
        if (max > 0 && delta) /* 0 is "not known yet": an auto-sized disk before its first probe */
            place_add_usage(&n->place, type, &(struct disk_usage){.max = delta});
    }
    for (size_t i = 0; i < h->disk_total_bytes_count; i++) {
        const struct disk_type_count *c = &h->disk_total_bytes[i];
        size_t type = disk_type_find(t, c->disk_type);
        uint64_t delta = c->value - place_disk(&n->place, type)->usage.total_bytes;
        place_add_usage(&n->place, type, &(struct disk_usage){.total_bytes = delta});
    }
    for (size_t i = 0; i < h->disk_free_bytes_count; i++) {
        const struct disk_type_count *c = &h->disk_free_bytes[i];
        size_t type = disk_type_find(t, c->disk_type);
        uint64_t delta = c->value - place_disk(&n->place, type)->usage.free_bytes;
        place_add_usage(&n->place, type, &(struct disk_usage){.free_bytes = delta});
    }
    if (h->disk_tag_count)
        data_node_set_tags(t, n, h->disk_tags, h->disk_tag_count);
}

static void apply_state(struct topology *t, struct data_node *n, const struct heartbeat *h)
{
    if (!h->has_state || n->is_in_maintenance == h->is_in_maintenance)
        return;
    n->is_in_maintenance = h->is_in_maintenance;
    data_node_refresh_blocked(n);
    int64_t now = topology_now(t);
    for (size_t type = 0; type < n->disk_count; type++)
        for (size_t i = 0; i < n->disks[type].replica_count; i++)
            volume_evaluate(n->disks[type].replicas[i]->volume, now);
}

/* ---- Volumes ------------------------------------------------------------------------------------- */

static void apply_event_delta(struct topology *t, struct data_node *n, const struct heartbeat *h,
                              struct location_update *update)
{
    for (size_t i = 0; i < h->deleted_volume_count; i++) {
        const struct volume_record *d = &h->deleted_volumes[i];
        size_t type = disk_type_find(t, d->disk_type);
        struct replica *r = type == NO_DISK_TYPE ? NULL : replica_find(t, n, type, d->id);
        if (r)
            replica_remove(t, r, true);
    }
    for (size_t i = 0; i < h->new_volume_count; i++) {
        struct replica *r;
        const struct volume_record *record = &h->new_volumes[i];
        replica_upsert(t, n, disk_type_find(t, record->disk_type), record, false, &r);
        update_add_new(update, n, &r->record);
    }
    /* An id that is deleted and new at once is new. */
    for (size_t i = 0; i < h->deleted_volume_count; i++)
        if (!replica_is_held(t, n, h->deleted_volumes[i].id))
            update_add_deleted(update, n, h->deleted_volumes[i].id);
}

static void apply_mention(struct topology *t, struct data_node *n, const struct volume_record *record,
                          struct location_update *update)
{
    struct replica *r;
    size_t type = disk_type_find(t, record->disk_type);
    if (replica_upsert(t, n, type, record, true, &r) != REPLICA_SAME)
        update_add_new(update, n, &r->record);
    if (r->seen_epoch == n->list_epoch)
        n->has_duplicate_ids = true;
    r->seen_epoch = n->list_epoch;
}

static void apply_full_list(struct topology *t, struct data_node *n, const struct heartbeat *h,
                            struct location_update *update)
{
    n->list_epoch++;
    n->has_duplicate_ids = false;
    for (size_t i = 0; i < h->volume_count; i++)
        apply_mention(t, n, &h->volumes[i], update);

    int64_t now = topology_now(t);
    for (size_t type = 0; type < n->disk_count; type++)
        for (size_t i = n->disks[type].replica_count; i-- > 0;) {
            struct replica *r = n->disks[type].replicas[i];
            if (r->seen_epoch == n->list_epoch ||
                (r->is_provisional && now - r->registered_ns < PROVISIONAL_GRACE_NS))
                continue;
            uint32_t id = r->record.id;
            replica_remove(t, r, true);
            if (!replica_is_held(t, n, id))
                update_add_deleted(update, n, id);
        }
}

static void apply_changed(struct topology *t, struct data_node *n, const struct heartbeat *h,
                          struct location_update *update)
{
    for (size_t i = 0; i < h->changed_volume_count; i++) {
        struct replica *r;
        const struct volume_record *record = &h->changed_volumes[i];
        size_t type = disk_type_find(t, record->disk_type);
        if (replica_upsert(t, n, type, record, true, &r) != REPLICA_SAME)
            update_add_new(update, n, &r->record);
    }
}

/* ---- EC shards ----------------------------------------------------------------------------------- */

static void apply_ec_delta(struct topology *t, struct data_node *n, const struct heartbeat *h,
                           struct location_update *update)
{
    if (h->new_ec_shard_count + h->deleted_ec_shard_count == 0)
        return;
    update_name_node(update, n);
    for (size_t i = 0; i < h->new_ec_shard_count; i++) {
        const struct ec_record *record = &h->new_ec_shards[i];
        ec_merge(t, n, disk_type_find(t, record->disk_type), record);
        id_list_add(&update->new_ec_vids, record->id);
    }
    for (size_t i = 0; i < h->deleted_ec_shard_count; i++) {
        const struct ec_record *record = &h->deleted_ec_shards[i];
        ec_subtract(t, n, record);
        if (!ec_is_held(t, n, record->id))
            id_list_add(&update->deleted_ec_vids, record->id);
    }
}

static void apply_ec_full_list(struct topology *t, struct data_node *n, const struct heartbeat *h,
                               struct location_update *update)
{
    struct id_list lost = {0};
    n->list_epoch++;
    update_name_node(update, n);
    for (size_t i = 0; i < h->ec_shard_count; i++) {
        uint32_t gained_bits, lost_bits;
        const struct ec_record *record = &h->ec_shards[i];
        ec_replace(t, n, disk_type_find(t, record->disk_type), record, &gained_bits, &lost_bits);
        if (gained_bits)
            id_list_add(&update->new_ec_vids, record->id);
        if (lost_bits)
            id_list_add(&lost, record->id);
    }
    for (size_t type = 0; type < n->disk_count; type++)
        for (size_t i = n->disks[type].ec_count; i-- > 0;) {
            struct ec_holder *holder = n->disks[type].ecs[i];
            if (holder->seen_epoch == n->list_epoch)
                continue;
            id_list_add(&lost, holder->record.id);
            ec_holder_remove(t, holder);
        }
    id_list_sort_unique(&lost);
    for (size_t i = 0; i < lost.count; i++)
        if (!ec_is_held(t, n, lost.ids[i]) && !replica_is_held(t, n, lost.ids[i]))
            id_list_add(&update->deleted_ec_vids, lost.ids[i]);
    id_list_fini(&lost);
}

/* ---- The whole message --------------------------------------------------------------------------- */

static bool is_full_list(const struct heartbeat *h) { return h->volume_count || h->has_no_volumes; }

/* False: nothing of the message may be applied. */
static bool attach_again(struct topology *t, struct data_node *n, const struct heartbeat *h,
                         struct heartbeat_result *ret)
{
    if (n->place.parent)
        return true;
    struct place *dc = place_find_child(&t->root, n->data_center);
    struct place *rack = dc ? place_find_child(dc, n->rack) : NULL;
    if (rack && place_find_child(rack, n->id)) {
        ret->is_superseded = true;
        return false;
    }
    if (!is_full_list(h) || !h->ip || !*h->ip) {
        ret->needs_full_list = h->has_volume_digest;
        return false;
    }
    return topology_attach_node(t, n);
}

/* A beat may have been on its way when growth made a volume, so one that does not know of it yet is no
 * disagreement; one that does not name it for longer than the grace is. */
static bool agrees(const struct topology *t, const struct data_node *n, const struct heartbeat *h)
{
    bool is_forgotten = n->provisional_count > 0 &&
                        topology_now(t) - n->provisional_ns >= PROVISIONAL_GRACE_NS;
    return !n->has_duplicate_ids && !is_forgotten && n->digest == h->volume_digest;
}

int topology_apply_heartbeat(struct topology *t, struct data_node *n, const struct heartbeat *h,
                             struct heartbeat_result *ret, struct location_update *update,
                             struct error *err)
{
    *ret = (struct heartbeat_result){0};
    int code = open_types(t, h, err);
    if (code || !attach_again(t, n, h, ret))
        return code;

    apply_counts(t, n, h);
    apply_state(t, n, h);
    apply_event_delta(t, n, h, update);
    apply_changed(t, n, h, update);
    if (is_full_list(h))
        apply_full_list(t, n, h, update);
    apply_ec_delta(t, n, h, update);
    if (h->ec_shard_count || h->has_no_ec_shards)
        apply_ec_full_list(t, n, h, update);

    if (h->has_volume_digest && !agrees(t, n, h)) {
        if (is_full_list(h))
            ret->digest_mismatch_in_full_list = true;
        else
            ret->needs_full_list = true;
    }
    return 0;
}
