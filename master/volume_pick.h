/* Picking a writable volume for an Assign, with the accounting that keeps a volume from being
 * over-assigned. Source: spec/topology.md 5. Pure; under the topology's lock. */
#pragma once

#include "master/topology.h"

#define VOLUME_PICK_DEFAULT_BYTES (1u << 20) /* assumed per file when the client does not say */

struct volume_pick {
    uint32_t volume_id;
    size_t location_count; /* of the volume: read them with topology_lookup */
};

/* Chooses among up to three random candidates, by remaining room; adds count x bytes_per_file (0: 1 MiB) to
 * the estimate of the one chosen. The first location is the main one, whatever the filter was.
 *
 * KELP_E_NOT_FOUND with the wire's text when nothing is writable (growth is wanted then):
 * "failed to find writable volumes for collection:<c> replication:<xyz> ttl:<t> error: No writable volumes"
 * (or "... in DataCenter:<d> Rack:<r> DataNode:<n>").
 * The collection and its layout are created when missing, as the peer does; KELP_E_LIMIT when the
 * cluster already has TOPOLOGY_LAYOUTS_MAX layouts. */
int volume_pick_for_write(struct topology *t, const struct volume_option *option, uint64_t count,
                          uint64_t bytes_per_file, struct volume_pick *ret, struct error *err);

/* Layouts that clients may create by asking; reports of volumes are not bounded by it. */
#define TOPOLOGY_LAYOUTS_MAX 100000
