/* Vacuum of one volume: what it keeps, what it drops, and what happens around it. */
#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_stage.h"
#include "volume/storage/vacuum_internal.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 40u

/* What was on the disk, and promised, in the middle of something. */
#define MOMENTS 8u
struct moment {
    struct disk_os *disk;
    struct stage stage;
};

struct scene {
    struct moment moments[MOMENTS];
    unsigned moment_count;
    bool broken; /* something failed where no assertion may leave */
    struct disk_os *disk;
    struct fault_os *fault;
    struct os *os;
    struct stage stage;
};

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    disk_os_create(&s->disk, 64 << 20);
    fault_os_create(&s->fault, disk_os_get(s->disk));
    s->os = fault_os_get(s->fault);
    assert_int_equal(os_mkdir(s->os, "/d", 0755), 0);
    assert_int_equal(os_mkdir(s->os, "/i", 0755), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    stage_close(&s->stage);
    for (unsigned i = 0; i < s->moment_count; i++)
        disk_os_destroy(s->moments[i].disk);
    fault_os_destroy(s->fault);
    disk_os_destroy(s->disk);
    free(s);
    return 0;
}

#define OK(call) assert_int_equal(call, 0)
static void check(struct stage *stage)
{
    if (stage_check(stage) != 0)
        fail_msg("%s", stage->complaint);
}

static void reopen(struct scene *s)
{
    stage_close(&s->stage);
    if (stage_open(&s->stage, s->os) != 0)
        fail_msg("%s", s->stage.err.message);
}

/* Sizes round every alignment, an empty one, overwrites, deletes, one reborn. */
static void fill(struct stage *stage)
{
    for (uint64_t key = 1; key <= KEYS; key++)
        OK(stage_put(stage, key, key == 7 ? 0 : key * key * 3));
    for (uint64_t key = 2; key <= KEYS; key += 3)
        OK(stage_delete(stage, key));
    for (uint64_t key = 3; key <= KEYS; key += 5)
        OK(stage_put(stage, key, key * 11));
    OK(stage_put(stage, 2, 99));
}

static void begin(struct scene *s, const char *index_dir)
{
    OK(stage_create(&s->stage, s->os, "/d", index_dir, 5, ""));
    fill(&s->stage);
}

static bool exists(struct scene *s, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/d/%s", name);
    bool is_in_data = volume_file_exists(s->os, path);
    path[1] = 'i';
    return is_in_data || volume_file_exists(s->os, path);
}

static void assert_no_leftovers(struct scene *s)
{
    assert_false(exists(s, "1.cpd"));
    assert_false(exists(s, "1.cpx"));
    assert_false(exists(s, "1.cpc"));
}

static struct volume_stat stat_of(struct scene *s)
{
    struct volume_stat st;
    volume_stat(s->stage.volume, &st);
    return st;
}

static void vacuum_keeps_the_live_and_drops_the_rest(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    struct volume_stat before = stat_of(s);
    assert_true(before.garbage_ratio > 0);
    OK(stage_vacuum(&s->stage));
    struct volume_stat after = stat_of(s);
    assert_int_equal(after.live_count, before.live_count);
    assert_int_equal(after.live_record_bytes, before.live_record_bytes);
    assert_int_equal(after.dat_bytes, 8 + before.live_record_bytes);
    assert_int_equal(after.idx_bytes, after.live_count * 17);
    assert_int_equal(after.compact_revision, before.compact_revision + 1);
    assert_int_equal(after.max_key, before.max_key);
    assert_true(after.garbage_ratio == 0);
    assert_false(after.is_compacting);
    assert_no_leftovers(s);
    check(&s->stage);
    reopen(s);
    check(&s->stage);
    assert_int_equal(stat_of(s).dat_bytes, after.dat_bytes);
    assert_int_equal(stat_of(s).read_only, 0);
    OK(stage_put(&s->stage, 200, 10));
}

static void unused_reservation_is_given_back(void **state)
{
    struct scene *s = *state;
    struct os_space before, after;
    begin(s, NULL);
    OK(os_space(s->os, "/d", &before));
    OK(stage_vacuum(&s->stage));
    OK(os_space(s->os, "/d", &after));
    assert_true(after.free_bytes > before.free_bytes);
}

