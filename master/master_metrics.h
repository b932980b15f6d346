/* The master's metrics, by the peer's names where it has them (spec/master-flags.md 5), ours as
 * kelp_*. Series that are touched often are looked up once, here. Any thread. */
#pragma once

#include "common/metrics.h"

struct master_metrics {
    struct metrics *registry; /* owned */
    struct metric_family *heartbeats, *admin_lock, *growth, *layout_writable, *layout_crowded,
        *under_replicated, *vacuum_jobs, *assigns;
    struct metric_series *start_time, *is_leader, *pick_errors, *broadcast_to_full, *clients,
        *max_volume_id, *data_nodes, *free_slots, *vacuum_running, *vacuum_queued,
        *vacuum_reclaimed_bytes, *vacuum_enabled;
    struct metric_series *heartbeat_total, *heartbeat_error, *heartbeat_data_node,
        *heartbeat_state, *heartbeat_new, *heartbeat_deleted, *heartbeat_changed, *heartbeat_full,
        *heartbeat_new_ec, *heartbeat_ec, *digest_match, *digest_mismatch, *digest_absent;
};

struct master_metrics *master_metrics_create(const char *version, double start_time_seconds);
void master_metrics_destroy(struct master_metrics *m);

void master_metrics_count_growth(struct master_metrics *m, bool is_success);
/* result: "done", "failed", "skipped", "cancelled". */
void master_metrics_count_vacuum(struct master_metrics *m, const char *result);
