/* The scenarios: writing, vacuum, starts on all kinds of leftovers, closing, creating, removing. See the
 * header. */
#include "tests/crash/scenario.h"

#include "common/check.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_checkpoint.h"
#include "volume/storage/format/volume_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 14u

#define STEP(call)                                                                                 \
    do {                                                                                           \
        int step_code = (call);                                                                    \
        if (world_is_stopped(world))                                                               \
            return KELP_E_IO;                                                                      \
        code = code ? code : step_code;                                                            \
    } while (0)

/* ---- disks ---- */

static int make_directories(struct world *base)
{
    struct os *os = disk_os_get(base->disk);
    CHECK(os_mkdir(os, "/d", 0755) == 0);
    CHECK(os_mkdir(os, "/i", 0755) == 0);
    base->stage.is_durable = true;
    return 0;
}

/* Blobs, one of them empty, and garbage; closed. */
static int fill(struct world *base, uint8_t offset_bytes, const char *index_dir)
{
    struct stage *stage = &base->stage;
    make_directories(base);
    int code = stage_create(stage, disk_os_get(base->disk), "/d", index_dir, offset_bytes, "");
    for (uint64_t key = 1; code == 0 && key <= KEYS; key++)
        code = stage_put(stage, key, key == 5 ? 0 : key * key * 40);
    for (uint64_t key = 2; code == 0 && key <= KEYS; key += 4)
        code = stage_delete(stage, key);
    for (uint64_t key = 3; code == 0 && key <= KEYS; key += 4)
        code = stage_put(stage, key, key * 100);
    stage_close(stage);
    return code;
}

/* So many rows that a clean stop leaves a checkpoint. */
static int put_many(struct stage *stage)
{
    int code = 0;
    for (unsigned rows = 0; code == 0 && rows <= INDEX_CHECKPOINT_ROWS_MIN; rows += 480)
        code = stage_put_batch(stage, 1, 480, 20);
    return code;
}

static int fill_many(struct world *base)
{
    struct stage *stage = &base->stage;
    make_directories(base);
    int code = stage_create(stage, disk_os_get(base->disk), "/d", "/i", 5, "");
    code = code ? code : put_many(stage);
    code = code ? code : stage_delete(stage, 9);
    code = code ? code : stage_put(stage, 12, 0);
    stage_close(stage);
    CHECK(base->store_path[0] || volume_file_exists(disk_os_get(base->disk), "/i/1.kix"));
    return code;
}

/* The end without a clean stop. */
static void kill_base(struct world *base)
{
    struct disk_os *killed;
    disk_os_clone(base->disk, &killed);
    stage_close(&base->stage);
    disk_os_destroy(base->disk);
    base->disk = killed;
}

/* And after the checkpoint came more. */
static int fill_many_and_more(struct world *base)
{
    struct stage *stage = &base->stage;
    int code = fill_many(base);
    code = code ? code : stage_open(stage, disk_os_get(base->disk));
    code = code ? code : stage_put_batch(stage, 30, 5, 40);
    code = code ? code : stage_delete(stage, 31);
    kill_base(base);
    return code;
}

/* The checkpoint is of before a vacuum, and the new .idx is as long again. */
static int outlive_checkpoint(struct world *base)
{
    struct stage *stage = &base->stage;
    int code = fill_many(base);
    code = code ? code : stage_open(stage, disk_os_get(base->disk));
    code = code ? code : stage_vacuum(stage);
    code = code ? code : put_many(stage);
    kill_base(base);
    return code;
}

static int fill_wide(struct world *base) { return fill(base, 5, "/i"); }
static int fill_narrow(struct world *base) { return fill(base, 4, NULL); } /* all in one folder */

static void resize(struct world *base, const char *path, int64_t change)
{
    struct os *os = disk_os_get(base->disk);
    struct os_stat st;
    int fd = os_open(os, path, O_RDWR, 0);
    CHECK(fd >= 0 && os_fstat(os, fd, &st) == 0);
    CHECK(os_ftruncate(os, fd, (uint64_t)((int64_t)st.size + change)) == 0);
    os_close(os, fd);
}

static int lose_idx(struct world *base)
{
    return fill_wide(base) || os_unlink(disk_os_get(base->disk), "/i/1.idx");
}

static int lose_vif(struct world *base)
{
    return fill_narrow(base) || os_unlink(disk_os_get(base->disk), "/d/1.vif");
}

