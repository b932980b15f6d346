/* The figures of a store, also those that only a failing disk moves. */
#include "tests/unit/volume/store_fixture.h"

#include "tests/fixtures/volume_fixture.h"
#include "tests/unit/cmocka_all.h"
#include "volume/volume_metrics.h"

#include <stdlib.h>
#include <string.h>

#define NAME "SeaweedFS_volumeServer_"

struct metered {
    struct store_fixture store;
    struct metrics *registry;
    struct volume_metrics *metrics;
};

static int set_up(void **state)
{
    struct metered *m = calloc(1, sizeof(*m));
    store_fixture_init(&m->store, 2);
    m->store.config.durability = STORE_DURABILITY_ALWAYS;
    store_fixture_open(&m->store);
    m->registry = metrics_create();
    m->metrics = volume_metrics_create(m->registry, m->store.store, "8000GB 4.48 some commit");
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    struct metered *m = *state;
    volume_metrics_destroy(m->metrics);
    metrics_destroy(m->registry);
    fault_os_clear(m->store.fault);
    store_fixture_fini(&m->store);
    free(m);
    return 0;
}

static bool page_has(struct metered *m, const char *line)
{
    struct buffer page = BUFFER_INIT;
    metrics_print(m->registry, &page);
    bool has = strstr(buffer_cstr(&page), line) != NULL;
    buffer_fini(&page);
    return has;
}

static int add_bytes(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    if (strcmp(volume_collection(volume), "pics") == 0)
        *(uint64_t *)ctx += stat.dat_bytes;
    return 0;
}

static void volumes_are_added_up_by_collection(void **state)
{
    struct metered *m = *state;
    assert_int_equal(store_fixture_allocate(&m->store, 3, "", NULL), 0);
    assert_int_equal(store_fixture_allocate(&m->store, 4, "pics", NULL), 0);
    assert_int_equal(store_fixture_allocate(&m->store, 5, "pics", NULL), 0);
    store_fixture_put(m->store.store, 4, 1, 1, "one");
    assert_true(page_has(m, NAME "volumes{collection=\"pics\",type=\"volume\"} 2\n"));
    assert_true(page_has(m, NAME "volumes{collection=\"\",type=\"volume\"} 1\n"));
    uint64_t bytes = 0;
    char line[128];
    store_for_each(m->store.store, add_bytes, &bytes);
    snprintf(line, sizeof(line), NAME "total_disk_size{collection=\"pics\",type=\"normal\"} %llu\n",
             (unsigned long long)bytes);
    assert_true(bytes > 16);
    assert_true(page_has(m, line));
    assert_true(page_has(m, NAME "io_quarantine{kind=\"volume\"} 0\n"));
    assert_true(page_has(m, "SeaweedFS_build_info{version=\"4.48\",commit=\"some\","
                            "sizelimit=\"8000GB\",goos=\"linux\""));
    assert_int_equal(store_delete_collection(m->store.store, "pics", NULL), 0);
    assert_true(page_has(m, NAME "volumes{collection=\"pics\",type=\"volume\"} 0\n"));
}

static void a_volume_whose_disk_failed_is_in_quarantine(void **state)
{
    struct metered *m = *state;
    assert_int_equal(store_fixture_allocate(&m->store, 3, "", NULL), 0);
    store_fixture_put(m->store.store, 3, 1, 1, "one");
    fault_os_fail(m->store.fault, FAULT_FSYNC | FAULT_FDATASYNC, 1, EIO, false);
    struct volume *volume = store_acquire(m->store.store, 3);
    fixture_delete(store_append_queue(m->store.store, volume), volume, 1, 1);
    store_release(m->store.store, volume);
    assert_true(page_has(m, NAME "io_quarantine{kind=\"volume\"} 1\n"));
    assert_true(
        page_has(m, NAME "read_only_volumes{collection=\"\",type=\"noWriteOrDelete\"} 1\n"));
}

static void a_disk_that_does_not_answer_is_told(void **state)
{
    struct metered *m = *state;
    char line[256];
    snprintf(line, sizeof(line), NAME "disk_error_status{name=\"%s\",type=\"error\"} 0\n",
             m->store.directories[0]);
    assert_true(page_has(m, line));
    fault_os_fail(m->store.fault, FAULT_SPACE, 1, EIO, true);
    line[strlen(line) - 2] = '1';
    for (int i = 0; i < 10 && !page_has(m, line); i++)
        store_probe(m->store.store);
    assert_true(page_has(m, line));
}

static void events_are_counted(void **state)
{
    struct metered *m = *state;
    volume_metrics_disconnected(m->metrics, "m:9333");
    volume_metrics_disconnected(m->metrics, "m:9333");
    volume_metrics_scrub(m->metrics, "FULL", 2);
    volume_metrics_vacuum(m->metrics, VOLUME_METRICS_COMPACT, false, 0.5);
    assert_true(page_has(m, NAME "master_disconnections{address=\"m:9333\"} 2\n"));
    assert_true(page_has(m, NAME "scrub_volume_failures{mode=\"FULL\"} 2\n"));
    assert_true(page_has(m, NAME "scrub_last_time_seconds{mode=\"FULL\"} 1"));
    assert_true(page_has(m, NAME "vacuuming_compact_count{success=\"false\"} 1\n"));
    assert_true(page_has(m, NAME "vacuuming_seconds_count{type=\"compact\"} 1\n"));
    volume_metrics_disconnected(NULL, "m:9333"); /* nobody counts */
    volume_metrics_scrub(NULL, "FULL", 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(volumes_are_added_up_by_collection),
        CASE(a_volume_whose_disk_failed_is_in_quarantine),
        CASE(a_disk_that_does_not_answer_is_told),
        CASE(events_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
