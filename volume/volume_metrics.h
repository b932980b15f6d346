/* The figures of a volume server beside those of its data path, by the peer's names.
 * Source: spec/volume-flags.md 6. */
#pragma once

#include "common/metrics.h"
#include "volume/store.h"

struct volume_metrics;

enum volume_metrics_phase { VOLUME_METRICS_COMPACT, VOLUME_METRICS_COMMIT };

/* Adds its families to `registry` and becomes its collector. Both are borrowed. */
struct volume_metrics *volume_metrics_create(struct metrics *registry, struct store *store,
                                             const char *version);
/* Before the registry. NULL is fine. */
void volume_metrics_destroy(struct volume_metrics *metrics);

/* Any thread. A vacuum phase has ended. NULL metrics are fine. */
void volume_metrics_vacuum(struct volume_metrics *metrics, enum volume_metrics_phase phase,
                           bool is_success, double seconds);
/* How long writers waited for a commit. */
void volume_metrics_vacuum_pause(struct volume_metrics *metrics, double seconds);
/* The stream to this master broke. */
void volume_metrics_disconnected(struct volume_metrics *metrics, const char *master);
/* A scrub ("INDEX", "FULL", ...) has ended, and found damage in so many volumes. */
void volume_metrics_scrub(struct volume_metrics *metrics, const char *mode, size_t broken_volumes);
