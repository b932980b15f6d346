/* Vacuum under a killed process, a lost power supply and failing calls, at every call.
 *
 * One scenario: a volume with blobs and garbage is compacted while blobs are written, overwritten
 * and deleted, changed again between copy and commit, committed, and changed after it. It is run
 * again and again, each time struck at the next call. Afterwards every acknowledged blob must read
 * back, every acknowledged delete stay one, the volume take writes and be vacuumed once more. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 14u

static struct disk_os *base_disk; /* before the vacuum, all synced */
static struct stage base_stage;

struct run {
    struct disk_os *disk;
    struct fault_os *fault;
    struct stage stage;
};

static int prepare(void **state)
{
    disk_os_create(&base_disk, 64 << 20);
    struct os *os = disk_os_get(base_disk);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(os_mkdir(os, "/i", 0755), 0);
    base_stage.is_durable = true;
    assert_int_equal(stage_create(&base_stage, os, "/d", "/i", 5, ""), 0);
    for (uint64_t key = 1; key <= KEYS; key++)
        assert_int_equal(stage_put(&base_stage, key, key == 5 ? 0 : key * key * 40), 0);
    for (uint64_t key = 2; key <= KEYS; key += 4)
        assert_int_equal(stage_delete(&base_stage, key), 0);
    for (uint64_t key = 3; key <= KEYS; key += 4)
        assert_int_equal(stage_put(&base_stage, key, key * 100), 0);
    stage_close(&base_stage);
    return 0;
}

static int put_away(void **state)
{
    disk_os_destroy(base_disk);
    return 0;
}

static void run_begin(struct run *run)
{
    disk_os_clone(base_disk, &run->disk);
    fault_os_create(&run->fault, disk_os_get(run->disk));
    run->stage = base_stage;
    if (stage_open(&run->stage, fault_os_get(run->fault)) != 0)
        fail_msg("%s", run->stage.err.message);
    fault_os_clear(run->fault);
}

static void run_end(struct run *run)
{
    stage_close(&run->stage);
    fault_os_destroy(run->fault);
    disk_os_destroy(run->disk);
}

/* Its first call only; what it answers is remembered by the stage. */
static int change_meanwhile(void *ctx, const struct vacuum_progress *progress)
{
    struct run *run = ctx;
    if (run->stage.last_seed > base_stage.last_seed || fault_os_is_stopped(run->fault))
        return 0;
    stage_put(&run->stage, 100, 700);
    stage_put(&run->stage, 1, 90);
    stage_delete(&run->stage, 3);
    return 0;
}

/* 0 when the vacuum went through. Ends early when the world has stopped. */
static int act(struct run *run)
{
    struct stage *stage = &run->stage;
    struct vacuum_options options = {.on_progress = change_meanwhile, .ctx = run};
    int code = volume_vacuum_compact(stage->volume, &options, &stage->err);
    if (fault_os_is_stopped(run->fault))
        return code;
    stage_put(stage, 4, 60);
    stage_put(stage, 101, 0);
    stage_delete(stage, 100);
    if (fault_os_is_stopped(run->fault))
        return KELP_E_IO;
    if (code == 0)
        code = stage_commit(stage);
    if (fault_os_is_stopped(run->fault))
        return code;
    stage_put(stage, 102, 300);
    stage_delete(stage, 9);
    return code;
}

static void assert_right(struct stage *stage, const char *when, uint64_t n)
{
    if (stage_check(stage) != 0)
        fail_msg("%s, call %llu: %s", when, (unsigned long long)n, stage->complaint);
}

static void must(struct stage *stage, int code, const char *what, const char *when, uint64_t n)
{
    if (code != 0)
        fail_msg("%s, call %llu: %s: %s", when, (unsigned long long)n, what, stage->err.message);
}

/* What a start on this disk must find. `stage` is a copy, for what it remembers. */
static void check_start(struct disk_os *disk, struct stage *stage, const char *when, uint64_t n)
{
    struct volume_stat st;
    struct fault_os *counting;
    stage->volume = NULL;
    stage->queue = NULL;
    must(stage, stage_open(stage, disk_os_get(disk)), "open", when, n);
    assert_right(stage, when, n);
    volume_stat(stage->volume, &st);
    if (st.read_only != 0)
        fail_msg("%s, call %llu: read-only (%u)", when, (unsigned long long)n, st.read_only);
    stage_close(stage);
    fault_os_create(&counting, disk_os_get(disk));
    vacuum_recover_directory(fault_os_get(counting), "/d", "/i", NULL);
    if (fault_os_count(counting, FAULT_CHANGE) != 0)
        fail_msg("%s, call %llu: a second recovery changed something", when, (unsigned long long)n);
    fault_os_destroy(counting);
    must(stage, stage_open(stage, disk_os_get(disk)), "open again", when, n);
    must(stage, stage_put(stage, 103, 500), "put", when, n);
    must(stage, stage_vacuum(stage), "vacuum", when, n);
    assert_right(stage, when, n);
    stage_close(stage);
}

static struct stage scratch; /* too large for the stack, and one at a time */

/* Runs the scenario and stops the world at the nth call; false when it ended before. */
static bool run_to(struct run *run, uint64_t n, enum fault_os_stop where)
{
    run_begin(run);
    fault_os_stop(run->fault, FAULT_CHANGE, n, where);
    act(run);
    bool was_stopped = fault_os_is_stopped(run->fault);
    stage_close(&run->stage);
    return was_stopped;
}