static void asked_reservation_is_kept(void **state)
{
    struct scene *s = *state;
    struct os_space after;
    begin(s, NULL);
    struct vacuum_options options = {.preallocate = 8 << 20};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    OK(stage_commit(&s->stage));
    OK(os_space(s->os, "/d", &after));
    assert_true(after.free_bytes <= (64 << 20) - (8 << 20));
    check(&s->stage);
}

static void index_directory_of_its_own_works(void **state)
{
    struct scene *s = *state;
    begin(s, "/i");
    OK(stage_compact(&s->stage));
    assert_true(volume_file_exists(s->os, "/i/1.cpx"));
    OK(stage_commit(&s->stage));
    assert_no_leftovers(s);
    reopen(s);
    check(&s->stage);
}

static void four_byte_offsets_work(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 4, ""));
    fill(&s->stage);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stat_of(s).idx_bytes, stat_of(s).live_count * 16);
    reopen(s);
    check(&s->stage);
}

static void revision_wraps(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    stage_close(&s->stage);
    int fd = os_open(s->os, "/d/1.dat", O_RDWR, 0);
    uint8_t last[2] = {0xff, 0xff};
    struct iovec iov = {last, 2};
    assert_int_equal(os_pwritev(s->os, fd, &iov, 1, 4), 2);
    os_close(s->os, fd);
    OK(stage_open(&s->stage, s->os));
    assert_int_equal(stat_of(s).compact_revision, 65535);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stat_of(s).compact_revision, 0);
    reopen(s);
    check(&s->stage);
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
    begin(s, NULL);
    struct vacuum_options options = {.on_progress = change_once, .ctx = &s->stage};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    assert_true(s->stage.blobs[100].acked.seed != 0);
    check(&s->stage);
    OK(stage_put(&s->stage, 102, 33));
    OK(stage_put(&s->stage, 100, 44));
    OK(stage_delete(&s->stage, 1));
    OK(stage_delete(&s->stage, 102));
    OK(stage_commit(&s->stage));
    check(&s->stage);
    reopen(s);
    check(&s->stage);
}

static void many_rows_are_replayed_in_rounds(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    for (int i = 0; i < 3000; i++)
        OK(stage_put(&s->stage, 1 + (uint64_t)(i * 7 % 500), (size_t)(i % 900)));
    for (uint64_t key = 1; key < 400; key += 4)
        OK(stage_delete(&s->stage, key));
    OK(stage_commit(&s->stage));
    struct vacuum_progress progress;
    volume_vacuum_progress(s->stage.volume, &progress);
    assert_int_equal(progress.rows_replayed, 3100);
    check(&s->stage);
    reopen(s);
    check(&s->stage);
}

static void large_blobs_are_copied_and_replayed(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_put(&s->stage, 300, 3 << 20));
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 301, (2 << 20) + 5));
    OK(stage_put(&s->stage, 302, 100));
    OK(stage_commit(&s->stage));
    check(&s->stage);
    reopen(s);
    check(&s->stage);
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
    check(&s->stage);
    reopen(s);
    check(&s->stage);
}

static void empty_volume_is_vacuumed(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, ""));
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stat_of(s).dat_bytes, 8);
    reopen(s);
    OK(stage_put(&s->stage, 1, 100));
    check(&s->stage);
}

