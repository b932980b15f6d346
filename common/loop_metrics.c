/* The loops keep the counts; they are copied when a page is printed. */
#include "common/loop_metrics.h"

#include "common/check.h"

#include <stdlib.h>

struct loop_metrics {
    struct metrics_collector collector;
    struct metrics *registry;
    struct metric_family *lag, *slow;
    struct loop *const *loops;
    size_t count;
};

static void collect(struct metrics_collector *collector)
{
    struct loop_metrics *metrics = (struct loop_metrics *)collector;
    for (size_t i = 0; i < metrics->count; i++) {
        struct loop *loop = metrics->loops[i];
        const char *name = loop_name(loop);
        struct loop_turns turns;
        loop_turns(loop, &turns);
        metric_set_histogram(metric_series(metrics->lag, &name), turns.counts,
                             (double)turns.total_ms / 1000);
        struct loop_slow_cause causes[LOOP_CAUSES_MAX];
        size_t count = loop_slow_causes(loop, causes);
        for (size_t c = 0; c < count; c++) {
            const char *const labels[] = {name, causes[c].what};
            metric_set(metric_series(metrics->slow, labels), (double)causes[c].count);
        }
    }
}

struct loop_metrics *loop_metrics_create(struct metrics *registry, struct loop *const *loops,
                                         size_t count)
{
    static const char *const by_loop[] = {"loop", NULL};
    static const char *const by_cause[] = {"loop", "cause", NULL};
    double bounds[LOOP_TURN_BUCKETS - 1];
    for (size_t i = 0; i < LOOP_TURN_BUCKETS - 1; i++)
        bounds[i] = (double)(1u << i) / 1000;
    struct loop_metrics *metrics = must(calloc(1, sizeof(*metrics)));
    *metrics = (struct loop_metrics){
        .collector.collect = collect, .registry = registry, .loops = loops, .count = count};
    metrics->lag = metrics_add(registry, METRIC_HISTOGRAM, "kelp_loop_lag_seconds",
                               "Turns of event loops: what becomes ready waits so long.", by_loop,
                               bounds, LOOP_TURN_BUCKETS - 1);
    metrics->slow = metrics_add(registry, METRIC_COUNTER, "kelp_loop_slow_turns_total",
                                "Turns of more than 10 ms, by what took longest in them.",
                                by_cause, NULL, 0);
    metrics_add_collector(registry, &metrics->collector);
    return metrics;
}

void loop_metrics_destroy(struct loop_metrics *metrics)
{
    if (!metrics)
        return;
    metrics_remove_collector(metrics->registry, &metrics->collector);
    free(metrics);
}
