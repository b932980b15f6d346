/* The counters of the data path, by the peer's names. What each request adds to is counted by its
 * lane (blob_tally.h) and gathered when somebody asks. Source: spec/volume-flags.md 6. Any thread,
 * but for what begins and ends: the lane's loop. */
#include "volume/blob_call.h"

#include "common/check.h"

#include <math.h>
#include <stdio.h>

#define NAME(rest) "SeaweedFS_volumeServer_" rest
#define SECONDS_BUCKETS (BLOB_TALLY_BUCKETS - 1) /* the last one has no bound */
#define PHASE_ROW(phase) (BLOB_CALL_PAGE + (unsigned)(phase))

_Static_assert(BLOB_CALL_PAGE + BLOB_PHASES <= BLOB_TALLY_ROWS, "a row for each method and phase");

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
    struct blob_tally *tallies; /* one a lane */
    unsigned tally_count;
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

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Phases are listed when they first happen, methods always, as the peer has it. */
static void collect_row(struct blob_metrics *m, unsigned row, const char *name, bool is_listed)
{
    uint64_t begun = 0, ended = 0, total_ns = 0, buckets[BLOB_TALLY_BUCKETS] = {0};
    for (unsigned i = 0; i < m->tally_count; i++) {
        const struct blob_tally_row *r = &m->tallies[i].rows[row];
        ended += load(&r->ended); /* before the other, so that never more have ended */
        begun += load(&r->begun);
        total_ns += load(&r->total_ns);
        for (unsigned j = 0; j < BLOB_TALLY_BUCKETS; j++)
            buckets[j] += load(&r->buckets[j]);
    }
    if (!is_listed && begun == 0)
        return;
    metric_set(metric_series(m->running, &name), (double)(begun - ended));
    metric_set_histogram(metric_series(m->seconds, &name), buckets, (double)total_ns / 1e9);
}

static void collect_statuses(struct blob_metrics *m, unsigned row)
{
    for (unsigned status = 0; status < BLOB_TALLY_STATUS; status++) {
        uint64_t count = 0;
        char code[12];
        for (unsigned i = 0; i < m->tally_count; i++)
            count += load(&m->tallies[i].rows[row].statuses[status]);
        if (count == 0)
            continue;
        snprintf(code, sizeof(code), "%u", status);
        const char *const values[] = {kind_names[row], code};
        metric_set(metric_series(m->requests, values), (double)count);
    }
}

static void collect(struct metrics_collector *collector)
{
    struct blob_metrics *m = (struct blob_metrics *)collector;
    for (unsigned kind = 0; kind < BLOB_CALL_PAGE; kind++) {
        collect_row(m, kind, kind_names[kind], true);
        collect_statuses(m, kind);
    }
    for (unsigned phase = 0; phase < BLOB_PHASES; phase++)
        collect_row(m, PHASE_ROW(phase), phase_names[phase], false);
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

struct blob_metrics *blob_metrics_create(struct metrics *registry, unsigned lane_count)
{
    static const char *const by_type_code[] = {"type", "code", NULL};
    static const char *const by_type[] = {"type", NULL};
    static const double group_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    double seconds_bounds[SECONDS_BUCKETS];
    for (unsigned i = 0; i < SECONDS_BUCKETS; i++)
        seconds_bounds[i] = ldexp(BLOB_TALLY_FIRST_NS / 1e9, (int)i);

    struct blob_metrics *m = must(calloc(1, sizeof(*m)));
    m->collector.collect = collect;
    m->registry = registry;
    size_t tallies_size = lane_count * sizeof(*m->tallies);
    m->tallies = memset(must(aligned_alloc(_Alignof(struct blob_tally), tallies_size)), 0, tallies_size);
    m->tally_count = lane_count;
    m->requests = metrics_add(registry, METRIC_COUNTER, NAME("request_total"),
                              "Requests by method and status.", by_type_code, NULL, 0);
    m->seconds = metrics_add(registry, METRIC_HISTOGRAM, NAME("request_seconds"),
                             "Time that requests took.", by_type, seconds_bounds, SECONDS_BUCKETS);
    m->running = metrics_add(registry, METRIC_GAUGE, NAME("in_flight_requests"),
                             "Requests being handled.", by_type, NULL, 0);
    m->events = metrics_add(registry, METRIC_COUNTER, NAME("handler_total"),
                            "Events on the way of a request.", by_type, NULL, 0);
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
    free(metrics->tallies);
    free(metrics);
}

struct blob_tally *blob_metrics_tally(struct blob_metrics *metrics, unsigned lane)
{
    return metrics ? &metrics->tallies[lane] : NULL;
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

void blob_metrics_begin(struct blob_tally *tally, enum blob_call_kind kind)
{
    if (tally && kind < BLOB_CALL_PAGE)
        blob_tally_begin(&tally->rows[kind]);
}

void blob_metrics_end(struct blob_metrics *metrics, struct blob_tally *tally,
                      enum blob_call_kind kind, int status, uint64_t took_ns)
{
    if (!tally || kind >= BLOB_CALL_PAGE)
        return;
    blob_tally_end(&tally->rows[kind], took_ns);
    blob_tally_status(&tally->rows[kind], status);
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

void blob_metrics_phase_begin(struct blob_tally *tally, enum blob_phase phase)
{
    if (tally)
        blob_tally_begin(&tally->rows[PHASE_ROW(phase)]);
}

void blob_metrics_phase_end(struct blob_tally *tally, enum blob_phase phase, int64_t took_ns)
{
    if (tally)
        blob_tally_end(&tally->rows[PHASE_ROW(phase)], took_ns > 0 ? (uint64_t)took_ns : 0);
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