static void reader_that_began_before_the_commit_ends_after_it(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    struct volume_read read;
    struct needle needle;
    OK(volume_read_begin(s->stage.volume, 1, false, &read, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    void *buf = malloc(read.record_size);
    OK(volume_read_record(&read, buf, false, &needle, &s->stage.err));
    assert_int_equal(needle.key, 1);
    free(buf);
    volume_read_end(&read);
    check(&s->stage);
}

static void several_vacuums_in_a_row_keep_all(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    for (int i = 0; i < 5; i++) {
        OK(stage_vacuum(&s->stage));
        OK(stage_put(&s->stage, 10 + (uint64_t)i, 1000));
        check(&s->stage);
    }
    assert_int_equal(stat_of(s).compact_revision, 5);
    reopen(s);
    check(&s->stage);
}

/* ---- order of calls ---- */

static void commit_without_compact_touches_nothing(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    check(&s->stage);
    OK(stage_put(&s->stage, 50, 10));
}

static void second_compact_starts_afresh(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    OK(stage_delete(&s->stage, 1));
    OK(stage_compact(&s->stage));
    OK(stage_commit(&s->stage));
    assert_int_equal(stat_of(s).dat_bytes, 8 + stat_of(s).live_record_bytes);
    check(&s->stage);
}

static void cleanup_drops_a_copy_and_is_fine_with_nothing(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    OK(stage_compact(&s->stage));
    assert_true(exists(s, "1.cpd"));
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_no_leftovers(s);
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    check(&s->stage);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
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
    begin(s, NULL);
    struct vacuum_options options = {.on_progress = compact_again, .ctx = &s->stage};
    OK(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err));
    OK(stage_commit(&s->stage));
    check(&s->stage);
}

static int cancel(void *ctx, const struct vacuum_progress *progress) { return 1; }

static void cancelled_copy_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    struct vacuum_options options = {.on_progress = cancel};
    assert_int_equal(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err),
                     KELP_E_CANCELLED);
    assert_no_leftovers(s);
    assert_false(stat_of(s).is_compacting);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
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
    begin(s, NULL);
    start_starved(s, &starved, &thread);
    int64_t since = os_monotonic_ns(os_real());
    OK(volume_vacuum_cleanup(s->stage.volume, &s->stage.err));
    assert_true(os_monotonic_ns(os_real()) - since < 1000000000);
    pthread_join(thread, NULL);
    assert_int_equal(starved.code, KELP_E_CANCELLED);
    vacuum_budget_destroy(starved.budget);
    assert_no_leftovers(s);
    check(&s->stage);
}

static void closing_ends_a_running_copy(void **state)
{
    struct scene *s = *state;
    struct starved starved;
    pthread_t thread;
    begin(s, NULL);
    start_starved(s, &starved, &thread);
    stage_close(&s->stage);
    pthread_join(thread, NULL);
    assert_int_equal(starved.code, KELP_E_CANCELLED);
    vacuum_budget_destroy(starved.budget);
    assert_no_leftovers(s);
    OK(stage_open(&s->stage, s->os));
    check(&s->stage);
}

static void closing_drops_a_completed_copy(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    stage_close(&s->stage);
    assert_no_leftovers(s);
    OK(stage_open(&s->stage, s->os));
    check(&s->stage);
}

/* ---- space ---- */

static void too_little_space_is_refused_with_what_is_missing(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    struct os_space space;
    OK(os_space(s->os, "/d", &space));
    disk_os_set_capacity(s->disk, space.total_bytes - space.free_bytes + 5000);
    assert_int_equal(stage_compact(&s->stage), KELP_E_NO_SPACE);
    char missing[64];
    snprintf(missing, sizeof(missing), "%llu are missing",
             (unsigned long long)(8 + stat_of(s).live_record_bytes + stat_of(s).live_record_bytes / 512 +
                                  17 * stat_of(s).live_count - 5000));
    if (!strstr(s->stage.err.message, missing))
        fail_msg("%s lacks %s", s->stage.err.message, missing);
    assert_no_leftovers(s);
    check(&s->stage);
}

static void floor_of_the_disk_is_respected(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    struct vacuum_options options = {.space_floor_bytes = 64 << 20};
    assert_int_equal(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err),
                     KELP_E_NO_SPACE);
    assert_non_null(strstr(s->stage.err.message, "a floor of 67108864"));
}

static void reservation_that_fails_is_no_space(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    fault_os_fail(s->fault, FAULT_FALLOCATE, 1, ENOSPC, false);
    assert_int_equal(stage_compact(&s->stage), KELP_E_NO_SPACE);
    assert_no_leftovers(s);
    fault_os_clear(s->fault);
    fault_os_fail(s->fault, FAULT_FALLOCATE, 1, EOPNOTSUPP, true);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
}

/* ---- what is wrong with the volume ---- */

