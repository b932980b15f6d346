/* Growth decisions. The periodic pass looks at each layout's writable volumes and at where they are; it
 * marks places with a pass number instead of building sets, so that it costs O(volumes + places).
 *
 * Pure; under the topology's lock. */
#include "master/volume_growth.h"

#include "master/topology_state.h"

uint32_t volume_growth_count(const struct topology_options *options, struct replica_placement placement,
                             uint32_t wanted)
{
    if (wanted)
        return wanted;
    unsigned copies = replica_placement_copies(placement);
    return options->growth_copies[copies <= 3 ? copies : 0];
}

bool volume_growth_begin(struct topology *t, const struct volume_option *option)
{
    struct volume_layout *layout;
    if (layout_open_for_client(t, option, &layout, NULL) || layout->is_growth_pending)
        return false;
    layout->is_growth_pending = true;
    return true;
}

void volume_growth_end(struct topology *t, const struct volume_option *option)
{
    struct volume_layout *layout = layout_of_option(t, option);
    if (layout)
        layout->is_growth_pending = false;
}

bool volume_growth_is_pending(const struct topology *t, const struct volume_option *option)
{
    const struct volume_layout *layout = layout_of_option(t, option);
    return layout && layout->is_growth_pending;
}

bool volume_growth_is_needed(const struct topology *t, const struct volume_option *option)
{
    const struct volume_layout *layout = layout_of_option(t, option);
    if (!layout)
        return true;
    if (!volume_option_is_filtered(option))
        return layout->writable_count <= layout->crowded_count;
    for (size_t i = 0; i < layout->writable_count; i++)
        if (!layout->writables[i]->is_crowded && layout_volume_is_at(layout->writables[i], option))
            return false;
    return true;
}

void volume_growth_set_target(struct topology *t, const struct volume_option *option, uint32_t count)
{
    struct volume_layout *layout = layout_of_option(t, option);
    if (layout && count)
        layout->growth_target = count;
}

int volume_growth_check_slots(const struct topology *t, const struct volume_option *option,
                              uint32_t count, struct error *err)
{
    int64_t available = topology_free_slots(t, option->disk_type);
    int64_t needed = (int64_t)count * replica_placement_copies(option->placement);
    if (available < needed)
        return error_set(err, KELP_E_NO_SPACE, "only %lld volumes left, not enough for %lld",
                         (long long)available, (long long)needed);
    return 0;
}

/* ---- The periodic pass --------------------------------------------------------------------------- */

static void add_request(struct growth_plan *plan, const struct volume_layout *layout,
                        const struct place *dc, const struct place *rack, uint32_t count,
                        const char *reason)
{
    plan->items =
        array_reserve(plan->items, plan->count, &plan->capacity, sizeof(*plan->items));
    plan->items[plan->count++] = (struct growth_request){
        .option =
            {
                .collection = layout->key.collection,
                .disk_type = layout->disk_type,
                .data_center = dc ? dc->id : NULL,
                .rack = rack ? rack->id : NULL,
                .placement = replica_placement_from_byte((uint8_t)layout->key.placement),
                .ttl = ttl_from_u32(layout->key.ttl),
                .version = 3,
            },
        .count = count,
        .reason = reason,
    };
}

/* Steps 1 and 2: the layout as a whole. */
static void plan_total(const struct topology *t, const struct volume_layout *layout, unsigned copies,
                       struct growth_plan *plan)
{
    uint64_t target = layout->growth_target, writable = layout->writable_count;
    if (target > writable) {
        uint64_t missing = target - writable;
        if (topology_free_slots(t, layout->disk_type) >= (int64_t)(missing * copies))
            add_request(plan, layout, NULL, NULL, (uint32_t)missing, "below its target");
    } else if (target > 0 && writable < 2 * target &&
               (double)(layout->crowded_count + 2) > (double)writable * t->options.growth_threshold) {
        add_request(plan, layout, NULL, NULL, 2, "crowded");
    }
}

/* Marks each data center that holds a replica with `held`, and each rack and data center that has a
 * writable volume with room with `roomy`. Marks are numbers that only grow: held < roomy. */
static void mark_places(const struct volume_layout *layout, uint64_t held, uint64_t roomy)
{
    for (const struct layout_volume *v = layout->volumes; v; v = v->next) {
        bool has_room = v->writable_index != NOT_WRITABLE && volume_is_room_left(v);
        for (size_t i = 0; i < v->replica_count; i++) {
            struct place *rack = v->replicas[i]->node->place.parent, *dc = rack->parent;
            if (has_room)
                rack->mark = dc->mark = roomy;
            else if (dc->mark < held)
                dc->mark = held;
        }
    }
}

static uint32_t share_of(uint32_t target, size_t places, uint32_t step)
{
    return target ? (uint32_t)((target + places - 1) / places) : step;
}

/* Step 3: every place that ought to have a volume with room has one. */
static void plan_places(struct topology *t, const struct volume_layout *layout, struct growth_plan *plan)
{
    struct replica_placement p = replica_placement_from_byte((uint8_t)layout->key.placement);
    uint32_t step = volume_growth_count(&t->options, p, 0);
    step = step < 2 ? step : 2;
    uint64_t held = t->mark + 1, roomy = t->mark + 2;
    t->mark += 2;
    mark_places(layout, held, roomy);
    size_t centers = 0, racks = 0;
    for (size_t i = 0; i < t->root.child_count; i++) {
        centers++;
        racks += t->root.children[i]->child_count;
    }
    for (size_t i = 0; i < t->root.child_count; i++) {
        const struct place *dc = t->root.children[i];
        if (dc->mark < held)
            continue;
        if (p.other_racks > 0) {
            if (dc->mark < roomy)
                add_request(plan, layout, dc, NULL, share_of(layout->growth_target, centers, step),
                            "no room in data center");
            continue;
        }
        for (size_t j = 0; j < dc->child_count; j++)
            if (dc->children[j]->mark < roomy)
                add_request(plan, layout, dc, dc->children[j],
                            share_of(layout->growth_target, racks, step), "no room in rack");
    }
}

void volume_growth_plan(struct topology *t, struct growth_plan *plan)
{
    if (t->options.growth_disabled || topology_warm_up_left_ns(t))
        return;
    for (size_t i = 0; i < t->layout_count; i++) {
        const struct volume_layout *layout = t->layouts[i];
        unsigned copies =
            replica_placement_copies(replica_placement_from_byte((uint8_t)layout->key.placement));
        if (layout->is_growth_pending)
            continue;
        plan_total(t, layout, copies, plan);
        if (layout->volume_count)
            plan_places(t, layout, plan);
    }
}

void growth_plan_fini(struct growth_plan *plan)
{
    free(plan->items);
    *plan = (struct growth_plan){0};
}
