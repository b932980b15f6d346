/* Runs of scenarios, and what a start after one must find. See scenario.h. */
#include "tests/crash/scenario.h"

#include "common/check.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/volume_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DISK_BYTES (64u << 20)

/* Made whenever a read-only volume has none that fits; left by every clean stop. */
static const char *const derived[] = {".sdx", ".sdx.tmp", ".kix", NULL};

/* ---- the LevelDB's folder ---- */

void world_store_drop(struct world *world)
{
    if (world->store_path[0] != '\0')
        fixture_remove_folder(world->store_path);
}

void world_store_revert(struct world *world, const struct world *base)
{
    if (world->store_path[0] == '\0')
        return;
    world_store_drop(world);
    CHECK(os_mkdir(os_real(), world->store_path, 0755) == 0);
    fixture_copy_directory(os_real(), base->store_path, os_real(), world->store_path);
}

static void make_store(struct world *world)
{
    fixture_make_folder(world->store_path);
    world->stage.store_path = world->store_path;
}

/* ---- worlds ---- */

void world_prepare(struct world *base, const struct scenario *scenario, enum world_index index)
{
    *base = (struct world){0};
    if (index == INDEX_IN_LEVELDB)
        make_store(base);
    disk_os_create(&base->disk, DISK_BYTES);
    if (scenario->prepare(base) != 0)
        fail_msg("%s: prepare: %s", scenario->name, base->stage.err.message);
    disk_os_lose_power(base->disk, DISK_KEEP_ALL, 0); /* all of it durable now */
}

static void lose_unsynced(void *ctx, int fd) { disk_os_forget_unsynced(ctx, fd); }

void world_begin(struct world *world, const struct world *base, const struct scenario *scenario)
{
    *world = (struct world){.stage = base->stage, .first_seed = base->stage.last_seed};
    disk_os_clone(base->disk, &world->disk);
    fault_os_create(&world->fault, disk_os_get(world->disk));
    fault_os_on_failed_sync(world->fault, lose_unsynced, world->disk);
    world->stage.os = fault_os_get(world->fault);
    if (base->store_path[0] != '\0') {
        make_store(world);
        world_store_revert(world, base);
    }
    if (scenario->is_opened && stage_open(&world->stage, world->stage.os) != 0)
        fail_msg("%s: open: %s", scenario->name, world->stage.err.message);
    fault_os_clear(world->fault);
}

void world_end(struct world *world)
{
    stage_close(&world->stage);
    fault_os_destroy(world->fault);
    disk_os_destroy(world->disk);
    world_store_drop(world);
}

/* ---- judging ---- */

static struct stage scratch; /* too large for the stack, and one at a time */

#define MUST(call, when)                                                                           \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s: %s", when, #call, scratch.err.message);                              \
    } while (0)

static void check_keys(const char *when)
{
    if (stage_check(&scratch) != 0)
        fail_msg("%s: %s", when, scratch.complaint);
}

static int note_found(void *ctx, const char *collection, uint32_t id, enum volume_found what)
{
    CHECK(collection[0] == '\0' && id == 1);
    *(enum volume_found *)ctx = what;
    return 0;
}

static bool has_acknowledged(void)
{
    for (size_t key = 1; key < STAGE_KEYS; key++)
        if (scratch.blobs[key].acked.seed != 0)
            return true;
    return false;
}

/* True when there is a volume to be judged. */
static bool is_there(struct disk_os *disk, enum scenario_end end, const char *when)
{
    enum volume_found what = VOLUME_FOUND_NO_DATA;
    struct error err;
    if (vacuum_recover_directory(disk_os_get(disk), "/d", "/i", &err) != 0)
        fail_msg("%s: recover: %s", when, err.message);
    if (volume_files_discover(disk_os_get(disk), "/d", "/i", note_found, &what, &err) != 0)
        fail_msg("%s: discover: %s", when, err.message);
    if (what == VOLUME_FOUND)
        return true;
    if (what != VOLUME_FOUND_NO_DATA || end == END_VOLUME)
        fail_msg("%s: found as %d", when, (int)what);
    if (end == END_MAY_LACK && has_acknowledged())
        fail_msg("%s: no volume, and a put was acknowledged", when);
    return false;
}

/* What a creation left does not keep the volume from being made. */
static void check_room(struct disk_os *disk, const char *when)
{
    const char *store_path = scratch.store_path;
    static const struct stage empty = {.is_durable = true};
    stage_close(&scratch);
    scratch = empty;
    scratch.store_path = store_path;
    MUST(stage_create(&scratch, disk_os_get(disk), "/d", "/i", 5, ""), when);
    MUST(stage_put(&scratch, 1, 100), when);
    check_keys(when);
    stage_close(&scratch);
}

static void check_quiet_start(struct disk_os *disk, const char *when)
{
    uint64_t before = disk_os_fingerprint(disk, derived);
    struct fault_os *counting;
    fault_os_create(&counting, disk_os_get(disk));
    vacuum_recover_directory(fault_os_get(counting), "/d", "/i", NULL);
    if (fault_os_count(counting, FAULT_CHANGE) != 0)
        fail_msg("%s: a second recovery changed something", when);
    fault_os_destroy(counting);
    MUST(stage_open(&scratch, disk_os_get(disk)), when);
    check_keys(when);
    if (disk_os_fingerprint(disk, derived) != before)
        fail_msg("%s: a second start left other bytes than the first", when);
}

void check_start(struct disk_os *disk, const struct stage *remembered, bool is_power_lost,
                 enum scenario_end end, const char *when)
{
    struct volume_stat st;
    scratch = *remembered;
    if (is_power_lost)
        stage_lose_power(&scratch);
    scratch.is_durable = true;
    scratch.volume = NULL;
    scratch.queue = NULL;
    scratch.store = NULL;
    scratch.is_strict = false;
    if (scratch.is_broken)
        fail_msg("%s: %s", when, scratch.complaint);
    if (!is_there(disk, end, when)) {
        if (end == END_MAY_LACK)
            check_room(disk, when);
        return;
    }
    int code = stage_open(&scratch, disk_os_get(disk));
    if (code != 0 && end == END_MAY_LACK && !has_acknowledged()) {
        check_room(disk, when);
        return;
    }
    MUST(code, when);
    check_keys(when);
    volume_stat(scratch.volume, &st);
    if (st.read_only & ~(unsigned)VOLUME_RO_OPERATOR_CAN_DELETE)
        fail_msg("%s: read-only (%u)", when, st.read_only);
    stage_close(&scratch);
    check_quiet_start(disk, when);
    if (st.read_only != 0)
        MUST(volume_mark_writable(scratch.volume, &scratch.err), when);
    MUST(stage_put(&scratch, 103, 500), when);
    MUST(stage_vacuum(&scratch), when);
    check_keys(when);
    stage_close(&scratch);
}
