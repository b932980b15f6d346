/* Vacuum of one volume: what it keeps, what it drops, and what happens around it. */
#include "tests/unit/storage/vacuum_scene.h"

static void vacuum_keeps_the_live_and_drops_the_rest(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct volume_stat before = scene_stat(s);
    assert_true(before.garbage_ratio > 0);
    OK(stage_vacuum(&s->stage));
    struct volume_stat after = scene_stat(s);
    assert_int_equal(after.live_count, before.live_count);
    assert_int_equal(after.live_record_bytes, before.live_record_bytes);
    assert_int_equal(after.dat_bytes, 8 + before.live_record_bytes);
    assert_int_equal(after.idx_bytes, after.live_count * 17);
    assert_int_equal(after.compact_revision, before.compact_revision + 1);
    assert_int_equal(after.max_key, before.max_key);
    assert_true(after.garbage_ratio == 0);
    assert_false(after.is_compacting);
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
    assert_int_equal(scene_stat(s).dat_bytes, after.dat_bytes);
    assert_int_equal(scene_stat(s).read_only, 0);
    OK(stage_put(&s->stage, 200, 10));
}

static void unused_reservation_is_given_back(void **state)
{
    struct scene *s = *state;
    struct os_space before, after;
    scene_begin(s, NULL);
    OK(os_space(s->os, "/d", &before));
    OK(stage_vacuum(&s->stage));
    OK(os_space(s->os, "/d", &after));
    assert_true(after.free_bytes > before.free_bytes);
}

static void asked_reservation_is_kept(void **state)
{
    struct scene *s = *state;
    struct os_space after;
    scene_begin(s, NULL);
    struct vacuum_options options = {.preallocate = 8 << 20};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    OK(stage_commit(&s->stage));
    OK(os_space(s->os, "/d", &after));
    assert_true(after.free_bytes <= (64 << 20) - (8 << 20));
    scene_check(&s->stage);
}

static void index_directory_of_its_own_works(void **state)
{
    struct scene *s = *state;
    scene_begin(s, "/i");
    OK(stage_compact(&s->stage));
    assert_true(volume_file_exists(s->os, "/i/1.cpx"));
    OK(stage_commit(&s->stage));
    scene_assert_no_leftovers(s);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void four_byte_offsets_work(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 4, ""));
    scene_fill(&s->stage);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(scene_stat(s).idx_bytes, scene_stat(s).live_count * 16);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void revision_wraps(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    stage_close(&s->stage);
    int fd = os_open(s->os, "/d/1.dat", O_RDWR, 0);
    uint8_t last[2] = {0xff, 0xff};
    struct iovec iov = {last, 2};
    assert_int_equal(os_pwritev(s->os, fd, &iov, 1, 4), 2);
    os_close(s->os, fd);
    OK(stage_open(&s->stage, s->os));
    assert_int_equal(scene_stat(s).compact_revision, 65535);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(scene_stat(s).compact_revision, 0);
    scene_reopen(s);
    scene_check(&s->stage);
}

/* ---- what happens meanwhile ---- */

static int change_once(void *ctx, const struct vacuum_progress *progress)
{
    struct stage *stage = ctx;
    if (stage->blobs[100].acked.seed != 0)
        return 0;
    OK(stage_put(stage, 100, 5000)); /* new */
    OK(stage_put(stage, 1, 77));     /* overwrite of one that was copied */
    OK(stage_put(stage, 2, 0));      /* by nothing */
    OK(stage_delete(stage, 4));      /* one that was copied */
    OK(stage_delete(stage, 40));     /* the last */
    OK(stage_put(stage, 40, 123));   /* reborn */
    OK(stage_put(stage, 101, 10));   /* new and deleted at once */
    OK(stage_delete(stage, 101));
    return 0;
}

static void changes_during_the_copy_and_after_it_are_kept(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct vacuum_options options = {.on_progress = change_once, .ctx = &s->stage};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    assert_true(s->stage.blobs[100].acked.seed != 0);
    scene_check(&s->stage);
    OK(stage_put(&s->stage, 102, 33));
    OK(stage_put(&s->stage, 100, 44));
    OK(stage_delete(&s->stage, 1));
    OK(stage_delete(&s->stage, 102));
    OK(stage_commit(&s->stage));
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void many_rows_are_replayed_in_rounds(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    for (int i = 0; i < 3000; i++)
        OK(stage_put(&s->stage, 1 + (uint64_t)(i * 7 % 500), (size_t)(i % 900)));
    for (uint64_t key = 1; key < 400; key += 4)
        OK(stage_delete(&s->stage, key));
    OK(stage_commit(&s->stage));
    struct vacuum_progress progress;
    volume_vacuum_progress(s->stage.volume, &progress);
    assert_int_equal(progress.rows_replayed, 3100);
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void large_blobs_are_copied_and_replayed(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_put(&s->stage, 300, 3 << 20));
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 301, (2 << 20) + 5));
    OK(stage_put(&s->stage, 302, 100));
    OK(stage_commit(&s->stage));
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void volume_that_was_empty_takes_writes_during_its_compaction(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, ""));
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 1, 100));
    OK(stage_put(&s->stage, 2, 100));
    OK(stage_delete(&s->stage, 1));
    OK(stage_commit(&s->stage));
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void empty_volume_is_vacuumed(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, ""));
    OK(stage_vacuum(&s->stage));
    assert_int_equal(scene_stat(s).dat_bytes, 8);
    scene_reopen(s);
    OK(stage_put(&s->stage, 1, 100));
    scene_check(&s->stage);
}

