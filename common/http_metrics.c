/* The servers keep the counts; they are copied when a page is printed. */
#include "common/http_metrics.h"

#include "common/check.h"

#include <stdlib.h>

struct http_metrics {
    struct metrics_collector collector;
    struct metrics *registry;
    struct metric_series *connections, *unsent;
    const struct http_server *servers[2];
};

static void collect(struct metrics_collector *collector)
{
    struct http_metrics *metrics = (struct http_metrics *)collector;
    uint64_t connections = 0, unsent = 0;
    for (int i = 0; i < 2; i++) {
        struct http_server_stats stats;
        if (!metrics->servers[i])
            continue;
        http_server_stats(metrics->servers[i], &stats);
        connections += stats.connections;
        unsent += stats.bytes_queued;
    }
    metric_set(metrics->connections, (double)connections);
    metric_set(metrics->unsent, (double)unsent);
}

struct http_metrics *http_metrics_create(struct metrics *registry,
                                         const struct http_server *const servers[2])
{
    struct http_metrics *metrics = must(calloc(1, sizeof(*metrics)));
    *metrics = (struct http_metrics){.collector.collect = collect,
                                     .registry = registry,
                                     .servers = {servers[0], servers[1]}};
    metrics->connections =
        metric_series(metrics_add(registry, METRIC_GAUGE, "kelp_http_connections",
                                  "Open connections of clients.", NULL, NULL, 0),
                      NULL);
    metrics->unsent = metric_series(
        metrics_add(registry, METRIC_GAUGE, "kelp_http_unsent_bytes",
                    "Of answers, what clients have not taken yet.", NULL, NULL, 0),
        NULL);
    metrics_add_collector(registry, &metrics->collector);
    return metrics;
}

void http_metrics_destroy(struct http_metrics *metrics)
{
    if (!metrics)
        return;
    metrics_remove_collector(metrics->registry, &metrics->collector);
    free(metrics);
}
