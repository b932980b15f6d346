/* The pick: a few random candidates, then one of them by remaining room. Without a filter the cost does
 * not depend on the number of volumes; with one the list is scanned from a random place.
 *
 * Pure; under the topology's lock. */
#include "master/volume_pick.h"

#include "master/topology_state.h"

#include <stdio.h>

#define CANDIDATES 3

static size_t draw_candidates(const struct volume_layout *layout, const struct volume_option *o,
                              struct layout_volume *ret[CANDIDATES])
{
    size_t n = layout->writable_count, count = 0;
    if (n == 0)
        return 0;
    if (volume_option_is_filtered(o)) {
        size_t start = topology_draw(layout->topology, n);
        for (size_t i = 0; i < n && count < CANDIDATES; i++) {
            struct layout_volume *v = layout->writables[(start + i) % n];
            if (layout_volume_is_at(v, o))
                ret[count++] = v;
        }
        return count;
    }
    for (; count < CANDIDATES && count < n; count++)
        ret[count] = layout->writables[n <= CANDIDATES ? count : topology_draw(layout->topology, n)];
    return count;
}

static uint64_t remaining(const struct layout_volume *v)
{
    uint64_t limit = v->layout->topology->options.volume_size_limit_bytes;
    return !v->is_tracked ? limit : v->effective_size < limit ? limit - v->effective_size : 1;
}

static struct layout_volume *choose(struct layout_volume *const *candidates, size_t count)
{
    if (count == 1)
        return candidates[0];
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += remaining(candidates[i]);
    uint64_t r = total ? topology_draw(candidates[0]->layout->topology, total) : 0;
    for (size_t i = 0; i + 1 < count; i++) {
        if (r < remaining(candidates[i]))
            return candidates[i];
        r -= remaining(candidates[i]);
    }
    return candidates[count - 1];
}

static int nothing_writable(const struct volume_layout *layout, const struct volume_option *o,
                            struct error *err)
{
    char placement[10], ttl[8], where[256] = "";
    replica_placement_format(o->placement, placement);
    ttl_format(o->ttl, ttl);
    if (layout->writable_count) /* only the filter leaves nothing */
        snprintf(where, sizeof(where), " in DataCenter:%.64s Rack:%.64s DataNode:%.64s",
                 text_or_empty(o->data_center), text_or_empty(o->rack),
                 text_or_empty(o->data_node));
    return error_set(err, KELP_E_NOT_FOUND,
                     "failed to find writable volumes for collection:%.128s replication:%s ttl:%s "
                     "error: No writable volumes%s",
                     layout->key.collection, placement, ttl, where);
}

int volume_pick_for_write(struct topology *t, const struct volume_option *option, uint64_t count,
                          uint64_t bytes_per_file, struct volume_pick *ret, struct error *err)
{
    struct volume_layout *layout;
    int code = layout_open_for_client(t, option, &layout, err);
    if (code)
        return code;
    struct layout_volume *candidates[CANDIDATES];
    size_t found = draw_candidates(layout, option, candidates);
    if (found == 0)
        return nothing_writable(layout, option, err);
    struct layout_volume *v = choose(candidates, found);
    uint64_t bytes;
    if (__builtin_mul_overflow(count, bytes_per_file ? bytes_per_file : VOLUME_PICK_DEFAULT_BYTES,
                               &bytes))
        bytes = UINT64_MAX;
    *ret = (struct volume_pick){v->id, volume_distinct_copies(v)};
    volume_assign(v, bytes, topology_now(t));
    return 0;
}
