/* What the watchdogs of loops have found, as metrics: how long what was ready had to wait, and
 * why. */
#pragma once

#include "common/loop.h"
#include "common/metrics.h"

struct loop_metrics;

/* Adds kelp_loop_lag_seconds and kelp_loop_slow_turns_total, for once in a registry's life. Both
 * borrowed: the loops until destroy, the registry a moment longer. */
struct loop_metrics *loop_metrics_create(struct metrics *registry, struct loop *const *loops,
                                         size_t count);
void loop_metrics_destroy(struct loop_metrics *metrics); /* NULL is fine */
