/* Which volumes may be written. One function decides, volume_evaluate, from the records of the replicas
 * and the size estimate; every event that could change the answer calls it.
 *
 * The estimate: effective = what the servers reported last + what was assigned since. It lets a volume go
 * full before a report says so. A volume that went full by estimate rests for 30 s, so that it does not
 * flap while its writes arrive.
 *
 *      assign: effective >= limit            mention or scan: 30 s over and effective < limit
 *   listed ---------------------> full_since set -----------------------------------> listed
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

/* The estimate stays below so many times the size limit. */
#define ASSIGN_LIMITS_MAX 16u

static uint64_t size_limit(const struct layout_volume *v)
{
    return v->layout->topology->options.volume_size_limit_bytes;
}

static bool is_crowding(const struct layout_volume *v, uint64_t size)
{
    return (double)size > (double)size_limit(v) * v->layout->topology->options.growth_threshold;
}

bool volume_is_room_left(const struct layout_volume *v)
{
    return !v->is_tracked || !is_crowding(v, v->effective_size);
}

/* ---- The writable list --------------------------------------------------------------------------- */

static void set_full_since(struct layout_volume *v, int64_t when)
{
    if (v->full_since_ns == when)
        return;
    v->full_since_ns = when;
    for (size_t i = 0; i < v->replica_count; i++)
        replica_refresh_active(v->replicas[i]);
}

void volume_list(struct layout_volume *v)
{
    set_full_since(v, 0);
    if (v->writable_index != NOT_WRITABLE)
        return;
    struct volume_layout *layout = v->layout;
    layout->writables = array_reserve(layout->writables, layout->writable_count,
                                      &layout->writable_capacity, sizeof(struct layout_volume *));
    v->writable_index = layout->writable_count;
    layout->writables[layout->writable_count++] = v;
    layout->crowded_count += v->is_crowded;
}

void volume_unlist(struct layout_volume *v)
{
    if (v->writable_index == NOT_WRITABLE)
        return;
    struct volume_layout *layout = v->layout;
    struct layout_volume *last = layout->writables[--layout->writable_count];
    layout->writables[v->writable_index] = last;
    last->writable_index = v->writable_index;
    v->writable_index = NOT_WRITABLE;
    layout->crowded_count -= v->is_crowded;
}

void volume_set_crowded(struct layout_volume *v, bool is_crowded)
{
    if (v->is_crowded == is_crowded)
        return;
    v->is_crowded = is_crowded;
    if (v->writable_index != NOT_WRITABLE)
        v->layout->crowded_count += is_crowded ? 1 : (size_t)-1;
}

/* ---- What a volume must have --------------------------------------------------------------------- */

/* Two node objects at one address are one copy: a server that changed its rack is seen twice until its
 * old stream ends. */
size_t volume_distinct_copies(const struct layout_volume *v)
{
    size_t count = 0;
    for (size_t i = 0; i < v->replica_count; i++) {
        bool is_repeated = false;
        for (size_t j = 0; j < i && !is_repeated; j++)
            is_repeated = data_node_same_address(v->replicas[i]->node, v->replicas[j]->node);
        count += !is_repeated;
    }
    return count;
}

bool volume_has_enough_copies(const struct layout_volume *v)
{
    size_t wanted =
        replica_placement_copies(replica_placement_from_byte((uint8_t)v->layout->key.placement));
    size_t copies = volume_distinct_copies(v);
    return copies == wanted ||
           (copies > wanted && v->layout->topology->options.treat_replication_as_minimums);
}

static bool is_all_writable(const struct layout_volume *v)
{
    for (size_t i = 0; i < v->replica_count; i++)
        if (v->replicas[i]->record.read_only || v->replicas[i]->is_marked_read_only ||
            v->replicas[i]->node->is_in_maintenance)
            return false;
    return true;
}

/* Right after a commit the records still show the size before it. */
static bool is_size_outdated(const struct layout_volume *v, int64_t now)
{
    return v->vacuumed_ns && now - v->vacuumed_ns < VACUUM_SIZE_GRACE_NS;
}

static uint64_t largest_size(const struct layout_volume *v)
{
    uint64_t size = 0;
    for (size_t i = 0; i < v->replica_count; i++)
        if (v->replicas[i]->record.size > size)
            size = v->replicas[i]->record.size;
    return size;
}

static bool is_oversized(const struct layout_volume *v, int64_t now)
{
    return !is_size_outdated(v, now) && largest_size(v) >= size_limit(v);
}

