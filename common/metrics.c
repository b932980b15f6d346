/* Families are kept in order of registration, series in order of first use; one lock guards the
 * lists, values are atomics that hold the bits of a double. Any thread. */
#include "common/metrics.h"

#include "common/check.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

struct metric_series {
    struct metric_family *family;
    char *labels;               /* `a="x",b="y"`; the key */
    _Atomic uint64_t value;     /* bits of a double; of a histogram: the sum */
    _Atomic uint64_t *buckets;  /* histogram: one per bound, and one for the rest */
    atomic_bool is_removed;
    struct metric_series *next; /* in order of first use */
    UT_hash_handle hh;
};

struct metric_family {
    struct metrics *metrics;
    enum metric_kind kind;
    const char *name, *help;
    const char *const *labels;
    double *bounds;
    size_t bound_count;
    struct metric_series *by_labels, *first, **last;
    struct metric_family *next;
};

struct metrics {
    pthread_mutex_t lock; /* the lists and tables */
    struct metric_family *first, **last;
    pthread_mutex_t collect_lock; /* the collectors, while they collect too; before `lock` */
    struct metrics_collector *collectors;
};

struct metrics *metrics_create(void)
{
    struct metrics *m = must(calloc(1, sizeof(*m)));
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->collect_lock, NULL);
    m->last = &m->first;
    return m;
}

static void family_destroy(struct metric_family *family)
{
    struct metric_series *next;
    HASH_CLEAR(hh, family->by_labels);
    for (struct metric_series *s = family->first; s; s = next) {
        next = s->next;
        free(s->labels);
        free(s->buckets);
        free(s);
    }
    free(family->bounds);
    free(family);
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    struct metric_family *next;
    for (struct metric_family *f = metrics->first; f; f = next) {
        next = f->next;
        family_destroy(f);
    }
    pthread_mutex_destroy(&metrics->lock);
    pthread_mutex_destroy(&metrics->collect_lock);
    free(metrics);
}

struct metric_family *metrics_add(struct metrics *metrics, enum metric_kind kind, const char *name,
                                  const char *help, const char *const *labels, const double *bounds,
                                  size_t bound_count)
{
    struct metric_family *family = must(calloc(1, sizeof(*family)));
    *family = (struct metric_family){
        .metrics = metrics, .kind = kind, .name = name, .help = help, .labels = labels};
    if (bound_count > 0) {
        family->bounds = must(malloc(bound_count * sizeof(*bounds)));
        memcpy(family->bounds, bounds, bound_count * sizeof(*bounds));
        family->bound_count = bound_count;
    }
    family->last = &family->first;
    pthread_mutex_lock(&metrics->lock);
    *metrics->last = family;
    metrics->last = &family->next;
    pthread_mutex_unlock(&metrics->lock);
    return family;
}

static void append_label(struct buffer *out, const char *name, const char *value)
{
    if (out->length)
        buffer_append_char(out, ',');
    buffer_printf(out, "%s=\"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\n') {
            buffer_append_text(out, "\\n");
            continue;
        }
        if (*p == '\\' || *p == '"')
            buffer_append_char(out, '\\');
        buffer_append_char(out, *p);
    }
    buffer_append_char(out, '"');
}

/* values NULL: all are "other". */
static void format_labels(const struct metric_family *family, const char *const *values,
                          struct buffer *out)
{
    for (size_t i = 0; family->labels && family->labels[i]; i++)
        append_label(out, family->labels[i], values ? values[i] : "other");
}

static struct metric_series *find_or_add(struct metric_family *family, const char *labels)
{
    struct metric_series *series;
    HASH_FIND_STR(family->by_labels, labels, series);
    if (series)
        return series;
    series = must(calloc(1, sizeof(*series)));
    series->family = family;
    series->labels = must(strdup(labels));
    if (family->kind == METRIC_HISTOGRAM)
        series->buckets = must(calloc(family->bound_count + 1, sizeof(*series->buckets)));
    HASH_ADD_KEYPTR(hh, family->by_labels, series->labels, strlen(series->labels), series);
    *family->last = series;
    family->last = &series->next;
    return series;
}

struct metric_series *metric_series(struct metric_family *family, const char *const *values)
{
    struct buffer labels = BUFFER_INIT;
    format_labels(family, values, &labels);
    struct metrics *metrics = family->metrics;
    pthread_mutex_lock(&metrics->lock);
    struct metric_series *series;
    HASH_FIND_STR(family->by_labels, buffer_cstr(&labels), series);
    if (!series && HASH_COUNT(family->by_labels) >= METRIC_SERIES_MAX) {
        buffer_clear(&labels);
        format_labels(family, NULL, &labels);
    }
    if (!series)
        series = find_or_add(family, buffer_cstr(&labels));
    atomic_store(&series->is_removed, false);
    pthread_mutex_unlock(&metrics->lock);
    buffer_fini(&labels);
    return series;
}

