/* The commit of a vacuum: what is written, and promised, around the swap. */
#include "tests/unit/storage/vacuum_scene.h"

/* Does something at the first call of a kind on a file, the next watcher at a later one. */
struct watcher {
    struct scene *s;
    enum fault_os_call kind;
    const char *suffix;
    void (*act)(struct scene *);
    struct watcher *next;
    unsigned strikes;
};

static void on_call(void *ctx, enum fault_os_call kind, const char *path)
{
    struct watcher *w = ctx;
    while (w && w->strikes > 0)
        w = w->next;
    size_t n = path ? strlen(path) : 0, m = w ? strlen(w->suffix) : 0;
    if (!w || kind != w->kind || n < m || strcmp(path + n - m, w->suffix) != 0)
        return;
    w->strikes++;
    w->act(w->s);
}

/* Every way in which the power may fail at that moment leaves all that was acknowledged. */
static void assert_moment_survives(const struct scene_moment *moment)
{
    static struct stage after;
    for (unsigned i = 0; i < 5 * DISK_OS_LOSSES; i++) {
        struct disk_os *disk;
        disk_os_clone(moment->disk, &disk);
        disk_os_lose_power(disk, (enum disk_os_loss)(i % DISK_OS_LOSSES), i);
        after = moment->stage;
        after.volume = NULL;
        after.queue = NULL;
        stage_lose_power(&after);
        OK(stage_open(&after, disk_os_get(disk)));
        scene_check(&after);
        stage_close(&after);
        disk_os_destroy(disk);
    }
}

/* The watchers run inside of the commit, which holds locks that whoever cleans up needs: an assertion that
 * left from there would wait for ever. So what they find is kept, and looked at afterwards. */
static void keep_moment(struct scene *s)
{
    CHECK(s->moment_count < SCENE_MOMENTS);
    struct scene_moment *moment = &s->moments[s->moment_count++];
    disk_os_clone(s->disk, &moment->disk);
    moment->stage = s->stage;
}

static void put_durably(struct scene *s)
{
    s->stage.is_durable = true;
    for (uint64_t key = 70; key < 74; key++)
        s->broken |= stage_put(&s->stage, key, key == 72 ? 0 : 500) != 0;
    s->broken |= stage_delete(&s->stage, 1) != 0;
    keep_moment(s);
}

static void put_without_a_promise(struct scene *s)
{
    s->stage.is_durable = false;
    s->broken |= stage_put(&s->stage, 80, 800) != 0;
    s->broken |= stage_delete(&s->stage, 80) != 0;
}

static void commit_watched(struct scene *s, struct watcher *w)
{
    scene_begin(s, NULL);
    OK(stage_sync(&s->stage));
    OK(stage_compact(&s->stage));
    fault_os_watch(s->fault, on_call, w);
    int code = stage_commit(&s->stage);
    fault_os_watch(s->fault, NULL, NULL);
    OK(code);
    assert_false(s->broken);
    for (; w; w = w->next)
        assert_int_equal(w->strikes, 1);
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
    OK(stage_sync(&s->stage));
    keep_moment(s);
    for (unsigned i = 0; i < s->moment_count; i++)
        assert_moment_survives(&s->moments[i]);
}

/* The age is set between the rounds that are synced and those that are not. */
static void promise_after_the_last_synced_round_is_safe_once_the_marker_is(void **state)
{
    struct watcher fourth = {*state, FAULT_FSYNC, ".cpc", keep_moment, NULL, 0};
    struct watcher third = {*state, FAULT_FSYNC, ".cpd", keep_moment, &fourth, 0};
    struct watcher second = {*state, FAULT_OPEN, ".cpc", keep_moment, &third, 0};
    struct watcher first = {*state, FAULT_SET_MTIME, ".cpd", put_durably, &second, 0};
    commit_watched(*state, &first);
}

/* As a durable empty blob whose row cannot be synced is, when the rounds have seen its row. */
static void replace_last_row(struct scene *s)
{
    struct volume *volume = s->stage.volume;
    volume_lock_appends(volume);
    struct volume_generation *generation = volume->generation;
    uint64_t end = index_file_end(&generation->idx);
    s->broken = index_file_truncate(&generation->idx, end - 17, NULL) != 0 ||
                needle_index_delete(generation->index, 90, NEEDLE_INDEX_RUNTIME, NULL) != 0;
    volume_unlock_appends(volume);
    s->stage.blobs[90].acked = (struct stage_state){0};
    s->broken |= stage_put(&s->stage, 91, 0) != 0;
}

static void rows_that_were_replaced_amid_the_commit_refuse_it(void **state)
{
    struct scene *s = *state;
    struct watcher watcher = {s, FAULT_SET_MTIME, ".cpd", replace_last_row, NULL, 0};
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 90, 0));
    fault_os_watch(s->fault, on_call, &watcher);
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    fault_os_watch(s->fault, NULL, NULL);
    assert_false(s->broken);
    scene_check(&s->stage);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