void volume_evaluate(struct layout_volume *v, int64_t now)
{
    if (v->vacuum_holds || !volume_has_enough_copies(v) || !is_all_writable(v) ||
        is_oversized(v, now)) {
        volume_unlist(v);
        return;
    }
    bool is_resting = v->full_since_ns && now - v->full_since_ns < CAPACITY_RECOVERY_NS;
    if (v->is_tracked && (is_resting || v->effective_size >= size_limit(v)))
        return;
    volume_list(v);
}

/* ---- The size estimate --------------------------------------------------------------------------- */

void volume_start_tracking(struct layout_volume *v, uint64_t size, int64_t now)
{
    v->is_tracked = true;
    v->effective_size = v->reported_size = size;
    v->size_update_ns = now;
    volume_set_crowded(v, is_crowding(v, size));
}

/* `r` is the replica whose report arrived; its record is the new one. */
void volume_mention(struct layout_volume *v, const struct replica *r, int64_t now)
{
    uint64_t size = r->record.size;
    if (!is_all_writable(v)) {
        v->is_tracked = false;
        volume_set_crowded(v, false);
    } else if (!v->is_tracked) {
        volume_start_tracking(v, size, now);
        v->compact_revision = r->record.compact_revision;
    } else if (now - v->size_update_ns >= SIZE_UPDATE_PAUSE_NS) {
        v->size_update_ns = now;
        v->reported_size = size;
        if (v->compact_revision != r->record.compact_revision || v->effective_size <= size)
            v->effective_size = size;
        else
            v->effective_size = size + (v->effective_size - size) / 2;
        v->compact_revision = r->record.compact_revision;
        volume_set_crowded(v, is_crowding(v, v->effective_size));
    }
    volume_evaluate(v, now);
}

void volume_assign(struct layout_volume *v, uint64_t bytes, int64_t now)
{
    if (!v->is_tracked)
        volume_start_tracking(v, largest_size(v), now);
    /* Far more than fills it is not counted: it would take the longer to be forgotten, should the
     * client have exaggerated. */
    uint64_t most = size_limit(v) * ASSIGN_LIMITS_MAX;
    v->effective_size = v->effective_size < most && bytes < most ? v->effective_size + bytes : most;
    if (v->effective_size >= size_limit(v)) {
        volume_unlist(v);
        set_full_since(v, now);
    } else if (is_crowding(v, v->effective_size)) {
        volume_set_crowded(v, true);
    }
}

static void scan_volume(struct layout_volume *v, int64_t now)
{
    if (v->is_tracked && v->effective_size > v->reported_size)
        v->effective_size = v->reported_size + (v->effective_size - v->reported_size) / 2;
    uint64_t size = largest_size(v);
    if (size >= size_limit(v)) {
        if (!is_size_outdated(v, now) && v->writable_index != NOT_WRITABLE) {
            volume_unlist(v);
            if (!v->full_since_ns)
                set_full_since(v, now);
        }
        return;
    }
    if (is_crowding(v, size) && is_all_writable(v))
        volume_set_crowded(v, true);
    volume_evaluate(v, now);
}

void topology_scan_capacity(struct topology *t)
{
    int64_t now = topology_now(t);
    for (size_t i = 0; i < t->layout_count; i++)
        for (struct layout_volume *v = t->layouts[i]->volumes; v; v = v->next)
            scan_volume(v, now);
}

/* ---- Vacuum -------------------------------------------------------------------------------------- */

bool topology_begin_vacuum(struct topology *t, uint32_t id)
{
    struct layout_volume *v = layout_volume_find(t, id);
    for (struct layout_volume *same = v; same; same = same->same_id) {
        same->vacuum_holds++;
        volume_unlist(same);
    }
    return v != NULL;
}

uint64_t topology_pending_bytes(const struct topology *t, uint32_t id)
{
    uint64_t pending = 0;
    for (struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id)
        if (v->is_tracked && v->effective_size > v->reported_size &&
            v->effective_size - v->reported_size > pending)
            pending = v->effective_size - v->reported_size;
    return pending;
}

void topology_end_vacuum(struct topology *t, uint32_t id, const struct vacuum_outcome *outcome)
{
    int64_t now = topology_now(t);
    for (struct layout_volume *v = layout_volume_find(t, id); v; v = v->same_id) {
        if (v->vacuum_holds) /* 0: the volume was lost and came back meanwhile */
            v->vacuum_holds--;
        if (outcome->is_committed && !outcome->is_read_only && outcome->size <= size_limit(v)) {
            v->vacuumed_ns = now;
            volume_start_tracking(v, outcome->size, now);
            set_full_since(v, 0);
        }
        volume_evaluate(v, now);
    }
}