void metric_remove(struct metric_family *family, const char *const *values)
{
    atomic_store(&metric_series(family, values)->is_removed, true);
}

static double load_double(const _Atomic uint64_t *bits)
{
    uint64_t raw = atomic_load_explicit(bits, memory_order_relaxed);
    double value;
    memcpy(&value, &raw, sizeof(value));
    return value;
}

static uint64_t bits_of(double value)
{
    uint64_t raw;
    memcpy(&raw, &value, sizeof(raw));
    return raw;
}

void metric_add(struct metric_series *series, double amount)
{
    uint64_t old = atomic_load_explicit(&series->value, memory_order_relaxed);
    double value;
    do
        memcpy(&value, &old, sizeof(value));
    while (!atomic_compare_exchange_weak_explicit(&series->value, &old, bits_of(value + amount),
                                                  memory_order_relaxed, memory_order_relaxed));
}

void metric_set(struct metric_series *series, double value)
{
    atomic_store_explicit(&series->value, bits_of(value), memory_order_relaxed);
}

void metric_observe(struct metric_series *series, double value)
{
    const struct metric_family *family = series->family;
    size_t i = 0;
    while (i < family->bound_count && value > family->bounds[i])
        i++;
    atomic_fetch_add_explicit(&series->buckets[i], 1, memory_order_relaxed);
    metric_add(series, value);
}

static uint64_t histogram_count(const struct metric_series *series)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= series->family->bound_count; i++)
        count += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
    return count;
}

double metric_value(const struct metric_series *series)
{
    if (series->family->kind == METRIC_HISTOGRAM)
        return (double)histogram_count(series);
    return load_double(&series->value);
}

void metric_set_histogram(struct metric_series *series, const uint64_t *counts, double sum)
{
    for (size_t i = 0; i <= series->family->bound_count; i++)
        atomic_store_explicit(&series->buckets[i], counts[i], memory_order_relaxed);
    metric_set(series, sum);
}

void metrics_add_collector(struct metrics *metrics, struct metrics_collector *collector)
{
    pthread_mutex_lock(&metrics->collect_lock);
    collector->next = metrics->collectors;
    metrics->collectors = collector;
    pthread_mutex_unlock(&metrics->collect_lock);
}

void metrics_remove_collector(struct metrics *metrics, struct metrics_collector *collector)
{
    pthread_mutex_lock(&metrics->collect_lock);
    struct metrics_collector **link = &metrics->collectors;
    while (*link && *link != collector)
        link = &(*link)->next;
    if (*link)
        *link = collector->next;
    pthread_mutex_unlock(&metrics->collect_lock);
}

static void print_number(struct buffer *out, double value)
{
    if (value == floor(value) && fabs(value) < 9e15)
        buffer_printf(out, "%.0f\n", value);
    else
        buffer_printf(out, "%.9g\n", value);
}

static void print_name(struct buffer *out, const char *name, const char *suffix, const char *labels)
{
    buffer_printf(out, *labels ? "%s%s{%s} " : "%s%s ", name, suffix, labels);
}

static void print_histogram(const struct metric_series *series, struct buffer *out)
{
    const struct metric_family *family = series->family;
    const char *comma = *series->labels ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i < family->bound_count; i++) {
        count += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        buffer_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", family->name, series->labels, comma,
                      family->bounds[i], (unsigned long long)count);
    }
    count = histogram_count(series);
    buffer_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", family->name, series->labels, comma,
                  (unsigned long long)count);
    print_name(out, family->name, "_sum", series->labels);
    print_number(out, load_double(&series->value));
    print_name(out, family->name, "_count", series->labels);
    print_number(out, (double)count);
}

void metrics_print(struct metrics *metrics, struct buffer *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&metrics->collect_lock);
    for (struct metrics_collector *c = metrics->collectors; c; c = c->next)
        c->collect(c);
    pthread_mutex_unlock(&metrics->collect_lock);
    pthread_mutex_lock(&metrics->lock);
    for (const struct metric_family *f = metrics->first; f; f = f->next) {
        buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                      kinds[f->kind]);
        for (const struct metric_series *s = f->first; s; s = s->next) {
            if (atomic_load(&s->is_removed))
                continue;
            if (f->kind == METRIC_HISTOGRAM) {
                print_histogram(s, out);
            } else {
                print_name(out, f->name, "", s->labels);
                print_number(out, load_double(&s->value));
            }
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}
