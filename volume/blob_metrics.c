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
    [BLOB_EVENT_WRITE_LOCAL] = "errorWriteToLocalDisk",
    [BLOB_EVENT_WRITE_REPLICAS] = "errorWriteToReplicas",
};

struct blob_metrics {
    struct metric_family *requests, *seconds, *running, *events, *replications, *targets;
    struct metric_series *running_series[BLOB_CALL_KINDS], *seconds_series[BLOB_CALL_KINDS];
    /* Filled on first use; two loops that race write the same pointer. */
    struct metric_series *_Atomic request_series[BLOB_CALL_KINDS][STATUS_LIMIT];
    struct metric_series *target_series;
};

struct blob_metrics *blob_metrics_create(struct metrics *registry)
{
    static const char *const by_type_code[] = {"type", "code", NULL};
    static const char *const by_type[] = {"type", NULL};
    static const char *const by_operation[] = {"operation", "result", NULL};
    static const double target_bounds[] = {1, 2, 3, 4, 5};
    double seconds_bounds[SECONDS_BUCKETS];
    for (int i = 0; i < SECONDS_BUCKETS; i++)
        seconds_bounds[i] = ldexp(0.0001, i);

    struct blob_metrics *m = must(calloc(1, sizeof(*m)));
    m->requests = metrics_add(registry, METRIC_COUNTER, NAME("request_total"),
                              "Requests by method and status.", by_type_code, NULL, 0);
    m->seconds = metrics_add(registry, METRIC_HISTOGRAM, NAME("request_seconds"),
                             "Time that requests took.", by_type, seconds_bounds, SECONDS_BUCKETS);
    m->running = metrics_add(registry, METRIC_GAUGE, NAME("in_flight_requests"),
                             "Requests being handled.", by_type, NULL, 0);
    m->events = metrics_add(registry, METRIC_COUNTER, NAME("handler_total"),
                            "Events on the way of a request.", by_type, NULL, 0);
    m->replications = metrics_add(registry, METRIC_COUNTER, NAME("replication_operations_total"),
                                  "Fan-outs to replicas.", by_operation, NULL, 0);
    m->targets = metrics_add(registry, METRIC_HISTOGRAM, NAME("replication_targets"),
                             "Replicas of a write or delete.", NULL, target_bounds, 5);
    for (int kind = 0; kind < BLOB_CALL_PAGE; kind++) {
        m->running_series[kind] = metric_series(m->running, &kind_names[kind]);
        m->seconds_series[kind] = metric_series(m->seconds, &kind_names[kind]);
    }
    m->target_series = metric_series(m->targets, NULL);
    return m;
}

void blob_metrics_destroy(struct blob_metrics *metrics) { free(metrics); }

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
}

void blob_metrics_event(struct blob_metrics *metrics, enum blob_event event)
{
    if (metrics)
        metric_add(metric_series(metrics->events, &event_names[event]), 1);
}

void blob_metrics_replicated(struct blob_metrics *metrics, bool is_write, size_t peers, bool is_ok)
{
    if (!metrics)
        return;
    metric_observe(metrics->target_series, (double)peers);
    const char *const values[] = {is_write ? "write" : "delete", is_ok ? "success" : "failure"};
    if (peers > 0)
        metric_add(metric_series(metrics->replications, values), 1);
}