static void reader_that_began_before_the_commit_ends_after_it(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct volume_read read;
    struct needle needle;
    OK(volume_read_begin(s->stage.volume, 1, false, &read, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    void *buf = malloc(read.record_size);
    OK(volume_read_record(&read, buf, false, &needle, &s->stage.err));
    assert_int_equal(needle.key, 1);
    free(buf);
    volume_read_end(&read);
    scene_check(&s->stage);
}

static void several_vacuums_in_a_row_keep_all(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    for (int i = 0; i < 5; i++) {
        OK(stage_vacuum(&s->stage));
        OK(stage_put(&s->stage, 10 + (uint64_t)i, 1000));
        scene_check(&s->stage);
    }
    assert_int_equal(scene_stat(s).compact_revision, 5);
    scene_reopen(s);
    scene_check(&s->stage);
}

/* ---- order of calls ---- */

static void commit_without_compact_touches_nothing(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    scene_check(&s->stage);
    OK(stage_put(&s->stage, 50, 10));
}

static void second_compact_starts_afresh(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    OK(stage_delete(&s->stage, 1));
    OK(stage_compact(&s->stage));
    OK(stage_commit(&s->stage));
    assert_int_equal(scene_stat(s).dat_bytes, 8 + scene_stat(s).live_record_bytes);
    scene_check(&s->stage);
}

static void cleanup_drops_a_copy_and_is_fine_with_nothing(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    OK(stage_compact(&s->stage));
    assert_true(scene_exists(s, "1.cpd"));
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    scene_assert_no_leftovers(s);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    scene_check(&s->stage);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

static int compact_again(void *ctx, const struct vacuum_progress *progress)
{
    struct stage *stage = ctx;
    struct volume_stat st;
    volume_stat(stage->volume, &st);
    assert_true(st.is_compacting);
    assert_int_equal(stage_compact(stage), KELP_E_BUSY);
    assert_int_equal(stage_commit(stage), KELP_E_BUSY);
    assert_int_equal(volume_delete_files(stage->volume, &stage->err), KELP_E_BUSY);
    return 0;
}

static void compact_and_commit_during_a_copy_are_refused(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct vacuum_options options = {.on_progress = compact_again, .ctx = &s->stage};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    OK(stage_commit(&s->stage));
    scene_check(&s->stage);
}

static int cancel(void *ctx, const struct vacuum_progress *progress) { return 1; }

static void cancelled_copy_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct vacuum_options options = {.on_progress = cancel};
    assert_int_equal(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err),
                     KELP_E_CANCELLED);
    scene_assert_no_leftovers(s);
    assert_false(scene_stat(s).is_compacting);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

struct starved { /* a copy that would take ages, and the thread that runs it */
    struct scene *scene;
    struct vacuum_budget *budget;
    int code;
    struct error err;
};

static void *run_starved(void *ctx)
{
    struct starved *starved = ctx;
    struct vacuum_options options = {.budget = starved->budget};
    starved->code = volume_vacuum_compact(starved->scene->stage.volume, &options, &starved->err);
    return NULL;
}

static void start_starved(struct scene *s, struct starved *starved, pthread_t *thread)
{
    *starved = (struct starved){.scene = s};
    OK(vacuum_budget_create(&starved->budget, os_real(), NULL, 1));
    OK(pthread_create(thread, NULL, run_starved, starved));
    struct vacuum_progress progress;
    do
        volume_vacuum_progress(s->stage.volume, &progress);
    while (progress.state != VACUUM_COPYING);
}

static void cleanup_of_a_running_copy_ends_it_within_a_second(void **state)
{
    struct scene *s = *state;
    struct starved starved;
    pthread_t thread;
    scene_begin(s, NULL);
    start_starved(s, &starved, &thread);
    int64_t since = os_monotonic_ns(os_real());
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_true(os_monotonic_ns(os_real()) - since < 1000000000);
    pthread_join(thread, NULL);
    assert_int_equal(starved.code, KELP_E_CANCELLED);
    vacuum_budget_destroy(starved.budget);
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
}

static void closing_ends_a_running_copy(void **state)
{
    struct scene *s = *state;
    struct starved starved;
    pthread_t thread;
    scene_begin(s, NULL);
    start_starved(s, &starved, &thread);
    stage_close(&s->stage);
    pthread_join(thread, NULL);
    assert_int_equal(starved.code, KELP_E_CANCELLED);
    vacuum_budget_destroy(starved.budget);
    scene_assert_no_leftovers(s);
    OK(stage_open(&s->stage, s->os));
    scene_check(&s->stage);
}

static void closing_drops_a_completed_copy(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    stage_close(&s->stage);
    scene_assert_no_leftovers(s);
    OK(stage_open(&s->stage, s->os));
    scene_check(&s->stage);
}

/* ---- TTL ---- */

static void expired_needles_go_by_the_ttl_of_the_volume(void **state)
{
    struct scene *s = *state;
    uint64_t now = (uint64_t)(os_now_ns(s->os) / 1000000000);
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, "1h"));
    s->stage.blob_ttl = (struct ttl){1, 2};
    s->stage.blob_modified = now - 3601;
    for (uint64_t key = 1; key <= 10; key++)
        OK(stage_put(&s->stage, key, 100));
    s->stage.blob_modified = now;
    for (uint64_t key = 11; key <= 15; key++)
        OK(stage_put(&s->stage, key, 100));
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 2, 50)); /* an expired one is written anew meanwhile */
    OK(stage_delete(&s->stage, 3));
    OK(stage_delete(&s->stage, 11));
    OK(stage_commit(&s->stage));
    assert_int_equal(scene_stat(s).live_count, 1 + 4);
    for (uint64_t key = 1; key <= 10; key++)
        if (key != 2)
            s->stage.blobs[key] = (struct stage_blob){0};
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void ttl_of_a_needle_alone_does_not_drop_it(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, ""));
    s->stage.blob_ttl = (struct ttl){1, 1};
    s->stage.blob_modified = 1000;
    OK(stage_put(&s->stage, 1, 100));
    OK(stage_vacuum(&s->stage));
    assert_int_equal(scene_stat(s).live_count, 1);
    scene_check(&s->stage);
}