static uint64_t garble(struct scene *s, uint64_t key, uint64_t at)
{
    struct volume_read read;
    OK(volume_read_begin(s->stage.volume, key, false, &read, &s->stage.err));
    uint64_t offset = read.offset;
    volume_read_end(&read);
    int fd = os_open(s->os, "/d/1.dat", O_RDWR, 0);
    uint8_t byte;
    assert_int_equal(os_pread(s->os, fd, &byte, 1, offset + at), 1);
    byte ^= 0xff;
    struct iovec iov = {&byte, 1};
    assert_int_equal(os_pwritev(s->os, fd, &iov, 1, offset + at), 1);
    os_close(s->os, fd);
    return offset;
}

static void damaged_record_is_carried_over_and_listed(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    uint64_t in_data = garble(s, 10, 30), in_header = garble(s, 12, 6);
    OK(stage_compact(&s->stage));
    struct vacuum_damage damages[4];
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, damages, 4), 2);
    assert_int_equal(damages[0].key, 10);
    assert_int_equal(damages[0].offset, in_data);
    assert_int_equal(damages[1].key, 12);
    assert_int_equal(damages[1].offset, in_header);
    assert_true(strlen(damages[0].reason) > 0 && strlen(damages[1].reason) > 0);
    assert_int_equal(stat_of(s).damaged_count, 2);
    OK(stage_commit(&s->stage));
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, damages, 1), 2);
    /* The bytes are there: turning the flipped ones back makes the blobs whole. */
    garble(s, 10, 30);
    garble(s, 12, 6);
    check(&s->stage);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, NULL, 0), 0);
}

static void restart_after_the_vacuum_leaves_a_damaged_record_alone(void **state)
{
    struct scene *s = *state;
    for (uint64_t at = 13; at <= 30; at += 17) { /* in the header, in the data */
        for (uint64_t key = 10; key <= 40; key += 30) { /* in the middle, last */
            struct volume_read read;
            begin(s, NULL);
            OK(stage_put(&s->stage, 40, 200));
            garble(s, key, at);
            OK(stage_vacuum(&s->stage));
            reopen(s);
            if (volume_read_begin(s->stage.volume, key, false, &read, &s->stage.err) != 0)
                fail_msg("byte %d of %d: %s", (int)at, (int)key, s->stage.err.message);
            volume_read_end(&read);
            garble(s, key, at);
            check(&s->stage);
            stage_close(&s->stage);
            assert_int_equal(os_unlink(s->os, "/d/1.dat"), 0);
            assert_int_equal(os_unlink(s->os, "/d/1.idx"), 0);
            assert_int_equal(os_unlink(s->os, "/d/1.vif"), 0);
            s->stage = (struct stage){0};
        }
    }
}

static void device_error_while_copying_aborts(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    fault_os_fail(s->fault, FAULT_READ, 1, EIO, false);
    assert_int_equal(stage_compact(&s->stage), KELP_E_IO);
    assert_no_leftovers(s);
    fault_os_clear(s->fault);
    check(&s->stage);
    assert_int_equal(stat_of(s).read_only, 0);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
}

static void failed_fsync_in_the_commit_quarantines(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, false);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_true(stat_of(s).read_only & VOLUME_RO_IO_ERROR);
    assert_no_leftovers(s);
    check(&s->stage);
    assert_int_equal(stage_compact(&s->stage), KELP_E_READ_ONLY);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
}

static void marker_that_cannot_be_created_leaves_the_old_generation(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_OPEN, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_no_leftovers(s);
    assert_int_equal(stat_of(s).compact_revision, 0);
    assert_int_equal(stat_of(s).read_only, 0);
    OK(stage_put(&s->stage, 60, 60));
    reopen(s);
    check(&s->stage);
}

static void marker_that_cannot_be_synced_decides_and_nothing_is_promised(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_int_equal(stat_of(s).compact_revision, 1);
    assert_true(stat_of(s).read_only & VOLUME_RO_IO_ERROR);
    check(&s->stage);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    s->stage.is_durable = true;
    assert_int_equal(stage_put(&s->stage, 61, 61), KELP_E_IO);
    assert_true(stat_of(s).read_only & VOLUME_RO_IO_ERROR);
    assert_int_not_equal(volume_sync(s->stage.volume, NULL), 0);
    fault_os_clear(s->fault);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 62, 62));
    OK(stage_commit(&s->stage)); /* completes it */
    assert_no_leftovers(s);
    reopen(s);
    check(&s->stage);
}

