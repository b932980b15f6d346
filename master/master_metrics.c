/* Families are added once, in the order in which the page shows them. Any thread. */
#include "master/master_metrics.h"

#include "common/check.h"

static const char *const type_label[] = {"type", NULL};
static const char *const result_label[] = {"result", NULL};
static const char *const client_label[] = {"client", NULL};
static const char *const layout_labels[] = {"collection", "disk", "rp", "ttl", NULL};
static const char *const build_labels[] = {"version", NULL};

static struct metric_series *single(struct metrics *registry, enum metric_kind kind,
                                    const char *name, const char *help)
{
    return metric_series(metrics_add(registry, kind, name, help, NULL, NULL, 0), NULL);
}

static void add_heartbeats(struct master_metrics *m)
{
    m->heartbeats =
        metrics_add(m->registry, METRIC_COUNTER, "SeaweedFS_master_received_heartbeats",
                    "Heartbeats received, by what they carry.", type_label, NULL, 0);
#define SERIES(member, text) m->member = metric_series(m->heartbeats, (const char *[]){text})
    SERIES(heartbeat_total, "total");
    SERIES(heartbeat_data_node, "dataNode");
    SERIES(heartbeat_error, "error");
    SERIES(heartbeat_state, "stateUpdates");
    SERIES(heartbeat_new, "newVolumes");
    SERIES(heartbeat_deleted, "deletedVolumes");
    SERIES(heartbeat_changed, "changedVolumes");
    SERIES(heartbeat_full, "Volumes");
    SERIES(heartbeat_new_ec, "newEcShards");
    SERIES(heartbeat_ec, "ecShards");
    SERIES(digest_match, "volumeDigestMatch");
    SERIES(digest_mismatch, "volumeDigestMismatch");
    SERIES(digest_absent, "volumeDigestNotComparable");
#undef SERIES
}

static void add_layouts(struct master_metrics *m)
{
    m->layout_writable =
        metrics_add(m->registry, METRIC_GAUGE, "SeaweedFS_master_volume_layout_writable",
                    "Writable volumes.", layout_labels, NULL, 0);
    m->layout_crowded =
        metrics_add(m->registry, METRIC_GAUGE, "SeaweedFS_master_volume_layout_crowded",
                    "Writable volumes that are nearly full.", layout_labels, NULL, 0);
    m->under_replicated =
        metrics_add(m->registry, METRIC_GAUGE, "SeaweedFS_master_under_replicated_volumes",
                    "Volumes without enough copies.", layout_labels, NULL, 0);
}

static void add_vacuum(struct master_metrics *m)
{
    m->vacuum_jobs = metrics_add(m->registry, METRIC_COUNTER, "kelp_master_vacuum_jobs_total",
                                 "Vacuum jobs that ended, by result.", result_label, NULL, 0);
    m->vacuum_running = single(m->registry, METRIC_GAUGE, "kelp_master_vacuum_running",
                               "Volumes that are being vacuumed.");
    m->vacuum_queued = single(m->registry, METRIC_GAUGE, "kelp_master_vacuum_queued",
                              "Volumes that wait for their vacuum.");
    m->vacuum_reclaimed_bytes =
        single(m->registry, METRIC_COUNTER, "kelp_master_vacuum_reclaimed_bytes_total",
               "Bytes by which replicas shrank.");
    m->vacuum_enabled = single(m->registry, METRIC_GAUGE, "kelp_master_vacuum_enabled",
                               "1 while automatic vacuum is on.");
}

struct master_metrics *master_metrics_create(const char *version, double start_time_seconds)
{
    struct master_metrics *m = must(calloc(1, sizeof(*m)));
    m->registry = metrics_create();
    struct metric_family *build =
        metrics_add(m->registry, METRIC_GAUGE, "SeaweedFS_build_info",
                    "Constant 1; the labels tell the build.", build_labels, NULL, 0);
    metric_set(metric_series(build, (const char *[]){version}), 1);
    m->start_time = single(m->registry, METRIC_GAUGE, "SeaweedFS_master_start_time_seconds",
                           "Unix time of the start.");
    metric_set(m->start_time, start_time_seconds);
    m->is_leader = single(m->registry, METRIC_GAUGE, "SeaweedFS_master_is_leader",
                          "1 while this master leads.");
    m->admin_lock = metrics_add(m->registry, METRIC_GAUGE, "SeaweedFS_master_admin_lock",
                                "1 while the client holds a lock.", client_label, NULL, 0);
    add_heartbeats(m);
    add_layouts(m);
    m->growth = metrics_add(m->registry, METRIC_COUNTER, "SeaweedFS_master_volume_creation_total",
                            "Logical volumes created, by result.", result_label, NULL, 0);
    m->pick_errors = single(m->registry, METRIC_COUNTER, "SeaweedFS_master_pick_for_write_error",
                            "Assigns that found no writable volume.");
    m->broadcast_to_full =
        single(m->registry, METRIC_COUNTER, "SeaweedFS_master_broadcast_to_full",
               "Connected clients cut off because they did not read.");
    m->assigns = metrics_add(m->registry, METRIC_COUNTER, "kelp_master_assigns_total",
                             "Assign requests, by result.", result_label, NULL, 0);
    m->clients = single(m->registry, METRIC_GAUGE, "kelp_master_connected_clients",
                        "Open KeepConnected streams.");
    m->max_volume_id = single(m->registry, METRIC_GAUGE, "kelp_master_max_volume_id",
                              "Highest volume id known.");
    m->data_nodes =
        single(m->registry, METRIC_GAUGE, "kelp_master_data_nodes", "Volume servers connected.");
    m->free_slots = single(m->registry, METRIC_GAUGE, "kelp_master_free_volume_slots",
                           "Volumes that can still be created, over all disk types.");
    add_vacuum(m);
    return m;
}

void master_metrics_destroy(struct master_metrics *m)
{
    if (!m)
        return;
    metrics_destroy(m->registry);
    free(m);
}

void master_metrics_count_growth(struct master_metrics *m, bool is_success)
{
    const char *result = is_success ? "success" : "failure";
    metric_add(metric_series(m->growth, (const char *[]){result}), 1);
}

void master_metrics_count_vacuum(struct master_metrics *m, const char *result)
{
    metric_add(metric_series(m->vacuum_jobs, (const char *[]){result}), 1);
}