static void age_of_the_dat_is_kept(void **state)
{
    struct scene *s = *state;
    struct os_stat before, after;
    scene_begin(s, NULL);
    OK(os_stat(s->os, "/d/1.dat", &before));
    disk_os_advance(s->disk, (int64_t)3600 * 1000000000);
    OK(stage_vacuum(&s->stage));
    OK(os_stat(s->os, "/d/1.dat", &after));
    assert_int_equal(after.mtime_ns, before.mtime_ns);
}

/* ---- progress, pause ---- */

static int note_progress(void *ctx, const struct vacuum_progress *progress)
{
    struct vacuum_progress *last = ctx;
    assert_true(progress->source_offset >= last->source_offset);
    assert_true(progress->bytes_copied >= last->bytes_copied);
    assert_true(progress->source_offset <= progress->bytes_total);
    assert_int_equal(progress->state, VACUUM_COPYING);
    *last = *progress;
    return 0;
}

static void progress_grows_to_the_whole(void **state)
{
    struct scene *s = *state;
    struct vacuum_progress last = {0};
    scene_begin(s, NULL);
    volume_vacuum_progress(s->stage.volume, &last);
    assert_int_equal(last.state, VACUUM_IDLE);
    struct volume_stat before = scene_stat(s);
    struct vacuum_options options = {.on_progress = note_progress, .ctx = &last};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    assert_int_equal(last.bytes_copied, before.live_record_bytes);
    assert_int_equal(last.records_copied, before.live_count);
    assert_int_equal(last.live_records, before.live_count);
    assert_int_equal(last.bytes_total, before.dat_bytes);
    volume_vacuum_progress(s->stage.volume, &last);
    assert_int_equal(last.state, VACUUM_COPIED);
    uint64_t pause_ns = 0;
    OK(volume_vacuum_commit(s->stage.volume, &pause_ns, &s->stage.err));
    volume_vacuum_progress(s->stage.volume, &last);
    assert_int_equal(last.state, VACUUM_IDLE);
    assert_int_equal(last.pause_ns, pause_ns);
    assert_true(pause_ns > 0);
    assert_int_equal(last.bytes_reclaimed, before.dat_bytes - scene_stat(s).dat_bytes);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
        CASE(vacuum_keeps_the_live_and_drops_the_rest),
        CASE(unused_reservation_is_given_back),
        CASE(asked_reservation_is_kept),
        CASE(index_directory_of_its_own_works),
        CASE(four_byte_offsets_work),
        CASE(revision_wraps),
        CASE(changes_during_the_copy_and_after_it_are_kept),
        CASE(many_rows_are_replayed_in_rounds),
        CASE(large_blobs_are_copied_and_replayed),
        CASE(volume_that_was_empty_takes_writes_during_its_compaction),
        CASE(empty_volume_is_vacuumed),
        CASE(reader_that_began_before_the_commit_ends_after_it),
        CASE(several_vacuums_in_a_row_keep_all),
        CASE(commit_without_compact_touches_nothing),
        CASE(second_compact_starts_afresh),
        CASE(cleanup_drops_a_copy_and_is_fine_with_nothing),
        CASE(compact_and_commit_during_a_copy_are_refused),
        CASE(cancelled_copy_leaves_nothing_behind),
        CASE(cleanup_of_a_running_copy_ends_it_within_a_second),
        CASE(closing_ends_a_running_copy),
        CASE(closing_drops_a_completed_copy),
        CASE(expired_needles_go_by_the_ttl_of_the_volume),
        CASE(ttl_of_a_needle_alone_does_not_drop_it),
        CASE(age_of_the_dat_is_kept),
        CASE(progress_grows_to_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
