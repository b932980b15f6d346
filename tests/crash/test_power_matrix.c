/* The power fails at every call that can change the disk. What was not synced is kept, dropped, torn at 512
 * and 4096 bytes, and reordered; so are names in their directories. Of what was acknowledged as durable
 * nothing may be lost, nor of what was written before it. KELP_LOSSES: tries of each mode at each point. */
#include "tests/crash/scenario.h"
#include "tests/fixtures/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t losses;

/* What the disk has of the LevelDB: all, as it was before, nothing. Ahead of the .idx, behind it, gone. */
static void lose_store(struct world *world, const struct world *base, unsigned i)
{
    if (i % 3 == 1)
        world_store_revert(world, base);
    else if (i % 3 == 2)
        world_store_drop(world);
}

static void lose_in_one_way(struct world *world, const struct world *base,
                            const struct scenario *scenario, uint64_t n, unsigned i)
{
    struct disk_os *after;
    char when[128];
    unsigned mode = i % DISK_OS_LOSSES;
    uint64_t seed = n * 1000 + i;
    snprintf(when, sizeof(when), "%s: power lost at call %llu (mode %u, seed %llu)", scenario->name,
             (unsigned long long)n, mode, (unsigned long long)seed);
    disk_os_clone(world->disk, &after);
    disk_os_lose_power(after, (enum disk_os_loss)mode, seed);
    lose_store(world, base, i + (unsigned)n / DISK_OS_LOSSES);
    check_start(after, &world->stage, true, scenario->end, when);
    disk_os_destroy(after);
    losses++;
}

/* With a LevelDB one mode at a point: its opening takes its time. */
static void lose_in_all_ways(struct world *world, const struct world *base,
                             const struct scenario *scenario, uint64_t n)
{
    const char *text = getenv("KELP_LOSSES");
    unsigned tries = text ? (unsigned)strtoul(text, NULL, 10) : 2;
    if (base->store_path[0] != '\0' && !text) {
        lose_in_one_way(world, base, scenario, n, (unsigned)n);
        return;
    }
    for (unsigned i = 0; i < tries * DISK_OS_LOSSES; i++) {
        enum disk_os_loss mode = (enum disk_os_loss)(i % DISK_OS_LOSSES);
        if (i < DISK_OS_LOSSES || (mode != DISK_KEEP_ALL && mode != DISK_DROP_ALL))
            lose_in_one_way(world, base, scenario, n, i); /* there is no chance in those two */
    }
}

static void lose_at_every_call(const struct scenario *scenario, enum world_index index)
{
    static struct world base, world;
    bool was_stopped = true;
    world_prepare(&base, scenario, index);
    for (uint64_t n = 1; was_stopped; n++) {
        world_begin(&world, &base, scenario);
        fault_os_stop(world.fault, FAULT_CHANGE, n, n % 2 ? FAULT_STOP_BEFORE : FAULT_STOP_AFTER);
        scenario->act(&world);
        was_stopped = world_is_stopped(&world);
        stage_close(&world.stage);
        lose_in_all_ways(&world, &base, scenario, n);
        world_end(&world);
    }
    world_end(&base);
}

static void power_lost_at_any_call(void **state)
{
    for (size_t i = 0; i < scenario_count; i++)
        if (scenario_is_chosen(&scenarios[i]))
            lose_at_every_call(&scenarios[i], INDEX_IN_MEMORY);
}

static void power_lost_with_the_index_in_leveldb(void **state)
{
    for (size_t i = 0; i < scenario_count; i++)
        if (scenario_is_chosen(&scenarios[i]))
            lose_at_every_call(&scenarios[i], INDEX_IN_LEVELDB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_lost_at_any_call),
        cmocka_unit_test(power_lost_with_the_index_in_leveldb),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tally(losses, "power losses");
    return failed;
}
