/* The counters of the data path, by the peer's names. All series are looked up at the start, so
 * that a request costs a handful of relaxed atomics. Source: spec/volume-flags.md 6. Any thread. */
#include "volume/blob_call.h"

#include "common/check.h"

#include <math.h>
#include <stdio.h>

#define NAME(rest) "SeaweedFS_volumeServer_" rest
#define STATUS_LIMIT 600
#define SECONDS_BUCKETS 24

static const char *const kind_names[BLOB_CALL_KINDS] = {
    [BLOB_CALL_GET] = "GET",   [BLOB_CALL_HEAD] = "HEAD",     [BLOB_CALL_POST] = "POST",
    [BLOB_CALL_PUT] = "PUT",   [BLOB_CALL_DELETE] = "DELETE", [BLOB_CALL_OPTIONS] = "OPTIONS",
    [BLOB_CALL_INVALID] = "INVALID",
};

static const char *const event_names[BLOB_EVENTS] = {
    [BLOB_EVENT_UPLOAD_LIMIT] = "uploadLimitCondition",
    [BLOB_EVENT_DOWNLOAD_LIMIT] = "downloadLimitCondition",
    [BLOB_EVENT_PROXY] = "readProxyRequest",
    [BLOB_EVENT_REDIRECT] = "readRedirectRequest",
    [BLOB_EVENT_PROXY_NOWHERE] = "emptyReadProxyLocaction", /* sic, the peer's */
    [BLOB_EVENT_PROXY_FAILED] = "failedReadProxyRequest",
    [BLOB_EVENT_GET_NOT_FOUND] = "errorGetNotFound",
    [BLOB_EVENT_GET_INTERNAL] = "errorGetInternal",
    [BLOB_EVENT_GET_DAMAGED] = "errorCRC",
    [BLOB_EVENT_WRITE_LOCAL] = "errorWriteToLocalDisk",
    [BLOB_EVENT_WRITE_REPLICAS] = "errorWriteToReplicas",
};

static const char *const phase_names[BLOB_PHASES] = {
    [BLOB_PHASE_LOCAL] = "writeToLocalDisk",
    [BLOB_PHASE_REPLICAS] = "writeToReplicas",
};

struct blob_metrics {
    struct metrics_collector collector;
    struct metrics *registry;
    struct in_flight *uploads, *downloads;
    struct metric_family *requests, *seconds, *running, *events, *replications;
    struct metric_family *replication_seconds, *replication_failures, *upload_errors;
    struct metric_series *running_series[BLOB_CALL_KINDS], *seconds_series[BLOB_CALL_KINDS];
    /* Filled on first use; two loops that race write the same pointer. */
    struct metric_series *_Atomic request_series[BLOB_CALL_KINDS][STATUS_LIMIT];
    struct metric_series *_Atomic phase_running[BLOB_PHASES], *_Atomic phase_seconds[BLOB_PHASES];
    struct metric_series *target_series, *group_sizes;
    struct metric_series *read_failures, *reads_of_nothing, *write_failures, *io_errors;
    struct metric_series *upload_bytes, *download_bytes;
};

static struct metric_series *single(struct metrics *registry, enum metric_kind kind,
                                    const char *name, const char *help)
{
    return metric_series(metrics_add(registry, kind, name, help, NULL, NULL, 0), NULL);
}

static void add_failures(struct blob_metrics *m, struct metrics *registry)
{
    m->read_failures = single(registry, METRIC_COUNTER, NAME("file_read_failures"),
                              "Reads that failed, and those of what is not there.");
    m->reads_of_nothing = single(registry, METRIC_COUNTER, NAME("file_read_invalid_needles"),
                                 "Reads of an unknown volume or needle.");
    m->write_failures = single(registry, METRIC_COUNTER, NAME("file_write_failures"),
                               "Writes and deletes that failed.");
    m->io_errors = single(registry, METRIC_COUNTER, NAME("storage_io_error_total"),
                          "Requests that failed because a disk did.");
}

