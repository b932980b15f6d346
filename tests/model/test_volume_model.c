/* A volume against a model: random puts, overwrites, deletes, reads, vacuums in any order of their calls,
 * starts, kills and power losses. Every run prints its seed when it fails; KELP_SEED repeats one,
 * KELP_ROUNDS makes more of them. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/tally.h"
#include "tests/fixtures/volume_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUNS  150u
#define STEPS 150u
#define KEYS  60u

struct model {
    uint64_t seed, random;
    unsigned step;
    struct disk_os *disk;
    struct stage stage;
};

static uint64_t changes;

static uint64_t next_random(struct model *m)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return m->random >> 33;
}

static void must(struct model *m, int code, const char *what)
{
    if (code != 0)
        fail_msg("seed %llu, step %u: %s: %s", (unsigned long long)m->seed, m->step, what,
                 m->stage.err.message);
}

static void check(struct model *m)
{
    if (stage_check(&m->stage) != 0)
        fail_msg("seed %llu, step %u: %s", (unsigned long long)m->seed, m->step,
                 m->stage.complaint);
}

static size_t random_size(struct model *m)
{
    static const size_t steps[] = {0, 1, 7, 8, 9, 100, 511, 512, 513, 4096};
    uint64_t r = next_random(m);
    return r % 3 == 0 ? (size_t)(r / 3 % 20000) : steps[r / 3 % (sizeof(steps) / sizeof(steps[0]))];
}

static void start_again(struct model *m)
{
    must(m, stage_open(&m->stage, disk_os_get(m->disk)), "open");
    struct volume_stat st;
    volume_stat(m->stage.volume, &st);
    if (st.read_only != 0)
        must(m, 1, "the volume is read-only");
    check(m);
}

/* The disk as it is at this moment, with the process gone; unsynced changes as the mode says. */
static void crash(struct model *m)
{
    struct disk_os *after;
    disk_os_clone(m->disk, &after);
    disk_os_lose_power(after, (enum disk_os_loss)(next_random(m) % DISK_OS_LOSSES), next_random(m));
    stage_close(&m->stage);
    disk_os_destroy(m->disk);
    m->disk = after;
    start_again(m);
}

static void put(struct model *m)
{
    must(m, stage_put(&m->stage, 1 + next_random(m) % KEYS, random_size(m)), "put");
    changes++;
}

static void remove_one(struct model *m)
{
    must(m, stage_delete(&m->stage, 1 + next_random(m) % KEYS), "delete");
    changes++;
}

/* During a copy, on its thread. */
static int write_meanwhile(void *ctx, const struct vacuum_progress *progress)
{
    struct model *m = ctx;
    for (unsigned i = 0; i < 3; i++) {
        put(m);
        remove_one(m);
    }
    return next_random(m) % 8 == 0;
}

static void compact(struct model *m)
{
    struct vacuum_options options = {.on_progress = write_meanwhile, .ctx = m};
    int code = volume_vacuum_compact(m->stage.volume, &options, &m->stage.err);
    must(m, code == KELP_E_CANCELLED ? 0 : code, "compact");
}

static void commit(struct model *m)
{
    int code = stage_commit(&m->stage);
    must(m, code == KELP_E_PRECONDITION ? 0 : code, "commit");
}

static void step(struct model *m)
{
    switch (next_random(m) % 24) {
    default:
        put(m);
        return;
    case 0 ... 6:
        remove_one(m);
        return;
    case 7:
        compact(m);
        break;
    case 8 ... 9:
        commit(m);
        break;
    case 10:
        must(m, volume_vacuum_cleanup(m->stage.volume, &m->stage.err), "cleanup");
        break;
    case 11:
        stage_close(&m->stage);
        start_again(m);
        return;
    case 12:
        crash(m);
        return;
    }
    check(m);
}

static void run(uint64_t seed)
{
    static struct model model;
    struct model *m = &model;
    *m = (struct model){.seed = seed, .random = seed, .stage.is_durable = true};
    disk_os_create(&m->disk, 256 << 20);
    assert_int_equal(os_mkdir(disk_os_get(m->disk), "/d", 0755), 0);
    must(m, stage_create(&m->stage, disk_os_get(m->disk), "/d", NULL, seed % 2 ? 4 : 5, ""),
         "create");
    for (; m->step < STEPS; m->step++)
        step(m);
    check(m);
    stage_close(&m->stage);
    disk_os_destroy(m->disk);
}

static void volume_does_what_the_model_does(void **state)
{
    const char *seed = getenv("KELP_SEED");
    if (seed) {
        run(strtoull(seed, NULL, 10));
        return;
    }
    const char *rounds = getenv("KELP_ROUNDS");
    for (uint64_t i = 1; i <= (rounds ? strtoull(rounds, NULL, 10) : RUNS); i++)
        run(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(volume_does_what_the_model_does)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tally(changes, "model changes");
    return failed;
}