static int lose_rows(struct world *base)
{
    int code = fill_wide(base);
    resize(base, "/i/1.idx", -3 * 17 - 5); /* and a part of one */
    return code;
}

/* The last record lost its end; it was the third put of its key, and is not acknowledged. */
static int tear_dat(struct world *base)
{
    int code = fill_wide(base);
    struct stage_state before = base->stage.blobs[11].acked;
    code = code ? code : stage_open(&base->stage, disk_os_get(base->disk));
    code = code ? code : stage_put(&base->stage, 11, 5000);
    stage_close(&base->stage);
    base->stage.blobs[11].acked = before;
    resize(base, "/d/1.dat", -2000);
    return code;
}

/* It takes deletes only: its index is the sorted file. */
static int mark(struct world *base)
{
    struct stage *stage = &base->stage;
    int code = fill_wide(base);
    code = code ? code : stage_open(stage, disk_os_get(base->disk));
    code = code ? code : volume_mark_read_only(stage->volume, true, true, &stage->err);
    stage_close(stage);
    return code;
}

/* Zeros where some rows were, as a file system leaves them. */
static int wipe_rows(struct world *base)
{
    static uint8_t zeros[4 * 17];
    int code = fill_wide(base);
    struct os *os = disk_os_get(base->disk);
    int fd = os_open(os, "/i/1.idx", O_RDWR, 0);
    struct iovec iov = {zeros, sizeof(zeros)};
    CHECK(fd >= 0 && os_write_full(os, fd, "/i/1.idx", &iov, 1, 6 * 17, NULL) == 0);
    os_close(os, fd);
    return code;
}

/* ---- acts ---- */

static int write_all_ways(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    STEP(stage_put(stage, 100, 700));
    STEP(stage_put(stage, 1, 90)); /* over another */
    STEP(stage_put_again(stage, 4));
    STEP(stage_delete(stage, 3));
    STEP(stage_delete(stage, 3)); /* is gone already */
    STEP(stage_put(stage, 101, 0));
    STEP(stage_put(stage, 7, 0));
    STEP(stage_put_batch(stage, 200, 9, 900));
    STEP(stage_delete(stage, 204));
    STEP(stage_put(stage, 102, 70000));
    STEP(volume_mark_read_only(stage->volume, true, true, &stage->err));
    STEP(stage_delete(stage, 8));
    STEP(volume_mark_writable(stage->volume, &stage->err));
    STEP(stage_put(stage, 3, 20)); /* again, after its end */
    STEP(stage_sync(stage));
    return code;
}

/* Its first call only. */
static int change_meanwhile(void *ctx, const struct vacuum_progress *progress)
{
    struct world *world = ctx;
    if (world->stage.last_seed > world->first_seed || world_is_stopped(world))
        return 0;
    stage_put(&world->stage, 100, 700);
    stage_put(&world->stage, 1, 90);
    stage_delete(&world->stage, 3);
    return 0;
}

static int vacuum(struct world *world)
{
    struct stage *stage = &world->stage;
    struct vacuum_options options = {.on_progress = change_meanwhile, .ctx = world};
    int code = 0;
    STEP(volume_vacuum_compact(stage->volume, &options, &stage->err));
    bool is_copied = code == 0;
    code = 0;
    STEP(stage_put(stage, 4, 60));
    STEP(stage_put(stage, 101, 0));
    STEP(stage_delete(stage, 100));
    int written = code;
    code = is_copied ? 0 : KELP_E_IO;
    if (is_copied)
        STEP(stage_commit(stage));
    int vacuumed = code;
    STEP(stage_put(stage, 102, 300));
    STEP(stage_delete(stage, 9));
    return vacuumed ? vacuumed : written ? written : code;
}

/* Nothing is promised but what was before, or what one put and one delete amid the others ask for. */
static int vacuum_plainly(struct world *world)
{
    world->stage.is_durable = false;
    return vacuum(world);
}