/* Whatever is replayed, more has come by then. */
static void write_faster(void *ctx, enum fault_os_call kind, const char *path)
{
    struct scene *s = ctx;
    const struct vacuum *v = (const struct vacuum *)(void *)s->stage.volume->vacuum;
    size_t n = strlen(path);
    if (kind != FAULT_WRITE || n < 4 || strcmp(path + n - 4, ".cpx") != 0)
        return;
    while (index_file_end(&v->old->idx) - v->mark < 2200 * index_row_size(v->old->offset_bytes))
        s->broken |= stage_put_batch(&s->stage, 41, 40, 0) != 0;
}

static void writers_that_outrun_the_commit_are_not_held_up(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    s->stage.is_durable = true; /* the stage remembers a few plain writes only */
    OK(stage_compact(&s->stage));
    for (unsigned i = 0; i < 30; i++)
        OK(stage_put_batch(&s->stage, 41, 40, 0));
    fault_os_watch(s->fault, write_faster, s);
    assert_int_equal(stage_commit(&s->stage), KELP_E_LIMIT);
    fault_os_watch(s->fault, NULL, NULL);
    assert_false(s->broken);
    scene_check(&s->stage);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

static void promise_made_while_the_swap_settles_is_kept(void **state)
{
    struct watcher watcher = {*state, FAULT_FSYNC, ".cpc", put_durably, NULL, 0};
    commit_watched(*state, &watcher);
}

/* The promise's own settling fails when the committer's has synced the new files already. */
static void fail_a_promise(struct scene *s)
{
    s->stage.is_durable = true;
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, false);
    s->broken |= stage_put(&s->stage, 70, 500) == 0;
}

static void what_a_promise_could_not_settle_the_commit_does_not(void **state)
{
    struct scene *s = *state;
    struct watcher watcher = {s, FAULT_FSYNC, ".cpc", fail_a_promise, NULL, 0};
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_watch(s->fault, on_call, &watcher);
    int code = stage_commit(&s->stage);
    fault_os_watch(s->fault, NULL, NULL);
    assert_int_equal(watcher.strikes, 1);
    assert_false(s->broken);
    assert_int_equal(code, KELP_E_READ_ONLY);
    assert_true(scene_exists(s, "1.cpd")); /* the old files have not been replaced */
    assert_true(scene_stat(s).read_only & VOLUME_RO_IO_ERROR);
    assert_int_equal(stage_commit(&s->stage), KELP_E_READ_ONLY);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_commit(&s->stage));
    scene_assert_no_leftovers(s);
    OK(stage_put(&s->stage, 60, 60));
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void promise_made_after_the_marker_is_synced_is_kept(void **state)
{
    struct watcher watcher = {*state, FAULT_RENAME, ".dat", put_durably, NULL, 0};
    commit_watched(*state, &watcher);
}

static void writers_without_a_promise_do_not_wait_for_the_settling(void **state)
{
    /* On the committer's own thread: it would never come back if the lock were held. */
    struct watcher third = {*state, FAULT_FSYNC, ".cpc", put_without_a_promise, NULL, 0};
    struct watcher second = {*state, FAULT_FSYNC, ".cpd", put_without_a_promise, &third, 0};
    struct watcher first = {*state, FAULT_SET_MTIME, ".cpd", put_without_a_promise, &second, 0};
    commit_watched(*state, &first);
}

static void failed_rename_after_the_decision_serves_the_new_content(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_RENAME, 1, EIO, false);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_int_equal(scene_stat(s).compact_revision, 1);
    assert_true(scene_exists(s, "1.cpc"));
    scene_check(&s->stage);
    assert_int_equal(volume_vacuum_cleanup(s->stage.volume, &s->stage.err), KELP_E_PRECONDITION);
    OK(stage_commit(&s->stage)); /* completes it */
    scene_assert_no_leftovers(s);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    scene_check(&s->stage);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void failed_rename_is_completed_by_the_next_start(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_RENAME, 1, EIO, true);
    fault_os_only(s->fault, ".idx");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    stage_close(&s->stage);
    fault_os_clear(s->fault);
    OK(stage_open(&s->stage, s->os));
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
}

static void read_only_volume_is_vacuumed(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(volume_mark_read_only(s->stage.volume, false, true, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
    assert_true(scene_stat(s).read_only & VOLUME_RO_OPERATOR);
    scene_reopen(s);
    scene_check(&s->stage);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
        CASE(rows_that_were_replaced_amid_the_commit_refuse_it),
        CASE(writers_that_outrun_the_commit_are_not_held_up),
        CASE(promise_after_the_last_synced_round_is_safe_once_the_marker_is),
        CASE(promise_made_while_the_swap_settles_is_kept),
        CASE(what_a_promise_could_not_settle_the_commit_does_not),
        CASE(promise_made_after_the_marker_is_synced_is_kept),
        CASE(writers_without_a_promise_do_not_wait_for_the_settling),
        CASE(failed_rename_after_the_decision_serves_the_new_content),
        CASE(failed_rename_is_completed_by_the_next_start),
        CASE(read_only_volume_is_vacuumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
