/* Vacuum of one volume, when there is too little space, a damaged record, or a disk that fails. */
#include "tests/unit/storage/vacuum_scene.h"

/* ---- space ---- */

static void too_little_space_is_refused_with_what_is_missing(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct os_space space;
    OK(os_space(s->os, "/d", &space));
    disk_os_set_capacity(s->disk, space.total_bytes - space.free_bytes + 5000);
    assert_int_equal(stage_compact(&s->stage), KELP_E_NO_SPACE);
    char missing[64];
    const struct volume_stat st = scene_stat(s);
    snprintf(missing, sizeof(missing), "%llu are missing",
             (unsigned long long)(8 + st.live_record_bytes + st.live_record_bytes / 512 +
                                  17 * st.live_count - 5000));
    if (!strstr(s->stage.err.message, missing))
        fail_msg("%s lacks %s", s->stage.err.message, missing);
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
}

static void floor_of_the_disk_is_respected(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    struct vacuum_options options = {.space_floor_bytes = 64 << 20};
    assert_int_equal(volume_vacuum_compact(s->stage.volume, &options, &s->stage.err),
                     KELP_E_NO_SPACE);
    assert_non_null(strstr(s->stage.err.message, "a floor of 67108864"));
}

static void reservation_that_fails_is_no_space(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    fault_os_fail(s->fault, FAULT_FALLOCATE, 1, ENOSPC, false);
    assert_int_equal(stage_compact(&s->stage), KELP_E_NO_SPACE);
    scene_assert_no_leftovers(s);
    fault_os_clear(s->fault);
    fault_os_fail(s->fault, FAULT_FALLOCATE, 1, EOPNOTSUPP, true);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
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
    scene_begin(s, NULL);
    uint64_t in_data = garble(s, 10, 30), in_header = garble(s, 12, 6);
    OK(stage_compact(&s->stage));
    struct vacuum_damage damages[4];
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, damages, 4), 2);
    assert_int_equal(damages[0].key, 10);
    assert_int_equal(damages[0].offset, in_data);
    assert_int_equal(damages[1].key, 12);
    assert_int_equal(damages[1].offset, in_header);
    assert_true(strlen(damages[0].reason) > 0 && strlen(damages[1].reason) > 0);
    assert_int_equal(scene_stat(s).damaged_count, 2);
    OK(stage_commit(&s->stage));
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, damages, 1), 2);
    /* The bytes are there: turning the flipped ones back makes the blobs whole. */
    garble(s, 10, 30);
    garble(s, 12, 6);
    scene_check(&s->stage);
    OK(stage_vacuum(&s->stage));
    assert_int_equal(volume_vacuum_damaged(s->stage.volume, NULL, 0), 0);
}

static void restart_after_the_vacuum_leaves_a_damaged_record_alone(void **state)
{
    struct scene *s = *state;
    for (uint64_t at = 13; at <= 30; at += 17) { /* in the header, in the data */
        for (uint64_t key = 10; key <= 40; key += 30) { /* in the middle, last */
            struct volume_read read;
            scene_begin(s, NULL);
            OK(stage_put(&s->stage, 40, 200));
            garble(s, key, at);
            OK(stage_vacuum(&s->stage));
            scene_reopen(s);
            if (volume_read_begin(s->stage.volume, key, false, &read, &s->stage.err) != 0)
                fail_msg("byte %d of %d: %s", (int)at, (int)key, s->stage.err.message);
            volume_read_end(&read);
            garble(s, key, at);
            scene_check(&s->stage);
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
    scene_begin(s, NULL);
    fault_os_fail(s->fault, FAULT_READ, 1, EIO, false);
    assert_int_equal(stage_compact(&s->stage), KELP_E_IO);
    scene_assert_no_leftovers(s);
    fault_os_clear(s->fault);
    scene_check(&s->stage);
    assert_int_equal(scene_stat(s).read_only, 0);
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

static void failed_fsync_in_the_commit_quarantines(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, false);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_true(scene_stat(s).read_only & VOLUME_RO_IO_ERROR);
    scene_assert_no_leftovers(s);
    scene_check(&s->stage);
    assert_int_equal(stage_compact(&s->stage), KELP_E_READ_ONLY);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_vacuum(&s->stage));
    scene_check(&s->stage);
}

static void marker_that_cannot_be_created_leaves_the_old_generation(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_OPEN, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    scene_assert_no_leftovers(s);
    assert_int_equal(scene_stat(s).compact_revision, 0);
    assert_int_equal(scene_stat(s).read_only, 0);
    OK(stage_put(&s->stage, 60, 60));
    scene_reopen(s);
    scene_check(&s->stage);
}

static void marker_that_cannot_be_synced_decides_and_nothing_is_promised(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    assert_int_equal(scene_stat(s).compact_revision, 1);
    assert_true(scene_stat(s).read_only & VOLUME_RO_IO_ERROR);
    scene_check(&s->stage);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 60, 60));
    s->stage.is_durable = true;
    assert_int_equal(stage_put(&s->stage, 61, 61), KELP_E_IO);
    assert_true(scene_stat(s).read_only & VOLUME_RO_IO_ERROR);
    assert_int_not_equal(volume_sync(s->stage.volume, NULL), 0);
    fault_os_clear(s->fault);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_put(&s->stage, 62, 62));
    OK(stage_commit(&s->stage)); /* completes it */
    scene_assert_no_leftovers(s);
    scene_reopen(s);
    scene_check(&s->stage);
}

static void failed_sync_of_a_decided_swap_is_not_tried_again_unasked(void **state)
{
    struct scene *s = *state;
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_FSYNC, 1, EIO, false);
    fault_os_only(s->fault, ".cpc");
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    uint64_t syncs = fault_os_count(s->fault, FAULT_FSYNC);
    assert_int_equal(stage_commit(&s->stage), KELP_E_READ_ONLY);
    assert_int_equal(fault_os_count(s->fault, FAULT_FSYNC), syncs);
    assert_int_equal(volume_sync(s->stage.volume, &s->stage.err), KELP_E_READ_ONLY);
    assert_true(scene_exists(s, "1.cpd") && scene_exists(s, "1.cpx") && scene_exists(s, "1.cpc"));
    scene_check(&s->stage);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    OK(stage_commit(&s->stage));
    scene_assert_no_leftovers(s);
    OK(stage_put(&s->stage, 60, 60));
    scene_reopen(s);
    scene_check(&s->stage);
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
    scene_begin(s, NULL);
    OK(stage_compact(&s->stage));
    fault_os_fail(s->fault, FAULT_OPEN | FAULT_UNLINK, 1, EIO, true);
    fault_os_only(s->fault, ".cpc");
    fault_os_watch(s->fault, create_marker, s);
    assert_int_equal(stage_commit(&s->stage), KELP_E_IO);
    fault_os_watch(s->fault, NULL, NULL);
    assert_true(scene_exists(s, "1.cpc"));
    /* A start would take the copy: what is written to the old files would be gone. */
    assert_int_equal(stage_put(&s->stage, 60, 60), KELP_E_READ_ONLY);
    assert_int_not_equal(volume_mark_writable(s->stage.volume, &s->stage.err), 0);
    fault_os_clear(s->fault);
    OK(volume_mark_writable(s->stage.volume, &s->stage.err));
    assert_false(scene_exists(s, "1.cpc"));
    OK(stage_put(&s->stage, 60, 60));
    scene_reopen(s);
    scene_check(&s->stage);
    assert_int_equal(scene_stat(s).compact_revision, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