static void failed_sync_of_a_decided_swap_is_not_tried_again_unasked(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, false);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    uint64_t syncs = fault_os_count(s->fault, FAULT_FSYNC);
    assert_int_equal(stage_commit(&s->stage), KELP_E_READ_ONLY);
    assert_int_equal(fault_os_count(s->fault, FAULT_FSYNC), syncs);
    assert_int_equal(volume_sync(s->stage.volume, &s->stage.err), KELP_E_READ_ONLY);
    assert_true(exists(s, "1.cpd") && exists(s, "1.cpx") && exists(s, "1.cpc"));
    check(&s->stage);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_commit(&s->stage));
    assert_no_leftovers(s);
    OK(stage_put(&s->stage, 60, 60));
    reopen(s);
    check(&s->stage);
}

static void create_marker(void *ctx, enum fault_os_call kind, const char *path)
{
    struct scene *s = ctx;
    struct os *os = disk_os_get(s->disk);
    if (kind == FAULT_OPEN && path && strcmp(path, "/d/1.cpc") == 0)
        os_close(os, os_open(os, path, O_WRONLY | O_CREAT, 0644));
}

static void marker_that_cannot_be_taken_back_stops_writes(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_OPEN | FAULT_UNLINK, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    fault_os_watch(s->fault, create_marker, s);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    fault_os_watch(s->fault, NULL, NULL);
    assert_true(exists(s, "1.cpc"));
    /* A start would take the copy: what is written to the old files would be gone. */
    assert_int_equal(stage_put(&s->stage, 60, 60), KELP_E_READ_ONLY);
    assert_int_not_equal(volume_mark_writable(s->stage.volume, &s->stage.err), 0);
    fault_os_clear(s->fault);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    assert_false(exists(s, "1.cpc"));
    OK(stage_put(&s->stage, 60, 60));
    reopen(s);
    check(&s->stage);
    assert_int_equal(stat_of(s).compact_revision, 0);
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

/* ---- what is promised around the swap ---- */

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
static void assert_moment_survives(const struct moment *moment)
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
        check(&after);
        stage_close(&after);
        disk_os_destroy(disk);
    }
}

/* The watchers run inside of the commit, which holds locks that whoever cleans up needs: an assertion that
 * left from there would wait for ever. So what they find is kept, and looked at afterwards. */
static void keep_moment(struct scene *s)
{
    CHECK(s->moment_count < MOMENTS);
    struct moment *moment = &s->moments[s->moment_count++];
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
    begin(s, NULL);
    OK(stage_sync(&s->stage));
    OK(stage_compact(&s->stage));
    fault_os_watch(s->fault, on_call, w);
    int code = stage_commit(&s->stage);
    fault_os_watch(s->fault, NULL, NULL);
    OK(code);
    assert_false(s->broken);
    for (; w; w = w->next)
        assert_int_equal(w->strikes, 1);
    assert_no_leftovers(s);
    check(&s->stage);
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

static void rows_that_were_replaced_amid_the_commit_refuse_it(void **state)
{
    struct scene *s = *state;
    struct watcher watcher = {s, FAULT_SET_MTIME, ".cpd", replace_last_row, NULL, 0};
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    OK(stage_put(&s->stage, 90, 0));
    fault_os_watch(s->fault, on_call, &watcher);
    assert_int_equal(stage_commit(&s->stage), KELP_E_PRECONDITION);
    fault_os_watch(s->fault, NULL, NULL);
    assert_false(s->broken);
    check(&s->stage);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
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
    begin(s, NULL);
    s->stage.is_durable = true; /* the stage remembers a few plain writes only */
    OK(stage_compact(&s->stage));
    for (unsigned i = 0; i < 30; i++)
        OK(stage_put_batch(&s->stage, 41, 40, 0));
    fault_os_watch(s->fault, write_faster, s);
    assert_int_equal(stage_commit(&s->stage), KELP_E_LIMIT);
    fault_os_watch(s->fault, NULL, NULL);
    assert_false(s->broken);
    check(&s->stage);
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
}

static void promise_made_while_the_swap_settles_is_kept(void **state)
{
    struct watcher watcher = {*state, FAULT_FSYNC, ".cpc", put_durably, NULL, 0};
    commit_watched(*state, &watcher);
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
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_RENAME, 1, EIO, false);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_int_equal(stat_of(s).compact_revision, 1);
    assert_true(exists(s, "1.cpc"));
    check(&s->stage);
    assert_int_equal(volume_vacuum_cleanup(s->stage.volume, &s->stage.err), KELP_E_PRECONDITION);
    OK(stage_commit(&s->stage)); /* completes it */
    assert_no_leftovers(s);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    check(&s->stage);
    reopen(s);
    check(&s->stage);
}

