/* The Prometheus page: types, labels, histograms, bounded series. */
#include "tests/unit/cmocka_all.h"

#include "common/metrics.h"

static void prints_every_kind(void **state)
{
    static const char *const labels[] = {"type", NULL};
    static const double bounds[] = {0.1, 1};
    struct metrics *m = metrics_create();
    struct metric_family *c = metrics_add(m, METRIC_COUNTER, "kelp_requests_total", "Requests.", labels,
                                          NULL, 0);
    struct metric_family *h = metrics_add(m, METRIC_HISTOGRAM, "kelp_wait_seconds", "Waits.", NULL,
                                          bounds, 2);
    metric_add(metric_series(c, (const char *[]){"a\"b"}), 2);
    metric_add(metric_series(c, (const char *[]){"a\"b"}), 1);
    metric_observe(metric_series(h, NULL), 0.0625);
    metric_observe(metric_series(h, NULL), 5);

    struct buffer page = BUFFER_INIT;
    metrics_print(m, &page);
    assert_string_equal(buffer_cstr(&page), "# HELP kelp_requests_total Requests.\n"
                                            "# TYPE kelp_requests_total counter\n"
                                            "kelp_requests_total{type=\"a\\\"b\"} 3\n"
                                            "# HELP kelp_wait_seconds Waits.\n"
                                            "# TYPE kelp_wait_seconds histogram\n"
                                            "kelp_wait_seconds_bucket{le=\"0.1\"} 1\n"
                                            "kelp_wait_seconds_bucket{le=\"1\"} 1\n"
                                            "kelp_wait_seconds_bucket{le=\"+Inf\"} 2\n"
                                            "kelp_wait_seconds_sum 5.0625\n"
                                            "kelp_wait_seconds_count 2\n");
    buffer_fini(&page);
    metrics_destroy(m);
}

static void removed_series_are_not_printed(void **state)
{
    static const char *const labels[] = {"client", NULL};
    struct metrics *m = metrics_create();
    struct metric_family *g = metrics_add(m, METRIC_GAUGE, "kelp_lock", "Lock.", labels, NULL, 0);
    metric_set(metric_series(g, (const char *[]){"x"}), 1);
    metric_remove(g, (const char *[]){"x"});
    struct buffer page = BUFFER_INIT;
    metrics_print(m, &page);
    assert_null(strstr(buffer_cstr(&page), "client"));
    buffer_fini(&page);
    metrics_destroy(m);
}

static void series_are_bounded(void **state)
{
    static const char *const labels[] = {"id", NULL};
    struct metrics *m = metrics_create();
    struct metric_family *g = metrics_add(m, METRIC_GAUGE, "kelp_x", "X.", labels, NULL, 0);
    for (int i = 0; i < METRIC_SERIES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%d", i);
        metric_series(g, (const char *[]){id});
    }
    struct metric_series *a = metric_series(g, (const char *[]){"beyond1"});
    struct metric_series *b = metric_series(g, (const char *[]){"beyond2"});
    assert_ptr_equal(a, b);
    metrics_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_every_kind),
        cmocka_unit_test(removed_series_are_not_printed),
        cmocka_unit_test(series_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