static int promise_amid_vacuum(struct world *world)
{
    struct stage *stage = &world->stage;
    struct vacuum_options options = {.on_progress = change_meanwhile, .ctx = world};
    int code = 0;
    stage->is_durable = false;
    STEP(volume_vacuum_compact(stage->volume, &options, &stage->err));
    if (code != 0)
        return code;
    STEP(stage_put(stage, 4, 60));
    stage->is_durable = true;
    STEP(stage_put(stage, 101, 900));
    stage->is_durable = false;
    STEP(stage_delete(stage, 100));
    STEP(stage_sync(stage));
    STEP(stage_commit(stage));
    int committed = code;
    STEP(stage_put(stage, 102, 300));
    stage->is_durable = true;
    STEP(stage_delete(stage, 9));
    stage->is_durable = false;
    STEP(stage_put(stage, 11, 30));
    return committed ? committed : code;
}

static int write_plainly(struct world *world)
{
    world->stage.is_durable = false;
    return write_all_ways(world);
}

/* Writers go on while a commit syncs and renames: one more put at each of its calls. */
static void put_at_call(void *ctx, enum fault_os_call kind, const char *path)
{
    struct world *world = ctx;
    const char *name = path ? strrchr(path, '/') : NULL;
    bool is_vacuum = name && strncmp(name, "/1.cp", 5) == 0;
    if ((!is_vacuum && kind != FAULT_FSYNC && kind != FAULT_RENAME) || !(kind & FAULT_CHANGE) ||
        !pthread_equal(pthread_self(), world->thread) || world->put_count == STAGE_PENDING)
        return;
    uint64_t key = 300 + world->put_count++;
    world->stage.is_durable = world->put_count % 3 == 0;
    stage_submit(&world->stage, key, key);
}

static int vacuum_under_load(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    stage->is_durable = false;
    STEP(stage_compact(stage));
    if (code != 0)
        return code;
    world->thread = pthread_self();
    fault_os_watch(world->fault, put_at_call, world);
    code = stage_commit(stage);
    stage_settle(stage);
    fault_os_watch(world->fault, NULL, NULL);
    stage->is_durable = false;
    if (world_is_stopped(world))
        return KELP_E_IO;
    int committed = code;
    STEP(stage_put(stage, 102, 300));
    return committed ? committed : code;
}

/* A marker that a failed commit could not take back. It must go before there is a new copy. */
static int vacuum_beside_marker(struct world *world)
{
    struct os *os = disk_os_get(world->disk);
    fixture_write_file(os, "/d/1.cpc", "", 0);
    CHECK(os_sync_directory(os, "/d", NULL) == 0);
    return vacuum(world);
}

static int vacuum_and_drop(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    STEP(stage_compact(stage));
    STEP(stage_put(stage, 4, 60));
    STEP(volume_vacuum_cleanup(stage->volume, &stage->err));
    STEP(stage_put(stage, 102, 300));
    return code;
}

static int start(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = stage_open(stage, fault_os_get(world->fault));
    if (world_is_stopped(world) || code != 0)
        return code ? code : KELP_E_IO;
    STEP(stage_put(stage, 100, 700));
    STEP(stage_delete(stage, 4));
    return code;
}

static int start_marked(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = stage_open(stage, fault_os_get(world->fault));
    if (world_is_stopped(world) || code != 0)
        return code ? code : KELP_E_IO;
    STEP(stage_delete(stage, 4));
    STEP(stage_delete(stage, 5)); /* the empty one */
    STEP(stage_put(stage, 100, 700) == KELP_E_READ_ONLY ? 0 : KELP_E_IO);
    STEP(volume_mark_writable(stage->volume, &stage->err));
    STEP(stage_put(stage, 100, 700));
    STEP(stage_delete(stage, 8));
    return code;
}

static int close_and_start(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    STEP(stage_put(stage, 100, 700));
    STEP(stage_delete(stage, 4));
    stage_close(stage);
    if (world_is_stopped(world))
        return KELP_E_IO;
    return code ? code : start(world);
}

static int close_and_start_twice(struct world *world)
{
    int code = start(world);
    return code ? code : close_and_start(world);
}

static int vacuum_close_and_start(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    STEP(stage_put(stage, 100, 700));
    STEP(stage_vacuum(stage));
    STEP(stage_put(stage, 102, 300));
    int vacuumed = code;
    code = close_and_start(world);
    return vacuumed ? vacuumed : code;
}

static int create(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = stage_create(stage, fault_os_get(world->fault), "/d", "/i", 5, "");
    if (world_is_stopped(world) || code != 0)
        return code ? code : KELP_E_IO;
    STEP(stage_put(stage, 1, 700));
    STEP(stage_put(stage, 2, 0));
    STEP(stage_delete(stage, 1));
    return code;
}

