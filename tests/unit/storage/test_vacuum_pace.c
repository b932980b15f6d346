/* How a copy waits, holds still, goes on, ends, and tells of it; on the real file system, in real time. */
#include "tests/fixtures/volume_stage.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS     40u
#define SECOND   1000000000ll
#define DEADLINE (20 * SECOND)
#define OK(call) assert_int_equal(call, 0)

struct scene {
    char directory[64];
    struct stage stage;
    struct vacuum_budget *budget;
    /* Of the copy that runs: */
    pthread_t thread;
    int code;
    struct error err;
    atomic_uint calls; /* of on_progress */
    atomic_bool is_client_gone, pauses_at_first;
};

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    const char *parent = getenv("TMPDIR");
    snprintf(s->directory, sizeof(s->directory), "%.40s/kelp-test-XXXXXX", parent ? parent : "/tmp");
    *state = s;
    if (!mkdtemp(s->directory))
        return 1;
    OK(vacuum_budget_create(&s->budget, os_real(), NULL, 0));
    OK(stage_create(&s->stage, os_real(), s->directory, NULL, 5, ""));
    for (uint64_t key = 1; key <= KEYS; key++)
        OK(stage_put(&s->stage, key, 100000 + key));
    for (uint64_t key = 1; key <= KEYS; key += 2)
        OK(stage_delete(&s->stage, key));
    return 0;
}

static int remove_file(void *ctx, const char *name)
{
    char path[128];
    struct scene *s = ctx;
    snprintf(path, sizeof(path), "%.60s/%.60s", s->directory, name);
    return unlink(path);
}

static int teardown(void **state)
{
    struct scene *s = *state;
    stage_close(&s->stage);
    vacuum_budget_destroy(s->budget);
    os_list(os_real(), s->directory, remove_file, s);
    rmdir(s->directory);
    free(s);
    return 0;
}

static struct vacuum_progress progress_of(struct scene *s)
{
    struct vacuum_progress progress;
    volume_vacuum_progress(s->stage.volume, &progress);
    return progress;
}

static void check(struct scene *s)
{
    if (stage_check(&s->stage) != 0)
        fail_msg("%s", s->stage.complaint);
}

static bool has_copy(struct scene *s)
{
    return volume_file_exists(os_real(),
                              volume_files_path(&s->stage.volume->files, VOLUME_FILE_CPD));
}

static int on_progress(void *ctx, const struct vacuum_progress *progress)
{
    struct scene *s = ctx;
    if (atomic_fetch_add(&s->calls, 1) == 0 && atomic_load(&s->pauses_at_first))
        OK(volume_vacuum_pause(s->stage.volume, true, &s->err));
    return atomic_load(&s->is_client_gone);
}

static void *run_compact(void *ctx)
{
    struct scene *s = ctx;
    struct vacuum_options options = {.budget = s->budget, .on_progress = on_progress, .ctx = s};
    s->code = volume_vacuum_compact(s->stage.volume, &options, &s->err);
    return NULL;
}

static void start_copy(struct scene *s) { OK(pthread_create(&s->thread, NULL, run_compact, s)); }

static void end_copy(struct scene *s, int code)
{
    pthread_join(s->thread, NULL);
    assert_int_equal(s->code, code);
}

#define AWAIT(condition)                                                                           \
    for (int64_t end_ns = os_monotonic_ns(os_real()) + DEADLINE; !(condition);) {                  \
        assert_true(os_monotonic_ns(os_real()) < end_ns);                                          \
        usleep(1000);                                                                              \
    }

