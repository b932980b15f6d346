/* Metrics: counters, gauges and histograms with labels, printed as a Prometheus page.
 *
 * A *family* has a name, a help text and label names; a *series* is one combination of label
 * values. Look a series up once and keep it: updating it is one relaxed atomic. Any thread. */
#pragma once

#include "common/buffer.h"

#include <stdint.h>

struct metrics;        /* the registry of one server */
struct metric_family;
struct metric_series;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics *metrics_create(void);
/* With all families and series; nobody may hold one any more. NULL is fine. */
void metrics_destroy(struct metrics *metrics);

/* `labels` is a NULL-terminated list of label names (NULL: none). `bounds` are a histogram's upper
 * bounds in the unit of the name (seconds), ascending. Strings are borrowed and static. */
struct metric_family *metrics_add(struct metrics *metrics, enum metric_kind kind, const char *name,
                                  const char *help, const char *const *labels, const double *bounds,
                                  size_t bound_count);
/* The series with these label values (as many as label names), made on first use. At most
 * METRIC_SERIES_MAX a family: beyond it all share one series with the values "other". */
#define METRIC_SERIES_MAX 10000
struct metric_series *metric_series(struct metric_family *family, const char *const *values);

void metric_add(struct metric_series *series, double amount); /* counters and gauges */
void metric_set(struct metric_series *series, double value);  /* gauges */
void metric_observe(struct metric_series *series, double value);
double metric_value(const struct metric_series *series); /* of a histogram: the count */
void metric_remove(struct metric_family *family, const char *const *values); /* prints it no more */

/* Of a histogram whose counts are kept elsewhere: `counts` has one for each bound and one for
 * the rest, `sum` is that of all values. */
void metric_set_histogram(struct metric_series *series, const uint64_t *counts, double sum);

/* Called before each print, on its thread, to set what is only known by looking (disk space, queue
 * lengths); one print collects at a time. Embedded in what it is about. */
struct metrics_collector {
    void (*collect)(struct metrics_collector *collector);
    struct metrics_collector *next; /* the registry's */
};
/* Any thread, but not within collect. Removing waits for a print that is at it; what was never
 * added may be removed too. */
void metrics_add_collector(struct metrics *metrics, struct metrics_collector *collector);
void metrics_remove_collector(struct metrics *metrics, struct metrics_collector *collector);

/* The page, text format 0.0.4. Blocks while collectors look; not on a loop that serves others. */
void metrics_print(struct metrics *metrics, struct buffer *out);