/* With a copy that waits for its commit. */
static int remove_all(struct world *world)
{
    struct stage *stage = &world->stage;
    int code = 0;
    STEP(stage_compact(stage));
    if (code != 0)
        return code;
    code = volume_delete_files(stage->volume, &stage->err);
    if (code != KELP_E_BUSY)
        stage->volume = NULL;
    return code;
}

/* A vacuum's leftovers: the process ended at the nth call of these kinds. */
static int stop_vacuum(struct world *base, unsigned kinds, uint64_t nth)
{
    static struct world world;
    int code = fill_wide(base);
    world = (struct world){.disk = base->disk, .stage = base->stage};
    world.first_seed = base->stage.last_seed;
    fault_os_create(&world.fault, disk_os_get(base->disk));
    code = code ? code : stage_open(&world.stage, fault_os_get(world.fault));
    fault_os_stop(world.fault, kinds, nth, FAULT_STOP_BEFORE);
    vacuum(&world);
    CHECK(world_is_stopped(&world));
    stage_close(&world.stage);
    fault_os_destroy(world.fault);
    base->stage = world.stage;
    return code;
}

static int stop_before_rename(struct world *base) { return stop_vacuum(base, FAULT_RENAME, 1); }
static int stop_between_renames(struct world *base) { return stop_vacuum(base, FAULT_RENAME, 2); }
static int stop_after_renames(struct world *base) { return stop_vacuum(base, FAULT_UNLINK, 1); }
static int stop_in_copy(struct world *base) { return stop_vacuum(base, FAULT_FSYNC, 1); }

const struct scenario scenarios[] = {
    {"write", fill_wide, true, write_all_ways, END_VOLUME},
    {"write, 4-byte offsets", fill_narrow, true, write_all_ways, END_VOLUME},
    {"vacuum", fill_wide, true, vacuum, END_VOLUME},
    {"vacuum, 4-byte offsets", fill_narrow, true, vacuum, END_VOLUME},
    {"write plainly", fill_wide, true, write_plainly, END_VOLUME},
    {"vacuum, plain writes", fill_wide, true, vacuum_plainly, END_VOLUME},
    {"vacuum, promises amid plain writes", fill_wide, true, promise_amid_vacuum, END_VOLUME},
    {"vacuum under load", fill_wide, true, vacuum_under_load, END_VOLUME},
    {"vacuum beside a stale marker", fill_wide, true, vacuum_beside_marker, END_VOLUME},
    {"vacuum that is dropped", fill_wide, true, vacuum_and_drop, END_VOLUME},
    {"close and start", fill_wide, true, close_and_start, END_VOLUME},
    {"close and start, with checkpoints", fill_many, true, close_and_start, END_VOLUME},
    {"vacuum, close and start, with checkpoints", fill_many, true, vacuum_close_and_start, END_VOLUME},
    {"start from a checkpoint", fill_many_and_more, false, close_and_start_twice, END_VOLUME},
    {"start beside an old checkpoint", outlive_checkpoint, false, start, END_VOLUME},
    {"start, all is well", fill_wide, false, start, END_VOLUME},
    {"start, deletes only", mark, false, start_marked, END_VOLUME},
    {"start, .idx lost", lose_idx, false, start, END_VOLUME},
    {"start, .vif lost", lose_vif, false, start, END_VOLUME},
    {"start, rows lost", lose_rows, false, start, END_VOLUME},
    {"start, rows wiped", wipe_rows, false, start, END_VOLUME},
    {"start, .dat torn", tear_dat, false, start, END_VOLUME},
    {"start, copy left", stop_in_copy, false, start, END_VOLUME},
    {"start, nothing renamed", stop_before_rename, false, start, END_VOLUME},
    {"start, .dat renamed", stop_between_renames, false, start, END_VOLUME},
    {"start, marker left", stop_after_renames, false, start, END_VOLUME},
    {"create", make_directories, false, create, END_MAY_LACK},
    {"remove", fill_wide, true, remove_all, END_ALL_OR_NONE},
};
const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

bool scenario_is_chosen(const struct scenario *scenario)
{
    const char *name = getenv("KELP_SCENARIO");
    return !name || strcmp(name, scenario->name) == 0;
}