static void paused_copy_holds_still_and_goes_on(void **state)
{
    struct scene *s = *state;
    atomic_store(&s->pauses_at_first, true);
    start_copy(s);
    AWAIT(progress_of(s).is_paused && atomic_load(&s->calls) >= 2); /* it tells while it holds still */
    struct vacuum_progress before = progress_of(s);
    assert_int_equal(before.state, VACUUM_COPYING);
    assert_true(before.source_offset > 0 && before.source_offset < before.bytes_total);
    unsigned calls = atomic_load(&s->calls);
    OK(stage_put(&s->stage, 100, 5000)); /* clients are served */
    AWAIT(atomic_load(&s->calls) > calls);
    assert_int_equal(progress_of(s).source_offset, before.source_offset);
    OK(volume_vacuum_pause(s->stage.volume, false, &s->err));
    end_copy(s, 0);
    struct vacuum_progress after = progress_of(s);
    assert_false(after.is_paused);
    assert_int_equal(after.records_copied, after.live_records);
    assert_int_equal(after.bytes_copied, after.live_bytes);
    assert_int_equal(after.source_offset - 8 - after.bytes_copied, after.bytes_reclaimed);
    assert_int_equal(after.left_ns, 0);
    assert_true(after.elapsed_ns > before.elapsed_ns);
    OK(stage_commit(&s->stage));
    assert_true(progress_of(s).longest_pause_ns > 0);
    assert_int_equal(progress_of(s).rows_replayed, 1);
    check(s);
}

static void paused_copy_is_cancelled(void **state)
{
    struct scene *s = *state;
    atomic_store(&s->pauses_at_first, true);
    start_copy(s);
    AWAIT(progress_of(s).is_paused);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err)); /* waits until it has ended */
    end_copy(s, KELP_E_CANCELLED);
    assert_false(has_copy(s));
    check(s);
}

static void client_that_leaves_a_paused_copy_ends_it(void **state)
{
    struct scene *s = *state;
    atomic_store(&s->pauses_at_first, true);
    start_copy(s);
    AWAIT(progress_of(s).is_paused);
    atomic_store(&s->is_client_gone, true);
    end_copy(s, KELP_E_CANCELLED);
    assert_false(has_copy(s));
}

/* It takes a minute at that rate, which is how long the copy would wait behind it. */
static void client_that_leaves_behind_a_large_record_ends_it(void **state)
{
    struct scene *s = *state;
    struct vacuum_budget *unlimited = s->budget;
    OK(vacuum_budget_create(&s->budget, os_real(), NULL, 128 << 10));
    for (uint64_t key = 2; key <= KEYS; key += 2)
        OK(stage_delete(&s->stage, key));
    OK(stage_put(&s->stage, 100, 8 << 20));
    start_copy(s);
    AWAIT(atomic_load(&s->calls) >= 3); /* it tells while it waits */
    int64_t since_ns = os_monotonic_ns(os_real());
    atomic_store(&s->is_client_gone, true);
    end_copy(s, KELP_E_CANCELLED);
    assert_true(os_monotonic_ns(os_real()) - since_ns < DEADLINE);
    stage_close(&s->stage);
    vacuum_budget_destroy(unlimited);
}

static void next_copy_is_not_paused_any_more(void **state)
{
    struct scene *s = *state;
    atomic_store(&s->pauses_at_first, true);
    start_copy(s);
    AWAIT(progress_of(s).is_paused);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    end_copy(s, KELP_E_CANCELLED);
    start_copy(s);
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    check(s);
}

static void there_is_nothing_to_pause_without_a_copy(void **state)
{
    struct scene *s = *state;
    assert_int_equal(volume_vacuum_pause(s->stage.volume, true, &s->err), KELP_E_PRECONDITION);
    start_copy(s);
    end_copy(s, 0);
    assert_int_equal(volume_vacuum_pause(s->stage.volume, true, &s->err), KELP_E_PRECONDITION);
    OK(stage_commit(&s->stage));
    assert_int_equal(volume_vacuum_pause(s->stage.volume, false, &s->err), KELP_E_PRECONDITION);
}

static void copy_waits_for_a_place_among_the_jobs_of_its_disk(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        assert_true(vacuum_budget_join(s->budget));
    start_copy(s);
    AWAIT(progress_of(s).is_waiting && atomic_load(&s->calls) >= 1); /* it tells while it waits */
    assert_false(has_copy(s)); /* and holds nothing */
    OK(stage_put(&s->stage, 100, 5000));
    vacuum_budget_leave(s->budget);
    end_copy(s, 0);
    assert_int_equal(progress_of(s).live_records, KEYS / 2 + 1); /* counted when it began */
    vacuum_budget_leave(s->budget);
    OK(stage_commit(&s->stage));
    check(s);
}