static void add_replications(struct blob_metrics *m, struct metrics *registry,
                             const double *seconds_bounds)
{
    static const char *const by_result[] = {"operation", "result", NULL};
    static const char *const by_operation[] = {"operation", NULL};
    static const char *const by_reason[] = {"operation", "reason", NULL};
    static const char *const by_code[] = {"code", NULL};
    static const double target_bounds[] = {1, 2, 3, 4, 5};
    m->replications = metrics_add(registry, METRIC_COUNTER, NAME("replication_operations_total"),
                                  "Fan-outs to replicas.", by_result, NULL, 0);
    m->replication_seconds =
        metrics_add(registry, METRIC_HISTOGRAM, NAME("replication_seconds"),
                    "Time that fan-outs took.", by_operation, seconds_bounds, SECONDS_BUCKETS);
    m->replication_failures =
        metrics_add(registry, METRIC_COUNTER, NAME("replication_failures_total"),
                    "Fan-outs that failed.", by_reason, NULL, 0);
    m->upload_errors = metrics_add(registry, METRIC_COUNTER, "SeaweedFS_upload_error_total",
                                   "Uploads to replicas that failed, by status; 0: no answer.",
                                   by_code, NULL, 0);
    m->target_series =
        metric_series(metrics_add(registry, METRIC_HISTOGRAM, NAME("replication_targets"),
                                  "Replicas of a write or delete.", NULL, target_bounds, 5),
                      NULL);
}

/* ---- what is known only by looking ---- */

static void collect(struct metrics_collector *collector)
{
    struct blob_metrics *m = (struct blob_metrics *)collector;
    metric_set(m->upload_bytes, (double)in_flight_bytes(m->uploads));
    metric_set(m->download_bytes, (double)in_flight_bytes(m->downloads));
}

void blob_metrics_watch(struct blob_metrics *m, struct in_flight *uploads,
                        struct in_flight *downloads)
{
    m->uploads = uploads;
    m->downloads = downloads;
    m->upload_bytes = single(m->registry, METRIC_GAUGE, NAME("in_flight_upload_size"),
                             "Bytes of uploads in hand.");
    m->download_bytes = single(m->registry, METRIC_GAUGE, NAME("in_flight_download_size"),
                               "Bytes of downloads in hand.");
    metric_set(single(m->registry, METRIC_GAUGE, NAME("concurrent_upload_limit"),
                      "The most that uploads may have in hand, 0: no limit."),
               (double)uploads->limit_bytes);
    metric_set(single(m->registry, METRIC_GAUGE, NAME("concurrent_download_limit"),
                      "The most that downloads may have in hand, 0: no limit."),
               (double)downloads->limit_bytes);
    metrics_add_collector(m->registry, &m->collector);
}

/* ---- life ---- */

struct blob_metrics *blob_metrics_create(struct metrics *registry)
{
    static const char *const by_type_code[] = {"type", "code", NULL};
    static const char *const by_type[] = {"type", NULL};
    static const double group_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    double seconds_bounds[SECONDS_BUCKETS];
    for (int i = 0; i < SECONDS_BUCKETS; i++)
        seconds_bounds[i] = ldexp(0.0001, i);

    struct blob_metrics *m = must(calloc(1, sizeof(*m)));
    m->collector.collect = collect;
    m->registry = registry;
    m->requests = metrics_add(registry, METRIC_COUNTER, NAME("request_total"),
                              "Requests by method and status.", by_type_code, NULL, 0);
    m->seconds = metrics_add(registry, METRIC_HISTOGRAM, NAME("request_seconds"),
                             "Time that requests took.", by_type, seconds_bounds, SECONDS_BUCKETS);
    m->running = metrics_add(registry, METRIC_GAUGE, NAME("in_flight_requests"),
                             "Requests being handled.", by_type, NULL, 0);
    m->events = metrics_add(registry, METRIC_COUNTER, NAME("handler_total"),
                            "Events on the way of a request.", by_type, NULL, 0);
    for (int kind = 0; kind < BLOB_CALL_PAGE; kind++) {
        m->running_series[kind] = metric_series(m->running, &kind_names[kind]);
        m->seconds_series[kind] = metric_series(m->seconds, &kind_names[kind]);
    }
    add_replications(m, registry, seconds_bounds);
    m->group_sizes = metric_series(
        metrics_add(registry, METRIC_HISTOGRAM, "kelp_commit_group_size",
                    "Writes and deletes of one loop that a commit has answered together.", NULL,
                    group_bounds, sizeof(group_bounds) / sizeof(group_bounds[0])),
        NULL);
    add_failures(m, registry);
    return m;
}

void blob_metrics_destroy(struct blob_metrics *metrics)
{
    if (!metrics)
        return;
    metrics_remove_collector(metrics->registry, &metrics->collector);
    free(metrics);
}

struct metric_series *blob_metrics_group_sizes(struct blob_metrics *metrics)
{
    return metrics ? metrics->group_sizes : NULL;
}

