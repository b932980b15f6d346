/* Metrics: counters, gauges and histograms with labels, printed as a Prometheus page.
 *
 * A *family* has a name, a help text and label names; a *series* is one combination of label values.
 * Look a series up once and keep it: updating it is one relaxed atomic. Any thread. */
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

/* Called before each print, on its thread and with no lock held, to set what is only known by
 * looking (disk space, queue lengths). Set before the first print. */
void metrics_set_collector(struct metrics *metrics, void (*collect)(void *ctx), void *ctx);

/* The page, text format 0.0.4. */
void metrics_print(struct metrics *metrics, struct buffer *out);
