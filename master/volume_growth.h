/* When to create volumes, and how many: pure decisions. Creating them (ids, AllocateVolume, roll-back)
 * is the growth worker's; it asks placement.h for each volume. Source: spec/topology.md 6.1, 6.2.
 * Under the topology's lock. */
#pragma once

#include "master/topology.h"

/* Logical volumes per growth: `wanted` when > 0, else copy_N of the options. */
uint32_t volume_growth_count(const struct topology_options *options, struct replica_placement placement,
                             uint32_t wanted);

/* One growth per layout at a time. True when this call set the pending flag: the caller is the initiator
 * and ends it with volume_growth_end, whatever happens. Creates the layout when missing; false when the layout
 * limit is reached, as when somebody else grows. */
bool volume_growth_begin(struct topology *t, const struct volume_option *option);
void volume_growth_end(struct topology *t, const struct volume_option *option);
bool volume_growth_is_pending(const struct topology *t, const struct volume_option *option);

/* Whether an on-demand request is still worth doing. The peer counts the whole layout's writable volumes; here
 * those that match the request's data center, rack and node, so that a miss in one place is served
 * while others have room. */
bool volume_growth_is_needed(const struct topology *t, const struct volume_option *option);

/* Assign's writable_volume_count > 0: what the periodic pass keeps the layout at. */
void volume_growth_set_target(struct topology *t, const struct volume_option *option, uint32_t count);

/* The slot test of VolumeGrow: KELP_E_NO_SPACE "only <n> volumes left, not enough for <m>". */
int volume_growth_check_slots(const struct topology *t, const struct volume_option *option,
                              uint32_t count, struct error *err);

struct growth_request {
    struct volume_option option; /* strings belong to the topology (names live until its end) */
    uint32_t count;              /* logical volumes */
    const char *reason;          /* static text */
};

struct growth_plan {
    struct growth_request *items;
    size_t count;
    size_t capacity;
};

/* The periodic pass (every 5 min + 0-29 s, leader only). Sets no flag: the worker calls
 * volume_growth_begin and volume_growth_check_slots for each request. Empty while growth is disabled or
 * warming up. `plan` is the caller's: zero it first, and end with growth_plan_fini. */
void volume_growth_plan(struct topology *t, struct growth_plan *plan);
void growth_plan_fini(struct growth_plan *plan);