static void waiting_copy_is_cancelled(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        assert_true(vacuum_budget_join(s->budget));
    start_copy(s);
    AWAIT(progress_of(s).is_waiting);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    end_copy(s, KELP_E_CANCELLED);
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        vacuum_budget_leave(s->budget);
    assert_true(vacuum_budget_join(s->budget)); /* the place was not lost */
    assert_true(vacuum_budget_join(s->budget));
    vacuum_budget_leave(s->budget);
    vacuum_budget_leave(s->budget);
}

static void jobs_of_another_disk_do_not_count(void **state)
{
    struct scene *s = *state;
    struct vacuum_budget *other = s->budget;
    OK(vacuum_budget_create(&s->budget, os_real(), NULL, 0));
    for (unsigned i = 0; i < VACUUM_JOBS_PER_DISK; i++)
        assert_true(vacuum_budget_join(other));
    start_copy(s);
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    check(s);
    stage_close(&s->stage);
    vacuum_budget_destroy(other);
}

/* A disk, or a kernel, that does not keep what was written. */
static bool is_write_mangled;

static ssize_t mangle_copy(struct os *os, int fd, const struct iovec *iov, int count, uint64_t offset)
{
    char link[32], path[256] = "";
    ssize_t written = os_real()->ops->pwritev(os_real(), fd, iov, count, offset);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (is_write_mangled && offset > 0 && readlink(link, path, sizeof(path) - 1) > 0 &&
        strstr(path, ".cpd"))
        assert_int_equal(pwrite(fd, "?", 1, (off_t)offset + written / 2), 1);
    return written;
}

static void copy_that_does_not_read_back_is_refused(void **state)
{
    struct scene *s = *state;
    struct os_ops ops = *os_real()->ops;
    struct os os = {&ops};
    ops.pwritev = mangle_copy;
    stage_close(&s->stage);
    OK(stage_open(&s->stage, &os));
    is_write_mangled = true;
    start_copy(s);
    end_copy(s, KELP_E_CORRUPT);
    is_write_mangled = false;
    if (!strstr(s->err.message, "reads back differently"))
        fail_msg("%s", s->err.message);
    assert_false(has_copy(s));
    check(s);
    start_copy(s);
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    check(s);
    stage_close(&s->stage);
}

/* The space is the disk's again when the old files are closed, or the copy was dropped. */
static void space_is_held_until_the_vacuum_is_over(void **state)
{
    struct scene *s = *state;
    start_copy(s);
    end_copy(s, 0);
    assert_true(vacuum_budget_held(s->budget) >= progress_of(s).live_bytes);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_int_equal(vacuum_budget_held(s->budget), 0);
    start_copy(s);
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    AWAIT(vacuum_budget_held(s->budget) == 0);
    start_copy(s); /* once more, right away */
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    check(s);
}

static void closing_waits_for_the_thread_that_closes_the_old_files(void **state)
{
    struct scene *s = *state;
    start_copy(s);
    end_copy(s, 0);
    OK(stage_commit(&s->stage));
    stage_close(&s->stage);
    assert_int_equal(vacuum_budget_held(s->budget), 0);
    OK(stage_open(&s->stage, os_real()));
    check(s);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(paused_copy_holds_still_and_goes_on),
        CASE(paused_copy_is_cancelled),
        CASE(client_that_leaves_a_paused_copy_ends_it),
        CASE(client_that_leaves_behind_a_large_record_ends_it),
        CASE(next_copy_is_not_paused_any_more),
        CASE(there_is_nothing_to_pause_without_a_copy),
        CASE(copy_waits_for_a_place_among_the_jobs_of_its_disk),
        CASE(waiting_copy_is_cancelled),
        CASE(jobs_of_another_disk_do_not_count),
        CASE(copy_that_does_not_read_back_is_refused),
        CASE(space_is_held_until_the_vacuum_is_over),
        CASE(closing_waits_for_the_thread_that_closes_the_old_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