static void failed_rename_is_completed_by_the_next_start(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_RENAME, 1, EIO, true);
    fault_os_only(s->fault, ".idx");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    stage_close(&s->stage);
    fault_os_clear(s->fault);
    OK(stage_open(&s->stage, s->os));
    assert_no_leftovers(s);
    check(&s->stage);
}

static void read_only_volume_is_vacuumed(void **state)
{
    struct scene *s = *state;
    begin(s, NULL);
    OK(volume_mark_read_only(s->stage.volume, false, true, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    check(&s->stage);
    assert_true(stat_of(s).read_only & VOLUME_RO_OPERATOR);
    reopen(s);
    check(&s->stage);
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
    assert_int_equal(stat_of(s).live_count, 1 + 4);
    for (uint64_t key = 1; key <= 10; key++)
        if (key != 2)
            s->stage.blobs[key] = (struct stage_blob){0};
    check(&s->stage);
    reopen(s);
    check(&s->stage);
}

static void ttl_of_a_needle_alone_does_not_drop_it(void **state)
{
    struct scene *s = *state;
    OK(stage_create(&s->stage, s->os, "/d", NULL, 5, ""));
    s->stage.blob_ttl = (struct ttl){1, 1};
    s->stage.blob_modified = 1000;
    OK(stage_put(&s->stage, 1, 100));
    OK(stage_vacuum(&s->stage));
    assert_int_equal(stat_of(s).live_count, 1);
    check(&s->stage);
}

static void age_of_the_dat_is_kept(void **state)
{
    struct scene *s = *state;
    struct os_stat before, after;
    begin(s, NULL);
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
    begin(s, NULL);
    volume_vacuum_progress(s->stage.volume, &last);
    assert_int_equal(last.state, VACUUM_IDLE);
    struct volume_stat before = stat_of(s);
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
    assert_int_equal(last.bytes_reclaimed, before.dat_bytes - stat_of(s).dat_bytes);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
        CASE(too_little_space_is_refused_with_what_is_missing),
        CASE(floor_of_the_disk_is_respected),
        CASE(reservation_that_fails_is_no_space),
        CASE(damaged_record_is_carried_over_and_listed),
        CASE(restart_after_the_vacuum_leaves_a_damaged_record_alone),
        CASE(device_error_while_copying_aborts),
        CASE(failed_fsync_in_the_commit_quarantines),
        CASE(marker_that_cannot_be_created_leaves_the_old_generation),
        CASE(marker_that_cannot_be_synced_decides_and_nothing_is_promised),
        CASE(failed_sync_of_a_decided_swap_is_not_tried_again_unasked),
        CASE(marker_that_cannot_be_taken_back_stops_writes),
        CASE(rows_that_were_replaced_amid_the_commit_refuse_it),
        CASE(writers_that_outrun_the_commit_are_not_held_up),
        CASE(promise_after_the_last_synced_round_is_safe_once_the_marker_is),
        CASE(promise_made_while_the_swap_settles_is_kept),
        CASE(promise_made_after_the_marker_is_synced_is_kept),
        CASE(writers_without_a_promise_do_not_wait_for_the_settling),
        CASE(failed_rename_after_the_decision_serves_the_new_content),
        CASE(failed_rename_is_completed_by_the_next_start),
        CASE(read_only_volume_is_vacuumed),
        CASE(expired_needles_go_by_the_ttl_of_the_volume),
        CASE(ttl_of_a_needle_alone_does_not_drop_it),
        CASE(age_of_the_dat_is_kept),
        CASE(progress_grows_to_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
