/* The nth call of each kind fails, once and for good, for every n until a run meets no failure.
 *
 * While it fails, what is asked for may be refused, but nothing half done may be seen, and what is there
 * may not be lost. With the fault gone the open volume must be right, and be made writable by the means
 * that an operator has; and so after a start. If it was a sync that failed and the power goes then, what was
 * answered as durable must be there. */
#include "tests/crash/scenario.h"
#include "tests/fixtures/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fault_case {
    unsigned kind;
    int errnum; /* 0: a short count */
    bool for_good;
    const char *name;
};

#define BOTH(kind, errnum, name) {kind, errnum, false, name}, {kind, errnum, true, name}

static const struct fault_case cases[] = {
    BOTH(FAULT_OPEN, EIO, "open"),
    {FAULT_OPEN, ENOSPC, false, "open on a full disk"},
    {FAULT_OPEN, EMFILE, false, "open without descriptors"},
    BOTH(FAULT_READ, EIO, "read"),
    {FAULT_READ, EINTR, false, "interrupted read"},
    {FAULT_READ, 0, false, "short read"},
    BOTH(FAULT_WRITE, EIO, "write"),
    BOTH(FAULT_WRITE, ENOSPC, "write on a full disk"),
    {FAULT_WRITE, EINTR, false, "interrupted write"},
    BOTH(FAULT_WRITE, 0, "short write"),
    BOTH(FAULT_FSYNC, EIO, "fsync"),
    {FAULT_FSYNC, ENOSPC, false, "fsync on a full disk"},
    BOTH(FAULT_FDATASYNC, EIO, "fdatasync"),
    BOTH(FAULT_FTRUNCATE, EIO, "ftruncate"),
    BOTH(FAULT_FALLOCATE, EIO, "fallocate"),
    {FAULT_FALLOCATE, ENOSPC, false, "fallocate on a full disk"},
    BOTH(FAULT_RENAME, EIO, "rename"),
    {FAULT_RENAME, ENOSPC, false, "rename on a full disk"},
    BOTH(FAULT_UNLINK, EIO, "unlink"),
    BOTH(FAULT_FSTAT, EIO, "fstat"),
    BOTH(FAULT_STAT, EIO, "stat"),
    BOTH(FAULT_LIST, EIO, "list"),
    BOTH(FAULT_SPACE, EIO, "statfs"),
    BOTH(FAULT_SET_MTIME, EIO, "set mtime"),
    BOTH(FAULT_WRITE_BACK, EIO, "write back"),
    BOTH(FAULT_WRITE | FAULT_FTRUNCATE, EIO, "write or ftruncate"), /* cannot be taken back */
    BOTH(FAULT_WRITE | FAULT_FSYNC | FAULT_FDATASYNC, EIO, "write or sync"),
    BOTH(FAULT_FSYNC | FAULT_UNLINK, EIO, "fsync or unlink"),
    BOTH(FAULT_RENAME | FAULT_UNLINK, EIO, "rename or unlink"),
};

static uint64_t faults;

#define MUST(stage, call, when)                                                                    \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s: %s", when, #call, (stage)->err.message);                             \
    } while (0)

/* The volume as it was left open, with the fault gone. */
static void check_survivor(struct world *world, uint64_t n, const char *when)
{
    struct stage *stage = &world->stage;
    struct volume_stat st;
    if (stage_check(stage) != 0)
        fail_msg("%s: %s", when, stage->complaint);
    volume_stat(stage->volume, &st);
    if (st.read_only & VOLUME_RO_CORRUPT)
        return; /* a start will repair it */
    if (st.read_only != 0)
        MUST(stage, volume_mark_writable(stage->volume, &stage->err), when);
    if (n % 2) {
        int code = stage_commit(stage); /* finishes a swap that was decided */
        if (code != KELP_E_PRECONDITION)
            MUST(stage, code, when);
        MUST(stage, stage_vacuum(stage), when);
    }
    MUST(stage, stage_put(stage, 104, 40), when);
    if (stage_check(stage) != 0)
        fail_msg("%s: %s", when, stage->complaint);
}

/* The disk after the power went, with the fault still there. */
static void check_power_loss(struct world *world, const struct scenario *scenario, const char *when)
{
    struct disk_os *after;
    char what[200];
    snprintf(what, sizeof(what), "%s, then the power", when);
    disk_os_clone(world->disk, &after);
    disk_os_lose_power(after, DISK_DROP_ALL, 0);
    check_start(after, &world->stage, true, scenario->end, what);
    disk_os_destroy(after);
}

/* False when nothing was struck. */
static bool fail_nth(const struct world *base, const struct scenario *scenario,
                     const struct fault_case *c, uint64_t n)
{
    static struct world world;
    char when[160];
    snprintf(when, sizeof(when), "%s: %s fails%s, from the %lluth on", scenario->name, c->name,
             c->for_good ? " for good" : "", (unsigned long long)n);
    world_begin(&world, base, scenario);
    world.stage.is_strict = true;
    if (c->errnum)
        fault_os_fail(world.fault, c->kind, n, c->errnum, c->for_good);
    else
        fault_os_short(world.fault, c->kind, n, 7, c->for_good);
    int code = scenario->act(&world);
    bool has_struck = fault_os_strikes(world.fault) > 0;
    if (!has_struck && code != 0)
        fail_msg("%s: %s", when, world.stage.err.message);
    if ((c->kind & (FAULT_FSYNC | FAULT_FDATASYNC)) && world.store_path[0] == '\0')
        check_power_loss(&world, scenario, when);
    fault_os_clear(world.fault);
    if (world.stage.is_broken)
        fail_msg("%s: %s", when, world.stage.complaint);
    if (world.stage.volume && world.stage.queue)
        check_survivor(&world, n, when);
    stage_close(&world.stage);
    check_start(world.disk, &world.stage, false, scenario->end, when);
    world_end(&world);
    return has_struck;
}

/* A LevelDB takes its time to open, and knows nothing of these faults: its part is to follow. */
static bool is_run_with(const struct scenario *scenario, const struct fault_case *c,
                        enum world_index index)
{
    return index == INDEX_IN_MEMORY ||
           (scenario->is_opened && c->errnum == EIO &&
            (c->kind == FAULT_WRITE || c->kind == FAULT_FSYNC || c->kind == FAULT_RENAME));
}

static void fail_every_call(enum world_index index, bool for_good)
{
    for (size_t i = 0; i < scenario_count; i++) {
        static struct world base;
        if (!scenario_is_chosen(&scenarios[i]))
            continue;
        world_prepare(&base, &scenarios[i], index);
        for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
            for (uint64_t n = 1; cases[k].for_good == for_good &&
                                 is_run_with(&scenarios[i], &cases[k], index) &&
                                 fail_nth(&base, &scenarios[i], &cases[k], n);
                 n++)
                faults++;
        world_end(&base);
    }
}

static void any_call_fails_once(void **state)
{
    fail_every_call(INDEX_IN_MEMORY, false);
}

static void any_call_fails_for_good(void **state)
{
    fail_every_call(INDEX_IN_MEMORY, true);
}

static void any_call_fails_with_the_index_in_leveldb(void **state)
{
    fail_every_call(INDEX_IN_LEVELDB, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_fails_once),
        cmocka_unit_test(any_call_fails_for_good),
        cmocka_unit_test(any_call_fails_with_the_index_in_leveldb),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tally(faults, "faults");
    return failed;
}