struct metric_family *blob_metrics_upload_errors(struct blob_metrics *metrics)
{
    return metrics ? metrics->upload_errors : NULL;
}

/* ---- what happens ---- */

void blob_metrics_begin(struct blob_metrics *metrics, enum blob_call_kind kind)
{
    if (kind < BLOB_CALL_PAGE)
        metric_add(metrics->running_series[kind], 1);
}

static struct metric_series *request_series(struct blob_metrics *metrics, enum blob_call_kind kind,
                                            int status)
{
    struct metric_series *_Atomic *slot = &metrics->request_series[kind][status % STATUS_LIMIT];
    struct metric_series *series = atomic_load_explicit(slot, memory_order_acquire);
    if (!series) {
        char code[12];
        snprintf(code, sizeof(code), "%d", status);
        const char *const values[] = {kind_names[kind], code};
        series = metric_series(metrics->requests, values);
        atomic_store_explicit(slot, series, memory_order_release);
    }
    return series;
}

void blob_metrics_end(struct blob_metrics *metrics, enum blob_call_kind kind, int status,
                      uint64_t started_ns, uint64_t now_ns)
{
    if (kind >= BLOB_CALL_PAGE)
        return;
    metric_add(metrics->running_series[kind], -1);
    metric_observe(metrics->seconds_series[kind], (double)(now_ns - started_ns) / 1e9);
    metric_add(request_series(metrics, kind, status), 1);
    bool is_write = kind == BLOB_CALL_POST || kind == BLOB_CALL_PUT;
    if ((is_write && status >= 400) || (kind == BLOB_CALL_DELETE && status >= 500))
        metric_add(metrics->write_failures, 1);
}

void blob_metrics_read_failed(struct blob_metrics *metrics, bool is_unknown)
{
    if (!metrics)
        return;
    metric_add(metrics->read_failures, 1);
    if (is_unknown)
        metric_add(metrics->reads_of_nothing, 1);
}

void blob_metrics_outcome(struct blob_metrics *metrics, int code)
{
    if (metrics && code == KELP_E_IO)
        metric_add(metrics->io_errors, 1);
}

/* Phases are listed when they first happen, as the peer has it. */
static struct metric_series *phase_series(struct metric_series *_Atomic *slot,
                                          struct metric_family *family, enum blob_phase phase)
{
    struct metric_series *series = atomic_load_explicit(slot, memory_order_acquire);
    if (!series) {
        series = metric_series(family, &phase_names[phase]);
        atomic_store_explicit(slot, series, memory_order_release);
    }
    return series;
}

void blob_metrics_phase_begin(struct blob_metrics *metrics, enum blob_phase phase)
{
    if (metrics)
        metric_add(phase_series(&metrics->phase_running[phase], metrics->running, phase), 1);
}

void blob_metrics_phase_end(struct blob_metrics *metrics, enum blob_phase phase, int64_t took_ns)
{
    if (!metrics)
        return;
    metric_add(phase_series(&metrics->phase_running[phase], metrics->running, phase), -1);
    metric_observe(phase_series(&metrics->phase_seconds[phase], metrics->seconds, phase),
                   took_ns > 0 ? (double)took_ns / 1e9 : 0);
}

void blob_metrics_event(struct blob_metrics *metrics, enum blob_event event)
{
    if (metrics)
        metric_add(metric_series(metrics->events, &event_names[event]), 1);
}

static const char *failure_reason(int code)
{
    switch (code) {
    case KELP_E_TIMEOUT:
        return "timeout";
    case KELP_E_UNAVAILABLE:
        return "connection_refused";
    case KELP_E_CANCELLED:
        return "context_cancelled";
    default:
        return "server_error";
    }
}

void blob_metrics_replicated(struct blob_metrics *metrics, bool is_write, size_t peers, int code,
                             int64_t took_ns)
{
    if (!metrics)
        return;
    metric_observe(metrics->target_series, (double)peers);
    if (peers == 0)
        return;
    const char *const values[] = {is_write ? "write" : "delete", code == 0 ? "success" : "failure"};
    metric_add(metric_series(metrics->replications, values), 1);
    metric_observe(metric_series(metrics->replication_seconds, values), (double)took_ns / 1e9);
    if (code != 0) {
        const char *const why[] = {values[0], failure_reason(code)};
        metric_add(metric_series(metrics->replication_failures, why), 1);
    }
}