static void kill_at_every_call(enum fault_os_stop where, const char *when)
{
    uint64_t n = 1;
    for (bool was_stopped = true; was_stopped; n++) {
        struct run run;
        was_stopped = run_to(&run, n, where);
        scratch = run.stage;
        disk_os_lose_power(run.disk, DISK_KEEP_ALL, 0);
        check_start(run.disk, &scratch, when, n);
        run_end(&run);
    }
    assert_true(n > 40); /* it did get through the whole of it */
}

static void killed_before_any_call(void **state)
{
    kill_at_every_call(FAULT_STOP_BEFORE, "killed before");
}

static void killed_in_the_middle_of_any_write(void **state)
{
    kill_at_every_call(FAULT_STOP_MIDDLE, "killed in");
}

static void killed_after_any_call(void **state)
{
    kill_at_every_call(FAULT_STOP_AFTER, "killed after");
}

static void power_lost_at_any_call(void **state)
{
    uint64_t n = 1;
    for (bool was_stopped = true; was_stopped; n++) {
        struct run run;
        was_stopped = run_to(&run, n, n % 2 ? FAULT_STOP_BEFORE : FAULT_STOP_AFTER);
        for (unsigned i = 0; i < 2 * DISK_OS_LOSSES; i++) {
            unsigned mode = i % DISK_OS_LOSSES;
            struct disk_os *after;
            char when[64];
            snprintf(when, sizeof(when), "power lost (mode %u)", mode);
            disk_os_clone(run.disk, &after);
            disk_os_lose_power(after, (enum disk_os_loss)mode, n * 100 + i);
            scratch = run.stage;
            check_start(after, &scratch, when, n);
            disk_os_destroy(after);
        }
        run_end(&run);
    }
}

/* ---- failing calls ---- */

struct fault_case {
    unsigned kind;
    int errnum; /* 0: a short count */
    const char *name;
};

static const struct fault_case fault_cases[] = {
    {FAULT_OPEN, EIO, "open"},
    {FAULT_READ, EIO, "read"},
    {FAULT_READ, 0, "short read"},
    {FAULT_WRITE, EIO, "write"},
    {FAULT_WRITE, ENOSPC, "write on a full disk"},
    {FAULT_WRITE, 0, "short write"},
    {FAULT_FSYNC, EIO, "fsync"},
    {FAULT_FDATASYNC, EIO, "fdatasync"},
    {FAULT_RENAME, EIO, "rename"},
    {FAULT_UNLINK, EIO, "unlink"},
    {FAULT_FALLOCATE, EIO, "fallocate"},
    {FAULT_FTRUNCATE, EIO, "ftruncate"},
    {FAULT_FSTAT, EIO, "fstat"},
    {FAULT_STAT, EIO, "stat"},
    {FAULT_SPACE, EIO, "statfs"},
    {FAULT_LIST, EIO, "list"},
};

/* With the fault gone the open volume must be right, and after a start as well. */
static void check_survivor(struct run *run, const char *when, uint64_t n)
{
    struct stage *stage = &run->stage;
    struct volume_stat st;
    fault_os_clear(run->fault);
    assert_right(stage, when, n);
    volume_stat(stage->volume, &st);
    if (st.read_only & VOLUME_RO_IO_ERROR)
        must(stage, volume_mark_writable(stage->volume, &stage->err), "mark writable", when, n);
    if (n % 2) {
        int code = stage_commit(stage); /* finishes a swap that was decided */
        must(stage, code == KELP_E_PRECONDITION ? 0 : code, "commit again", when, n);
        must(stage, stage_vacuum(stage), "vacuum again", when, n);
        assert_right(stage, when, n);
    }
    must(stage, stage_put(stage, 104, 40), "put", when, n);
    stage_close(stage);
    must(stage, stage_open(stage, fault_os_get(run->fault)), "open", when, n);
    assert_right(stage, when, n);
}

static void fail_every_call(const struct fault_case *c, bool for_good)
{
    for (uint64_t n = 1;; n++) {
        struct run run;
        char when[64];
        snprintf(when, sizeof(when), "%s fails%s", c->name, for_good ? " for good" : "");
        run_begin(&run);
        if (c->errnum)
            fault_os_fail(run.fault, c->kind, n, c->errnum, for_good);
        else
            fault_os_short(run.fault, c->kind, n, 7, for_good);
        int code = act(&run);
        bool has_struck = fault_os_strikes(run.fault) > 0;
        if (!has_struck)
            must(&run.stage, code, "vacuum", when, n);
        check_survivor(&run, when, n);
        run_end(&run);
        if (!has_struck)
            return;
    }
}

static void any_call_fails_once(void **state)
{
    for (size_t i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++)
        fail_every_call(&fault_cases[i], false);
}

static void any_call_fails_for_good(void **state)
{
    for (size_t i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++)
        if (fault_cases[i].errnum) /* nothing can be done about reads that never get on */
            fail_every_call(&fault_cases[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_any_call),
        cmocka_unit_test(killed_in_the_middle_of_any_write),
        cmocka_unit_test(killed_after_any_call),
        cmocka_unit_test(power_lost_at_any_call),
        cmocka_unit_test(any_call_fails_once),
        cmocka_unit_test(any_call_fails_for_good),
    };
    return cmocka_run_group_tests(tests, prepare, put_away);
}
